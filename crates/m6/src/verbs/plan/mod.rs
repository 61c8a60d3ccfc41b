//! `m6 plan CONFIG`: what a configuration costs, by arithmetic alone, on one device or on many.

mod args;
mod many;
mod tables;

pub use args::PlanArgs;

use super::common;
use crate::cli::Common;
use crate::config::{self, RunConfig};
use crate::error::Result;
use crate::out::Terminal;
use m6_model::Counts;
use serde_json::{Map, Value, json};

/// What holds for any number of devices.
struct Overview {
    counts: Counts,
    row: Map<String, Value>,
    /// Bytes of the moments.
    moments: f64,
    /// Bytes of the gradients that exist at the same time.
    gradients: f64,
    flops: f64,
    tokens_per_step: f64,
}

/// Runs the verb.
pub fn run(args: &PlanArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let config = config::load(&args.config, &common.set)?.config;
    let mut overview = overview(&config, args.seq);
    let many = match args.gpus {
        Some(gpus) => Some(many::plan(args, &config, gpus as usize)?),
        None => None,
    };
    if terminal.json() {
        if let Some(many) = &many {
            overview.row.extend(many.json());
        }
        terminal.object(&overview.row);
        return Ok(());
    }
    let mut text = parameters(&overview.counts);
    match &many {
        Some(many) => text.push_str(&many.text(&config)),
        None => text.push_str(&one_device(&overview, &config)),
    }
    terminal.data(&text);
    Ok(())
}

/// The paper's sample (section 3.2): the patches of one picture and words, all words with a loss.
fn overview(config: &RunConfig, seq: usize) -> Overview {
    let counts = m6_model::count(&config.model);
    let cost = m6_model::flops::flops(&config.model, seq as f64 / 2.0);
    let n_patches = config.model.patches.n_patches();
    let n_words = seq.saturating_sub(n_patches).max(1);
    let positions = (n_patches + n_words) as f64;
    let flops = cost.train(
        positions,
        n_words as f64,
        1.0,
        config.train.activation_checkpointing,
    ) / positions;
    let total = counts.params_total as f64;
    let moments = many::moments(config.train.optimizer).total(&config.model);
    // What one process keeps.
    let share = m6_train::rank_shares(&config.model, &config.train, &config.parallel, 1)[0];
    let gradients = share.gradients as f64;
    let tokens_per_step = (config.train.rows_per_batch * config.data.row_len) as f64;
    let row = json!({
        "params_total": counts.params_total,
        "params_active": counts.params_active,
        "params_transformer": counts.params_transformer,
        "params_by_part": counts.by_part.iter().map(|(n, c)| (n.clone(), json!(c))).collect::<Map<_, _>>(),
        "bytes": {"weights": total * 4.0, "gradients": gradients, "optimizer": moments, "checkpoint": total * 4.0 + moments},
        "flops_per_token": flops,
        "flops": cost,
        "tokens_per_step": tokens_per_step,
        "flops_per_step": flops * tokens_per_step,
        "train_tokens": tokens_per_step * config.train.steps as f64,
    });
    let Value::Object(row) = row else {
        unreachable!("written as an object above")
    };
    Overview {
        counts,
        row,
        moments,
        gradients,
        flops,
        tokens_per_step,
    }
}

fn parameters(counts: &Counts) -> String {
    let mut text = format!(
        "parameters  {:.2} M, {:.2} M active a token, {:.2} M without the patch network (as the paper counts)\n",
        counts.params_total as f64 / 1e6,
        counts.params_active as f64 / 1e6,
        counts.params_transformer as f64 / 1e6
    );
    for (part, n) in &counts.by_part {
        text.push_str(&format!("  {part:24} {:>12.3} M\n", *n as f64 / 1e6));
    }
    text
}

fn one_device(overview: &Overview, config: &RunConfig) -> String {
    let (total, moments) = (overview.counts.params_total as f64, overview.moments);
    let (flops, tokens_per_step) = (overview.flops, overview.tokens_per_step);
    let mut text = format!(
        "memory      weights {}, gradients {}, moments {}: {} in f32, activations beside\n",
        common::bytes(total * 4.0),
        common::bytes(overview.gradients),
        common::bytes(moments),
        common::bytes(total * 4.0 + overview.gradients + moments)
    );
    let checkpoint = common::bytes(total * 4.0 + moments);
    text.push_str(&format!("checkpoint  {checkpoint}\n"));
    text.push_str(&format!(
        "training    {:.2} GFLOP a token (forward and backward), {:.0} tokens a step, {:.2} TFLOP a step, {} steps\n",
        flops / 1e9,
        tokens_per_step,
        flops * tokens_per_step / 1e12,
        config.train.steps
    ));
    for gflops in [200.0, 10_000.0, 400_000.0] {
        let days = flops * tokens_per_step * config.train.steps as f64 / (gflops * 1e9) / 86_400.0;
        text.push_str(&format!(
            "  at {gflops:>7.0} GFLOP/s sustained  {days:.3} days\n"
        ));
    }
    text
}

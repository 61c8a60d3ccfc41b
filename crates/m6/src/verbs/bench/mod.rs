//! `m6 bench`: fixed workloads, timed.

mod args;
mod comm;
mod draw;
mod moe;
mod vqgan;

pub use args::BenchVerb;

use super::common as shared;
use crate::cli::Common;
use crate::config;
use crate::error::{Code, OrFail, Result};
use crate::out::Terminal;
use args::{BenchArgs, BenchPackingArgs, BenchTokenizerArgs};
use m6_data::{Cursor, Loader, LoaderConfig, Manifest, Split};
use m6_model::Model;
use m6_nn::workloads::{self, Timing};
use m6_train::Trainer;
use serde_json::json;

/// Runs the verb.
pub fn run(verb: &BenchVerb, common: &Common, terminal: &Terminal) -> Result<()> {
    let seed = common.seed.unwrap_or(1);
    match verb {
        BenchVerb::Train(args) => one("train", args, 4, seed, workloads::train, terminal),
        BenchVerb::Decode(args) => one("decode", args, 60, seed, workloads::decode, terminal),
        BenchVerb::Conv(args) => one("conv", args, 4, seed, workloads::conv, terminal),
        BenchVerb::Moe(args) => moe::run(args, seed, terminal),
        BenchVerb::Vqgan(args) => vqgan::run(args, common, terminal),
        BenchVerb::Draw(args) => draw::run(args, seed, terminal),
        BenchVerb::Tokenizer(args) => tokenizer(args, terminal),
        BenchVerb::Comm(args) => comm::run(args, terminal),
        BenchVerb::Packing(args) => packing(args, common, terminal),
    }
}

type Workload = fn(&workloads::Weights, usize) -> m6_nn::Result<Timing>;

fn one(
    name: &str,
    args: &BenchArgs,
    default: usize,
    seed: u64,
    run: Workload,
    terminal: &Terminal,
) -> Result<()> {
    let weights = match &args.weights {
        Some(dir) => workloads::Weights::Folder(dir.clone()),
        None => workloads::Weights::Seed(seed),
    };
    let timing = run(&weights, args.iters.map_or(default, |n| n as usize)).or_fail(Code::Usage)?;
    let (best, median) = best_and_median(&timing.ms);
    if terminal.json() {
        let row = json!({
            "bench": name, "ms": timing.ms, "median_ms": median, "best_ms": best, "loss": timing.loss,
            "rss_mb": m6_store::mem::peak_rss_mb().round(),
        });
        terminal.object(&row);
    } else {
        terminal.data(&format!(
            "{name}: best {:.1} ms, median {median:.1} ms of {}, loss {:?}, peak {:.0} MB\n",
            best,
            timing.ms.len(),
            &timing.loss[..timing.loss.len().min(3)],
            m6_store::mem::peak_rss_mb()
        ));
    }
    Ok(())
}

/// The least and the middle one of some times, of which there is at least one.
fn best_and_median(ms: &[f64]) -> (f64, f64) {
    let mut sorted = ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2])
}

/// Leaves out every source and task but the ones asked for.
fn only(args: &BenchPackingArgs) -> Result<LoaderConfig> {
    let manifest = Manifest::read(&args.data).or_data()?;
    let mut config = LoaderConfig::default();
    if let Some(name) = &args.source {
        let others = manifest.sources.iter().filter(|s| s.name != *name);
        config.weights = others.map(|s| (s.name.clone(), 0.0)).collect();
    }
    if let Some(name) = &args.task {
        let names = manifest.sources.iter().flat_map(|s| s.tasks.keys());
        config.tasks = names
            .filter(|task| *task != name)
            .map(|task| (task.clone(), 0.0))
            .collect();
    }
    Ok(config)
}

/// Steps on the same examples, packed and padded, in turn; words learned a second.
fn packing(args: &BenchPackingArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let mut config = config::load(&args.config, &common.set)?.config;
    super::pretrain::fit_to_data(&mut config, &args.data, terminal)?;
    let loader = Loader::open(&args.data, &only(args)?, Split::Train).or_data()?;
    let model = Model::new(&config.model, config.train.seed).or_usage()?;
    let mut trainer =
        Trainer::new(model, &config.train, loader.task_names().to_vec()).or_usage()?;
    let mut cursor = Cursor::default();
    let (mut seconds, mut positions, mut n_labels) = ([0.0; 2], [0usize; 2], 0);
    for i in 0..=args.iters {
        let rows = loader.next_rows(&mut cursor, config.train.rows_per_batch);
        let packed = loader.batch(&rows).or_data()?;
        let padded = packed.padded(config.model.patches.picture_bytes(), 0);
        for (kind, batch) in [packed, padded].into_iter().enumerate() {
            let (n_positions, n) = (batch.n_positions(), batch.labels.len());
            let start = std::time::Instant::now();
            trainer
                .step(1 + 2 * i + kind as u64, &[batch], None)
                .or_fail(Code::Numerics)?;
            // The first step of each kind also pays for fresh memory.
            if i > 0 {
                seconds[kind] += start.elapsed().as_secs_f64();
                positions[kind] += n_positions;
                n_labels += if kind == 0 { n } else { 0 };
            }
        }
    }
    let rate = |kind: usize| n_labels as f64 / seconds[kind];
    let row = json!({
        "packed_words_per_s": rate(0), "padded_words_per_s": rate(1), "ratio": rate(0) / rate(1),
        "packed_positions": positions[0], "padded_positions": positions[1],
        "packed_positions_per_s": positions[0] as f64 / seconds[0], "words": n_labels,
    });
    if terminal.json() {
        terminal.object(&row);
    } else {
        terminal.data(&format!(
            "packed {:.0} words/s, padded {:.0} words/s, ratio {:.2}; {} positions against {}\n",
            rate(0),
            rate(1),
            rate(0) / rate(1),
            positions[0],
            positions[1]
        ));
    }
    Ok(())
}

/// Megabytes of UTF-8 a second: ids alone, and ids with tokens and offsets, which is what the reference library always makes.
fn tokenizer(args: &BenchTokenizerArgs, terminal: &Terminal) -> Result<()> {
    use rayon::prelude::*;
    let tokenizer = m6_text::Tokenizer::from_file(&args.vocab).or_data()?;
    let lines: Vec<String> = shared::lines(&args.text)?.collect::<Result<_>>()?;
    let n_bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    let views: Vec<&str> = lines.iter().map(String::as_str).collect();
    let rate = |run: &dyn Fn() -> usize| -> (f64, usize) {
        let start = std::time::Instant::now();
        let n_ids = run();
        (n_bytes as f64 / 1e6 / start.elapsed().as_secs_f64(), n_ids)
    };
    let (ids_rate, n_ids) = rate(&|| tokenizer.encode_batch(&views).iter().map(Vec::len).sum());
    let (full_rate, _) = rate(&|| {
        views
            .par_iter()
            .map(|line| tokenizer.encode_full(line, false).ids.len())
            .sum()
    });
    if terminal.json() {
        terminal.object(&json!({"mb_per_s": full_rate, "ids_mb_per_s": ids_rate, "bytes": n_bytes, "ids": n_ids}));
    } else {
        terminal.data(&format!(
            "{n_ids} ids from {:.1} MB: {full_rate:.1} MB/s with tokens and offsets, {ids_rate:.1} MB/s ids alone\n",
            n_bytes as f64 / 1e6
        ));
    }
    Ok(())
}

//! `m6 bench moe`: one layer of experts, forward and backward.

use super::args::BenchMoeArgs;
use super::best_and_median;
use crate::error::{Code, OrFail, Result};
use crate::out::Terminal;
use m6_nn::workloads::{self, MoeLayer};
use serde_json::json;

/// Runs the verb.
pub fn run(args: &BenchMoeArgs, seed: u64, terminal: &Terminal) -> Result<()> {
    let weights = match &args.weights {
        Some(dir) => workloads::Weights::Folder(dir.clone()),
        None => workloads::Weights::Seed(seed),
    };
    let layer = MoeLayer {
        n_tokens: args.tokens,
        d_model: args.d_model,
        d_ff: args.d_ff,
        n_experts: args.experts,
        top_k: args.top_k,
        capacity_factor: (!args.dropless).then_some(args.capacity_factor),
    };
    let timed = workloads::moe(&weights, &layer, args.iters as usize);
    let (timing, dropped) = timed.or_fail(Code::Usage)?;
    let (best, median) = best_and_median(&timing.ms);
    if terminal.json() {
        terminal.object(&json!({
            "bench": "moe", "tokens": args.tokens, "d_model": args.d_model, "d_ff": args.d_ff, "experts": args.experts,
            "top_k": args.top_k, "capacity_factor": layer.capacity_factor, "dropped": dropped, "ms": timing.ms,
            "median_ms": median, "best_ms": best, "tokens_per_s": args.tokens as f64 * 1e3 / median, "loss": timing.loss,
            "rss_mb": timing.rss_mb.round(),
        }));
    } else {
        terminal.data(&format!(
            "moe, {} tokens to {} of {} experts: best {best:.1} ms, median {median:.1} ms of {}, {:.1} % dropped, loss {:?}, peak {:.0} MB\n",
            args.tokens,
            args.top_k,
            args.experts,
            timing.ms.len(),
            100.0 * dropped,
            &timing.loss[..timing.loss.len().min(3)],
            timing.rss_mb,
        ));
    }
    Ok(())
}

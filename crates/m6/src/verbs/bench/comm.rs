//! `m6 bench comm`: exchanges between ranks, timed.

use super::args::BenchCommArgs;
use crate::error::{OrFail, Result};
use crate::out::Terminal;
use crate::verbs::ranks;
use m6_nn::workloads::exchanges;
use serde_json::json;

/// Runs the verb, on every rank that was started.
pub fn run(args: &BenchCommArgs, terminal: &Terminal) -> Result<()> {
    let comm = ranks::join(&m6_train::ParallelConfig::default())?;
    ranks::together(&comm, terminal, |terminal| {
        let n_numbers = args.mb as usize * 1_000_000 / 4;
        let times = exchanges(&comm, n_numbers, args.iters as usize).or_usage()?;
        if comm.rank() > 0 {
            return Ok(());
        }
        let n = comm.size();
        // What a rank sends and receives of its numbers in one of the two halves of an all-reduce.
        let moved = n_numbers as f64 * 4.0 * (n - 1) as f64 / n as f64;
        let rate = |ms: f64, halves: f64| halves * moved / (ms * 1e6).max(1e-9);
        let row = json!({
            "bench": "comm", "ranks": n, "mb": args.mb,
            "all_to_all_ms": times.all_to_all_ms, "all_gather_ms": times.all_gather_ms, "all_reduce_ms": times.all_reduce_ms,
            "all_to_all_gb_s": rate(times.all_to_all_ms, 1.0), "all_reduce_gb_s": rate(times.all_reduce_ms, 2.0),
        });
        if terminal.json() {
            terminal.object(&row);
            return Ok(());
        }
        terminal.data(&format!(
            "{n} rank(s), {} MB each: all-to-all {:.1} ms, all-gather {:.1} ms, all-reduce {:.1} ms (medians of {})\n",
            args.mb, times.all_to_all_ms, times.all_gather_ms, times.all_reduce_ms, args.iters
        ));
        Ok(())
    })
}

//! `m6 doctor`: what this machine offers.

use crate::cli::Common;
use crate::error::Result;
use crate::out::Terminal;
use serde_json::json;

/// Runs the verb.
pub fn run(common: &Common, terminal: &Terminal) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = common.threads.unwrap_or(cores);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        memory
            .lines()
            .find(|l| l.starts_with(name))?
            .split_whitespace()
            .nth(1)?
            .parse::<u64>()
            .ok()
            .map(|kib| kib / 1024)
    };
    let features: Vec<&str> = [
        ("avx2", cfg!(target_feature = "avx2")),
        ("fma", cfg!(target_feature = "fma")),
        ("avx512f", cfg!(target_feature = "avx512f")),
    ]
    .iter()
    .filter(|(_, on)| *on)
    .map(|(name, _)| *name)
    .collect();
    let peak = m6_nn::flops::measured_peak_gflops();
    let row = json!({
        "version": env!("CARGO_PKG_VERSION"), "os": std::env::consts::OS, "arch": std::env::consts::ARCH,
        "cores": cores, "threads": threads, "memory_mb": field("MemTotal"), "memory_free_mb": field("MemAvailable"),
        "built_for": features, "f32_gflops": peak.round(),
    });
    if terminal.json() {
        terminal.object(&row);
        return Ok(());
    }
    for (key, value) in row.as_object().into_iter().flatten() {
        terminal.data(&format!("{key:15} {value}\n"));
    }
    Ok(())
}

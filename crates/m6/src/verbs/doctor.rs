//! `m6 doctor`: what this machine offers.

use crate::cli::Common;
use crate::error::Result;
use crate::out::Terminal;
use serde_json::json;

/// Runs the verb.
pub fn run(common: &Common, terminal: &Terminal) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = common.threads.unwrap_or(cores);
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
        "cores": cores, "threads": threads, "memory_mb": memory_mb("MemTotal"), "memory_free_mb": memory_mb("MemAvailable"),
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

/// A field of what Linux tells of this machine's memory, in MB; none elsewhere.
pub fn memory_mb(name: &str) -> Option<u64> {
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = memory.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}

//! How much memory this process holds.

/// The largest resident set so far, in MiB; 0 where the system does not say (only Linux does).
pub fn peak_rss_mb() -> f64 {
    status_mb("VmHWM:")
}

/// The resident set now, in MiB; 0 where the system does not say (only Linux does).
pub fn rss_mb() -> f64 {
    status_mb("VmRSS:")
}

fn status_mb(field: &str) -> f64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| parse_kib(&status, field))
        .map_or(0.0, |kib| kib / 1024.0)
}

fn parse_kib(status: &str, field: &str) -> Option<f64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(field))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_field_asked_for() {
        let status = "Name:\tm6\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(parse_kib(status, "VmHWM:"), Some(2048.0));
        assert_eq!(parse_kib(status, "VmRSS:"), Some(1024.0));
        assert_eq!(parse_kib(status, "VmSwap:"), None);
        assert_eq!(parse_kib("VmRSS:\n", "VmRSS:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn touched_memory_shows() {
        let before = rss_mb();
        let block = std::hint::black_box(vec![1u8; 32 << 20]);
        assert!(rss_mb() > before + 24.0);
        assert!(peak_rss_mb() >= rss_mb() - 1.0);
        drop(block);
    }
}

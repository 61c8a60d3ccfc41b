//! How fast this machine multiplies matrices: the yardstick for every other speed.

use crate::gemm::{Mat, matmul};
use std::time::{Duration, Instant};

/// Side of the square matrices: large enough that packing and the edges do not count.
const SIDE: usize = 1024;

/// Best speed of `f32` matrix products on the current thread pool over about one second, in Gflop/s (a multiplication and an addition
/// count as two).
pub fn measured_peak_gflops() -> f64 {
    peak_within(Duration::from_secs(1))
}

fn peak_within(limit: Duration) -> f64 {
    let a: Vec<f32> = (0..SIDE * SIDE).map(|i| (i % 17) as f32 - 8.0).collect();
    let b: Vec<f32> = (0..SIDE * SIDE).map(|i| (i % 13) as f32 - 6.0).collect();
    let mut c = vec![0.0f32; SIDE * SIDE];
    let flops = 2.0 * (SIDE as f64).powi(3);
    let start = Instant::now();
    let mut best = 0.0f64;
    loop {
        let from = Instant::now();
        matmul(
            &mut c,
            false,
            Mat::new(&a, SIDE, SIDE),
            Mat::new(&b, SIDE, SIDE),
        );
        std::hint::black_box(&mut c);
        best = best.max(flops / from.elapsed().as_secs_f64() / 1e9);
        if start.elapsed() > limit {
            return best;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_a_plausible_speed() {
        let gflops = peak_within(Duration::from_millis(20));
        assert!(
            gflops.is_finite() && gflops > 0.1 && gflops < 1e6,
            "{gflops}"
        );
    }
}

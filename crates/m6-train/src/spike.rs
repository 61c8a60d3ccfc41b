//! Skipping an update whose gradient is far larger than usual. Ours; off by default.

use serde::{Deserialize, Serialize};

/// Norms the running median looks back on.
const WINDOW: usize = 128;
/// Skips in a row after which larger norms are the new usual.
const MAX_IN_A_ROW: u64 = 8;
/// Updates before the median is trusted.
const MIN_SEEN: usize = 16;

/// The recent gradient norms, and how many updates were skipped; saved with a checkpoint so that a resumed run skips
/// the same updates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpikeGuard {
    /// Norms of the last applied updates, oldest first.
    pub recent: Vec<f64>,
    /// Updates skipped so far.
    pub n_skipped: u64,
    /// Updates skipped since the last one that was applied.
    #[serde(default)]
    pub n_in_a_row: u64,
}

impl SpikeGuard {
    /// True when the update with this gradient norm is to be skipped: `factor` is on (above 0) and the norm exceeds
    /// `factor` times the median of the recent norms. A skipped norm does not enter the median; after eight skips in a row
    /// the norms have changed for good, and the guard begins anew.
    pub fn skips(&mut self, norm: f64, factor: f64) -> bool {
        if factor <= 0.0 {
            return false;
        }
        if self.recent.len() >= MIN_SEEN && norm > factor * median(&self.recent) {
            self.n_skipped += 1;
            self.n_in_a_row += 1;
            if self.n_in_a_row == MAX_IN_A_ROW {
                self.recent.clear();
                self.n_in_a_row = 0;
            }
            return true;
        }
        self.n_in_a_row = 0;
        if self.recent.len() == WINDOW {
            self.recent.remove(0);
        }
        self.recent.push(norm);
        false
    }
}

/// The upper median; `values` is not empty.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_means_never_and_keeps_nothing() {
        let mut guard = SpikeGuard::default();
        assert!((0..100).all(|i| !guard.skips(10f64.powi(i), 0.0)));
        assert_eq!(guard, SpikeGuard::default());
    }

    #[test]
    fn a_spike_is_skipped_and_does_not_move_the_median() {
        let mut guard = SpikeGuard::default();
        assert!((0..MIN_SEEN).all(|_| !guard.skips(1.0, 4.0)));
        for i in 1..=1000 {
            assert!(guard.skips(4.1, 4.0));
            assert!(!guard.skips(1.0, 4.0));
            assert_eq!(guard.n_skipped, i);
        }
        assert!(!guard.skips(3.9, 4.0));
    }

    #[test]
    fn norms_that_stay_large_become_the_usual_ones() {
        let mut guard = SpikeGuard::default();
        assert!((0..MIN_SEEN).all(|_| !guard.skips(1.0, 4.0)));
        assert!((0..MAX_IN_A_ROW).all(|_| guard.skips(100.0, 4.0)));
        assert!((0..1000).all(|_| !guard.skips(100.0, 4.0)));
        assert_eq!(guard.n_skipped, MAX_IN_A_ROW);
    }

    #[test]
    fn early_updates_are_never_skipped() {
        let mut guard = SpikeGuard::default();
        for i in 0..MIN_SEEN {
            assert!(!guard.skips(if i % 2 == 0 { 1.0 } else { 1e6 }, 2.0));
        }
    }

    #[test]
    fn the_window_forgets() {
        let mut guard = SpikeGuard::default();
        for i in 0..5 * WINDOW {
            guard.skips(1.01f64.powi(i as i32), 4.0);
        }
        assert_eq!((guard.recent.len(), guard.n_skipped), (WINDOW, 0));
    }
}

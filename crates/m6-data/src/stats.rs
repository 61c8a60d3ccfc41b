//! What packing saves against padding.

use serde::Serialize;

/// Positions that some rows take, packed and padded.
///
/// The padded batch is what a plain trainer makes: one sample a row, where a sample is one target with its own prefix
/// (a picture with five captions is five samples), and every row as long as the longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PackStats {
    /// Rows.
    pub n_rows: u64,
    /// Examples: prefixes.
    pub n_examples: u64,
    /// Targets: samples of the padded batch.
    pub n_targets: u64,
    /// Positions of the packed batch; all are real.
    pub packed: u64,
    /// Positions of the same samples with no shared prefix, without padding.
    pub unshared: u64,
    /// Longest sample.
    pub longest: u64,
    /// Positions of the padded batch: `n_targets * longest`.
    pub padded: u64,
}

impl PackStats {
    /// Adds an example with a prefix of `n_prefix` positions and targets of these lengths.
    pub(crate) fn add(&mut self, n_prefix: usize, targets: impl Iterator<Item = usize>) {
        self.n_examples += 1;
        self.packed += n_prefix as u64;
        for n_target in targets {
            let sample = (n_prefix + n_target) as u64;
            self.n_targets += 1;
            self.packed += n_target as u64;
            self.unshared += sample;
            self.longest = self.longest.max(sample);
        }
        self.padded = self.n_targets * self.longest;
    }

    /// Padded positions for one packed position.
    pub fn saving(&self) -> f64 {
        self.padded as f64 / self.packed.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_padded_cost_counts_every_target_at_the_longest_sample() {
        let mut stats = PackStats::default();
        stats.add(64, [10, 12, 8].into_iter());
        stats.add(0, [30].into_iter());
        assert_eq!(
            (stats.packed, stats.unshared, stats.longest),
            (124, 252, 76)
        );
        assert_eq!(stats.padded, 4 * 76);
    }
}

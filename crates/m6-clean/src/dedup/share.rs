//! Who may take how much of the memory budget.
//!
//! Not all of these are held at a time, but together they are the budget: memory that one stage gave back may still
//! be with the allocator while the next one works.

/// Sixteenths of the budget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share(usize);

/// Sorting the hashes of whole texts.
pub(super) const EXACT: Share = Share(2);
/// Sorting band keys, of which there are many more.
pub(super) const BANDS: Share = Share(7);
/// Sorting pairs of documents; first candidates, then kept and dropped ones.
pub(super) const PAIRS: Share = Share(2);
/// The shingles of one batch of pairs.
pub(super) const BATCH: Share = Share(3);
/// Each of the two generations of shingles that are kept for later batches.
pub(super) const GENERATION: Share = Share(1);

impl Share {
    /// Bytes of a budget.
    pub(super) fn of(self, memory: usize) -> usize {
        memory / 16 * self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_the_budget() {
        let all = [EXACT, BANDS, PAIRS, BATCH, GENERATION, GENERATION];
        let n_bytes: usize = all.iter().map(|share| share.of(1600)).sum();
        assert_eq!(n_bytes, 1600);
    }
}

//! Candidate pairs from sorted band keys.

use super::sort::{Sorted, Sorter};
use super::{Options, Stats, share};
use crate::Result;

/// How many of the texts that follow it in a bucket each text is paired with. That is every pair of a bucket of 33 texts; in a larger
/// one, where pairs would grow with the square, each text is paired with its 32 successors and with the first.
pub(super) const WINDOW: usize = 32;

/// Pairs of texts (named by their first documents, the lesser one first) that share a band.
pub(super) fn candidates(
    bands: Sorted<(u64, u32)>,
    canon: &[u32],
    options: &Options,
    stats: &mut Stats,
) -> Result<Sorted<(u32, u32)>> {
    let mut pairs = Sorter::new(&options.spill, share::PAIRS.of(options.memory));
    let mut bucket = Vec::new();
    let mut current = None;
    tracing::debug!(spilled = bands.spilled(), "band keys sorted");
    for record in bands {
        let (key, document) = record?;
        if current != Some(key) {
            pair_up(&mut bucket, &mut pairs, stats)?;
            current = Some(key);
        }
        bucket.push(canon[document as usize]);
    }
    pair_up(&mut bucket, &mut pairs, stats)?;
    pairs.finish()
}

/// Makes pairs of a bucket and empties it.
fn pair_up(bucket: &mut Vec<u32>, pairs: &mut Sorter<(u32, u32)>, stats: &mut Stats) -> Result<()> {
    bucket.sort_unstable();
    bucket.dedup();
    stats.n_wide_buckets += u64::from(bucket.len() > WINDOW + 1);
    for (i, a) in bucket.iter().enumerate() {
        for b in bucket.iter().skip(i + 1).take(WINDOW) {
            pairs.push((*a, *b))?;
        }
        if i > WINDOW {
            pairs.push((bucket[0], *a))?;
        }
    }
    bucket.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(records: &[(u64, u32)], canon: &[u32]) -> (Vec<(u32, u32)>, Stats) {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path(), 1 << 20);
        for record in records {
            sorter.push(*record).unwrap();
        }
        let options = Options {
            spill: folder.path().to_owned(),
            ..Options::default()
        };
        let mut stats = Stats::default();
        let pairs = candidates(sorter.finish().unwrap(), canon, &options, &mut stats).unwrap();
        (pairs.map(Result::unwrap).collect(), stats)
    }

    #[test]
    fn texts_of_one_bucket_are_paired_once() {
        // 3 is a copy of 1, so it makes no pair of its own; 0 and 2 meet in two buckets.
        let records = [(5, 0), (5, 1), (5, 2), (5, 3), (6, 2), (6, 0), (7, 4)];
        let (got, stats) = pairs(&records, &[0, 1, 2, 1, 4]);
        assert_eq!(got, [(0, 1), (0, 2), (1, 2)]);
        assert_eq!(stats.n_wide_buckets, 0);
    }

    #[test]
    fn a_wide_bucket_makes_a_number_of_pairs_that_grows_with_its_size_only() {
        let n = 1000u32;
        let records: Vec<(u64, u32)> = (0..n).map(|i| (1, i)).collect();
        let canon: Vec<u32> = (0..n).collect();
        let (got, stats) = pairs(&records, &canon);
        assert_eq!(stats.n_wide_buckets, 1);
        assert!(got.len() <= n as usize * (WINDOW + 1));
        assert!((1..n).all(|i| got.binary_search(&(0, i)).is_ok()));
    }
}

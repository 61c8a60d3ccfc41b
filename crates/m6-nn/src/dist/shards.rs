//! Who owns which part of each tensor.

use crate::glue::CHUNK;
use std::ops::Range;

/// For each tensor one range of elements a rank; together they cover it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shards {
    ranges: Vec<Vec<Range<usize>>>,
    n_ranks: usize,
}

impl Shards {
    /// Divides tensors of `(elements, indivisible)` among `n_ranks`; an indivisible one belongs to one rank.
    ///
    /// Every tensor is cut by itself, so that gathering one takes a part from each rank, and at whole chunks of 65,536 elements, so that
    /// sums of squares are the same numbers whoever makes them. What is left goes to whoever has least so far: no rank owns more than
    /// the largest indivisible tensor, or a chunk, beyond another.
    pub fn plan(tensors: &[(usize, bool)], n_ranks: usize) -> Self {
        let n_ranks = n_ranks.max(1);
        let mut load = vec![0_usize; n_ranks];
        // Large ones first: the small ones then level what those left uneven.
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(tensors[i].0));
        let mut ranges = vec![Vec::new(); tensors.len()];
        for i in order {
            let (n, indivisible) = tensors[i];
            let chunk = if indivisible { n.max(1) } else { CHUNK };
            let (n_chunks, tail) = (n / chunk, n % chunk);
            let mut owned = vec![n_chunks / n_ranks * chunk; n_ranks];
            let mut poorest: Vec<usize> = (0..n_ranks).collect();
            poorest.sort_by_key(|&rank| load[rank]);
            for &rank in poorest.iter().take(n_chunks % n_ranks) {
                owned[rank] += chunk;
            }
            // The short chunk at the end goes to the poorest as well, whose range therefore comes last.
            let last = (0..n_ranks).min_by_key(|&rank| load[rank] + owned[rank]);
            let last = last.unwrap_or(0);
            owned[last] += tail;
            ranges[i] = vec![0..0; n_ranks];
            let mut at = 0;
            for rank in (0..n_ranks).filter(|&rank| rank != last).chain([last]) {
                load[rank] += owned[rank];
                ranges[i][rank] = at..at + owned[rank];
                at += owned[rank];
            }
        }
        Self { ranges, n_ranks }
    }

    /// Everything belongs to the only rank.
    pub fn whole(sizes: impl IntoIterator<Item = usize>) -> Self {
        let tensors: Vec<(usize, bool)> = sizes.into_iter().map(|n| (n, true)).collect();
        Self::plan(&tensors, 1)
    }

    /// The parts that others have planned: of each tensor one range a rank, which together cover it.
    pub fn from_ranges(ranges: Vec<Vec<Range<usize>>>, n_ranks: usize) -> Self {
        Self { ranges, n_ranks }
    }

    /// Number of ranks.
    pub fn n_ranks(&self) -> usize {
        self.n_ranks
    }

    /// Number of tensors.
    pub fn n_tensors(&self) -> usize {
        self.ranges.len()
    }

    /// The elements of a tensor that each rank owns, by rank; some ranges may be empty.
    pub fn of(&self, tensor: usize) -> &[Range<usize>] {
        &self.ranges[tensor]
    }

    /// The Euclidean norm of all gradients together, from the squares of every rank ([`crate::dist::GradSum::squares`]), and the first parameter whose part of it
    /// is not finite. The same number, to the bit, as [`crate::Params::grad_norm`] gives for the same gradients on one rank.
    pub fn norm(&self, squares: &[Vec<Vec<f64>>]) -> (f64, Option<usize>) {
        norm_in_order(self.n_tensors(), squares, |i, owners| {
            owners.sort_by_key(|&rank| self.of(i)[rank].start);
        })
    }

    /// Elements that a rank owns of all tensors.
    pub fn n_owned(&self, rank: usize) -> usize {
        self.ranges.iter().map(|of| of[rank].len()).sum()
    }
}

/// As [`Shards::norm`] of `n_tensors`, where `order` puts the ranks, which come in theirs, into the order in which the parts of a tensor are summed.
pub fn norm_in_order(
    n_tensors: usize,
    squares: &[Vec<Vec<f64>>],
    order: impl Fn(usize, &mut Vec<usize>),
) -> (f64, Option<usize>) {
    let mut total = 0.0;
    let mut bad = None;
    for i in 0..n_tensors {
        let mut owners: Vec<usize> = (0..squares.len()).collect();
        order(i, &mut owners);
        let parts = owners.iter().flat_map(|&rank| &squares[rank][i]);
        let sum: f64 = parts.sum();
        if !sum.is_finite() {
            bad = bad.or(Some(i));
        }
        total += sum;
    }
    (total.sqrt(), bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(tensors: &[(usize, bool)], n_ranks: usize) {
        let shards = Shards::plan(tensors, n_ranks);
        for (i, &(n, indivisible)) in tensors.iter().enumerate() {
            let mut sorted: Vec<_> = shards.of(i).iter().filter(|r| !r.is_empty()).collect();
            sorted.sort_by_key(|range| range.start);
            let mut at = 0;
            for range in sorted {
                assert_eq!(range.start, at, "{tensors:?}");
                assert!(indivisible || range.start.is_multiple_of(CHUNK));
                at = range.end;
            }
            assert_eq!(at, n, "{tensors:?}");
            let owners = shards.of(i).iter().filter(|range| !range.is_empty());
            assert!(!indivisible || owners.count() <= 1);
        }
        let owned: Vec<usize> = (0..n_ranks).map(|rank| shards.n_owned(rank)).collect();
        let (least, most) = (owned.iter().min().unwrap(), owned.iter().max().unwrap());
        let largest = tensors.iter().map(|&(n, whole)| match whole {
            true => n,
            false => n.min(CHUNK),
        });
        // Each tensor adds to whoever has least, so the gap never exceeds one piece.
        assert!(most - least <= largest.max().unwrap_or(0), "{owned:?}");
    }

    #[test]
    fn large_tensors_are_spread_and_small_ones_level() {
        let shards = Shards::plan(&[(10 * CHUNK, false), (7, false), (9, true)], 4);
        let lengths: Vec<usize> = shards.of(0).iter().map(Range::len).collect();
        assert_eq!(lengths, [3, 3, 2, 2].map(|n| n * CHUNK));
        assert_eq!((&shards.of(2)[2], &shards.of(1)[3]), (&(0..9), &(0..7)));
        check(&[(CHUNK + 1, false); 9], 2);
        check(&[], 3);
        check(&[(0, false), (0, true)], 2);
    }

    proptest! {
        #[test]
        fn every_element_has_one_owner(
            tensors in prop::collection::vec((0_usize..5 * CHUNK, any::<bool>()), 0..20),
            n_ranks in 1_usize..9,
        ) {
            check(&tensors, n_ranks);
        }
    }
}

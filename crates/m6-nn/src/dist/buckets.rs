//! Tensors cut and joined to messages of a bounded size.

use super::Shards;
use std::ops::Range;

/// Numbers in a message at most, unless one indivisible tensor has more: 16 MB. Large enough that a network is used well, small
/// enough that the copies it takes are nothing beside the model.
pub const BUCKET: usize = 1 << 22;

/// A part of one tensor in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Number of the tensor.
    pub tensor: usize,
    /// What each rank owns of this part, in the order of the ranks.
    pub ranges: Vec<Range<usize>>,
}

/// Parts of tensors that travel together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    /// The parts, in the order of the tensors.
    pub pieces: Vec<Piece>,
}

impl Bucket {
    /// Numbers of a rank in this bucket.
    pub fn len_of(&self, rank: usize) -> usize {
        self.pieces.iter().map(|p| p.ranges[rank].len()).sum()
    }

    /// Numbers of each rank.
    pub fn lengths(&self, n_ranks: usize) -> Vec<usize> {
        (0..n_ranks).map(|rank| self.len_of(rank)).collect()
    }
}

/// The given tensors in messages of about `limit` numbers, their order kept.
pub fn buckets(shards: &Shards, tensors: &[usize], limit: usize) -> Vec<Bucket> {
    let mut done = Vec::new();
    let mut open = Bucket::default();
    let mut n_open = 0;
    for &tensor in tensors {
        let ranges = shards.of(tensor);
        let n: usize = ranges.iter().map(Range::len).sum();
        let n_parts = n.div_ceil(limit.max(1)).max(1);
        for part in 0..n_parts {
            let cut = |range: &Range<usize>| {
                let at = |i: usize| range.start + range.len() * i / n_parts;
                at(part)..at(part + 1)
            };
            let piece = Piece {
                tensor,
                ranges: ranges.iter().map(cut).collect(),
            };
            let n_piece: usize = piece.ranges.iter().map(Range::len).sum();
            if n_open > 0 && n_open + n_piece > limit {
                done.push(std::mem::take(&mut open));
                n_open = 0;
            }
            open.pieces.push(piece);
            n_open += n_piece;
        }
    }
    if !open.pieces.is_empty() {
        done.push(open);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glue::CHUNK;

    #[test]
    fn messages_are_bounded_and_hold_everything_once() {
        let sizes = [5, 9 * CHUNK + 3, 0, CHUNK, 17, 2 * CHUNK];
        let tensors: Vec<(usize, bool)> = sizes.iter().map(|&n| (n, false)).collect();
        let shards = Shards::plan(&tensors, 3);
        let limit = 2 * CHUNK;
        let made = buckets(&shards, &[5, 1, 0, 2, 3, 4], limit);
        let mut seen: Vec<Vec<bool>> = sizes.iter().map(|&n| vec![false; n]).collect();
        for bucket in &made {
            assert!(bucket.lengths(3).iter().sum::<usize>() <= limit + CHUNK);
            for piece in &bucket.pieces {
                for range in &piece.ranges {
                    for i in range.clone() {
                        assert!(!std::mem::replace(&mut seen[piece.tensor][i], true));
                    }
                }
            }
        }
        assert!(seen.iter().flatten().all(|&seen| seen));
        assert!(made.len() >= 6, "{}", made.len());
    }
}

//! In which order [`super::blocked`] goes through a product: rounds of blocks, and what is done in the same step.

use super::tile::Tile;

/// The blocks that a round multiplies: the first index and the number of rows, columns and inner indices.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Round {
    pub rows: (usize, usize),
    pub cols: (usize, usize),
    pub inner: (usize, usize),
}

/// A round, and which of the two buffers of each side its blocks are in.
#[derive(Clone, Copy)]
pub struct Placed {
    pub round: Round,
    pub left: usize,
    pub right: usize,
}

/// What is done at the same time: the products of one round, and the packing of what the next one does not share with it.
pub struct Step {
    pub now: Option<Placed>,
    pub next: Option<Placed>,
    /// Jobs of the steps before.
    pub first_job: usize,
    /// Tile rows of a job's products.
    pub group: usize,
    pub n_products: usize,
    pub n_left: usize,
    pub n_right: usize,
}

impl Step {
    /// The steps of all rounds, with about `n_jobs` jobs for the products of each.
    pub fn all<T: Tile>(rounds: impl Iterator<Item = Round>, n_jobs: usize) -> Vec<Self> {
        let (mut first_job, mut now) = (0, None::<Placed>);
        let step = |round: Option<Round>| {
            let next = round.map(|round| Placed::after(now, round));
            let n_tiles = now.map_or(0, |now| now.round.rows.1.div_ceil(T::MR));
            let group = n_tiles.div_ceil(n_jobs).max(1);
            let differs = |side: fn(Placed) -> usize| {
                next.filter(|&next| now.is_none_or(|now| side(now) != side(next)))
            };
            let step = Self {
                now,
                next,
                first_job,
                group,
                n_products: n_tiles.div_ceil(group),
                n_left: differs(|at| at.left).map_or(0, |next| next.round.rows.1.div_ceil(T::MR)),
                n_right: differs(|at| at.right).map_or(0, |next| next.round.cols.1.div_ceil(T::NR)),
            };
            first_job += step.n_jobs();
            now = next;
            step
        };
        rounds.map(Some).chain([None]).map(step).collect()
    }

    pub fn n_jobs(&self) -> usize {
        self.n_products + self.n_left + self.n_right
    }
}

impl Placed {
    /// A block that differs goes into the other buffer.
    fn after(now: Option<Self>, round: Round) -> Self {
        now.map_or(
            Self {
                round,
                left: 0,
                right: 0,
            },
            |now| {
                let inner = now.round.inner == round.inner;
                Self {
                    round,
                    left: if inner && now.round.rows == round.rows {
                        now.left
                    } else {
                        1 - now.left
                    },
                    right: if inner && now.round.cols == round.cols {
                        now.right
                    } else {
                        1 - now.right
                    },
                }
            },
        )
    }
}

/// The parts of `0..n` in steps of `step`: first index and length.
pub fn parts(n: usize, step: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..n).step_by(step).map(move |i| (i, step.min(n - i)))
}

/// The smallest multiple of `unit` that cuts `n` into as few parts as `limit` does.
pub fn even(n: usize, limit: usize, unit: usize) -> usize {
    n.div_ceil(n.div_ceil(limit)).next_multiple_of(unit)
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_even() {
        assert_eq!(even(2048, 2048, 14), 2058);
        assert_eq!(even(2100, 2048, 14), 1050);
        assert_eq!(even(40, 512, 32), 64);
        assert_eq!(parts(5, 2).collect::<Vec<_>>(), [(0, 2), (2, 2), (4, 1)]);
    }
}

//! How two sets of feature vectors lie in each other: precision and recall (Kynkaanniemi and others 2019), density and coverage (Naeem
//! and others 2020).
//!
//! A set's manifold is the balls around its vectors that reach to their k-th neighbours.

use crate::error::{Error, Result};
use crate::features::Features;
use m6_nn::gemm::{Mat, MatMut, Threads, gemm};
use rayon::prelude::*;

/// Vectors whose distances are computed at once. Blocks are filled up with zeros to this size, so that a distance is the same number
/// wherever it is computed, and equal vectors lie exactly 0 apart.
const BLOCK: usize = 128;

/// Shares in 0 to 1; `density` may exceed 1.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct ManifoldScores {
    /// Drawn vectors within the real manifold.
    pub precision: f64,
    /// Real vectors within the drawn manifold.
    pub recall: f64,
    /// Real balls that a drawn vector lies in, as a share of k, on average.
    pub density: f64,
    /// Real balls that hold a drawn vector.
    pub coverage: f64,
}

/// Scores of drawn against real vectors with balls to the `k`-th neighbour, as the package `prdc` gives them; 3 and 5 are usual.
/// Takes `n * n * d` multiplications and memory in proportion to n.
///
/// # Errors
/// [`Error::Features`] when the dimensions differ, `k` is 0, or a set has no more than `k` vectors.
pub fn manifold_scores(real: &Features, drawn: &Features, k: usize) -> Result<ManifoldScores> {
    real.expect_like(drawn)?;
    let n_least = real.n().min(drawn.n());
    if k == 0 || n_least <= k {
        return Err(Error::Features(format!(
            "{n_least} vectors have no {k}-th neighbour each; give more than {k} pictures, and k of 1 at least"
        )));
    }
    let (real, drawn) = (Blocks::new(real), Blocks::new(drawn));
    let (real_reach, drawn_reach) = (real.reach(k), drawn.reach(k));
    let counts = (0..real.n_blocks())
        .into_par_iter()
        .map(|block| count(&real, &drawn, block, &real_reach, &drawn_reach))
        .reduce(|| Counts::new(drawn.n), Counts::plus);
    let share = |n: usize, of: usize| n as f64 / of as f64;
    let n_balls: u64 = counts.balls.iter().map(|n| u64::from(*n)).sum();
    let n_inside = counts.balls.iter().filter(|n| **n > 0).count();
    Ok(ManifoldScores {
        precision: share(n_inside, drawn.n),
        recall: share(counts.recalled, real.n),
        density: n_balls as f64 / (k * drawn.n) as f64,
        coverage: share(counts.covered, real.n),
    })
}

/// Feature vectors in blocks of [`BLOCK`], with their squared lengths.
struct Blocks {
    /// `[n_blocks * BLOCK, d]`; zeros behind row n.
    values: Vec<f64>,
    squares: Vec<f64>,
    n: usize,
    d: usize,
}

impl Blocks {
    fn new(features: &Features) -> Self {
        let (n, d) = (features.n(), features.d());
        let mut values = features.values().to_vec();
        values.resize(n.next_multiple_of(BLOCK) * d, 0.0);
        let mut blocks = Self {
            squares: Vec::new(),
            values,
            n,
            d,
        };
        // The same product that distances are made of, so that the three cancel exactly for equal vectors.
        blocks.squares = (0..blocks.n_blocks())
            .into_par_iter()
            .flat_map_iter(|i| {
                let products = blocks.products(&blocks, i, i);
                (0..BLOCK).map(move |j| products[j * BLOCK + j])
            })
            .collect();
        blocks
    }

    fn n_blocks(&self) -> usize {
        self.n.div_ceil(BLOCK)
    }

    fn rows(&self, block: usize) -> std::ops::Range<usize> {
        block * BLOCK..((block + 1) * BLOCK).min(self.n)
    }

    fn block(&self, block: usize) -> Mat<'_, f64> {
        Mat::new(&self.values[block * BLOCK * self.d..], BLOCK, self.d)
    }

    /// Inner products `[BLOCK, BLOCK]` of a block with a block of `other`.
    fn products(&self, other: &Self, block: usize, other_block: usize) -> Vec<f64> {
        let mut out = vec![0.0; BLOCK * BLOCK];
        let into = MatMut::new(&mut out, BLOCK, BLOCK);
        let (a, b) = (self.block(block), other.block(other_block));
        gemm(Threads::One, into, false, 1.0, a, b.t());
        out
    }

    /// Calls `f(row, row of other, squared distance)` for every pair of a vector of the block and a vector of `other`.
    fn each_pair(&self, other: &Self, block: usize, mut f: impl FnMut(usize, usize, f64)) {
        for other_block in 0..other.n_blocks() {
            let products = self.products(other, block, other_block);
            for i in self.rows(block) {
                let products = &products[(i - block * BLOCK) * BLOCK..][..BLOCK];
                for (j, product) in other.rows(other_block).zip(products) {
                    let apart = self.squares[i] + other.squares[j] - 2.0 * product;
                    f(i, j, apart.max(0.0));
                }
            }
        }
    }

    /// Squared distance of every vector to its `k`-th neighbour.
    fn reach(&self, k: usize) -> Vec<f64> {
        let of_block = |block: usize| {
            let rows = self.rows(block);
            let mut nearest = vec![vec![f64::INFINITY; k]; rows.len()];
            self.each_pair(self, block, |i, j, apart| {
                let nearest = &mut nearest[i - rows.start];
                if i != j && apart < nearest[k - 1] {
                    let at = nearest.partition_point(|other| *other <= apart);
                    nearest.pop();
                    nearest.insert(at, apart);
                }
            });
            nearest.into_iter().map(move |nearest| nearest[k - 1])
        };
        let blocks = (0..self.n_blocks()).into_par_iter();
        blocks.flat_map_iter(of_block).collect()
    }
}

/// What the pairs of some real vectors with all drawn ones show.
struct Counts {
    /// Real balls that each drawn vector lies in.
    balls: Vec<u32>,
    /// Real vectors that lie in a drawn ball.
    recalled: usize,
    /// Real vectors whose ball holds a drawn one.
    covered: usize,
}

impl Counts {
    fn new(n_drawn: usize) -> Self {
        Self {
            balls: vec![0; n_drawn],
            recalled: 0,
            covered: 0,
        }
    }

    fn plus(mut self, other: Self) -> Self {
        for (n, more) in self.balls.iter_mut().zip(&other.balls) {
            *n += more;
        }
        self.recalled += other.recalled;
        self.covered += other.covered;
        self
    }
}

fn count(
    real: &Blocks,
    drawn: &Blocks,
    block: usize,
    real_reach: &[f64],
    drawn_reach: &[f64],
) -> Counts {
    let mut counts = Counts::new(drawn.n);
    let first = block * BLOCK;
    let mut seen = [(false, false); BLOCK];
    real.each_pair(drawn, block, |i, j, apart| {
        let (recalled, covered) = &mut seen[i - first];
        *recalled |= apart < drawn_reach[j];
        if apart < real_reach[i] {
            *covered = true;
            counts.balls[j] += 1;
        }
    });
    counts.recalled = seen.iter().filter(|(recalled, _)| *recalled).count();
    counts.covered = seen.iter().filter(|(_, covered)| *covered).count();
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(values: &[f64], d: usize) -> Features {
        Features::new(values, d).unwrap()
    }

    #[test]
    fn balls_on_a_line_are_counted_by_hand() {
        // With k = 1 the real balls reach 1, 1 and 8; the drawn ones 0.5, 0.5 and 30.
        let real = set(&[0.0, 1.0, 9.0], 1);
        let drawn = set(&[0.5, 1.0, 31.0], 1);
        let scores = manifold_scores(&real, &drawn, 1).unwrap();
        assert_eq!(scores.precision, 2.0 / 3.0);
        // 1.0 is in the balls of 0.5 (just not, 0.5 is its edge), 1.0 and 31 (just not, 30 is its edge); 9.0 in that of 31.
        assert_eq!(scores.recall, 2.0 / 3.0);
        // 0.5 lies in the balls of 0 and 1, 1.0 in that of 1 (for 0 and 9 it is on the edge).
        assert_eq!(scores.density, 3.0 / 3.0);
        assert_eq!(scores.coverage, 2.0 / 3.0);
    }

    #[test]
    fn too_few_vectors_and_unequal_lengths_are_errors() {
        let (a, b) = (set(&[1.0, 2.0, 3.0, 4.0], 1), set(&[1.0, 2.0, 3.0, 4.0], 2));
        assert!(manifold_scores(&a, &b, 1).is_err());
        assert!(manifold_scores(&a, &a, 0).is_err());
        let error = manifold_scores(&a, &a, 4).unwrap_err().to_string();
        assert!(
            error.contains("4 vectors have no 4-th neighbour"),
            "{error}"
        );
        assert!(manifold_scores(&a, &a, 3).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..Default::default() })]

        /// A set lies in itself: only the k-th neighbours are on the edge, and edges do not count.
        #[test]
        fn a_set_is_its_own_manifold(
            d in 1usize..70, n in 5usize..300, seed in 0u64..1000, k in 1usize..5
        ) {
            let mut stream = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = || {
                stream ^= stream << 13;
                stream ^= stream >> 7;
                stream ^= stream << 17;
                (stream >> 11) as f64 / (1u64 << 53) as f64
            };
            let values: Vec<f64> = (0..n * d).map(|_| next()).collect();
            let scores = manifold_scores(&set(&values, d), &set(&values, d), k).unwrap();
            prop_assert_eq!((scores.precision, scores.recall, scores.coverage), (1.0, 1.0, 1.0));
            prop_assert!((scores.density - 1.0).abs() < 1e-12, "{}", scores.density);
        }
    }
}

//! Linear map and layer normalisation whose rows do not depend on their neighbours, bit for bit.
//!
//! Every output is one inner product in one fixed order, however many rows or threads take part. A single row is limited by reading
//! the weights once from memory; several rows share each weight read.

use crate::infer::dots::{TILE, dot, dots_into};
use crate::kernels::layer_norm::layer_norm_row;
use crate::kernels::linear::Act;
use crate::kernels::shared::Shared;
use crate::real::{Real, add_into};
use rayon::prelude::*;
use std::ops::Range;

/// Outputs per task: of a single row, and of several, which are taken a tile at a time.
const N_TASK_OUTPUTS: [usize; 2] = [32, 48];
/// Rows that a task takes through its outputs before the next ones, whole tiles: they stay in the cache.
const N_BLOCK_ROWS: usize = 32;

/// Operands of [`linear_rows`] that all tasks share.
struct Operands<'a> {
    x: &'a [f32],
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    n: usize,
    k: usize,
    o: usize,
    act: Act,
    out: Shared<'a, f32>,
}

/// `out [n, o] = act(x [n, k] * w [o, k]^T + b)`; row `i` of `out` depends on row `i` of `x` alone, bit for bit.
///
/// Panics if the slices do not have these lengths.
pub fn linear_rows(
    x: &[f32],
    n: usize,
    k: usize,
    w: &[f32],
    b: Option<&[f32]>,
    act: Act,
    out: &mut [f32],
) {
    assert_eq!(x.len(), n * k, "x is not [n, k]");
    let o = out.len().checked_div(n).unwrap_or(0);
    assert_eq!(out.len(), n * o, "out is not [n, o]");
    assert!(n == 0 || w.len() == o * k, "w is not [o, k]");
    assert!(b.is_none_or(|b| n == 0 || b.len() == o), "b is not [o]");
    if out.is_empty() {
        return;
    }
    let operands = Operands {
        x,
        w,
        bias: b,
        n,
        k,
        o,
        act,
        out: Shared::new(out),
    };
    let width = N_TASK_OUTPUTS[usize::from(n > 1)];
    (0..o.div_ceil(width)).into_par_iter().for_each(|task| {
        operands.outputs(task * width, width.min(o - task * width));
    });
}

impl Operands<'_> {
    /// Fills outputs `first..first + width` of every row.
    fn outputs(&self, first: usize, width: usize) {
        if self.n == 1 {
            // One weight row after the other, as they lie in memory.
            let out = self.part(0, first, width);
            for (j, out) in out.iter_mut().enumerate() {
                *out = dot(self.x, self.weights(first + j));
            }
        } else {
            const { assert!(N_BLOCK_ROWS.is_multiple_of(TILE[0])) };
            let in_tiles = width / TILE[1] * TILE[1];
            for from in (0..self.n).step_by(N_BLOCK_ROWS) {
                let rows = from..self.n.min(from + N_BLOCK_ROWS);
                for j in (0..in_tiles).step_by(TILE[1]) {
                    self.columns::<{ TILE[1] }, { TILE[0] * TILE[1] }, { 2 * TILE[1] }>(
                        rows.clone(),
                        first + j,
                    );
                }
                for j in in_tiles..width {
                    self.columns::<1, { TILE[0] }, 2>(rows.clone(), first + j);
                }
            }
        }
        (0..self.n).for_each(|row| self.finish(row, first, width));
    }

    /// The inner products of some rows, which begin a tile, with `O` weight rows from the `first` on; `P` and `Q` are `O` times the rows of a tile, and
    /// times the two that are taken of those left over.
    fn columns<const O: usize, const P: usize, const Q: usize>(
        &self,
        rows: Range<usize>,
        first: usize,
    ) {
        const R: usize = TILE[0];
        let ws: [&[f32]; O] = std::array::from_fn(|c| self.weights(first + c));
        let in_tiles = rows.start + rows.len() / R * R;
        for row in (rows.start..in_tiles).step_by(R) {
            let xs: [&[f32]; R] = std::array::from_fn(|r| self.row(row + r));
            let out = std::array::from_fn(|r| self.part(row + r, first, O));
            match row {
                0 => dots_into::<R, O, P, true>(xs, ws, out),
                _ => dots_into::<R, O, P, false>(xs, ws, out),
            }
        }
        let in_twos = in_tiles + (rows.end - in_tiles) / 2 * 2;
        for row in (in_tiles..in_twos).step_by(2) {
            let xs = [self.row(row), self.row(row + 1)];
            let out = [row, row + 1].map(|row| self.part(row, first, O));
            match row {
                0 => dots_into::<2, O, Q, true>(xs, ws, out),
                _ => dots_into::<2, O, Q, false>(xs, ws, out),
            }
        }
        for row in in_twos..rows.end {
            dots_into::<1, O, O, false>([self.row(row)], ws, [self.part(row, first, O)]);
        }
    }

    /// Bias and activation of outputs `first..first + width` of a row.
    fn finish(&self, row: usize, first: usize, width: usize) {
        let out = self.part(row, first, width);
        if let Some(bias) = self.bias {
            add_into(out, &bias[first..first + width]);
        }
        match self.act {
            Act::None => {}
            // Each has a loop of its own, so that it is vectorised.
            Act::Gelu => out.iter_mut().for_each(|v| *v = v.gelu()),
            Act::Relu => out.iter_mut().for_each(|v| *v = Act::Relu.apply(*v)),
        }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.x[row * self.k..][..self.k]
    }

    fn weights(&self, output: usize) -> &[f32] {
        &self.w[output * self.k..][..self.k]
    }

    /// Outputs `first..first + width` of a row.
    #[allow(clippy::mut_from_ref)]
    fn part(&self, row: usize, first: usize, width: usize) -> &mut [f32] {
        // SAFETY: a task touches the outputs of its own range alone, slices of different rows or one at a time.
        unsafe { self.out.slice(row * self.o + first, width) }
    }
}

/// Layer normalisation of every row of `x [n, d]` into `out`, where `d` is the length of `w` and `b`.
///
/// Panics if the slices do not have these lengths.
pub fn layer_norm_rows(x: &[f32], w: &[f32], b: &[f32], eps: f32, out: &mut [f32]) {
    let d = w.len();
    assert!(b.len() == d && x.len() == out.len(), "lengths do not fit");
    if d == 0 {
        return;
    }
    assert_eq!(x.len() % d, 0, "x is not [n, d]");
    for (x, out) in x.chunks_exact(d).zip(out.chunks_exact_mut(d)) {
        layer_norm_row(x, w, b, eps, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0)
            .collect()
    }

    #[test]
    fn rows_are_right_and_do_not_depend_on_their_neighbours() {
        for (n, k, o) in [
            (1, 64, 64),
            (5, 37, 131),
            (4, 130, 66),
            (67, 33, 50),
            (3, 3, 2),
            (2, 0, 5),
        ] {
            let (x, w, b) = (numbers(n * k, 1), numbers(o * k, 2), numbers(o, 3));
            let mut all = vec![9.0; n * o];
            linear_rows(&x, n, k, &w, Some(&b), Act::Gelu, &mut all);
            for row in 0..n {
                let mut one = vec![9.0; o];
                linear_rows(&x[row * k..][..k], 1, k, &w, Some(&b), Act::Gelu, &mut one);
                assert!(one == all[row * o..][..o], "row {row} of {n} {k} {o}");
                for j in 0..o {
                    let exact: f64 = (0..k)
                        .map(|p| f64::from(x[row * k + p]) * f64::from(w[j * k + p]))
                        .sum();
                    let want = (exact + f64::from(b[j])).gelu();
                    assert!((f64::from(one[j]) - want).abs() < 1e-4, "({row}, {j})");
                }
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (n, k, o) = (6, 96, 200);
        let (x, w) = (numbers(n * k, 4), numbers(o * k, 5));
        let run = |n_threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n_threads)
                .build()
                .unwrap();
            let mut out = vec![0.0; n * o];
            pool.install(|| linear_rows(&x, n, k, &w, None, Act::None, &mut out));
            out
        };
        assert!(run(1) == run(2));
    }

    #[test]
    fn a_normalised_row_has_mean_zero_and_variance_one() {
        let x = numbers(2 * 50, 6);
        let mut out = vec![0.0; 100];
        layer_norm_rows(&x, &[1.0; 50], &[0.0; 50], 0.0, &mut out);
        for row in out.chunks_exact(50) {
            let mean: f32 = row.iter().sum::<f32>() / 50.0;
            let variance: f32 = row.iter().map(|v| v * v).sum::<f32>() / 50.0;
            assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5);
        }
    }
}

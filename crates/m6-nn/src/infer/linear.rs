//! Linear map and layer normalisation whose rows do not depend on their neighbours, bit for bit.
//!
//! Every output is one inner product in one fixed order, however many rows or threads take part. A single row is limited by reading
//! the weights once from memory; several rows share each weight read.

use crate::kernels::layer_norm::layer_norm_row;
use crate::kernels::linear::Act;
use crate::real::Real;
use rayon::prelude::*;

/// Accumulators per inner product.
const N_LANES: usize = 16;
/// Outputs per task.
const N_TASK_OUTPUTS: usize = 32;
/// How far ahead a single row asks for weights, in elements. The hardware stops at the end of each 4 KB page; asked for in time, weights
/// come at 37 GB/s instead of 28 (two threads of the machine in docs/benchmarks.md).
const AHEAD: usize = 2048;

/// Where a task's block of outputs lies: its first output and their number.
struct Corner {
    first: usize,
    width: usize,
}

/// Operands of [`linear_rows`] that all tasks share.
struct Operands<'a> {
    x: &'a [f32],
    w: &'a [f32],
    bias: Option<&'a [f32]>,
    n: usize,
    k: usize,
    act: Act,
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
        act,
    };
    if n == 1 {
        out.par_chunks_mut(N_TASK_OUTPUTS)
            .enumerate()
            .for_each(|(task, out)| operands.outputs(task, out));
        return;
    }
    // Tasks own columns of `out`, which are not adjacent, so each fills a block of its own that is then copied.
    let mut blocks = vec![0.0; n * o];
    blocks
        .par_chunks_mut(n * N_TASK_OUTPUTS)
        .enumerate()
        .for_each(|(task, out)| operands.outputs(task, out));
    for (task, block) in blocks.chunks(n * N_TASK_OUTPUTS).enumerate() {
        let width = block.len() / n;
        for (row, values) in block.chunks_exact(width).enumerate() {
            out[row * o + task * N_TASK_OUTPUTS..][..width].copy_from_slice(values);
        }
    }
}

impl Operands<'_> {
    /// Fills the block `out [n, width]` of the outputs that start at `task * N_TASK_OUTPUTS`.
    fn outputs(&self, task: usize, out: &mut [f32]) {
        let width = out.len() / self.n;
        let at = Corner {
            first: task * N_TASK_OUTPUTS,
            width,
        };
        let paired = self.n / 2 * 2;
        for row in (0..paired).step_by(2) {
            let whole = width / 2 * 2;
            (0..whole)
                .step_by(2)
                .for_each(|j| self.block::<2, 2, 4>(row, j, &at, out));
            (whole..width).for_each(|j| self.block::<2, 1, 2>(row, j, &at, out));
        }
        // One weight row after the other, as they lie in memory.
        for row in paired..self.n {
            (0..width).for_each(|j| self.block::<1, 1, 1>(row, j, &at, out));
        }
    }

    /// The `P = R * O` results of `R` rows and `O` outputs at `(row, j)` of a task's block.
    #[inline(always)]
    fn block<const R: usize, const O: usize, const P: usize>(
        &self,
        row: usize,
        j: usize,
        at: &Corner,
        out: &mut [f32],
    ) {
        let k = self.k;
        let xs: [&[f32]; R] = std::array::from_fn(|r| &self.x[(row + r) * k..][..k]);
        let ws: [&[f32]; O] = std::array::from_fn(|c| &self.w[(at.first + j + c) * k..][..k]);
        let dots: [f32; P] = dots(xs, ws);
        for r in 0..R {
            for c in 0..O {
                out[(row + r) * at.width + j + c] = self.finish(dots[r * O + c], at.first + j + c);
            }
        }
    }

    fn finish(&self, dot: f32, output: usize) -> f32 {
        self.act.apply(self.bias.map_or(dot, |b| dot + b[output]))
    }
}

/// One inner product of two short vectors of one length.
#[inline(always)]
pub(super) fn inner(x: &[f32], y: &[f32]) -> f32 {
    let (x_parts, y_parts) = (x.as_chunks::<N_LANES>(), y.as_chunks::<N_LANES>());
    let mut lanes = Lanes([0.0; N_LANES]);
    for (x, y) in x_parts.0.iter().zip(y_parts.0) {
        lanes = lanes.fma(x, y);
    }
    let rest = x_parts.1.iter().zip(y_parts.1);
    rest.fold(join(&lanes.0), |sum, (&x, &y)| x.fma(y, sum))
}

/// Running sums of one inner product. A value, not a place: that is what keeps it in vector registers.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Lanes([f32; N_LANES]);

impl Lanes {
    #[inline(always)]
    fn fma(self, x: &[f32; N_LANES], w: &[f32; N_LANES]) -> Self {
        let mut sums = [0.0; N_LANES];
        for l in 0..N_LANES {
            sums[l] = x[l].fma(w[l], self.0[l]);
        }
        Self(sums)
    }
}

/// The `P = R * O` inner products of `R` rows with `O` weight rows, all of one length, row by row.
///
/// The order of summation within one does not depend on `R` and `O`.
#[inline(never)]
fn dots<const R: usize, const O: usize, const P: usize>(
    xs: [&[f32]; R],
    ws: [&[f32]; O],
) -> [f32; P] {
    let mut lanes = [Lanes([0.0; N_LANES]); P];
    let (x_parts, w_parts) = (
        xs.map(|x| x.as_chunks::<N_LANES>()),
        ws.map(|w| w.as_chunks::<N_LANES>()),
    );
    let n = x_parts[0].0.len();
    // Slices of a length known to be `n` spare the bounds checks below.
    let (x_lanes, w_lanes) = (x_parts.map(|x| &x.0[..n]), w_parts.map(|w| &w.0[..n]));
    for i in 0..n {
        if R == 1 {
            ws.iter().for_each(|w| prefetch(w, i * N_LANES + AHEAD));
        }
        for r in 0..R {
            for c in 0..O {
                lanes[r * O + c] = lanes[r * O + c].fma(&x_lanes[r][i], &w_lanes[c][i]);
            }
        }
    }
    let mut totals = lanes.map(|lanes| join(&lanes.0));
    for r in 0..R {
        for c in 0..O {
            for (&x, &w) in x_parts[r].1.iter().zip(w_parts[c].1) {
                totals[r * O + c] = x.fma(w, totals[r * O + c]);
            }
        }
    }
    totals
}

/// Asks for the cache line of element `at`, which may be behind the end.
#[inline(always)]
fn prefetch(values: &[f32], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; no memory is accessed, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}

/// Sum of the lanes, halving: a fixed order.
#[inline(always)]
fn join(lanes: &[f32; N_LANES]) -> f32 {
    let mut lanes = *lanes;
    let mut half = N_LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
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

//! Feed-forward experts over tokens sorted by expert, `sum_s gate_s (W2 gelu(W1 x + b1) + b2)`, and its gradients, in grouped products.
//!
//! Letters: n tokens, s choices of a token, r rows, e experts, d model, f feed-forward. Experts are worked on side by side, and each
//! product inside is parallel as well: few large experts and many small ones both keep the pool busy. No sum crosses tasks.

use crate::gemm::{Mat, matmul};
use crate::glue::{uninit, zeros};
use crate::kernels::linear::column_sums;
use crate::kernels::route::{NO_ROW, Routing};
use crate::real::{Real, add_into, dot};
use rayon::prelude::*;

/// Rows per task of element-wise passes.
const N_TASK_ROWS: usize = 16;

/// Stacked weights `[e, o, k]` and biases `[e, o]` of one of the two layers.
#[derive(Clone, Copy)]
pub struct Stack<'a, T> {
    /// One matrix an expert, as in a linear layer.
    pub w_eok: &'a [T],
    /// One bias an expert.
    pub b_eo: &'a [T],
    /// Rows of a matrix.
    pub o: usize,
    /// Columns of a matrix.
    pub k: usize,
}

impl<T> Stack<'_, T> {
    fn weight(&self, e: usize) -> &[T] {
        &self.w_eok[e * self.o * self.k..][..self.o * self.k]
    }

    fn bias(&self, e: usize) -> &[T] {
        &self.b_eo[e * self.o..][..self.o]
    }
}

/// Where the rows of each expert begin, and the end: one number more than there are experts.
pub type Offsets = [usize];

/// Rows of the last expert end here.
fn n_rows(offsets: &Offsets) -> usize {
    offsets.last().copied().unwrap_or(0)
}

/// The rows of each expert of `values [r, width]`.
fn by_expert<'a, T>(values: &'a mut [T], offsets: &Offsets, width: usize) -> Vec<&'a mut [T]> {
    let mut rest = values;
    let mut parts = Vec::with_capacity(offsets.len());
    for ends in offsets.windows(2) {
        let (part, behind) = rest.split_at_mut((ends[1] - ends[0]) * width);
        parts.push(part);
        rest = behind;
    }
    parts
}

/// The rows of one expert.
fn rows_of<'a, T>(values: &'a [T], offsets: &Offsets, e: usize, width: usize) -> &'a [T] {
    &values[offsets[e] * width..offsets[e + 1] * width]
}

/// The rows of `x [n, d]` in the order of the experts, `[r, d]`.
pub fn gather<T: Real>(x_nd: &[T], routing: &Routing, d: usize) -> Vec<T> {
    let mut x_rd = uninit(routing.n_rows() * d);
    x_rd.par_chunks_mut(d)
        .enumerate()
        .with_min_len(N_TASK_ROWS)
        .for_each(|(row, to)| to.copy_from_slice(&x_nd[routing.token_of(row) * d..][..d]));
    x_rd
}

/// `x W^T + b` of every row with the weights of its expert: `[r, k]` to `[r, o]`.
pub fn affine<T: Real>(x_rk: &[T], layer: Stack<'_, T>, offsets: &Offsets) -> Vec<T> {
    let (o, k) = (layer.o, layer.k);
    let mut y_ro = uninit(n_rows(offsets) * o);
    let parts = by_expert(&mut y_ro, offsets, o);
    parts
        .into_par_iter()
        .enumerate()
        .with_max_len(1)
        .for_each(|(e, y)| {
            let (x, m) = (rows_of(x_rk, offsets, e, k), offsets[e + 1] - offsets[e]);
            let w = Mat::new(layer.weight(e), o, k);
            matmul(y, false, Mat::new(x, m, k), w.t());
            y.par_chunks_mut(o * N_TASK_ROWS).for_each(|rows| {
                rows.chunks_exact_mut(o)
                    .for_each(|row| add_into(row, layer.bias(e)));
            });
        });
    y_ro
}

/// GELU of every element.
pub fn gelu<T: Real>(u: &[T]) -> Vec<T> {
    let mut a = uninit(u.len());
    a.par_chunks_mut(4096)
        .zip(u.par_chunks(4096))
        .for_each(|(a, u)| {
            for (a, u) in a.iter_mut().zip(u) {
                *a = u.gelu();
            }
        });
    a
}

/// Sums of the rows of a token, each times its gate `[n, s]`: `[r, d]` to `[n, d]`, zero for a token without rows.
pub fn combine<T: Real>(y_rd: &[T], gates_ns: &[T], routing: &Routing, d: usize) -> Vec<T> {
    each_token(routing, d, |t, out| {
        for (row, at) in rows_of_token(routing, t) {
            let gate = gates_ns[at];
            for (out, &y) in out.iter_mut().zip(&y_rd[row * d..][..d]) {
                *out += gate * y;
            }
        }
    })
}

/// Sums of the rows of a token: gradient of [`gather`].
pub fn gather_grad<T: Real>(dx_rd: &[T], routing: &Routing, d: usize) -> Vec<T> {
    each_token(routing, d, |t, out| {
        for (row, _) in rows_of_token(routing, t) {
            add_into(out, &dx_rd[row * d..][..d]);
        }
    })
}

/// The rows of a token with their flat places, in the order of its choices.
fn rows_of_token(routing: &Routing, t: usize) -> impl Iterator<Item = (usize, usize)> {
    let s = routing.n_choices;
    let places = (t * s..(t + 1) * s).map(|at| (routing.row_ns[at], at));
    let kept = places.filter(|(row, _)| *row != NO_ROW);
    kept.map(|(row, at)| (row as usize, at))
}

fn each_token<T: Real>(routing: &Routing, d: usize, f: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    let mut out_nd = zeros(routing.n_tokens * d);
    out_nd
        .par_chunks_mut(d)
        .enumerate()
        .with_min_len(N_TASK_ROWS)
        .for_each(|(t, out)| f(t, out));
    out_nd
}

/// Gradients of [`combine`]: turns the results `y [r, d]` into their own gradient and gives that of the gates, `[n, s]`.
pub fn combine_grad<T: Real>(
    y_rd: &mut [T],
    gates_ns: &[T],
    grad_nd: &[T],
    routing: &Routing,
    d: usize,
) -> Vec<T> {
    let mut dgate_r = uninit(routing.n_rows());
    y_rd.par_chunks_mut(d)
        .zip(&mut dgate_r)
        .enumerate()
        .with_min_len(N_TASK_ROWS)
        .for_each(|(row, (y, dgate))| {
            let grad = &grad_nd[routing.token_of(row) * d..][..d];
            *dgate = dot(y, grad);
            let gate = gates_ns[routing.place_of_row[row] as usize];
            for (y, &grad) in y.iter_mut().zip(grad) {
                *y = gate * grad;
            }
        });
    let mut dgates_ns = vec![T::zero(); gates_ns.len()];
    for (&at, &dgate) in routing.place_of_row.iter().zip(&dgate_r) {
        dgates_ns[at as usize] = dgate;
    }
    dgates_ns
}

/// Adds the weight gradients `dy^T x` of every expert to `dw [e, o, k]`, or writes them where nothing is `filled` yet.
pub fn weight_grad<T: Real>(
    dw_eok: &mut [T],
    filled: bool,
    dy_ro: &[T],
    x_rk: &[T],
    offsets: &Offsets,
    (o, k): (usize, usize),
) {
    let parts = dw_eok.par_chunks_mut((o * k).max(1));
    parts.enumerate().with_max_len(1).for_each(|(e, dw)| {
        let m = offsets[e + 1] - offsets[e];
        let dy = Mat::new(rows_of(dy_ro, offsets, e, o), m, o);
        let x = Mat::new(rows_of(x_rk, offsets, e, k), m, k);
        matmul(dw, filled, dy.t(), x);
    });
}

/// Bias gradients of every expert, `[e, o]`.
pub fn bias_grad<T: Real>(dy_ro: &[T], offsets: &Offsets, o: usize) -> Vec<T> {
    let mut db_eo = uninit(offsets.len().saturating_sub(1) * o);
    let parts = db_eo.par_chunks_mut(o);
    parts.enumerate().with_max_len(1).for_each(|(e, db)| {
        db.copy_from_slice(&column_sums(rows_of(dy_ro, offsets, e, o), o));
    });
    db_eo
}

/// Gradient of what [`affine`] reads: `dy W` of every row with the weights of its expert, `[r, o]` to `[r, k]`.
pub fn affine_grad<T: Real>(dy_ro: &[T], layer: Stack<'_, T>, offsets: &Offsets) -> Vec<T> {
    let (o, k) = (layer.o, layer.k);
    let mut dx_rk = uninit(n_rows(offsets) * k);
    let parts = by_expert(&mut dx_rk, offsets, k);
    parts
        .into_par_iter()
        .enumerate()
        .with_max_len(1)
        .for_each(|(e, dx)| {
            let m = offsets[e + 1] - offsets[e];
            let dy = Mat::new(rows_of(dy_ro, offsets, e, o), m, o);
            matmul(dx, false, dy, Mat::new(layer.weight(e), o, k));
        });
    dx_rk
}

//! Layer normalisation over rows.

use crate::glue::uninit;
use crate::real::{Real, add_parts, pair_sums, sum};
use rayon::prelude::*;

/// Rows per task in the forward pass.
const N_TASK_ROWS: usize = 32;
/// Rows per partial sum of the weight gradients.
const N_SUM_ROWS: usize = 128;

/// Mean of a row and the inverse of its standard deviation (biased, `eps` under the root).
#[inline]
pub fn row_stats<T: Real>(x: &[T], eps: T) -> (T, T) {
    let n = T::number(x.len() as f64);
    let mean = sum(x) / n;
    let [squares] = pair_sums(x, x, |a, _| [(a - mean) * (a - mean)]);
    (mean, T::one() / (squares / n + eps).sqrt())
}

/// One row: `y = (x - mean) / std * w + b`.
#[inline]
pub fn layer_norm_row<T: Real>(x: &[T], w: &[T], b: &[T], eps: T, y: &mut [T]) {
    let (mean, inv_std) = row_stats(x, eps);
    for (((y, &x), &w), &b) in y.iter_mut().zip(x).zip(w).zip(b) {
        *y = (x - mean) * inv_std * w + b;
    }
}

/// `x [n, d]` normalised row by row.
pub fn layer_norm<T: Real>(x: &[T], w: &[T], b: &[T], eps: T) -> Vec<T> {
    let d = w.len();
    let mut y = uninit(x.len());
    if d == 0 {
        return y;
    }
    assert!(b.len() == d && x.len().is_multiple_of(d));
    y.par_chunks_mut(d * N_TASK_ROWS)
        .zip(x.par_chunks(d * N_TASK_ROWS))
        .for_each(|(y, x)| {
            for (y, x) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
                layer_norm_row(x, w, b, eps, y);
            }
        });
    y
}

/// Gradients of [`layer_norm`].
#[derive(Debug)]
pub struct LayerNormGrads<T> {
    /// With respect to the input, `[n, d]`.
    pub dx: Vec<T>,
    /// With respect to the weight, `[d]`.
    pub dw: Vec<T>,
    /// With respect to the bias, `[d]`.
    pub db: Vec<T>,
}

/// Gradients of [`layer_norm`] given that of its result; the statistics are computed again rather than kept.
pub fn layer_norm_grads<T: Real>(x: &[T], w: &[T], grad: &[T], eps: T) -> LayerNormGrads<T> {
    let d = w.len();
    let mut dx = uninit(x.len());
    if d == 0 {
        return LayerNormGrads {
            dx,
            dw: Vec::new(),
            db: Vec::new(),
        };
    }
    assert!(x.len() == grad.len() && x.len().is_multiple_of(d));
    let n = d * N_SUM_ROWS;
    let parts = dx
        .par_chunks_mut(n)
        .zip(x.par_chunks(n))
        .zip(grad.par_chunks(n))
        .map(|((dx, x), grad)| grads_of_rows(x, w, grad, eps, dx))
        .collect();
    let mut dw: Vec<T> = add_parts(parts).unwrap_or_else(|| vec![T::zero(); 2 * d]);
    let db = dw.split_off(d);
    LayerNormGrads { dx, dw, db }
}

/// Writes `dx` of some rows; returns their share of the weight gradient followed by that of the bias.
fn grads_of_rows<T: Real>(x: &[T], w: &[T], grad: &[T], eps: T, dx: &mut [T]) -> Vec<T> {
    let d = w.len();
    let n = T::number(d as f64);
    let mut sums = vec![T::zero(); 2 * d];
    let (dw, db) = sums.split_at_mut(d);
    let mut normal = vec![T::zero(); d];
    for ((dx, x), grad) in dx
        .chunks_exact_mut(d)
        .zip(x.chunks_exact(d))
        .zip(grad.chunks_exact(d))
    {
        let (mean, inv_std) = row_stats(x, eps);
        for j in 0..d {
            normal[j] = (x[j] - mean) * inv_std;
            dx[j] = grad[j] * w[j];
            dw[j] += grad[j] * normal[j];
            db[j] += grad[j];
        }
        let [along_one, along_normal] = pair_sums(dx, &normal, |a, b| [a, a * b]);
        let (along_one, along_normal) = (along_one / n, along_normal / n);
        for j in 0..d {
            dx[j] = inv_std * (dx[j] - along_one - normal[j] * along_normal);
        }
    }
    sums
}

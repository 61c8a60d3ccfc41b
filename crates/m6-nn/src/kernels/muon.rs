//! The Muon update (Jordan and others 2024) of one weight, in the order of operations of PyTorch 2.11's `torch.optim.Muon`, in full
//! precision: momentum, then the nearest matrix with singular values near 1, then a step of it.

use crate::gemm::{Mat, MatMut, Threads, gemm};
use crate::glue::{CHUNK, uninit};
use crate::real::{Real, dot};
use rayon::prelude::*;

/// Steps of the Newton-Schulz iteration.
const N_STEPS: usize = 5;
/// Coefficients of its polynomial `a x + b x^3 + c x^5`: steep at 0, so that small singular values rise fast.
const POLYNOMIAL: [f64; 3] = [3.4445, -4.7750, 2.0315];
/// Smallest norm that is divided by.
const EPS: f64 = 1e-7;
/// Root mean square of a step of AdamW, which a step here is scaled to; so learning rate and weight decay carry over.
const RMS: f64 = 0.2;

/// Everything about a step that is the same for all elements.
#[derive(Debug, Clone, Copy)]
pub struct MuonStep {
    /// Factor on the gradient (clipping, loss scale).
    pub grad_scale: f64,
    /// Decay rate of the momentum.
    pub momentum: f64,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay, already 0 for parameters that are not decayed.
    pub weight_decay: f64,
}

/// A weight as matrices: their number, rows and columns. Experts are stacked matrices, a filter is a row of all its inputs.
pub fn matrices(shape: &[usize]) -> (usize, usize, usize) {
    match *shape {
        [rows, cols] => (1, rows, cols),
        [n, rows, cols] => (n, rows, cols),
        [rows, ref rest @ ..] => (1, rows, rest.iter().product()),
        [] => (1, 1, 1),
    }
}

/// Updates `value` and the momentum `avg` from the gradient, all of `shape`.
pub fn muon<T: Real>(value: &mut [T], grad: &[T], avg: &mut [T], shape: &[usize], s: &MuonStep) {
    let (_, rows, cols) = matrices(shape);
    let mut update = nesterov(grad, avg, s);
    let step = T::number(s.lr * RMS * (rows.max(cols) as f64).sqrt());
    let keep = T::number(1.0 - s.lr * s.weight_decay);
    let each = (rows * cols).max(1);
    for (value, update) in value.chunks_mut(each).zip(update.chunks_mut(each)) {
        let update = orthogonal(update, rows, cols);
        let pairs = value.par_chunks_mut(CHUNK).zip(update.par_chunks(CHUNK));
        pairs.for_each(|(value, update)| {
            for (value, &update) in value.iter_mut().zip(update) {
                *value = *value * keep - step * update;
            }
        });
    }
}

/// Moves the momentum towards the gradient and looks one step ahead of it.
fn nesterov<T: Real>(grad: &[T], avg: &mut [T], s: &MuonStep) -> Vec<T> {
    let (scale, keep, gain) = (
        T::number(s.grad_scale),
        T::number(s.momentum),
        T::number(1.0 - s.momentum),
    );
    let mut update = uninit(grad.len());
    update
        .par_chunks_mut(CHUNK)
        .zip(grad.par_chunks(CHUNK))
        .zip(avg.par_chunks_mut(CHUNK))
        .for_each(|((update, grad), avg)| {
            for ((update, &grad), avg) in update.iter_mut().zip(grad).zip(avg) {
                let grad = grad * scale;
                *avg += (grad - *avg) * gain;
                *update = grad + (*avg - grad) * keep;
            }
        });
    update
}

/// Brings the singular values of `x [rows, cols]` near 1 (between about 0.7 and 1.2) and leaves its singular vectors.
fn orthogonal<T: Real>(x: &mut [T], rows: usize, cols: usize) -> Vec<T> {
    let squares: f64 = x.chunks(CHUNK).map(|x| dot(x, x).to_f64()).sum();
    let scale = T::number(1.0 / squares.sqrt().max(EPS));
    x.iter_mut().for_each(|x| *x *= scale);
    let [a, b, c] = POLYNOMIAL.map(T::number);
    let small = rows.min(cols);
    let (mut x, mut gram, mut inner) = (x.to_vec(), uninit(small * small), uninit(small * small));
    let mut next = uninit(x.len());
    for _ in 0..N_STEPS {
        let x_rc = Mat::new(&x, rows, cols);
        let square = |values| Mat::new(values, small, small);
        let (left, right) = match rows <= cols {
            true => (x_rc, x_rc.t()),
            false => (x_rc.t(), x_rc),
        };
        product(
            &mut gram,
            (small, small),
            T::zero(),
            &[],
            T::one(),
            left,
            right,
        );
        product(
            &mut inner,
            (small, small),
            b,
            &gram,
            c,
            square(&gram),
            square(&gram),
        );
        let (left, right) = match rows <= cols {
            true => (square(&inner), x_rc),
            false => (x_rc, square(&inner)),
        };
        product(&mut next, (rows, cols), a, &x, T::one(), left, right);
        std::mem::swap(&mut x, &mut next);
    }
    x
}

/// `to = add_scale * add + scale * left * right`; nothing is added when `add` is empty.
fn product<T: Real>(
    to: &mut [T],
    (rows, cols): (usize, usize),
    add_scale: T,
    add: &[T],
    scale: T,
    left: Mat<'_, T>,
    right: Mat<'_, T>,
) {
    let chunks = to.par_chunks_mut(CHUNK).zip(add.par_chunks(CHUNK));
    chunks.for_each(|(to, add)| {
        for (to, &add) in to.iter_mut().zip(add) {
            *to = add_scale * add;
        }
    });
    let to = MatMut::new(to, rows, cols);
    gemm(Threads::Pool, to, !add.is_empty(), scale, left, right);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singular_values_come_near_one_whatever_the_shape() {
        for (rows, cols) in [(5, 9), (9, 5), (7, 7), (40, 600)] {
            let mut x: Vec<f64> = (0..rows * cols)
                .map(|i| ((i * 7919) % 1009) as f64 / 504.5 - 1.0)
                .collect();
            let y = orthogonal(&mut x, rows, cols);
            let small = rows.min(cols);
            // The diagonal of the Gram matrix is between the squares of the least and the greatest singular value.
            for i in 0..small {
                let at = |p: usize| {
                    if rows <= cols {
                        y[i * cols + p]
                    } else {
                        y[p * cols + i]
                    }
                };
                let square: f64 = (0..rows.max(cols)).map(|p| at(p) * at(p)).sum();
                assert!((0.3..1.6).contains(&square), "{rows} x {cols}: {square}");
            }
        }
    }

    #[test]
    fn stacked_matrices_are_updated_each_on_its_own() {
        let s = MuonStep {
            grad_scale: 1.0,
            momentum: 0.9,
            lr: 0.1,
            weight_decay: 0.1,
        };
        let grad: Vec<f64> = (0..2 * 3 * 4)
            .map(|i| ((i * 37) % 11) as f64 - 5.0)
            .collect();
        let (mut both, mut avg) = (vec![1.0; 24], vec![0.0; 24]);
        muon(&mut both, &grad, &mut avg, &[2, 3, 4], &s);
        for part in 0..2 {
            let (mut one, mut avg) = (vec![1.0; 12], vec![0.0; 12]);
            muon(&mut one, &grad[part * 12..][..12], &mut avg, &[3, 4], &s);
            assert_eq!(one, both[part * 12..][..12]);
        }
        assert_eq!(matrices(&[8, 3, 3, 3]), (1, 8, 27));
    }
}

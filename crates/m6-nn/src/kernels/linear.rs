//! Linear map with bias and activation: `act(x w^T + b)`.

use crate::gemm::{Mat, matmul};
use crate::glue::uninit;
use crate::real::{Real, add_into, add_parts};
use rayon::prelude::*;

/// What follows a linear map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    None,
    /// Exact GELU, `x * Phi(x)`.
    Gelu,
    /// `max(x, 0)`.
    Relu,
}

impl Act {
    /// The activation of one number.
    #[inline(always)]
    pub fn apply<T: Real>(self, u: T) -> T {
        match self {
            Act::None => u,
            Act::Gelu => u.gelu(),
            Act::Relu => {
                if u > T::zero() {
                    u
                } else {
                    T::zero()
                }
            }
        }
    }
}

/// Rows per task of element-wise passes.
const N_TASK_ROWS: usize = 16;
/// Rows per partial sum of a bias gradient.
const N_SUM_ROWS: usize = 256;

/// `x [n, k]` times `w [o, k]` transposed, plus `bias [o]`: `[n, o]`.
pub fn affine<T: Real>(
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    n: usize,
    k: usize,
    o: usize,
) -> Vec<T> {
    let mut y = uninit(n * o);
    if let Some(bias) = bias.filter(|_| o > 0) {
        y.par_chunks_mut(o * N_TASK_ROWS).for_each(|rows| {
            rows.chunks_exact_mut(o)
                .for_each(|row| row.copy_from_slice(bias));
        });
    }
    matmul(
        &mut y,
        bias.is_some(),
        Mat::new(x, n, k),
        Mat::new(w, o, k).t(),
    );
    y
}

/// Applies an activation to every element in place.
pub fn activate_in_place<T: Real>(act: Act, u: &mut [T]) {
    match act {
        Act::None => {}
        Act::Gelu => u
            .par_chunks_mut(4096)
            .for_each(|u| u.iter_mut().for_each(|u| *u = u.gelu())),
        Act::Relu => u
            .par_chunks_mut(4096)
            .for_each(|u| u.iter_mut().for_each(|u| *u = Act::Relu.apply(*u))),
    }
}

/// Adds `bias [o]` to every row of `u [n, o]` in place and returns the GELU of the sums.
pub fn bias_gelu<T: Real>(u: &mut [T], bias: Option<&[T]>, o: usize) -> Vec<T> {
    let mut y = uninit(u.len());
    if o == 0 {
        return y;
    }
    y.par_chunks_mut(o * N_TASK_ROWS)
        .zip(u.par_chunks_mut(o * N_TASK_ROWS))
        .for_each(|(y, u)| {
            for (y, u) in y.chunks_exact_mut(o).zip(u.chunks_exact_mut(o)) {
                if let Some(bias) = bias {
                    add_into(u, bias);
                }
                for (y, u) in y.iter_mut().zip(u.iter()) {
                    *y = u.gelu();
                }
            }
        });
    y
}

/// Turns pre-activations into the gradient with respect to them: `u = grad * gelu'(u)`.
pub fn gelu_grad_in_place<T: Real>(u: &mut [T], grad: &[T]) {
    u.par_chunks_mut(4096)
        .zip(grad.par_chunks(4096))
        .for_each(|(u, grad)| {
            for (u, &grad) in u.iter_mut().zip(grad) {
                *u = grad * u.dgelu();
            }
        });
}

/// Gradient before a ReLU whose result was `y`.
pub fn relu_grad<T: Real>(y: &[T], grad: &[T]) -> Vec<T> {
    assert_eq!(y.len(), grad.len());
    let mut du = uninit(y.len());
    du.par_chunks_mut(4096)
        .zip(y.par_chunks(4096))
        .zip(grad.par_chunks(4096))
        .for_each(|((du, y), grad)| {
            for ((du, &y), &grad) in du.iter_mut().zip(y).zip(grad) {
                *du = if y > T::zero() { grad } else { T::zero() };
            }
        });
    du
}

/// Sum of the rows of `x [n, o]`: partial sums over a fixed number of rows, joined in order.
pub fn column_sums<T: Real>(x: &[T], o: usize) -> Vec<T> {
    if o == 0 {
        return Vec::new();
    }
    let part = |rows: &[T]| {
        let mut sums = vec![T::zero(); o];
        rows.chunks_exact(o)
            .for_each(|row| add_into(&mut sums, row));
        sums
    };
    let parts = x.par_chunks(o * N_SUM_ROWS).map(part).collect();
    add_parts(parts).unwrap_or_else(|| vec![T::zero(); o])
}

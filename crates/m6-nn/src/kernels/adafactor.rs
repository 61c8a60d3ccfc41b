//! The Adafactor update (Shazeer and Stern 2018, algorithms 4 and 5) of one weight, with a given learning rate and decoupled weight decay,
//! in the order of operations of transformers' `Adafactor(scale_parameter=False, relative_step=False)`. No momentum.

use crate::real::{Real, add_into, add_parts, dot, sum};
use rayon::prelude::*;

/// Exponent of the decay rate `1 - t^DECAY` of the second moment: the first update takes the gradient's squares alone.
const DECAY: f64 = -0.8;
/// Added to each square, so that no mean is 0.
const EPS: f64 = 1e-30;
/// Largest root mean square of an update, before the learning rate.
const CLIP: f64 = 1.0;
/// Elements of a block of rows, at least [`LEAST_ROWS`] of them: sums over rows have a fixed order.
const BLOCK: usize = 1 << 16;
/// A block's sums of columns must be few beside its elements.
const LEAST_ROWS: usize = 16;

/// Everything about a step that is the same for all elements.
#[derive(Debug, Clone, Copy)]
pub struct AdafactorStep {
    /// Factor on the gradient (clipping, loss scale).
    pub grad_scale: f64,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay, already 0 for parameters that are not decayed.
    pub weight_decay: f64,
    /// Number of this update, from 1.
    pub step: u64,
}

/// Updates `value` and the running means of squares of every row and column, of `n` matrices of `rows` x `cols`, each by itself.
///
/// A vector is a matrix of one row: the factor of that is 1, and the columns hold its second moment in full.
pub fn adafactor<T: Real>(
    value: &mut [T],
    grad: &[T],
    row_sq: &mut [T],
    col_sq: &mut [T],
    (rows, cols): (usize, usize),
    s: &AdafactorStep,
) {
    if rows * cols == 0 {
        return;
    }
    let matrices = value
        .chunks_mut(rows * cols)
        .zip(grad.chunks(rows * cols))
        .zip(row_sq.chunks_mut(rows))
        .zip(col_sq.chunks_mut(cols));
    for (((value, grad), row_sq), col_sq) in matrices {
        one_matrix(value, grad, row_sq, col_sq, s);
    }
}

fn one_matrix<T: Real>(
    value: &mut [T],
    grad: &[T],
    row_sq: &mut [T],
    col_sq: &mut [T],
    s: &AdafactorStep,
) {
    let cols = col_sq.len();
    let per_block = (BLOCK / cols).max(LEAST_ROWS);
    let scale = T::number(s.grad_scale);
    take_squares(grad, scale, row_sq, col_sq, per_block, s.step);
    let mean = sum(row_sq) / T::number(row_sq.len() as f64);
    let over_root = |of: T, x: T| of / Real::sqrt(x);
    let (mean, one) = (Real::sqrt(mean), T::one());
    let by_row: Vec<T> = row_sq.iter().map(|&x| over_root(mean, x)).collect();
    let by_col: Vec<T> = col_sq.iter().map(|&x| over_root(one, x)).collect();
    // Rows of the update are made twice, for its size and for the step, rather than kept: nothing here is as large as the weight.
    let row_of = |update: &mut [T], grad: &[T], by_row: T| {
        for ((update, &grad), &by_col) in update.iter_mut().zip(grad).zip(&by_col) {
            // The gradient first: a factor of a row or column without any is huge, and meets 0.
            *update = grad * scale * by_row * by_col;
        }
    };
    let squares: Vec<f64> = grad
        .par_chunks(per_block * cols)
        .zip(by_row.par_chunks(per_block))
        .map(|(grad, by_row)| {
            let mut update = vec![T::zero(); cols];
            let rows = grad.chunks(cols).zip(by_row).map(|(grad, &by_row)| {
                row_of(&mut update, grad, by_row);
                dot(&update, &update).to_f64()
            });
            rows.sum()
        })
        .collect();
    let rms = (squares.iter().sum::<f64>() / grad.len() as f64).sqrt();
    let step = T::number(s.lr / (rms / CLIP).max(1.0));
    let keep = T::number(1.0 - s.lr * s.weight_decay);
    value
        .par_chunks_mut(per_block * cols)
        .zip(grad.par_chunks(per_block * cols))
        .zip(by_row.par_chunks(per_block))
        .for_each(|((value, grad), by_row)| {
            let mut update = vec![T::zero(); cols];
            let rows = value.chunks_mut(cols).zip(grad.chunks(cols));
            for ((value, grad), &by_row) in rows.zip(by_row) {
                row_of(&mut update, grad, by_row);
                for (value, &update) in value.iter_mut().zip(&update) {
                    *value = *value * keep - step * update;
                }
            }
        });
}

/// Moves the means of squares of rows and columns towards those of the gradient.
fn take_squares<T: Real>(
    grad: &[T],
    scale: T,
    row_sq: &mut [T],
    col_sq: &mut [T],
    per_block: usize,
    step: u64,
) {
    let (rows, cols) = (row_sq.len(), col_sq.len());
    let gain = (step as f64).powf(DECAY);
    let (keep, gain) = (T::number(1.0 - gain), T::number(gain));
    let (eps, per_row, per_col) = (
        T::number(EPS),
        T::number(cols as f64),
        T::number(rows as f64),
    );
    let sums: Vec<Vec<T>> = grad
        .par_chunks(per_block * cols)
        .zip(row_sq.par_chunks_mut(per_block))
        .map(|(grad, row_sq)| {
            let (mut squares, mut sums) = (vec![T::zero(); cols], vec![T::zero(); cols]);
            for (grad, row_sq) in grad.chunks(cols).zip(row_sq) {
                for (square, &grad) in squares.iter_mut().zip(grad) {
                    let grad = grad * scale;
                    *square = grad * grad + eps;
                }
                *row_sq = *row_sq * keep + sum(&squares) / per_row * gain;
                add_into(&mut sums, &squares);
            }
            sums
        })
        .collect();
    let sums = add_parts(sums).unwrap_or_default();
    for (col_sq, sum) in col_sq.iter_mut().zip(sums) {
        *col_sq = *col_sq * keep + sum / per_col * gain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: AdafactorStep = AdafactorStep {
        grad_scale: 0.5,
        lr: 0.1,
        weight_decay: 0.1,
        step: 1,
    };

    fn gradient(n: usize) -> Vec<f64> {
        (0..n).map(|i| ((i * 37) % 101) as f64 - 50.0).collect()
    }

    #[test]
    fn stacked_matrices_are_updated_each_on_its_own() {
        let grad = gradient(24);
        let (mut both, mut row, mut col) = (vec![1.0; 24], vec![0.0; 6], vec![0.0; 8]);
        adafactor(&mut both, &grad, &mut row, &mut col, (3, 4), &STEP);
        for part in 0..2 {
            let (mut one, mut row, mut col) = (vec![1.0; 12], vec![0.0; 3], vec![0.0; 4]);
            let grad = &grad[part * 12..][..12];
            adafactor(&mut one, grad, &mut row, &mut col, (3, 4), &STEP);
            assert_eq!(one, both[part * 12..][..12]);
        }
    }

    #[test]
    fn an_update_is_no_larger_than_its_limit_and_a_first_one_of_a_vector_is_the_sign() {
        let grad = gradient(300);
        let (mut value, mut row, mut col) = (vec![0.0; 300], vec![0.0], vec![0.0; 300]);
        adafactor(&mut value, &grad, &mut row, &mut col, (1, 300), &STEP);
        for (value, grad) in value.iter().zip(&grad) {
            let sign = if *grad == 0.0 { 0.0 } else { grad.signum() };
            assert!((value + 0.1 * sign).abs() < 1e-2, "{value} {grad}");
        }
        // A gradient a thousand times as large as all before it.
        let large: Vec<f64> = grad.iter().map(|g| 1000.0 * g).collect();
        let (before, next) = (
            value.clone(),
            AdafactorStep {
                step: 1000,
                weight_decay: 0.0,
                ..STEP
            },
        );
        adafactor(&mut value, &large, &mut row, &mut col, (1, 300), &next);
        let moved: f64 = value
            .iter()
            .zip(&before)
            .map(|(a, b)| (a - b).powi(2))
            .sum();
        assert!(((moved / 300.0).sqrt() / 0.1 - 1.0).abs() < 1e-9, "{moved}");
    }

    #[test]
    fn rows_and_matrices_without_gradient_stay() {
        let mut grad = vec![0.0_f32; 40];
        let (mut value, mut row, mut col) = (vec![1.0; 40], vec![0.0; 4], vec![0.0; 10]);
        let still = AdafactorStep {
            weight_decay: 0.0,
            ..STEP
        };
        adafactor(&mut value, &grad, &mut row, &mut col, (4, 10), &still);
        assert_eq!(value, [1.0; 40]);
        grad[10..20].fill(1e3);
        let second = AdafactorStep { step: 2, ..still };
        adafactor(&mut value, &grad, &mut row, &mut col, (4, 10), &second);
        assert!(value.iter().all(|v| v.is_finite()));
        assert_eq!(value[..10], [1.0; 10]);
        assert!(value[10..20].iter().all(|&v| v < 1.0));
    }
}

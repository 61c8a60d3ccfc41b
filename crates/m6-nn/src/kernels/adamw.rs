//! The AdamW update of one parameter (Loshchilov and Hutter), in the order of operations that PyTorch uses.

use crate::glue::CHUNK;
use crate::real::Real;
use rayon::prelude::*;

/// Everything about a step that is the same for all elements.
#[derive(Debug, Clone, Copy)]
pub struct AdamWStep {
    /// Factor on the gradient (clipping, loss scale).
    pub grad_scale: f64,
    /// Decay rates of the two moments.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay, already 0 for parameters that are not decayed.
    pub weight_decay: f64,
    /// Number of this update, from 1.
    pub step: u64,
}

/// Updates `value` and the moments `avg`, `avg_sq` from the gradient, all of one length.
pub fn adamw<T: Real>(value: &mut [T], grad: &[T], avg: &mut [T], avg_sq: &mut [T], s: &AdamWStep) {
    let steps = s.step as f64;
    let step_size = T::number(s.lr / (1.0 - s.betas.0.powf(steps)));
    let root_correction = T::number((1.0 - s.betas.1.powf(steps)).sqrt());
    let (gain, beta2, gain2) = (
        T::number(1.0 - s.betas.0),
        T::number(s.betas.1),
        T::number(1.0 - s.betas.1),
    );
    let (scale, eps) = (T::number(s.grad_scale), T::number(s.eps));
    let keep = T::number(1.0 - s.lr * s.weight_decay);
    let chunks = value
        .par_chunks_mut(CHUNK)
        .zip(grad.par_chunks(CHUNK))
        .zip(avg.par_chunks_mut(CHUNK))
        .zip(avg_sq.par_chunks_mut(CHUNK));
    chunks.for_each(|(((value, grad), avg), avg_sq)| {
        for (((value, &grad), avg), avg_sq) in value.iter_mut().zip(grad).zip(avg).zip(avg_sq) {
            let grad = grad * scale;
            *avg += (grad - *avg) * gain;
            *avg_sq = *avg_sq * beta2 + grad * grad * gain2;
            *value =
                *value * keep - step_size * *avg / (Real::sqrt(*avg_sq) / root_correction + eps);
        }
    });
}

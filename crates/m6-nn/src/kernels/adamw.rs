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

/// The factors of a step in the number type that it is computed in.
pub struct Factors<T> {
    step_size: T,
    root_correction: T,
    gain: T,
    beta2: T,
    gain2: T,
    scale: T,
    eps: T,
    keep: T,
}

impl AdamWStep {
    /// What every element is computed with.
    pub fn factors<T: Real>(&self) -> Factors<T> {
        let steps = self.step as f64;
        Factors {
            step_size: T::number(self.lr / (1.0 - self.betas.0.powf(steps))),
            root_correction: T::number((1.0 - self.betas.1.powf(steps)).sqrt()),
            gain: T::number(1.0 - self.betas.0),
            beta2: T::number(self.betas.1),
            gain2: T::number(1.0 - self.betas.1),
            scale: T::number(self.grad_scale),
            eps: T::number(self.eps),
            keep: T::number(1.0 - self.lr * self.weight_decay),
        }
    }
}

impl<T: Real> Factors<T> {
    /// Updates values and moments from the gradient, all of one length, on this thread.
    #[inline(always)]
    pub fn update(&self, value: &mut [T], grad: &[T], avg: &mut [T], avg_sq: &mut [T]) {
        for (((value, &grad), avg), avg_sq) in value.iter_mut().zip(grad).zip(avg).zip(avg_sq) {
            let grad = grad * self.scale;
            *avg += (grad - *avg) * self.gain;
            *avg_sq = *avg_sq * self.beta2 + grad * grad * self.gain2;
            *value = *value * self.keep
                - self.step_size * *avg / (Real::sqrt(*avg_sq) / self.root_correction + self.eps);
        }
    }
}

/// Updates `value` and the moments `avg`, `avg_sq` from the gradient, all of one length.
pub fn adamw<T: Real>(value: &mut [T], grad: &[T], avg: &mut [T], avg_sq: &mut [T], s: &AdamWStep) {
    let factors = s.factors();
    let chunks = value
        .par_chunks_mut(CHUNK)
        .zip(grad.par_chunks(CHUNK))
        .zip(avg.par_chunks_mut(CHUNK))
        .zip(avg_sq.par_chunks_mut(CHUNK));
    chunks.for_each(|(((value, grad), avg), avg_sq)| factors.update(value, grad, avg, avg_sq));
}

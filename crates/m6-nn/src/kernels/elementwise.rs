//! Sums of streams, with and without dropout.

use crate::glue::{CHUNK, uninit};
use crate::real::Real;
use m6_store::rng::mix64;
use rayon::prelude::*;

/// `x + y`, element by element.
pub fn add<T: Real>(x: &[T], y: &[T]) -> Vec<T> {
    let mut z = uninit(x.len());
    z.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .zip(y.par_chunks(CHUNK))
        .for_each(|((z, x), y)| {
            for ((z, &x), &y) in z.iter_mut().zip(x).zip(y) {
                *z = x + y;
            }
        });
    z
}

/// A dropout mask as a pure function of key and element index, so that it need not be stored.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    key: u64,
    /// An element is dropped if the high half of its hash is below this.
    threshold: u64,
    scale: f64,
}

impl Dropout {
    /// Drops a share `p` in `[0, 1)` of the elements and scales the rest by `1 / (1 - p)`.
    pub fn new(p: f32, key: u64) -> Self {
        let p = f64::from(p);
        Self {
            key,
            threshold: (p * (1_u64 << 32) as f64) as u64,
            scale: 1.0 / (1.0 - p),
        }
    }

    /// Factor of element `index`: 0 or `1 / (1 - p)`.
    #[inline(always)]
    pub fn factor<T: Real>(&self, index: usize) -> T {
        let keep = mix64(self.key, index as u64) >> 32 >= self.threshold;
        if keep {
            T::from_f64(self.scale)
        } else {
            T::zero()
        }
    }

    /// `x + factor * y`.
    pub fn add<T: Real>(&self, x: &[T], y: &[T]) -> Vec<T> {
        let mut z = uninit(x.len());
        z.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .zip(y.par_chunks(CHUNK))
            .enumerate()
            .for_each(|(c, ((z, x), y))| {
                for (i, ((z, &x), &y)) in z.iter_mut().zip(x).zip(y).enumerate() {
                    *z = x + self.factor::<T>(c * CHUNK + i) * y;
                }
            });
        z
    }

    /// `factor * y`.
    pub fn apply<T: Real>(&self, y: &[T]) -> Vec<T> {
        let mut z = uninit(y.len());
        z.par_chunks_mut(CHUNK)
            .zip(y.par_chunks(CHUNK))
            .enumerate()
            .for_each(|(c, (z, y))| {
                for (i, (z, &y)) in z.iter_mut().zip(y).enumerate() {
                    *z = self.factor::<T>(c * CHUNK + i) * y;
                }
            });
        z
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_drops_its_share_keeps_the_mean_and_follows_its_key() {
        let ones = vec![1.0_f32; 200_000];
        let y = Dropout::new(0.25, 7).apply(&ones);
        let dropped = y.iter().filter(|v| **v == 0.0).count() as f64 / 200_000.0;
        assert!((dropped - 0.25).abs() < 0.005, "{dropped}");
        let mean = y.iter().map(|v| f64::from(*v)).sum::<f64>() / 200_000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!(y == Dropout::new(0.25, 7).apply(&ones));
        assert!(y != Dropout::new(0.25, 8).apply(&ones));
    }
}

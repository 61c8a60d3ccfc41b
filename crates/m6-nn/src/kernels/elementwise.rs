//! Sums of streams, with and without dropout.

use crate::glue::{CHUNK, uninit};
use crate::real::Real;
use m6_store::rng::mix64;
use rayon::prelude::*;

/// `x + y`, element by element.
pub fn add<T: Real>(x: &[T], y: &[T]) -> Vec<T> {
    assert_eq!(x.len(), y.len());
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

/// Row `i` of `x [n, d]` times `factors[i]`; `x` is not empty.
pub fn scale_rows<T: Real>(x: &[T], factors: &[f32]) -> Vec<T> {
    let d = x.len() / factors.len();
    assert_eq!(x.len(), d * factors.len());
    let mut y = uninit(x.len());
    let rows = y.par_chunks_mut(d).zip(x.par_chunks(d));
    rows.zip(factors.par_iter())
        .with_min_len(64)
        .for_each(|((y, x), &factor)| {
            let factor = T::number(f64::from(factor));
            for (y, &x) in y.iter_mut().zip(x) {
                *y = factor * x;
            }
        });
    y
}

/// Elements that share one hash, with 16 of its bits each.
const N_PER_HASH: usize = 4;

/// A dropout mask as a pure function of key and element index, so that it need not be stored.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    key: u64,
    /// An element is dropped if its 16 bits are below this.
    threshold: u64,
    scale: f64,
}

impl Dropout {
    /// Drops a share `p` in `[0, 1)` of the elements, in steps of 2^-16, and scales the rest by the inverse of the share kept.
    pub fn new(p: f32, key: u64) -> Self {
        let threshold = (f64::from(p) * 65_536.0).round().clamp(0.0, 65_535.0);
        Self {
            key,
            threshold: threshold as u64,
            scale: 65_536.0 / (65_536.0 - threshold),
        }
    }

    /// Factors of the elements from `group * 4` on.
    #[inline(always)]
    fn factors<T: Real>(&self, group: usize) -> [T; N_PER_HASH] {
        let hash = mix64(self.key, group as u64);
        let scale = T::number(self.scale);
        std::array::from_fn(|i| {
            let keep = (hash >> (16 * i)) & 0xffff >= self.threshold;
            if keep { scale } else { T::zero() }
        })
    }

    /// Factor of element `index`: 0 or the scale.
    pub fn factor<T: Real>(&self, index: usize) -> T {
        self.factors(index / N_PER_HASH)[index % N_PER_HASH]
    }

    /// `x + factor * y`.
    pub fn add<T: Real>(&self, x: &[T], y: &[T]) -> Vec<T> {
        assert_eq!(x.len(), y.len());
        let mut z = uninit(x.len());
        let chunks = z
            .par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .zip(y.par_chunks(CHUNK));
        chunks.enumerate().for_each(|(c, ((z, x), y))| {
            z.copy_from_slice(x);
            self.each(c * CHUNK, z, y, |z, y, factor| *z += factor * y);
        });
        z
    }

    /// `factor * y`.
    pub fn apply<T: Real>(&self, y: &[T]) -> Vec<T> {
        let mut z = uninit(y.len());
        let chunks = z.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK));
        chunks
            .enumerate()
            .for_each(|(c, (z, y))| self.each(c * CHUNK, z, y, |z, y, factor| *z = factor * y));
        z
    }

    /// Calls `f` with every pair of elements and its factor; the first element has index `from`, a multiple of [`N_PER_HASH`].
    #[inline(always)]
    fn each<T: Real>(&self, from: usize, z: &mut [T], y: &[T], f: impl Fn(&mut T, T, T)) {
        let ((z, z_rest), (y, y_rest)) =
            (z.as_chunks_mut::<N_PER_HASH>(), y.as_chunks::<N_PER_HASH>());
        let rest = from + z.len() * N_PER_HASH;
        for (group, (z, y)) in z.iter_mut().zip(y).enumerate() {
            let factors = self.factors::<T>(from / N_PER_HASH + group);
            for i in 0..N_PER_HASH {
                f(&mut z[i], y[i], factors[i]);
            }
        }
        for (i, (z, &y)) in z_rest.iter_mut().zip(y_rest).enumerate() {
            f(z, y, self.factor(rest + i));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_drops_its_share_keeps_the_mean_and_follows_its_key() {
        let ones = vec![1.0_f32; 200_003];
        let y = Dropout::new(0.25, 7).apply(&ones);
        let dropped = y.iter().filter(|v| **v == 0.0).count() as f64 / 200_003.0;
        assert!((dropped - 0.25).abs() < 0.005, "{dropped}");
        let mean = y.iter().map(|v| f64::from(*v)).sum::<f64>() / 200_003.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!(y == Dropout::new(0.25, 7).apply(&ones));
        let one_by_one = (0..ones.len()).map(|i| Dropout::new(0.25, 7).factor::<f32>(i));
        assert!(y.iter().copied().eq(one_by_one));
        assert!(y != Dropout::new(0.25, 8).apply(&ones));
    }
}

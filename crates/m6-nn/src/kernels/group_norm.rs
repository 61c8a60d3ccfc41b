//! Group normalisation, with SiLU after it or without.

use crate::real::{Real, pair_sums, sum};
use rayon::prelude::*;

/// Shapes of a group normalisation over `[n, c, pixels]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Groups {
    /// Channels.
    pub c: usize,
    /// Pixels of a plane.
    pub n_pixels: usize,
    /// Groups of `c / n_groups` adjacent channels that share mean and variance.
    pub n_groups: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Whether SiLU follows.
    pub silu: bool,
}

impl Groups {
    fn channels(&self) -> usize {
        self.c / self.n_groups
    }

    fn size(&self) -> usize {
        self.channels() * self.n_pixels
    }

    /// Mean and inverse standard deviation of one group, the variance from the deviations (two passes).
    fn moments<T: Real>(&self, x: &[T]) -> (T, T) {
        let n = T::number(x.len() as f64);
        let mean = sum(x) / n;
        let variance = pair_sums(x, x, |a, _| [(a - mean) * (a - mean)])[0] / n;
        (mean, T::one() / (variance + T::number(self.eps)).sqrt())
    }

    /// Slope and offset that take a pixel of `channel` to its normalised, scaled and shifted value.
    fn line<T: Real>(moments: (T, T), w: T, b: T) -> (T, T) {
        let slope = moments.1 * w;
        (slope, b - moments.0 * slope)
    }
}

/// `y = act(group_norm(x) * w + b)` for `x` `[n, c, pixels]`, `w` and `b` `[c]`; `act` is SiLU or nothing.
pub fn group_norm<T: Real>(x: &[T], w: &[T], b: &[T], groups: &Groups, y: &mut [T]) {
    let (size, n_pixels) = (groups.size(), groups.n_pixels);
    let tasks = y.par_chunks_mut(size).zip(x.par_chunks(size)).enumerate();
    tasks.for_each(|(i, (y, x))| {
        let moments = groups.moments(x);
        let first = i % groups.n_groups * groups.channels();
        for (j, (y, x)) in y
            .chunks_exact_mut(n_pixels)
            .zip(x.chunks_exact(n_pixels))
            .enumerate()
        {
            let (slope, offset) = Groups::line(moments, w[first + j], b[first + j]);
            let line = |x: &T| x.fma(slope, offset);
            match groups.silu {
                true => y.iter_mut().zip(x).for_each(|(y, x)| {
                    let h = line(x);
                    *y = h * h.sigmoid();
                }),
                false => y.iter_mut().zip(x).for_each(|(y, x)| *y = line(x)),
            }
        }
    });
}

/// Gradients of [`group_norm`]: overwrites `dx` and returns those of `w` and `b`, summed over pictures in order.
pub fn group_norm_backward<T: Real>(
    x: &[T],
    w: &[T],
    b: &[T],
    dy: &[T],
    groups: &Groups,
    dx: &mut [T],
) -> (Vec<T>, Vec<T>) {
    let size = groups.size();
    let channels = groups.channels();
    let tasks = dx
        .par_chunks_mut(size)
        .zip(x.par_chunks(size))
        .zip(dy.par_chunks(size))
        .enumerate();
    let parts: Vec<Vec<[T; 2]>> = tasks
        .map(|(i, ((dx, x), dy))| {
            let at = i % groups.n_groups * channels;
            group_backward(
                x,
                &w[at..at + channels],
                &b[at..at + channels],
                dy,
                groups,
                dx,
            )
        })
        .collect();
    let (mut dw, mut db) = (vec![T::zero(); groups.c], vec![T::zero(); groups.c]);
    for (i, part) in parts.iter().enumerate() {
        let at = i % groups.n_groups * channels;
        for (j, [w_part, b_part]) in part.iter().enumerate() {
            dw[at + j] += *w_part;
            db[at + j] += *b_part;
        }
    }
    (dw, db)
}

/// Gradients of one group: writes `dx`, returns the gradients of scale and shift per channel.
fn group_backward<T: Real>(
    x: &[T],
    w: &[T],
    b: &[T],
    dy: &[T],
    groups: &Groups,
    dx: &mut [T],
) -> Vec<[T; 2]> {
    let n = groups.n_pixels;
    let (mean, inverse) = groups.moments(x);
    let mut sums = Vec::with_capacity(w.len());
    let (mut mean_dh, mut mean_dh_xhat) = (T::zero(), T::zero());
    for j in 0..w.len() {
        let (dx, x, dy) = (&mut dx[j * n..][..n], &x[j * n..][..n], &dy[j * n..][..n]);
        let (slope, offset) = Groups::line((mean, inverse), w[j], b[j]);
        match groups.silu {
            true => {
                for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                    let h = x.fma(slope, offset);
                    let s = h.sigmoid();
                    *dx = *dy * s * (T::one() + h * (T::one() - s));
                }
            }
            false => dx.copy_from_slice(dy),
        }
        let [db, dw] = pair_sums(dx, x, |d, x| [d, d * (x - mean)]);
        let dw = dw * inverse;
        mean_dh += db * w[j];
        mean_dh_xhat += dw * w[j];
        sums.push([dw, db]);
    }
    let share = T::one() / T::number(groups.size() as f64);
    // dx = inverse * (w * dh - mean(dh) - xhat * mean(dh * xhat)), written as a line in x.
    let tilt = -inverse * inverse * mean_dh_xhat * share;
    let shift = -inverse * mean_dh * share - mean * tilt;
    for (j, w) in w.iter().enumerate() {
        let slope = inverse * *w;
        for (dx, x) in dx[j * n..][..n].iter_mut().zip(&x[j * n..][..n]) {
            *dx = dx.fma(slope, x.fma(tilt, shift));
        }
    }
    sums
}

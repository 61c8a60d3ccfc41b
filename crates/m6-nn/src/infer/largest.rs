//! The row of a matrix with the largest inner product, exactly, without reading most of the matrix.
//!
//! Greedy writing needs the likeliest word only, and the head is a third of what a token reads. A copy of the rows in 8 bits gives each
//! inner product within a bound; only rows whose upper bound reaches the best lower bound are then computed in f32. The result is the one
//! that all inner products would give, ties included. Ours.

use super::dots::dot;
use crate::real::prefetch;
use rayon::prelude::*;

/// Rows per task.
const N_TASK_ROWS: usize = 256;
/// Largest magnitude of a quantised weight.
const Q_MAX: f32 = 127.0;
/// Largest magnitude of a quantised operand.
const P_MAX: i64 = 2047;
/// Products of lengths from which an f32 sum may overflow on its way; such rows are always read.
const OVERFLOW: f64 = 1e38;
/// What an f32 product may lose below the normal range.
const UNDERFLOW: f64 = 1.5e-45;
/// How far ahead rows are asked for, in bytes.
const AHEAD: usize = 8192;

/// An 8-bit copy of a matrix `[v, d]` with what is needed to bound its inner products.
pub struct LargestInner {
    d: usize,
    /// `[v, d]`: row `i` is about `scale[i] * q[i]`.
    q: Vec<i8>,
    rows: Vec<RowBound>,
}

/// Lengths are Euclidean.
#[derive(Clone, Copy, Default)]
struct RowBound {
    scale: f64,
    /// Length of what the copy misses, and what f32 sums may lose of the row.
    missed: f64,
    /// Length of the copy.
    length: f64,
}

/// An operand in 12 bits: `x` is about `scale * p`.
struct Operand {
    p: Vec<i16>,
    scale: f64,
    /// Lengths of `x` and of what `p` misses.
    length: f64,
    missed: f64,
}

impl LargestInner {
    /// The copy of `w` `[v, d]`: one reading of it, and a quarter of its memory.
    ///
    /// Panics if `d` is 0 or does not divide the length.
    pub fn new(w: &[f32], d: usize) -> Self {
        assert!(d > 0 && w.len().is_multiple_of(d), "w is not [v, d]");
        let mut q = vec![0; w.len()];
        let mut rows = vec![RowBound::default(); w.len() / d];
        q.par_chunks_mut(d * N_TASK_ROWS)
            .zip(rows.par_chunks_mut(N_TASK_ROWS))
            .zip(w.par_chunks(d * N_TASK_ROWS))
            .for_each(|((q, rows), w)| {
                for ((q, row), w) in q.chunks_exact_mut(d).zip(rows).zip(w.chunks_exact(d)) {
                    *row = RowBound::of(w, q);
                }
            });
        Self { d, q, rows }
    }

    /// The row of `w` with the largest `w[row] * x` among those that `allowed` lets pass, the lower one among equals; its inner product is
    /// the one of [`super::linear_rows`], bit for bit. None when nothing is allowed or every allowed product is NaN or -inf.
    ///
    /// `w` must be the matrix that the copy was made of. Panics if the lengths do not fit.
    pub fn find(
        &self,
        w: &[f32],
        x: &[f32],
        allowed: impl Fn(usize) -> bool + Sync,
    ) -> Option<(usize, f32)> {
        let d = self.d;
        assert!(
            w.len() == self.q.len() && x.len() == d,
            "lengths do not fit"
        );
        let operand = Operand::of(x);
        let mut upper = vec![f64::NEG_INFINITY; self.rows.len()];
        let floor = upper
            .par_chunks_mut(N_TASK_ROWS)
            .enumerate()
            .map(|(task, upper)| self.bounds(task * N_TASK_ROWS, &operand, &allowed, upper))
            .reduce(|| f64::NEG_INFINITY, f64::max);
        let mut best: Option<(usize, f32)> = None;
        for (row, &upper) in upper.iter().enumerate() {
            if upper < floor || !allowed(row) {
                continue;
            }
            let value = dot(x, &w[row * d..][..d]);
            let better = best.is_none_or(|(_, held)| value.total_cmp(&held).is_gt());
            if value > f32::NEG_INFINITY && better {
                best = Some((row, value));
            }
        }
        best
    }

    /// Upper bounds of the allowed rows from `first` on; gives their largest lower bound.
    fn bounds(
        &self,
        first: usize,
        x: &Operand,
        allowed: &(impl Fn(usize) -> bool + Sync),
        upper: &mut [f64],
    ) -> f64 {
        let mut floor = f64::NEG_INFINITY;
        for (i, upper) in upper.iter_mut().enumerate() {
            let q = &self.q[(first + i) * self.d..][..self.d];
            if !allowed(first + i) {
                continue;
            }
            let row = &self.rows[first + i];
            let product = (row.length + row.missed) * x.length;
            if product.is_nan() || product >= OVERFLOW {
                *upper = f64::INFINITY;
                continue;
            }
            let about = f64::from(inner_8(q, &x.p)) * row.scale * x.scale;
            let room = row.missed * x.length + row.length * x.missed + self.d as f64 * UNDERFLOW;
            *upper = about + room;
            floor = floor.max(about - room);
        }
        floor
    }
}

impl RowBound {
    /// Fills the copy `q` of `w`.
    fn of(w: &[f32], q: &mut [i8]) -> Self {
        let largest = w.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let scale = f64::from(largest) / f64::from(Q_MAX);
        let inverse = if scale > 0.0 {
            (1.0 / scale) as f32
        } else {
            0.0
        };
        let (mut missed, mut length, mut whole) = (0.0, 0.0, 0.0);
        for (q, &w) in q.iter_mut().zip(w) {
            *q = (w * inverse).round() as i8;
            let (kept, w) = (f64::from(*q) * scale, f64::from(w));
            missed += (w - kept) * (w - kept);
            length += kept * kept;
            whole += w * w;
        }
        // Rounding: an f32 sum of n products is off by at most n units in the last place of the lengths; f64 by far less.
        let rounding = (w.len() + 16) as f64 * f64::from(f32::EPSILON);
        Self {
            scale,
            missed: missed.sqrt() + rounding * whole.sqrt(),
            length: length.sqrt(),
        }
    }
}

impl Operand {
    fn of(x: &[f32]) -> Self {
        // The sums of products must fit in 32 bits.
        let fits = i64::from(i32::MAX) / (Q_MAX as i64 * x.len() as i64);
        let p_max = P_MAX.min(fits) as f64;
        let largest = x.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let scale = if largest > 0.0 {
            f64::from(largest) / p_max
        } else {
            1.0
        };
        let p: Vec<i16> = x
            .iter()
            .map(|&x| (f64::from(x) / scale).round() as i16)
            .collect();
        let (mut length, mut missed) = (0.0, 0.0);
        for (&x, &p) in x.iter().zip(&p) {
            let (x, kept) = (f64::from(x), f64::from(p) * scale);
            length += x * x;
            missed += (x - kept) * (x - kept);
        }
        Self {
            p,
            scale,
            length: length.sqrt(),
            missed: missed.sqrt(),
        }
    }
}

/// Inner product of a row of the copy with an operand.
#[inline(never)]
fn inner_8(q: &[i8], p: &[i16]) -> i32 {
    const N_LANES: usize = 64;
    let (q_parts, p_parts) = (q.as_chunks::<N_LANES>(), p.as_chunks::<N_LANES>());
    let mut sum = 0i32;
    for (i, (qs, ps)) in q_parts.0.iter().zip(p_parts.0).enumerate() {
        prefetch(q, i * N_LANES + AHEAD);
        let products = qs
            .iter()
            .zip(ps)
            .map(|(&q, &p)| i32::from(q) * i32::from(p));
        sum += products.sum::<i32>();
    }
    let rest = q_parts.1.iter().zip(p_parts.1);
    sum + rest
        .map(|(&q, &p)| i32::from(q) * i32::from(p))
        .sum::<i32>()
}

#[cfg(test)]
mod tests {
    use super::super::linear_rows;
    use super::*;
    use crate::ops::Act;
    use proptest::prelude::*;

    fn by_reading_all(
        w: &[f32],
        x: &[f32],
        allowed: impl Fn(usize) -> bool,
    ) -> Option<(usize, f32)> {
        let mut all = vec![0.0; w.len() / x.len()];
        linear_rows(x, 1, x.len(), w, None, Act::None, &mut all);
        let usable = all.iter().copied().enumerate();
        usable
            .filter(|&(i, y)| allowed(i) && y > f32::NEG_INFINITY)
            .reduce(|best, next| {
                if next.1.total_cmp(&best.1).is_gt() {
                    next
                } else {
                    best
                }
            })
    }

    fn check(w: &[f32], x: &[f32], allowed: impl Fn(usize) -> bool + Sync) {
        let found = LargestInner::new(w, x.len()).find(w, x, &allowed);
        let bits = |found: Option<(usize, f32)>| found.map(|(row, y)| (row, y.to_bits()));
        assert_eq!(bits(found), bits(by_reading_all(w, x, allowed)));
    }

    #[test]
    fn odd_matrices() {
        check(&[0.0; 12], &[0.0; 3], |_| true);
        check(&[-0.0, 0.0, 0.0], &[1.0], |_| true);
        check(&[1.0; 40], &[0.5; 4], |row| row > 3);
        check(&[1.0; 40], &[0.5; 4], |_| false);
        check(&[f32::MAX, f32::MIN, 1.0, 2.0], &[f32::MAX], |_| true);
        check(&[f32::NAN, 1.0, f32::INFINITY, 2.0], &[1.0], |_| true);
        check(&[1.0, 2.0, 3.0, 4.0], &[f32::NAN, 1.0], |_| true);
        check(&[1.0, 2.0, f32::NEG_INFINITY], &[1.0], |row| row == 2);
        check(&[1e-30, 2e-30, -1e-30], &[1e-12], |_| true);
    }

    #[test]
    fn few_rows_are_read() {
        let stream = &mut noise(7);
        let (v, d) = (4000, 128);
        let w: Vec<f32> = (0..v * d).map(|_| stream()).collect();
        let x: Vec<f32> = (0..d).map(|_| stream()).collect();
        let copy = LargestInner::new(&w, d);
        let mut upper = vec![f64::NEG_INFINITY; v];
        let floor = copy.bounds(0, &Operand::of(&x), &|_| true, &mut upper);
        let n_read = upper.iter().filter(|&&u| u >= floor).count();
        assert!((1..v / 100).contains(&n_read), "{n_read} of {v}");
    }

    /// Near-normal numbers from a linear congruence.
    fn noise(seed: u64) -> impl FnMut() -> f32 {
        let mut state = seed;
        let mut uniform = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        move || (0..6).map(|_| uniform()).sum()
    }

    proptest! {
        #[test]
        fn the_largest_is_that_of_all_products(
            d in 1usize..70,
            seed in 0u64..1000,
            twins in 1usize..9,
            exponent in -20i32..20,
        ) {
            let stream = &mut noise(seed);
            let mut w: Vec<f32> = (0..300 * d).map(|_| stream() * 2f32.powi(exponent)).collect();
            // Equal and nearly equal rows.
            for row in 0..twins {
                let copy = w[..d].to_vec();
                w[(row * 31 + 1) * d..][..d].copy_from_slice(&copy);
                w[(row * 31 + 2) * d..][..d].iter_mut().zip(&copy).for_each(|(w, c)| *w = c * (1.0 + f32::EPSILON));
            }
            let x: Vec<f32> = (0..d).map(|i| if seed % 3 == 0 { w[i] } else { stream() }).collect();
            check(&w, &x, |row| row % 5 != (seed % 7) as usize);
        }
    }
}

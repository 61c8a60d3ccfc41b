//! The contrastive loss of pairs (InfoNCE in both directions) with all its gradients; `k x k` similarities exist once.

use crate::gemm::{Mat, matmul};
use crate::glue::uninit;
use crate::real::Real;

/// Largest factor of the similarities (CLIP's).
pub const MAX_SCALE: f64 = 100.0;
/// Least length that a vector is divided by.
const LEAST_NORM: f64 = 1e-12;

/// Operands: one side `p [k, e]` and the other side `t [k, e]`, of which equal rows belong together.
#[derive(Debug, Clone, Copy)]
pub struct InfoNce<'a, T> {
    /// One side, `[k, e]`, not normalised.
    pub p: &'a [T],
    /// The other side, `[k, e]`, not normalised.
    pub t: &'a [T],
    /// Logarithm of the factor of the cosines; beyond that of [`MAX_SCALE`] it is cut and does not learn.
    pub log_scale: T,
    /// Of each pair, what it is of: pairs of one group are not told apart, `[k]`.
    pub groups: &'a [u32],
    /// Weight of each row of `p`, then of each row of `t`, in the loss, `[2 k]`.
    pub weights: &'a [f32],
    /// Length of a vector.
    pub e: usize,
}

/// Loss and gradients of [`InfoNce`].
#[derive(Debug)]
pub struct InfoNceResult<T> {
    /// Sum over both sides of weight times negative log-likelihood.
    pub loss: T,
    /// Negative log-likelihood of the right partner of each row of `p`, then of each row of `t`, in nats.
    pub nll: Vec<f32>,
    /// Gradient of `p`.
    pub dp: Vec<T>,
    /// Gradient of `t`.
    pub dt: Vec<T>,
    /// Gradient of `log_scale`.
    pub dlog_scale: T,
}

impl<T: Real> InfoNce<'_, T> {
    /// Loss, and gradients for a loss gradient of 1. The order of every sum is fixed.
    pub fn run(&self) -> InfoNceResult<T> {
        let (k, e) = (self.groups.len(), self.e);
        let (u, u_norms) = normalised(self.p, e);
        let (v, v_norms) = normalised(self.t, e);
        let most = T::number(MAX_SCALE.ln());
        let learns = self.log_scale < most;
        let scale = if learns { self.log_scale } else { most }.exp();
        let mut logits: Vec<T> = uninit(k * k);
        let cosines = Mat::new(&v, k, e).t();
        matmul(&mut logits, false, Mat::new(&u, k, e), cosines);
        logits.iter_mut().for_each(|l| *l *= scale);
        let mut slopes = vec![T::zero(); k * k];
        let (by_p, by_t) = self.weights.split_at(k);
        let mut nll = Vec::with_capacity(2 * k);
        let mut loss = T::zero();
        for (by_row, weights) in [(true, by_p), (false, by_t)] {
            for (i, &weight) in weights.iter().enumerate() {
                let weight = T::number(f64::from(weight));
                let at = |j: usize| if by_row { i * k + j } else { j * k + i };
                let own = self.line(i, &at, &logits, weight, &mut slopes);
                loss += weight * own;
                nll.push(own.to_f64() as f32);
            }
        }
        let mut dlog_scale = T::zero();
        if learns {
            for (slope, logit) in slopes.iter().zip(&logits) {
                dlog_scale += *slope * *logit;
            }
        }
        slopes.iter_mut().for_each(|slope| *slope *= scale);
        let (mut du, mut dv) = (uninit(k * e), uninit(k * e));
        let slopes = Mat::new(&slopes, k, k);
        matmul(&mut du, false, slopes, Mat::new(&v, k, e));
        matmul(&mut dv, false, slopes.t(), Mat::new(&u, k, e));
        normalised_grad(&mut du, &u, &u_norms, e);
        normalised_grad(&mut dv, &v, &v_norms, e);
        InfoNceResult {
            loss,
            nll,
            dp: du,
            dt: dv,
            dlog_scale,
        }
    }

    /// Negative log-likelihood of partner `i` on line `i` of the logits (a row or a column, by `at`); adds its slopes.
    fn line(
        &self,
        i: usize,
        at: &dyn Fn(usize) -> usize,
        logits: &[T],
        weight: T,
        slopes: &mut [T],
    ) -> T {
        let k = self.groups.len();
        let told = |j: usize| j == i || self.groups[j] != self.groups[i];
        let mut most = T::LOWEST;
        for j in (0..k).filter(|&j| told(j)) {
            let logit = logits[at(j)];
            most = if logit > most { logit } else { most };
        }
        let mut total = T::zero();
        for j in (0..k).filter(|&j| told(j)) {
            total += (logits[at(j)] - most).exp();
        }
        for j in (0..k).filter(|&j| told(j)) {
            let share = (logits[at(j)] - most).exp() / total;
            let right = if j == i { T::one() } else { T::zero() };
            slopes[at(j)] += weight * (share - right);
        }
        total.ln() - (logits[at(i)] - most)
    }
}

/// Rows of length 1, and the lengths they had.
pub fn normalised<T: Real>(x: &[T], e: usize) -> (Vec<T>, Vec<T>) {
    let (mut y, mut norms) = (Vec::with_capacity(x.len()), Vec::new());
    for row in x.chunks_exact(e.max(1)) {
        let mut squares = T::zero();
        row.iter().for_each(|&v| squares += v * v);
        let norm = squares.sqrt();
        let least = T::number(LEAST_NORM);
        let norm = if norm < least { least } else { norm };
        y.extend(row.iter().map(|&v| v / norm));
        norms.push(norm);
    }
    (y, norms)
}

/// From the gradient of normalised rows `u` to that of the rows themselves, in place.
fn normalised_grad<T: Real>(du: &mut [T], u: &[T], norms: &[T], e: usize) {
    let rows = du
        .chunks_exact_mut(e.max(1))
        .zip(u.chunks_exact(e.max(1)))
        .zip(norms);
    for ((du, u), &norm) in rows {
        let mut along = T::zero();
        du.iter().zip(u).for_each(|(&d, &u)| along += d * u);
        for (d, &u) in du.iter_mut().zip(u) {
            *d = (*d - along * u) / norm;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_vectors_cannot_be_told_apart_and_groups_are_not_held_apart() {
        let (p, t) = ([1.0_f64, 0.0, 1.0, 0.0], [2.0_f64, 0.0, 5.0, 0.0]);
        let run = |groups: [u32; 2]| {
            let problem = InfoNce {
                p: &p,
                t: &t,
                log_scale: 1.0,
                groups: &groups,
                weights: &[0.25; 4],
                e: 2,
            };
            problem.run()
        };
        let apart = run([0, 1]);
        assert!(
            apart
                .nll
                .iter()
                .all(|nll| (nll - std::f32::consts::LN_2).abs() < 1e-6)
        );
        let one = run([7, 7]);
        assert_eq!((one.nll, one.loss), (vec![0.0; 4], 0.0));
    }

    #[test]
    fn a_scale_beyond_the_limit_is_cut_and_does_not_learn() {
        let problem = InfoNce {
            p: &[1.0_f64, 0.0, 0.0, 1.0],
            t: &[1.0_f64, 0.1, 0.2, 1.0],
            log_scale: 9.0,
            groups: &[0, 1],
            weights: &[1.0; 4],
            e: 2,
        };
        let cut = problem.run();
        assert_eq!(cut.dlog_scale, 0.0);
        let at_limit = InfoNce {
            log_scale: MAX_SCALE.ln(),
            ..problem
        };
        assert_eq!(at_limit.run().loss, cut.loss);
    }
}

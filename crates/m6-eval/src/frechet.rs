//! Frechet distance between two sets of feature vectors, taken as Gaussians (Heusel and others 2017).

use crate::error::{Error, Result};
use crate::features::Features;
use crate::symmetric::{eigenvalues, factor};
use m6_nn::gemm::{Mat, MatMut, Threads, gemm, matmul};

/// Vectors that are centred and multiplied at once.
const ROWS: usize = 1024;

/// Mean and covariance of a set of feature vectors.
#[derive(Clone, Debug, PartialEq)]
pub struct Gaussian {
    n: usize,
    mean: Vec<f64>,
    /// `[d, d]`, divided by n - 1.
    covariance: Vec<f64>,
}

impl Gaussian {
    /// Mean and unbiased covariance.
    ///
    /// # Errors
    /// [`Error::Features`] of a single vector.
    pub fn new(features: &Features) -> Result<Self> {
        let (n, d) = (features.n(), features.d());
        if n < 2 {
            return Err(Error::Features(
                "one vector has no covariance; give two pictures at least".into(),
            ));
        }
        let mut mean = vec![0.0; d];
        for row in features.values().chunks_exact(d) {
            m6_nn::real::add_into(&mut mean, row);
        }
        mean.iter_mut().for_each(|m| *m /= n as f64);
        let mut covariance = vec![0.0; d * d];
        let scale = 1.0 / (n - 1) as f64;
        for rows in features.values().chunks(ROWS * d) {
            let mut centred = rows.to_vec();
            for row in centred.chunks_exact_mut(d) {
                row.iter_mut().zip(&mean).for_each(|(v, m)| *v -= m);
            }
            let x = Mat::new(&centred, rows.len() / d, d);
            let into = MatMut::new(&mut covariance, d, d);
            gemm(Threads::Pool, into, true, scale, x.t(), x);
        }
        Ok(Self {
            n,
            mean,
            covariance,
        })
    }

    fn trace(&self) -> f64 {
        self.covariance
            .iter()
            .step_by(self.mean.len() + 1)
            .sum::<f64>()
    }
}

/// `|m_a - m_b|^2 + Tr(A + B - 2 (A B)^(1/2))`: 0 of equal sets, without an upper bound.
///
/// Exact also where the covariances have no full rank (fewer vectors than dimensions), where pytorch-fid's matrix root agrees to about
/// eight digits. The figure falls with the number of vectors, so only sets of one size compare.
///
/// # Errors
/// [`Error::Features`] when the dimensions differ.
pub fn frechet_distance(a: &Gaussian, b: &Gaussian) -> Result<f64> {
    if a.mean.len() != b.mean.len() {
        return Err(Error::Features(format!(
            "one set has vectors of length {}, the other of {}; take both from one network",
            a.mean.len(),
            b.mean.len()
        )));
    }
    let apart = a.mean.iter().zip(&b.mean).map(|(a, b)| (a - b) * (a - b));
    // The factor of the smaller set has the fewer columns.
    let (small, other) = if a.n <= b.n { (a, b) } else { (b, a) };
    let shared = trace_of_root(&small.covariance, &other.covariance, a.mean.len())?;
    Ok((apart.sum::<f64>() + a.trace() + b.trace() - 2.0 * shared).max(0.0))
}

/// `Tr (A B)^(1/2)`. With `A = L L^T`, `A B` has the eigenvalues of the symmetric `L^T B L`.
fn trace_of_root(a: &[f64], b: &[f64], d: usize) -> Result<f64> {
    let (l, rank) = factor(a, d);
    let l = Mat::new(&l, d, rank);
    let mut b_l = vec![0.0; d * rank];
    matmul(&mut b_l, false, Mat::new(b, d, d), l);
    let mut inner = vec![0.0; rank * rank];
    matmul(&mut inner, false, l.t(), Mat::new(&b_l, d, rank));
    let values = eigenvalues(inner, rank).ok_or_else(|| {
        Error::Features("the eigenvalues of the covariances do not converge".into())
    })?;
    Ok(values.iter().map(|v| v.max(0.0).sqrt()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaussians_on_one_axis_have_the_closed_form() {
        let of = |values: &[f64]| Gaussian::new(&Features::new(values, 1).unwrap()).unwrap();
        let (a, b) = (of(&[0.0, 2.0, 4.0]), of(&[10.0, 11.0, 12.0]));
        // Means 2 and 11, deviations 2 and 1.
        assert!((frechet_distance(&a, &b).unwrap() - 82.0).abs() < 1e-9);
        assert_eq!(
            frechet_distance(&a, &b).unwrap(),
            frechet_distance(&b, &a).unwrap()
        );
        let still = of(&[5.0, 5.0]);
        assert!((frechet_distance(&a, &still).unwrap() - 13.0).abs() < 1e-9);
    }

    #[test]
    fn one_vector_and_unequal_lengths_are_errors() {
        let set = |d: usize| Features::new(&[1.0f64, 2.0, 3.0, 4.0], d).unwrap();
        assert!(Gaussian::new(&set(4)).is_err());
        let (one, two) = (
            Gaussian::new(&set(1)).unwrap(),
            Gaussian::new(&set(2)).unwrap(),
        );
        let error = frechet_distance(&one, &two).unwrap_err().to_string();
        assert!(error.contains("of length 1, the other of 2"), "{error}");
    }
}

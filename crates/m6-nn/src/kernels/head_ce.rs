//! Output head and weighted cross-entropy in one: logits exist for a limited number of rows at a time, and both gradients are made
//! while they do.

use crate::gemm::{Mat, matmul};
use crate::glue::uninit;
use crate::real::{Real, add_into, exp_sum, max, sum};
use rayon::prelude::*;

/// Rows whose logits exist at the same time.
pub const N_CHUNK_ROWS: usize = 512;

/// Operands: states `h [m, d]`, head `w [v, d]`, optional `bias [v]`, and per row a label below `v` and a weight.
#[derive(Debug, Clone, Copy)]
pub struct HeadCe<'a, T> {
    /// States, `[m, d]`.
    pub h: &'a [T],
    /// Head, `[v, d]`.
    pub w: &'a [T],
    /// Bias, `[v]`.
    pub bias: Option<&'a [T]>,
    /// Right answer of each row, below `v`.
    pub labels: &'a [u32],
    /// Weight of each row in the loss.
    pub weights: &'a [f32],
    /// Share of the target spread evenly over the vocabulary, in `[0, 1)`.
    pub label_smoothing: f32,
    /// Length of a state.
    pub d: usize,
    /// Size of the vocabulary.
    pub v: usize,
}

/// Which gradients to make.
#[derive(Debug)]
pub struct Wanted<T> {
    /// Make that of the states.
    pub dh: bool,
    /// A buffer of the head's size for its gradient, contents arbitrary.
    pub dw: Option<Vec<T>>,
    /// Make that of the bias.
    pub db: bool,
}

/// Loss and gradients of [`HeadCe`]; a gradient that was not wanted is `None`.
#[derive(Debug)]
pub struct HeadCeResult<T> {
    /// Sum over rows of weight times smoothed cross-entropy, in nats.
    pub loss: f64,
    /// Negative log-likelihood of each row's label, unsmoothed and unweighted, in nats.
    pub nll: Vec<f32>,
    /// Gradient of the states, `[m, d]`.
    pub dh: Option<Vec<T>>,
    /// Gradient of the head, `[v, d]`.
    pub dw: Option<Vec<T>>,
    /// Gradient of the bias, `[v]`.
    pub db: Option<Vec<T>>,
}

/// Adds the rows of `x [n, v]` to `sums [v]` in order; tasks share the columns.
fn add_rows<T: Real>(sums: &mut [T], x: &[T]) {
    const COLUMNS: usize = 1024;
    let v = sums.len();
    sums.par_chunks_mut(COLUMNS)
        .enumerate()
        .for_each(|(i, sums)| {
            let columns = i * COLUMNS..i * COLUMNS + sums.len();
            x.chunks_exact(v)
                .for_each(|row| add_into(sums, &row[columns.clone()]));
        });
}

impl<T: Real> HeadCe<'_, T> {
    /// Loss, and gradients for a loss gradient of 1.
    pub fn run(&self, wanted: Wanted<T>) -> HeadCeResult<T> {
        let (m, d, v) = (self.labels.len(), self.d, self.v);
        let with_grads = wanted.dh || wanted.dw.is_some() || wanted.db;
        let mut dh = wanted.dh.then(|| uninit(m * d));
        let mut dw = wanted.dw;
        let mut db = wanted.db.then(|| vec![T::zero(); v]);
        if let Some(dw) = dw.as_mut().filter(|_| m == 0) {
            dw.fill(T::zero());
        }
        let mut logits = uninit(N_CHUNK_ROWS.min(m) * v);
        let (mut loss, mut nll) = (0.0, Vec::with_capacity(m));
        for from in (0..m).step_by(N_CHUNK_ROWS) {
            let n = N_CHUNK_ROWS.min(m - from);
            let logits = &mut logits[..n * v];
            let h = Mat::new(&self.h[from * d..], n, d);
            self.logits(h, logits);
            for (row_loss, row_nll) in self.rows(from, logits, with_grads) {
                loss += row_loss;
                nll.push(row_nll as f32);
            }
            if let Some(dh) = &mut dh {
                matmul(
                    &mut dh[from * d..],
                    false,
                    Mat::new(logits, n, v),
                    Mat::new(self.w, v, d),
                );
            }
            if let Some(dw) = &mut dw {
                matmul(dw, from > 0, Mat::new(logits, n, v).t(), h);
            }
            if let Some(db) = &mut db {
                add_rows(db, logits);
            }
        }
        HeadCeResult {
            loss,
            nll,
            dh,
            dw,
            db,
        }
    }

    fn logits(&self, h: Mat<'_, T>, logits: &mut [T]) {
        if let Some(bias) = self.bias {
            logits
                .par_chunks_mut(self.v)
                .for_each(|row| row.copy_from_slice(bias));
        }
        matmul(
            logits,
            self.bias.is_some(),
            h,
            Mat::new(self.w, self.v, self.d).t(),
        );
    }

    /// Loss and likelihood of each row of a chunk; with gradients the logits are replaced by the loss's gradient.
    fn rows(&self, from: usize, logits: &mut [T], with_grads: bool) -> Vec<(f64, f64)> {
        let row = |(i, row): (usize, &mut [T])| {
            let i = from + i;
            self.row(row, self.labels[i] as usize, self.weights[i], with_grads)
        };
        logits.par_chunks_mut(self.v).enumerate().map(row).collect()
    }

    fn row(&self, row: &mut [T], label: usize, weight: f32, with_grads: bool) -> (f64, f64) {
        let smoothing = f64::from(self.label_smoothing);
        let weight = f64::from(weight);
        let peak = max(row);
        let at_label = (row[label] - peak).to_f64();
        let mean = if smoothing > 0.0 {
            sum(row).to_f64() / self.v as f64 - peak.to_f64()
        } else {
            0.0
        };
        let total = exp_sum(row, peak);
        let log_total = total.to_f64().ln();
        let nll = log_total - at_label;
        let loss = weight * ((1.0 - smoothing) * nll + smoothing * (log_total - mean));
        if with_grads {
            let scale = T::number(weight) / total;
            let even = T::number(weight * smoothing / self.v as f64);
            row.iter_mut().for_each(|p| *p = *p * scale - even);
            row[label] -= T::number(weight * (1.0 - smoothing));
        }
        (loss, nll)
    }
}

//! Output head and weighted cross-entropy in one: logits exist for a limited number of rows at a time, and both gradients are made
//! while they do.

use crate::error::Result;
use crate::gemm::{Mat, matmul};
use crate::glue::uninit;
use crate::real::{Real, add_into, exp_sum, max, sum};
use rayon::prelude::*;

/// Rows whose logits exist at the same time.
pub const N_CHUNK_ROWS: usize = 512;

/// The words of a head that are here, of those that several ranks have among them.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    /// Number of the first one.
    pub first: usize,
    /// Number of all words.
    pub n_all: usize,
    /// Gives the numbers of every rank, in their order, for this one's; all of one length.
    pub join: &'a (dyn Fn(Vec<f32>) -> Result<Vec<f32>> + Sync),
}

/// What the words here say of one row.
#[derive(Clone, Copy)]
struct Local<T> {
    peak: T,
    /// Sum of the powers of e of logits without the peak.
    total: T,
    /// The label's logit; 0 for a label that is not here.
    at_label: T,
    /// Sum of the logits.
    sum: T,
}

/// Operands: states `h [m, d]`, head `w [v, d]`, optional `bias [v]`, and per row a label and a weight.
#[derive(Clone, Copy)]
pub struct HeadCe<'a, T> {
    /// States, `[m, d]`.
    pub h: &'a [T],
    /// Head, `[v, d]`.
    pub w: &'a [T],
    /// Bias, `[v]`.
    pub bias: Option<&'a [T]>,
    /// Right answer of each row, below `v`, or below the number of all words.
    pub labels: &'a [u32],
    /// Weight of each row in the loss.
    pub weights: &'a [f32],
    /// Share of the target spread evenly over the vocabulary, in `[0, 1)`.
    pub label_smoothing: f32,
    /// Length of a state.
    pub d: usize,
    /// Size of the vocabulary, or number of the words here.
    pub v: usize,
    /// The words of other ranks; none where all are here.
    pub words: Option<Words<'a>>,
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
    /// Loss, and gradients for a loss gradient of 1. Where others have words as well, the gradient of the states is that of the words here.
    ///
    /// # Errors
    /// The other ranks could not be heard.
    pub fn run(&self, wanted: Wanted<T>) -> Result<HeadCeResult<T>> {
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
            for (row_loss, row_nll) in self.rows(from, logits, with_grads)? {
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
        Ok(HeadCeResult {
            loss,
            nll,
            dh,
            dw,
            db,
        })
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
    fn rows(&self, from: usize, logits: &mut [T], with_grads: bool) -> Result<Vec<(f64, f64)>> {
        let read = |(i, row): (usize, &mut [T])| self.read(row, self.labels[from + i]);
        let local: Vec<Local<T>> = logits
            .par_chunks_mut(self.v)
            .enumerate()
            .map(read)
            .collect();
        let all = match &self.words {
            None => local.clone(),
            Some(words) => joined(&local, words)?,
        };
        let row = |(i, row): (usize, &mut [T])| {
            let shift = match self.words {
                None => T::one(),
                Some(_) => (local[i].peak - all[i].peak).exp(),
            };
            self.row(row, from + i, (&all[i], shift), with_grads)
        };
        Ok(logits.par_chunks_mut(self.v).enumerate().map(row).collect())
    }

    /// The label among the words here.
    fn label_here(&self, label: u32) -> Option<usize> {
        let first = self.words.map_or(0, |words| words.first);
        (label as usize).checked_sub(first).filter(|&i| i < self.v)
    }

    /// Replaces the logits of a row by their powers of e without the peak.
    fn read(&self, row: &mut [T], label: u32) -> Local<T> {
        let peak = max(row);
        let here = self.label_here(label);
        let at_label = here.map_or(T::zero(), |label| row[label]);
        let sum = match self.label_smoothing > 0.0 {
            true => sum(row),
            false => T::zero(),
        };
        Local {
            peak,
            total: exp_sum(row, peak),
            at_label,
            sum,
        }
    }

    /// Loss and likelihood of row `i` by what all words say of it, and its gradient; `shift` is what the powers of e here are to be multiplied by.
    fn row(
        &self,
        row: &mut [T],
        i: usize,
        (all, shift): (&Local<T>, T),
        with_grads: bool,
    ) -> (f64, f64) {
        let smoothing = f64::from(self.label_smoothing);
        let weight = f64::from(self.weights[i]);
        let n_words = self.words.map_or(self.v, |words| words.n_all) as f64;
        let at_label = (all.at_label - all.peak).to_f64();
        let mean = if smoothing > 0.0 {
            all.sum.to_f64() / n_words - all.peak.to_f64()
        } else {
            0.0
        };
        let log_total = all.total.to_f64().ln();
        let nll = log_total - at_label;
        let loss = weight * ((1.0 - smoothing) * nll + smoothing * (log_total - mean));
        if with_grads {
            let scale = T::number(weight) / all.total * shift;
            let even = T::number(weight * smoothing / n_words);
            row.iter_mut().for_each(|p| *p = *p * scale - even);
            if let Some(label) = self.label_here(self.labels[i]) {
                row[label] -= T::number(weight * (1.0 - smoothing));
            }
        }
        (loss, nll)
    }
}

/// What the words of all ranks say of each row, summed in the order of the ranks.
fn joined<T: Real>(local: &[Local<T>], words: &Words<'_>) -> Result<Vec<Local<T>>> {
    const N: usize = 4;
    let told =
        |row: &Local<T>| [row.peak, row.total, row.at_label, row.sum].map(|v| v.to_f64() as f32);
    let told: Vec<f32> = local.iter().flat_map(told).collect();
    let all = (words.join)(told)?;
    let number = |v: f32| T::number(f64::from(v));
    let larger = |a: T, b: T| if b > a { b } else { a };
    let row = |i: usize| {
        let ranks = || {
            all.chunks_exact(N * local.len())
                .map(|of| &of[N * i..N * (i + 1)])
        };
        let peak = ranks().map(|of| number(of[0])).fold(T::LOWEST, larger);
        let mut row = Local {
            peak,
            total: T::zero(),
            at_label: T::zero(),
            sum: T::zero(),
        };
        for of in ranks() {
            row.total += number(of[1]) * (number(of[0]) - peak).exp();
            row.at_label += number(of[2]);
            row.sum += number(of[3]);
        }
        row
    };
    Ok((0..local.len()).map(row).collect())
}

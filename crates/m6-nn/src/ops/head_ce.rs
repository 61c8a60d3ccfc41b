//! Output head and cross-entropy in one operator.

use super::composed;
use super::embed::check_range;
use super::split::Peers;
use super::tape::{Saved, apply};
use crate::by_dtype;
use crate::error::{Error, Result};
use crate::glue::{self, View, is_fused, view};
use crate::kernels::head_ce as kernel;
use crate::param::Param;
use crate::real::Real;
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::sync::Arc;

/// Cross-entropy of `h w^T + bias` against `labels`: `h [m, d]`, `w [v, d]`, `bias [v]`, one label and one weight per row.
///
/// Returns the scalar `sum_i weights[i] * ce_i` (so the weights already hold any averaging) and, per row, the negative log-likelihood
/// of the label in nats, unsmoothed and unweighted. With `label_smoothing` s, `ce = (1 - s) * nll + s * mean_j(-log p_j)`.
/// All gradients are made in the forward pass while the logits of a chunk of rows exist; none if nothing learns.
///
/// Errors if shapes or lengths do not fit, a label is out of range, or the smoothing is outside `[0, 1)`.
pub fn head_ce(
    h: &Tensor,
    w: &Param,
    bias: Option<&Param>,
    labels: Arc<[u32]>,
    weights: Arc<[f32]>,
    label_smoothing: f32,
) -> Result<(Tensor, Vec<f32>)> {
    check(h, w, bias, &labels, &weights, label_smoothing)?;
    if !is_fused(h) {
        return composed::head_ce(h, w, bias, &labels, &weights, label_smoothing);
    }
    let h = h.contiguous()?;
    by_dtype!(h.dtype(), T => run::<T>(&h, w, bias, None, &labels, &weights, label_smoothing))
}

/// As [`head_ce`] without a bias, where `w` is held in part, each rank of `peers` having some of the rows, and every rank gives the same `h`: all get
/// the loss of all rows and the whole gradient of `h`.
///
/// # Errors
/// As [`head_ce`]; states that are not `f32` on the CPU; the ranks failed.
pub fn head_ce_split(
    h: &Tensor,
    w: &Param,
    peers: &Peers,
    labels: Arc<[u32]>,
    weights: Arc<[f32]>,
    label_smoothing: f32,
) -> Result<(Tensor, Vec<f32>)> {
    check(h, w, None, &labels, &weights, label_smoothing)?;
    run::<f32>(
        &h.contiguous()?,
        w,
        None,
        Some(peers),
        &labels,
        &weights,
        label_smoothing,
    )
}

fn check(
    h: &Tensor,
    w: &Param,
    bias: Option<&Param>,
    labels: &[u32],
    weights: &[f32],
    smoothing: f32,
) -> Result<()> {
    let (m, d) = h.dims2()?;
    let v = w.shape().first().copied().unwrap_or(0);
    glue::expect_shape("head_ce", w.name(), w.var(), &[v, d])?;
    glue::expect_dtype(w.name(), w.var(), h)?;
    if let Some(bias) = bias {
        glue::expect_shape("head_ce", bias.name(), bias.var(), &[v])?;
        glue::expect_dtype(bias.name(), bias.var(), h)?;
    }
    let problem = if labels.len() != m || weights.len() != m {
        format!(
            "{m} rows with {} labels and {} weights",
            labels.len(),
            weights.len()
        )
    } else if !(0.0..1.0).contains(&smoothing) {
        format!("label smoothing is {smoothing}, expected 0 <= s < 1")
    } else {
        return check_range("head_ce", labels, v, false);
    };
    Err(Error::Value {
        op: "head_ce",
        what: problem,
    })
}

fn run<T: Real>(
    h: &Tensor,
    w: &Param,
    bias: Option<&Param>,
    peers: Option<&Peers>,
    labels: &[u32],
    weights: &[f32],
    label_smoothing: f32,
) -> Result<(Tensor, Vec<f32>)> {
    let (n_all, d) = w.var().dims2()?;
    if peers.is_none() && !w.is_whole() {
        return Err(Error::Value {
            op: "head_ce",
            what: format!(
                "{} is here in part, and nobody is there to ask for the rest",
                w.name()
            ),
        });
    }
    let held = w.held();
    let v = held.n_elements() / d.max(1);
    let join = |mine: Vec<f32>| match peers {
        Some(peers) => peers.join(mine),
        None => Ok(mine),
    };
    let wanted = kernel::Wanted {
        dh: h.track_op(),
        dw: w.wants_grad().then(|| w.take_scratch()),
        db: bias.is_some_and(Param::wants_grad),
    };
    let mut result = {
        let (states, head) = (view::<T>(h)?, w.view::<T>()?);
        let bias: Option<View<'_, T>> = bias.map(|b| view(b.var())).transpose()?;
        let problem = kernel::HeadCe {
            h: &states,
            w: &head,
            bias: bias.as_deref(),
            labels,
            weights,
            label_smoothing,
            d,
            v,
            words: peers.map(|_| kernel::Words {
                first: held.first() / d.max(1),
                n_all,
                join: &join,
            }),
        };
        problem.run(wanted)?
    };
    if let Some(peers) = peers {
        result.dh = result.dh.map(|dh| peers.sum(dh)).transpose()?;
    }
    let op = HeadCe {
        w: w.clone(),
        bias: bias.cloned(),
        loss: T::number(result.loss),
        grads: Saved::new(Grads {
            dh: result.dh,
            dw: result.dw,
            db: result.db,
        }),
    };
    let params: Vec<&Param> = std::iter::once(w).chain(bias).collect();
    Ok((apply(h, &params, op)?, result.nll))
}

struct Grads<T> {
    dh: Option<Vec<T>>,
    dw: Option<Vec<T>>,
    db: Option<Vec<T>>,
}

struct HeadCe<T> {
    w: Param,
    bias: Option<Param>,
    loss: T,
    grads: Saved<Grads<T>>,
}

impl<T: Real> HeadCe<T> {
    fn backward(&self, h: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let scale = view::<T>(grad)?[0];
        let grads = self.grads.take("head_ce")?;
        if let Some(dw) = grads.dw {
            self.w.give_grad(dw, scale)?;
        }
        if let (Some(bias), Some(db)) = (&self.bias, grads.db) {
            bias.give_grad(db, scale)?;
        }
        let Some(mut dh) = grads.dh else {
            return Ok(None);
        };
        if scale != T::one() {
            dh.par_chunks_mut(glue::CHUNK)
                .for_each(|chunk| chunk.iter_mut().for_each(|v| *v *= scale));
        }
        Ok(Some(glue::tensor(dh, h.shape())?))
    }
}

impl<T: Real> CustomOp2 for HeadCe<T> {
    fn name(&self) -> &'static str {
        "head_ce"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(glue::storage(vec![self.loss], ()))
    }

    fn bwd(
        &self,
        h: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((self.backward(h, grad)?, None))
    }
}

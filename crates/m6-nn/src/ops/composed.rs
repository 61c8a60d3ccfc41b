//! The operators as compositions of stock backend operators: what runs off the CPU, and what the fused bodies are tested against.

use super::linear::Act;
use crate::error::Result;
use crate::kernels::elementwise::Dropout;
use crate::kernels::embed::NONE;
use crate::param::Param;
use candle_core::{D, Tensor};
use std::sync::Arc;

/// [`super::linear`].
pub fn linear(x: &Tensor, w: &Param, b: Option<&Param>, act: Act) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let k = dims.pop().unwrap_or(1);
    let mut y = x.reshape(((), k))?.matmul(&w.tensor().t()?)?;
    if let Some(b) = b {
        y = y.broadcast_add(&b.tensor())?;
    }
    let y = match act {
        Act::None => y,
        Act::Gelu => gelu(&y)?,
        Act::Relu => y.relu()?,
    };
    dims.push(w.shape()[0]);
    Ok(y.reshape(dims)?)
}

/// [`super::gelu`]; the backend's own has a gradient of six digits.
pub fn gelu(u: &Tensor) -> Result<Tensor> {
    let phi = ((u * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)?;
    Ok((u * (phi * 0.5)?)?)
}

/// [`super::layer_norm`].
pub fn layer_norm(x: &Tensor, w: &Param, b: &Param, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    Ok(normal
        .broadcast_mul(&w.tensor())?
        .broadcast_add(&b.tensor())?)
}

/// [`super::embed`].
pub fn embed(tables: &[(&Param, Arc<[u32]>)]) -> Result<Tensor> {
    let mut total: Option<Tensor> = None;
    for (table, ids) in tables {
        let table = table.tensor();
        let rows: Vec<u32> = ids
            .iter()
            .map(|&id| if id == NONE { 0 } else { id })
            .collect();
        let kept: Vec<f32> = ids
            .iter()
            .map(|&id| if id == NONE { 0.0 } else { 1.0 })
            .collect();
        let rows = Tensor::from_vec(rows, ids.len(), table.device())?;
        let kept =
            Tensor::from_vec(kept, (ids.len(), 1), table.device())?.to_dtype(table.dtype())?;
        let part = table.index_select(&rows, 0)?.broadcast_mul(&kept)?;
        total = Some(match total {
            Some(total) => (total + part)?,
            None => part,
        });
    }
    total.ok_or_else(|| crate::Error::Value {
        op: "embed",
        what: "no table given".into(),
    })
}

/// [`super::select_rows`].
pub fn select_rows(x: &Tensor, at: &[u32]) -> Result<Tensor> {
    Ok(x.index_select(&Tensor::new(at, x.device())?, 0)?)
}

/// [`super::scatter_rows`].
pub fn scatter_rows(x: &Tensor, rows: &Tensor, at: &[u32]) -> Result<Tensor> {
    Ok(x.index_add(&Tensor::new(at, x.device())?, rows, 0)?)
}

/// [`super::scale_rows`].
pub fn scale_rows(x: &Tensor, factors: &[f32]) -> Result<Tensor> {
    let factors = Tensor::new(factors, x.device())?.unsqueeze(1)?;
    Ok(x.broadcast_mul(&factors.to_dtype(x.dtype())?)?)
}

/// [`super::add`], or [`super::add_dropout`] with a mask.
pub fn add_dropout(x: &Tensor, y: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    let Some(dropout) = dropout else {
        return Ok((x + y)?);
    };
    let mask: Vec<f64> = (0..y.elem_count()).map(|i| dropout.factor(i)).collect();
    let mask = Tensor::from_vec(mask, y.shape(), y.device())?.to_dtype(y.dtype())?;
    Ok((x + (y * mask)?)?)
}

/// [`super::head_ce`].
pub fn head_ce(
    h: &Tensor,
    w: &Param,
    bias: Option<&Param>,
    labels: &[u32],
    weights: &[f32],
    label_smoothing: f32,
) -> Result<(Tensor, Vec<f32>)> {
    let smoothing = f64::from(label_smoothing);
    let logits = linear(h, w, bias, Act::None)?;
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let log_p = shifted.broadcast_sub(&log_total)?;
    let labels = Tensor::new(labels, h.device())?.unsqueeze(1)?;
    let nll = log_p.gather(&labels, 1)?.squeeze(1)?.neg()?;
    let even = log_p.mean(D::Minus1)?.neg()?;
    let smoothed = ((&nll * (1.0 - smoothing))? + (even * smoothing)?)?;
    let weights = Tensor::new(weights, h.device())?.to_dtype(h.dtype())?;
    let nll = nll.detach().to_dtype(candle_core::DType::F32)?.to_vec1()?;
    Ok(((smoothed * weights)?.sum_all()?, nll))
}

/// [`super::info_nce`].
pub fn info_nce(
    p: &Tensor,
    t: &Tensor,
    log_scale: &Param,
    groups: &[u32],
    weights: &[f32],
) -> Result<(Tensor, Vec<f32>)> {
    let k = groups.len();
    let unit = |x: &Tensor| -> Result<Tensor> {
        let norms = x.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(1e-12)?;
        Ok(x.broadcast_div(&norms)?)
    };
    let scale = log_scale
        .tensor()
        .minimum(crate::kernels::info_nce::MAX_SCALE.ln())?
        .exp()?;
    let logits = unit(p)?
        .matmul(&unit(t)?.t()?)?
        .broadcast_mul(&scale.reshape((1, 1))?)?;
    // Other rows of the same group are taken out of every sum.
    let hidden = |i: usize, j: usize| i != j && groups[i] == groups[j];
    let mask: Vec<f64> = (0..k * k)
        .map(|at| if hidden(at / k, at % k) { -1e9 } else { 0.0 })
        .collect();
    let logits = (logits + Tensor::from_vec(mask, (k, k), p.device())?.to_dtype(p.dtype())?)?;
    let own: Vec<u32> = (0..k as u32).collect();
    let own = Tensor::new(own, p.device())?.unsqueeze(1)?;
    let side = |logits: &Tensor| -> Result<Tensor> {
        let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?;
        let log_total = shifted.exp()?.sum_keepdim(1)?.log()?;
        let log_p = shifted.broadcast_sub(&log_total)?;
        Ok(log_p.gather(&own, 1)?.squeeze(1)?.neg()?)
    };
    let nll = Tensor::cat(&[side(&logits)?, side(&logits.t()?.contiguous()?)?], 0)?;
    let weights = Tensor::new(weights, p.device())?.to_dtype(p.dtype())?;
    let values = nll.detach().to_dtype(candle_core::DType::F32)?.to_vec1()?;
    Ok(((nll * weights)?.sum_all()?, values))
}

//! Stock compositions of attention and of the operators on feature maps.
//!
//! They run wherever the backend runs, take several times the time and memory of the fused bodies, and send every gradient through
//! the tape. Tests hold the fused operators against them.

use crate::error::{Error, Result};
use crate::spans::Spans;
use candle_core::{D, DType, Tensor};

/// [`super::attention`] with the whole mask and all scores in memory.
///
/// # Errors
/// When the shapes do not fit.
pub fn attention(qkv: &Tensor, n_heads: usize, spans: &Spans) -> Result<Tensor> {
    let (n, width) = qkv.dims2()?;
    let d_head = width / 3 / n_heads;
    let parts = qkv
        .reshape((n, 3, n_heads, d_head))?
        .permute((1, 2, 0, 3))?
        .contiguous()?;
    let part = |i: usize| parts.get(i)?.contiguous();
    let (q, k, v) = (part(0)?, part(1)?, part(2)?);
    let hidden: Vec<f32> = spans
        .mask()
        .iter()
        .map(|seen| if *seen == 1 { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    let hidden = Tensor::from_vec(hidden, (n, n), qkv.device())?.to_dtype(qkv.dtype())?;
    let scores = (q.matmul(&k.t()?.contiguous()?)? * (1.0 / (d_head as f64).sqrt()))?
        .broadcast_add(&hidden)?;
    let weights = scores
        .broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?
        .exp()?;
    let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
    let out = weights.matmul(&v)?;
    Ok(out
        .permute((1, 0, 2))?
        .contiguous()?
        .reshape((n, width / 3))?)
}

/// [`super::conv2d`]: one matrix product per position in the kernel, summed.
///
/// # Errors
/// When the shapes do not fit.
pub fn conv2d(
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    stride: usize,
    pad: [usize; 2],
) -> Result<Tensor> {
    let (n, c_in, h, width) = x.dims4()?;
    let (c_out, _, k_h, k_w) = w.dims4()?;
    let (h_out, w_out) = (
        (h + 2 * pad[0] - k_h) / stride + 1,
        (width + 2 * pad[1] - k_w) / stride + 1,
    );
    let x = x
        .pad_with_zeros(2, pad[0], pad[0])?
        .pad_with_zeros(3, pad[1], pad[1])?;
    let mut y: Option<Tensor> = None;
    for (ky, kx) in (0..k_h).flat_map(|ky| (0..k_w).map(move |kx| (ky, kx))) {
        let pixels = every(&every(&x, 2, ky, stride, h_out)?, 3, kx, stride, w_out)?;
        let pixels = pixels.reshape((n, c_in, h_out * w_out))?;
        let tap = w
            .narrow(2, ky, 1)?
            .narrow(3, kx, 1)?
            .contiguous()?
            .reshape((1, c_out, c_in))?;
        let part = tap
            .broadcast_as((n, c_out, c_in))?
            .contiguous()?
            .matmul(&pixels)?;
        y = Some(match y {
            Some(y) => (y + part)?,
            None => part,
        });
    }
    let y = y.unwrap_or(Tensor::zeros(
        (n, c_out, h_out * w_out),
        x.dtype(),
        x.device(),
    )?);
    let y = y.reshape((n, c_out, h_out, w_out))?;
    match b {
        Some(b) => Ok(y.broadcast_add(&b.reshape((1, c_out, 1, 1))?)?),
        None => Ok(y),
    }
}

/// `n` indices of dimension `dim`: `from`, `from + step`, ...
fn every(x: &Tensor, dim: usize, from: usize, step: usize, n: usize) -> Result<Tensor> {
    let at: Vec<u32> = (0..n).map(|i| (from + i * step) as u32).collect();
    Ok(x.contiguous()?
        .index_select(&Tensor::new(at, x.device())?, dim)?)
}

/// [`super::group_norm_silu`], and [`super::group_norm`] without `silu`.
///
/// # Errors
/// When the shapes do not fit.
pub fn group_norm(
    x: &Tensor,
    w: &Tensor,
    b: &Tensor,
    n_groups: usize,
    eps: f64,
    silu: bool,
) -> Result<Tensor> {
    let (n, c, height, width) = x.dims4()?;
    let grouped = x.reshape((n, n_groups, c / n_groups * height * width))?;
    let centred = grouped.broadcast_sub(&grouped.mean_keepdim(2)?)?;
    let variance = centred.sqr()?.mean_keepdim(2)?;
    let normed = centred
        .broadcast_div(&(variance + eps)?.sqrt()?)?
        .reshape((n, c, height, width))?;
    let line = normed
        .broadcast_mul(&w.reshape((1, c, 1, 1))?)?
        .broadcast_add(&b.reshape((1, c, 1, 1))?)?;
    match silu {
        true => Ok((&line / (line.neg()?.exp()? + 1.0)?)?),
        false => Ok(line),
    }
}

/// [`super::relu`].
///
/// # Errors
/// When the backend refuses.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    Ok(x.relu()?)
}

/// [`super::max_pool2d`]: the shifted pictures side by side, the first maximum gathered.
///
/// # Errors
/// When the shapes do not fit.
pub fn max_pool2d(x: &Tensor, k: usize, stride: usize, pad: usize) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let (h_out, w_out) = (
        (h + 2 * pad - k) / stride + 1,
        (w + 2 * pad - k) / stride + 1,
    );
    // Padding is far below any pixel rather than infinite, so that no product with it makes a NaN.
    let edge = Tensor::ones(x.dims(), DType::F32, x.device())?
        .pad_with_zeros(2, pad, pad)?
        .pad_with_zeros(3, pad, pad)?;
    let edge = ((edge - 1.0)? * 1e30)?.to_dtype(x.dtype())?;
    let x = (x.pad_with_zeros(2, pad, pad)?.pad_with_zeros(3, pad, pad)? + edge)?;
    let shifts: Result<Vec<Tensor>> = (0..k * k)
        .map(|tap| {
            every(
                &every(&x, 2, tap / k, stride, h_out)?,
                3,
                tap % k,
                stride,
                w_out,
            )?
            .unsqueeze(0)
            .map_err(Into::into)
        })
        .collect();
    let shifts = Tensor::cat(&shifts?, 0)?;
    let first = shifts.detach().argmax_keepdim(0)?;
    Ok(shifts.gather(&first, 0)?.squeeze(0)?)
}

/// Mean over windows of odd side `k` around every pixel, of the pixels inside the picture: `[n, c, h, w]` to the same shape. It has no
/// fused body: beside the convolutions of a network it costs nothing.
///
/// # Errors
/// When `x` does not have four dimensions, or `k` is even.
pub fn avg_pool2d(x: &Tensor, k: usize) -> Result<Tensor> {
    if k.is_multiple_of(2) {
        return Err(Error::Value {
            op: "avg_pool2d",
            what: format!("a window of side {k} has no middle; take an odd one"),
        });
    }
    let (_, _, h, w) = x.dims4()?;
    let ones = Tensor::ones((1, 1, h, w), x.dtype(), x.device())?;
    let sums = |x: &Tensor| window_sums(&window_sums(x, 2, k)?, 3, k);
    Ok(sums(x)?.broadcast_div(&sums(&ones)?)?)
}

/// Sums of `k` neighbours along one dimension, as if zeros lay around.
fn window_sums(x: &Tensor, dim: usize, k: usize) -> Result<Tensor> {
    let len = x.dim(dim)?;
    let padded = x.pad_with_zeros(dim, k / 2, k / 2)?;
    let mut sum = padded.narrow(dim, 0, len)?;
    for at in 1..k {
        sum = (sum + padded.narrow(dim, at, len)?)?;
    }
    Ok(sum)
}

/// [`super::global_avg_pool`].
///
/// # Errors
/// When `x` does not have four dimensions.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    Ok(x.mean((2, 3))?)
}

/// [`super::nchw_to_rows`].
///
/// # Errors
/// When `x` does not have four dimensions.
pub fn nchw_to_rows(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    Ok(x.permute((0, 2, 3, 1))?
        .contiguous()?
        .reshape((n * h * w, c))?)
}

/// [`super::up2`].
///
/// # Errors
/// When `x` does not have four dimensions.
pub fn up2(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let wide = x
        .reshape((n, c, h, 1, w, 1))?
        .broadcast_as((n, c, h, 2, w, 2))?;
    Ok(wide.contiguous()?.reshape((n, c, 2 * h, 2 * w))?)
}

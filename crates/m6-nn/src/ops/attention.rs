//! Attention as an operator on tensors.

use super::composed2d;
use crate::by_dtype;
use crate::error::{Error, Result};
use crate::glue::{self, is_fused, rows_of, uninit, view};
use crate::kernels::attention::{Saved, attention as forward, attention_backward};
use crate::ops::tape;
use crate::real::Real;
use crate::spans::Spans;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use std::sync::Arc;

/// Multi-head attention of packed projections `qkv` `[n, 3 d]` (queries, keys, values; heads side by side) under the pattern
/// `spans`, giving `[n, d]` (paper section 2.3; the prefix-causal mask as in figure 3).
///
/// # Errors
/// When `qkv` does not have two dimensions, its width is no multiple of `3 n_heads`, or its rows are not the tokens of `spans`.
pub fn attention(qkv: &Tensor, n_heads: usize, spans: &Arc<Spans>) -> Result<Tensor> {
    let (n, width) = rows_of("attention", "qkv", qkv)?;
    if qkv.rank() != 2
        || n_heads == 0
        || !width.is_multiple_of(3 * n_heads)
        || width == 0
        || n != spans.n_tokens()
    {
        return Err(Error::Shape {
            op: "attention",
            what: "qkv".into(),
            got: qkv.dims().to_vec(),
            expected: format!(
                "[{}, 3 * d_model] with d_model a multiple of {n_heads} heads",
                spans.n_tokens()
            ),
        });
    }
    if !is_fused(qkv) {
        return composed2d::attention(qkv, n_heads, spans);
    }
    let qkv = qkv.contiguous()?;
    by_dtype!(qkv.dtype(), T => {
        let op = Attention::<T> { n_heads, spans: spans.clone(), lse: tape::Saved::empty() };
        Ok(qkv.apply_op1(op)?)
    })
}

struct Attention<T> {
    n_heads: usize,
    spans: Arc<Spans>,
    /// Log-sum-exp per head and query.
    lse: tape::Saved<Vec<T>>,
}

impl<T: Real> Attention<T> {
    fn backward(&self, qkv: &Tensor, out: &Tensor, d_out: &Tensor) -> Result<Tensor> {
        let d_out = d_out.contiguous()?;
        let (qkv_view, out_view, d_out_view) =
            (view::<T>(qkv)?, view::<T>(out)?, view::<T>(&d_out)?);
        let lse = self.lse.take("attention")?;
        let saved = Saved {
            qkv: &qkv_view,
            out: &out_view,
            lse: &lse,
            d_out: &d_out_view,
        };
        let mut d_qkv = uninit(qkv_view.len());
        attention_backward(
            &saved,
            qkv.dim(1)? / 3,
            self.n_heads,
            &self.spans,
            &mut d_qkv,
        );
        glue::tensor(d_qkv, qkv.shape())
    }
}

impl<T: Real> CustomOp1 for Attention<T> {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (n, d) = (self.spans.n_tokens(), layout.dims()[1] / 3);
        let (mut out, mut lse) = (uninit::<T>(n * d), uninit::<T>(n * self.n_heads));
        forward(
            glue::slice(storage, layout)?,
            d,
            self.n_heads,
            &self.spans,
            &mut out,
            &mut lse,
        );
        self.lse.put(lse);
        Ok(glue::storage(out, (n, d)))
    }

    fn bwd(
        &self,
        qkv: &Tensor,
        out: &Tensor,
        d_out: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(self.backward(qkv, out, d_out)?))
    }
}

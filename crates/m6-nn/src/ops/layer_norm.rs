//! Layer normalisation.

use super::composed;
use super::tape::apply;
use crate::by_dtype;
use crate::error::Result;
use crate::glue::{self, is_fused, view};
use crate::kernels::layer_norm as kernel;
use crate::param::Param;
use crate::real::Real;
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use std::marker::PhantomData;

/// `(x - mean) / sqrt(variance + eps) * w + b` over the last dimension: `x [.., d]`, `w [d]`, `b [d]`.
///
/// Errors if the shapes do not fit or the number types differ.
pub fn layer_norm(x: &Tensor, w: &Param, b: &Param, eps: f64) -> Result<Tensor> {
    let (_, d) = glue::rows_of("layer_norm", "x", x)?;
    for param in [w, b] {
        glue::expect_shape("layer_norm", param.name(), param.var(), &[d])?;
        glue::expect_dtype(param.name(), param.var(), x)?;
    }
    if !is_fused(x) {
        return composed::layer_norm(x, w, b, eps);
    }
    let x = x.contiguous()?;
    by_dtype!(x.dtype(), T => {
        let op = LayerNorm::<T> { w: w.clone(), b: b.clone(), eps, kind: PhantomData };
        apply(&x, &[w, b], op)
    })
}

struct LayerNorm<T> {
    w: Param,
    b: Param,
    eps: f64,
    kind: PhantomData<T>,
}

impl<T: Real> LayerNorm<T> {
    fn backward(&self, x: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let grads = {
            let (x, w, grad) = (view::<T>(x)?, view::<T>(self.w.var())?, view::<T>(&grad)?);
            kernel::layer_norm_grads(&x, &w, &grad, T::number(self.eps))
        };
        for (param, values) in [(&self.w, &grads.dw), (&self.b, &grads.db)] {
            if param.is_trainable() {
                param.add_grad(values)?;
            }
        }
        if x.track_op() {
            Ok(Some(glue::tensor(grads.dx, x.shape())?))
        } else {
            Ok(None)
        }
    }
}

impl<T: Real> CustomOp2 for LayerNorm<T> {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (w, b) = (view::<T>(self.w.var())?, view::<T>(self.b.var())?);
        let y = kernel::layer_norm(glue::slice::<T>(x, layout)?, &w, &b, T::number(self.eps));
        Ok(glue::storage(y, layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((self.backward(x, grad)?, None))
    }
}

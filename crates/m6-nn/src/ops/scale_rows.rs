//! A factor for each row: stochastic depth.

use super::composed;
use crate::by_dtype;
use crate::error::Result;
use crate::glue::{self, is_fused, view};
use crate::kernels::elementwise as kernel;
use crate::real::Real;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use std::marker::PhantomData;
use std::sync::Arc;

/// Row `i` of `x [n, d]` times `factors[i]`, which do not learn.
///
/// # Errors
/// Another number of factors than rows.
pub fn scale_rows(x: &Tensor, factors: Arc<[f32]>) -> Result<Tensor> {
    let (n, d) = x.dims2()?;
    glue::expect_shape("scale_rows", "x", x, &[factors.len(), d])?;
    if !is_fused(x) || n * d == 0 {
        return composed::scale_rows(x, &factors);
    }
    let x = x.contiguous()?;
    by_dtype!(x.dtype(), T => Ok(x.apply_op1(ScaleRows::<T> { factors, kind: PhantomData })?))
}

struct ScaleRows<T> {
    factors: Arc<[f32]>,
    kind: PhantomData<T>,
}

impl<T: Real> CustomOp1 for ScaleRows<T> {
    fn name(&self) -> &'static str {
        "scale_rows"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let y = kernel::scale_rows(glue::slice::<T>(x, layout)?, &self.factors);
        Ok(glue::storage(y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let dx = kernel::scale_rows(&view::<T>(&grad)?, &self.factors);
        Ok(Some(glue::tensor(dx, x.shape())?))
    }
}

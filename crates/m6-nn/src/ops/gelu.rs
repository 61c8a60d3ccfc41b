//! The activation alone, for sums that come before it.

use super::composed;
use crate::by_dtype;
use crate::error::Result;
use crate::glue::{self, is_fused, view};
use crate::kernels::linear as kernel;
use crate::real::Real;
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use std::marker::PhantomData;

/// Exact GELU of every element; where it follows a linear map directly, [`super::linear`] does both at once.
///
/// # Errors
/// Errors of the backend.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if !is_fused(x) {
        return composed::gelu(x);
    }
    let x = x.contiguous()?;
    by_dtype!(x.dtype(), T => Ok(x.apply_op1(Gelu::<T>(PhantomData))?))
}

struct Gelu<T>(PhantomData<T>);

impl<T: Real> CustomOp1 for Gelu<T> {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut y = glue::slice::<T>(x, layout)?.to_vec();
        kernel::activate_in_place(kernel::Act::Gelu, &mut y);
        Ok(glue::storage(y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let mut dx = view::<T>(x)?.to_vec();
        kernel::gelu_grad_in_place(&mut dx, &view::<T>(&grad)?);
        Ok(Some(glue::tensor(dx, x.shape())?))
    }
}

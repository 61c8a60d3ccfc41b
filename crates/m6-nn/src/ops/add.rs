//! Residual sums, with and without dropout.

use super::composed;
use crate::by_dtype;
use crate::error::{Error, Result};
use crate::glue::{self, is_fused, view};
use crate::kernels::elementwise::{self as kernel, Dropout};
use crate::real::Real;
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use std::marker::PhantomData;

/// `x + y` of one shape.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    sum("add", x, y, None)
}

/// `x + dropout(y)`: a share `p` of `y` is dropped and the rest scaled by `1 / (1 - p)`. The mask depends on `key` and the element's
/// index alone.
///
/// Errors if `p` is outside `[0, 1)` or the shapes differ.
pub fn add_dropout(x: &Tensor, y: &Tensor, p: f32, key: u64) -> Result<Tensor> {
    if !(0.0..1.0).contains(&p) {
        return Err(Error::Value {
            op: "add_dropout",
            what: format!("p is {p}, expected 0 <= p < 1"),
        });
    }
    sum("add_dropout", x, y, (p > 0.0).then(|| Dropout::new(p, key)))
}

fn sum(op: &'static str, x: &Tensor, y: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    glue::expect_shape(op, "y", y, x.dims())?;
    glue::expect_dtype("y", y, x)?;
    if !is_fused(x) {
        return composed::add_dropout(x, y, dropout);
    }
    let (x, y) = (x.contiguous()?, y.contiguous()?);
    by_dtype!(x.dtype(), T => Ok(x.apply_op2(&y, Sum::<T> { dropout, kind: PhantomData })?))
}

struct Sum<T> {
    dropout: Option<Dropout>,
    kind: PhantomData<T>,
}

impl<T: Real> CustomOp2 for Sum<T> {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, y) = (
            glue::slice::<T>(x, x_layout)?,
            glue::slice::<T>(y, y_layout)?,
        );
        let z = match &self.dropout {
            Some(dropout) => dropout.add(x, y),
            None => kernel::add(x, y),
        };
        Ok(glue::storage(z, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = match &self.dropout {
            Some(dropout) if y.track_op() => {
                let grad = grad.contiguous()?;
                let dy = dropout.apply(&view::<T>(&grad)?);
                Some(glue::tensor(dy, y.shape())?)
            }
            _ => y.track_op().then(|| grad.clone()),
        };
        Ok((x.track_op().then(|| grad.clone()), dy))
    }
}

//! A tensor and a scalar as one tensor: how a checkpointed block hands on a loss of its own.

use super::tape::Saved;
use crate::by_dtype;
use crate::error::{Error, Result};
use crate::glue::{self, is_fused, view};
use crate::real::Real;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use std::marker::PhantomData;

/// The numbers of `x` and then the scalar, flat.
///
/// # Errors
/// `scalar` is none, or of another number type.
pub fn pack(x: &Tensor, scalar: &Tensor) -> Result<Tensor> {
    glue::expect_shape("pack", "scalar", scalar, &[])?;
    glue::expect_dtype("scalar", scalar, x)?;
    if !is_fused(x) {
        return Ok(Tensor::cat(&[x.flatten_all()?, scalar.reshape(1)?], 0)?);
    }
    let x = x.contiguous()?;
    by_dtype!(x.dtype(), T => Ok(x.apply_op2(scalar, Pack::<T>(PhantomData))?))
}

/// What [`pack`] was given, where `shape` is that of the tensor.
///
/// # Errors
/// Another number of elements than the shape's and one.
pub fn unpack(packed: &Tensor, shape: &[usize]) -> Result<(Tensor, Tensor)> {
    let n: usize = shape.iter().product();
    if packed.dims() != [n + 1] {
        return Err(Error::Shape {
            op: "unpack",
            what: "packed".into(),
            got: packed.dims().to_vec(),
            expected: format!("[{}], as the tensor is {shape:?}", n + 1),
        });
    }
    if !is_fused(packed) {
        let scalar = packed.narrow(0, n, 1)?.reshape(())?;
        return Ok((packed.narrow(0, 0, n)?.reshape(shape)?, scalar));
    }
    let packed = packed.contiguous()?;
    by_dtype!(packed.dtype(), T => {
        let part = |shape: &[usize], first: usize| -> Result<Tensor> {
            let n: usize = shape.iter().product();
            let values = view::<T>(&packed)?[first..first + n].to_vec();
            let op = Part::<T> { first, values: Saved::new(values), shape: shape.into() };
            Ok(packed.apply_op1(op)?)
        };
        Ok((part(shape, 0)?, part(&[], n)?))
    })
}

struct Pack<T>(PhantomData<T>);

impl<T: Real> CustomOp2 for Pack<T> {
    fn name(&self) -> &'static str {
        "pack"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        scalar: &CpuStorage,
        scalar_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut values = glue::slice::<T>(x, x_layout)?.to_vec();
        values.extend_from_slice(glue::slice::<T>(scalar, scalar_layout)?);
        let n = values.len();
        Ok(glue::storage(values, n))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scalar: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let grad = view::<T>(&grad)?;
        let (of_x, of_scalar) = grad.split_at(x.elem_count());
        let dx = x
            .track_op()
            .then(|| glue::tensor(of_x.to_vec(), x.shape()))
            .transpose()?;
        let dscalar = scalar
            .track_op()
            .then(|| glue::tensor(of_scalar.to_vec(), ()))
            .transpose()?;
        Ok((dx, dscalar))
    }
}

/// Neighbouring numbers of a flat tensor, from `first` on.
struct Part<T> {
    first: usize,
    /// On their way to the tape.
    values: Saved<Vec<T>>,
    shape: Shape,
}

impl<T: Real> CustomOp1 for Part<T> {
    fn name(&self) -> &'static str {
        "unpack"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(glue::storage(
            self.values.take("unpack")?,
            self.shape.clone(),
        ))
    }

    fn bwd(
        &self,
        packed: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let mut all = glue::zeros::<T>(packed.elem_count());
        let grad = view::<T>(&grad)?;
        all[self.first..self.first + grad.len()].copy_from_slice(&grad);
        Ok(Some(glue::tensor(all, packed.shape())?))
    }
}

//! The numbers of a parameter as plain slices, for state that is spread over ranks.

use super::Param;
use crate::error::{Error, Result};
use crate::glue;
use crate::real::{Buffer, Real};
use candle_core::{CpuStorage, InplaceOp1, Layout};
use std::sync::{Mutex, PoisonError};

impl Param {
    /// Lets `f` read the values, row-major.
    ///
    /// # Errors
    /// A parameter that is not `f32`, not on the CPU, or released.
    pub fn with_values<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
        Ok(f(&glue::view::<f32>(self.var())?))
    }

    /// Lets `f` change the values in place, row-major.
    ///
    /// # Errors
    /// As [`Param::with_values`].
    pub fn edit_values<R: Send>(&self, f: impl FnOnce(&mut [f32]) -> R + Send) -> Result<R> {
        self.edit(|values| {
            let n = values.len();
            (n == self.n_elements())
                .then(|| f(values))
                .ok_or_else(|| self.released())
        })?
    }

    /// Gives the memory of the values back; the parameter keeps its name and shape, and nothing may use it until [`Param::restore`].
    ///
    /// # Errors
    /// A parameter that is not `f32` or not on the CPU.
    pub fn release(&self) -> Result<()> {
        self.edit(|values| *values = Vec::new())
    }

    /// Gives a released parameter its values, or one that has some others, row-major.
    ///
    /// # Errors
    /// Values of another number than the parameter has; as [`Param::release`].
    pub fn restore(&self, new: Vec<f32>) -> Result<()> {
        if new.len() != self.n_elements() {
            return Err(Error::Shape {
                op: "restore",
                what: self.name().into(),
                got: vec![new.len()],
                expected: format!("{} elements", self.n_elements()),
            });
        }
        self.edit(|values| *values = new)
    }

    /// Takes the gradient out, with its memory; `None` if there is none or it is not `f32`.
    pub fn take_grad(&self) -> Option<Vec<f32>> {
        let mut grad = self.grad();
        let filled = std::mem::replace(&mut grad.filled, false);
        match &mut grad.buffer {
            Buffer::F32(values) => Some(std::mem::take(values)).filter(|_| filled),
            Buffer::F64(_) => None,
        }
    }

    fn released(&self) -> Error {
        Error::Value {
            op: "parameter",
            what: format!(
                "{} is released: its values are with other ranks",
                self.name()
            ),
        }
    }

    fn edit<R: Send>(&self, f: impl FnOnce(&mut Vec<f32>) -> R + Send) -> Result<R> {
        let edit = Edit {
            f: Mutex::new(Some(f)),
            out: Mutex::new(None),
        };
        self.var().inplace_op1(&edit)?;
        let out = edit
            .out
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        out.ok_or_else(|| Error::Value {
            op: "parameter",
            what: format!("{} could not be changed in place", self.name()),
        })
    }
}

/// A function on the storage itself, which the backend only lends to operators.
struct Edit<F, R> {
    f: Mutex<Option<F>>,
    out: Mutex<Option<R>>,
}

impl<R: Send, F: FnOnce(&mut Vec<f32>) -> R + Send> InplaceOp1 for Edit<F, R> {
    fn name(&self) -> &'static str {
        "edit parameter"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let CpuStorage::F32(values) = storage else {
            candle_core::bail!("the parameter does not hold f32")
        };
        if layout.start_offset() != 0 || !layout.is_contiguous() {
            candle_core::bail!("the parameter is a view of another tensor")
        }
        let f = self.f.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(f) = f {
            let out = f(values);
            *self.out.lock().unwrap_or_else(PoisonError::into_inner) = Some(out);
        }
        Ok(())
    }
}

/// Adds `values` to `sum`, or takes their place where the sum has nothing yet.
pub(crate) fn add_or_copy<T: Real>(sum: &mut [T], values: &[T], filled: bool) {
    match filled {
        true => crate::real::add_into(sum, values),
        false => sum.copy_from_slice(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Tensor};

    #[test]
    fn a_released_parameter_is_refused_until_it_is_restored() {
        let tensor = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu).unwrap();
        let param = Param::new("p", &tensor, true).unwrap();
        param.edit_values(|values| values[1] = 5.0).unwrap();
        assert_eq!(param.with_values(<[f32]>::to_vec).unwrap(), [1.0, 5.0]);
        param.release().unwrap();
        assert_eq!(param.shape(), [1, 2]);
        assert!(param.with_values(|_| ()).is_err());
        let error = param.edit_values(|_| ()).unwrap_err().to_string();
        assert!(error.contains("p is released"), "{error}");
        assert!(param.restore(vec![0.0]).is_err());
        param.restore(vec![3.0, 4.0]).unwrap();
        assert_eq!(param.tensor().to_vec2::<f32>().unwrap(), [[3.0, 4.0]]);
    }

    #[test]
    fn a_gradient_is_taken_once() {
        let tensor = Tensor::new(&[1.0_f32], &Device::Cpu).unwrap();
        let param = Param::new("p", &tensor, true).unwrap();
        assert_eq!(param.take_grad(), None);
        param.add_grad(&[2.0_f32]).unwrap();
        assert_eq!(param.take_grad(), Some(vec![2.0]));
        assert_eq!((param.take_grad(), param.grad_f32()), (None, None));
    }
}

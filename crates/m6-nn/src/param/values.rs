//! The numbers of a parameter as plain slices, for state that is spread over ranks.

use super::{Param, Part};
use crate::error::{Error, Result};
use crate::glue::{self, View};
use crate::real::{Buffer, Real};
use candle_core::{CpuStorage, InplaceOp1, Layout};
use std::sync::{Mutex, PoisonError};

impl Param {
    /// Lets `f` read the values, row-major.
    ///
    /// # Errors
    /// A parameter that is not `f32`, not on the CPU, or released.
    pub fn with_values<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
        Ok(f(&self.view::<f32>()?))
    }

    /// What this process has of the values, row-major; borrowed.
    ///
    /// # Errors
    /// Another number type, values that are not on the CPU, or released.
    pub(crate) fn view<T: Real>(&self) -> Result<View<'_, T>> {
        match self.is_whole() {
            true => glue::view(self.var()),
            // The shape of the variable tells of more than there is.
            false => glue::view_held(self.var(), self.n_held()),
        }
    }

    /// Keeps the values of this part alone, as its own row-major numbers, and forgets the gradient; the shape stays that of the whole. With
    /// [`Param::hold_all`], the way back. Whoever computes with the parameter has to know of it: operators that do not, refuse it.
    ///
    /// # Errors
    /// A part outside of the parameter, or of one of which only a part is held; a parameter that is not `f32` or not on the CPU.
    pub fn hold(&self, part: Part) -> Result<()> {
        let end = part.pieces().last().map_or(0, |piece| piece.end);
        if !self.is_whole() || end > self.n_elements() || part.n_elements() == 0 {
            return Err(Error::Value {
                op: "parameter",
                what: format!("{part:?} of {:?} of {}", self.held(), self.name()),
            });
        }
        self.edit(|values| *values = part.take(values))?;
        self.set_held(part);
        Ok(())
    }

    /// Gives a parameter of which a part was held all of its values, row-major.
    ///
    /// # Errors
    /// As [`Param::restore`].
    pub fn hold_all(&self, new: Vec<f32>) -> Result<()> {
        if new.len() != self.n_elements() {
            return Err(self.wrong_length("hold", new.len(), self.n_elements()));
        }
        self.edit(|values| *values = new)?;
        self.set_held(Part::whole(self.shape()));
        Ok(())
    }

    fn set_held(&self, part: Part) {
        *self.lock_held() = part;
        drop(self.take_grad());
    }

    fn wrong_length(&self, op: &'static str, got: usize, expected: usize) -> Error {
        Error::Shape {
            op,
            what: self.name().into(),
            got: vec![got],
            expected: format!("{expected} elements"),
        }
    }

    /// Lets `f` change the values in place, row-major.
    ///
    /// # Errors
    /// As [`Param::with_values`].
    pub fn edit_values<R: Send>(&self, f: impl FnOnce(&mut [f32]) -> R + Send) -> Result<R> {
        self.edit(|values| {
            let n = values.len();
            (n == self.n_held())
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
    /// Values of another number than are held; as [`Param::release`].
    pub fn restore(&self, new: Vec<f32>) -> Result<()> {
        if new.len() != self.n_held() {
            return Err(self.wrong_length("restore", new.len(), self.n_held()));
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

    #[test]
    fn a_part_that_is_held_has_values_and_gradients_of_its_own() {
        let tensor = Tensor::new(&[[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
        let param = Param::new("p", &tensor, true).unwrap();
        param.add_grad(&[9.0_f32; 6]).unwrap();
        let rows = |rows| Part::rows(&[3, 2], 1, rows);
        param.hold(rows(1..2)).unwrap();
        assert_eq!((param.shape(), param.held()), (&[3, 2][..], rows(1..2)));
        assert_eq!(param.grad_f32(), None, "that of the whole is forgotten");
        param.edit_values(|values| values[1] = 7.0).unwrap();
        assert_eq!(param.with_values(<[f32]>::to_vec).unwrap(), [3.0, 7.0]);
        param.add_grad(&[1.0_f32, 2.0]).unwrap();
        assert_eq!(param.grad_f32(), Some(vec![1.0, 2.0]));
        assert!(param.add_grad(&[1.0_f32; 6]).is_err());
        // Operators that know nothing of parts take the variable for the whole, and are refused.
        assert!(glue::view::<f32>(param.var()).is_err());
        assert!(param.hold(rows(1..2)).is_err(), "a part of a part");
        assert!(param.hold_all(vec![0.0; 2]).is_err());
        param.hold_all(vec![8.0; 6]).unwrap();
        assert_eq!(param.held(), Part::whole(&[3, 2]));
        for part in [rows(1..1), rows(2..4)] {
            assert!(param.hold(part).is_err());
        }
        assert_eq!(param.with_values(<[f32]>::to_vec).unwrap(), [8.0; 6]);
    }
}

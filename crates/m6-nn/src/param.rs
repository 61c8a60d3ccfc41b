//! Parameters and their gradients. A gradient lives in a buffer that its [`Param`] owns; kernels add to it directly.

mod io;
mod part;
mod set;
mod values;

pub use io::{LoadReport, TensorFile, read_tensor};
pub(crate) use io::{bytes_of, parse};
pub use part::Part;
pub use set::Params;
pub(crate) use values::add_or_copy;

use crate::by_dtype;
use crate::error::{Error, Result};
use crate::glue::{self, CHUNK};
use crate::real::{Buffer, Real, add_into};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use rayon::prelude::*;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

thread_local! {
    static NO_GRAD: Cell<bool> = const { Cell::new(false) };
    /// Parameter sets of the backward passes under way on this thread, innermost last.
    static ACTIVE: RefCell<Vec<Params>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with every parameter detached: no graph is built and nothing is saved for a backward pass. Holds for this thread only.
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    with_no_grad(true, f)
}

/// Runs `f` with gradients enabled, also inside [`no_grad`]: a backward pass that runs a forward pass again.
pub(crate) fn with_grad<R>(f: impl FnOnce() -> R) -> R {
    with_no_grad(false, f)
}

/// False inside [`no_grad`].
pub(crate) fn grads_enabled() -> bool {
    !NO_GRAD.get()
}

/// Runs `f` with gradients off or on, and puts back what was before.
pub(crate) fn with_no_grad<R>(value: bool, f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            NO_GRAD.set(self.0);
        }
    }
    let _restore = Restore(NO_GRAD.replace(value));
    f()
}

struct Grad {
    /// Empty until the first gradient arrives.
    buffer: Buffer,
    filled: bool,
}

struct Inner {
    name: String,
    var: Var,
    grad: Mutex<Grad>,
    decay: bool,
    trainable: AtomicBool,
    /// What this process has: all, or its part ([`Param::hold`]).
    held: Mutex<Part>,
}

/// One named weight with its gradient; clones share both.
#[derive(Clone)]
pub struct Param(Arc<Inner>);

impl std::fmt::Debug for Param {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Param({} {:?})", self.name(), self.shape())
    }
}

impl Param {
    /// A trainable parameter with the values of `tensor`; `decay` says whether weight decay applies to it.
    ///
    /// Errors if the tensor is not `f32` or `f64`.
    pub fn new(name: impl Into<String>, tensor: &Tensor, decay: bool) -> Result<Self> {
        let name = name.into();
        let buffer = match tensor.dtype() {
            candle_core::DType::F32 => Buffer::F32(Vec::new()),
            candle_core::DType::F64 => Buffer::F64(Vec::new()),
            got => {
                return Err(Error::DType {
                    what: format!("parameter {name}"),
                    got,
                    expected: candle_core::DType::F32,
                });
            }
        };
        let var = if tensor.is_contiguous() {
            Var::from_tensor(tensor)?
        } else {
            Var::from_tensor(&tensor.contiguous()?)?
        };
        let grad = Mutex::new(Grad {
            buffer,
            filled: false,
        });
        let held = Mutex::new(Part::whole(var.dims()));
        Ok(Self(Arc::new(Inner {
            name,
            held,
            var,
            grad,
            decay,
            trainable: AtomicBool::new(true),
        })))
    }

    /// Name in the safetensors file.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Lengths of the dimensions.
    pub fn shape(&self) -> &[usize] {
        self.0.var.dims()
    }

    /// Number of elements.
    pub fn n_elements(&self) -> usize {
        self.0.var.elem_count()
    }

    /// The elements that this process has values and gradients of; all, unless told to [`Param::hold`] a part.
    pub fn held(&self) -> Part {
        self.lock_held().clone()
    }

    fn lock_held(&self) -> MutexGuard<'_, Part> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of the elements that this process has.
    pub fn n_held(&self) -> usize {
        self.lock_held().n_elements()
    }

    /// Whether this process has all elements.
    pub fn is_whole(&self) -> bool {
        self.n_held() == self.n_elements()
    }

    /// Whether weight decay applies.
    pub fn decay(&self) -> bool {
        self.0.decay
    }

    /// Whether the parameter learns.
    pub fn is_trainable(&self) -> bool {
        self.0.trainable.load(Ordering::Relaxed)
    }

    /// Frees or freezes the parameter; a frozen one gets no gradient and no update.
    pub fn set_trainable(&self, trainable: bool) {
        self.0.trainable.store(trainable, Ordering::Relaxed);
    }

    /// True if an operator that runs now must prepare a gradient: trainable, and not inside [`no_grad`].
    pub fn wants_grad(&self) -> bool {
        self.is_trainable() && !NO_GRAD.get()
    }

    /// The value: on the tape when [`Param::wants_grad`], detached otherwise. Shares memory with the parameter.
    pub fn tensor(&self) -> Tensor {
        if self.wants_grad() {
            self.0.var.as_tensor().clone()
        } else {
            self.0.var.as_detached_tensor()
        }
    }

    /// The variable behind the parameter.
    pub fn var(&self) -> &Var {
        &self.0.var
    }

    fn grad(&self) -> MutexGuard<'_, Grad> {
        self.0.grad.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `f` add to the gradient in place. `f` gets the buffer and whether it holds a gradient already: if not, its
    /// contents are arbitrary and `f` must write every element.
    ///
    /// Errors if the parameter's number type is not `T`.
    pub fn accumulate<T: Real>(&self, f: impl FnOnce(&mut [T], bool)) -> Result<()> {
        let mut grad = self.grad();
        let filled = grad.filled;
        let n = self.n_held();
        let Some(values) = T::of_buffer_mut(&mut grad.buffer) else {
            return Err(self.wrong_dtype::<T>());
        };
        if values.len() != n {
            *values = glue::uninit(n);
        }
        // A panic inside must not leave a half-written buffer that counts as filled.
        f(values, filled);
        grad.filled = true;
        Ok(())
    }

    /// Adds `values` to the gradient.
    pub fn add_grad<T: Real>(&self, values: &[T]) -> Result<()> {
        if values.len() != self.n_held() {
            return Err(Error::Shape {
                op: "gradient",
                what: self.name().into(),
                got: vec![values.len()],
                expected: format!("{} elements", self.n_held()),
            });
        }
        self.accumulate(|grad: &mut [T], filled| {
            let pairs = grad.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK));
            pairs.for_each(|(grad, values)| {
                if filled {
                    add_into(grad, values)
                } else {
                    grad.copy_from_slice(values)
                }
            });
        })
    }

    /// A buffer of the parameter's size with arbitrary contents: its own gradient buffer while that is not in use.
    pub(crate) fn take_scratch<T: Real>(&self) -> Vec<T> {
        let mut grad = self.grad();
        let n = self.n_held();
        if !grad.filled
            && let Some(values) = T::of_buffer_mut(&mut grad.buffer)
            && values.len() == n
        {
            return std::mem::take(values);
        }
        glue::uninit(n)
    }

    /// Adds `scale * values` to the gradient, by moving the vector where the gradient is still empty.
    pub(crate) fn give_grad<T: Real>(&self, mut values: Vec<T>, scale: T) -> Result<()> {
        if scale != T::one() {
            values
                .par_chunks_mut(CHUNK)
                .for_each(|chunk| chunk.iter_mut().for_each(|v| *v *= scale));
        }
        let mut grad = self.grad();
        if grad.filled || values.len() != self.n_held() {
            drop(grad);
            return self.add_grad(&values);
        }
        let Some(own) = T::of_buffer_mut(&mut grad.buffer) else {
            return Err(self.wrong_dtype::<T>());
        };
        *own = values;
        grad.filled = true;
        Ok(())
    }

    fn wrong_dtype<T: Real>(&self) -> Error {
        Error::DType {
            what: format!("parameter {}", self.name()),
            got: self.0.var.dtype(),
            expected: T::DTYPE,
        }
    }

    /// Lets `f` read the gradient; `None` if there is none or the number type is not `T`.
    pub fn with_grad_of<T: Real, R>(&self, f: impl FnOnce(&[T]) -> R) -> Option<R> {
        let grad = self.grad();
        if grad.filled {
            T::of_buffer(&grad.buffer).map(|values| f(values))
        } else {
            None
        }
    }

    /// [`Param::with_grad_of`] for `f32`.
    pub fn with_grad<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Option<R> {
        self.with_grad_of(f)
    }

    /// Copy of the gradient of an `f32` parameter, if there is one.
    pub fn grad_f32(&self) -> Option<Vec<f32>> {
        self.with_grad(<[f32]>::to_vec)
    }

    /// Copy of the gradient of an `f64` parameter, if there is one.
    pub fn grad_f64(&self) -> Option<Vec<f64>> {
        self.with_grad_of(<[f64]>::to_vec)
    }

    /// Declares the gradient empty; its memory is kept.
    pub fn zero_grad(&self) {
        self.grad().filled = false;
    }

    fn scale_grad(&self, scale: f32) {
        let mut grad = self.grad();
        if !grad.filled {
            return;
        }
        match &mut grad.buffer {
            Buffer::F32(values) => values
                .par_chunks_mut(CHUNK)
                .for_each(|c| c.iter_mut().for_each(|v| *v *= scale)),
            Buffer::F64(values) => values.iter_mut().for_each(|v| *v *= f64::from(scale)),
        }
    }

    /// Sum of squares of the gradient, 0 without one.
    pub fn grad_squares(&self) -> f64 {
        let grad = self.grad();
        match (&grad.buffer, grad.filled) {
            (_, false) => 0.0,
            (Buffer::F32(values), true) => sum_squares(values),
            (Buffer::F64(values), true) => sum_squares(values),
        }
    }

    /// Adds a gradient that came through the tape.
    fn add_tensor(&self, gradient: &Tensor) -> Result<()> {
        let gradient = gradient.to_device(&Device::Cpu)?.contiguous()?;
        by_dtype!(self.0.var.dtype(), T => self.add_grad(&glue::view::<T>(&gradient)?))
    }
}

/// Sum of squares in `f64`, in an order that does not depend on the number of threads.
fn sum_squares<T: Real>(values: &[T]) -> f64 {
    squares(values).iter().sum()
}

/// The sum of squares of each chunk of 65,536 elements.
pub(crate) fn squares<T: Real>(values: &[T]) -> Vec<f64> {
    let of_chunk = |chunk: &[T]| {
        let mut lanes = [0.0_f64; 8];
        for (i, v) in chunk.iter().enumerate() {
            let v = v.to_f64();
            lanes[i % 8] += v * v;
        }
        lanes.iter().sum::<f64>()
    };
    values.par_chunks(CHUNK).map(of_chunk).collect()
}

/// Runs the backward pass from a scalar loss and adds every gradient to the buffers of `params`.
pub fn backward(loss: &Tensor, params: &Params) -> Result<()> {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            ACTIVE.with_borrow_mut(Vec::pop);
        }
    }
    ACTIVE.with_borrow_mut(|active| active.push(params.clone()));
    let _leave = Leave;
    let store = loss.backward()?;
    params.absorb(&store)
}

/// Gradient of the scalar `loss` at `leaf`, in its shape. Parameters that learn get theirs as well: freeze those that shall not.
///
/// Errors if the loss does not depend on the leaf.
pub fn gradient_at(loss: &Tensor, leaf: &Var) -> Result<Tensor> {
    let store = loss.backward()?;
    store.get(leaf.as_tensor()).cloned().ok_or(Error::Value {
        op: "gradient_at",
        what: "the loss does not depend on the leaf".into(),
    })
}

/// Hands over the gradients of a backward pass run inside another one (activation checkpointing).
pub(crate) fn absorb_inner(store: &GradStore) -> Result<()> {
    let active = ACTIVE.with_borrow(|active| active.last().cloned());
    match active {
        Some(params) => params.absorb(store),
        None if store.get_ids().next().is_none() => Ok(()),
        None => Err(Error::Value {
            op: "checkpoint",
            what: "composed operators inside a checkpoint need m6_nn::backward, which knows the parameters".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn param(name: &str, values: &[f32]) -> Param {
        Param::new(name, &Tensor::new(values, &Device::Cpu).unwrap(), true).unwrap()
    }

    #[test]
    fn gradients_add_up_until_they_are_zeroed() {
        let p = param("p", &[1.0, 2.0]);
        assert_eq!(p.grad_f32(), None);
        p.add_grad(&[1.0_f32, 3.0]).unwrap();
        p.give_grad(vec![1.0_f32, 1.0], 2.0).unwrap();
        assert_eq!(p.grad_f32(), Some(vec![3.0, 5.0]));
        p.zero_grad();
        assert_eq!(p.grad_f32(), None);
        p.give_grad(
            p.take_scratch::<f32>().iter().map(|_| 4.0_f32).collect(),
            0.5,
        )
        .unwrap();
        assert_eq!(p.grad_f32(), Some(vec![2.0, 2.0]));
    }

    #[test]
    fn a_gradient_of_the_wrong_type_or_length_is_refused() {
        let p = param("p", &[1.0, 2.0]);
        assert!(p.add_grad(&[1.0_f64, 1.0]).is_err());
        assert!(p.add_grad(&[1.0_f32]).is_err());
        assert_eq!(p.grad_f32(), None);
    }

    #[test]
    fn tape_gradients_are_absorbed_and_frozen_parameters_get_none() {
        let (a, b) = (param("a", &[1.0, 2.0]), param("b", &[3.0, 4.0]));
        let mut params = Params::new();
        params.insert(a.clone()).unwrap();
        params.insert(b.clone()).unwrap();
        assert!(params.insert(param("a", &[0.0])).is_err());
        b.set_trainable(false);
        let loss = (a.tensor() * b.tensor()).unwrap().sum_all().unwrap();
        backward(&loss, &params).unwrap();
        backward(&loss, &params).unwrap();
        assert_eq!(a.grad_f32(), Some(vec![6.0, 8.0]));
        assert_eq!(b.grad_f32(), None);
        assert_eq!(params.grad_norm(), 10.0);
        params.scale_grads(0.5);
        assert_eq!(params.grad_norm(), 5.0);
    }

    #[test]
    fn without_gradients_parameters_are_detached() {
        let a = param("a", &[1.0]);
        assert!(a.tensor().track_op());
        no_grad(|| assert!(!a.tensor().track_op() && !a.wants_grad()));
        assert!(a.tensor().track_op());
    }
}

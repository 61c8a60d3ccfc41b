//! How operators with parameters sit on the backend's tape.

use crate::error::{Error, Result};
use crate::param::Param;
use candle_core::{CustomOp2, Tensor};
use std::sync::{Mutex, PoisonError};

/// The tensor that puts an operator on the tape on behalf of its parameters: a learning one's, if there is one.
///
/// Weight gradients go to the parameters' own buffers, so one tensor suffices for any number of parameters.
pub(crate) fn anchor(params: &[&Param]) -> Tensor {
    let learning = params.iter().find(|p| p.wants_grad());
    learning.unwrap_or(&params[0]).tensor()
}

/// Runs an operator on `x` with `params` (at least one): on the tape if `x` is or if a parameter learns.
pub(crate) fn apply<C: CustomOp2 + Send + Sync + 'static>(
    x: &Tensor,
    params: &[&Param],
    op: C,
) -> Result<Tensor> {
    Ok(x.apply_op2(&anchor(params), op)?)
}

/// True if something upstream of the operator learns, so that it must save what its backward pass needs.
pub(crate) fn wants_grad(x: &Tensor, params: &[&Param]) -> bool {
    x.track_op() || params.iter().any(|p| p.wants_grad())
}

/// Values that a forward pass leaves for its one backward pass.
#[derive(Debug)]
pub(crate) struct Saved<T>(Mutex<Option<T>>);

impl<T> Saved<T> {
    /// Nothing saved.
    pub(crate) fn empty() -> Self {
        Self(Mutex::new(None))
    }

    /// Something saved.
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(Some(value)))
    }

    /// Saves a value.
    pub(crate) fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    /// Takes the value out, which frees its memory as early as possible; a second time is an error.
    pub(crate) fn take(&self, op: &'static str) -> Result<T> {
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(|| Error::Value {
            op,
            what: "saved values are gone: a graph can be run backward once; build it again".into(),
        })
    }
}

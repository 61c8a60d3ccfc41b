//! Activation checkpointing of a block: its forward pass keeps only input and output, its backward pass runs the forward again.

use crate::error::{Error, Result};
use crate::glue::is_fused;
use crate::param::{absorb_inner, grads_enabled, no_grad, with_grad};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Storage, Tensor, Var};

/// A block: a function of its input and of parameters, and of nothing else that is on a tape.
pub type Block = Box<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>;

/// `f(x)`, whose inner values are computed a second time in the backward pass instead of being kept. Values and gradients are bit-equal
/// to those of `f(x)` itself, provided that `f` is a pure function (dropout keys included).
///
/// `f` may use `x` and parameters; gradients of other tensors captured by it are not made. Gradients of parameters used by composed
/// operators inside `f` arrive only under [`crate::backward`]. Off the CPU `f` runs as it is.
pub fn checkpoint(x: &Tensor, f: Block) -> Result<Tensor> {
    if !is_fused(x) || (!x.track_op() && !grads_enabled()) {
        return f(x);
    }
    // A leaf off the tape becomes a variable, so that the parameters inside still learn.
    let x = if x.track_op() {
        x.clone()
    } else {
        Var::from_tensor(x)?.into_inner()
    };
    let y = no_grad(|| f(&x.detach()))?.contiguous()?;
    let (storage, layout) = y.storage_and_layout();
    let (Storage::Cpu(values), Some((from, to))) = (&*storage, layout.contiguous_offsets()) else {
        return Err(Error::Value {
            op: "checkpoint",
            what: "the block's result is not on the CPU".into(),
        });
    };
    // The backend cannot hand a tensor's memory on, so a checkpoint costs one copy of the block's result.
    let values = match values {
        CpuStorage::F32(v) => CpuStorage::F32(v[from..to].to_vec()),
        CpuStorage::F64(v) => CpuStorage::F64(v[from..to].to_vec()),
        _ => {
            return Err(Error::DType {
                what: "the block's result".into(),
                got: y.dtype(),
                expected: x.dtype(),
            });
        }
    };
    let op = Checkpoint {
        f,
        result: super::tape::Saved::new((values, y.shape().clone())),
    };
    Ok(x.apply_op1(op)?)
}

struct Checkpoint {
    f: Block,
    /// Of the forward pass, on its way to the tape.
    result: super::tape::Saved<(CpuStorage, Shape)>,
}

impl Checkpoint {
    fn backward(&self, x: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let x = Var::from_tensor(&x.detach())?;
        let y = with_grad(|| (self.f)(x.as_tensor()))?;
        if !y.track_op() {
            // The tape wants a gradient for every operand, also for one that the block ignores.
            return Ok(Some(x.zeros_like()?.detach()));
        }
        let start = y.apply_op1(Start { grad: grad.clone() })?;
        let mut store = start.backward()?;
        let dx = store.remove(x.as_tensor());
        absorb_inner(&store)?;
        Ok(Some(dx.map_or_else(|| x.zeros_like(), Ok)?.detach()))
    }
}

impl CustomOp1 for Checkpoint {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(self.result.take("checkpoint")?)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(self.backward(x, grad)?)
    }
}

/// Starts a backward pass in the middle of a tape: a scalar whose gradient with respect to its operand is the one given.
struct Start {
    grad: Tensor,
}

impl CustomOp1 for Start {
    fn name(&self) -> &'static str {
        "start"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let zero = match storage {
            CpuStorage::F64(_) => CpuStorage::F64(vec![0.0]),
            _ => CpuStorage::F32(vec![0.0]),
        };
        Ok((zero, Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(self.grad.clone()))
    }
}

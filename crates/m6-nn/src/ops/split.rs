//! Matrices that several ranks have among them (tensor parallelism; Megatron-LM, Shoeybi and others 2019, section 3).
//!
//! Every rank of a group computes the same batch. A first matrix is split by its rows, so that each rank makes some of the outputs, and the
//! one behind it by its columns, so that each makes a part of every sum: two exchanges a pass for each pair of matrices, [`copied`] before the
//! first and [`summed`] behind the second.

use super::tape::apply;
use crate::error::{Error, Result};
use crate::glue::{self, is_fused, view};
use crate::kernels::linear::column_sums;
use crate::param::Param;
use crate::real::Real;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use std::sync::Arc;

/// The ranks of a group that have matrices among them. Every call is made by all of them, in the same order.
pub trait SplitPeers: Send + Sync {
    /// The sum over the ranks, in their order: the same bits on each.
    ///
    /// # Errors
    /// The transport failed.
    fn sum(&self, mine: Vec<f32>) -> Result<Vec<f32>>;

    /// The numbers of every rank, as many as `mine`, in the order of the ranks.
    ///
    /// # Errors
    /// The transport failed.
    fn join(&self, mine: Vec<f32>) -> Result<Vec<f32>>;
}

/// A group of ranks as operators take it: for numbers of any type, though only `f32` can travel.
#[derive(Clone)]
pub struct Peers(Arc<dyn SplitPeers>);

impl Peers {
    /// These ranks.
    pub fn new(peers: Arc<dyn SplitPeers>) -> Self {
        Self(peers)
    }

    pub(crate) fn sum<T: Real>(&self, mine: Vec<T>) -> Result<Vec<T>> {
        let mut buffer = T::into_buffer(mine);
        let Some(mine) = f32::of_buffer_mut(&mut buffer) else {
            return Err(Error::DType {
                what: "numbers that ranks sum".into(),
                got: T::DTYPE,
                expected: candle_core::DType::F32,
            });
        };
        *mine = self.0.sum(std::mem::take(mine))?;
        let all = T::of_buffer_mut(&mut buffer).map(std::mem::take);
        Ok(all.unwrap_or_default())
    }

    pub(crate) fn join(&self, mine: Vec<f32>) -> Result<Vec<f32>> {
        self.0.join(mine)
    }
}

/// `x` as it is, which every rank has alike, for matrices of which each has some rows; its gradient is the sum of those of all ranks.
///
/// # Errors
/// Numbers that are not `f32` on the CPU.
pub fn copied(x: &Tensor, peers: &Peers) -> Result<Tensor> {
    check("copied", x)?;
    match x.track_op() {
        true => Ok(x.contiguous()?.apply_op1(Copied(peers.clone()))?),
        false => Ok(x.clone()),
    }
}

/// The sum of `y [n, o]` over the ranks, plus `bias [o]`, which every rank has.
///
/// # Errors
/// Numbers that are not `f32` on the CPU; the ranks failed.
pub fn summed(y: &Tensor, bias: Option<&Param>, peers: &Peers) -> Result<Tensor> {
    check("summed", y)?;
    let (y, peers) = (y.contiguous()?, peers.clone());
    let Some(bias) = bias else {
        return Ok(y.apply_op1(Summed { peers })?);
    };
    let (_, o) = y.dims2()?;
    glue::expect_shape("summed", bias.name(), bias.var(), &[o])?;
    let op = SummedBias {
        peers,
        bias: bias.clone(),
    };
    apply(&y, &[bias], op)
}

fn check(op: &'static str, x: &Tensor) -> Result<()> {
    if is_fused(x) && x.dtype() == candle_core::DType::F32 {
        return Ok(());
    }
    Err(Error::DType {
        what: format!("the operand of {op}"),
        got: x.dtype(),
        expected: candle_core::DType::F32,
    })
}

struct Copied(Peers);

impl CustomOp1 for Copied {
    fn name(&self) -> &'static str {
        "copied"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = glue::slice::<f32>(x, layout)?.to_vec();
        Ok(glue::storage(x, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let mine = view::<f32>(&grad)?.to_vec();
        Ok(Some(glue::tensor(self.0.sum(mine)?, x.shape())?))
    }
}

struct Summed {
    peers: Peers,
}

impl CustomOp1 for Summed {
    fn name(&self) -> &'static str {
        "summed"
    }

    fn cpu_fwd(&self, y: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let mine = glue::slice::<f32>(y, layout)?.to_vec();
        Ok(glue::storage(self.peers.sum(mine)?, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(grad.clone()))
    }
}

struct SummedBias {
    peers: Peers,
    bias: Param,
}

impl CustomOp2 for SummedBias {
    fn name(&self) -> &'static str {
        "summed"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let mine = glue::slice::<f32>(y, layout)?.to_vec();
        let mut all = self.peers.sum(mine)?;
        let bias = self.bias.view::<f32>()?;
        for row in all.chunks_exact_mut(bias.len().max(1)) {
            crate::real::add_into(row, &bias);
        }
        Ok(glue::storage(all, layout.shape().clone()))
    }

    fn bwd(
        &self,
        y: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        if self.bias.is_trainable() {
            let grad = grad.contiguous()?;
            let sums = column_sums(&view::<f32>(&grad)?, self.bias.n_elements());
            self.bias.add_grad(&sums)?;
        }
        Ok((y.track_op().then(|| grad.clone()), None))
    }
}

#[cfg(test)]
mod tests;

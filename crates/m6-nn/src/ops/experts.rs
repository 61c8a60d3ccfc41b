//! Feed-forward experts with stacked weights, gathered, computed and combined in one operator.

use super::composed_experts as composed;
use super::expert_rows::Hidden;
use super::route::Routing;
use super::tape::{Saved, anchor, wants_grad};
use crate::by_dtype;
use crate::error::{Error, Result};
use crate::glue::{self, is_fused, view};
use crate::kernels::experts as kernel;
use crate::param::Param;
use crate::real::{Buffer, Real};
use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};
use std::sync::Arc;

/// Weights of the experts of a layer, stacked: one tensor a weight.
#[derive(Clone, Debug)]
pub struct ExpertWeights {
    /// First layer, `[e, f, d]`.
    pub up_efd: Param,
    /// Its biases, `[e, f]`.
    pub up_bias_ef: Param,
    /// Second layer, `[e, d, f]`.
    pub down_edf: Param,
    /// Its biases, `[e, d]`.
    pub down_bias_ed: Param,
}

impl ExpertWeights {
    pub(crate) fn list(&self) -> [&Param; 4] {
        [
            &self.up_efd,
            &self.up_bias_ef,
            &self.down_edf,
            &self.down_bias_ed,
        ]
    }

    /// Numbers of experts, width of the model and width inside; an error when the shapes contradict each other or `routing`.
    fn sizes(&self, x_nd: &Tensor, routing: &Routing) -> Result<(usize, usize, usize)> {
        let (_, d) = x_nd.dims2()?;
        let e = routing.n_experts();
        let f = self.up_bias_ef.shape().last().copied().unwrap_or(0);
        glue::expect_shape("experts", "x", x_nd, &[routing.n_tokens, d])?;
        let shapes: [&[usize]; 4] = [&[e, f, d], &[e, f], &[e, d, f], &[e, d]];
        for (param, shape) in self.list().into_iter().zip(shapes) {
            glue::expect_shape("experts", param.name(), param.var(), shape)?;
            glue::expect_dtype(param.name(), param.var(), x_nd)?;
        }
        Ok((e, d, f))
    }
}

/// The ranks that have the experts of a layer among them: rows go to whoever has their expert, and results come back.
pub trait ExpertPeers: Send + Sync {
    /// The results of rows `[r, d]` that are sorted by expert, of which the rows of expert `e` are those from `offsets[e]` on, in their order.
    /// With `save`, a backward pass follows.
    ///
    /// # Errors
    /// The exchange failed, or weights that do not fit.
    fn forward(
        &self,
        layer: usize,
        x_rd: Vec<f32>,
        offsets: &[usize],
        save: bool,
    ) -> Result<Vec<f32>>;

    /// The gradients of the rows that [`ExpertPeers::forward`] last took of this layer, from those of their results. Weight gradients are added
    /// where the weights are.
    ///
    /// # Errors
    /// As [`ExpertPeers::forward`].
    fn backward(&self, layer: usize, dy_rd: Vec<f32>) -> Result<Vec<f32>>;
}

/// The peers that a layer of experts has, and its number among the layers.
#[derive(Clone)]
pub struct Peered {
    /// The number that the peers know the layer by.
    pub layer: usize,
    /// The peers.
    pub peers: Arc<dyn ExpertPeers>,
}

/// `sum_s gate_s E_s(x)` over the choices of each token that reach an expert (paper section 2.5), where
/// `E(x) = W2 gelu(W1 x + b1) + b2`: `x [n, d]`, `gates [n, s]` give `[n, d]`, zero for a token that reaches none. With `peers`, experts are
/// with several ranks, and each of them calls this for rows of its own, unless it has them all at the time; in `f32` on the CPU.
///
/// # Errors
/// Shapes that do not fit each other or `routing`; an exchange that failed.
pub fn experts(
    x_nd: &Tensor,
    gates_ns: &Tensor,
    routing: &Arc<Routing>,
    weights: &ExpertWeights,
    peers: Option<&Peered>,
) -> Result<Tensor> {
    weights.sizes(x_nd, routing)?;
    let shape = [routing.n_tokens, routing.n_choices];
    glue::expect_shape("experts", "gates", gates_ns, &shape)?;
    glue::expect_dtype("gates", gates_ns, x_nd)?;
    // Whoever has all of the experts asks nobody.
    let is_whole = |param: &&Param| param.is_whole();
    let peers = peers.filter(|_| !weights.list().iter().all(is_whole));
    if !is_fused(x_nd) && peers.is_none() {
        return composed::experts(x_nd, gates_ns, routing, weights);
    }
    let (x, gates) = (x_nd.contiguous()?, gates_ns.contiguous()?);
    by_dtype!(x.dtype(), T => {
        let op = Experts::<T> {
            routing: routing.clone(),
            weights: weights.clone(),
            peers: peers.cloned(),
            save: wants_grad(&x, &weights.list()) || gates.track_op(),
            saved: Saved::empty(),
        };
        Ok(x.apply_op3(&gates, &anchor(&weights.list()), op)?)
    })
}

/// What the backward pass needs: the results, `[r, d]`, and what they were made of, where that is here.
struct Kept<T> {
    y_rd: Vec<T>,
    hidden: Option<Hidden<T>>,
}

struct Experts<T> {
    routing: Arc<Routing>,
    weights: ExpertWeights,
    peers: Option<Peered>,
    save: bool,
    saved: Saved<Kept<T>>,
}

/// Sends rows through `f`, which takes single precision alone.
fn single<T: Real>(rows: Vec<T>, f: impl FnOnce(Vec<f32>) -> Result<Vec<f32>>) -> Result<Vec<T>> {
    let refused = || Error::DType {
        what: "rows of experts that are with other ranks".into(),
        got: T::DTYPE,
        expected: candle_core::DType::F32,
    };
    let Buffer::F32(rows) = T::into_buffer(rows) else {
        return Err(refused());
    };
    let mut out = Buffer::F32(f(rows)?);
    T::of_buffer_mut(&mut out)
        .map(std::mem::take)
        .ok_or_else(refused)
}

impl<T: Real> Experts<T> {
    fn forward(&self, x_nd: &[T], gates_ns: &[T]) -> Result<(Vec<T>, usize)> {
        let (routing, d) = (&self.routing, self.weights.held()?.d);
        let x_rd = kernel::gather(x_nd, routing, d);
        let (y_rd, hidden) = match &self.peers {
            None => {
                let kept = self
                    .weights
                    .rows_forward(&x_rd, &routing.offsets, self.save)?;
                drop(x_rd);
                kept
            }
            Some(Peered { layer, peers }) => {
                let through = |x_rd| peers.forward(*layer, x_rd, &routing.offsets, self.save);
                (single(x_rd, through)?, None)
            }
        };
        let out_nd = kernel::combine(&y_rd, gates_ns, routing, d);
        if self.save {
            self.saved.put(Kept { y_rd, hidden });
        }
        Ok((out_nd, d))
    }

    /// Adds the weight gradients to their parameters; returns those of `x` and of the gates.
    fn backward(
        &self,
        x: &Tensor,
        gates: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (routing, d) = (&self.routing, self.weights.held()?.d);
        let grad = grad.contiguous()?;
        let Kept {
            y_rd: mut dy_rd,
            hidden,
        } = self.saved.take("experts")?;
        let dgates_ns = {
            let (gates, grad) = (view::<T>(gates)?, view::<T>(&grad)?);
            kernel::combine_grad(&mut dy_rd, &gates, &grad, routing, d)
        };
        let dx_rd = match (&self.peers, hidden) {
            (Some(Peered { layer, peers }), _) => {
                Some(single(dy_rd, |dy_rd| peers.backward(*layer, dy_rd))?)
            }
            (None, Some(hidden)) => {
                let x_rd = || Ok(kernel::gather(&view::<T>(x)?, routing, d));
                let wants_dx = x.track_op();
                self.weights
                    .rows_backward(hidden, dy_rd, x_rd, &routing.offsets, wants_dx)?
            }
            (None, None) => None,
        };
        let dx = match dx_rd.filter(|_| x.track_op()) {
            None => None,
            Some(dx_rd) => {
                let dx_nd = kernel::gather_grad(&dx_rd, routing, d);
                Some(glue::tensor(dx_nd, x.shape())?)
            }
        };
        let dgates = match gates.track_op() {
            false => None,
            true => Some(glue::tensor(dgates_ns, gates.shape())?),
        };
        Ok((dx, dgates))
    }
}

impl<T: Real> CustomOp3 for Experts<T> {
    fn name(&self) -> &'static str {
        "experts"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gates: &CpuStorage,
        gates_layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = glue::slice::<T>(x, x_layout)?;
        let gates = glue::slice::<T>(gates, gates_layout)?;
        let (out_nd, d) = self.forward(x, gates)?;
        Ok(glue::storage(out_nd, (self.routing.n_tokens, d)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gates: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dgates) = self.backward(x, gates, grad)?;
        Ok((dx, dgates, None))
    }
}

//! Feed-forward experts with stacked weights, gathered, computed and combined in one operator.

use super::composed_experts as composed;
use super::route::Routing;
use super::tape::{Saved, anchor, wants_grad};
use crate::by_dtype;
use crate::error::Result;
use crate::glue::{self, View, is_fused, view};
use crate::kernels::experts as kernel;
use crate::kernels::linear::{activate_in_place, gelu_grad_in_place};
use crate::ops::Act;
use crate::param::Param;
use crate::real::Real;
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
    pub(super) fn list(&self) -> [&Param; 4] {
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

/// `sum_s gate_s E_s(x)` over the choices of each token that reach an expert (paper section 2.5), where
/// `E(x) = W2 gelu(W1 x + b1) + b2`: `x [n, d]`, `gates [n, s]` give `[n, d]`, zero for a token that reaches none.
///
/// # Errors
/// Shapes that do not fit each other or `routing`.
pub fn experts(
    x_nd: &Tensor,
    gates_ns: &Tensor,
    routing: &Arc<Routing>,
    weights: &ExpertWeights,
) -> Result<Tensor> {
    weights.sizes(x_nd, routing)?;
    let shape = [routing.n_tokens, routing.n_choices];
    glue::expect_shape("experts", "gates", gates_ns, &shape)?;
    glue::expect_dtype("gates", gates_ns, x_nd)?;
    if !is_fused(x_nd) {
        return composed::experts(x_nd, gates_ns, routing, weights);
    }
    let (x, gates) = (x_nd.contiguous()?, gates_ns.contiguous()?);
    by_dtype!(x.dtype(), T => {
        let op = Experts::<T> {
            routing: routing.clone(),
            weights: weights.clone(),
            save: wants_grad(&x, &weights.list()) || gates.track_op(),
            saved: Saved::empty(),
        };
        Ok(x.apply_op3(&gates, &anchor(&weights.list()), op)?)
    })
}

/// What the backward pass needs: before and after the activation, `[r, f]`, and the results, `[r, d]`.
struct Hidden<T> {
    u_rf: Vec<T>,
    a_rf: Vec<T>,
    y_rd: Vec<T>,
}

struct Experts<T> {
    routing: Arc<Routing>,
    weights: ExpertWeights,
    save: bool,
    saved: Saved<Hidden<T>>,
}

/// The four weights as slices.
struct Views<'a, T>([View<'a, T>; 4], (usize, usize, usize));

impl<T: Real> Views<'_, T> {
    fn up(&self) -> kernel::Stack<'_, T> {
        let (_, d, f) = self.1;
        kernel::Stack {
            w_eok: &self.0[0],
            b_eo: &self.0[1],
            o: f,
            k: d,
        }
    }

    fn down(&self) -> kernel::Stack<'_, T> {
        let (_, d, f) = self.1;
        kernel::Stack {
            w_eok: &self.0[2],
            b_eo: &self.0[3],
            o: d,
            k: f,
        }
    }
}

impl<T: Real> Experts<T> {
    fn views(&self) -> Result<Views<'_, T>> {
        let w = &self.weights;
        let sizes = w.up_efd.var().dims3()?;
        Ok(Views(
            [
                view(w.up_efd.var())?,
                view(w.up_bias_ef.var())?,
                view(w.down_edf.var())?,
                view(w.down_bias_ed.var())?,
            ],
            (sizes.0, sizes.2, sizes.1),
        ))
    }

    fn forward(&self, x_nd: &[T], gates_ns: &[T]) -> Result<(Vec<T>, usize)> {
        let weights = self.views()?;
        let (_, d, _) = weights.1;
        let x_rd = kernel::gather(x_nd, &self.routing, d);
        let mut u_rf = kernel::affine(&x_rd, weights.up(), &self.routing);
        drop(x_rd);
        if !self.save {
            activate_in_place(Act::Gelu, &mut u_rf);
            let y_rd = kernel::affine(&u_rf, weights.down(), &self.routing);
            return Ok((kernel::combine(&y_rd, gates_ns, &self.routing, d), d));
        }
        let a_rf = kernel::gelu(&u_rf);
        let y_rd = kernel::affine(&a_rf, weights.down(), &self.routing);
        let out_nd = kernel::combine(&y_rd, gates_ns, &self.routing, d);
        self.saved.put(Hidden { u_rf, a_rf, y_rd });
        Ok((out_nd, d))
    }

    /// Adds the weight gradients to their parameters; returns those of `x` and of the gates.
    fn backward(
        &self,
        x: &Tensor,
        gates: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let routing = &self.routing;
        let weights = self.views()?;
        let (_, d, f) = weights.1;
        let grad = grad.contiguous()?;
        let Hidden {
            mut u_rf,
            a_rf,
            y_rd: mut dy_rd,
        } = self.saved.take("experts")?;
        let dgates_ns = {
            let (gates, grad) = (view::<T>(gates)?, view::<T>(&grad)?);
            kernel::combine_grad(&mut dy_rd, &gates, &grad, routing, d)
        };
        self.grads(
            (&self.weights.down_edf, &self.weights.down_bias_ed),
            &dy_rd,
            &a_rf,
            (d, f),
        )?;
        let da_rf = kernel::affine_grad(&dy_rd, weights.down(), routing);
        drop((a_rf, dy_rd));
        gelu_grad_in_place(&mut u_rf, &da_rf);
        drop(da_rf);
        let x_rd = kernel::gather(&view::<T>(x)?, routing, d);
        self.grads(
            (&self.weights.up_efd, &self.weights.up_bias_ef),
            &u_rf,
            &x_rd,
            (f, d),
        )?;
        let dx = match x.track_op() {
            false => None,
            true => {
                let dx_rd = kernel::affine_grad(&u_rf, weights.up(), routing);
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

    /// Gradients of one layer, where it learns.
    fn grads(
        &self,
        (weight, bias): (&Param, &Param),
        dy_ro: &[T],
        x_rk: &[T],
        (o, k): (usize, usize),
    ) -> Result<()> {
        if weight.is_trainable() {
            weight.accumulate(|dw: &mut [T], filled| {
                kernel::weight_grad(dw, filled, dy_ro, x_rk, &self.routing, (o, k));
            })?;
        }
        if bias.is_trainable() {
            bias.add_grad(&kernel::bias_grad(dy_ro, &self.routing, o))?;
        }
        Ok(())
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

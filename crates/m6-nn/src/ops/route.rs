//! Routing of tokens to experts as operators: gates with their gradient, and the router's own losses.

pub use crate::kernels::route::{
    NO_ROW, Renormalize, RouteOptions, Routing, SecondChoice, capacity,
};

use super::composed_experts as composed;
use super::tape::Saved;
use crate::by_dtype;
use crate::error::{Error, Result};
use crate::glue::{self, is_fused, view};
use crate::kernels::gates as kernel;
use crate::kernels::route::{jitter_factors, probabilities, route as decide};
use crate::real::{Buffer, Real};
use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use std::marker::PhantomData;
use std::sync::Arc;

/// Where tokens go, with what weight, and how even it is.
#[derive(Clone, Debug)]
pub struct Routed {
    /// Rows and drops; a constant to the gradient.
    pub routing: Arc<Routing>,
    /// Weight of each choice, `[n, s]`, on the tape; 0 where a choice reaches no expert.
    pub gates_ns: Tensor,
    /// Balance loss, unweighted: 1 is even, the number of experts of a prototype the worst.
    pub balance: f64,
    /// Z loss, unweighted.
    pub z: f64,
    probs: Arc<Probs>,
    options: RouteOptions,
}

/// Of the softmax: probabilities `[n, e]` and logarithms of the divisors `[n, z]`, of one number type.
#[derive(Debug)]
struct Probs {
    p_ne: Buffer,
    log_nz: Buffer,
}

impl Probs {
    fn of<T: Real>(&self) -> Result<(&[T], &[T])> {
        match (T::of_buffer(&self.p_ne), T::of_buffer(&self.log_nz)) {
            (Some(p_ne), Some(log_nz)) => Ok((p_ne, log_nz)),
            _ => Err(Error::Value {
                op: "route",
                what: "gradient and logits are of different number types".into(),
            }),
        }
    }
}

/// Decides by the router's logits `[n, e]` where tokens go; the softmax over each prototype comes before the choice.
///
/// # Errors
/// Experts that cannot be split into the prototypes, or more choices than a prototype has experts.
pub fn route(logits_ne: &Tensor, options: &RouteOptions) -> Result<Routed> {
    let (_, e) = logits_ne.dims2()?;
    let (k, z) = (options.top_k, options.prototypes);
    if e == 0 || z == 0 || k == 0 || !e.is_multiple_of(z) || k > e / z {
        let what = format!(
            "top_k = {k} of {e} experts in {z} prototypes: expected equal groups of at least top_k experts"
        );
        return Err(Error::Value { op: "route", what });
    }
    let logits_ne = logits_ne.contiguous()?;
    if !is_fused(&logits_ne) {
        // Choices are made on the host in either case.
        let wide = logits_ne.to_dtype(candle_core::DType::F32)?;
        let host = wide.detach().to_device(&candle_core::Device::Cpu)?;
        let mut routed = run::<f32>(&host, options)?;
        routed.gates_ns = composed::gates(&logits_ne, &routed.routing, options)?;
        return Ok(routed);
    }
    by_dtype!(logits_ne.dtype(), T => run::<T>(&logits_ne, options))
}

fn run<T: Real>(logits_ne: &Tensor, options: &RouteOptions) -> Result<Routed> {
    let (_, e) = logits_ne.dims2()?;
    let (p_ne, log_nz) = probabilities(&view::<T>(logits_ne)?, e, options.prototypes);
    let routing = Arc::new(decide(&p_ne, e, options));
    let gates = kernel::gates(&p_ne, &routing, options);
    let balance = kernel::balance(&p_ne, &routing, options.prototypes);
    let z = kernel::z_loss(&log_nz);
    let probs = Arc::new(Probs {
        p_ne: T::into_buffer(p_ne),
        log_nz: T::into_buffer(log_nz),
    });
    let op = Gates::<T> {
        routing: routing.clone(),
        probs: probs.clone(),
        options: *options,
        gates: Saved::new(gates),
    };
    Ok(Routed {
        gates_ns: logits_ne.apply_op1(op)?,
        routing,
        balance,
        z,
        probs,
        options: *options,
    })
}

struct Gates<T> {
    routing: Arc<Routing>,
    probs: Arc<Probs>,
    options: RouteOptions,
    /// On their way to the tape.
    gates: Saved<Vec<T>>,
}

impl<T: Real> CustomOp1 for Gates<T> {
    fn name(&self) -> &'static str {
        "gates"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let shape = (self.routing.n_tokens, self.routing.n_choices);
        Ok(glue::storage(self.gates.take("gates")?, shape))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        gates: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (p_ne, _) = self.probs.of::<T>()?;
        let (gates, grad) = (view::<T>(gates)?, view::<T>(&grad)?);
        let dx = kernel::gates_grad(p_ne, &gates, &grad, &self.routing, &self.options);
        Ok(Some(glue::tensor(dx, logits.shape())?))
    }
}

/// `balance_weight * balance + z_weight * z` of `routed`, a scalar on the tape of its logits `[n, e]`.
///
/// The balance loss is that of Switch and GShard, `m * sum_e f_e P_e` with `f_e` the share of first choices, mean over prototypes; the z
/// loss is that of ST-MoE.
///
/// # Errors
/// Logits of another shape than those that were routed.
pub fn router_loss(
    logits_ne: &Tensor,
    routed: &Routed,
    balance_weight: f64,
    z_weight: f64,
) -> Result<Tensor> {
    let routing = &routed.routing;
    let shape = [routing.n_tokens, routing.n_experts()];
    glue::expect_shape("router_loss", "logits", logits_ne, &shape)?;
    let logits_ne = logits_ne.contiguous()?;
    if !is_fused(&logits_ne) {
        let prototypes = routed.options.prototypes;
        return composed::router_loss(&logits_ne, routing, prototypes, balance_weight, z_weight);
    }
    by_dtype!(logits_ne.dtype(), T => Ok(logits_ne.apply_op1(RouterLoss::<T> {
        routing: routing.clone(),
        probs: routed.probs.clone(),
        prototypes: routed.options.prototypes,
        weights: (balance_weight, z_weight),
        value: balance_weight * routed.balance + z_weight * routed.z,
        kind: PhantomData,
    })?))
}

struct RouterLoss<T> {
    routing: Arc<Routing>,
    probs: Arc<Probs>,
    prototypes: usize,
    weights: (f64, f64),
    value: f64,
    kind: PhantomData<T>,
}

impl<T: Real> CustomOp1 for RouterLoss<T> {
    fn name(&self) -> &'static str {
        "router_loss"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(glue::storage(vec![T::number(self.value)], ()))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let scale = view::<T>(grad)?[0].to_f64();
        let (p_ne, log_nz) = self.probs.of::<T>()?;
        let (balance, z) = (self.weights.0 * scale, self.weights.1 * scale);
        let dx = kernel::router_loss_grad(p_ne, log_nz, &self.routing, self.prototypes, balance, z);
        Ok(Some(glue::tensor(dx, logits.shape())?))
    }
}

/// `x` times factors between `1 - width` and `1 + width`, drawn by `key` (Switch's jitter of what the router reads).
///
/// # Errors
/// `width` outside `[0, 1)`.
pub fn jitter(x: &Tensor, width: f64, key: u64) -> Result<Tensor> {
    if !(0.0..1.0).contains(&width) {
        let what = format!("the width is {width}; expected at least 0 and below 1");
        return Err(Error::Value { op: "jitter", what });
    }
    if width == 0.0 {
        return Ok(x.clone());
    }
    let factors = jitter_factors(x.elem_count(), width, key);
    let factors = Tensor::from_vec(factors, x.shape(), x.device())?;
    Ok((x * factors.to_dtype(x.dtype())?)?)
}

//! One layer of experts, forward and backward: router, choice, drops, grouped products, gates.

use super::{Store, Timing, Weights, timed};
use crate::error::Result;
use crate::ops::{
    Act, ExpertWeights, Renormalize, RouteOptions, SecondChoice, capacity, experts, linear, route,
};
use crate::param::{Param, Params, backward};
use candle_core::{DType, Device, Tensor};

/// Sizes of the layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MoeLayer {
    /// Tokens.
    pub n_tokens: usize,
    /// Width of a token.
    pub d_model: usize,
    /// Width inside an expert.
    pub d_ff: usize,
    /// Experts.
    pub n_experts: usize,
    /// Experts of a token; gates are probabilities, not divided by their sum.
    pub top_k: usize,
    /// Room of an expert relative to an even share; `None` drops nothing.
    pub capacity_factor: Option<f64>,
}

/// Forward and backward of the layer, gradients of tokens, router and experts included, `n_iterations` times; the loss is the mean square
/// of the output. Also gives the share of choices that found no room.
///
/// # Errors
/// When the weights cannot be read, or `top_k` is more than the experts.
pub fn moe(weights: &Weights, layer: &MoeLayer, n_iterations: usize) -> Result<(Timing, f64)> {
    let &MoeLayer {
        n_tokens: n,
        d_model: d,
        d_ff: f,
        n_experts: e,
        top_k,
        ..
    } = layer;
    let mut store = Store::open(weights, &format!("moe{e}.safetensors"))?;
    let mut params = Params::new();
    for (name, shape, std) in [
        ("x", &[n, d][..], 1.0),
        ("wg", &[e, d], 0.02),
        ("w1", &[e, f, d], 0.02),
        ("w2", &[e, d, f], 0.02),
    ] {
        params.insert(Param::new(name, &store.take(name, shape, 0.0, std)?, true)?)?;
    }
    for (name, o) in [("b1", f), ("b2", d)] {
        let zeros = Tensor::zeros((e, o), DType::F32, &Device::Cpu)?;
        params.insert(Param::new(name, &zeros, false)?)?;
    }
    let param = |name: &str| {
        let found = params.get(name).cloned();
        found.expect("every name in this file is in its lists")
    };
    let stacked = ExpertWeights {
        up_efd: param("w1"),
        up_bias_ef: param("b1"),
        down_edf: param("w2"),
        down_bias_ed: param("b2"),
    };
    let options = RouteOptions {
        top_k,
        prototypes: 1,
        capacity: layer
            .capacity_factor
            .map(|factor| capacity(n, e, top_k, factor, 0, 1)),
        renormalize: Renormalize::None,
        second: SecondChoice::All,
    };
    let mut dropped = 0.0;
    let timing = timed(n_iterations, || {
        params.zero_grads();
        let x = param("x").tensor();
        let logits = linear(&x, &param("wg"), None, Act::None)?;
        let routed = route(&logits, &options)?;
        let y = experts(&x, &routed.gates_ns, &routed.routing, &stacked, None)?;
        let loss = y.sqr()?.mean_all()?;
        backward(&loss, &params)?;
        dropped = routed.routing.n_dropped() as f64 / (n * top_k).max(1) as f64;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    })?;
    Ok((timing, dropped))
}

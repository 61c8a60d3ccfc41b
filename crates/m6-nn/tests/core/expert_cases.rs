//! A whole expert layer as a function of its parameters: router, gates, experts and the router's own losses.

use crate::cases::{Case, p, params};
use m6_nn::ops::{self, Act, ExpertWeights, RouteOptions, Routed, composed, composed_experts};
use m6_nn::ops::{Renormalize, SecondChoice};
use m6_nn::{DType, Params, Result, Tensor};

const N: usize = 11;
const D: usize = 5;
const F: usize = 4;
const E: usize = 6;

/// Weights of the balance and of the z loss.
const LOSSES: (f64, f64) = (0.7, 0.3);

fn weights(q: &Params) -> ExpertWeights {
    ExpertWeights {
        up_efd: p(q, "up").clone(),
        up_bias_ef: p(q, "up_bias").clone(),
        down_edf: p(q, "down").clone(),
        down_bias_ed: p(q, "down_bias").clone(),
    }
}

/// Output and losses as one flat tensor.
fn fused(q: &Params, options: &RouteOptions) -> Result<Tensor> {
    let x_nd = p(q, "x").tensor();
    let read = ops::jitter(&x_nd, 0.1, 5)?;
    let logits = ops::linear(&read, p(q, "router"), None, Act::None)?;
    let routed = ops::route(&logits, options)?;
    let y_nd = ops::experts(&x_nd, &routed.gates_ns, &routed.routing, &weights(q), None)?;
    let loss = ops::router_loss(&logits, &routed, LOSSES.0, LOSSES.1)?;
    let packed = ops::pack(&y_nd, &loss)?;
    // There and back, so that both directions are under test.
    let (y_nd, loss) = ops::unpack(&packed, &[N, D])?;
    ops::pack(&y_nd, &loss)
}

fn stock(q: &Params, options: &RouteOptions) -> Result<Tensor> {
    let x_nd = p(q, "x").tensor();
    let read = ops::jitter(&x_nd, 0.1, 5)?;
    let logits = composed::linear(&read, p(q, "router"), None, Act::None)?;
    let Routed { routing, .. } = ops::route(&logits.detach(), options)?;
    let gates = composed_experts::gates(&logits, &routing, options)?;
    let y_nd = composed_experts::experts(&x_nd, &gates, &routing, &weights(q))?;
    let z = options.prototypes;
    let loss = composed_experts::router_loss(&logits, &routing, z, LOSSES.0, LOSSES.1)?;
    Ok(Tensor::cat(&[y_nd.flatten_all()?, loss.reshape(1)?], 0)?)
}

fn layer(dtype: DType, name: &'static str, options: RouteOptions) -> Case {
    let shapes: &[(&str, &[usize])] = &[
        ("x", &[N, D]),
        ("router", &[E, D]),
        ("up", &[E, F, D]),
        ("up_bias", &[E, F]),
        ("down", &[E, D, F]),
        ("down_bias", &[E, D]),
    ];
    Case {
        name,
        params: params(dtype, shapes),
        fused: Box::new(move |q| fused(q, &options)),
        composed: Box::new(move |q| stock(q, &options)),
    }
}

/// Expert layers under every rule.
pub fn all(dtype: DType) -> Vec<Case> {
    let rule = |top_k, prototypes, capacity, renormalize| RouteOptions {
        top_k,
        prototypes,
        capacity,
        renormalize,
        second: SecondChoice::All,
    };
    let above = RouteOptions {
        second: SecondChoice::Above(0.2),
        ..rule(2, 1, None, Renormalize::Kept)
    };
    let random = RouteOptions {
        second: SecondChoice::Random {
            threshold: 0.5,
            key: 9,
        },
        ..rule(3, 2, Some(4), Renormalize::Kept)
    };
    vec![
        layer(
            dtype,
            "top 1, dropless",
            rule(1, 1, None, Renormalize::Kept),
        ),
        layer(
            dtype,
            "top 1, drops",
            rule(1, 1, Some(2), Renormalize::Kept),
        ),
        layer(dtype, "top 2, kept", rule(2, 1, Some(3), Renormalize::Kept)),
        layer(
            dtype,
            "top 2, chosen",
            rule(2, 1, Some(3), Renormalize::Chosen),
        ),
        layer(
            dtype,
            "top 2, plain",
            rule(2, 1, Some(3), Renormalize::None),
        ),
        layer(dtype, "2 top 1", rule(1, 2, Some(4), Renormalize::Kept)),
        layer(dtype, "3 top 2", rule(2, 3, Some(6), Renormalize::Kept)),
        layer(dtype, "second above", above),
        layer(dtype, "second random", random),
    ]
}

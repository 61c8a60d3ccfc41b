//! Routing and experts as compositions of stock backend operators: what runs off the CPU, and what the fused bodies are tested against.

use super::composed::gelu;
use super::experts::ExpertWeights;
use super::route::{NO_ROW, Renormalize, RouteOptions, Routing};
use crate::error::Result;
use candle_core::{D, Tensor};

/// Softmax over each prototype `[n, z, m]`, and the logarithm of its divisor `[n, z, 1]`.
fn softmax(logits_ne: &Tensor, prototypes: usize) -> Result<(Tensor, Tensor)> {
    let (n, e) = logits_ne.dims2()?;
    let logits = logits_ne.reshape((n, prototypes, e / prototypes))?;
    let highest = logits.max_keepdim(D::Minus1)?.detach();
    let powers = logits.broadcast_sub(&highest)?.exp()?;
    let total = powers.sum_keepdim(D::Minus1)?;
    Ok((powers.broadcast_div(&total)?, (total.log()? + highest)?))
}

/// The gates of [`super::route()`].
pub fn gates(logits_ne: &Tensor, routing: &Routing, options: &RouteOptions) -> Result<Tensor> {
    let (n, s) = (routing.n_tokens, routing.n_choices);
    let (p, _) = softmax(logits_ne, options.prototypes)?;
    let device = logits_ne.device();
    let experts = Tensor::from_vec(routing.expert_ns.clone(), (n, s), device)?;
    let p_ns = p.reshape(logits_ne.shape())?.gather(&experts, 1)?;
    let kept: Vec<f32> = routing
        .row_ns
        .iter()
        .map(|&row| f32::from(row != NO_ROW))
        .collect();
    let kept_ns = Tensor::from_vec(kept, (n, s), device)?.to_dtype(logits_ne.dtype())?;
    let kept_p = (&p_ns * kept_ns)?;
    let counted = match options.renormalize {
        _ if options.top_k == 1 => return Ok(kept_p),
        Renormalize::None => return Ok(kept_p),
        Renormalize::Chosen => &p_ns,
        Renormalize::Kept => &kept_p,
    };
    let groups = (n, options.prototypes, options.top_k);
    let sums = counted.reshape(groups)?.sum_keepdim(D::Minus1)?;
    let sums = sums.maximum(f64::from(f32::EPSILON))?;
    Ok(kept_p
        .reshape(groups)?
        .broadcast_div(&sums)?
        .reshape((n, s))?)
}

/// [`super::router_loss`].
pub fn router_loss(
    logits_ne: &Tensor,
    routing: &Routing,
    prototypes: usize,
    balance_weight: f64,
    z_weight: f64,
) -> Result<Tensor> {
    let (n, e) = logits_ne.dims2()?;
    let (p, log) = softmax(logits_ne, prototypes)?;
    let first: Vec<f64> = routing
        .first_e
        .iter()
        .map(|&count| f64::from(count) / n as f64)
        .collect();
    let first_e = Tensor::from_vec(first, e, logits_ne.device())?.to_dtype(logits_ne.dtype())?;
    let mean_e = p.reshape((n, e))?.mean(0)?;
    let balance = ((mean_e * first_e)?.sum_all()? * (e as f64 / (prototypes * prototypes) as f64))?;
    let z = log.sqr()?.mean_all()?;
    Ok(((balance * balance_weight)? + (z * z_weight)?)?)
}

/// [`super::experts()`].
pub fn experts(
    x_nd: &Tensor,
    gates_ns: &Tensor,
    routing: &Routing,
    weights: &ExpertWeights,
) -> Result<Tensor> {
    let device = x_nd.device();
    let [up, up_bias, down, down_bias] = weights.list().map(|param| param.tensor());
    let mut out_nd = x_nd.zeros_like()?.detach();
    let gates = gates_ns.flatten_all()?;
    for e in (0..routing.n_experts()).filter(|&e| !routing.rows(e).is_empty()) {
        let places = &routing.place_of_row[routing.rows(e)];
        let tokens: Vec<u32> = routing
            .rows(e)
            .map(|row| routing.token_of(row) as u32)
            .collect();
        let tokens = Tensor::new(tokens, device)?;
        let x = x_nd.index_select(&tokens, 0)?;
        let u = x
            .matmul(&up.get(e)?.t()?)?
            .broadcast_add(&up_bias.get(e)?)?;
        let y = gelu(&u)?
            .matmul(&down.get(e)?.t()?)?
            .broadcast_add(&down_bias.get(e)?)?;
        let gate = gates.index_select(&Tensor::new(places, device)?, 0)?;
        out_nd = out_nd.index_add(&tokens, &y.broadcast_mul(&gate.unsqueeze(1)?)?, 0)?;
    }
    Ok(out_nd)
}

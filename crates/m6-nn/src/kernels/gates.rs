//! The gates of a token's choices and the router's own losses, with their gradients down to the logits.
//!
//! Letters as in [`super::route`].

use crate::glue::uninit;
use crate::kernels::route::{NO_ROW, Renormalize, RouteOptions, Routing};
use crate::real::{Real, dot};
use rayon::prelude::*;

/// Least sum that gates are divided by: 0 / 0 when every choice of a token is dropped.
const LEAST_SUM: f64 = f32::EPSILON as f64;
/// Tokens per task.
const N_TASK_TOKENS: usize = 64;

/// How the gates of a token come from its probabilities.
struct Rule {
    top_k: usize,
    renormalize: Renormalize,
}

impl Rule {
    fn new(options: &RouteOptions) -> Self {
        Self {
            top_k: options.top_k,
            renormalize: match options.top_k {
                1 => Renormalize::None,
                _ => options.renormalize,
            },
        }
    }

    /// What the gates of the choices of one prototype are divided by, and whether it depends on the probabilities; `None` is 1.
    fn divisor<T: Real>(&self, p: impl Fn(usize) -> T, rows: &[u32]) -> Option<(T, bool)> {
        let counted = |j: &usize| self.renormalize == Renormalize::Chosen || rows[*j] != NO_ROW;
        if self.renormalize == Renormalize::None {
            return None;
        }
        let sum = (0..self.top_k)
            .filter(counted)
            .fold(T::zero(), |sum, j| sum + p(j));
        let least = T::number(LEAST_SUM);
        Some(if sum > least {
            (sum, true)
        } else {
            (least, false)
        })
    }
}

/// Gates `[n, s]` of the choices of `routing` by the probabilities `[n, e]`: 0 where a choice reaches no expert.
pub fn gates<T: Real>(p_ne: &[T], routing: &Routing, options: &RouteOptions) -> Vec<T> {
    let (s, e) = (routing.n_choices, routing.n_experts());
    let rule = Rule::new(options);
    let mut gates_ns = uninit(routing.n_tokens * s);
    gates_ns
        .par_chunks_mut(s)
        .zip(p_ne.par_chunks(e))
        .zip(routing.expert_ns.par_chunks(s))
        .zip(routing.row_ns.par_chunks(s))
        .with_min_len(N_TASK_TOKENS)
        .for_each(|(((gates, p), experts), rows)| gates_of(&rule, p, experts, rows, gates));
    gates_ns
}

/// The gates of one token.
pub fn gates_of_token<T: Real>(
    p_e: &[T],
    experts: &[u32],
    rows: &[u32],
    options: &RouteOptions,
    gates: &mut [T],
) {
    gates_of(&Rule::new(options), p_e, experts, rows, gates);
}

fn gates_of<T: Real>(rule: &Rule, p_e: &[T], experts: &[u32], rows: &[u32], gates: &mut [T]) {
    let k = rule.top_k;
    let groups = gates.chunks_exact_mut(k).zip(experts.chunks_exact(k));
    for ((gates, experts), rows) in groups.zip(rows.chunks_exact(k)) {
        let divisor = rule.divisor(|j| p_e[experts[j] as usize], rows);
        for j in 0..k {
            let p = match rows[j] {
                NO_ROW => T::zero(),
                _ => p_e[experts[j] as usize],
            };
            gates[j] = divisor.map_or(p, |(sum, _)| p / sum);
        }
    }
}

/// Gradient of the logits `[n, e]` from that of the gates `[n, s]`; `gates_ns` are those of the forward pass.
pub fn gates_grad<T: Real>(
    p_ne: &[T],
    gates_ns: &[T],
    grad_ns: &[T],
    routing: &Routing,
    options: &RouteOptions,
) -> Vec<T> {
    let (s, e) = (routing.n_choices, routing.n_experts());
    let (rule, k) = (Rule::new(options), options.top_k);
    let mut dx_ne = uninit(p_ne.len());
    dx_ne
        .par_chunks_mut(e)
        .zip(p_ne.par_chunks(e))
        .enumerate()
        .with_min_len(N_TASK_TOKENS)
        .for_each(|(t, (dx, p_e))| {
            let of = t * s..(t + 1) * s;
            let (experts, rows) = (&routing.expert_ns[of.clone()], &routing.row_ns[of.clone()]);
            let (gates, grad) = (&gates_ns[of.clone()], &grad_ns[of]);
            dx.fill(T::zero());
            for z in (0..s).step_by(k) {
                let (experts, rows) = (&experts[z..z + k], &rows[z..z + k]);
                let (gates, grad) = (&gates[z..z + k], &grad[z..z + k]);
                let divisor = rule.divisor(|j| p_e[experts[j] as usize], rows);
                // A dropped choice has gate 0, so that its gradient is in neither sum.
                let pull = dot(gates, grad);
                for j in 0..k {
                    let kept = rows[j] != NO_ROW;
                    let own = if kept { grad[j] } else { T::zero() };
                    let counted = kept || rule.renormalize == Renormalize::Chosen;
                    dx[experts[j] as usize] = match divisor {
                        None => own,
                        Some((sum, true)) if counted => (own - pull) / sum,
                        Some((sum, false)) => own / sum,
                        Some(_) => T::zero(),
                    };
                }
            }
            softmax_grad(dx, p_e, options.prototypes);
        });
    dx_ne
}

/// Turns gradients of probabilities into those of the logits, one softmax a prototype.
fn softmax_grad<T: Real>(grad_e: &mut [T], p_e: &[T], prototypes: usize) {
    let group = p_e.len() / prototypes;
    for (grad, p) in grad_e.chunks_exact_mut(group).zip(p_e.chunks_exact(group)) {
        let pull = dot(grad, p);
        for (grad, &p) in grad.iter_mut().zip(p) {
            *grad = p * (*grad - pull);
        }
    }
}

/// The balance loss, mean over prototypes of `m * sum_e f_e P_e` for the `m` experts of one: `f_e` is the share of first choices,
/// before any is dropped, `P_e` the mean probability (Switch, GShard; 1 when both are even). Sums run in the order of the tokens.
pub fn balance<T: Real>(p_ne: &[T], routing: &Routing, prototypes: usize) -> f64 {
    let e = routing.n_experts();
    let n = routing.n_tokens.max(1) as f64;
    let mut mean_e = vec![0.0f64; e];
    for p_e in p_ne.chunks_exact(e) {
        for (mean, p) in mean_e.iter_mut().zip(p_e) {
            *mean += p.to_f64();
        }
    }
    let pairs = mean_e.iter().zip(&routing.first_e);
    let sum: f64 = pairs
        .map(|(mean, &first)| mean / n * f64::from(first) / n)
        .sum();
    sum * (e / prototypes) as f64 / prototypes as f64
}

/// The z loss: mean over tokens and prototypes of the squared logarithm of the softmax's divisor (ST-MoE).
pub fn z_loss<T: Real>(log_nz: &[T]) -> f64 {
    let sum: f64 = log_nz.iter().map(|log| log.to_f64().powi(2)).sum();
    sum / log_nz.len().max(1) as f64
}

/// Gradient `[n, e]` of `balance_scale * balance + z_scale * z_loss` with respect to the logits.
pub fn router_loss_grad<T: Real>(
    p_ne: &[T],
    log_nz: &[T],
    routing: &Routing,
    prototypes: usize,
    balance_scale: f64,
    z_scale: f64,
) -> Vec<T> {
    let e = routing.n_experts();
    let n = routing.n_tokens.max(1) as f64;
    let group = e / prototypes;
    let per_first = balance_scale * group as f64 / (prototypes as f64 * n * n);
    let dp_e: Vec<T> = routing
        .first_e
        .iter()
        .map(|&first| T::number(per_first * f64::from(first)))
        .collect();
    let per_log = T::number(2.0 * z_scale / log_nz.len().max(1) as f64);
    let mut dx_ne = uninit(p_ne.len());
    dx_ne
        .par_chunks_mut(e)
        .zip(p_ne.par_chunks(e))
        .zip(log_nz.par_chunks(prototypes))
        .with_min_len(N_TASK_TOKENS)
        .for_each(|((dx, p_e), log_z)| {
            dx.copy_from_slice(&dp_e);
            softmax_grad(dx, p_e, prototypes);
            let groups = dx.chunks_exact_mut(group).zip(p_e.chunks_exact(group));
            for ((dx, p), &log) in groups.zip(log_z) {
                for (dx, &p) in dx.iter_mut().zip(p) {
                    *dx += per_log * log * p;
                }
            }
        });
    dx_ne
}

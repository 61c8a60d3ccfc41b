//! Parameters of a model from its configuration alone.

use crate::config::ModelConfig;
use crate::spec::{Part, Spec, specs};
use serde::Serialize;
use std::collections::BTreeMap;

/// How many parameters a model has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them, patch network and its batch statistics included.
    pub params_total: u64,
    /// Those that one token meets: of the experts only `top_k * prototypes` per layer.
    pub params_active: u64,
    /// The paper's way of counting (section 2.4): without the patch network, which the 327 M of M6-base leave out.
    pub params_transformer: u64,
    /// By part of the model, in the order of the forward pass; they add up to `params_total`.
    pub by_part: Vec<(String, u64)>,
}

/// Counts the parameters of `cfg` by arithmetic; nothing is allocated, so that 100 B costs as little as 1 M.
///
/// Reproduces paper section 2.4: 327 M, 10.16 B, 103 B (1024 experts in every second block).
pub fn count(cfg: &ModelConfig) -> Counts {
    let mut parts: BTreeMap<Part, u64> = BTreeMap::new();
    let mut active = 0;
    for spec in specs(cfg) {
        *parts.entry(spec.part).or_default() += spec.n_elements();
        active += n_active(cfg, &spec);
    }
    let total = parts.values().sum();
    let of = |part| parts.get(&part).copied().unwrap_or(0);
    Counts {
        params_total: total,
        params_active: active,
        params_transformer: total - of(Part::PatchNetwork) - of(Part::PatchStatistics),
        by_part: parts
            .iter()
            .map(|(part, &n)| (part.name().to_owned(), n))
            .collect(),
    }
}

fn n_active(cfg: &ModelConfig, spec: &Spec) -> u64 {
    let experts = &cfg.experts;
    let n = spec.n_elements();
    match spec.part {
        Part::Experts => n / experts.n_experts as u64 * (experts.top_k * experts.prototypes) as u64,
        _ => n,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ExpertsConfig;

    fn near(n: u64, expected: f64, tolerance: f64) {
        let error = (n as f64 / expected - 1.0).abs();
        assert!(
            error < tolerance,
            "{n} is {error:.2e} away from {expected:e}"
        );
    }

    #[test]
    fn sizes_of_the_paper() {
        let base = ModelConfig::default();
        near(count(&base).params_transformer, 326.57e6, 1e-3);
        let m6_10b = ModelConfig {
            n_layers: 50,
            d_model: 4096,
            n_heads: 128,
            d_ff: 16384,
            ..base.clone()
        };
        near(count(&m6_10b).params_transformer, 10.16e9, 1e-3);
        let experts = ExpertsConfig {
            n_experts: 1024,
            ..ExpertsConfig::default()
        };
        let m6_100b = count(&ModelConfig {
            experts,
            ..base.clone()
        });
        near(m6_100b.params_transformer, 103e9, 5e-3);
        // Top-1 costs about the dense base per token, plus the routers (paper section 7).
        near(
            m6_100b.params_active,
            count(&base).params_total as f64,
            0.05,
        );
    }

    #[test]
    fn parts_add_up() {
        let counts = count(&ModelConfig {
            tie_embeddings: false,
            ..ModelConfig::default()
        });
        assert_eq!(
            counts.by_part.iter().map(|p| p.1).sum::<u64>(),
            counts.params_total
        );
        assert!(counts.by_part.iter().any(|p| p.0 == "head"));
    }
}

//! What every rank of a run would keep, found without making any of it.

use super::ParallelConfig;
use super::mesh::{Mesh, Place, Tensor, place_of};
use crate::config::TrainConfig;
use m6_model::spec::{Spec, hidden_matrices, specs};
use m6_model::{Model, ModelConfig, split_part};
use m6_nn::Part;
use m6_nn::dist::Shards;
use m6_nn::optimizer::Rule;
use serde::Serialize;

/// Bytes that a rank keeps from update to update; activations, and what is put together for a time, come on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RankShare {
    /// The rank, from 0.
    pub rank: usize,
    /// Parameters whose updates it makes.
    pub updated: u64,
    /// Bytes of weights.
    pub weights: u64,
    /// Bytes of gradients: its own and, of several ranks, its part of the sum.
    pub gradients: u64,
    /// Bytes of moments in memory.
    pub moments: u64,
    /// Bytes of moments in a file (`train.offload_moments`); those of one parameter at a time are in memory.
    pub offloaded: u64,
}

/// One for each of `n_ranks` (at least 1) that train `model`: the very parts that the run would have, for settings without
/// [`ParallelConfig::problems`].
pub fn rank_shares(
    model: &ModelConfig,
    train: &TrainConfig,
    parallel: &ParallelConfig,
    n_ranks: usize,
) -> Vec<RankShare> {
    const F32: u64 = 4;
    let hidden = hidden_matrices(model);
    let all = specs(model);
    let fixed: u64 = all
        .iter()
        .filter(|s| !s.trained)
        .map(|s| s.n_elements())
        .sum();
    let learning: Vec<_> = all.into_iter().filter(|spec| spec.trained).collect();
    let rules: Vec<Rule> = learning
        .iter()
        .map(|spec| train.optimizer.rule(&spec.name, &hidden))
        .collect();
    let tensor = parallel.tensor.clamp(1, n_ranks);
    let n_data = n_ranks / tensor;
    // One rank has all experts, however many would share them.
    let expert = parallel.expert.clamp(1, n_data.max(1));
    let mesh = Mesh {
        n_ranks: n_data,
        expert,
    };
    let zero = parallel.zero_with(n_data);
    // Ranks that share matrices may have parts of different sizes.
    let dealt = (0..tensor).map(|place| {
        let part = |spec: &Spec| split_part(model, &spec.name, &spec.shape, place, tensor);
        Dealt::new(mesh, learning.iter().zip(&rules), part, parallel)
    });
    let dealt: Vec<Dealt> = dealt.collect();
    let share = |rank: usize| {
        let (dealt, data) = (&dealt[rank % tensor], rank / tensor);
        let updated = dealt.owned.n_owned(data) as u64;
        let moments = |i: usize, spec: &Spec| {
            let whole = rules[i].n_bytes(&spec.shape) as u64;
            let n = spec.n_elements().max(1);
            match zero {
                0 => whole,
                // Parts are whole blocks of what rules keep together, so that shares are exact.
                _ => (whole as u128 * dealt.owned.of(i)[data].len() as u128 / u128::from(n)) as u64,
            }
        };
        let moments: u64 = learning
            .iter()
            .enumerate()
            .map(|(i, spec)| moments(i, spec))
            .sum();
        let (moments, offloaded) = match train.offload_moments {
            true => (0, moments),
            false => (moments, 0),
        };
        RankShare {
            rank,
            updated,
            weights: F32 * (fixed + if zero == 3 { updated } else { dealt.total }),
            gradients: F32
                * match (n_ranks, zero) {
                    (1, _) if train.blockwise => largest_block(model, &learning),
                    (1, _) => dealt.total,
                    (_, 0 | 1) => dealt.total + dealt.n_shared(data),
                    _ => updated + dealt.late,
                },
            moments,
            offloaded,
        }
    };
    (0..n_ranks).map(share).collect()
}

/// Numbers of the block that learns most, or of what is in none.
fn largest_block(model: &ModelConfig, learning: &[Spec]) -> u64 {
    let mut by_block = vec![0; model.n_layers + 1];
    for spec in learning {
        by_block[Model::block_of(&spec.name).unwrap_or(model.n_layers)] += spec.n_elements();
    }
    by_block.into_iter().max().unwrap_or(0)
}

/// What the ranks that have the same parts of the matrices have of the parameters.
struct Dealt {
    /// Who updates what.
    owned: Shards,
    /// Numbers that a rank has: of experts its part.
    total: u64,
    /// Numbers whose gradients a rank adds up itself until the last round, and then sums with others.
    late: u64,
    /// Parameters that no other rank has: their gradients are the sum.
    alone: Vec<bool>,
}

impl Dealt {
    /// The parameters that learn, each with its rule, of which a rank has `part`.
    fn new<'a>(
        mesh: Mesh,
        learning: impl Iterator<Item = (&'a Spec, &'a Rule)>,
        part: impl Fn(&Spec) -> Option<Part>,
        parallel: &ParallelConfig,
    ) -> Self {
        let tensor = |(spec, rule): (&Spec, &Rule)| Tensor {
            n_elements: part(spec).map_or(spec.n_elements() as usize, |part| part.n_elements()),
            whole: !rule.divides(),
            place: match mesh.expert > 1 {
                true => place_of(&spec.name, !rule.divides(), parallel.exact),
                false => Place::Shared,
            },
        };
        let tensors: Vec<Tensor> = learning.map(tensor).collect();
        let held = |tensor: &Tensor| match tensor.place {
            Place::Spread => tensor.n_elements / mesh.expert,
            Place::Shared | Place::Beside => tensor.n_elements,
        };
        let is_alone = |tensor: &Tensor| match tensor.place {
            Place::Spread => mesh.n_ranks == mesh.expert,
            Place::Shared | Place::Beside => mesh.n_ranks == 1,
        };
        let is_late =
            |tensor: &&Tensor| parallel.exact && tensor.place != Place::Shared && !is_alone(tensor);
        Self {
            alone: tensors.iter().map(is_alone).collect(),
            total: tensors.iter().map(held).sum::<usize>() as u64,
            late: tensors.iter().filter(is_late).map(held).sum::<usize>() as u64,
            owned: mesh.deal(&tensors).owned,
        }
    }

    /// Numbers that a rank updates of what others have gradients of as well.
    fn n_shared(&self, rank: usize) -> u64 {
        let shared = (0..self.alone.len()).filter(|&i| !self.alone[i]);
        shared.map(|i| self.owned.of(i)[rank].len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OptimizerKind;

    fn shares(n: usize, zero: u8, optimizer: OptimizerKind) -> Vec<RankShare> {
        let train = TrainConfig {
            optimizer,
            ..TrainConfig::default()
        };
        let parallel = ParallelConfig {
            zero,
            ..ParallelConfig::default()
        };
        rank_shares(&ModelConfig::default(), &train, &parallel, n)
    }

    #[test]
    fn shares_add_up_to_the_whole() {
        let one = shares(1, 0, OptimizerKind::AdamW)[0];
        let total = m6_model::count(&ModelConfig::default()).params_total;
        assert_eq!(one.weights, 4 * total);
        assert_eq!(one.moments, 8 * one.updated);
        for optimizer in [
            OptimizerKind::AdamW,
            OptimizerKind::AdamW8,
            OptimizerKind::Muon,
            OptimizerKind::Adafactor,
        ] {
            let whole = shares(1, 0, optimizer)[0];
            let spread = shares(4, 3, optimizer);
            let sum = |of: fn(&RankShare) -> u64| spread.iter().map(of).sum::<u64>();
            assert_eq!(sum(|s| s.updated), whole.updated);
            let missing = whole.moments - sum(|s| s.moments);
            assert!(missing * 1000 <= whole.moments, "{optimizer:?}: {missing}");
        }
        let spread = shares(4, 3, OptimizerKind::AdamW);
        let frozen = one.weights - 4 * one.updated;
        assert_eq!(
            spread.iter().map(|s| s.weights - frozen).sum::<u64>(),
            4 * one.updated
        );
    }

    #[test]
    fn experts_that_are_spread_are_kept_once() {
        let mut model = ModelConfig::default();
        model.experts.n_experts = 8;
        let of = |expert, zero, n| {
            let parallel = ParallelConfig {
                expert,
                zero,
                ..ParallelConfig::default()
            };
            rank_shares(&model, &TrainConfig::default(), &parallel, n)
        };
        let all = specs(&model);
        let is_spread = |name: &str| place_of(name, false, false) == Place::Spread;
        let experts = all.iter().filter(|spec| is_spread(&spec.name));
        let experts: u64 = experts.map(|spec| spec.n_elements()).sum();
        assert!(experts > 0);
        let (one, spread) = (of(1, 1, 4), of(4, 1, 4));
        assert_eq!(one[0].weights - spread[0].weights, 3 * experts);
        let sum =
            |shares: &[RankShare], of: fn(&RankShare) -> u64| shares.iter().map(of).sum::<u64>();
        for (expert, zero) in [(2, 1), (2, 3), (4, 0), (4, 2)] {
            let spread = of(expert, zero, 4);
            assert_eq!(sum(&spread, |s| s.updated), sum(&one, |s| s.updated));
            assert_eq!(sum(&spread, |s| s.moments), sum(&one, |s| s.moments));
        }
        assert_eq!(of(4, 0, 1), of(1, 0, 1));
    }

    #[test]
    fn matrices_that_are_split_are_kept_once() {
        let model = ModelConfig::default();
        let of = |tensor, zero, n| {
            let parallel = ParallelConfig {
                tensor,
                zero,
                ..ParallelConfig::default()
            };
            rank_shares(&model, &TrainConfig::default(), &parallel, n)
        };
        let is_split = |spec: &&Spec| split_part(&model, &spec.name, &spec.shape, 0, 2).is_some();
        let all = specs(&model);
        let split: u64 = all.iter().filter(is_split).map(Spec::n_elements).sum();
        let one = of(1, 0, 1)[0];
        for (n, zero) in [(2, 0), (4, 1), (4, 3)] {
            let shares = of(2, zero, n);
            let updated: u64 = shares.iter().map(|share| share.updated).sum();
            // What is not split has two ranks that make the same updates.
            assert_eq!(updated, 2 * one.updated - split, "{n}, {zero}");
        }
        // Vectors of words are an even number here.
        assert_eq!(of(2, 0, 2)[0].weights, one.weights - 2 * split);
    }

    #[test]
    fn stages_keep_less_and_less() {
        let of = |zero| shares(4, zero, OptimizerKind::AdamW)[0];
        assert!(of(1).moments < of(0).moments && of(1).gradients == of(0).gradients);
        assert!(of(2).gradients < of(1).gradients && of(2).weights == of(1).weights);
        assert!(of(3).weights < of(2).weights);
    }
}

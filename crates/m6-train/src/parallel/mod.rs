//! Many ranks that train one model: who does what in an update (paper section 3.2; ZeRO is Rajbhandari and others 2020).
//!
//! The micro-batches of a global batch are dealt out in turn, rank `r` of `n` taking number `r`, `r + n`, and so on. Every label weighs
//! 1 / labels of the global batch wherever it is, so that gradients are summed, not averaged.

mod agree;
mod conductor;
pub(crate) mod heartbeat;
mod mesh;
mod shares;
pub(crate) mod start;
mod team;
mod update;
pub(crate) mod weights_file;

pub(crate) use agree::exchange;
pub use shares::{RankShare, rank_shares};
pub(crate) use team::Team;

use crate::config::{OptimizerKind, TrainConfig};
use m6_model::ModelConfig;
use m6_nn::glue::CHUNK;
use m6_nn::kernels::adamw8::LEAST;
use m6_nn::kernels::dynamic8::BLOCK;
use serde::{Deserialize, Serialize};

/// What the gradient of an update is clipped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClipBy {
    /// The norm of the whole gradient: the same for any number of ranks.
    #[default]
    Global,
    /// Each rank clips the gradient of its own micro-batches by its own norm before they are summed (paper section 2.5). What is
    /// learned depends on the number of ranks.
    Local,
}

/// How many processes train together, and what each of them keeps (section `[parallel]` of a configuration).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParallelConfig {
    /// Ranks that share the micro-batches of a global batch, at most `train.accum`; 0 takes all that were started. Ours: 0.
    pub data: usize,
    /// Neighbouring ranks that share the experts of a layer, each having its part of them; divides the ranks and the experts. Above 1 the moments
    /// are spread as with `zero = 1` at least. Ours: 1.
    pub expert: usize,
    /// Ranks that share each matrix; only 1 so far.
    pub tensor: usize,
    /// What is spread over the ranks: 0 nothing, 1 the moments of the optimizer, 2 gradients as well, 3 weights as well. Ours: 0.
    pub zero: u8,
    /// Sum the gradients micro-batch by micro-batch, so that any number of ranks gives the same bytes; one exchange a micro-batch instead of
    /// one an update. Ours: off.
    pub exact: bool,
    /// Send rows to experts and back as bfloat16 (the paper has half precision, section 2.5); what is learned depends on it. Ours: off.
    pub half_rows: bool,
    /// What gradients are clipped by, to `train.grad_clip`: `global` or `local`. Ours: global.
    pub clip: ClipBy,
}

impl Default for ParallelConfig {
    fn default() -> Self {
        Self {
            data: 0,
            expert: 1,
            tensor: 1,
            zero: 0,
            exact: false,
            half_rows: false,
            clip: ClipBy::Global,
        }
    }
}

impl ParallelConfig {
    /// Every problem of the settings by themselves, one line each.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.tensor != 1 {
            problems.push(format!(
                "tensor = {}: expected 1; tensor parallelism is not built yet, use data, expert and zero",
                self.tensor
            ));
        }
        if self.expert == 0 {
            problems.push("expert = 0: expected 1 or more".into());
        }
        if self.zero > 3 {
            problems.push(format!("zero = {}: expected 0, 1, 2 or 3", self.zero));
        }
        if self.clip == ClipBy::Local && (self.zero > 1 || self.exact || self.expert > 1) {
            let what = "clip = \"local\": expected zero 0 or 1, exact off and expert 1, since a rank clips what it has summed of its own";
            problems.push(what.into());
        }
        problems
    }

    /// Every problem of training `model` so with `n_ranks` processes, one line each, with the section before it.
    pub fn problems(
        &self,
        model: &ModelConfig,
        train: &TrainConfig,
        n_ranks: usize,
    ) -> Vec<String> {
        let of_ranks = self.problems_with(train, n_ranks).into_iter();
        let all = of_ranks.chain(self.problems_with_experts(model, train, n_ranks));
        let mut all: Vec<String> = all.map(|problem| format!("parallel.{problem}")).collect();
        if model.n_distinct() < model.n_layers && self.zero == 3 && n_ranks > 1 {
            all.push("model.distinct_layers: blocks that share weights cannot be given back one by one; use parallel.zero = 2".into());
        }
        all
    }

    /// Every problem of training so with `n_ranks` processes, one line each.
    fn problems_with(&self, train: &TrainConfig, n_ranks: usize) -> Vec<String> {
        let mut problems = self.validate();
        if self.data != 0 && self.data != n_ranks {
            problems.push(format!(
                "data = {}: {n_ranks} process{} started; start as many (mpirun -n {} m6 ...), or set 0",
                self.data,
                if n_ranks == 1 { " was" } else { "es were" },
                self.data
            ));
        }
        if n_ranks > train.accum {
            problems.push(format!(
                "data = {n_ranks}: expected at most train.accum ({}), since every rank needs a micro-batch; set train.accum to {n_ranks} or a multiple",
                train.accum
            ));
        }
        if train.blockwise && (n_ranks > 1 || self.exact) {
            problems.push(
                "train.blockwise is for one process without parallel.exact; with several, zero = 2 lets gradients go block by block"
                    .into(),
            );
        }
        if self.zero == 3 && n_ranks > 1 && train.ema > 0.0 {
            problems.push(
                "zero = 3: expected train.ema = 0, since the average is kept whole; use zero = 2"
                    .into(),
            );
        }
        if self.expert > 1 && train.ema > 0.0 {
            problems.push(format!(
                "expert = {}: expected train.ema = 0, since the average is kept whole",
                self.expert
            ));
        }
        if self.expert > 1 && !n_ranks.is_multiple_of(self.expert) {
            problems.push(format!(
                "expert = {}: expected a divisor of the {n_ranks} ranks that were started; start a multiple of {} (mpirun -n), or, to plan, set parallel.data",
                self.expert, self.expert
            ));
        }
        problems
    }

    /// Every problem of spreading the experts of `model` over `n_ranks` processes, one line each.
    fn problems_with_experts(
        &self,
        model: &ModelConfig,
        train: &TrainConfig,
        n_ranks: usize,
    ) -> Vec<String> {
        let (n, e) = (self.expert, model.experts.n_experts);
        if n <= 1 {
            return Vec::new();
        }
        if !e.is_multiple_of(n) || e == 1 {
            return vec![format!(
                "expert = {n}: expected a divisor of model.experts.n_experts ({e}) which is more than 1"
            )];
        }
        let mut problems = Vec::new();
        if self.exact && n != n_ranks {
            problems.push(format!(
                "exact: expected expert = {n_ranks}, all ranks, or 1: groups of {n} sum the gradients of experts among themselves first"
            ));
        }
        if self.exact && model.n_distinct() < model.n_layers {
            problems.push("exact: blocks that share experts (model.distinct_layers) add their gradients in another order when those are spread".into());
        }
        if self.exact && self.half_rows {
            problems
                .push("exact: expected half_rows = false, since one process rounds no rows".into());
        }
        let part = e / n * model.d_model * model.d_ff;
        let sizes = [part, e / n * model.d_ff, e / n * model.d_model];
        let cuts_block = |&size: &usize| LEAST <= size * n && !size.is_multiple_of(BLOCK);
        if train.optimizer == OptimizerKind::AdamW8 && sizes.iter().any(cuts_block) {
            problems.push(format!(
                "expert = {n}: a rank has {sizes:?} numbers of the weights of experts, expected multiples of {BLOCK}, the blocks of adamw8"
            ));
        }
        if self.exact && !part.is_multiple_of(CHUNK) {
            problems.push(format!(
                "exact: a rank has {part} numbers of a matrix of experts, expected a multiple of {CHUNK}, by which norms are summed"
            ));
        }
        problems
    }

    /// What is really spread over `n_ranks`: spreading state over one rank is keeping it, and parts of experts have their moments with them.
    pub(crate) fn zero_with(&self, n_ranks: usize) -> u8 {
        match (n_ranks, self.expert) {
            (1, _) => 0,
            (_, 1) => self.zero,
            _ => self.zero.max(1),
        }
    }

    /// What of this decides what is learned; `None` for what any number of ranks learns within rounding.
    pub(crate) fn identity(&self) -> Option<serde_json::Value> {
        let half = self.expert > 1 && self.half_rows;
        let mut told = match (self.exact, self.clip) {
            (false, ClipBy::Global) if !half => return None,
            (exact, clip) => serde_json::json!({"exact": exact, "clip": clip}),
        };
        if half {
            told["half_rows"] = true.into();
        }
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(set: impl FnOnce(&mut ParallelConfig), n_ranks: usize, expected: &[&str]) {
        let mut config = ParallelConfig::default();
        set(&mut config);
        let train = TrainConfig {
            accum: 4,
            ema: 0.5,
            ..TrainConfig::default()
        };
        let problems = config.problems_with(&train, n_ranks);
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{problem}, not: {expected}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_named_with_what_to_do() {
        check(|_| (), 4, &[]);
        check(|c| c.data = 2, 2, &[]);
        check(|c| c.data = 4, 1, &["mpirun -n 4"]);
        check(|_| (), 5, &["train.accum to 5"]);
        check(|c| c.expert = 0, 1, &["expert = 0"]);
        check(
            |c| c.expert = 3,
            4,
            &["train.ema", "divisor of the 4 ranks"],
        );
        check(|c| c.tensor = 0, 1, &["tensor = 0"]);
        check(|c| c.zero = 4, 1, &["zero = 4"]);
        check(|c| c.zero = 3, 2, &["train.ema"]);
        check(|c| c.zero = 3, 1, &[]);
        let local = |c: &mut ParallelConfig| (c.clip, c.zero) = (ClipBy::Local, 2);
        check(local, 1, &["clip = \"local\""]);
    }

    #[test]
    fn experts_are_spread_where_they_can_be() {
        let check = |experts: usize, set: fn(&mut ParallelConfig), expected: &[&str]| {
            let mut model = ModelConfig {
                d_model: 64,
                d_ff: 256,
                ..ModelConfig::default()
            };
            model.experts.n_experts = experts;
            let mut config = ParallelConfig {
                expert: 4,
                ..ParallelConfig::default()
            };
            set(&mut config);
            let train = TrainConfig {
                optimizer: OptimizerKind::AdamW8,
                ..TrainConfig::default()
            };
            let problems = config.problems_with_experts(&model, &train, 4);
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            for (problem, expected) in problems.iter().zip(expected) {
                assert!(problem.contains(expected), "{problem}, not: {expected}");
            }
        };
        check(16, |_| (), &[]);
        check(16, |c| c.exact = true, &[]);
        check(6, |_| (), &["n_experts (6)"]);
        check(1, |_| (), &["n_experts (1)"]);
        check(8, |c| c.exact = true, &["a multiple of 65536"]);
        check(68, |c| c.zero = 1, &["blocks of adamw8"]);
        let halved = |c: &mut ParallelConfig| (c.exact, c.half_rows) = (true, true);
        check(16, halved, &["half_rows = false"]);
        let two = |c: &mut ParallelConfig| (c.expert, c.exact) = (2, true);
        check(16, two, &["expected expert = 4"]);
    }

    #[test]
    fn only_what_changes_the_result_is_part_of_a_run() {
        let mut config = ParallelConfig {
            data: 4,
            zero: 3,
            ..ParallelConfig::default()
        };
        assert_eq!(config.identity(), None);
        config.exact = true;
        assert!(config.identity().is_some());
        (config.exact, config.half_rows) = (false, true);
        assert_eq!(config.identity(), None, "nothing travels");
        config.expert = 2;
        assert!(config.identity().is_some());
    }
}

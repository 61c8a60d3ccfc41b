//! What cannot be trained by many ranks, said before anything is begun.

use super::{ClipBy, ParallelConfig};
use crate::config::{OptimizerKind, TrainConfig};
use m6_model::ModelConfig;
use m6_nn::glue::CHUNK;
use m6_nn::kernels::adamw8::LEAST;
use m6_nn::kernels::dynamic8::BLOCK;

impl ParallelConfig {
    /// Every problem of the settings by themselves, one line each.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, n) in [("tensor", self.tensor), ("expert", self.expert)] {
            if n == 0 {
                problems.push(format!("{name} = 0: expected 1 or more"));
            }
        }
        if self.zero > 3 {
            problems.push(format!("zero = {}: expected 0, 1, 2 or 3", self.zero));
        }
        let shares = self.expert > 1 || self.tensor > 1;
        if self.clip == ClipBy::Local && (self.zero > 1 || self.exact || shares) {
            let what = "clip = \"local\": expected zero 0 or 1, exact off, expert 1 and tensor 1, since a rank clips what it has summed of its own";
            problems.push(what.into());
        }
        if self.exact && self.tensor > 1 {
            let what = format!(
                "tensor = {}: expected exact = false, since sums are cut where matrices are",
                self.tensor
            );
            problems.push(what);
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
        let n_data = self.n_data(n_ranks);
        let of_ranks = self.problems_with(train, n_ranks).into_iter();
        let of_experts = self.problems_with_experts(model, train, n_data);
        let of_matrices = self.problems_with_matrices(model, train);
        let all = of_ranks.chain(of_experts).chain(of_matrices);
        let mut all: Vec<String> = all.map(|problem| format!("parallel.{problem}")).collect();
        if model.n_distinct() < model.n_layers && self.zero == 3 && n_data > 1 {
            all.push("model.distinct_layers: blocks that share weights cannot be given back one by one; use parallel.zero = 2".into());
        }
        all
    }

    /// Every problem of training so with `n_ranks` processes, one line each.
    fn problems_with(&self, train: &TrainConfig, n_ranks: usize) -> Vec<String> {
        let mut problems = self.validate();
        let (n_data, tensor) = (self.n_data(n_ranks), self.tensor.max(1));
        let wanted = self.data.saturating_mul(tensor);
        let times = |n: usize| match tensor {
            1 => format!("{n}"),
            t => format!("{}, tensor = {t}", n / t),
        };
        if self.data != 0 && wanted != n_ranks {
            problems.push(format!(
                "data = {}: {n_ranks} process{} started; start as many (mpirun -n {wanted} m6 ...), or set 0",
                times(wanted),
                if n_ranks == 1 { " was" } else { "es were" },
            ));
        } else if !n_ranks.is_multiple_of(tensor) {
            problems.push(format!(
                "tensor = {tensor}: expected a divisor of the {n_ranks} ranks that were started; start a multiple of {tensor} (mpirun -n), or, to plan, set parallel.data"
            ));
        }
        if n_data > train.accum {
            problems.push(format!(
                "data = {n_data}: expected at most train.accum ({}), since every rank needs a micro-batch; set train.accum to {n_data} or a multiple",
                train.accum
            ));
        }
        if train.blockwise && (n_ranks > 1 || self.exact) {
            problems.push(
                "train.blockwise is for one process without parallel.exact; with several, zero = 2 lets gradients go block by block"
                    .into(),
            );
        }
        if self.zero == 3 && n_data > 1 && train.ema > 0.0 {
            problems.push(
                "zero = 3: expected train.ema = 0, since the average is kept whole; use zero = 2"
                    .into(),
            );
        }
        for (name, n) in [("expert", self.expert), ("tensor", self.tensor)] {
            if n > 1 && train.ema > 0.0 {
                problems.push(format!(
                    "{name} = {n}: expected train.ema = 0, since the average is kept whole"
                ));
            }
        }
        if self.expert > 1 && !n_data.is_multiple_of(self.expert) {
            problems.push(format!(
                "expert = {}: expected a divisor of the {n_data} ranks that were started; start a multiple of {} (mpirun -n), or, to plan, set parallel.data",
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

    /// Every problem of splitting the matrices of `model`, one line each.
    fn problems_with_matrices(&self, model: &ModelConfig, train: &TrainConfig) -> Vec<String> {
        let t = self.tensor;
        if t <= 1 {
            return Vec::new();
        }
        let mut problems = Vec::new();
        for (name, n) in [("n_heads", model.n_heads), ("d_ff", model.d_ff)] {
            if !n.is_multiple_of(t) {
                problems.push(format!(
                    "tensor = {t}: expected a divisor of model.{name} ({n})"
                ));
            }
        }
        if model.n_table() < t {
            problems.push(format!(
                "tensor = {t}: expected at most the {} words that are shared out",
                model.n_table()
            ));
        }
        if train.optimizer != OptimizerKind::AdamW {
            problems.push(format!(
                "tensor = {t}: expected train.optimizer = \"adamw\", since the others need whole matrices or blocks of them"
            ));
        }
        if model.lora.rank > 0 {
            problems.push(format!(
                "tensor = {t}: expected model.lora.rank = 0, adapters are not split"
            ));
        }
        problems
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
        let grid = |c: &mut ParallelConfig| (c.data, c.tensor) = (2, 3);
        check(grid, 6, &["train.ema"]);
        check(grid, 4, &["mpirun -n 6", "train.ema"]);
        check(
            |c| c.tensor = 3,
            4,
            &["divisor of the 4 ranks", "train.ema"],
        );
        check(
            |c| (c.tensor, c.exact) = (2, true),
            4,
            &["exact = false", "train.ema"],
        );
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
    fn matrices_are_split_where_they_can_be() {
        let check = |tensor: usize, optimizer: OptimizerKind, expected: &[&str]| {
            let model = ModelConfig {
                n_heads: 6,
                d_ff: 64,
                ..ModelConfig::default()
            };
            let config = ParallelConfig {
                tensor,
                ..ParallelConfig::default()
            };
            let train = TrainConfig {
                optimizer,
                ..TrainConfig::default()
            };
            let problems = config.problems_with_matrices(&model, &train);
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            for (problem, expected) in problems.iter().zip(expected) {
                assert!(problem.contains(expected), "{problem}, not: {expected}");
            }
        };
        check(1, OptimizerKind::Muon, &[]);
        check(2, OptimizerKind::AdamW, &[]);
        check(2, OptimizerKind::Muon, &["train.optimizer"]);
        check(4, OptimizerKind::AdamW, &["model.n_heads (6)"]);
        check(3, OptimizerKind::AdamW, &["model.d_ff (64)"]);
    }
}

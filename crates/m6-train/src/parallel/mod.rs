//! Many ranks that train one model: who does what in an update (paper section 3.2; ZeRO is Rajbhandari and others 2020).
//!
//! The micro-batches of a global batch are dealt out in turn, rank `r` of `n` taking number `r`, `r + n`, and so on. Every label weighs
//! 1 / labels of the global batch wherever it is, so that gradients are summed, not averaged.

mod agree;
mod conductor;
pub(crate) mod heartbeat;
mod shares;
pub(crate) mod start;
mod team;
mod update;
pub(crate) mod weights_file;

pub(crate) use agree::exchange;
pub use shares::{RankShare, rank_shares};
pub(crate) use team::Team;

use crate::config::TrainConfig;
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
    /// Ranks that share the experts of a layer; only 1 so far.
    pub expert: usize,
    /// Ranks that share each matrix; only 1 so far.
    pub tensor: usize,
    /// What is spread over the ranks: 0 nothing, 1 the moments of the optimizer, 2 gradients as well, 3 weights as well. Ours: 0.
    pub zero: u8,
    /// Sum the gradients micro-batch by micro-batch, so that any number of ranks gives the same bytes; one exchange a micro-batch instead of
    /// one an update. Ours: off.
    pub exact: bool,
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
            clip: ClipBy::Global,
        }
    }
}

impl ParallelConfig {
    /// Every problem of the settings by themselves, one line each.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, n) in [("expert", self.expert), ("tensor", self.tensor)] {
            if n != 1 {
                problems.push(format!(
                    "{key} = {n}: expected 1; {key} parallelism is not built yet, use data and zero"
                ));
            }
        }
        if self.zero > 3 {
            problems.push(format!("zero = {}: expected 0, 1, 2 or 3", self.zero));
        }
        if self.clip == ClipBy::Local && (self.zero > 1 || self.exact) {
            let what = "clip = \"local\": expected zero 0 or 1 and exact off, since a rank clips what it has summed of its own";
            problems.push(what.into());
        }
        problems
    }

    /// Every problem of training so with `n_ranks` processes, one line each.
    pub fn problems_with(&self, train: &TrainConfig, n_ranks: usize) -> Vec<String> {
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
        problems
    }

    /// What of this decides what is learned; `None` for what any number of ranks learns within rounding.
    pub(crate) fn identity(&self) -> Option<serde_json::Value> {
        match (self.exact, self.clip) {
            (false, ClipBy::Global) => None,
            (exact, clip) => Some(serde_json::json!({"exact": exact, "clip": clip})),
        }
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
        check(|c| c.expert = 2, 1, &["expert = 2"]);
        check(|c| c.tensor = 0, 1, &["tensor = 0"]);
        check(|c| c.zero = 4, 1, &["zero = 4"]);
        check(|c| c.zero = 3, 2, &["train.ema"]);
        check(|c| c.zero = 3, 1, &[]);
        let local = |c: &mut ParallelConfig| (c.clip, c.zero) = (ClipBy::Local, 2);
        check(local, 1, &["clip = \"local\""]);
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
    }
}

//! Many ranks that train one model: who does what in an update (paper section 3.2; ZeRO is Rajbhandari and others 2020).
//!
//! The micro-batches of a global batch are dealt out in turn, rank (or group of ranks that share matrices) `r` of `n` taking number `r`, `r + n`, and so on. Every label weighs
//! 1 / labels of the global batch wherever it is, so that gradients are summed, not averaged.

mod agree;
mod alike;
mod conductor;
pub(crate) mod heartbeat;
mod mesh;
mod problems;
mod shares;
pub(crate) mod start;
mod team;
mod update;
pub(crate) mod weights_file;

pub(crate) use agree::exchange;
pub use shares::{RankShare, rank_shares};
pub(crate) use team::Team;

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
    /// Ranks, or groups of `tensor` ranks, that share the micro-batches of a global batch, at most `train.accum`; 0 takes all that were started. Ours: 0.
    pub data: usize,
    /// Neighbouring ranks that share the experts of a layer, each having its part of them; divides the ranks and the experts. Above 1 the moments
    /// are spread as with `zero = 1` at least. Ours: 1.
    pub expert: usize,
    /// Neighbouring ranks that compute the same micro-batches, each with its part of every matrix; divides heads and inner width. Ours: 1.
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
    /// Of `n_ranks`, those, or groups of those that share matrices, that have micro-batches of their own.
    pub fn n_data(&self, n_ranks: usize) -> usize {
        n_ranks / self.tensor.max(1)
    }

    /// What is really spread, where `n_data` ranks have micro-batches of their own: spreading state over one rank is keeping it, and parts of experts
    /// and of matrices have their moments with them.
    pub(crate) fn zero_with(&self, n_data: usize) -> u8 {
        match (n_data, self.expert, self.tensor) {
            (1, _, 0 | 1) => 0,
            (1, _, _) => 1,
            (_, 1, 0 | 1) => self.zero,
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

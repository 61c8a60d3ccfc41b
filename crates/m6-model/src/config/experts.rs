//! Mixture-of-experts layout (paper section 2.5).

use m6_nn::ops::{Renormalize, RouteOptions, SecondChoice, capacity};
use serde::{Deserialize, Serialize};

/// Mixture-of-experts layout (paper section 2.5). Where the paper is silent the defaults are ours; nearest evidence is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExpertsConfig {
    /// Experts per expert layer; 1 (default) is a dense model.
    pub n_experts: usize,
    /// Experts a token goes to inside each prototype. Default 1.
    pub top_k: usize,
    /// Groups of experts that route on their own and whose outputs are summed (M6-T). Default 1.
    pub prototypes: usize,
    /// Room of an expert relative to an even share of the tokens, in training. Default 1.25.
    pub capacity_factor: f64,
    /// The same for the held-out loss. Default 2.0. Generation, scoring and the heads drop nothing.
    pub capacity_factor_eval: f64,
    /// Every n-th block has experts in place of its feed-forward layer. Default 2 (gives the paper's 100 B).
    pub moe_every: usize,
    /// Weight of the load-balancing loss; 0 switches it off. Default 0.01.
    pub aux_loss_weight: f64,
    /// Weight of the router's z loss; 0 (default) switches it off.
    pub z_loss_weight: f64,
    /// Least room of an expert in tokens. Default 4 (ours; FastNN's and lucidrains').
    #[serde(skip_serializing_if = "is_default_min_capacity")]
    pub min_capacity: usize,
    /// Room is rounded up to a multiple of this. Default 1 (ours; FastNN takes 4 for top-2).
    #[serde(skip_serializing_if = "is_one")]
    pub capacity_multiple: usize,
    /// No expert refuses a token, in training too: capacity plays no part. Default false.
    #[serde(skip_serializing_if = "is_false")]
    pub dropless: bool,
    /// In training the router reads its input times factors between 1 - jitter and 1 + jitter, in [0, 1). Default 0 (Switch takes 0.01).
    #[serde(skip_serializing_if = "is_zero")]
    pub jitter: f64,
    /// Which choices after the first one are made, with `top_k` of 2 or more. Default all.
    #[serde(skip_serializing_if = "is_default")]
    pub second_policy: SecondPolicy,
    /// What the policies `threshold` and `random` compare a choice's share of the token's gates with, above 0. Default 0.5 (FastNN's).
    #[serde(skip_serializing_if = "is_default_threshold")]
    pub second_threshold: f64,
    /// What the gates of a token are divided by, with `top_k` of 2 or more; a lone choice keeps its probability. Default kept.
    #[serde(skip_serializing_if = "is_default")]
    pub renormalize: RenormalizeGates,
}

/// Which choices after the first one are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondPolicy {
    /// All.
    #[default]
    All,
    /// None.
    None,
    /// Those whose share is above `second_threshold`.
    Threshold,
    /// In training with probability share / `second_threshold`; elsewhere all.
    Random,
}

/// What the gates of a token's choices are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RenormalizeGates {
    /// The sum over the choices that reach their experts (DeepSpeed, FastNN).
    #[default]
    Kept,
    /// The sum over all choices, dropped ones included (lucidrains' mixture-of-experts).
    Chosen,
    /// Nothing: gates are probabilities.
    None,
}

const MIN_CAPACITY: usize = 4;
const SECOND_THRESHOLD: f64 = 0.5;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_default_min_capacity(value: &usize) -> bool {
    *value == MIN_CAPACITY
}

fn is_default_threshold(value: &f64) -> bool {
    *value == SECOND_THRESHOLD
}

fn is_one(value: &usize) -> bool {
    *value == 1
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl Default for ExpertsConfig {
    fn default() -> Self {
        Self {
            n_experts: 1,
            top_k: 1,
            prototypes: 1,
            capacity_factor: 1.25,
            capacity_factor_eval: 2.0,
            moe_every: 2,
            aux_loss_weight: 0.01,
            z_loss_weight: 0.0,
            min_capacity: MIN_CAPACITY,
            capacity_multiple: 1,
            dropless: false,
            jitter: 0.0,
            second_policy: SecondPolicy::All,
            second_threshold: SECOND_THRESHOLD,
            renormalize: RenormalizeGates::Kept,
        }
    }
}

/// How much room experts have in a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// As much as is asked for.
    Unlimited,
    /// By `capacity_factor`.
    Train,
    /// By `capacity_factor_eval`.
    Eval,
}

impl ExpertsConfig {
    /// Whether block `layer` (from 0) has experts in place of its feed-forward layer.
    pub fn is_expert_layer(&self, layer: usize) -> bool {
        self.n_experts > 1 && self.moe_every > 0 && (layer + 1).is_multiple_of(self.moe_every)
    }

    /// Experts of one token in a layer, all prototypes together.
    pub fn n_choices(&self) -> usize {
        self.top_k * self.prototypes
    }

    /// How `n_tokens` are routed; `draw` is the key of a random second policy, there in training alone.
    pub(crate) fn route_options(
        &self,
        n_tokens: usize,
        room: Room,
        draw: Option<u64>,
    ) -> RouteOptions {
        let factor = match room {
            Room::Unlimited => None,
            _ if self.dropless => None,
            Room::Train => Some(self.capacity_factor),
            Room::Eval => Some(self.capacity_factor_eval),
        };
        let (e, choices) = (self.n_experts, self.n_choices());
        let limit = |factor| {
            let (least, multiple) = (self.min_capacity, self.capacity_multiple);
            capacity(n_tokens, e, choices, factor, least, multiple)
        };
        RouteOptions {
            top_k: self.top_k,
            prototypes: self.prototypes,
            capacity: factor.map(limit),
            renormalize: match self.renormalize {
                RenormalizeGates::Kept => Renormalize::Kept,
                RenormalizeGates::Chosen => Renormalize::Chosen,
                RenormalizeGates::None => Renormalize::None,
            },
            second: match (self.second_policy, draw) {
                (SecondPolicy::Random, Some(key)) => SecondChoice::Random {
                    threshold: self.second_threshold,
                    key,
                },
                (SecondPolicy::All | SecondPolicy::Random, _) => SecondChoice::All,
                (SecondPolicy::None, _) => SecondChoice::None,
                (SecondPolicy::Threshold, _) => SecondChoice::Above(self.second_threshold),
            },
        }
    }

    pub(super) fn problems(&self, out: &mut Vec<String>) {
        if self.n_experts == 0 || self.top_k == 0 || self.prototypes == 0 || self.moe_every == 0 {
            out.push(format!(
                "experts: n_experts {}, top_k {}, prototypes {} and moe_every {} must all be 1 or more",
                self.n_experts, self.top_k, self.prototypes, self.moe_every
            ));
            return;
        }
        if self.n_experts > 1 << 20 {
            out.push(format!(
                "experts.n_experts = {} must be at most {}",
                self.n_experts,
                1 << 20
            ));
        }
        if !self.n_experts.is_multiple_of(self.prototypes) {
            out.push(format!(
                "experts.n_experts = {} cannot be split into experts.prototypes = {} equal groups",
                self.n_experts, self.prototypes
            ));
        } else if self.top_k > self.n_experts / self.prototypes {
            out.push(format!(
                "experts.top_k = {} is more than the {} experts of a group",
                self.top_k,
                self.n_experts / self.prototypes
            ));
        }
        if self.capacity_multiple == 0 {
            out.push("experts.capacity_multiple = 0 must be 1 or more".into());
        }
        for (name, x) in [
            ("capacity_factor", self.capacity_factor),
            ("capacity_factor_eval", self.capacity_factor_eval),
            ("second_threshold", self.second_threshold),
        ] {
            if !(x.is_finite() && x > 0.0) {
                out.push(format!("experts.{name} = {x} must be a number above 0"));
            }
        }
        for (name, x) in [
            ("aux_loss_weight", self.aux_loss_weight),
            ("z_loss_weight", self.z_loss_weight),
        ] {
            if !(x.is_finite() && x >= 0.0) {
                out.push(format!("experts.{name} = {x} must be 0 or more"));
            }
        }
        if !(0.0..1.0).contains(&self.jitter) {
            out.push(format!(
                "experts.jitter = {} must be at least 0 and below 1",
                self.jitter
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_follows_the_pass_and_counts_every_choice() {
        let cfg = ExpertsConfig {
            n_experts: 8,
            prototypes: 2,
            ..ExpertsConfig::default()
        };
        let room = |room| cfg.route_options(100, room, None).capacity;
        // 100 tokens with 2 choices among 8 experts: 25 each when even.
        assert_eq!(room(Room::Train), Some(32));
        assert_eq!(room(Room::Eval), Some(50));
        assert_eq!(room(Room::Unlimited), None);
        let dropless = ExpertsConfig {
            dropless: true,
            ..cfg
        };
        assert_eq!(
            dropless.route_options(100, Room::Train, None).capacity,
            None
        );
    }

    #[test]
    fn a_random_policy_is_random_with_a_key_alone() {
        let cfg = ExpertsConfig {
            n_experts: 4,
            top_k: 2,
            second_policy: SecondPolicy::Random,
            ..ExpertsConfig::default()
        };
        let second = |draw| cfg.route_options(9, Room::Train, draw).second;
        assert_eq!(second(None), SecondChoice::All);
        assert_eq!(
            second(Some(3)),
            SecondChoice::Random {
                threshold: 0.5,
                key: 3
            }
        );
    }

    #[test]
    fn a_configuration_from_before_these_settings_is_written_as_it_was() {
        let cfg = ExpertsConfig {
            n_experts: 4,
            ..ExpertsConfig::default()
        };
        let text = serde_json::to_string(&cfg).expect("serialises");
        assert!(
            !text.contains("min_capacity") && !text.contains("jitter"),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<ExpertsConfig>(&text).expect("parses"),
            cfg
        );
    }
}

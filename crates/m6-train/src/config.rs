//! The settings of the optimisation and of what a run keeps and shows of itself.
//!
//! The paper gives no batch size, learning rate, schedule or number of steps, so every default here is ours.

use crate::schedule::{Schedule, ScheduleKind};
use m6_nn::optimizer::Rule;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The rule of the updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// AdamW for everything.
    #[default]
    AdamW,
    /// Muon for the hidden matrices, AdamW for tables, norms and biases; both with the same learning rate.
    Muon,
    /// AdamW with both moments in 8 bits for everything of at least 4,096 values, in full below.
    AdamW8,
    /// Adafactor for everything: without momentum, `betas` or `eps`.
    Adafactor,
}

impl OptimizerKind {
    /// The rule of a parameter; `hidden` names the matrices between vectors.
    pub(crate) fn rule(self, name: &str, hidden: &BTreeSet<String>) -> Rule {
        match self {
            Self::Muon if hidden.contains(name) => Rule::Muon,
            Self::AdamW | Self::Muon => Rule::AdamW,
            Self::AdamW8 => Rule::AdamW8,
            Self::Adafactor => Rule::Adafactor,
        }
    }
}

/// What decides which checkpoint is the best, and when a run has stopped getting better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BestBy {
    /// The loss on held-out rows, over all trained tasks.
    #[default]
    Loss,
    /// What the task is scored by: the model answers `eval_rows` held-out questions at every evaluation.
    Score,
}

/// Settings of a training run (section `[train]` of a configuration).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Updates of the whole run. Ours: 1000.
    pub steps: u64,
    /// Rows of the global batch, over all micro-batches and ranks. Ours: 8.
    pub rows_per_batch: usize,
    /// Micro-batches the global batch is cut into; more of them need less memory. Ours: 1.
    pub accum: usize,
    /// Highest learning rate. Ours: 3e-4.
    pub lr: f64,
    /// Learning rate of the last update as a share of `lr`, 0 to 1. Ours: 0.1.
    pub min_lr_ratio: f64,
    /// Updates over which the learning rate rises linearly. Ours: 100.
    pub warmup_steps: u64,
    /// Form of the decay after the warm-up: `cosine`, `linear` or `constant`. Ours: cosine.
    pub schedule: ScheduleKind,
    /// Rule of the updates: `adamw`; `muon` for the hidden matrices, which learns as much in about half the updates where the batch
    /// is large enough (docs/benchmarks.md); `adamw8`, moments in a quarter of the memory; `adafactor`, hardly any (docs/scale.md).
    /// Ours: adamw.
    pub optimizer: OptimizerKind,
    /// Decay rate of Muon's momentum. Ours: 0.95.
    pub momentum: f64,
    /// Decoupled weight decay; not on biases, norms and embeddings. Ours: 0.01.
    pub weight_decay: f64,
    /// Decay rates of the two moments of AdamW, in 8 bits or not. Ours: 0.9 and 0.98.
    pub betas: [f64; 2],
    /// Denominator term of AdamW, in 8 bits or not. Ours: 1e-8.
    pub eps: f64,
    /// Largest global gradient norm, 0 for no clipping. Ours: 1.
    pub grad_clip: f64,
    /// Label smoothing of the training loss, 0 to below 1; the losses reported are unsmoothed. Ours: 0.
    pub label_smoothing: f32,
    /// Recompute each block in the backward pass instead of keeping its activations. Ours: off.
    pub activation_checkpointing: bool,
    /// Update each block as soon as the backward pass is done with it: gradients of one block exist at a time, and each block's are clipped by their
    /// own norm. Needs `accum = 1`. Ours: off.
    pub blockwise: bool,
    /// Keep the moments of the optimizer in a file of the run folder between updates, those of one parameter at a time in memory; every number stays what
    /// it is. Ours: off.
    pub offload_moments: bool,
    /// Seed of weights, order of the data, noise and dropout. Ours: 0.
    pub seed: u64,
    /// Updates between evaluations on held-out rows, 0 for never; the last update is always evaluated then. Ours: 200.
    pub eval_every: u64,
    /// Held-out rows per task. Ours: 32.
    pub eval_rows: usize,
    /// Updates between checkpoints, 0 for only the last. Ours: 200.
    pub checkpoint_every: u64,
    /// Checkpoints kept, at least 2. Ours: 2.
    pub keep: usize,
    /// Updates between samples, 0 for never. Ours: 0.
    pub sample_every: u64,
    /// Updates between points in the TensorBoard file; `metrics.jsonl` has every update. Ours: 10.
    pub log_every: u64,
    /// Skip an update whose gradient norm exceeds this many times the running median, 0 for off. Ours: off.
    pub spike_factor: f64,
    /// Decay of the moving average of the weights, 0 for none; with it, evaluation, samples and export use the average. Ours: off.
    pub ema: f64,
    /// What each layer's learning rate is multiplied by for every layer above it: 1 for the last norm and the heads, the power n + 1 for the
    /// tables and patch network below n blocks; above 0, at most 1 (off). Ours: off.
    pub layer_decay: f64,
    /// Share of the samples dropped from each branch of the last block, less below in proportion (stochastic depth); 0 to below 1. Ours: off.
    pub drop_path: f32,
    /// Parameters that keep their values, by name or by the beginning of one up to a dot: `embed`, `patches`, `blocks.0`. Ours: none.
    pub freeze: Vec<String>,
    /// Keep the checkpoint with the best held-out score besides the newest ones, and take it where the run is named as a model. Ours: off.
    pub keep_best: bool,
    /// Stop after so many evaluations in a row without a better held-out score, and keep the best; 0 never stops early. Ours: 0.
    pub patience: u64,
    /// What `keep_best` and `patience` go by: `loss` on held-out rows, or the `score` of the task that `m6 finetune` names. Ours: loss.
    pub best_by: BestBy,
    /// Mirror pictures at random. Ours: off, since captions may name left and right.
    pub flip: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 1000,
            rows_per_batch: 8,
            accum: 1,
            lr: 3e-4,
            min_lr_ratio: 0.1,
            warmup_steps: 100,
            schedule: ScheduleKind::Cosine,
            optimizer: OptimizerKind::AdamW,
            momentum: 0.95,
            weight_decay: 0.01,
            betas: [0.9, 0.98],
            eps: 1e-8,
            grad_clip: 1.0,
            label_smoothing: 0.0,
            activation_checkpointing: false,
            blockwise: false,
            offload_moments: false,
            seed: 0,
            eval_every: 200,
            eval_rows: 32,
            checkpoint_every: 200,
            keep: 2,
            sample_every: 0,
            log_every: 10,
            spike_factor: 0.0,
            ema: 0.0,
            layer_decay: 1.0,
            drop_path: 0.0,
            freeze: Vec::new(),
            keep_best: false,
            patience: 0,
            best_by: BestBy::Loss,
            flip: false,
        }
    }
}

/// Settings that may differ when a run is resumed: they change what is kept and shown, not what is learned.
const FREE_ON_RESUME: [&str; 6] = [
    "offload_moments",
    "checkpoint_every",
    "keep",
    "keep_best",
    "sample_every",
    "log_every",
];
/// The same, unless they decide when the run ends.
const FREE_WITHOUT_PATIENCE: [&str; 2] = ["eval_every", "eval_rows"];
/// Settings that came later; left out where they are off, so that runs from before go on.
const LATER: [&str; 6] = [
    "layer_decay",
    "drop_path",
    "freeze",
    "patience",
    "best_by",
    "blockwise",
];

/// Lines that say what cannot be trained.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn check(&mut self, sound: bool, problem: String) {
        if !sound {
            self.0.push(problem);
        }
    }
}

impl TrainConfig {
    /// Every problem of the settings at once, one line each; empty when they can be trained.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Problems::default();
        self.check_length(&mut problems);
        self.check_update(&mut problems);
        self.check_keeping(&mut problems);
        problems.0
    }

    /// How long, how much at once, how fast.
    fn check_length(&self, problems: &mut Problems) {
        problems.check(self.steps > 0, "steps = 0: expected at least 1".into());
        problems.check(
            self.rows_per_batch > 0,
            "rows_per_batch = 0: expected at least 1".into(),
        );
        problems.check(
            self.accum > 0 && self.accum <= self.rows_per_batch.max(1),
            format!(
                "accum = {}: expected 1 to rows_per_batch ({}), since every micro-batch needs a row",
                self.accum, self.rows_per_batch
            ),
        );
        problems.check(
            self.lr.is_finite() && self.lr > 0.0,
            format!("lr = {}: expected above 0", self.lr),
        );
        problems.check(
            (0.0..=1.0).contains(&self.min_lr_ratio),
            format!("min_lr_ratio = {}: expected 0 to 1", self.min_lr_ratio),
        );
        problems.check(
            self.warmup_steps <= self.steps,
            format!(
                "warmup_steps = {}: expected at most steps ({})",
                self.warmup_steps, self.steps
            ),
        );
    }

    /// The rule of an update, and what regularises it.
    fn check_update(&self, problems: &mut Problems) {
        let share = 0.0..1.0;
        problems.check(
            self.weight_decay.is_finite() && self.weight_decay >= 0.0,
            format!("weight_decay = {}: expected 0 or more", self.weight_decay),
        );
        problems.check(
            self.betas.iter().all(|beta| share.contains(beta)),
            format!(
                "betas = {:?}: expected two values from 0 to below 1",
                self.betas
            ),
        );
        problems.check(
            share.contains(&self.momentum),
            format!("momentum = {}: expected 0 to below 1", self.momentum),
        );
        problems.check(
            self.eps.is_finite() && self.eps > 0.0,
            format!("eps = {}: expected above 0", self.eps),
        );
        problems.check(
            self.grad_clip.is_finite() && self.grad_clip >= 0.0,
            format!("grad_clip = {}: expected 0 (off) or more", self.grad_clip),
        );
        problems.check(
            !self.blockwise || (self.accum == 1 && self.spike_factor == 0.0),
            format!(
                "blockwise: expected accum = 1 (it is {}) and spike_factor = 0 (it is {}), since blocks are updated before the whole gradient is known",
                self.accum, self.spike_factor
            ),
        );
        problems.check(
            (0.0..1.0).contains(&self.label_smoothing),
            format!(
                "label_smoothing = {}: expected 0 to below 1",
                self.label_smoothing
            ),
        );
        problems.check(
            self.layer_decay > 0.0 && self.layer_decay <= 1.0,
            format!(
                "layer_decay = {}: expected above 0, at most 1 (off)",
                self.layer_decay
            ),
        );
        problems.check(
            (0.0..1.0).contains(&self.drop_path),
            format!(
                "drop_path = {}: expected 0 (off) to below 1",
                self.drop_path
            ),
        );
    }

    /// What is kept, shown, guarded and averaged.
    fn check_keeping(&self, problems: &mut Problems) {
        let share = 0.0..1.0;
        problems.check(
            self.keep >= 2,
            format!("keep = {}: expected at least 2 checkpoints", self.keep),
        );
        problems.check(
            self.log_every > 0,
            "log_every = 0: expected at least 1".into(),
        );
        problems.check(
            self.spike_factor == 0.0 || (self.spike_factor.is_finite() && self.spike_factor > 1.0),
            format!(
                "spike_factor = {}: expected 0 (off) or above 1",
                self.spike_factor
            ),
        );
        problems.check(
            share.contains(&self.ema),
            format!("ema = {}: expected 0 (off) to below 1", self.ema),
        );
        problems.check(
            !self.keeps_best() || self.eval_every > 0,
            "eval_every = 0: keep_best and patience need evaluations".into(),
        );
    }

    /// Whether the checkpoint with the best held-out score is kept.
    pub fn keeps_best(&self) -> bool {
        self.keep_best || self.patience > 0
    }

    /// The learning rate over the run.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            kind: self.schedule,
            lr: self.lr,
            min_lr_ratio: self.min_lr_ratio,
            warmup_steps: self.warmup_steps,
            steps: self.steps,
        }
    }

    /// The settings that decide what is learned, as JSON; two runs may continue each other only when these agree.
    pub fn identity(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).expect("plain numbers and strings serialise");
        let keys = value.as_object_mut().expect("a struct is an object");
        for key in FREE_ON_RESUME {
            keys.remove(key);
        }
        if self.patience == 0 {
            for key in FREE_WITHOUT_PATIENCE {
                keys.remove(key);
            }
        }
        let off = serde_json::to_value(Self::default()).expect("as above");
        for key in LATER {
            if keys.get(key) == off.get(key) {
                keys.remove(key);
            }
        }
        if self.schedule == ScheduleKind::Constant {
            // Without a decay the number of steps does not reach the learning rate: such a run may be prolonged.
            keys.remove("steps");
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound() {
        assert_eq!(TrainConfig::default().validate(), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let config = TrainConfig {
            steps: 0,
            accum: 9,
            lr: f64::NAN,
            betas: [0.9, 1.0],
            keep: 1,
            spike_factor: 0.5,
            warmup_steps: 3,
            ..TrainConfig::default()
        };
        let problems = config.validate();
        for key in [
            "steps",
            "accum",
            "lr",
            "betas",
            "keep",
            "spike_factor",
            "warmup_steps",
        ] {
            assert!(
                problems.iter().any(|p| p.starts_with(key)),
                "{key} missing in {problems:?}"
            );
        }
        assert_eq!(problems.len(), 7);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<TrainConfig>("learning_rate = 0.1")
            .unwrap_err()
            .to_string();
        assert!(error.contains("learning_rate"), "{error}");
    }

    #[test]
    fn optimizers_have_the_names_of_the_plan() {
        for name in ["adamw", "muon", "adamw8", "adafactor"] {
            let text = format!("optimizer = \"{name}\"\n");
            let config: TrainConfig = toml::from_str(&text).unwrap();
            assert!(toml::to_string(&config).unwrap().contains(&text));
        }
    }

    #[test]
    fn a_config_survives_toml() {
        let config = TrainConfig {
            schedule: ScheduleKind::Linear,
            ema: 0.99,
            ..TrainConfig::default()
        };
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<TrainConfig>(&text).unwrap(), config);
    }

    #[test]
    fn identity_ignores_what_is_only_shown() {
        let config = TrainConfig::default();
        let shown = TrainConfig {
            keep: 5,
            sample_every: 7,
            eval_rows: 1,
            ..config.clone()
        };
        assert_eq!(config.identity(), shown.identity());
        let patient = |eval_rows| TrainConfig {
            patience: 3,
            eval_rows,
            ..config.clone()
        };
        assert_ne!(patient(1).identity(), patient(2).identity());
        for key in LATER {
            assert!(config.identity().get(key).is_none(), "{key}");
        }
        let learned = TrainConfig {
            lr: 1.0,
            ..config.clone()
        };
        assert_ne!(config.identity(), learned.identity());
        let longer = TrainConfig {
            steps: 2000,
            ..config.clone()
        };
        assert_ne!(config.identity(), longer.identity());
        let constant = TrainConfig {
            schedule: ScheduleKind::Constant,
            ..config
        };
        let prolonged = TrainConfig {
            steps: 2000,
            ..constant.clone()
        };
        assert_eq!(constant.identity(), prolonged.identity());
    }
}

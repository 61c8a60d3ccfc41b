//! What a model is: sizes, patch network, experts. Pure data; nothing here allocates a tensor.

mod codes;
mod experts;
mod heads;
mod lora;
mod patches;

pub use codes::CodesConfig;
pub(crate) use experts::Room;
pub use experts::{ExpertsConfig, RenormalizeGates, SecondPolicy};
pub use heads::HeadsConfig;
pub use lora::{AdapterSite, LoraConfig};
pub use patches::{PatchConfig, PatchKind, PatchScope};

use serde::{Deserialize, Serialize};

/// Shape of a model; the default is M6-base (paper section 2.4) with the paper's ResNet-50 patches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Entries of the word table, 2 or more. Default 21,128 (Chinese BERT; paper section 2).
    pub vocab_size: usize,
    /// Width of the residual stream, a multiple of `n_heads`. Default 1024.
    pub d_model: usize,
    /// Number of blocks, 1 or more. Default 24.
    pub n_layers: usize,
    /// Blocks with weights of their own: block `i` computes with those of block `i` modulo this. 0: every block has its own. The pseudo stage of
    /// M6-10T's Pseudo-to-Real shares one set (paper section 5.2). Default 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub distinct_layers: usize,
    /// Attention heads of a block. Default 16.
    pub n_heads: usize,
    /// Width inside the feed-forward layer. Default 4096 (4 x d_model by convention).
    pub d_ff: usize,
    /// Rows of the text position table: the longest source or target text. Default 512 (ours).
    pub max_len: usize,
    /// Dropout on the embedding and on each residual branch, in [0, 1). Default 0.1 (nearest evidence: the team's
    /// baselines).
    pub dropout: f32,
    /// Whether the output layer is the word table (paper section 2). Default true.
    pub tie_embeddings: bool,
    /// Epsilon of every layer norm, above 0. Default 1e-5 (ours).
    pub ln_eps: f64,
    /// How pictures become a sequence of vectors.
    pub patches: PatchConfig,
    /// Mixture-of-experts layout; one expert is a dense model.
    pub experts: ExpertsConfig,
    /// Image codes; a model without them is written as before there were any.
    #[serde(skip_serializing_if = "CodesConfig::is_none")]
    pub codes: CodesConfig,
    /// Heads for matching and retrieval; written only where there are some.
    #[serde(skip_serializing_if = "HeadsConfig::is_none")]
    pub heads: HeadsConfig,
    /// Adapters for finetuning; written only where there are some.
    #[serde(skip_serializing_if = "LoraConfig::is_none")]
    pub lora: LoraConfig,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            vocab_size: 21_128,
            d_model: 1024,
            n_layers: 24,
            distinct_layers: 0,
            n_heads: 16,
            d_ff: 4096,
            max_len: 512,
            dropout: 0.1,
            tie_embeddings: true,
            ln_eps: 1e-5,
            patches: PatchConfig::default(),
            experts: ExpertsConfig::default(),
            codes: CodesConfig::default(),
            heads: HeadsConfig::default(),
            lora: LoraConfig::default(),
        }
    }
}

impl ModelConfig {
    /// Rows of the word table and of the head: the words and, in a joint vocabulary, the codes behind them.
    pub fn n_table(&self) -> usize {
        self.vocab_size + self.codes.n_joint()
    }

    /// Width of one attention head, `d_model / n_heads` (0 when there are no heads).
    pub fn d_head(&self) -> usize {
        self.d_model.checked_div(self.n_heads).unwrap_or(0)
    }

    /// How many blocks have weights of their own.
    pub fn n_distinct(&self) -> usize {
        match self.distinct_layers {
            0 => self.n_layers,
            n => n,
        }
    }

    /// The block whose weights block `layer` computes with.
    pub fn weights_of(&self, layer: usize) -> usize {
        layer % self.n_distinct().max(1)
    }

    /// Every problem of this configuration, one sentence each; empty when it can be built.
    pub fn validate(&self) -> Vec<String> {
        let mut out = Vec::new();
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("n_layers", self.n_layers),
            ("n_heads", self.n_heads),
            ("d_ff", self.d_ff),
            ("max_len", self.max_len),
        ];
        for (name, n) in sizes {
            if n == 0 || n > 1 << 24 {
                out.push(format!("{name} = {n} must be between 1 and {}", 1 << 24));
            }
        }
        if self.n_heads > 0 && !self.d_model.is_multiple_of(self.n_heads) {
            out.push(format!(
                "d_model = {} is not a multiple of n_heads = {}; choose for example {}",
                self.d_model,
                self.n_heads,
                self.d_model.div_ceil(self.n_heads) * self.n_heads
            ));
        }
        let unlike = |&i: &usize| {
            let of = |layer| self.experts.is_expert_layer(layer);
            of(i) != of(self.weights_of(i))
        };
        if self.distinct_layers > self.n_layers {
            out.push(format!(
                "distinct_layers = {} must be at most n_layers = {}, or 0 for all",
                self.distinct_layers, self.n_layers
            ));
        } else if let Some(i) = (0..self.n_layers.min(1 << 24)).find(unlike) {
            out.push(format!(
                "distinct_layers = {}: blocks {i} and {} would share weights, and only one of them has experts; choose a multiple of experts.moe_every = {}",
                self.distinct_layers,
                self.weights_of(i),
                self.experts.moe_every
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            out.push(format!(
                "dropout = {} must be at least 0 and below 1",
                self.dropout
            ));
        }
        if !(self.ln_eps.is_finite() && self.ln_eps > 0.0) {
            out.push(format!(
                "ln_eps = {} must be a small number above 0",
                self.ln_eps
            ));
        }
        self.patches.problems(&mut out);
        self.experts.problems(&mut out);
        self.codes.problems(&mut out);
        self.heads.problems(&mut out);
        self.lora.problems(self.d_model, &mut out);
        if !self.lora.is_none() && self.experts.n_experts > 1 {
            out.push("lora.rank: adapters of experts are not there; set lora.rank = 0".into());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_valid_and_survives_json() {
        let cfg = ModelConfig::default();
        assert_eq!(cfg.validate(), Vec::<String>::new());
        let text = serde_json::to_string(&cfg).expect("serialises");
        assert_eq!(
            serde_json::from_str::<ModelConfig>(&text).expect("parses"),
            cfg
        );
        assert_eq!(
            serde_json::from_str::<ModelConfig>("{}").expect("parses"),
            cfg
        );
    }

    #[test]
    fn unknown_key_is_refused() {
        assert!(serde_json::from_str::<ModelConfig>(r#"{"d_modle": 3}"#).is_err());
        assert!(
            serde_json::from_str::<ModelConfig>(r#"{"patches": {"kind": "resnet51"}}"#).is_err()
        );
    }

    #[test]
    fn every_problem_comes_at_once() {
        let cfg = ModelConfig {
            d_model: 10,
            n_heads: 3,
            dropout: 1.0,
            ln_eps: f64::NAN,
            patches: PatchConfig {
                image_side: 30,
                grid: 4,
                ..PatchConfig::default()
            },
            experts: ExpertsConfig {
                n_experts: 4,
                top_k: 5,
                ..ExpertsConfig::default()
            },
            ..ModelConfig::default()
        };
        let found = cfg.validate();
        for word in ["n_heads", "dropout", "ln_eps", "image_side", "top_k"] {
            assert!(
                found.iter().any(|p| p.contains(word)),
                "no problem names {word}: {found:?}"
            );
        }
        assert_eq!(found.len(), 5, "{found:?}");
    }
}

//! Adapters of low rank (LoRA, Hu and others 2021; ours: the paper finetunes every weight).

use serde::{Deserialize, Serialize};

/// A matrix of every block that may have an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AdapterSite {
    /// Queries, keys and values, one matrix.
    #[serde(rename = "attn.qkv")]
    Qkv,
    /// What attention gives.
    #[serde(rename = "attn.out")]
    Out,
    /// Into the feed-forward layer.
    #[serde(rename = "ffn.up")]
    Up,
    /// Out of it.
    #[serde(rename = "ffn.down")]
    Down,
}

impl AdapterSite {
    /// Its name inside a block.
    pub fn name(self) -> &'static str {
        match self {
            AdapterSite::Qkv => "attn.qkv",
            AdapterSite::Out => "attn.out",
            AdapterSite::Up => "ffn.up",
            AdapterSite::Down => "ffn.down",
        }
    }
}

/// `y = W x + alpha / rank * B A x` in place of `y = W x`, of which only `A` and `B` learn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Rows of `A` and columns of `B`; 0 (default) is a model without adapters.
    pub rank: usize,
    /// Weight of the adapters before it is divided by the rank. Default 16 (ours).
    pub alpha: f64,
    /// Which matrices have one. Default all four of a block (ours).
    pub on: Vec<AdapterSite>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        use AdapterSite::{Down, Out, Qkv, Up};
        Self {
            rank: 0,
            alpha: 16.0,
            on: vec![Qkv, Out, Up, Down],
        }
    }
}

impl LoraConfig {
    /// Whether the model has no adapters.
    pub fn is_none(&self) -> bool {
        self.rank == 0
    }

    /// What `B A x` is multiplied by.
    pub fn scale(&self) -> f32 {
        (self.alpha / self.rank.max(1) as f64) as f32
    }

    /// Adds every problem of this part of the configuration.
    pub(super) fn problems(&self, d_model: usize, out: &mut Vec<String>) {
        if self.is_none() {
            return;
        }
        if self.rank > d_model {
            out.push(format!(
                "lora.rank = {} must be at most d_model ({d_model}); a usual one is 8",
                self.rank
            ));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            out.push(format!("lora.alpha = {} must be above 0", self.alpha));
        }
        let mut sites = self.on.clone();
        sites.sort();
        sites.dedup();
        if self.on.is_empty() || sites.len() != self.on.len() {
            out.push(
                "lora.on must name at least one of attn.qkv, attn.out, ffn.up, ffn.down, each once"
                    .into(),
            );
        }
    }
}

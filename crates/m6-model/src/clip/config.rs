//! Sizes of both towers, as `config.json` names them; what it leaves out has the values of `transformers`.

use crate::error::{Error, Result};
use serde::Deserialize;

/// Name of the file.
const FILE: &str = "config.json";
/// Largest size of anything; a guard for products of sizes.
const MOST: usize = 1 << 20;

/// Both towers and the space they share.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct ClipConfig {
    pub model_type: String,
    pub projection_dim: usize,
    pub text_config: TextConfig,
    pub vision_config: VisionConfig,
}

/// The BERT.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct TextConfig {
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub hidden_act: Activation,
    pub layer_norm_eps: f64,
}

/// The vision transformer.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(super) struct VisionConfig {
    pub image_size: usize,
    pub patch_size: usize,
    pub num_channels: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub hidden_act: Activation,
    pub layer_norm_eps: f64,
}

/// The activation between the two layers of a block's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Activation {
    /// `x * Phi(x)`.
    Gelu,
    /// `x * sigmoid(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            projection_dim: 512,
            text_config: TextConfig::default(),
            vision_config: VisionConfig::default(),
        }
    }
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
        }
    }
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            image_size: 224,
            patch_size: 32,
            num_channels: 3,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

impl ClipConfig {
    /// Reads and checks it.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let cfg: Self = serde_json::from_slice(bytes).map_err(|error| Error::clip(FILE, error))?;
        let problems = cfg.problems();
        if problems.is_empty() {
            return Ok(cfg);
        }
        Err(Error::clip(FILE, problems.join("; ")))
    }

    fn problems(&self) -> Vec<String> {
        let mut out = Vec::new();
        if !matches!(self.model_type.as_str(), "" | "chinese_clip") {
            let found = &self.model_type;
            out.push(format!(
                "model_type is {found:?}, expected \"chinese_clip\""
            ));
        }
        let (text, vision) = (&self.text_config, &self.vision_config);
        let sizes = [
            ("projection_dim", self.projection_dim),
            ("text_config.vocab_size", text.vocab_size),
            ("text_config.type_vocab_size", text.type_vocab_size),
            ("text_config.hidden_size", text.hidden_size),
            ("text_config.intermediate_size", text.intermediate_size),
            ("vision_config.image_size", vision.image_size),
            ("vision_config.patch_size", vision.patch_size),
            ("vision_config.hidden_size", vision.hidden_size),
            ("vision_config.intermediate_size", vision.intermediate_size),
        ];
        for (name, size) in sizes {
            if !(1..=MOST).contains(&size) {
                out.push(format!("{name} is {size}, expected 1 to {MOST}"));
            }
        }
        let n_positions = text.max_position_embeddings;
        if !(3..=MOST).contains(&n_positions) {
            out.push(format!(
                "text_config.max_position_embeddings is {n_positions}, expected 3 to {MOST}"
            ));
        }
        for (tower, width, n_heads, eps) in [
            (
                "text_config",
                text.hidden_size,
                text.num_attention_heads,
                text.layer_norm_eps,
            ),
            (
                "vision_config",
                vision.hidden_size,
                vision.num_attention_heads,
                vision.layer_norm_eps,
            ),
        ] {
            if n_heads == 0 || !width.is_multiple_of(n_heads) {
                out.push(format!(
                    "{tower}.num_attention_heads is {n_heads}, which does not divide the hidden_size {width}"
                ));
            }
            if !(eps > 0.0 && eps < 1.0) {
                out.push(format!(
                    "{tower}.layer_norm_eps is {eps}, expected above 0 and below 1"
                ));
            }
        }
        if vision.num_channels != 3 {
            let n = vision.num_channels;
            out.push(format!("vision_config.num_channels is {n}, expected 3"));
        }
        if vision.patch_size > vision.image_size {
            out.push(format!(
                "vision_config.patch_size is {}, more than the image_size {}",
                vision.patch_size, vision.image_size
            ));
        }
        out
    }
}

impl VisionConfig {
    /// Patches of a picture; what does not fill one is left out.
    pub fn n_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }
}

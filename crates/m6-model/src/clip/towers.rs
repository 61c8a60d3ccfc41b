//! The two towers, each from its input to the common space.

use super::config::{ClipConfig, TextConfig, VisionConfig};
use super::layers::{Attention, AttentionNames, Linear, Network, Norm, all_see_all};
use super::weights::Weights;
use crate::error;
use m6_nn::{Param, Result, Spans, Tensor, ops};
use std::sync::Arc;

/// BERT: embeddings, blocks that normalise behind each sum, the first token's vector.
pub(super) struct TextTower {
    words: Param,
    positions: Param,
    types: Param,
    norm: Norm,
    blocks: Vec<TextBlock>,
    projection: Linear,
}

struct TextBlock {
    attention: Attention,
    attention_norm: Norm,
    network: Network,
    network_norm: Norm,
}

impl TextTower {
    pub fn new(weights: &Weights<'_>, cfg: &ClipConfig) -> error::Result<Self> {
        let text = &cfg.text_config;
        let d = text.hidden_size;
        let at = "text_model.embeddings";
        let table = |name: &str, n| weights.take(&format!("{at}.{name}.weight"), &[n, d]);
        let (words, positions, types) = (
            table("word_embeddings", text.vocab_size)?,
            table("position_embeddings", text.max_position_embeddings)?,
            table("token_type_embeddings", text.type_vocab_size)?,
        );
        let norm = weights.norm(&format!("{at}.LayerNorm"), d, text.layer_norm_eps)?;
        let blocks = 0..text.num_hidden_layers;
        Ok(Self {
            words,
            positions,
            types,
            norm,
            blocks: blocks
                .map(|layer| TextBlock::new(weights, text, layer))
                .collect::<error::Result<_>>()?,
            projection: weights.projection("text_projection", cfg.projection_dim, d)?,
        })
    }

    /// Token ids to `[1, e]`.
    pub fn forward(&self, ids: &[u32]) -> Result<Tensor> {
        let n = ids.len();
        let places: Arc<[u32]> = (0..n as u32).collect();
        let x = ops::embed(&[
            (&self.words, ids.into()),
            (&self.positions, places),
            (&self.types, vec![0; n].into()),
        ])?;
        let mut x = self.norm.forward(&x)?;
        let spans = all_see_all(n)?;
        for block in &self.blocks {
            x = block.forward(&x, &spans)?;
        }
        self.projection.forward(&first_row(&x)?)
    }
}

impl TextBlock {
    fn new(weights: &Weights<'_>, cfg: &TextConfig, layer: usize) -> error::Result<Self> {
        let (d, f, eps) = (cfg.hidden_size, cfg.intermediate_size, cfg.layer_norm_eps);
        let at = format!("text_model.encoder.layer.{layer}");
        let own = |name: &str| format!("{at}.attention.self.{name}");
        let names = AttentionNames {
            query: own("query"),
            key: own("key"),
            value: own("value"),
            out: format!("{at}.attention.output.dense"),
        };
        Ok(Self {
            attention: Attention::new(weights, &names, d, cfg.num_attention_heads)?,
            attention_norm: weights.norm(&format!("{at}.attention.output.LayerNorm"), d, eps)?,
            network: Network {
                up: weights.linear(&format!("{at}.intermediate.dense"), f, d)?,
                down: weights.linear(&format!("{at}.output.dense"), d, f)?,
                act: cfg.hidden_act,
            },
            network_norm: weights.norm(&format!("{at}.output.LayerNorm"), d, eps)?,
        })
    }

    fn forward(&self, x: &Tensor, spans: &Arc<Spans>) -> Result<Tensor> {
        let x = ops::add(x, &self.attention.forward(x, spans)?)?;
        let x = self.attention_norm.forward(&x)?;
        let x = ops::add(&x, &self.network.forward(&x)?)?;
        self.network_norm.forward(&x)
    }
}

/// Vision transformer: patches behind a vector for the whole picture, blocks that normalise before each branch.
pub(super) struct VisionTower {
    whole: Param,
    patches: Param,
    positions: Param,
    patch_size: usize,
    norm_before: Norm,
    blocks: Vec<VisionBlock>,
    norm_after: Norm,
    projection: Linear,
    /// Places of all vectors.
    places: Arc<[u32]>,
    spans: Arc<Spans>,
}

struct VisionBlock {
    attention_norm: Norm,
    attention: Attention,
    network_norm: Norm,
    network: Network,
}

impl VisionTower {
    pub fn new(weights: &Weights<'_>, cfg: &ClipConfig) -> error::Result<Self> {
        let vision = &cfg.vision_config;
        let (d, eps, side) = (vision.hidden_size, vision.layer_norm_eps, vision.patch_size);
        let n = vision.n_patches() + 1;
        let at = "vision_model.embeddings";
        let whole = weights.take(&format!("{at}.class_embedding"), &[d])?;
        let shape = [d, vision.num_channels, side, side];
        let patches = weights.take(&format!("{at}.patch_embedding.weight"), &shape)?;
        let positions = weights.take(&format!("{at}.position_embedding.weight"), &[n, d])?;
        // The published name has this slip of the pen.
        let norm_before = weights.norm("vision_model.pre_layrnorm", d, eps)?;
        let blocks = 0..vision.num_hidden_layers;
        Ok(Self {
            whole,
            patches,
            positions,
            patch_size: side,
            norm_before,
            blocks: blocks
                .map(|layer| VisionBlock::new(weights, vision, layer))
                .collect::<error::Result<_>>()?,
            norm_after: weights.norm("vision_model.post_layernorm", d, eps)?,
            projection: weights.projection("visual_projection", cfg.projection_dim, d)?,
            places: (0..n as u32).collect(),
            spans: all_see_all(n)?,
        })
    }

    /// Pixels `[1, 3, side, side]` to `[1, e]`.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let map = ops::conv2d(pixels, &self.patches, None, self.patch_size, 0)?;
        let patches = ops::nchw_to_rows(&map)?;
        let whole = self.whole.tensor().reshape((1, self.whole.n_elements()))?;
        let x = Tensor::cat(&[whole, patches], 0)?;
        let places = ops::embed(&[(&self.positions, self.places.clone())])?;
        let mut x = self.norm_before.forward(&ops::add(&x, &places)?)?;
        for block in &self.blocks {
            x = block.forward(&x, &self.spans)?;
        }
        let whole = self.norm_after.forward(&first_row(&x)?)?;
        self.projection.forward(&whole)
    }
}

impl VisionBlock {
    fn new(weights: &Weights<'_>, cfg: &VisionConfig, layer: usize) -> error::Result<Self> {
        let (d, f, eps) = (cfg.hidden_size, cfg.intermediate_size, cfg.layer_norm_eps);
        let at = format!("vision_model.encoder.layers.{layer}");
        let own = |name: &str| format!("{at}.self_attn.{name}");
        let names = AttentionNames {
            query: own("q_proj"),
            key: own("k_proj"),
            value: own("v_proj"),
            out: own("out_proj"),
        };
        Ok(Self {
            attention_norm: weights.norm(&format!("{at}.layer_norm1"), d, eps)?,
            attention: Attention::new(weights, &names, d, cfg.num_attention_heads)?,
            network_norm: weights.norm(&format!("{at}.layer_norm2"), d, eps)?,
            network: Network {
                up: weights.linear(&format!("{at}.mlp.fc1"), f, d)?,
                down: weights.linear(&format!("{at}.mlp.fc2"), d, f)?,
                act: cfg.hidden_act,
            },
        })
    }

    fn forward(&self, x: &Tensor, spans: &Arc<Spans>) -> Result<Tensor> {
        let branch = self
            .attention
            .forward(&self.attention_norm.forward(x)?, spans)?;
        let x = ops::add(x, &branch)?;
        let branch = self.network.forward(&self.network_norm.forward(&x)?)?;
        ops::add(&x, &branch)
    }
}

/// `[n, d]` to `[1, d]`.
fn first_row(x: &Tensor) -> Result<Tensor> {
    ops::select_rows(x, vec![0].into())
}

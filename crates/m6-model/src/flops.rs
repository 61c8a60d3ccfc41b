//! Floating-point operations of a model from its configuration alone, for planning. A multiply-add counts as two.

use crate::config::{ModelConfig, PatchConfig, PatchKind, PatchScope};
use serde::Serialize;

/// Cost of the parts of a step; the backward pass costs twice the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Flops {
    /// Blocks, forward, per token of any segment; attention counted at the given mean context.
    pub blocks_per_token: f64,
    /// Output layer, forward, per token with a loss (or per generated token).
    pub head_per_target: f64,
    /// Patch network and projection, forward, per picture.
    pub patches_per_picture: f64,
    /// Whether the patch network has a backward pass.
    pub patches_trained: bool,
}

/// Cost of `cfg` when a query attends to `mean_context` keys on average.
pub fn flops(cfg: &ModelConfig, mean_context: f64) -> Flops {
    flops_of_rank(cfg, mean_context, 1)
}

/// The same for one of `tensor` ranks that have the matrices and the words among them; experts and the patch network are computed by each.
pub fn flops_of_rank(cfg: &ModelConfig, mean_context: f64, tensor: usize) -> Flops {
    let (d, f, t) = (cfg.d_model as f64, cfg.d_ff as f64, tensor as f64);
    let attention = (2.0 * 4.0 * d * d + 4.0 * d * mean_context) / t;
    let ffn = 2.0 * 2.0 * d * f;
    let mut blocks = 0.0;
    for layer in 0..cfg.n_layers {
        blocks += attention;
        blocks += if cfg.experts.is_expert_layer(layer) {
            let experts = &cfg.experts;
            ffn * (experts.top_k * experts.prototypes) as f64 + 2.0 * d * experts.n_experts as f64
        } else {
            ffn / t
        };
    }
    let proj = 2.0 * (cfg.patches.n_features() * cfg.patches.n_patches()) as f64 * d;
    Flops {
        blocks_per_token: blocks,
        head_per_target: 2.0 * d * cfg.n_table() as f64 / t,
        patches_per_picture: patch_network(&cfg.patches) + proj,
        patches_trained: cfg.patches.trained,
    }
}

impl Flops {
    /// Forward pass over so many tokens, of which `n_targets` have a loss, and pictures.
    pub fn forward(&self, n_tokens: f64, n_targets: f64, n_pictures: f64) -> f64 {
        self.blocks_per_token * n_tokens
            + self.head_per_target * n_targets
            + self.patches_per_picture * n_pictures
    }

    /// Forward and backward pass; `checkpoint` adds the second forward pass of the blocks.
    pub fn train(&self, n_tokens: f64, n_targets: f64, n_pictures: f64, checkpoint: bool) -> f64 {
        let blocks = self.blocks_per_token * n_tokens * if checkpoint { 4.0 } else { 3.0 };
        let patches =
            self.patches_per_picture * n_pictures * if self.patches_trained { 3.0 } else { 1.0 };
        blocks + 3.0 * self.head_per_target * n_targets + patches
    }
}

fn conv(n_out: usize, n_in: usize, k: usize, side: usize) -> f64 {
    2.0 * (n_out * n_in * k * k) as f64 * (side * side) as f64
}

/// The convolutions of the patch network over one picture.
fn patch_network(cfg: &PatchConfig) -> f64 {
    let (n_runs, side) = match cfg.scope {
        PatchScope::Cell => (cfg.n_patches(), cfg.cell()),
        PatchScope::Picture => (1, cfg.image_side),
    };
    let once = match cfg.kind {
        PatchKind::Linear => 0.0,
        PatchKind::Resnet => resnet(cfg, side),
        PatchKind::Resnet50 => resnet50(cfg, side),
    };
    once * n_runs as f64
}

fn resnet(cfg: &PatchConfig, mut side: usize) -> f64 {
    let mut n_in = 3;
    let mut total = 0.0;
    for (width, n_blocks) in cfg.stages() {
        side = side.div_ceil(2);
        total += conv(width, n_in, 3, side) + 2.0 * n_blocks as f64 * conv(width, width, 3, side);
        n_in = width;
    }
    total
}

fn resnet50(cfg: &PatchConfig, side: usize) -> f64 {
    let stages = cfg.stages();
    let mut n_in = stages.first().map_or(0, |s| s.0);
    let mut side = side.div_ceil(2);
    let mut total = conv(n_in, 3, 7, side);
    side = side.div_ceil(2);
    for (i, (width, n_blocks)) in stages.into_iter().enumerate() {
        for j in 0..n_blocks {
            let strided = i > 0 && j == 0;
            let after = if strided { side.div_ceil(2) } else { side };
            total += conv(width, n_in, 1, side)
                + conv(width, width, 3, after)
                + conv(4 * width, width, 1, after);
            if j == 0 {
                total += conv(4 * width, n_in, 1, after);
            }
            n_in = 4 * width;
            side = after;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_step_is_six_times_the_parameters() {
        // Paper section 7: 6 x 327 M, about 2.0 GFLOP a token, is forward + backward of all matrices.
        let f = flops(&ModelConfig::default(), 0.0);
        let per_token = f.train(1.0, 1.0, 0.0, false);
        assert!(
            (per_token / (6.0 * 327e6) - 1.0).abs() < 0.02,
            "{per_token:e}"
        );
    }

    #[test]
    fn resnet50_is_the_published_four_gigaflops() {
        // 4.09 G multiply-adds at 224 pixels (torchvision's table), classifier excluded.
        let cfg = PatchConfig {
            grid: 1,
            image_side: 224,
            ..PatchConfig::default()
        };
        let got = patch_network(&cfg) / 2.0;
        assert!((got / 4.09e9 - 1.0).abs() < 0.01, "{got:e}");
    }

    #[test]
    fn checkpointing_adds_one_forward_of_the_blocks() {
        let f = flops(&ModelConfig::default(), 256.0);
        let extra = f.train(10.0, 4.0, 1.0, true) - f.train(10.0, 4.0, 1.0, false);
        assert!((extra / (10.0 * f.blocks_per_token) - 1.0).abs() < 1e-9);
    }
}

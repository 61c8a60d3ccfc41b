//! What the tape keeps between the forward pass and the backward pass, counted by the operators of
//! [`transformer`](crate::transformer) and of the patch networks: a result that a later operator takes is held until its gradient is made.

use super::mesh::Mesh;
use crate::config::{ModelConfig, PatchConfig, PatchKind, PatchScope};

/// Rows of which the head holds logits at a time, as in m6-nn.
const N_HEAD_ROWS: f64 = 512.0;

/// Numbers by the bytes they have: those of the precision of a run, and those that are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Numbers {
    /// In the run's own precision.
    pub own: f64,
    /// In f32: log-sums of attention, logits and probabilities of routers and of the head, places of maxima.
    pub f32: f64,
}

impl Numbers {
    /// Bytes, with numbers of `width` bytes.
    pub fn bytes(self, width: f64) -> f64 {
        self.own * width + self.f32 * 4.0
    }

    fn add(&mut self, other: Self, times: f64) {
        self.own += other.own * times;
        self.f32 += other.f32 * times;
    }
}

/// What is in a micro-batch of a rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MicroBatch {
    /// Positions of all segments.
    pub tokens: f64,
    /// Those with a loss.
    pub targets: f64,
    /// Pictures.
    pub pictures: f64,
}

/// What a micro-batch leaves on the tape, and what the backward pass works with beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Activations {
    /// Held from the forward pass.
    pub kept: Numbers,
    /// The largest that is there beside it for a time.
    pub work: Numbers,
}

/// Counts both for one rank of `mesh`.
pub fn activations(
    cfg: &ModelConfig,
    mesh: &Mesh,
    batch: MicroBatch,
    checkpointing: bool,
) -> Activations {
    let d = cfg.d_model as f64;
    let dropout = cfg.dropout > 0.0;
    let mut kept = Numbers::default();
    // Tables summed, patches put in, and dropout's own copy and zeros.
    kept.own += batch.tokens * d * if dropout { 4.0 } else { 2.0 };
    // Vectors of words before and after their sum, and the other tables by themselves.
    kept.own += batch.tokens * copies(mesh, 3.0 * d);
    kept.add(patch_numbers(cfg), batch.pictures);
    let mut largest = Numbers::default();
    for layer in 0..cfg.n_layers {
        // The last block goes on with the rows that have a loss alone.
        let is_last = layer + 1 == cfg.n_layers;
        let rows = if is_last { batch.targets } else { batch.tokens };
        let mut block = attention(cfg, mesh, batch.tokens);
        block.add(after_attention(cfg, mesh, layer), rows);
        if is_last {
            block.own += 2.0 * rows * d;
        }
        if block.bytes(4.0) > largest.bytes(4.0) {
            largest = block;
        }
        match checkpointing {
            true => kept.own += rows * d,
            false => kept.add(block, 1.0),
        }
    }
    // The last norm, and the gradient that the head makes in its forward pass.
    kept.own += 2.0 * batch.targets * d;
    let logits = Numbers {
        own: 0.0,
        f32: N_HEAD_ROWS.min(batch.targets) * cfg.n_table() as f64 / mesh.tensor as f64,
    };
    let mut backward = gradients_at_hand(cfg, mesh, batch.tokens);
    if checkpointing {
        // The block at hand is run again; its input is copied.
        backward.add(largest, 1.0);
        backward.own += batch.tokens * d;
    }
    let work = match backward.bytes(4.0) > logits.bytes(4.0) {
        true => backward,
        false => logits,
    };
    Activations { kept, work }
}

/// Copies of a stream that stand beside it where it is given to all parts of a matrix, or summed over them.
fn copies(mesh: &Mesh, n: f64) -> f64 {
    if mesh.tensor > 1 { n } else { 0.0 }
}

/// Norm, queries, keys and values, what attention gives and its log-sums.
fn attention(cfg: &ModelConfig, mesh: &Mesh, tokens: f64) -> Numbers {
    let (d, t) = (cfg.d_model as f64, mesh.tensor as f64);
    Numbers {
        own: tokens * (d + 4.0 * d / t + copies(mesh, d)),
        f32: tokens * cfg.n_heads as f64 / t,
    }
}

/// Projection, sum, norm, feed-forward or experts, sum: per row.
fn after_attention(cfg: &ModelConfig, mesh: &Mesh, layer: usize) -> Numbers {
    let (d, f, t) = (cfg.d_model as f64, cfg.d_ff as f64, mesh.tensor as f64);
    let outside = 5.0 * d + copies(mesh, d);
    if !cfg.experts.is_expert_layer(layer) {
        // Before and after the activation.
        return Numbers {
            own: outside + 2.0 * f / t + copies(mesh, 2.0 * d),
            f32: 0.0,
        };
    }
    let rows = expert_rows(cfg, mesh);
    // Rows that came from other ranks are kept; a rank alone gathers them again.
    let received = if mesh.expert > 1 { d } else { 0.0 };
    Numbers {
        own: outside + rows * (2.0 * f + d + received),
        f32: 2.0 * cfg.experts.n_experts as f64,
    }
}

/// Rows that the experts of a rank compute, per token of a rank. One rank alone has a row a choice at most; of many, the experts of one may
/// be asked for as much as their capacity; without one, for as many on average.
pub(super) fn expert_rows(cfg: &ModelConfig, mesh: &Mesh) -> f64 {
    let choices = (cfg.experts.top_k * cfg.experts.prototypes) as f64;
    match mesh.expert > 1 && !cfg.experts.dropless {
        true => choices * cfg.experts.capacity_factor,
        false => choices,
    }
}

/// Gradients that stand beside each other while a block is gone through: the stream's, and those of the widest operator.
fn gradients_at_hand(cfg: &ModelConfig, mesh: &Mesh, tokens: f64) -> Numbers {
    let (d, f, t) = (cfg.d_model as f64, cfg.d_ff as f64, mesh.tensor as f64);
    let dense = (0..cfg.n_layers).any(|layer| !cfg.experts.is_expert_layer(layer));
    let sparse = (0..cfg.n_layers).any(|layer| cfg.experts.is_expert_layer(layer));
    let mut widest = 4.0 * d / t;
    if dense {
        widest = widest.max(f / t + d);
    }
    if sparse {
        widest = widest.max(expert_rows(cfg, mesh) * (f + d));
    }
    Numbers {
        // A sum over ranks has what is sent and what comes.
        own: tokens * (d + widest + copies(mesh, 2.0 * d)),
        f32: 0.0,
    }
}

/// Of a picture: pixels, maps, features and their projection.
fn patch_numbers(cfg: &ModelConfig) -> Numbers {
    let patches = &cfg.patches;
    let n_patches = patches.n_patches() as f64;
    let mut out = Numbers {
        own: n_patches * (cfg.d_model + patches.n_features()) as f64,
        f32: 0.0,
    };
    if !patches.trained || patches.kind == PatchKind::Linear {
        return out;
    }
    let (n_runs, side) = match patches.scope {
        PatchScope::Cell => (n_patches, patches.cell()),
        PatchScope::Picture => (1.0, patches.image_side),
    };
    let run = match patches.kind {
        PatchKind::Resnet50 => resnet50(patches, side),
        _ => resnet(patches, side),
    };
    out.add(run, n_runs);
    out
}

fn map(width: usize, side: usize) -> f64 {
    (width * side * side) as f64
}

fn resnet(cfg: &PatchConfig, mut side: usize) -> Numbers {
    let mut own = map(3, side);
    for (width, n_blocks) in cfg.stages() {
        side = side.div_ceil(2);
        // Convolution and norm of the stage; of a block two norms, two convolutions, one sum.
        own += map(width, side) * (2.0 + 5.0 * n_blocks as f64);
    }
    Numbers { own, f32: 0.0 }
}

fn resnet50(cfg: &PatchConfig, side: usize) -> Numbers {
    let stages = cfg.stages();
    let stem = stages.first().map_or(0, |s| s.0);
    let half = side.div_ceil(2);
    let mut side_now = half.div_ceil(2);
    // Pixels, stem before and after its activation, pooled.
    let mut own = map(3, side) + 2.0 * map(stem, half) + map(stem, side_now);
    let places = map(stem, side_now);
    for (i, (width, n_blocks)) in stages.into_iter().enumerate() {
        for j in 0..n_blocks {
            let before = side_now;
            if i > 0 && j == 0 {
                side_now = side_now.div_ceil(2);
            }
            // Two convolutions with their activations, the third, the sum and its activation, perhaps the shortcut's.
            own += 2.0 * map(width, before) + 2.0 * map(width, side_now);
            let n_wide = if j == 0 { 4.0 } else { 3.0 };
            own += n_wide * map(4 * width, side_now);
        }
    }
    Numbers { own, f32: places }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ExpertsConfig;

    const ALONE: Mesh = Mesh {
        data: 1,
        expert: 1,
        tensor: 1,
        zero: 0,
    };

    fn linear() -> ModelConfig {
        let mut cfg = ModelConfig::default();
        cfg.patches.kind = PatchKind::Linear;
        cfg
    }

    fn batch(tokens: f64) -> MicroBatch {
        MicroBatch {
            tokens,
            targets: tokens,
            pictures: 0.0,
        }
    }

    #[test]
    fn a_dense_block_keeps_ten_widths_and_two_inner_ones() {
        let cfg = linear();
        let one = |n_layers| {
            let cfg = ModelConfig {
                n_layers,
                ..cfg.clone()
            };
            activations(&cfg, &ALONE, batch(7.0), false).kept
        };
        let (two, three) = (one(2), one(3));
        assert_eq!(three.own - two.own, 7.0 * (10.0 * 1024.0 + 2.0 * 4096.0));
        assert_eq!(three.f32 - two.f32, 7.0 * 16.0);
    }

    #[test]
    fn checkpointing_keeps_one_width_a_block() {
        let cfg = linear();
        let kept = |n_layers| {
            let cfg = ModelConfig {
                n_layers,
                ..cfg.clone()
            };
            activations(&cfg, &ALONE, batch(7.0), true).kept
        };
        assert_eq!(kept(3).own - kept(2).own, 7.0 * 1024.0);
    }

    #[test]
    fn tensor_parallelism_divides_heads_and_the_inner_width() {
        let cfg = linear();
        let kept = |tensor| {
            let mesh = Mesh { tensor, ..ALONE };
            activations(&cfg, &mesh, batch(1.0), false).kept
        };
        let saved = kept(1).own - kept(4).own;
        let copied = 24.0 * 4.0 * 1024.0 + 3.0 * 1024.0;
        let split = 24.0 * 0.75 * (4.0 * 1024.0 + 2.0 * 4096.0);
        assert_eq!(saved, split - copied);
    }

    #[test]
    fn experts_keep_rows_by_choices_and_capacity() {
        let mut cfg = linear();
        cfg.n_layers = 2;
        cfg.experts = ExpertsConfig {
            n_experts: 8,
            top_k: 2,
            ..ExpertsConfig::default()
        };
        let kept = |expert| {
            let mesh = Mesh {
                data: expert,
                expert,
                ..ALONE
            };
            activations(&cfg, &mesh, batch(1.0), false).kept
        };
        let (d, f) = (1024.0, 4096.0);
        // Two rows a token alone; a quarter more, and what was received, with others.
        assert_eq!(
            kept(4).own - kept(1).own,
            2.5 * (2.0 * f + 2.0 * d) - 2.0 * (2.0 * f + d)
        );
        assert_eq!(kept(1).f32, 2.0 * 16.0 + 2.0 * 8.0);
    }

    #[test]
    fn a_small_residual_network_keeps_two_maps_a_stage() {
        let patches = PatchConfig {
            kind: PatchKind::Resnet,
            scope: PatchScope::Picture,
            image_side: 8,
            grid: 2,
            widths: vec![8, 16],
            blocks: vec![0, 1],
            ..PatchConfig::default()
        };
        let mut cfg = ModelConfig {
            patches,
            ..ModelConfig::default()
        };
        // 3 x 64 pixels, 8 x 16 twice, 16 x 4 seven times; 4 patches of 16 features and of their projection.
        let expected = 192.0 + 256.0 + 448.0 + 4.0 * (16.0 + 1024.0);
        assert_eq!(patch_numbers(&cfg).own, expected);
        cfg.patches.trained = false;
        assert_eq!(patch_numbers(&cfg).own, 4.0 * (16.0 + 1024.0));
    }

    #[test]
    fn resnet50_keeps_every_map() {
        let cfg = PatchConfig {
            grid: 1,
            image_side: 224,
            ..PatchConfig::default()
        };
        // Convolutions of ResNet-50 at 224 pixels give 11.1 M numbers (published); activations, sums and the rest twice that again.
        let own = resnet50(&cfg, 224).own;
        assert!((2.2 * 11.1e6..2.7 * 11.1e6).contains(&own), "{own:e}");
    }
}

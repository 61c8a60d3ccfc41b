//! Every parameter of a model by name, shape and first value: the one list that counting and building share.

use crate::config::{AdapterSite, ModelConfig, PatchConfig, PatchKind};
use std::collections::BTreeSet;

/// How a parameter is filled at the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Normal around 0 with this standard deviation.
    Normal(f64),
    /// The same number everywhere.
    Constant(f32),
}

/// The part of the model a parameter belongs to, for the table of counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Word table.
    Tokens,
    /// Text positions, patch positions and segments.
    Positions,
    /// Image codes.
    Codes,
    /// Patch network: weights.
    PatchNetwork,
    /// Patch network: batch statistics, which never learn.
    PatchStatistics,
    /// Projection of patch features to the width of the model.
    PatchProjection,
    /// Attention weights.
    Attention,
    /// Dense feed-forward weights.
    FeedForward,
    /// Router of the expert layers.
    Router,
    /// Feed-forward weights of the experts.
    Experts,
    /// Layer norms.
    Norms,
    /// Output layer when it is not the word table.
    Head,
    /// Heads for matching and retrieval.
    Heads,
    /// Adapters of low rank.
    Adapters,
    /// Weights and state of a VQGAN.
    Vqgan,
}

impl Part {
    /// Name in the table of counts.
    pub fn name(self) -> &'static str {
        match self {
            Part::Tokens => "embed.tokens",
            Part::Positions => "embed.positions",
            Part::Codes => "embed.codes",
            Part::PatchNetwork => "patches.network",
            Part::PatchStatistics => "patches.statistics",
            Part::PatchProjection => "patches.proj",
            Part::Attention => "blocks.attention",
            Part::FeedForward => "blocks.ffn",
            Part::Router => "blocks.router",
            Part::Experts => "blocks.experts",
            Part::Norms => "norms",
            Part::Head => "head",
            Part::Heads => "heads",
            Part::Adapters => "adapters",
            Part::Vqgan => "vqgan",
        }
    }
}

/// One parameter before it exists.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Name in `model.safetensors`.
    pub name: String,
    /// Shape, outermost first.
    pub shape: Vec<usize>,
    /// First value.
    pub init: Init,
    /// Whether weight decay applies (matrices: yes; norms, biases, tables of positions: no).
    pub decay: bool,
    /// Whether the parameter learns.
    pub trained: bool,
    /// Where it is counted.
    pub part: Part,
}

impl Spec {
    /// Whether it maps vectors to vectors inside the model. Biases of experts are stacked too, and no matrices.
    pub fn is_hidden_matrix(&self) -> bool {
        let part = [
            Part::PatchNetwork,
            Part::PatchProjection,
            Part::Attention,
            Part::FeedForward,
            Part::Experts,
        ];
        part.contains(&self.part) && self.shape.len() >= 2 && self.decay
    }

    /// Number of values.
    pub fn n_elements(&self) -> u64 {
        self.shape.iter().map(|&n| n as u64).product()
    }
}

/// Standard deviation of ordinary weights (BERT's; paper section 2.3 "nearest evidence").
const STD: f64 = 0.02;

/// Collects specs under one part.
struct List {
    specs: Vec<Spec>,
}

impl List {
    fn add(&mut self, part: Part, name: String, shape: &[usize], init: Init, decay: bool) {
        self.specs.push(Spec {
            name,
            shape: shape.to_vec(),
            init,
            decay,
            trained: true,
            part,
        });
    }

    fn linear(&mut self, part: Part, prefix: &str, n_out: usize, n_in: usize, std: f64) {
        self.add(
            part,
            format!("{prefix}.weight"),
            &[n_out, n_in],
            Init::Normal(std),
            true,
        );
        self.add(
            part,
            format!("{prefix}.bias"),
            &[n_out],
            Init::Constant(0.0),
            false,
        );
    }

    /// Weight 1 and bias 0 of a norm over `n` channels.
    fn norm(&mut self, part: Part, prefix: &str, n: usize) {
        self.add(
            part,
            format!("{prefix}.weight"),
            &[n],
            Init::Constant(1.0),
            false,
        );
        self.add(
            part,
            format!("{prefix}.bias"),
            &[n],
            Init::Constant(0.0),
            false,
        );
    }

    /// Convolution with He initialisation by its inputs; `bias` where no batch norm follows.
    fn conv(&mut self, prefix: &str, n_out: usize, n_in: usize, k: usize, bias: bool) {
        let std = (2.0 / (n_in * k * k) as f64).sqrt();
        self.add(
            Part::PatchNetwork,
            format!("{prefix}.weight"),
            &[n_out, n_in, k, k],
            Init::Normal(std),
            true,
        );
        if bias {
            self.add(
                Part::PatchNetwork,
                format!("{prefix}.bias"),
                &[n_out],
                Init::Constant(0.0),
                false,
            );
        }
    }

    /// Batch norm with frozen statistics, torchvision's names.
    fn batch_norm(&mut self, prefix: &str, n: usize) {
        self.norm(Part::PatchNetwork, prefix, n);
        for (name, value) in [("running_mean", 0.0), ("running_var", 1.0)] {
            self.add(
                Part::PatchStatistics,
                format!("{prefix}.{name}"),
                &[n],
                Init::Constant(value),
                false,
            );
        }
    }
}

/// Names of the weights that map vectors to vectors: those of the patch network, the projection, attention and feed-forward; no tables, norms and
/// biases.
pub fn hidden_matrices(cfg: &ModelConfig) -> BTreeSet<String> {
    let hidden = specs(cfg).into_iter().filter(Spec::is_hidden_matrix);
    hidden.map(|spec| spec.name).collect()
}

/// Whether a parameter is the stacked matrices of a layer's experts, `[e, rows, columns]`, which ranks may share out by expert.
pub fn is_expert_matrix(name: &str) -> bool {
    name.ends_with(".moe.up.weight") || name.ends_with(".moe.down.weight")
}

/// Every parameter of the model that `cfg` describes, in the order of the forward pass; names are unique.
pub fn specs(cfg: &ModelConfig) -> Vec<Spec> {
    let mut list = List { specs: Vec::new() };
    let d = cfg.d_model;
    let table = |list: &mut List, part, name: &str, n: usize, decay| {
        list.add(
            part,
            format!("embed.{name}"),
            &[n, d],
            Init::Normal(STD),
            decay,
        );
    };
    table(&mut list, Part::Tokens, "tokens", cfg.n_table(), true);
    table(&mut list, Part::Positions, "positions", cfg.max_len, false);
    table(
        &mut list,
        Part::Positions,
        "patch_positions",
        cfg.patches.n_patches(),
        false,
    );
    table(&mut list, Part::Positions, "segments", 3, false);
    if !cfg.codes.is_none() {
        let codes = &cfg.codes;
        if !codes.joint {
            // The codes, the one that begins a picture, the one that hides a code.
            table(
                &mut list,
                Part::Codes,
                "codes",
                codes.codebook_size + 2,
                true,
            );
        }
        table(&mut list, Part::Codes, "code_rows", codes.grid, false);
        table(&mut list, Part::Codes, "code_columns", codes.grid, false);
        let n_segments = codes.n_segments();
        table(&mut list, Part::Codes, "code_segments", n_segments, false);
        if codes.has_fine() {
            let n_parts = codes.fine * codes.fine;
            table(&mut list, Part::Codes, "code_fine", n_parts, false);
        }
        if !codes.joint {
            let shape = [codes.codebook_size, d];
            list.add(
                Part::Codes,
                "code_head.weight".into(),
                &shape,
                Init::Normal(STD),
                true,
            );
        }
    }
    patch_specs(&cfg.patches, &mut list);
    list.linear(
        Part::PatchProjection,
        "patches.proj",
        d,
        cfg.patches.n_features(),
        STD,
    );
    for layer in 0..cfg.n_distinct() {
        block_specs(cfg, layer, &mut list);
        if !cfg.lora.is_none() {
            adapter_specs(cfg, layer, &mut list);
        }
    }
    list.norm(Part::Norms, "norm", d);
    if !cfg.tie_embeddings {
        list.add(
            Part::Head,
            "head.weight".into(),
            &[cfg.n_table(), d],
            Init::Normal(STD),
            true,
        );
    }
    head_specs(cfg, &mut list);
    if !cfg.lora.is_none() {
        let learns = |part| matches!(part, Part::Adapters | Part::Heads);
        list.specs
            .iter_mut()
            .for_each(|spec| spec.trained &= learns(spec.part));
    }
    list.specs
}

/// Temperature that the similarities of the contrastive head begin with (CLIP's).
const FIRST_TEMPERATURE: f32 = 0.07;

fn head_specs(cfg: &ModelConfig, list: &mut List) {
    let d = cfg.d_model;
    let mut add = |name: &str, shape: &[usize], init, decay| {
        list.add(Part::Heads, format!("heads.{name}"), shape, init, decay);
    };
    if cfg.heads.matching {
        add("match.weight", &[2, d], Init::Normal(STD), true);
    }
    let e = cfg.heads.contrastive;
    if e > 0 {
        let std = 1.0 / (d as f64).sqrt();
        for side in ["picture", "text"] {
            let name = format!("contrastive.{side}.weight");
            add(&name, &[e, d], Init::Normal(std), true);
        }
        let first = (1.0 / FIRST_TEMPERATURE).ln();
        add("contrastive.log_scale", &[1], Init::Constant(first), false);
    }
}

/// `A` and `B` beside each adapted matrix of a block; `B` is zero, so that the model begins as it was.
fn adapter_specs(cfg: &ModelConfig, layer: usize, list: &mut List) {
    let (d, f, r) = (cfg.d_model, cfg.d_ff, cfg.lora.rank);
    for site in &cfg.lora.on {
        let (n_out, n_in) = match site {
            AdapterSite::Qkv => (3 * d, d),
            AdapterSite::Out => (d, d),
            AdapterSite::Up => (f, d),
            AdapterSite::Down => (d, f),
        };
        let at = format!("blocks.{layer}.{}", site.name());
        let std = 1.0 / (n_in as f64).sqrt();
        for (name, shape, init) in [
            ("lora_a", [r, n_in], Init::Normal(std)),
            ("lora_b", [n_out, r], Init::Constant(0.0)),
        ] {
            list.add(Part::Adapters, format!("{at}.{name}"), &shape, init, true);
        }
    }
}

fn block_specs(cfg: &ModelConfig, layer: usize, list: &mut List) {
    let (d, f) = (cfg.d_model, cfg.d_ff);
    // Each block adds two branches to the stream; this keeps its variance from growing with depth (GPT-2).
    let residual_std = STD / (2.0 * cfg.n_layers as f64).sqrt();
    let at = format!("blocks.{layer}");
    list.norm(Part::Norms, &format!("{at}.ln1"), d);
    list.linear(Part::Attention, &format!("{at}.attn.qkv"), 3 * d, d, STD);
    list.linear(
        Part::Attention,
        &format!("{at}.attn.out"),
        d,
        d,
        residual_std,
    );
    list.norm(Part::Norms, &format!("{at}.ln2"), d);
    if cfg.experts.is_expert_layer(layer) {
        let e = cfg.experts.n_experts;
        list.add(
            Part::Router,
            format!("{at}.moe.router.weight"),
            &[e, d],
            Init::Normal(STD),
            true,
        );
        for (name, n_out, n_in, std) in [("up", f, d, STD), ("down", d, f, residual_std)] {
            let at = format!("{at}.moe.{name}");
            list.add(
                Part::Experts,
                format!("{at}.weight"),
                &[e, n_out, n_in],
                Init::Normal(std),
                true,
            );
            list.add(
                Part::Experts,
                format!("{at}.bias"),
                &[e, n_out],
                Init::Constant(0.0),
                false,
            );
        }
    } else {
        list.linear(Part::FeedForward, &format!("{at}.ffn.up"), f, d, STD);
        list.linear(
            Part::FeedForward,
            &format!("{at}.ffn.down"),
            d,
            f,
            residual_std,
        );
    }
}

fn patch_specs(cfg: &PatchConfig, list: &mut List) {
    let first = list.specs.len();
    match cfg.kind {
        PatchKind::Linear => {}
        PatchKind::Resnet => resnet_specs(cfg, list),
        PatchKind::Resnet50 => resnet50_specs(cfg, list),
    }
    for spec in &mut list.specs[first..] {
        spec.trained = cfg.trained && spec.part != Part::PatchStatistics;
    }
}

fn resnet_specs(cfg: &PatchConfig, list: &mut List) {
    let mut n_in = 3;
    for (i, (width, n_blocks)) in cfg.stages().into_iter().enumerate() {
        let stage = format!("patches.stages.{i}");
        list.conv(&format!("{stage}.down"), width, n_in, 3, true);
        for j in 0..n_blocks {
            let block = format!("{stage}.blocks.{j}");
            for half in 1..=2 {
                list.norm(Part::PatchNetwork, &format!("{block}.norm{half}"), width);
                list.conv(&format!("{block}.conv{half}"), width, width, 3, true);
            }
        }
        // Applied before the next stage's convolution, or last of all.
        list.norm(Part::PatchNetwork, &format!("{stage}.norm"), width);
        n_in = width;
    }
}

fn resnet50_specs(cfg: &PatchConfig, list: &mut List) {
    let stages = cfg.stages();
    let stem = stages.first().map_or(0, |s| s.0);
    list.conv("patches.conv1", stem, 3, 7, false);
    list.batch_norm("patches.bn1", stem);
    let mut n_in = stem;
    for (i, (width, n_blocks)) in stages.into_iter().enumerate() {
        for j in 0..n_blocks {
            let at = format!("patches.layer{}.{j}", i + 1);
            for (c, n_out, n_in, k) in [
                (1, width, n_in, 1),
                (2, width, width, 3),
                (3, 4 * width, width, 1),
            ] {
                list.conv(&format!("{at}.conv{c}"), n_out, n_in, k, false);
                list.batch_norm(&format!("{at}.bn{c}"), n_out);
            }
            if j == 0 {
                list.conv(&format!("{at}.downsample.0"), 4 * width, n_in, 1, false);
                list.batch_norm(&format!("{at}.downsample.1"), 4 * width);
            }
            n_in = 4 * width;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ExpertsConfig;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        for n_experts in [1, 4] {
            let experts = ExpertsConfig {
                n_experts,
                ..ExpertsConfig::default()
            };
            let all = specs(&ModelConfig {
                experts,
                tie_embeddings: false,
                ..ModelConfig::default()
            });
            let names = all.iter().map(|s| &s.name).collect::<BTreeSet<_>>();
            assert_eq!(names.len(), all.len());
        }
    }

    #[test]
    fn with_adapters_only_they_and_the_new_heads_learn() {
        let mut cfg = ModelConfig::default();
        cfg.heads.matching = true;
        cfg.heads.contrastive = 64;
        cfg.lora.rank = 4;
        cfg.lora.on = vec![AdapterSite::Qkv, AdapterSite::Down];
        let all = specs(&cfg);
        let shape = |name: &str| all.iter().find(|s| s.name == name).map(|s| s.shape.clone());
        assert_eq!(shape("blocks.3.attn.qkv.lora_b"), Some(vec![3 * 1024, 4]));
        assert_eq!(shape("blocks.3.ffn.down.lora_a"), Some(vec![4, 4096]));
        assert_eq!(shape("blocks.3.ffn.up.lora_a"), None);
        for spec in &all {
            let learns = spec.name.contains(".lora_") || spec.name.starts_with("heads.");
            assert_eq!(spec.trained, learns, "{}", spec.name);
        }
    }

    #[test]
    fn frozen_patches_leave_the_projection_trained() {
        let mut cfg = ModelConfig::default();
        cfg.patches.trained = false;
        for spec in specs(&cfg) {
            let frozen =
                spec.name.starts_with("patches.") && !spec.name.starts_with("patches.proj.");
            assert_eq!(spec.trained, !frozen, "{}", spec.name);
        }
    }

    #[test]
    fn resnet50_has_torchvision_names_and_size() {
        let all = specs(&ModelConfig::default());
        let find = |name: &str| all.iter().find(|s| s.name == name).map(|s| s.shape.clone());
        assert_eq!(find("patches.conv1.weight"), Some(vec![64, 3, 7, 7]));
        assert_eq!(
            find("patches.layer1.0.downsample.0.weight"),
            Some(vec![256, 64, 1, 1])
        );
        assert_eq!(find("patches.layer4.2.bn3.running_var"), Some(vec![2048]));
        assert_eq!(find("patches.layer2.1.downsample.0.weight"), None);
        // torchvision's resnet50 without its classifier: 25,557,032 - 2,049,000.
        let n: u64 = all
            .iter()
            .filter(|s| s.part == Part::PatchNetwork)
            .map(Spec::n_elements)
            .sum();
        assert_eq!(n, 23_508_032);
    }
}

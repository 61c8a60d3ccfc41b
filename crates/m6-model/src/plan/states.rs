//! Bytes that last from step to step: weights, gradients, moments (ZeRO: Rajbhandari and others 2020, section 3).

use super::mesh::Mesh;
use crate::config::ModelConfig;
use crate::spec::{Part, Spec, specs};
use m6_nn::optimizer::Rule;
use serde::Serialize;

/// What an optimizer keeps of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Moments {
    /// Two numbers in f32.
    AdamW,
    /// One number in f32 for matrices between vectors, two for everything else.
    Muon,
    /// Two numbers of 8 bits with a scale in f32 for each 256 (Dettmers and others 2021); two numbers in f32 below 4,096 values.
    AdamW8,
    /// Means of the rows and columns of a matrix in f32, one number for each value of a vector; no momentum (Shazeer and Stern 2018).
    Adafactor,
}

impl Moments {
    /// Bytes for all parameters of the model `cfg` that learn.
    pub fn total(self, cfg: &ModelConfig) -> f64 {
        let specs = specs(cfg);
        let trained = specs.iter().filter(|spec| spec.trained);
        trained.map(|spec| self.bytes(spec)).sum()
    }

    /// Bytes for a parameter of this shape.
    fn bytes(self, spec: &Spec) -> f64 {
        let rule = match self {
            Self::AdamW => Rule::AdamW,
            Self::AdamW8 => Rule::AdamW8,
            Self::Muon if spec.is_hidden_matrix() => Rule::Muon,
            Self::Muon => Rule::AdamW,
            Self::Adafactor => Rule::Adafactor,
        };
        rule.n_bytes(&spec.shape) as f64
    }
}

/// Bytes of one number of each kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberBytes {
    /// Of a weight that is computed with.
    pub weight: f64,
    /// Of a gradient.
    pub gradient: f64,
    /// Of the copy of a weight that updates go to; 0 when that is the weight itself.
    pub master: f64,
}

/// Sums over parameters that are kept in the same way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Numbers.
    pub params: f64,
    /// Those of them that learn.
    pub trained: f64,
    /// Bytes of their moments.
    pub moment_bytes: f64,
}

impl Tally {
    fn add(&mut self, spec: &Spec, moments: Moments) {
        let n = spec.n_elements() as f64;
        self.params += n;
        if spec.trained {
            self.trained += n;
            self.moment_bytes += moments.bytes(spec);
        }
    }

    fn plus(self, other: Self, share: f64) -> Self {
        Self {
            params: self.params + other.params * share,
            trained: self.trained + other.trained * share,
            moment_bytes: self.moment_bytes + other.moment_bytes * share,
        }
    }

    /// Bytes of a rank that holds these parameters together with `replicas - 1` others, under a stage of ZeRO.
    pub fn kept(&self, bytes: NumberBytes, zero: u8, replicas: f64) -> Kept {
        let share = |stage| if zero >= stage { 1.0 / replicas } else { 1.0 };
        Kept {
            weights: self.params * bytes.weight * share(3),
            gradients: self.trained * bytes.gradient * share(2),
            moments: (self.moment_bytes + self.trained * bytes.master) * share(1),
        }
    }
}

/// Bytes that last, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Kept {
    /// Weights that are computed with.
    pub weights: f64,
    /// Their gradients.
    pub gradients: f64,
    /// Moments of the optimizer, and f32 copies of weights that are not f32.
    pub moments: f64,
}

/// A model's parameters by how a mesh deals them out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    /// The same on every rank.
    pub whole: Tally,
    /// Divided by `tensor`.
    pub split: Tally,
    /// Divided by `expert`; ranks that share matrices have the same experts.
    pub experts: Tally,
    /// What is in no block: tables and patch network, and the vectors of words, which are divided by `tensor`.
    outside: [f64; 2],
    /// Weights of the patch network.
    pub patch_network: f64,
    /// A block of each sort: whole, divided by `tensor`, and of experts.
    blocks: Vec<[f64; 3]>,
    /// The last block: where a pass turns round.
    last: [f64; 3],
}

impl States {
    /// Of the model `cfg` under an optimizer.
    pub fn new(cfg: &ModelConfig, moments: Moments) -> Self {
        let mut out = Self::default();
        let mut by_layer = vec![[0.0; 3]; cfg.n_layers];
        for spec in specs(cfg) {
            let sort = sort_of(cfg, &spec);
            [&mut out.whole, &mut out.split, &mut out.experts][sort].add(&spec, moments);
            if spec.part == Part::PatchNetwork {
                out.patch_network += spec.n_elements() as f64;
            }
            let layer = spec.name.strip_prefix("blocks.");
            let layer = layer.and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
            match layer.and_then(|layer| by_layer.get_mut(layer)) {
                Some(block) => block[sort] += spec.n_elements() as f64,
                None => out.outside[sort.min(1)] += spec.n_elements() as f64,
            }
        }
        out.last = by_layer.last().copied().unwrap_or_default();
        by_layer.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        by_layer.dedup();
        out.blocks = by_layer;
        out
    }

    /// What a rank has of everything but the experts.
    pub fn dense(&self, mesh: &Mesh) -> Tally {
        self.whole.plus(self.split, 1.0 / mesh.tensor as f64)
    }

    /// What a rank has of the experts.
    pub fn sparse(&self, mesh: &Mesh) -> Tally {
        Tally::default().plus(self.experts, 1.0 / mesh.expert as f64)
    }

    /// Numbers of what is in no block, as a rank has it.
    pub fn outside(&self, mesh: &Mesh) -> f64 {
        self.outside[0] + self.outside[1] / mesh.tensor as f64
    }

    /// Numbers that a rank puts together once for both passes, and not again for the way back: of everything but experts (what is in no block,
    /// and the last block), and of experts.
    pub fn once(&self, mesh: &Mesh) -> (f64, f64) {
        let [whole, split, experts] = self.last;
        let t = mesh.tensor as f64;
        (
            self.outside(mesh) + whole + split / t,
            experts / mesh.expert as f64,
        )
    }

    /// Numbers of the largest block as a rank computes with it: of everything but experts, and of experts.
    pub fn largest_block(&self, mesh: &Mesh) -> (f64, f64) {
        let t = mesh.tensor as f64;
        let of =
            |&[whole, split, experts]: &[f64; 3]| (whole + split / t, experts / mesh.expert as f64);
        let blocks = self.blocks.iter().map(of);
        blocks
            .max_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1)))
            .unwrap_or_default()
    }
}

/// 0 the same on every rank, 1 divided by tensor parallelism (as in Megatron-LM: heads, the inner width and the words), 2 experts.
fn sort_of(cfg: &ModelConfig, spec: &Spec) -> usize {
    match spec.part {
        Part::Experts => 2,
        _ => usize::from(crate::split_part(cfg, &spec.name, &spec.shape, 0, 2).is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ExpertsConfig;

    /// Bytes of the ZeRO paper: 16-bit weights and gradients, 12 bytes of optimizer.
    const MIXED: NumberBytes = NumberBytes {
        weight: 2.0,
        gradient: 2.0,
        master: 4.0,
    };

    #[test]
    fn stages_give_the_bytes_of_the_zero_paper() {
        // Figure 1: 7.5 B parameters on 64 ranks.
        let model = Tally {
            params: 7.5e9,
            trained: 7.5e9,
            moment_bytes: 8.0 * 7.5e9,
        };
        for (zero, gb) in [(0, 120.0), (1, 31.4), (2, 16.6), (3, 1.88)] {
            let kept = model.kept(MIXED, zero, 64.0);
            let total = (kept.weights + kept.gradients + kept.moments) / 1e9;
            assert!((total / gb - 1.0).abs() < 5e-3, "zero {zero}: {total}");
        }
    }

    #[test]
    fn a_mesh_divides_what_it_says() {
        let cfg = ModelConfig {
            experts: ExpertsConfig {
                n_experts: 8,
                ..ExpertsConfig::default()
            },
            ..ModelConfig::default()
        };
        let states = States::new(&cfg, Moments::AdamW);
        let (d, f) = (1024.0, 4096.0);
        // 24 blocks of attention and 12 dense ones of feed-forward; biases after a sum are on every rank.
        let split = 24.0 * (4.0 * d * d + 3.0 * d) + 12.0 * (2.0 * d * f + f);
        let words = (cfg.n_table() * cfg.d_model) as f64;
        assert_eq!(states.split.params, split + words);
        let split = split + words;
        let mesh = Mesh {
            data: 4,
            expert: 4,
            tensor: 2,
            zero: 0,
        };
        let whole = states.whole.params;
        assert_eq!(states.dense(&mesh).params, whole + split / 2.0);
        assert_eq!(states.sparse(&mesh).params, states.experts.params / 4.0);
        let total = whole + split + states.experts.params;
        assert_eq!(total, crate::count(&cfg).params_total as f64);
        let (_, experts) = states.largest_block(&mesh);
        assert!((experts / (states.experts.params / 12.0 / 4.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn optimizers_keep_what_they_are_known_to_keep() {
        let bytes = |moments| {
            let states = States::new(&ModelConfig::default(), moments);
            states.whole.moment_bytes + states.split.moment_bytes
        };
        let cfg = ModelConfig::default();
        let trained: u64 = specs(&cfg)
            .iter()
            .filter(|s| s.trained)
            .map(Spec::n_elements)
            .sum();
        assert_eq!(bytes(Moments::AdamW), 8.0 * trained as f64);
        // A scale for 256 numbers, and vectors that keep theirs in full.
        let eight = bytes(Moments::AdamW8) / trained as f64;
        assert!((2.031..2.04).contains(&eight), "{eight}");
        let muon = bytes(Moments::Muon) / trained as f64;
        assert!((4.0..4.6).contains(&muon), "{muon}");
        // A matrix of 1024 x 4096 keeps 5120 numbers.
        let adafactor = bytes(Moments::Adafactor) / trained as f64;
        assert!((0.0..0.02).contains(&adafactor), "{adafactor}");
    }

    #[test]
    fn an_optimizer_that_has_made_a_step_keeps_what_is_planned() {
        let cfg = ModelConfig {
            vocab_size: 70,
            d_model: 64,
            n_layers: 2,
            n_heads: 2,
            d_ff: 128,
            max_len: 40,
            experts: ExpertsConfig {
                n_experts: 3,
                ..ExpertsConfig::default()
            },
            ..ModelConfig::default()
        };
        let model = crate::Model::new(&cfg, 1).unwrap();
        let hidden = model.hidden_matrices();
        for (moments, rule) in [
            (Moments::AdamW, Rule::AdamW),
            (Moments::Muon, Rule::Muon),
            (Moments::AdamW8, Rule::AdamW8),
            (Moments::Adafactor, Rule::Adafactor),
        ] {
            let rule_of = |param: &m6_nn::Param| match rule {
                Rule::Muon if !hidden.contains(param.name()) => Rule::AdamW,
                rule => rule,
            };
            let config = m6_nn::optimizer::OptimizerConfig::default();
            let mut optimizer =
                m6_nn::optimizer::Optimizer::with_rules(model.params(), config, rule_of);
            for param in model.params().iter().filter(|p| p.is_trainable()) {
                param.add_grad(&vec![1e-3_f32; param.n_elements()]).unwrap();
            }
            optimizer.step(model.params(), 1e-3, 1.0).unwrap();
            assert_eq!(optimizer.n_bytes() as f64, moments.total(&cfg), "{rule}");
        }
    }

    #[test]
    fn what_does_not_learn_has_weights_alone() {
        let mut cfg = ModelConfig::default();
        cfg.patches.trained = false;
        let whole = States::new(&cfg, Moments::AdamW).whole;
        // The network and its statistics.
        assert_eq!(whole.params - whole.trained, 23_508_032.0 + 53_120.0);
    }
}

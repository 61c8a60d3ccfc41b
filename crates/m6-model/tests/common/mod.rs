//! Fixtures and small models shared by the tests.
#![allow(dead_code)]

pub mod codes;

use m6_model::{Model, ModelConfig, ModelInput, PatchConfig, PatchKind};
use m6_nn::Tensor;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;

/// The tensors of a fixture as numbers.
pub struct Fixture {
    floats: BTreeMap<String, Vec<f32>>,
    ints: BTreeMap<String, Vec<u32>>,
    bytes: BTreeMap<String, Vec<u8>>,
    raw: Vec<u8>,
}

/// Prefixes and targets of a batch.
pub struct Ranges {
    pub prefixes: Vec<[u32; 2]>,
    pub targets: Vec<[u32; 3]>,
}

impl Fixture {
    pub fn read(name: &str) -> Self {
        let path = format!(
            "{}/tests/fixtures/{name}.safetensors",
            env!("CARGO_MANIFEST_DIR")
        );
        let raw = std::fs::read(path).expect("the fixture is there");
        let file = SafeTensors::deserialize(&raw).expect("a safetensors file");
        let (mut floats, mut ints, mut bytes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (name, view) in file.iter() {
            let words = view
                .data()
                .chunks_exact(4)
                .map(|b| [b[0], b[1], b[2], b[3]]);
            match view.dtype() {
                Dtype::F32 => {
                    drop(floats.insert(name.to_owned(), words.map(f32::from_le_bytes).collect()))
                }
                Dtype::I32 => {
                    drop(ints.insert(name.to_owned(), words.map(u32::from_le_bytes).collect()))
                }
                Dtype::U8 => drop(bytes.insert(name.to_owned(), view.data().to_vec())),
                other => panic!("{name} holds {other:?}"),
            }
        }
        Self {
            floats,
            ints,
            bytes,
            raw,
        }
    }

    pub fn floats(&self, name: &str) -> &[f32] {
        self.floats.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    pub fn ints(&self, name: &str) -> &[u32] {
        self.ints.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    pub fn bytes(&self, name: &str) -> &[u8] {
        self.bytes.get(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// The batch of the fixture, with its ranges as [`Fixture::ranges`] gives them.
    pub fn input<'a>(&'a self, ranges: &'a Ranges) -> ModelInput<'a> {
        ModelInput {
            tokens: self.ints("tokens"),
            positions: self.ints("positions"),
            segments: self.ints("segments"),
            prefixes: &ranges.prefixes,
            targets: &ranges.targets,
            pictures: self.bytes("pictures"),
            picture_at: self.ints("picture_at"),
            loss_at: self.ints("loss_at"),
            labels: self.ints("labels"),
            loss_weights: self.floats("loss_weights"),
        }
    }

    /// Prefixes and targets of the batch.
    pub fn ranges(&self) -> Ranges {
        Ranges {
            prefixes: self.ints("prefixes").as_chunks().0.to_vec(),
            targets: self.ints("targets").as_chunks().0.to_vec(),
        }
    }

    /// The model of the fixture's weights.
    pub fn model(&self, cfg: &ModelConfig) -> Model {
        let model = Model::new(cfg, 0).expect("a valid configuration");
        model
            .params()
            .load_safetensors(&self.part("weights."), true)
            .expect("every weight has its name and shape");
        model
    }

    /// The tensors whose names start with `prefix`, without it, as a file of their own.
    pub fn part(&self, prefix: &str) -> Vec<u8> {
        let file = SafeTensors::deserialize(&self.raw).expect("a safetensors file");
        let tensors = file
            .iter()
            .filter_map(|(n, view)| Some((n.strip_prefix(prefix)?.to_owned(), view)));
        safetensors::serialize(tensors.collect::<Vec<_>>(), None).expect("serialises")
    }

    /// Names of float tensors that start with `prefix`, without it.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.floats
            .keys()
            .filter_map(|n| Some(n.strip_prefix(prefix)?.to_owned()))
            .collect()
    }
}

/// All numbers of a tensor in order.
pub fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor
        .flatten_all()
        .and_then(|t| t.to_vec1())
        .expect("f32 numbers")
}

/// Largest difference relative to the largest expected number.
pub fn relative_error(got: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let scale = expected
        .iter()
        .fold(0.0f32, |m, x| m.max(x.abs()))
        .max(1e-6);
    let differ = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
    // A NaN anywhere must fail the comparison of the caller.
    differ.fold(0.0, |m, x| {
        if x.is_nan() {
            f64::INFINITY
        } else {
            f64::max(m, f64::from(x / scale))
        }
    })
}

/// The rule of `keyed` in `reference/model_resnet.py`: weights that both sides compute.
pub fn keyed(name: &str, shape: &[usize]) -> Vec<f32> {
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3)
    });
    let fan_in: usize = shape[1..].iter().product();
    let value = |u: f64| match shape.len() {
        4 => u * (24.0 / fan_in as f64).sqrt(),
        _ if name.ends_with("running_var") => 1.0 + u,
        _ if name.ends_with("weight") => (if name.contains("bn3") { 0.3 } else { 1.0 }) + 0.2 * u,
        _ => 0.2 * u,
    };
    let n: usize = shape.iter().product();
    (1..=n as u64)
        .map(|i| {
            let z = hash.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let z = z ^ (z >> 31);
            value((z >> 40) as f64 / f64::from(1u32 << 24) - 0.5) as f32
        })
        .collect()
}

/// A safetensors file of such weights.
pub fn keyed_file(shapes: &[(String, Vec<usize>)], change: impl Fn(&str, f32) -> f32) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(name, shape)| {
            let values = keyed(name, shape).into_iter();
            values.flat_map(|v| change(name, v).to_le_bytes()).collect()
        })
        .collect();
    let views = shapes.iter().zip(&bytes).map(|((name, shape), bytes)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("as many numbers");
        (name.as_str(), view)
    });
    safetensors::serialize(views, None).expect("serialises")
}

/// A model small enough for every test, with linear patches.
pub fn tiny() -> ModelConfig {
    ModelConfig {
        vocab_size: 29,
        d_model: 32,
        n_layers: 2,
        n_heads: 4,
        d_ff: 64,
        max_len: 16,
        patches: PatchConfig {
            kind: PatchKind::Linear,
            grid: 2,
            image_side: 8,
            ..PatchConfig::default()
        },
        ..ModelConfig::default()
    }
}

/// The configuration of the fixtures of whole models.
pub fn fixture_config() -> ModelConfig {
    ModelConfig {
        vocab_size: 23,
        d_model: 16,
        n_layers: 2,
        n_heads: 2,
        d_ff: 32,
        max_len: 12,
        patches: tiny().patches,
        ..ModelConfig::default()
    }
}

pub fn model(cfg: &ModelConfig) -> Model {
    Model::new(cfg, 5).expect("a valid configuration")
}

/// One sample in words.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub n_pictures: usize,
    pub source: Vec<u32>,
    pub targets: Vec<Vec<u32>>,
}

/// Owned arrays of a batch.
#[derive(Clone, Debug, Default)]
pub struct Arrays {
    pub tokens: Vec<u32>,
    pub positions: Vec<u32>,
    pub segments: Vec<u32>,
    pub prefixes: Vec<[u32; 2]>,
    pub targets: Vec<[u32; 3]>,
    pub pictures: Vec<u8>,
    pub picture_at: Vec<u32>,
    pub loss_at: Vec<u32>,
    pub labels: Vec<u32>,
    pub loss_weights: Vec<f32>,
}

impl Arrays {
    pub fn input(&self) -> ModelInput<'_> {
        ModelInput {
            tokens: &self.tokens,
            positions: &self.positions,
            segments: &self.segments,
            prefixes: &self.prefixes,
            targets: &self.targets,
            pictures: &self.pictures,
            picture_at: &self.picture_at,
            loss_at: &self.loss_at,
            labels: &self.labels,
            loss_weights: &self.loss_weights,
        }
    }

    fn text(&mut self, ids: &[u32], segment: u32) {
        for (i, &id) in ids.iter().enumerate() {
            self.tokens.push(id);
            self.positions.push(i as u32);
            self.segments.push(segment);
        }
    }

    fn here(&self) -> u32 {
        self.tokens.len() as u32
    }
}

/// Pixels that depend on nothing but the number of the picture.
pub fn picture(cfg: &ModelConfig, index: usize) -> Vec<u8> {
    (0..cfg.patches.picture_bytes())
        .map(|i| ((i * 37 + index * 91 + i * i / 7) % 256) as u8)
        .collect()
}

/// Packs samples; pictures are numbered from `first_picture`. The label of a word is the next one, of the last word 3.
pub fn pack(cfg: &ModelConfig, samples: &[Sample], first_picture: usize) -> Arrays {
    let mut out = Arrays::default();
    let n_patches = cfg.patches.n_patches();
    for sample in samples {
        let from = out.here();
        for _ in 0..sample.n_pictures {
            let index = first_picture + out.picture_at.len();
            out.picture_at.push(out.here());
            out.pictures.extend(picture(cfg, index));
            out.text(&vec![0; n_patches], 0);
        }
        out.text(&sample.source, 1);
        out.prefixes.push([from, out.here()]);
        let prefix = out.prefixes.len() as u32 - 1;
        for target in &sample.targets {
            let start = out.here();
            out.text(target, 2);
            out.targets.push([prefix, start, out.here()]);
            for i in 0..target.len() {
                out.loss_at.push(start + i as u32);
                out.labels.push(target.get(i + 1).copied().unwrap_or(3));
            }
        }
    }
    out.loss_weights = vec![1.0 / out.labels.len().max(1) as f32; out.labels.len()];
    out
}

/// Samples with every combination of empty and filled segments.
pub fn samples() -> Vec<Sample> {
    let sample = |n_pictures, source: &[u32], targets: &[&[u32]]| Sample {
        n_pictures,
        source: source.to_vec(),
        targets: targets.iter().map(|t| t.to_vec()).collect(),
    };
    vec![
        sample(1, &[], &[&[2, 7, 8, 9], &[2, 11, 12]]),
        sample(1, &[5, 6, 4], &[&[2, 13, 14, 15, 16]]),
        sample(0, &[9, 4, 10], &[&[2, 9, 17]]),
        sample(0, &[], &[&[2, 18, 19, 20]]),
        sample(2, &[21], &[&[2]]),
        sample(1, &[], &[]),
    ]
}

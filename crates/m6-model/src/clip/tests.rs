//! Chinese-CLIP against `transformers` (`reference/clip.py`), and files that do not fit.

use super::*;
use m6_nn::Device;
use m6_nn::tolerance::{LOGITS_F32, OP_F32, assert_close};
use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

const TEXTS: [&str; 3] = ["左边有三个红色圆形", "一只 Cat 在 blue 蓝色方形上。", ""];
const N_PICTURES: usize = 3;

fn read(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/clip");
    std::fs::read(format!("{folder}/{name}")).expect("the fixture is committed")
}

struct Folder {
    config: Vec<u8>,
    preprocessor: Vec<u8>,
    vocabulary: Vec<u8>,
    weights: Vec<u8>,
}

impl Folder {
    fn tiny() -> Self {
        Self {
            config: read("config.json"),
            preprocessor: read("preprocessor_config.json"),
            vocabulary: read("vocab.txt"),
            weights: read("model.safetensors"),
        }
    }

    fn open(&self) -> Result<ChineseClip> {
        ChineseClip::new(&ClipFiles {
            config: &self.config,
            preprocessor: Some(&self.preprocessor),
            vocabulary: &self.vocabulary,
            weights: &self.weights,
        })
    }

    fn problem(&self) -> String {
        self.open().err().expect("refused").to_string()
    }

    /// Changes fields of `config.json`, named by their paths.
    fn configured(changes: &[(&str, Value)]) -> Self {
        let mut folder = Self::tiny();
        let mut config: Value = serde_json::from_slice(&folder.config).unwrap();
        for (path, value) in changes {
            *config.pointer_mut(path).expect("is there") = value.clone();
        }
        folder.config = config.to_string().into_bytes();
        folder
    }

    /// Changes the list of tensors.
    fn reweighted(change: impl Fn(&mut Vec<(String, TensorView<'_>)>)) -> Self {
        let mut folder = Self::tiny();
        let file = SafeTensors::deserialize(&folder.weights).unwrap();
        let mut tensors = file.tensors();
        change(&mut tensors);
        folder.weights = safetensors::serialize(tensors, None).unwrap();
        folder
    }
}

struct Expected(Vec<u8>);

impl Expected {
    fn words(&self, name: &str) -> Vec<[u8; 4]> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).expect("is there");
        let words = view.data().chunks_exact(4);
        words.map(|w| [w[0], w[1], w[2], w[3]]).collect()
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        let words = self.words(name).into_iter();
        words.map(|w| f64::from(f32::from_le_bytes(w))).collect()
    }

    fn ids(&self, name: &str) -> Vec<u32> {
        self.words(name)
            .into_iter()
            .map(u32::from_le_bytes)
            .collect()
    }

    fn picture(&self, i: usize) -> Rgb8 {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(&format!("picture.{i}")).expect("is there");
        let (height, width) = (view.shape()[0], view.shape()[1]);
        Rgb8::from_hwc(width, height, view.data().to_vec()).unwrap()
    }
}

fn expected() -> Expected {
    Expected(read("expected.safetensors"))
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    let values = view::<f32>(tensor).unwrap();
    values.iter().map(|v| f64::from(*v)).collect()
}

fn normalised(features: &[f64]) -> Vec<f64> {
    let length = features.iter().map(|v| v * v).sum::<f64>().sqrt();
    features.iter().map(|v| v / length).collect()
}

fn widened(features: &[f32]) -> Vec<f64> {
    features.iter().map(|v| f64::from(*v)).collect()
}

#[test]
fn pictures_become_the_processors_numbers() {
    let (tiny, expected) = (Folder::tiny(), expected());
    let stretched = Preprocess::parse(Some(&tiny.preprocessor), 32).unwrap();
    assert_eq!(stretched, Preprocess::parse(None, 32).unwrap());
    let cut = json!({"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}});
    let cut = Preprocess::parse(Some(cut.to_string().as_bytes()), 32).unwrap();
    for i in 0..N_PICTURES {
        for (how, name) in [(&stretched, "pixels"), (&cut, "cut")] {
            let got = flat(&how.pixels(&expected.picture(i)).unwrap());
            let want = expected.numbers(&format!("{name}.{i}"));
            assert_close(&format!("{name}.{i}"), &got, &want, OP_F32);
        }
    }
}

#[test]
fn texts_become_the_tokenizers_ids_and_the_towers_features() {
    let (clip, expected) = (Folder::tiny().open().unwrap(), expected());
    let long = "红".repeat(80);
    for (i, text) in TEXTS.iter().copied().chain([&*long]).enumerate() {
        assert_eq!(
            clip.tokens(text),
            expected.ids(&format!("ids.{i}")),
            "{text}"
        );
        let want = expected.numbers(&format!("text.{i}"));
        let raw = clip.text.forward(&clip.tokens(text)).unwrap();
        assert_close(text, &flat(&raw), &want, LOGITS_F32);
        let features = clip.texts(&[text]).unwrap().remove(0);
        assert_close(text, &widened(&features), &normalised(&want), LOGITS_F32);
    }
}

#[test]
fn pixels_become_the_towers_features() {
    let (clip, expected) = (Folder::tiny().open().unwrap(), expected());
    for i in 0..N_PICTURES {
        let pixels = expected.numbers(&format!("pixels.{i}"));
        let pixels: Vec<f32> = pixels.into_iter().map(|v| v as f32).collect();
        let pixels = Tensor::from_vec(pixels, (1, 3, 32, 32), &Device::Cpu).unwrap();
        let raw = flat(&clip.vision.forward(&pixels).unwrap());
        let want = expected.numbers(&format!("image.{i}"));
        assert_close(&format!("picture {i}"), &raw, &want, LOGITS_F32);
    }
}

#[test]
fn logits_are_those_of_the_padded_batch() {
    let (clip, expected) = (Folder::tiny().open().unwrap(), expected());
    // The first picture is not scaled, so that its pixels are the same to the bit.
    let picture = [expected.picture(0)];
    let want = expected.numbers("logits");
    let mut got = Vec::new();
    for text in TEXTS {
        let score = clip.score(text, &picture).unwrap()[0];
        assert!((-1.0..=1.0).contains(&score));
        got.push(score * clip.logit_scale());
    }
    let want: Vec<f64> = (0..TEXTS.len()).map(|i| want[i * N_PICTURES]).collect();
    assert_close("logits", &got, &want, LOGITS_F32);
}

#[test]
fn features_have_length_one_and_do_not_depend_on_company() {
    let (clip, expected) = (Folder::tiny().open().unwrap(), expected());
    let pictures: Vec<Rgb8> = (0..N_PICTURES).map(|i| expected.picture(i)).collect();
    let together = clip.images(&pictures).unwrap();
    for (picture, features) in pictures.iter().zip(&together) {
        assert_eq!(
            &clip.images(std::slice::from_ref(picture)).unwrap()[0],
            features
        );
        assert!((cosine(features, features) - 1.0).abs() < 1e-6);
    }
    assert_ne!(together[0], together[1]);
    let scores = clip.score(TEXTS[0], &pictures).unwrap();
    let text = &clip.texts(&[TEXTS[0]]).unwrap()[0];
    assert_eq!(scores[1], cosine(&together[1], text));
}

#[test]
fn a_configuration_that_does_not_fit_names_field_or_tensor() {
    let check = |path: &str, value: Value, parts: &[&str]| {
        let problem = Folder::configured(&[(path, value)]).problem();
        for part in parts {
            assert!(problem.contains(part), "{part} is not in: {problem}");
        }
    };
    check(
        "/model_type",
        json!("clip"),
        &["config.json", "model_type", "chinese_clip"],
    );
    check(
        "/text_config/hidden_act",
        json!("swish"),
        &["config.json", "swish", "quick_gelu"],
    );
    check(
        "/text_config/num_attention_heads",
        json!(5),
        &["text_config.num_attention_heads", "32"],
    );
    check(
        "/vision_config/patch_size",
        json!(0),
        &["vision_config.patch_size is 0"],
    );
    check(
        "/vision_config/layer_norm_eps",
        json!(-1.0),
        &["vision_config.layer_norm_eps"],
    );
    check("/projection_dim", json!(1u64 << 40), &["projection_dim"]);
    check("/text_config/vocab_size", json!(-3), &["config.json"]);
    check("/text_config/vocab_size", json!(20), &["vocab.txt", "20"]);
    // Sizes that nothing could hold are refused by the shape in the file, before anything is made.
    check(
        "/text_config/vocab_size",
        json!(1_000_000),
        &[
            "text_model.embeddings.word_embeddings.weight",
            "[38, 32]",
            "[1000000, 32]",
        ],
    );
    check(
        "/vision_config/image_size",
        json!(64),
        &["preprocessor_config.json", "32x32", "64"],
    );
    check(
        "/vision_config/patch_size",
        json!(16),
        &[
            "vision_model.embeddings.patch_embedding.weight",
            "[32, 3, 8, 8]",
            "[32, 3, 16, 16]",
        ],
    );
    check(
        "/text_config/num_hidden_layers",
        json!(1_000_000_000),
        &[
            "no tensor text_model.encoder.layer.2.attention.self.query.weight",
            "[32, 32]",
        ],
    );
    check(
        "/vision_config/num_hidden_layers",
        json!(1),
        &[
            "belong to no part",
            "vision_model.encoder.layers.1.layer_norm1.bias",
            "[32]",
        ],
    );
}

#[test]
fn weights_that_do_not_fit_are_named_with_their_shapes() {
    let name = "vision_model.encoder.layers.0.self_attn.k_proj.weight";
    let lost = Folder::reweighted(|tensors| tensors.retain(|(n, _)| n != name));
    let problem = lost.problem();
    assert!(
        problem.contains(name) && problem.contains("[32, 32]"),
        "{problem}"
    );
    let foreign = Folder::reweighted(|tensors| {
        let (_, view) = tensors[0].clone();
        tensors.push(("loss.weight".into(), view));
    });
    assert!(foreign.problem().contains("loss.weight"));
    // What old versions saved is passed over.
    let old = Folder::reweighted(|tensors| {
        let (_, view) = tensors[0].clone();
        tensors.push(("text_model.embeddings.position_ids".into(), view));
    });
    assert!(old.open().is_ok());
    let mut cut = Folder::tiny();
    cut.weights.truncate(100_000);
    assert!(
        cut.problem().contains("model.safetensors"),
        "{}",
        cut.problem()
    );
    let mut other = Folder::tiny();
    other.vocabulary = b"[PAD]\n[UNK]\n".to_vec();
    assert!(other.problem().contains("vocab.txt"), "{}", other.problem());
    let nan = f32::NAN.to_le_bytes().repeat(32);
    let mut damaged = Folder::tiny();
    let file = SafeTensors::deserialize(&damaged.weights).unwrap();
    let tensors = file.tensors().into_iter().map(|(name, view)| {
        let view = match name == "vision_model.post_layernorm.weight" {
            true => TensorView::new(view.dtype(), vec![32], &nan).unwrap(),
            false => view,
        };
        (name, view)
    });
    damaged.weights = safetensors::serialize(tensors.collect::<Vec<_>>(), None).unwrap();
    let clip = damaged.open().unwrap();
    let error = clip.images(&[expected().picture(0)]).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn a_preprocessor_that_is_not_followed_is_refused() {
    let check = |file: Value, part: &str| {
        let bytes = file.to_string();
        let error = Preprocess::parse(Some(bytes.as_bytes()), 32)
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{part} is not in: {error}");
    };
    check(
        json!({"size": 32, "do_center_crop": false, "resample": 0}),
        "resample is 0",
    );
    check(json!({"size": 16, "do_center_crop": false}), "16x16");
    check(
        json!({"size": {"shortest_edge": 32}, "do_center_crop": false}),
        "do_center_crop",
    );
    check(
        json!({"size": {"shortest_edge": 8}, "crop_size": 32}),
        "shortest_edge",
    );
    check(json!({"do_resize": false}), "do_resize");
    check(
        json!({"size": 32, "do_center_crop": false, "image_std": [1.0, 0.0, 1.0]}),
        "image_std",
    );
    check(json!([]), "preprocessor_config.json");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pictures_of_any_shape_have_features(w in 0usize..60, h in 0usize..60, long in 1usize..40) {
        let bytes = json!({"size": {"shortest_edge": 32}, "crop_size": 32}).to_string();
        for how in [Preprocess::parse(None, 32).unwrap(), Preprocess::parse(Some(bytes.as_bytes()), 32).unwrap()] {
            let pixels = how.pixels(&Rgb8::filled(w * long, h, [9, 99, 199])).unwrap();
            prop_assert_eq!(pixels.dims(), &[1, 3, 32, 32]);
        }
    }

    #[test]
    fn hostile_files_never_panic(at: usize, byte: u8, which in 0usize..4) {
        let mut folder = Folder::tiny();
        let file = match which {
            0 => &mut folder.config,
            1 => &mut folder.preprocessor,
            2 => &mut folder.vocabulary,
            _ => &mut folder.weights,
        };
        // Damage in the header, not in the numbers.
        let n = file.len().min(4000);
        file[at % n] = byte;
        let _ = folder.open();
    }
}

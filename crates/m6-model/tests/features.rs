//! Loaded feature networks against PyTorch (`reference/model_features.py`): Inception of FID, VGG16 under LPIPS, ResNet-50.

mod common;

use common::{Fixture, keyed_file, numbers, relative_error};
use m6_model::features::Inception;
use m6_model::vqgan::{Perceptual, to_tensor};
use m6_model::{Model, ModelConfig, PatchConfig, PatchKind};
use m6_nn::tolerance::{BLOCK_F32, LOGITS_F32};
use m6_nn::{Tensor, Var, gradient_at};

/// The rule of `pixels` in the script.
fn pixels(height: usize, width: usize, seed: usize) -> Vec<u8> {
    (0..3 * height * width)
        .map(|i| {
            let noise = (i * 37 + seed * 91 + i * i / 7) % 64;
            let wave = (i % width) * (3 + seed) + i / width * 2;
            ((wave + noise) % 256) as u8
        })
        .collect()
}

/// Names and shapes of pytorch-fid's weights, as PyTorch lists them.
fn inception_shapes() -> Vec<(String, Vec<usize>)> {
    let text = include_str!("fixtures/inception_shapes.txt");
    let line = |line: &str| {
        let (name, shape) = line.split_once(' ')?;
        let shape = shape.split('x').map(|n| n.parse().expect("a size"));
        Some((name.to_owned(), shape.collect()))
    };
    text.lines().filter_map(line).collect()
}

#[test]
fn inception_equals_pytorch_fid() {
    let file = keyed_file(&inception_shapes(), |_, v| v);
    let net = Inception::load(&file).expect("names and shapes fit");
    let fixture = Fixture::read("inception");
    for (name, h, w) in [("small", 40, 56), ("large", 310, 330)] {
        let got = net.features(h, w, &pixels(h, w, 1)).expect("runs");
        assert_eq!(got.len(), Inception::N_FEATURES);
        let error = relative_error(&got, fixture.floats(name));
        assert!(error <= LOGITS_F32, "{name}: {error:e}");
    }
    let two = [pixels(40, 56, 1), pixels(40, 56, 2)].concat();
    let got = net.features(40, 56, &two).expect("runs");
    let alone = net.features(40, 56, &pixels(40, 56, 1)).expect("runs");
    assert!(
        got[..2048] == alone && got[2048..] != alone,
        "a picture has the features it has alone"
    );
    assert!(net.features(40, 56, &two[1..]).is_err());
    assert!(net.features(0, 56, &[]).is_err());
}

#[test]
fn a_file_of_another_network_names_what_is_missing() {
    let other = keyed_file(&[("conv1.weight".into(), vec![4, 3, 3, 3])], |_, v| v);
    let error = Inception::load(&other).err().expect("another network");
    assert!(
        error.to_string().contains("Conv2d_1a_3x3.conv.weight"),
        "{error}"
    );
    assert!(Inception::load(b"no such file").is_err());
    let error = Perceptual::from_safetensors(&other)
        .err()
        .expect("neither network");
    assert!(error.to_string().contains("features.0.weight"), "{error}");
}

/// VGG16's convolutions, and LPIPS's layers for the first `n_lins` stages.
fn vgg_shapes(n_lins: usize) -> Vec<(String, Vec<usize>)> {
    let layers = [
        (0, 3, 64),
        (2, 64, 64),
        (5, 64, 128),
        (7, 128, 128),
        (10, 128, 256),
        (12, 256, 256),
        (14, 256, 256),
        (17, 256, 512),
        (19, 512, 512),
        (21, 512, 512),
        (24, 512, 512),
        (26, 512, 512),
        (28, 512, 512),
    ];
    let mut out = Vec::new();
    for (at, c_in, c_out) in layers {
        out.push((format!("features.{at}.weight"), vec![c_out, c_in, 3, 3]));
        out.push((format!("features.{at}.bias"), vec![c_out]));
    }
    for (stage, c) in [64, 128, 256, 512, 512]
        .into_iter()
        .enumerate()
        .take(n_lins)
    {
        out.push((format!("lin{stage}.model.1.weight"), vec![1, c, 1, 1]));
    }
    out
}

fn vgg_file(n_lins: usize) -> Vec<u8> {
    keyed_file(&vgg_shapes(n_lins), |name, v| {
        match name.starts_with("lin") {
            true => v.abs(),
            false => v,
        }
    })
}

fn pictures(seed: usize) -> Tensor {
    let bytes = [pixels(32, 40, seed), pixels(32, 40, seed + 1)].concat();
    // `to_tensor` cuts squares; the values are the same for any cut.
    let flat = to_tensor(&bytes, 16).expect("whole squares");
    flat.reshape((2, 3, 32, 40)).expect("as many numbers")
}

#[test]
fn vgg_distance_and_its_gradient_at_the_picture_equal_lpips() {
    let fixture = Fixture::read("perceptual");
    for (case, n_lins, name) in [
        ("lpips", 5, "VGG16 with the weights of LPIPS"),
        ("plain", 0, "VGG16 without the weights of LPIPS"),
    ] {
        let net = Perceptual::from_safetensors(&vgg_file(n_lins)).expect("fits");
        assert_eq!(net.name(), name);
        let (x, y) = (pictures(2), Var::from_tensor(&pictures(5)).expect("plain"));
        let distance = net.distance(&x, y.as_tensor()).expect("runs");
        let value = fixture.floats(&format!("{case}.value"));
        let error = relative_error(&numbers(&distance), value);
        assert!(error <= BLOCK_F32, "{case}: {error:e}");
        let dy = gradient_at(&distance, &y).expect("runs");
        let error = relative_error(&numbers(&dy), fixture.floats(&format!("{case}.dy")));
        assert!(error <= LOGITS_F32, "gradient of {case}: {error:e}");
        let none = net.distance(&x, &x).expect("runs");
        assert_eq!(numbers(&none), [0.0]);
    }
}

#[test]
fn half_of_lpips_and_too_small_pictures_are_errors() {
    let error = Perceptual::from_safetensors(&vgg_file(3))
        .err()
        .expect("lin3 and lin4 are missing");
    assert!(error.to_string().contains("3 of the 5 layers"), "{error}");
    let net = Perceptual::from_safetensors(&vgg_file(0)).expect("fits");
    let tiny = to_tensor(&[9; 3 * 64], 8).expect("a picture");
    let error = net.distance(&tiny, &tiny).expect_err("8 pixels");
    assert!(error.to_string().contains("8 x 8 pixels"), "{error}");
}

#[test]
fn a_resnet_file_compares_as_a_model_that_loaded_it() {
    let model = || {
        let patches = PatchConfig {
            kind: PatchKind::Resnet50,
            ..PatchConfig::default()
        };
        let cfg = ModelConfig {
            patches,
            ..common::tiny()
        };
        Model::new(&cfg, 3).expect("valid")
    };
    let source = model();
    let file = source.params().to_safetensors().expect("serialises");
    let net = Perceptual::from_safetensors(&file).expect("fits");
    assert_eq!(net.name(), "ResNet-50");
    let want = Perceptual::new(source).expect("a network");
    let (x, y) = (pictures(2), pictures(5));
    let got = numbers(&net.distance(&x, &y).expect("runs"));
    assert_eq!(got, numbers(&want.distance(&x, &y).expect("runs")));
    assert!(got[0] > 0.0);
}

#[test]
fn features_of_a_picture_are_the_mean_over_its_patches() {
    let patches = PatchConfig {
        kind: PatchKind::Resnet,
        grid: 2,
        image_side: 16,
        widths: vec![8, 8],
        blocks: vec![0, 1],
        ..PatchConfig::default()
    };
    let cfg = ModelConfig {
        patches,
        ..common::tiny()
    };
    let model = common::model(&cfg);
    let bytes = [common::picture(&cfg, 0), common::picture(&cfg, 1)].concat();
    let rows = numbers(&model.patch_features(&bytes).expect("runs"));
    let got = model.picture_features(&bytes).expect("runs");
    assert_eq!(got.len(), 2 * 8);
    for (i, value) in got.iter().enumerate() {
        let patches = (0..4).map(|p| rows[(i / 8 * 4 + p) * 8 + i % 8]);
        assert!((value - patches.sum::<f32>() / 4.0).abs() < 1e-6);
    }
    assert!(model.picture_features(&bytes[1..]).is_err());
    assert!(model.picture_features(&[]).is_err());
    let linear = common::model(&common::tiny());
    assert!(linear.picture_features(&bytes).is_err());
}

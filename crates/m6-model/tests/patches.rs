//! The patch networks against PyTorch and torchvision (`reference/model_resnet.py`).

mod common;

use common::{Fixture, keyed, numbers, relative_error};
use m6_model::{ModelConfig, PatchConfig, PatchKind, PatchScope};
use m6_nn::{Device, Tensor, tolerance};

fn with_patches(patches: PatchConfig) -> ModelConfig {
    ModelConfig {
        patches,
        ..common::tiny()
    }
}

fn small() -> ModelConfig {
    with_patches(PatchConfig {
        kind: PatchKind::Resnet,
        grid: 2,
        image_side: 16,
        widths: vec![8, 8, 16],
        blocks: vec![0, 1, 0],
        norm_groups: 4,
        scope: PatchScope::Picture,
        ..PatchConfig::default()
    })
}

fn narrow() -> ModelConfig {
    with_patches(PatchConfig {
        kind: PatchKind::Resnet50,
        grid: 2,
        image_side: 64,
        widths: vec![4, 4],
        blocks: vec![1, 2],
        ..PatchConfig::default()
    })
}

/// Features, and gradients of `sum(features * probe)`, of one case of the fixture.
fn check(case: &str, cfg: &ModelConfig) {
    let fixture = Fixture::read("model_resnet");
    let model = common::model(cfg);
    let unused = model
        .load_patch_network(&fixture.part(&format!("{case}.weights.")))
        .expect("names and shapes fit");
    assert!(unused.is_empty(), "{unused:?}");
    let features = model
        .patch_features(fixture.bytes(&format!("{case}.pictures")))
        .expect("runs");
    let error = relative_error(
        &numbers(&features),
        fixture.floats(&format!("{case}.features")),
    );
    assert!(
        error <= tolerance::BLOCK_F32,
        "features of {case}: {error:e}"
    );

    let probe = Tensor::from_slice(
        fixture.floats(&format!("{case}.probe")),
        features.dims(),
        &Device::Cpu,
    );
    let loss = (features * probe.expect("as many numbers"))
        .and_then(|x| x.sum_all())
        .expect("runs");
    m6_nn::backward(&loss, model.params()).expect("runs");
    let prefix = format!("{case}.grads.");
    let names = fixture.names(&prefix);
    assert!(!names.is_empty());
    for name in names {
        let param = model.params().get(&name).expect("a parameter of that name");
        let got = param
            .grad_f32()
            .unwrap_or_else(|| panic!("no gradient of {name}"));
        let error = relative_error(&got, fixture.floats(&format!("{prefix}{name}")));
        assert!(
            error <= tolerance::LOGITS_F32,
            "gradient of {name}: {error:e}"
        );
    }
}

#[test]
fn group_norm_network_equals_pytorch() {
    check("small", &small());
}

#[test]
fn bottlenecks_with_folded_norms_equal_torchvision() {
    check("narrow", &narrow());
}

#[test]
fn resnet50_equals_torchvision() {
    let cfg = with_patches(PatchConfig {
        grid: 1,
        image_side: 64,
        ..PatchConfig::default()
    });
    let model = common::model(&cfg);
    for param in model.params() {
        let Some(name) = param
            .name()
            .strip_prefix("patches.")
            .filter(|n| !n.starts_with("proj."))
        else {
            continue;
        };
        let tensor = Tensor::from_vec(keyed(name, param.shape()), param.shape(), &Device::Cpu)
            .expect("fits");
        param.var().set(&tensor).expect("same shape");
    }
    let fixture = Fixture::read("model_resnet");
    let features =
        m6_nn::no_grad(|| model.patch_features(fixture.bytes("full.pictures"))).expect("runs");
    assert_eq!(features.dims(), [1, 2048]);
    let error = relative_error(&numbers(&features), fixture.floats("full.features"));
    assert!(error <= tolerance::LOGITS_F32, "{error:e}");
}

#[test]
fn torchvision_file_loads_by_its_own_names_and_reports_the_rest() {
    let model = common::model(&narrow());
    let source = common::model(&narrow());
    let bytes = source.params().to_safetensors().expect("serialises");
    let unused = model.load_patch_network(&bytes).expect("fits");
    assert!(
        unused.iter().any(|n| n == "embed.tokens")
            && unused.iter().any(|n| n == "patches.proj.weight")
    );
    assert!(!unused.iter().any(|n| n.contains("conv1")));
    let fixture = Fixture::read("model_resnet");
    let other = model
        .load_patch_network(&fixture.part("small.weights.patches."))
        .expect_err("another network");
    assert!(other.to_string().contains("conv1.weight"), "{other}");
    assert!(model.load_patch_network(b"no such file").is_err());
    assert!(
        common::model(&common::tiny())
            .load_patch_network(&bytes)
            .is_err()
    );
}

#[test]
fn frozen_network_gets_no_gradient_but_the_projection_does() {
    let mut cfg = small();
    cfg.patches.trained = false;
    let model = common::model(&cfg);
    let arrays = common::pack(&cfg, &common::samples(), 0);
    let output = model
        .forward(&arrays.input(), &Default::default())
        .expect("runs");
    m6_nn::backward(&output.loss, model.params()).expect("runs");
    for param in model.params() {
        let frozen = param.name().starts_with("patches.stages.");
        assert_eq!(param.grad_f32().is_none(), frozen, "{}", param.name());
    }
}

#[test]
fn cell_scope_does_not_see_over_cell_borders() {
    for scope in [PatchScope::Cell, PatchScope::Picture] {
        let mut cfg = small();
        cfg.patches.scope = scope;
        let model = common::model(&cfg);
        let mut pixels = common::picture(&cfg, 0);
        let before = numbers(&model.patch_features(&pixels).expect("runs"));
        // The last pixel belongs to the last cell.
        let last = pixels.len() - 1;
        pixels[last] ^= 0xFF;
        let after = numbers(&model.patch_features(&pixels).expect("runs"));
        let n = before.len() / 4;
        assert_ne!(before[3 * n..], after[3 * n..]);
        assert_eq!(before[..n] == after[..n], scope == PatchScope::Cell);
    }
}

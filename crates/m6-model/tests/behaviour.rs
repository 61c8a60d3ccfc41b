//! What the model promises whatever its weights are.

mod common;

use common::{Arrays, Sample, model, numbers, pack, picture, relative_error, samples, tiny};
use m6_model::{
    ForwardOptions, Model, ModelConfig, ModelInput, PatchConfig, PatchKind, PatchScope, count,
};
use m6_nn::optimizer::{Optimizer, OptimizerConfig};
use m6_nn::tolerance;
use std::collections::BTreeSet;
use std::time::Instant;

fn logits(model: &Model, input: &ModelInput<'_>) -> Vec<f32> {
    numbers(
        &model
            .logits(input, &ForwardOptions::default())
            .expect("runs"),
    )
}

#[test]
fn count_equals_the_built_model() {
    let narrow = PatchConfig {
        kind: PatchKind::Resnet50,
        grid: 2,
        image_side: 64,
        widths: vec![4, 8],
        blocks: vec![1, 2],
        ..PatchConfig::default()
    };
    let resnet = PatchConfig {
        kind: PatchKind::Resnet,
        grid: 4,
        image_side: 64,
        scope: PatchScope::Picture,
        ..PatchConfig::default()
    };
    for patches in [tiny().patches, narrow, resnet] {
        for tie_embeddings in [true, false] {
            let cfg = ModelConfig {
                patches: patches.clone(),
                tie_embeddings,
                ..tiny()
            };
            assert_eq!(
                count(&cfg).params_total,
                model(&cfg).params().n_elements() as u64,
                "{cfg:?}"
            );
        }
    }
}

#[test]
fn weights_are_keyed_by_seed_and_name() {
    let bytes = |cfg: &ModelConfig, seed| {
        let model = Model::new(cfg, seed).expect("valid");
        model
            .params()
            .get("blocks.1.ffn.up.weight")
            .map(|p| numbers(&p.tensor()))
            .expect("a parameter")
    };
    assert_eq!(bytes(&tiny(), 1), bytes(&tiny(), 1));
    assert_ne!(bytes(&tiny(), 1), bytes(&tiny(), 2));
    assert_eq!(
        bytes(&tiny(), 1),
        bytes(
            &ModelConfig {
                vocab_size: 77,
                ..tiny()
            },
            1
        )
    );
    let w = bytes(
        &ModelConfig {
            d_model: 256,
            d_ff: 512,
            ..tiny()
        },
        1,
    );
    let std = (w.iter().map(|x| f64::from(x * x)).sum::<f64>() / w.len() as f64).sqrt();
    assert!((std / 0.02 - 1.0).abs() < 0.02, "{std}");
}

#[test]
fn bad_configurations_are_refused() {
    let error = Model::new(
        &ModelConfig {
            n_heads: 5,
            dropout: 2.0,
            ..tiny()
        },
        0,
    )
    .err()
    .expect("refused");
    assert!(
        error.to_string().contains("n_heads") && error.to_string().contains("dropout"),
        "{error}"
    );
}

#[test]
fn packed_samples_give_what_each_gives_alone() {
    let cfg = tiny();
    let model = model(&cfg);
    let packed = logits(&model, &pack(&cfg, &samples(), 0).input());
    let (mut at, mut first_picture) = (0, 0);
    for sample in samples() {
        let alone = logits(
            &model,
            &pack(&cfg, std::slice::from_ref(&sample), first_picture).input(),
        );
        first_picture += sample.n_pictures;
        let error = relative_error(&packed[at..at + alone.len()], &alone);
        assert!(error <= tolerance::OP_F32, "{sample:?}: {error:e}");
        at += alone.len();
    }
    assert_eq!(at, packed.len());
}

#[test]
fn targets_that_share_a_prefix_do_not_see_each_other() {
    let cfg = tiny();
    let model = model(&cfg);
    let both = Sample {
        n_pictures: 1,
        source: vec![5],
        targets: vec![vec![2, 7, 8], vec![2, 9]],
    };
    let second = Sample {
        targets: vec![vec![2, 9]],
        ..both.clone()
    };
    let shared = logits(&model, &pack(&cfg, &[both], 0).input());
    let alone = logits(&model, &pack(&cfg, &[second], 0).input());
    let tail = 2 * cfg.vocab_size;
    let error = relative_error(&shared[shared.len() - tail..], &alone[alone.len() - tail..]);
    assert!(error <= tolerance::OP_F32, "{error:e}");
}

#[test]
fn future_words_change_nothing_before_them() {
    let cfg = tiny();
    let model = model(&cfg);
    let sample = Sample {
        n_pictures: 1,
        source: vec![5, 6],
        targets: vec![vec![2, 7, 8, 9]],
    };
    let mut changed = sample.clone();
    changed.targets[0][3] = 10;
    let (a, b) = (
        logits(&model, &pack(&cfg, &[sample], 0).input()),
        logits(&model, &pack(&cfg, &[changed], 0).input()),
    );
    let before = a.len() - cfg.vocab_size;
    assert_eq!(a[..before], b[..before]);
    assert_ne!(a[before..], b[before..]);
}

#[test]
fn picture_words_and_their_order_matter() {
    let cfg = tiny();
    let model = model(&cfg);
    let sample = Sample {
        n_pictures: 1,
        source: vec![5, 6],
        targets: vec![vec![2]],
    };
    let last = |sample: &Sample, first_picture| {
        let all = logits(
            &model,
            &pack(&cfg, std::slice::from_ref(sample), first_picture).input(),
        );
        all[all.len() - cfg.vocab_size..].to_vec()
    };
    let turned = Sample {
        source: vec![6, 5],
        ..sample.clone()
    };
    assert_ne!(last(&sample, 0), last(&sample, 1));
    assert_ne!(last(&sample, 0), last(&turned, 0));
}

/// Loss and all gradients.
fn gradients(
    model: &Model,
    arrays: &Arrays,
    options: &ForwardOptions,
) -> (f32, Vec<Option<Vec<f32>>>) {
    model.params().zero_grads();
    let output = model.forward(&arrays.input(), options).expect("runs");
    m6_nn::backward(&output.loss, model.params()).expect("runs");
    let loss = output.loss.to_scalar().expect("a scalar");
    (loss, model.params().iter().map(|p| p.grad_f32()).collect())
}

#[test]
fn checkpointing_is_bit_equal() {
    let cfg = tiny();
    let (model, arrays) = (model(&cfg), pack(&cfg, &samples(), 0));
    for train in [false, true] {
        let plain = ForwardOptions {
            train,
            dropout_key: 9,
            ..ForwardOptions::default()
        };
        let (loss, grads) = gradients(&model, &arrays, &plain);
        let (again, grads_again) = gradients(
            &model,
            &arrays,
            &ForwardOptions {
                checkpoint: true,
                ..plain
            },
        );
        assert_eq!(loss.to_bits(), again.to_bits());
        assert!(grads == grads_again, "a gradient differs (train {train})");
    }
}

#[test]
fn dropout_follows_its_key() {
    let cfg = tiny();
    let (model, arrays) = (model(&cfg), pack(&cfg, &samples(), 0));
    let loss = |train, dropout_key| {
        let options = ForwardOptions {
            train,
            dropout_key,
            ..ForwardOptions::default()
        };
        model
            .forward(&arrays.input(), &options)
            .expect("runs")
            .loss
            .to_scalar::<f32>()
            .expect("a scalar")
    };
    assert_eq!(loss(true, 1), loss(true, 1));
    assert_ne!(loss(true, 1), loss(true, 2));
    assert_eq!(loss(false, 1), loss(false, 2));
    assert_ne!(loss(true, 1), loss(false, 1));
}

#[test]
fn smoothing_changes_the_loss_but_not_the_nll() {
    let cfg = tiny();
    let (model, arrays) = (model(&cfg), pack(&cfg, &samples(), 0));
    let plain = model
        .forward(&arrays.input(), &ForwardOptions::default())
        .expect("runs");
    let options = ForwardOptions {
        label_smoothing: 0.1,
        ..ForwardOptions::default()
    };
    let smooth = model.forward(&arrays.input(), &options).expect("runs");
    assert_eq!(plain.nll, smooth.nll);
    let mean = plain.nll.iter().sum::<f32>() / plain.nll.len() as f32;
    let loss: f32 = plain.loss.to_scalar().expect("a scalar");
    assert!((loss / mean - 1.0).abs() < 1e-5, "{loss} and {mean}");
    assert_ne!(loss, smooth.loss.to_scalar::<f32>().expect("a scalar"));
    let uniform = Arrays {
        loss_weights: Vec::new(),
        ..arrays
    };
    let again = model
        .forward(&uniform.input(), &ForwardOptions::default())
        .expect("runs");
    assert_eq!(loss, again.loss.to_scalar::<f32>().expect("a scalar"));
}

#[test]
fn contradicting_inputs_are_named() {
    let cfg = tiny();
    let model = model(&cfg);
    let check = |change: &dyn Fn(&mut Arrays), word: &str| {
        let mut arrays = pack(&cfg, &samples(), 0);
        change(&mut arrays);
        let error = model
            .forward(&arrays.input(), &ForwardOptions::default())
            .expect_err(word)
            .to_string();
        assert!(error.contains(word), "{error:?} does not say {word:?}");
    };
    check(&|a| a.tokens[8] = 29, "token 29");
    check(&|a| a.positions[8] = 16, "position 16");
    check(&|a| a.positions[0] = 4, "patch position 4");
    check(&|a| a.segments[8] = 10, "segment 10");
    check(&|a| a.segments[8] = 5, "the model has no codes");
    let verdict = |a: &mut Arrays| {
        a.segments[8] = 7;
        a.labels[4] = 1;
    };
    check(&verdict, "the model has no such head");
    check(&|a| a.segments[8] = 3, "the model has no codes");
    check(&|a| a.labels[2] = 29, "label 29");
    check(&|a| a.loss_at[2] = 9999, "loss position 9999");
    check(&|a| a.positions.truncate(5), "5 positions");
    check(&|a| a.pictures.truncate(100), "100 bytes");
    check(&|a| a.picture_at[0] = u32::MAX, "not free");
    check(&|a| a.picture_at[1] = a.picture_at[0], "not free");
    check(&|a| a.segments[8] = 0, "segment 0");
    check(&|a| a.labels.clear(), "no labels");
    check(&|a| a.loss_weights.truncate(1), "1 loss weights");
    check(&|a| a.targets[0][2] -= 1, "belong to no");
    let empty = ModelInput::default();
    assert!(model.hidden(&empty, &ForwardOptions::default()).is_err());
    assert!(model.patch_features(&picture(&cfg, 0)[1..]).is_err());
}

#[test]
fn a_small_batch_is_learned_by_heart() {
    let cfg = ModelConfig {
        dropout: 0.0,
        ..tiny()
    };
    let model = model(&cfg);
    // Two pictures with two captions each, an answer, a text: only the picture tells the first two apart.
    let words = |ids: &[u32]| ids.to_vec();
    let batch = [
        Sample {
            n_pictures: 1,
            targets: vec![words(&[2, 7, 8, 9])],
            ..Sample::default()
        },
        Sample {
            n_pictures: 1,
            targets: vec![words(&[2, 10, 11])],
            ..Sample::default()
        },
        Sample {
            source: words(&[12, 4, 14]),
            targets: vec![words(&[2, 12, 13, 14])],
            ..Sample::default()
        },
        Sample {
            source: words(&[15]),
            targets: vec![words(&[2, 16])],
            ..Sample::default()
        },
    ];
    let arrays = pack(&cfg, &batch, 0);
    let config = OptimizerConfig {
        weight_decay: 0.0,
        ..OptimizerConfig::default()
    };
    let mut optimizer = Optimizer::new(model.params(), config, &BTreeSet::new());
    let start = Instant::now();
    let mut loss = f32::INFINITY;
    for step in 0..300 {
        loss = gradients(
            &model,
            &arrays,
            &ForwardOptions {
                train: true,
                dropout_key: step,
                ..Default::default()
            },
        )
        .0;
        if loss < 0.05 {
            break;
        }
        optimizer
            .step(model.params(), 3e-3, 1.0)
            .expect("an update");
    }
    // The first words of the two captions must come from the pictures, so 0.1 cannot be reached without them.
    assert!(loss < 0.1, "loss {loss} after {:?}", start.elapsed());
}

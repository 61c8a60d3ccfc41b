//! Blocks that are updated within the backward pass.

use crate::exact::assert_same_run;
use crate::fixture::{self, Stop, checkpoint, metrics, small_train};
use m6_nn::Param;
use m6_train::{OptimizerKind, Silent, TrainConfig, Trainer};
use std::path::Path;

fn train(optimizer: OptimizerKind) -> TrainConfig {
    TrainConfig {
        blockwise: true,
        optimizer,
        ..small_train()
    }
}

fn bytes(run: &Path, file: &str) -> Vec<u8> {
    std::fs::read(checkpoint(run, 8).join(file)).unwrap()
}

fn losses(run: &Path) -> Vec<serde_json::Value> {
    let lines = metrics(run);
    lines.iter().map(|line| line["loss"].clone()).collect()
}

#[test]
fn without_clipping_nothing_but_the_order_of_the_updates_changes() {
    let dir = tempfile::tempdir().unwrap();
    for optimizer in [
        OptimizerKind::AdamW,
        OptimizerKind::AdamW8,
        OptimizerKind::Muon,
        OptimizerKind::Adafactor,
    ] {
        for activation_checkpointing in [false, true] {
            let run = |name: &str, blockwise| {
                let run = dir
                    .path()
                    .join(format!("{optimizer:?}{activation_checkpointing}{name}"));
                let config = TrainConfig {
                    blockwise,
                    activation_checkpointing,
                    grad_clip: 0.0,
                    ema: 0.9,
                    ..train(optimizer)
                };
                fixture::run(&run, &config, &mut Silent).unwrap();
                run
            };
            let (one, all) = (run("one", true), run("all", false));
            assert_eq!(losses(&one), losses(&all));
            for file in [
                "model.safetensors",
                "optimizer.safetensors",
                "ema.safetensors",
            ] {
                assert!(bytes(&one, file) == bytes(&all, file), "{file} differs");
            }
        }
    }
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, halves) = (dir.path().join("whole"), dir.path().join("halves"));
    let config = TrainConfig {
        ema: 0.9,
        ..train(OptimizerKind::Muon)
    };
    fixture::run(&whole, &config, &mut Silent).unwrap();
    assert!(
        fixture::run(&halves, &config, &mut Stop::after(3))
            .unwrap()
            .interrupted
    );
    fixture::resume(&halves, &config, &mut Silent).unwrap();
    assert_same_run(&whole, &halves, 8);
}

#[test]
fn every_block_is_clipped_by_its_own_norm_and_no_gradient_stays() {
    // Plain descent shows in the weights what the gradient was scaled by: with AdamW only its direction counts.
    let step = |grad_clip| {
        let config = TrainConfig {
            grad_clip,
            warmup_steps: 0,
            weight_decay: 0.0,
            eps: 1e6,
            lr: 1e6,
            betas: [0.0, 0.0],
            ..train(OptimizerKind::AdamW)
        };
        let names = fixture::task_names();
        let mut trainer = Trainer::new(fixture::model(0.0), &config, names).unwrap();
        let values = |trainer: &Trainer| -> Vec<(String, Vec<f32>)> {
            let of = |p: &Param| {
                (
                    p.name().to_string(),
                    p.with_values(<[f32]>::to_vec).unwrap(),
                )
            };
            trainer.model.params().iter().map(of).collect()
        };
        let before = values(&trainer);
        trainer.step(1, &fixture::batches(1), None).unwrap();
        let mut params = trainer.model.params().iter();
        assert!(params.all(|p| p.grad_f32().is_none()));
        let mut squares = [0.0_f64; 3];
        for ((name, a), (_, b)) in before.iter().zip(&values(&trainer)) {
            let group = m6_model::Model::block_of(name).unwrap_or(2);
            squares[group] += a
                .iter()
                .zip(b)
                .map(|(a, b)| f64::from(a - b).powi(2))
                .sum::<f64>();
        }
        squares.map(f64::sqrt)
    };
    let (free, clipped) = (step(0.0), step(0.01));
    for (free, clipped) in free.into_iter().zip(clipped) {
        assert!(free > 0.011, "{free}: nothing to clip");
        assert!(
            (clipped / 0.01 - 1.0).abs() < 0.02,
            "{clipped}, clipped to 0.01"
        );
    }
}

#[test]
fn what_needs_the_whole_gradient_is_refused() {
    let problems = |set: fn(&mut TrainConfig)| {
        let mut config = train(OptimizerKind::AdamW);
        set(&mut config);
        config.validate().join("; ")
    };
    assert_eq!(problems(|_| ()), "");
    assert!(problems(|config| config.accum = 2).contains("expected accum = 1 (it is 2)"));
    assert!(problems(|config| config.spike_factor = 5.0).contains("spike_factor = 0 (it is 5)"));
}

//! Blocks that share weights, and the switch to weights of their own.

use crate::exact::assert_same_run;
use crate::fixture::{self, Stop, checkpoint, metrics, small_train};
use m6_model::{ExpertsConfig, Model, ModelConfig};
use m6_train::{Silent, TrainConfig, Trainer, load_model};
use safetensors::SafeTensors;
use std::path::Path;

fn shared() -> ModelConfig {
    ModelConfig {
        n_layers: 4,
        distinct_layers: 2,
        ..fixture::model_config(0.0)
    }
}

fn own() -> ModelConfig {
    ModelConfig {
        distinct_layers: 0,
        ..shared()
    }
}

fn train() -> TrainConfig {
    TrainConfig {
        optimizer: m6_train::OptimizerKind::Muon,
        ..small_train()
    }
}

fn pseudo(dir: &Path) -> std::path::PathBuf {
    let run = dir.join("pseudo");
    fixture::run_model(&shared(), None, &run, &train(), false, &mut Silent).unwrap();
    run
}

#[test]
fn the_switch_changes_neither_the_loss_nor_the_moments() {
    let dir = tempfile::tempdir().unwrap();
    let pseudo = pseudo(dir.path());
    let real = dir.path().join("real");
    let one = TrainConfig {
        steps: 1,
        warmup_steps: 0,
        ..train()
    };
    fixture::run_on_from(&own(), &pseudo, &real, &one).unwrap();
    // What the shared model finds in the same batch.
    let still = dir.path().join("still");
    fixture::run_on_from(&shared(), &pseudo, &still, &one).unwrap();
    assert_eq!(metrics(&real)[0]["loss"], metrics(&still)[0]["loss"]);

    let before = std::fs::read(checkpoint(&pseudo, 8).join("optimizer.safetensors")).unwrap();
    let after = std::fs::read(checkpoint(&real, 1).join("optimizer.safetensors")).unwrap();
    let (before, after) = (
        SafeTensors::deserialize(&before).unwrap(),
        SafeTensors::deserialize(&after).unwrap(),
    );
    let count = |file: &SafeTensors<'_>, name: &str| {
        let data = file.tensor(name).unwrap().data().to_vec();
        u64::from_le_bytes(data.try_into().unwrap())
    };
    for layer in 0..4 {
        let name = format!("step.blocks.{layer}.attn.qkv.weight");
        assert_eq!(count(&after, &name), 9, "{name}");
    }
    assert_eq!(count(&before, "step.embed.tokens"), 8);
    assert_eq!(count(&after, "step.embed.tokens"), 9);
    assert!(before.tensor("momentum.blocks.2.attn.qkv.weight").is_err());
}

#[test]
fn without_the_moments_they_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (pseudo, real) = (pseudo(dir.path()), dir.path().join("real"));
    fixture::run_model(&own(), Some(&pseudo), &real, &train(), false, &mut Silent).unwrap();
    let bytes = std::fs::read(checkpoint(&real, 8).join("optimizer.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(
        file.tensor("step.blocks.3.ln1.weight").unwrap().data()[0],
        8
    );
}

#[test]
fn the_gradient_of_a_shared_weight_is_the_sum_over_its_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let (pseudo, real) = (pseudo(dir.path()), dir.path().join("real"));
    let one = TrainConfig {
        steps: 1,
        warmup_steps: 0,
        lr: 1e-30,
        ..train()
    };
    fixture::run_on_from(&own(), &pseudo, &real, &one).unwrap();
    let gradients = |run: &Path| {
        let model = load_model(run).unwrap().model;
        let mut trainer = Trainer::new(model, &one, fixture::task_names()).unwrap();
        trainer.step(1, &fixture::batches(1), None).unwrap();
        trainer
    };
    let (tied, untied) = (gradients(&pseudo), gradients(&real));
    let of = |trainer: &Trainer, name: &str| {
        trainer
            .model
            .params()
            .get(name)
            .unwrap()
            .grad_f32()
            .unwrap()
    };
    for part in ["attn.qkv.weight", "ffn.down.bias", "ln2.weight"] {
        for block in 0..2 {
            let sum = of(&tied, &format!("blocks.{block}.{part}"));
            let a = of(&untied, &format!("blocks.{block}.{part}"));
            let b = of(&untied, &format!("blocks.{}.{part}", block + 2));
            let size = sum.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            assert!(size > 0.0 && a != b, "{part}");
            for ((sum, a), b) in sum.iter().zip(&a).zip(&b) {
                assert!(
                    (sum - (a + b)).abs() <= 1e-5 * size,
                    "{part}: {sum}, {a} + {b}"
                );
            }
        }
    }
}

#[test]
fn a_run_of_shared_blocks_goes_on_exactly_also_block_by_block() {
    let dir = tempfile::tempdir().unwrap();
    let config = |blockwise| TrainConfig {
        grad_clip: 0.0,
        ema: 0.9,
        blockwise,
        ..train()
    };
    let run = |name: &str, blockwise| {
        let run = dir.path().join(name);
        fixture::run_model(
            &shared(),
            None,
            &run,
            &config(blockwise),
            false,
            &mut Silent,
        )
        .unwrap();
        run
    };
    let (whole, blocks) = (run("whole", false), run("blocks", true));
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let read = |run| std::fs::read(checkpoint(run, 8).join(file)).unwrap();
        assert!(read(&whole) == read(&blocks), "{file} differs");
    }
    let halves = dir.path().join("halves");
    let stop = &mut Stop::after(3);
    assert!(
        fixture::run_model(&shared(), None, &halves, &config(true), false, stop)
            .unwrap()
            .interrupted
    );
    fixture::run_model(&shared(), None, &halves, &config(true), true, &mut Silent).unwrap();
    assert_same_run(&blocks, &halves, 8);
}

#[test]
fn a_shared_model_has_fewer_parameters_and_as_much_to_compute() {
    let (tied, untied) = (m6_model::count(&shared()), m6_model::count(&own()));
    let block = |cfg: &ModelConfig| Model::new(cfg, 1).unwrap().params().n_elements() as u64;
    assert_eq!(tied.params_total, block(&shared()));
    assert!(tied.params_total < untied.params_total);
    let flops = |cfg| m6_model::flops::flops(cfg, 10.0).train(20.0, 10.0, 1.0, false);
    assert_eq!(flops(&shared()), flops(&own()));
}

#[test]
fn sharing_that_makes_no_sense_is_refused() {
    let problems = |set: fn(&mut ModelConfig)| {
        let mut cfg = shared();
        set(&mut cfg);
        cfg.validate().join("; ")
    };
    assert_eq!(problems(|_| ()), "");
    assert!(problems(|cfg| cfg.distinct_layers = 5).contains("at most n_layers = 4"));
    let experts = |cfg: &mut ModelConfig| {
        cfg.distinct_layers = 1;
        cfg.experts = ExpertsConfig {
            n_experts: 4,
            ..ExpertsConfig::default()
        };
    };
    assert!(
        problems(experts).contains("multiple of experts.moe_every = 2"),
        "{}",
        problems(experts)
    );
}

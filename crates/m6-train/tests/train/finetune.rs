//! Finetuning: parts that stay, rates by layer, depth dropped at random, adapters, stopping early.

use crate::exact::{assert_same_run, stateful};
use crate::fixture::{self, Stop, Watch, checkpoint, metrics, small_train};
use m6_model::{AdapterSite, ForwardOptions, LoraConfig, Model, ModelConfig};
use m6_nn::tolerance::{COMPOSED_F32, assert_close};
use m6_train::{Adapters, Observer, Silent, TrainConfig, load_model, load_with};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A short pretraining to begin from.
fn pretrained(dir: &Path) -> PathBuf {
    let run = dir.join("pretrained");
    fixture::run(&run, &small_train(), &mut Silent).unwrap();
    run
}

fn all_on() -> TrainConfig {
    TrainConfig {
        layer_decay: 0.7,
        drop_path: 0.3,
        keep_best: true,
        eval_every: 4,
        ..stateful()
    }
}

fn with_lora() -> ModelConfig {
    ModelConfig {
        lora: LoraConfig {
            rank: 4,
            ..LoraConfig::default()
        },
        ..fixture::model_config(0.1)
    }
}

fn tensors(file: &Path) -> BTreeMap<String, Vec<u8>> {
    named(&std::fs::read(file).unwrap())
}

fn named(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
    file.iter()
        .map(|(name, view)| (name.to_owned(), view.data().to_vec()))
        .collect()
}

/// Ten steps, a kill, and ten more end in the bytes of twenty.
fn check_resume(model: &ModelConfig, config: &TrainConfig) {
    let dir = tempfile::tempdir().unwrap();
    let from = pretrained(dir.path());
    let (whole, halves) = (dir.path().join("whole"), dir.path().join("halves"));
    let run = |dir: &Path, resume, stop: &mut Stop| {
        fixture::run_model(model, Some(&from), dir, config, resume, stop).unwrap()
    };
    run(&whole, false, &mut Stop::after(99));
    run(&halves, false, &mut Stop::after(13));
    // As after a kill: nothing of the steps since the last due checkpoint.
    std::fs::remove_dir_all(checkpoint(&halves, 13)).unwrap();
    run(&halves, true, &mut Stop::after(99));
    assert_same_run(&whole, &halves, 20);
}

#[test]
fn dropped_depth_rates_by_layer_and_frozen_parts_resume_to_the_last_bit() {
    let config = TrainConfig {
        freeze: vec!["embed".into(), "blocks.0.attn".into()],
        ..all_on()
    };
    check_resume(&fixture::model_config(0.1), &config);
}

#[test]
fn adapters_resume_to_the_last_bit_and_recomputed_blocks_change_nothing() {
    check_resume(&with_lora(), &all_on());
    let dir = tempfile::tempdir().unwrap();
    let runs = [false, true].map(|activation_checkpointing| {
        let run = dir.path().join(activation_checkpointing.to_string());
        let config = TrainConfig {
            activation_checkpointing,
            drop_path: 0.4,
            ..small_train()
        };
        fixture::run_model(&with_lora(), None, &run, &config, false, &mut Silent).unwrap();
        tensors(&checkpoint(&run, 8).join("model.safetensors"))
    });
    assert!(runs[0] == runs[1]);
}

#[test]
fn dropping_depth_changes_what_is_learned_and_no_evaluation() {
    let dir = tempfile::tempdir().unwrap();
    let losses = [0.0, 0.5].map(|drop_path| {
        let run = dir.path().join(drop_path.to_string());
        let config = TrainConfig {
            drop_path,
            ..small_train()
        };
        fixture::run_without_dropout(&run, &config).unwrap();
        metrics(&run)[0]["loss"].as_f64().unwrap()
    });
    assert_ne!(losses[0], losses[1]);
    let model = fixture::model(0.0);
    let batch = &fixture::batches(1)[0];
    let input = fixture::input(batch);
    let nll = |train, key| {
        let options = ForwardOptions {
            train,
            drop_path: 0.5,
            dropout_key: key,
            ..ForwardOptions::default()
        };
        model.forward(&input, &options).unwrap().nll
    };
    assert_eq!(nll(false, 1), nll(false, 2));
    assert_eq!(nll(true, 1), nll(true, 1));
    assert_ne!(nll(true, 1), nll(true, 2));
}

#[test]
fn frozen_parts_keep_their_bytes_and_the_others_learn() {
    let dir = tempfile::tempdir().unwrap();
    let from = pretrained(dir.path());
    let run = dir.path().join("run");
    let config = TrainConfig {
        freeze: vec!["embed.tokens".into(), "blocks.1".into(), "patches".into()],
        ..small_train()
    };
    let model = fixture::model_config(0.1);
    fixture::run_model(&model, Some(&from), &run, &config, false, &mut Silent).unwrap();
    let before = tensors(&checkpoint(&from, 8).join("model.safetensors"));
    let after = tensors(&checkpoint(&run, 8).join("model.safetensors"));
    for (name, bytes) in &before {
        let frozen = ["embed.tokens", "blocks.1.", "patches."];
        let frozen = frozen.iter().any(|part| name.starts_with(part));
        // The table has rows that no text of the tiny data set reaches.
        if frozen || !name.starts_with("embed.") {
            assert_eq!(after[name] == *bytes, frozen, "{name}");
        }
    }
}

#[test]
fn a_part_that_is_not_there_and_a_model_without_anything_to_learn_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refuse = |parts: &[&str]| {
        let config = TrainConfig {
            freeze: parts.iter().map(|part| (*part).to_owned()).collect(),
            ..small_train()
        };
        let run = dir.path().join(parts.join("-"));
        let error = fixture::run(&run, &config, &mut Silent).err().unwrap();
        assert_eq!(error.kind(), m6_train::ErrorKind::Usage);
        error.to_string()
    };
    let error = refuse(&["blocks.7", "embed", "patch"]);
    assert!(
        error.contains("`blocks.7`") && error.contains("`patch`") && error.contains("patches.proj"),
        "{error}"
    );
    let error = refuse(&["embed", "patches", "blocks", "norm"]);
    assert!(error.contains("nothing is left to learn"), "{error}");
}

#[test]
fn rates_fall_by_layer_as_reckoned_by_hand() {
    let scales = fixture::model(0.0).lr_scales(0.5);
    for (name, scale) in [
        ("norm.weight", 1.0),
        ("blocks.1.ffn.down.weight", 0.5),
        ("blocks.0.attn.qkv.bias", 0.25),
        ("embed.tokens", 0.125),
        ("patches.proj.weight", 0.125),
    ] {
        assert_eq!(scales[name], scale, "{name}");
    }
    // The first update of AdamW without weight decay is the rate times the sign of the gradient, nearly.
    let dir = tempfile::tempdir().unwrap();
    let moved = [1.0, 0.5].map(|layer_decay| {
        let run = dir.path().join(layer_decay.to_string());
        let config = TrainConfig {
            steps: 1,
            warmup_steps: 0,
            weight_decay: 0.0,
            layer_decay,
            ..small_train()
        };
        fixture::run_without_dropout(&run, &config).unwrap();
        let trained = load_model(&run).unwrap().model;
        let start = Model::new(&fixture::model_config(0.0), config.seed).unwrap();
        [
            "norm.weight",
            "blocks.1.ffn.down.weight",
            "blocks.0.attn.qkv.weight",
        ]
        .map(|name| {
            let of = |model: &Model| {
                model
                    .params()
                    .get(name)
                    .unwrap()
                    .var()
                    .flatten_all()
                    .unwrap()
            };
            let (a, b): (Vec<f32>, Vec<f32>) = (
                of(&trained).to_vec1().unwrap(),
                of(&start).to_vec1().unwrap(),
            );
            let moves = a.iter().zip(&b).map(|(a, b)| f64::from((a - b).abs()));
            moves.sum::<f64>() / a.len() as f64
        })
    });
    for (i, scale) in [1.0, 0.5, 0.25].into_iter().enumerate() {
        let got = moved[1][i] / moved[0][i];
        assert!((got / scale - 1.0).abs() < 1e-3, "{i}: {got}");
    }
}

#[test]
fn adapters_alone_learn_and_merging_computes_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let from = pretrained(dir.path());
    let run = dir.path().join("run");
    let config = TrainConfig {
        lr: 2e-2,
        ..small_train()
    };
    let mut model_cfg = with_lora();
    model_cfg.lora.on = vec![AdapterSite::Qkv, AdapterSite::Up, AdapterSite::Down];
    fixture::run_model(&model_cfg, Some(&from), &run, &config, false, &mut Silent).unwrap();
    let base = tensors(&checkpoint(&from, 8).join("model.safetensors"));
    let saved = checkpoint(&run, 8).join("model.safetensors");
    let after = tensors(&saved);
    for (name, bytes) in &after {
        match base.get(name) {
            Some(before) => assert!(before == bytes, "{name} moved"),
            None => assert!(name.contains(".lora_"), "{name}"),
        }
    }
    assert!(
        after["blocks.1.ffn.up.lora_b"]
            .iter()
            .any(|byte| *byte != 0)
    );

    let apart = Model::new(&model_cfg, 0).unwrap();
    let bytes = std::fs::read(&saved).unwrap();
    apart.params().load_safetensors(&bytes, true).unwrap();
    let merged = load_model(&run).unwrap();
    assert!(merged.config.model.lora.is_none());
    let logits = |model: &Model| -> Vec<f64> {
        let batch = &fixture::batches(1)[0];
        let input = fixture::input(batch);
        let logits = model.logits(&input, &ForwardOptions::default()).unwrap();
        let logits: Vec<f32> = logits.flatten_all().unwrap().to_vec1().unwrap();
        logits.into_iter().map(f64::from).collect()
    };
    assert_close(
        "logits",
        &logits(&merged.model),
        &logits(&apart),
        COMPOSED_F32,
    );
    let dropped = load_with(&run, Adapters::Drop).unwrap().model;
    assert!(
        dropped.params().to_safetensors().unwrap()
            == load_model(&from)
                .unwrap()
                .model
                .params()
                .to_safetensors()
                .unwrap()
    );
    assert!(logits(&dropped) != logits(&apart));
}

/// Gives the scores of a list, evaluation by evaluation.
struct Scripted(BTreeMap<u64, f64>, Stop);

impl Scripted {
    fn new(every: u64, scores: &[f64], stop: u64) -> Self {
        let steps = (1..).map(|i| i * every);
        Self(
            steps.zip(scores.iter().copied()).collect(),
            Stop::after(stop),
        )
    }
}

impl Observer for Scripted {
    fn on_step(&mut self, report: &m6_train::StepReport) {
        self.1.on_step(report);
    }

    fn score(
        &mut self,
        step: u64,
        _: &Model,
        _: &BTreeMap<String, f64>,
    ) -> Result<Option<f64>, String> {
        Ok(self.0.get(&step).copied())
    }
}

impl Watch for Scripted {
    fn flag(&self) -> Option<&'static std::sync::atomic::AtomicBool> {
        self.1.flag()
    }
}

/// Cannot score anything.
struct Speechless;

impl Observer for Speechless {
    fn score(
        &mut self,
        _: u64,
        _: &Model,
        _: &BTreeMap<String, f64>,
    ) -> Result<Option<f64>, String> {
        Err("label `x` is none of the labels".to_string())
    }
}

impl Watch for Speechless {
    fn flag(&self) -> Option<&'static std::sync::atomic::AtomicBool> {
        None
    }
}

#[test]
fn a_score_that_cannot_be_found_stops_the_run_and_names_the_step() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        eval_every: 2,
        keep_best: true,
        ..small_train()
    };
    let error = fixture::run(&dir.path().join("run"), &config, &mut Speechless).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("step 2") && text.contains("label `x`"),
        "{text}"
    );
}

#[test]
fn a_run_without_better_scores_stops_and_its_best_checkpoint_stays() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        steps: 40,
        eval_every: 2,
        checkpoint_every: 3,
        patience: 3,
        ..small_train()
    };
    let scores = [1.0, 5.0, 4.0, 4.5, 5.0, 9.0];
    let run = dir.path().join("run");
    let done = fixture::run(&run, &config, &mut Scripted::new(2, &scores, 99)).unwrap();
    assert!(done.stopped_early && !done.interrupted);
    assert_eq!((done.steps, done.best.unwrap().step), (10, 4));
    assert_eq!(
        fixture::names(&run.join("checkpoints")),
        ["step-00000004", "step-00000009", "step-00000010"]
    );
    assert_eq!(load_model(&run).unwrap().step, Some(4));
    assert_eq!(metrics(&run)[3]["score"], 5.0);
    // Going on finds that there is nothing more to do.
    let again = fixture::resume(&run, &config, &mut Scripted::new(2, &scores, 99)).unwrap();
    assert_eq!((again.steps, again.stopped_early), (10, true));

    // Stopped in between, the count goes on where it was.
    let halves = dir.path().join("halves");
    let stopped = fixture::run(&halves, &config, &mut Scripted::new(2, &scores, 7)).unwrap();
    assert!(stopped.interrupted);
    let done = fixture::resume(&halves, &config, &mut Scripted::new(2, &scores, 99)).unwrap();
    assert_eq!((done.steps, done.best.unwrap().step), (10, 4));
    let file = "model.safetensors";
    assert!(
        tensors(&checkpoint(&run, 10).join(file)) == tensors(&checkpoint(&halves, 10).join(file))
    );

    // A best checkpoint that is damaged is passed over with a warning.
    std::fs::remove_file(checkpoint(&run, 4).join(file)).unwrap();
    let loaded = load_model(&run).unwrap();
    assert_eq!(loaded.step, Some(10));
    assert!(loaded.warnings[0].contains("the best checkpoint"));
}

#[test]
fn without_a_score_of_its_own_the_best_has_the_least_held_out_loss() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        steps: 12,
        eval_every: 3,
        keep_best: true,
        lr: 0.05,
        ..small_train()
    };
    let done = fixture::run(dir.path(), &config, &mut Silent).unwrap();
    let lines = metrics(dir.path());
    let mut best = (0, f64::NEG_INFINITY);
    for line in lines.iter().filter(|line| line.get("score").is_some()) {
        let losses = line.as_object().unwrap().iter();
        let losses = losses.filter(|(name, _)| name.starts_with("eval/"));
        let losses: Vec<f64> = losses.map(|(_, loss)| loss.as_f64().unwrap()).collect();
        let score = line["score"].as_f64().unwrap();
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        assert!((score + mean).abs() < 1e-12);
        if score > best.1 {
            best = (line["step"].as_u64().unwrap(), score);
        }
    }
    let found = done.best.unwrap();
    assert_eq!((found.step, found.score), best);
    assert_eq!(load_model(dir.path()).unwrap().step, Some(best.0));
}

#[test]
fn a_finetuning_may_begin_from_one_with_adapters() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let config = TrainConfig {
        lr: 2e-2,
        ..small_train()
    };
    fixture::run_model(&with_lora(), None, &first, &config, false, &mut Silent).unwrap();
    let plain = fixture::model_config(0.0);
    let still = TrainConfig {
        freeze: vec!["embed".into(), "patches".into(), "blocks".into()],
        ..small_train()
    };
    fixture::run_model(&plain, Some(&first), &second, &still, false, &mut Silent).unwrap();
    let merged = load_model(&first).unwrap().model;
    let began = named(&merged.params().to_safetensors().unwrap());
    let ended = tensors(&checkpoint(&second, 8).join("model.safetensors"));
    for (name, bytes) in &began {
        assert_eq!(ended[name] == *bytes, !name.starts_with("norm."), "{name}");
    }
}

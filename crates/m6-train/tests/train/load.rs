//! Loading and exporting, and what is refused.

use crate::fixture::{self, small_train};
use m6_store::atomic::write_file;
use m6_train::{Adapters, Error, Silent, TrainConfig, export_model, load_model};
use std::path::{Path, PathBuf};

fn trained(dir: &Path, ema: f64) -> PathBuf {
    let run = dir.join("run");
    let config = TrainConfig {
        steps: 4,
        ema,
        checkpoint_every: 2,
        ..small_train()
    };
    fixture::run(&run, &config, &mut Silent).unwrap();
    run
}

fn weights(path: &Path) -> Vec<u8> {
    load_model(path)
        .unwrap()
        .model
        .params()
        .to_safetensors()
        .unwrap()
}

fn exported(dir: &Path) -> PathBuf {
    let out = dir.join("model");
    export_model(&trained(dir, 0.0), &out, Adapters::Merge).unwrap();
    std::fs::remove_file(out.join("MANIFEST.json")).unwrap();
    out
}

fn refused(path: &Path) -> Error {
    load_model(path).map(|loaded| loaded.path).unwrap_err()
}

#[test]
fn run_checkpoint_and_export_give_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let run = trained(dir.path(), 0.0);
    let out = dir.path().join("model");
    export_model(&run, &out, Adapters::Merge).unwrap();
    let from_run = weights(&run);
    assert!(from_run == weights(&fixture::checkpoint(&run, 4)));
    assert!(from_run == weights(&out));
    assert!(from_run != weights(&fixture::checkpoint(&run, 2)));
    let loaded = load_model(&out).unwrap();
    // The tasks over image codes had nothing to learn from.
    assert_eq!(loaded.config.tasks, fixture::task_names()[..5]);
    assert_eq!(
        loaded.tokenizer.vocab_size(),
        loaded.config.model.vocab_size
    );
    assert_eq!(loaded.step, None);
}

#[test]
fn a_run_with_an_average_shows_the_average() {
    let dir = tempfile::tempdir().unwrap();
    let run = trained(dir.path(), 0.9);
    let checkpoint = fixture::checkpoint(&run, 4);
    let average = std::fs::read(checkpoint.join("ema.safetensors")).unwrap();
    assert!(weights(&run) == average);
    assert!(average != std::fs::read(checkpoint.join("model.safetensors")).unwrap());
    let out = dir.path().join("model");
    export_model(&run, &out, Adapters::Merge).unwrap();
    assert!(std::fs::read(out.join("model.safetensors")).unwrap() == average);
}

#[test]
fn a_folder_without_a_model_says_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    let error = refused(dir.path());
    assert!(matches!(error, Error::NoModel { .. }), "{error}");
    assert!(
        refused(&dir.path().join("nowhere"))
            .to_string()
            .contains("checkpoints/step-")
    );
}

#[test]
fn a_vocabulary_of_another_size_is_named_with_both_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let model = exported(dir.path());
    let other =
        m6_text::Tokenizer::from_tokens(fixture::tokens().into_iter().take(20).collect()).unwrap();
    write_file(&model.join("tokenizer.json"), other.to_json().as_bytes()).unwrap();
    let n_model = fixture::tokens().len();
    match refused(&model) {
        Error::VocabularySize {
            tokenizer, model, ..
        } => assert_eq!((tokenizer, model), (20, n_model)),
        other => panic!("{other}"),
    }
}

#[test]
fn a_lying_header_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let model = exported(dir.path());
    let path = model.join("model.safetensors");
    let sound = std::fs::read(&path).unwrap();
    let huge = [u64::MAX.to_le_bytes().as_slice(), &sound[8..]].concat();
    let cut = &sound[..sound.len() - 4];
    let first_shape = String::from_utf8_lossy(&sound[..4000])
        .find("\"shape\":[")
        .unwrap()
        + 9;
    let mut reshaped = sound.clone();
    reshaped[first_shape] = b'9';
    for (what, bytes) in [
        ("huge header", huge.as_slice()),
        ("cut short", cut),
        ("other shape", &reshaped),
    ] {
        write_file(&path, bytes).unwrap();
        let error = refused(&model);
        assert!(matches!(error, Error::Damaged { .. }), "{what}: {error}");
        assert!(
            error.to_string().contains("model.safetensors"),
            "{what}: {error}"
        );
    }
}

#[test]
fn sizes_that_the_weights_do_not_bear_out_allocate_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let model = exported(dir.path());
    edit_config(&model, |config| {
        config["model"]["n_layers"] = 100_000.into()
    });
    let error = refused(&model).to_string();
    assert!(error.contains("parameters"), "{error}");
}

#[test]
fn a_newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let model = exported(dir.path());
    edit_config(&model, |config| config["format_version"] = 99.into());
    let error = refused(&model).to_string();
    assert!(
        error.contains("format_version 99") && error.contains("config.json"),
        "{error}"
    );
}

fn edit_config(model: &Path, edit: impl FnOnce(&mut serde_json::Value)) {
    let path = model.join("config.json");
    let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut config);
    write_file(&path, config.to_string().as_bytes()).unwrap();
}

#[test]
fn a_run_begins_from_the_weights_of_another_one_and_resumes_to_the_last_bit() {
    let dir = tempfile::tempdir().unwrap();
    let first = trained(dir.path(), 0.0);
    let still = TrainConfig {
        steps: 1,
        lr: 1e-30,
        warmup_steps: 0,
        ..small_train()
    };
    let begun = dir.path().join("begun");
    fixture::run_from(&first, &begun, &still, false, &mut Silent).unwrap();
    assert!(weights(&begun) == weights(&first));
    let config = TrainConfig {
        steps: 4,
        checkpoint_every: 2,
        ..small_train()
    };
    let whole = dir.path().join("whole");
    fixture::run_from(&first, &whole, &config, false, &mut Silent).unwrap();
    let cut = dir.path().join("cut");
    let mut stop = fixture::Stop::after(2);
    fixture::run_from(&first, &cut, &config, false, &mut stop).unwrap();
    fixture::run_from(&first, &cut, &config, true, &mut Silent).unwrap();
    assert!(weights(&whole) == weights(&cut));
    let other = fixture::run_from(&begun, &cut, &config, true, &mut Silent);
    assert!(
        weights(&begun) == weights(&first),
        "the same weights are the same start"
    );
    other.unwrap();
    let error = fixture::run_from(&whole, &cut, &config, true, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("init_model"), "{error}");
}

#[test]
fn another_vocabulary_or_size_is_no_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let out = exported(dir.path());
    let config = TrainConfig {
        steps: 1,
        ..small_train()
    };
    let tokenizer = out.join("tokenizer.json");
    let text = std::fs::read_to_string(&tokenizer).unwrap();
    let changed = text.replacen("\"[MASK]\"", "\"[MASKED]\"", 99);
    assert!(changed != text);
    write_file(&tokenizer, changed.as_bytes()).unwrap();
    let run = dir.path().join("next");
    let error = fixture::run_from(&out, &run, &config, false, &mut Silent).unwrap_err();
    assert!(!error.to_string().is_empty());
    assert!(!run.join("checkpoints").join("step-00000001").exists());
}

//! Run folders: refused, resumed, damaged, full.

use crate::fixture::{self, Stop, small_train};
use m6_train::{Error, ErrorKind, Observer, OpenMode, RunFolder, Silent, StepReport, TrainConfig};
use std::path::{Path, PathBuf};

fn ten_steps() -> TrainConfig {
    TrainConfig {
        steps: 10,
        checkpoint_every: 2,
        keep: 3,
        ..small_train()
    }
}

#[test]
fn a_run_leaves_the_files_it_promises() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let outcome = fixture::run(&run, &ten_steps(), &mut Silent).unwrap();
    for name in [
        "config.toml",
        "config.resolved.toml",
        "run.json",
        "metrics.jsonl",
    ] {
        assert!(run.join(name).is_file(), "{name}");
    }
    let checkpoints = fixture::names(&run.join("checkpoints"));
    assert_eq!(
        checkpoints,
        ["step-00000006", "step-00000008", "step-00000010"]
    );
    assert_eq!(outcome.checkpoint, fixture::checkpoint(&run, 10));
    assert_eq!(
        fixture::names(&outcome.checkpoint),
        [
            "MANIFEST.json",
            "config.json",
            "model.safetensors",
            "optimizer.safetensors",
            "state.json",
            "tokenizer.json"
        ]
    );
    assert!(
        fixture::names(&run)
            .iter()
            .any(|name| name.starts_with("events.out.tfevents."))
    );
    assert_eq!(fixture::metrics(&run).len(), 10);
    assert_eq!(
        fixture::metrics(&run)[9]["tokens"].as_u64(),
        Some(outcome.tokens)
    );
}

#[test]
fn a_used_folder_needs_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let config = TrainConfig {
        steps: 2,
        ..small_train()
    };
    fixture::run(&run, &config, &mut Silent).unwrap();
    let error = fixture::run(&run, &config, &mut Silent).unwrap_err();
    assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
    let longer = TrainConfig { steps: 3, ..config };
    assert_eq!(fixture::overwrite(&run, &longer).unwrap().steps, 3);
    assert_eq!(fixture::metrics(&run).len(), 3);
}

#[test]
fn another_process_in_the_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let _held = RunFolder::open(&run, OpenMode::Fresh).unwrap();
    let error = fixture::resume(&run, &ten_steps(), &mut Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("in use"), "{error}");
}

#[test]
fn other_settings_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fixture::run(&run, &ten_steps(), &mut Stop::after(4)).unwrap();
    let other = TrainConfig {
        lr: 0.5,
        rows_per_batch: 5,
        ..ten_steps()
    };
    let error = fixture::resume(&run, &other, &mut Silent)
        .unwrap_err()
        .to_string();
    assert!(error.contains("train.lr: was 0.001, now 0.5"), "{error}");
    assert!(
        error.contains("train.rows_per_batch: was 4, now 5"),
        "{error}"
    );
    let shown = TrainConfig {
        log_every: 1,
        keep: 7,
        checkpoint_every: 3,
        ..ten_steps()
    };
    assert_eq!(
        fixture::resume(&run, &shown, &mut Silent).unwrap().steps,
        10
    );
}

#[test]
fn other_data_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fixture::run(&run, &ten_steps(), &mut Stop::after(2)).unwrap();
    let other = fixture::prepare(&dir.path().join("data"), 7);
    let error = fixture::resume_on(&other, &run, &ten_steps())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the data differ") && error.contains("config.seed"),
        "{error}"
    );
}

#[test]
fn a_damaged_newest_checkpoint_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, damaged) = (dir.path().join("whole"), dir.path().join("damaged"));
    fixture::run(&whole, &ten_steps(), &mut Silent).unwrap();
    fixture::run(&damaged, &ten_steps(), &mut Stop::after(8)).unwrap();
    flip_a_byte(&fixture::checkpoint(&damaged, 8).join("model.safetensors"));
    let loaded = m6_train::load_model(&damaged).unwrap();
    assert_eq!(loaded.step, Some(6));
    assert!(
        loaded.warnings[0].contains("model.safetensors"),
        "{:?}",
        loaded.warnings
    );
    fixture::resume(&damaged, &ten_steps(), &mut Silent).unwrap();
    let read =
        |run: &Path| std::fs::read(fixture::checkpoint(run, 10).join("model.safetensors")).unwrap();
    assert!(read(&whole) == read(&damaged));
}

fn flip_a_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    m6_store::atomic::write_file(path, &bytes).unwrap();
}

/// Puts something in the way of the checkpoint of a step, as a full disk would.
struct Blocked {
    at: PathBuf,
    step: u64,
}

impl fixture::Watch for Blocked {}

impl Observer for Blocked {
    fn on_step(&mut self, report: &StepReport) {
        if report.step == self.step {
            let parent = self.at.parent().unwrap();
            std::fs::remove_dir_all(parent.with_file_name("moved")).ok();
            // The folder of the checkpoints becomes a file: nothing can be created in it any more.
            std::process::Command::new("mv")
                .arg(parent)
                .arg(parent.with_file_name("moved"))
                .status()
                .unwrap();
            m6_store::atomic::write_file(parent, b"").unwrap();
        }
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_names_the_last_good_one() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let at = fixture::checkpoint(&run, 4);
    let error = fixture::run(&run, &ten_steps(), &mut Blocked { at, step: 4 }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::System);
    let text = error.to_string();
    assert!(
        text.contains("step 4") && text.contains("step-00000002"),
        "{text}"
    );
    assert_eq!(fixture::names(&run.join("moved")), ["step-00000002"]);
    m6_store::manifest::verify(&run.join("moved/step-00000002")).unwrap();
}

#[test]
fn every_problem_of_the_settings_is_told_before_any_work() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let config = TrainConfig {
        lr: -1.0,
        accum: 100,
        ..small_train()
    };
    let error = fixture::run(&run, &config, &mut Silent)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("train.lr") && error.contains("train.accum"),
        "{error}"
    );
    assert!(!run.exists());
}

//! The same seed gives the same bytes.

use crate::fixture::{self, Stop, metrics_without_time, small_train};
use m6_train::{Outcome, Silent, TrainConfig};
use std::path::Path;

/// Everything on that keeps state: dropout, accumulation, smoothing, average, spike history.
pub fn stateful() -> TrainConfig {
    TrainConfig {
        steps: 20,
        rows_per_batch: 6,
        accum: 2,
        label_smoothing: 0.1,
        ema: 0.9,
        spike_factor: 50.0,
        eval_every: 6,
        checkpoint_every: 5,
        keep: 10,
        ..small_train()
    }
}

pub fn assert_same_run(a: &Path, b: &Path, step: u64) {
    for file in [
        "model.safetensors",
        "optimizer.safetensors",
        "ema.safetensors",
        "config.json",
    ] {
        let read = |run| std::fs::read(fixture::checkpoint(run, step).join(file)).unwrap();
        assert!(read(a) == read(b), "{file} differs");
    }
    assert_eq!(metrics_without_time(a), metrics_without_time(b));
}

#[test]
fn ten_steps_and_resume_and_ten_are_twenty() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, halves) = (dir.path().join("whole"), dir.path().join("halves"));
    fixture::run(&whole, &stateful(), &mut Silent).unwrap();
    let stopped: Outcome = fixture::run(&halves, &stateful(), &mut Stop::after(10)).unwrap();
    assert!(stopped.interrupted);
    assert_eq!(stopped.steps, 10);
    let done = fixture::resume(&halves, &stateful(), &mut Silent).unwrap();
    assert!(!done.interrupted);
    assert_same_run(&whole, &halves, 20);
}

#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, killed) = (dir.path().join("whole"), dir.path().join("killed"));
    fixture::run(&whole, &stateful(), &mut Silent).unwrap();
    fixture::run(&killed, &stateful(), &mut Stop::after(13)).unwrap();
    // A kill leaves no checkpoint of step 13, but lines of steps after the one of step 10, the last one torn.
    std::fs::remove_dir_all(fixture::checkpoint(&killed, 13)).unwrap();
    let metrics = killed.join("metrics.jsonl");
    let mut text = std::fs::read_to_string(&metrics).unwrap();
    text.push_str("{\"step\":14,\"lo");
    m6_store::atomic::write_file(&metrics, text.as_bytes()).unwrap();
    fixture::resume(&killed, &stateful(), &mut Silent).unwrap();
    assert_same_run(&whole, &killed, 20);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let runs = [1, 2].map(|n_threads| {
        let run = dir.path().join(n_threads.to_string());
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        pool.install(|| fixture::run(&run, &stateful(), &mut Silent))
            .unwrap();
        run
    });
    assert_same_run(&runs[0], &runs[1], 20);
}

#[test]
fn two_micro_batches_of_four_are_one_batch_of_eight() {
    let dir = tempfile::tempdir().unwrap();
    let runs = [1, 2].map(|accum| {
        let run = dir.path().join(accum.to_string());
        let config = TrainConfig {
            steps: 4,
            rows_per_batch: 8,
            accum,
            ..small_train()
        };
        fixture::run_without_dropout(&run, &config).unwrap();
        run
    });
    let [one, two] = runs.map(|run| fixture::metrics(&run));
    assert_eq!(one.len(), 4);
    for (one, two) in one.iter().zip(&two) {
        for key in ["loss", "grad_norm"] {
            let (one, two) = (one[key].as_f64().unwrap(), two[key].as_f64().unwrap());
            assert!((one - two).abs() <= 1e-5 * one.abs(), "{key}: {one} {two}");
        }
    }
}

#[test]
fn a_second_resume_of_a_finished_run_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let config = TrainConfig {
        steps: 3,
        eval_every: 2,
        ..small_train()
    };
    let first = fixture::run(&run, &config, &mut Silent).unwrap();
    let before = std::fs::read(run.join("metrics.jsonl")).unwrap();
    let again = fixture::resume(&run, &config, &mut Silent).unwrap();
    assert_eq!(
        (again.steps, again.tokens, &again.eval),
        (3, first.tokens, &first.eval)
    );
    assert_eq!(std::fs::read(run.join("metrics.jsonl")).unwrap(), before);
}

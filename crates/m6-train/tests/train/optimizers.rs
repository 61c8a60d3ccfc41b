//! Runs with the optimizers that keep less than AdamW: resumed, on many threads and ranks, and beside AdamW.

use crate::exact::assert_same_run;
use crate::fixture::{self, Stop, metrics, small_train};
use m6_model::ModelConfig;
use m6_nn::dist::{Communicator, threads};
use m6_train::{OptimizerKind, ParallelConfig, Silent, TrainConfig};
use std::path::Path;
use std::sync::Arc;

const KINDS: [OptimizerKind; 2] = [OptimizerKind::AdamW8, OptimizerKind::Adafactor];

/// Wide enough that matrices have moments of 8 bits.
fn model() -> ModelConfig {
    ModelConfig {
        d_model: 64,
        d_ff: 128,
        ..fixture::model_config(0.1)
    }
}

fn train(optimizer: OptimizerKind) -> TrainConfig {
    TrainConfig {
        optimizer,
        rows_per_batch: 6,
        accum: 3,
        ema: 0.9,
        checkpoint_every: 4,
        keep: 10,
        ..small_train()
    }
}

fn run(dir: &Path, config: &TrainConfig, resume: bool) {
    fixture::run_model(&model(), None, dir, config, resume, &mut Silent).unwrap();
}

#[test]
fn a_run_goes_on_to_the_last_bit_on_any_number_of_threads() {
    for kind in KINDS {
        let dir = tempfile::tempdir().unwrap();
        let (whole, halves) = (dir.path().join("whole"), dir.path().join("halves"));
        let config = train(kind);
        run(&whole, &config, false);
        let stop = &mut Stop::after(5);
        fixture::run_model(&model(), None, &halves, &config, false, stop).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2);
        pool.build()
            .unwrap()
            .install(|| run(&halves, &config, true));
        assert_same_run(&whole, &halves, 8);
    }
}

/// Runs `n` ranks, each on a thread of its own.
fn run_ranks(n: usize, zero: u8, dir: &Path, config: &TrainConfig) {
    let parallel = ParallelConfig {
        zero,
        exact: true,
        ..ParallelConfig::default()
    };
    let one = |comm: Arc<dyn Communicator>| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
        let run = || {
            let model = Some(&model());
            fixture::run_ranked(model, dir, config, &parallel, &comm, false, &mut Silent).unwrap()
        };
        pool.build().unwrap().install(run);
    };
    std::thread::scope(|scope| {
        for comm in threads::group(n) {
            scope.spawn(|| one(comm));
        }
    });
}

#[test]
fn any_number_of_ranks_learns_the_same_bytes() {
    for kind in KINDS {
        let dir = tempfile::tempdir().unwrap();
        let config = TrainConfig {
            ema: 0.0,
            ..train(kind)
        };
        let weights = |n: usize, zero: u8| {
            let run = dir.path().join(format!("{n}-{zero}"));
            run_ranks(n, zero, &run, &config);
            std::fs::read(fixture::checkpoint(&run, 8).join("model.safetensors")).unwrap()
        };
        let one = weights(1, 0);
        for (n, zero) in [(2, 0), (3, 1), (2, 2), (3, 3)] {
            assert!(weights(n, zero) == one, "{kind:?}: {n} ranks, ZeRO {zero}");
        }
    }
}

#[test]
fn what_is_learned_is_near_adamw_with_less_to_keep() {
    let dir = tempfile::tempdir().unwrap();
    let results = [OptimizerKind::AdamW, KINDS[0], KINDS[1]].map(|optimizer| {
        let run = dir.path().join(format!("{optimizer:?}"));
        let config = TrainConfig {
            steps: 120,
            accum: 1,
            ema: 0.0,
            checkpoint_every: 0,
            lr: 3e-3,
            ..train(optimizer)
        };
        fixture::run_model(&model(), None, &run, &config, false, &mut Silent).unwrap();
        let losses = metrics(&run);
        let last = losses[100..]
            .iter()
            .map(|line| line["loss"].as_f64().unwrap());
        let state = fixture::checkpoint(&run, 120).join("optimizer.safetensors");
        (last.sum::<f64>() / 20.0, state.metadata().unwrap().len())
    });
    let [
        (loss, bytes),
        (loss8, bytes8),
        (loss_factored, bytes_factored),
    ] = results;
    assert!((loss8 / loss - 1.0).abs() < 0.02, "{results:?}");
    assert!(loss_factored < 1.2 * loss, "{results:?}");
    // Headers, and what is small, count here.
    assert!(
        2 * bytes8 < bytes && 4 * bytes_factored < bytes,
        "{results:?}"
    );
}

#[test]
fn a_run_of_another_optimizer_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    run(&run_dir, &train(OptimizerKind::AdamW8), false);
    let other = train(OptimizerKind::Adafactor);
    let resumed = fixture::run_model(&model(), None, &run_dir, &other, true, &mut Silent);
    let error = resumed.unwrap_err().to_string();
    for word in ["optimizer", "adamw8", "adafactor"] {
        assert!(error.contains(word), "{error}");
    }
}

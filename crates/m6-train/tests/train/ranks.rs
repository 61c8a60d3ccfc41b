//! Several ranks against one. Ranks are threads here; processes are in the tests of the binary.

use crate::fixture::{self, checkpoint, metrics, small_train};
use m6_model::{ExpertsConfig, ModelConfig};
use m6_nn::dist::{Communicator, threads};
use m6_train::{BestBy, ClipBy, Outcome, ParallelConfig, Silent, TrainConfig};
use std::path::Path;
use std::sync::Arc;

pub fn train() -> TrainConfig {
    TrainConfig {
        steps: 8,
        rows_per_batch: 8,
        accum: 4,
        checkpoint_every: 4,
        eval_every: 4,
        keep: 10,
        optimizer: m6_train::OptimizerKind::Muon,
        ..small_train()
    }
}

fn exact(zero: u8) -> ParallelConfig {
    ParallelConfig {
        zero,
        exact: true,
        ..ParallelConfig::default()
    }
}

/// Runs `n` ranks in the same folder; the outcomes are those of all.
fn run_on(
    n: usize,
    dir: &Path,
    config: &TrainConfig,
    parallel: &ParallelConfig,
    resume: bool,
) -> Vec<m6_train::Result<Outcome>> {
    run_model_on(None, n, dir, config, parallel, resume)
}

pub fn run_model_on(
    model: Option<&ModelConfig>,
    n: usize,
    dir: &Path,
    config: &TrainConfig,
    parallel: &ParallelConfig,
    resume: bool,
) -> Vec<m6_train::Result<Outcome>> {
    run_watched_on(model, n, dir, config, parallel, resume, || Silent)
}

/// As [`run_model_on`], each rank with an observer of its own.
pub fn run_watched_on<O: fixture::Watch>(
    model: Option<&ModelConfig>,
    n: usize,
    dir: &Path,
    config: &TrainConfig,
    parallel: &ParallelConfig,
    resume: bool,
    observer: impl Fn() -> O + Sync,
) -> Vec<m6_train::Result<Outcome>> {
    let one = |comm: Arc<dyn Communicator>| {
        // A pool each: a rank that waits must not hold the thread that another one needs.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        pool.install(|| {
            let mut observer = observer();
            fixture::run_ranked(model, dir, config, parallel, &comm, resume, &mut observer)
        })
    };
    std::thread::scope(|scope| {
        let ranks: Vec<_> = threads::group(n)
            .into_iter()
            .map(|comm| scope.spawn(|| one(comm)))
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

pub fn all_ok(outcomes: Vec<m6_train::Result<Outcome>>) {
    for outcome in outcomes {
        outcome.unwrap();
    }
}

pub fn bytes(run: &Path, step: u64, file: &str) -> Vec<u8> {
    std::fs::read(checkpoint(run, step).join(file)).unwrap()
}

/// Metrics without what a clock wrote.
pub fn numbers(run: &Path) -> Vec<serde_json::Value> {
    let mut lines = metrics(run);
    for line in &mut lines {
        let line = line.as_object_mut().unwrap();
        for key in ["tokens_per_s", "seconds", "comm_s"] {
            line.shift_remove(key);
        }
    }
    lines
}

/// Losses, norms, loads of experts, held-out losses and scores of two runs agree but for the rounding of sums that are cut in other places.
pub fn same_but_for_rounding(one: &Path, many: &Path, what: &str) {
    const KEYS: [&str; 7] = [
        "loss",
        "grad_norm",
        "moe/load_cv",
        "eval/lm",
        "eval/image_to_text",
        "score",
        "tokens",
    ];
    let (one, many) = (numbers(one), numbers(many));
    assert_eq!(one.len(), many.len(), "{what}");
    for (one, many) in one.iter().zip(&many) {
        for key in KEYS.into_iter().filter(|key| one.get(key).is_some()) {
            let (expected, found) = (one[key].as_f64().unwrap(), many[key].as_f64().unwrap());
            let same = (expected - found).abs() <= 1e-4 * expected.abs();
            assert!(same, "{what}: {key}: {expected} {found}");
        }
    }
}

#[test]
fn any_number_of_ranks_learns_the_same_bytes_when_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let one = dir.path().join("one");
    all_ok(run_on(1, &one, &train(), &exact(0), false));
    assert_eq!(numbers(&one).len(), 8);
    for (n, zero) in [(2, 0), (4, 0), (2, 1), (4, 2), (2, 3), (3, 3), (4, 3)] {
        let many = dir.path().join(format!("{n}-{zero}"));
        all_ok(run_on(n, &many, &train(), &exact(zero), false));
        let what = format!("{n} ranks, ZeRO {zero}");
        assert_eq!(numbers(&many), numbers(&one), "{what}");
        let same = |file| bytes(&many, 8, file) == bytes(&one, 8, file);
        assert!(same("model.safetensors"), "{what}");
        assert_eq!(
            zero == 0,
            checkpoint(&many, 8).join("optimizer.safetensors").is_file()
        );
        assert!(zero > 0 || same("optimizer.safetensors"), "{what}");
    }
}

#[test]
fn a_model_of_experts_learns_the_same_on_many_ranks_and_counts_all_their_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let model = ModelConfig {
        experts: ExpertsConfig {
            n_experts: 4,
            moe_every: 1,
            ..ExpertsConfig::default()
        },
        ..fixture::model_config(0.1)
    };
    let one = dir.path().join("one");
    let run = |n, dir: &Path, zero| {
        let outcomes = run_model_on(Some(&model), n, dir, &train(), &exact(zero), false);
        all_ok(outcomes);
    };
    run(1, &one, 0);
    assert!(numbers(&one)[0]["moe/load_cv"].as_f64() > Some(0.0));
    for (n, zero) in [(2, 0), (4, 2), (3, 3)] {
        let many = dir.path().join(format!("{n}-{zero}"));
        run(n, &many, zero);
        let what = format!("{n} ranks, ZeRO {zero}");
        assert_eq!(numbers(&many), numbers(&one), "{what}");
        let same = bytes(&many, 8, "model.safetensors") == bytes(&one, 8, "model.safetensors");
        assert!(same, "{what}");
    }
}

#[test]
fn without_exactness_ranks_differ_by_rounding_alone() {
    let dir = tempfile::tempdir().unwrap();
    let one = dir.path().join("one");
    let plain = ParallelConfig::default();
    all_ok(run_on(1, &one, &train(), &plain, false));
    for (n, zero) in [(2, 0), (4, 1), (2, 2), (4, 3)] {
        let many = dir.path().join(format!("{n}-{zero}"));
        let parallel = ParallelConfig {
            zero,
            ..plain.clone()
        };
        all_ok(run_on(n, &many, &train(), &parallel, false));
        same_but_for_rounding(&one, &many, &format!("{n} ranks, ZeRO {zero}"));
    }
}

#[test]
fn a_run_goes_on_with_any_other_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, moved) = (dir.path().join("whole"), dir.path().join("moved"));
    let config = train();
    all_ok(run_on(1, &whole, &config, &exact(0), false));
    // Stopped after four steps by taking the later checkpoint away, as a kill would.
    let part = |from: u64| {
        for step in [4, 8].into_iter().filter(|step| *step > from) {
            std::fs::remove_dir_all(checkpoint(&moved, step)).ok();
        }
    };
    let mut resume = false;
    for (n, zero) in [(4, 3), (2, 1), (3, 2), (1, 0), (2, 0), (4, 2)] {
        all_ok(run_on(n, &moved, &config, &exact(zero), resume));
        assert!(
            bytes(&moved, 8, "model.safetensors") == bytes(&whole, 8, "model.safetensors"),
            "{n} ranks, ZeRO {zero}"
        );
        assert_eq!(numbers(&moved), numbers(&whole));
        part(4);
        resume = true;
    }
}

#[test]
fn all_that_is_kept_beside_the_weights_works_with_many_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        ema: 0.9,
        spike_factor: 50.0,
        keep_best: true,
        best_by: BestBy::Loss,
        activation_checkpointing: true,
        freeze: vec!["blocks.0.ffn".into()],
        ..train()
    };
    let (one, many) = (dir.path().join("one"), dir.path().join("many"));
    all_ok(run_on(1, &one, &config, &exact(0), false));
    all_ok(run_on(2, &many, &config, &exact(2), false));
    assert_eq!(numbers(&one), numbers(&many));
    for file in ["model.safetensors", "ema.safetensors"] {
        assert!(bytes(&one, 8, file) == bytes(&many, 8, file), "{file}");
    }
    let parted = TrainConfig { ema: 0.0, ..config };
    let (one, many) = (dir.path().join("one-3"), dir.path().join("many-3"));
    all_ok(run_on(1, &one, &parted, &exact(0), false));
    all_ok(run_on(2, &many, &parted, &exact(3), false));
    assert!(bytes(&one, 8, "model.safetensors") == bytes(&many, 8, "model.safetensors"));
}

#[test]
fn each_rank_clips_its_own_gradient_when_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        grad_clip: 0.05,
        steps: 3,
        eval_every: 0,
        ..train()
    };
    let local = ParallelConfig {
        clip: ClipBy::Local,
        ..ParallelConfig::default()
    };
    let run = dir.path().join("run");
    all_ok(run_on(2, &run, &config, &local, false));
    for line in metrics(&run) {
        // Two gradients of at most half the limit each.
        let norm = line["grad_norm"].as_f64().unwrap();
        assert!(norm > 0.0 && norm <= 0.05 * 1.0001, "{norm}");
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_every_rank_with_the_same_words() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        lr: 1e30,
        warmup_steps: 0,
        grad_clip: 0.0,
        optimizer: m6_train::OptimizerKind::AdamW,
        ..train()
    };
    for zero in [0, 3] {
        let run = dir.path().join(zero.to_string());
        let outcomes = run_on(2, &run, &config, &exact(zero), false);
        all_say_that_it_is_not_finite(outcomes);
    }
}

/// Every rank ends with the same words.
pub fn all_say_that_it_is_not_finite(outcomes: Vec<m6_train::Result<Outcome>>) {
    let words = outcomes.into_iter().map(|o| o.unwrap_err().to_string());
    let words: Vec<String> = words.collect();
    assert!(words[0].contains("is not finite"), "{words:?}");
    assert!(words.iter().all(|word| *word == words[0]), "{words:?}");
}

#[test]
fn what_one_rank_cannot_do_stops_all() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    std::fs::create_dir(&run).unwrap();
    m6_store::atomic::write_file(&run.join("holiday.jpg"), b"x").unwrap();
    let outcomes = run_on(2, &run, &train(), &ParallelConfig::default(), false);
    let words: Vec<String> = outcomes
        .into_iter()
        .map(|o| o.unwrap_err().to_string())
        .collect();
    assert!(words[0].contains("--overwrite"), "{words:?}");
    assert!(words[1].starts_with("rank 0 failed"), "{words:?}");
    let config = TrainConfig {
        accum: 1,
        ..train()
    };
    let outcomes = run_on(
        2,
        &dir.path().join("x"),
        &config,
        &ParallelConfig::default(),
        false,
    );
    for outcome in outcomes {
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("parallel.data = 2"), "{text}");
    }
}

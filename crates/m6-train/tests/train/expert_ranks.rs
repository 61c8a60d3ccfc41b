//! Experts spread over ranks against one process that has them all. Ranks are threads here; processes are in the tests of the binary.

use crate::fixture::{self, checkpoint};
use crate::ranks::{
    all_ok, all_say_that_it_is_not_finite, bytes, numbers, run_model_on, same_but_for_rounding,
    train,
};
use m6_model::{ExpertsConfig, ModelConfig};
use m6_train::{OptimizerKind, Outcome, ParallelConfig, TrainConfig};
use std::path::Path;

/// 192 experts, so that a half, a third and a quarter of a matrix is a whole number of the chunks by which norms are summed.
fn model() -> ModelConfig {
    ModelConfig {
        d_ff: 128,
        experts: ExpertsConfig {
            n_experts: 192,
            moe_every: 2,
            ..ExpertsConfig::default()
        },
        ..fixture::model_config(0.1)
    }
}

fn spread(expert: usize, zero: u8, exact: bool) -> ParallelConfig {
    ParallelConfig {
        expert,
        zero,
        exact,
        ..ParallelConfig::default()
    }
}

fn run(n: usize, dir: &Path, config: &TrainConfig, parallel: &ParallelConfig, resume: bool) {
    all_ok(outcomes(n, dir, config, parallel, resume));
}

fn outcomes(
    n: usize,
    dir: &Path,
    config: &TrainConfig,
    parallel: &ParallelConfig,
    resume: bool,
) -> Vec<m6_train::Result<Outcome>> {
    run_model_on(Some(&model()), n, dir, config, parallel, resume)
}

/// The first line of the metrics that differs, without the loads of all experts.
fn same_numbers(a: &Path, b: &Path, what: &str) {
    let (a, b) = (numbers(a), numbers(b));
    assert_eq!(a.len(), b.len(), "{what}");
    for (mut a, mut b) in a.into_iter().zip(b) {
        let loads =
            [&mut a, &mut b].map(|line| line.as_object_mut().unwrap().shift_remove("moe/load/1"));
        assert_eq!(a, b, "{what}");
        assert!(loads[0] == loads[1], "{what}: loads");
    }
}

/// The bytes of a run on one process, and those of `meshes`: ranks, ZeRO.
fn check(config: &TrainConfig, meshes: &[(usize, u8)]) {
    let dir = tempfile::tempdir().unwrap();
    let one = dir.path().join("one");
    run(1, &one, config, &spread(1, 0, true), false);
    for &(n, zero) in meshes {
        let many = dir.path().join(format!("{n}-{zero}"));
        run(n, &many, config, &spread(n, zero, true), false);
        let what = format!("{n} ranks, ZeRO {zero}");
        same_numbers(&many, &one, &what);
        let same = bytes(&many, 8, "model.safetensors") == bytes(&one, 8, "model.safetensors");
        assert!(same, "{what}");
    }
}

#[test]
fn spread_experts_learn_the_same_bytes() {
    // With three ranks and four micro-batches two ranks have nothing to compute in the second round.
    check(&train(), &[(2, 0), (3, 1), (4, 2), (2, 3)]);
}

#[test]
fn blocks_that_are_run_again_exchange_their_rows_again() {
    let config = TrainConfig {
        activation_checkpointing: true,
        optimizer: OptimizerKind::AdamW,
        ..train()
    };
    check(&config, &[(3, 1), (2, 3)]);
}

#[test]
fn frozen_experts_are_asked_as_well() {
    // Behind what is frozen no rank goes back, whatever its batch has.
    let config = TrainConfig {
        freeze: ["embed", "patches", "blocks.0", "blocks.1"]
            .map(String::from)
            .into(),
        ..train()
    };
    check(&config, &[(2, 1), (3, 2)]);
}

#[test]
fn adafactor_knows_every_expert_for_a_matrix_of_its_own() {
    let config = TrainConfig {
        optimizer: OptimizerKind::Adafactor,
        ..train()
    };
    check(&config, &[(4, 1)]);
}

#[test]
fn groups_of_ranks_differ_from_one_process_by_rounding_alone() {
    let dir = tempfile::tempdir().unwrap();
    let one = dir.path().join("one");
    run(1, &one, &train(), &spread(1, 0, false), false);
    for (n, expert, zero) in [(4, 2, 0), (4, 2, 2), (4, 2, 3), (2, 2, 1)] {
        let many = dir.path().join(format!("{n}-{expert}-{zero}"));
        run(n, &many, &train(), &spread(expert, zero, false), false);
        same_but_for_rounding(&one, &many, &format!("{n}, {expert}, {zero}"));
    }
}

#[test]
fn a_run_goes_on_under_any_other_mesh() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, moved) = (dir.path().join("whole"), dir.path().join("moved"));
    run(1, &whole, &train(), &spread(1, 0, true), false);
    let mut resume = false;
    for (n, expert, zero) in [
        (4, 4, 1),
        (2, 2, 3),
        (3, 1, 1),
        (3, 3, 2),
        (1, 1, 0),
        (2, 2, 0),
    ] {
        run(n, &moved, &train(), &spread(expert, zero, true), resume);
        let same = bytes(&moved, 8, "model.safetensors") == bytes(&whole, 8, "model.safetensors");
        assert!(same, "{n} ranks, groups of {expert}, ZeRO {zero}");
        same_numbers(&moved, &whole, "moved");
        // Stopped after four steps by taking the later checkpoint away, as a kill would.
        std::fs::remove_dir_all(checkpoint(&moved, 8)).unwrap();
        resume = true;
    }
}

#[test]
fn rows_in_half_precision_are_another_run_that_learns_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let (full, half) = (dir.path().join("full"), dir.path().join("half"));
    run(2, &full, &train(), &spread(2, 1, false), false);
    let halved = ParallelConfig {
        half_rows: true,
        ..spread(2, 1, false)
    };
    run(2, &half, &train(), &halved, false);
    let last = |dir: &Path| numbers(dir).last().unwrap()["loss"].as_f64().unwrap();
    let (full, half_loss) = (last(&full), last(&half));
    assert!(
        full != half_loss && (full - half_loss).abs() < 0.02 * full,
        "{full} {half_loss}"
    );
    let refused = outcomes(2, &half, &train(), &spread(2, 1, false), true);
    let text = refused.into_iter().next().unwrap().unwrap_err().to_string();
    assert!(text.contains("parallel"), "{text}");
}

#[test]
fn a_loss_that_is_not_finite_stops_every_rank_with_the_same_words() {
    let dir = tempfile::tempdir().unwrap();
    for checkpointing in [false, true] {
        let config = TrainConfig {
            lr: 1e30,
            warmup_steps: 0,
            grad_clip: 0.0,
            optimizer: OptimizerKind::AdamW,
            activation_checkpointing: checkpointing,
            ..train()
        };
        let run = dir.path().join(checkpointing.to_string());
        let outcomes = outcomes(2, &run, &config, &spread(2, 1, false), false);
        all_say_that_it_is_not_finite(outcomes);
    }
}

#[test]
fn a_mesh_that_cannot_be_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    for outcome in outcomes(4, &run, &train(), &spread(3, 1, false), false) {
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("parallel.expert = 3"), "{text}");
    }
    assert!(!run.exists());
}

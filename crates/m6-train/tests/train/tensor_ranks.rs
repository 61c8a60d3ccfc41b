//! Matrices split over ranks against one process that has them whole. Ranks are threads here; processes are in the tests of the binary.

use crate::fixture::{self, checkpoint};
use crate::ranks::{
    all_ok, all_say_that_it_is_not_finite, bytes, numbers, run_model_on, run_watched_on,
    same_but_for_rounding,
};
use m6_model::{ExpertsConfig, ForwardOptions, Model, ModelConfig};
use m6_train::{BestBy, Observer, OptimizerKind, Outcome, ParallelConfig, TrainConfig};
use std::collections::BTreeMap;
use std::path::Path;

fn train() -> TrainConfig {
    TrainConfig {
        optimizer: OptimizerKind::AdamW,
        label_smoothing: 0.1,
        ..crate::ranks::train()
    }
}

fn split(tensor: usize, expert: usize, zero: u8) -> ParallelConfig {
    ParallelConfig {
        tensor,
        expert,
        zero,
        ..ParallelConfig::default()
    }
}

/// Four heads, and dropout, whose masks all ranks of a group have to draw alike.
fn dense() -> ModelConfig {
    ModelConfig {
        n_heads: 4,
        ..fixture::model_config(0.1)
    }
}

fn with_experts() -> ModelConfig {
    ModelConfig {
        experts: ExpertsConfig {
            n_experts: 4,
            moe_every: 2,
            ..ExpertsConfig::default()
        },
        ..dense()
    }
}

fn outcomes(
    model: &ModelConfig,
    n: usize,
    dir: &Path,
    config: &TrainConfig,
    parallel: &ParallelConfig,
    resume: bool,
) -> Vec<m6_train::Result<Outcome>> {
    run_model_on(Some(model), n, dir, config, parallel, resume)
}

/// One process, and `meshes`: ranks, `tensor`, `expert`, ZeRO.
fn check(model: &ModelConfig, config: &TrainConfig, meshes: &[(usize, usize, usize, u8)]) {
    let dir = tempfile::tempdir().unwrap();
    let one = dir.path().join("one");
    all_ok(outcomes(model, 1, &one, config, &split(1, 1, 0), false));
    for &(n, tensor, expert, zero) in meshes {
        let what = format!("{n} ranks, tensor {tensor}, expert {expert}, ZeRO {zero}");
        let many = dir.path().join(&what);
        let parallel = split(tensor, expert, zero);
        all_ok(outcomes(model, n, &many, config, &parallel, false));
        same_but_for_rounding(&one, &many, &what);
    }
}

#[test]
fn split_matrices_learn_what_whole_ones_learn() {
    // With three groups and four micro-batches two groups have nothing to compute in the second round.
    let meshes = [
        (2, 2, 1, 0),
        (4, 4, 1, 0),
        (4, 2, 1, 0),
        (4, 2, 1, 2),
        (6, 2, 1, 3),
    ];
    check(&dense(), &train(), &meshes);
}

#[test]
fn blocks_that_are_run_again_and_heads_of_their_own_are_split_as_well() {
    let config = TrainConfig {
        activation_checkpointing: true,
        ..train()
    };
    let model = ModelConfig {
        tie_embeddings: false,
        ..dense()
    };
    check(&model, &config, &[(4, 2, 1, 3), (4, 4, 1, 1)]);
}

#[test]
fn matrices_and_experts_are_spread_at_the_same_time() {
    check(
        &with_experts(),
        &train(),
        &[(2, 2, 1, 0), (4, 2, 2, 1), (4, 2, 2, 3)],
    );
}

#[test]
fn frozen_parts_are_split_and_written_whole() {
    let config = TrainConfig {
        freeze: ["embed", "patches", "blocks.0"].map(String::from).into(),
        ..train()
    };
    check(&dense(), &config, &[(2, 2, 1, 1), (4, 2, 1, 3)]);
}

/// Asks the model for likelihoods, as a score of a finetuning does: of the first rank alone, with all of the weights.
struct Scorer;

impl Observer for Scorer {
    fn score(
        &mut self,
        _: u64,
        model: &Model,
        _: &BTreeMap<String, f64>,
    ) -> Result<Option<f64>, String> {
        let batch = &fixture::batches(1)[0];
        let input = fixture::input(batch);
        let output = m6_nn::no_grad(|| model.forward(&input, &ForwardOptions::default()));
        let output = output.map_err(|error| error.to_string())?;
        Ok(Some(f64::from(-output.nll.iter().sum::<f32>())))
    }
}

impl fixture::Watch for Scorer {}

#[test]
fn the_first_rank_scores_with_all_of_the_weights_and_the_run_goes_on_with_its_part() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        keep_best: true,
        best_by: BestBy::Score,
        eval_every: 2,
        freeze: vec!["blocks.0.ffn".into()],
        ..train()
    };
    let (model, plain) = (with_experts(), split(1, 1, 0));
    let one = dir.path().join("one");
    all_ok(run_watched_on(
        Some(&model),
        1,
        &one,
        &config,
        &plain,
        false,
        || Scorer,
    ));
    for (n, tensor, expert, zero) in [(2, 2, 1, 0), (4, 2, 1, 3), (4, 2, 2, 1)] {
        let what = format!("{n} ranks, tensor {tensor}, expert {expert}, ZeRO {zero}");
        let many = dir.path().join(&what);
        let parallel = split(tensor, expert, zero);
        let outcomes = run_watched_on(Some(&model), n, &many, &config, &parallel, false, || Scorer);
        all_ok(outcomes);
        same_but_for_rounding(&one, &many, &what);
        let n_scores = numbers(&many)
            .iter()
            .filter(|line| line.get("score").is_some())
            .count();
        assert_eq!(n_scores, 4);
    }
}

#[test]
fn the_same_mesh_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let model = with_experts();
    let path = |name: &str| dir.path().join(name);
    let run = |name: &str| {
        let parallel = split(2, 2, 1);
        all_ok(outcomes(&model, 4, &path(name), &train(), &parallel, false));
    };
    run("first");
    run("again");
    assert_eq!(numbers(&path("first")), numbers(&path("again")));
    let file = "model.safetensors";
    assert!(bytes(&path("first"), 8, file) == bytes(&path("again"), 8, file));
}

#[test]
fn a_run_goes_on_under_any_other_mesh() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, moved) = (dir.path().join("whole"), dir.path().join("moved"));
    let model = with_experts();
    let config = TrainConfig {
        checkpoint_every: 1,
        ..train()
    };
    all_ok(outcomes(&model, 1, &whole, &config, &split(1, 1, 0), false));
    let meshes = [
        (4, 2, 2, 1),
        (1, 1, 1, 0),
        (2, 2, 1, 0),
        (2, 1, 2, 3),
        (4, 4, 1, 1),
        (4, 2, 1, 3),
        (4, 2, 2, 2),
    ];
    for (leg, (n, tensor, expert, zero)) in meshes.into_iter().enumerate() {
        let parallel = split(tensor, expert, zero);
        all_ok(outcomes(&model, n, &moved, &config, &parallel, leg > 0));
        let what = format!("{n} ranks, tensor {tensor}, expert {expert}, ZeRO {zero}");
        same_but_for_rounding(&whole, &moved, &what);
        // Stopped one step after it began by taking what is later away, as a kill would: each mesh goes on from what the one before it wrote.
        for step in leg as u64 + 2..=8 {
            std::fs::remove_dir_all(checkpoint(&moved, step)).unwrap();
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_every_rank_with_the_same_words() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        lr: 1e30,
        warmup_steps: 0,
        grad_clip: 0.0,
        ..train()
    };
    let run = dir.path().join("run");
    all_say_that_it_is_not_finite(outcomes(&dense(), 4, &run, &config, &split(2, 1, 1), false));
}

#[test]
fn what_cannot_be_split_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let muon = crate::ranks::train();
    for (n, config, parallel, expected) in [
        (3, &train(), split(3, 1, 0), "model.n_heads (4)"),
        (2, &muon, split(2, 1, 0), "train.optimizer"),
        (4, &train(), split(3, 1, 0), "divisor of the 4 ranks"),
    ] {
        for outcome in outcomes(&dense(), n, &run, config, &parallel, false) {
            let text = outcome.unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
    }
    assert!(!run.exists());
}

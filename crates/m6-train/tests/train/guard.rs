//! What stops an update, and what learning looks like when nothing does.

use crate::fixture::{self, small_train};
use m6_model::Model;
use m6_nn::Tensor;
use m6_train::{Error, ErrorKind, Observer, Silent, TrainConfig, Trainer};

/// Writes a NaN into a parameter when samples are due.
struct Poison(&'static str);

impl fixture::Watch for Poison {}

impl Observer for Poison {
    fn sample(&mut self, _step: u64, model: &Model) {
        poison(model, self.0);
    }
}

fn poison(model: &Model, name: &str) {
    fill(model, name, f32::NAN);
}

fn fill(model: &Model, name: &str, value: f32) {
    let param = model.params().get(name).unwrap();
    let filled = Tensor::full(value, param.shape(), param.var().device()).unwrap();
    param.var().set(&filled).unwrap();
}

#[test]
fn a_nan_stops_before_the_update_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let config = TrainConfig {
        steps: 9,
        sample_every: 4,
        checkpoint_every: 3,
        ..small_train()
    };
    let error = fixture::run(&run, &config, &mut Poison("blocks.1.ffn.up.bias")).unwrap_err();
    let Error::NonFinite {
        step,
        what,
        task,
        parameter,
        last_good,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((*step, *what), (5, "the loss"));
    assert!(fixture::task_names().contains(task), "{task}");
    assert!(parameter.contains("blocks.1.ffn.up.bias"), "{parameter}");
    assert_eq!(
        last_good.as_deref(),
        Some(fixture::checkpoint(&run, 3).as_path())
    );
    assert_eq!(error.kind(), ErrorKind::Numerics);
    assert_eq!(fixture::metrics(&run).len(), 4);
}

#[test]
fn weights_that_are_not_finite_are_never_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let config = TrainConfig {
        steps: 9,
        sample_every: 4,
        checkpoint_every: 2,
        ..small_train()
    };
    let error = fixture::run(&run, &config, &mut Poison("norm.weight")).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Numerics);
    assert!(
        text.contains("step 4") && text.contains("norm.weight") && text.contains("step-00000002"),
        "{text}"
    );
    assert_eq!(fixture::names(&run.join("checkpoints")), ["step-00000002"]);
}

#[test]
fn nothing_changes_when_the_guard_stops() {
    let config = small_train();
    let batches = fixture::batches(2);
    let mut trainer = Trainer::new(fixture::model(0.1), &config, fixture::task_names()).unwrap();
    trainer.step(1, &batches, None).unwrap();
    poison(&trainer.model, "norm.bias");
    let weights = trainer.model.params().to_safetensors().unwrap();
    let moments = trainer.optimizer.state().unwrap();
    let error = trainer.step(2, &batches, None).unwrap_err().to_string();
    assert!(
        error.contains("step 2") && error.contains("norm.bias") && error.contains("none yet"),
        "{error}"
    );
    assert!(trainer.model.params().to_safetensors().unwrap() == weights);
    assert!(trainer.optimizer.state().unwrap() == moments);
}

#[test]
fn a_gradient_that_overflows_is_named_by_its_parameter() {
    let batches = fixture::batches(1);
    let mut trainer =
        Trainer::new(fixture::model(0.0), &small_train(), fixture::task_names()).unwrap();
    // The hidden layer is huge but multiplied by zero, so the loss is finite; the gradient of that zero is not.
    fill(&trainer.model, "norm.weight", 1e36);
    fill(&trainer.model, "blocks.1.ln2.weight", 1e36);
    fill(&trainer.model, "blocks.1.ffn.down.weight", 0.0);
    match trainer.step(1, &batches, None).unwrap_err() {
        Error::NonFinite {
            what: "the gradient",
            parameter,
            ..
        } => assert!(
            parameter.contains("in the gradient of blocks.1.ffn.down.weight"),
            "{parameter}"
        ),
        other => panic!("{other}"),
    }
}

#[test]
fn the_loss_falls_and_is_the_mean_over_its_tasks() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let config = TrainConfig {
        steps: 60,
        lr: 3e-3,
        warmup_steps: 5,
        eval_every: 30,
        ..small_train()
    };
    let outcome = fixture::run(&run, &config, &mut Silent).unwrap();
    let metrics = fixture::metrics(&run);
    let mean = |range: std::ops::Range<usize>| {
        let n = range.len() as f64;
        metrics[range]
            .iter()
            .map(|line| line["loss"].as_f64().unwrap())
            .sum::<f64>()
            / n
    };
    assert!(
        mean(50..60) < 0.9 * mean(0..10),
        "{} {}",
        mean(0..10),
        mean(50..60)
    );
    for line in &metrics {
        let tasks = line
            .as_object()
            .unwrap()
            .iter()
            .filter(|(key, _)| key.starts_with("loss/"));
        let losses: Vec<f64> = tasks.map(|(_, loss)| loss.as_f64().unwrap()).collect();
        let loss = line["loss"].as_f64().unwrap();
        let (low, high) = losses
            .iter()
            .fold((f64::MAX, f64::MIN), |(l, h), &x| (l.min(x), h.max(x)));
        assert!(low - 1e-9 <= loss && loss <= high + 1e-9, "{line}");
    }
    let on_eval: Vec<u64> = metrics
        .iter()
        .filter(|line| {
            line.as_object()
                .unwrap()
                .keys()
                .any(|key| key.starts_with("eval/"))
        })
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(on_eval, [30, 60]);
    assert!(!outcome.eval.is_empty());
}

#[test]
fn a_spike_is_skipped_and_counted() {
    let config = TrainConfig {
        spike_factor: 2.0,
        lr: 1e-5,
        ..small_train()
    };
    let batches = fixture::batches(1);
    let mut trainer = Trainer::new(fixture::model(0.0), &config, fixture::task_names()).unwrap();
    for step in 1..=16 {
        assert!(!trainer.step(step, &batches, None).unwrap().skipped);
    }
    trainer
        .spikes
        .recent
        .iter_mut()
        .for_each(|norm| *norm /= 100.0);
    let weights = trainer.model.params().to_safetensors().unwrap();
    assert!(trainer.step(17, &batches, None).unwrap().skipped);
    assert!(trainer.model.params().to_safetensors().unwrap() == weights);
    assert_eq!(trainer.spikes.n_skipped, 1);
}

#[test]
fn weight_decay_leaves_biases_norms_and_tables_alone() {
    let model = fixture::model(0.0);
    for param in model.params().iter() {
        let plain = param.name().ends_with(".bias")
            || param.shape().len() == 1
            || param.name().contains("positions");
        assert!(!(plain && param.decay()), "{} decays", param.name());
    }
    assert!(
        model
            .params()
            .get("blocks.0.ffn.up.weight")
            .unwrap()
            .decay()
    );
}

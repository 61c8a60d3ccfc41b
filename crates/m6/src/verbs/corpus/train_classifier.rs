//! `m6 corpus train-classifier`: the linear classifier behind the column `quality`.

use super::texts;
use crate::cli::Common;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use clap::Args;
use m6_clean::rules::classify::{Config, Example, Metrics, Model, Shape, evaluate, train};
use m6_store::rng::Key;
use serde_json::{Value, json};
use std::path::PathBuf;

/// `m6 corpus train-classifier`.
#[derive(Args, Debug, Clone)]
pub struct TrainClassifierArgs {
    /// Good text: `.jsonl` files by their text field, other files line by line.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub good: Vec<PathBuf>,
    /// Bad text, in the same form.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub bad: Vec<PathBuf>,
    /// Field of the text in `.jsonl` files.
    #[arg(long, value_name = "NAME", default_value = "text")]
    pub text_field: String,
    /// Model file to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Buckets for n-grams, as a power of two, 8 to 24.
    #[arg(long, value_name = "N", default_value_t = Shape::default().bits)]
    pub bits: u32,
    /// Longest n-gram, 1 to 6 characters.
    #[arg(long, value_name = "N", default_value_t = Shape::default().max_n)]
    pub max_n: u32,
    /// Passes over the examples.
    #[arg(long, value_name = "N", default_value_t = Config::default().n_epochs)]
    pub epochs: u32,
    /// Share of the examples kept from training to measure the model on.
    #[arg(long, value_name = "X", default_value_t = 0.2)]
    pub held_out: f64,
    /// Leaves out the controls: a second training with drawn labels, and length alone as a score.
    #[arg(long)]
    pub no_controls: bool,
}

/// Runs the verb.
pub fn run(args: &TrainClassifierArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    if !(0.0..1.0).contains(&args.held_out) {
        return Err(Failure::usage(
            "--held-out is a share of at least 0 and under 1",
        ));
    }
    let seed = common.seed.unwrap_or(0);
    let mut examples = read(&args.good, true, &args.text_field)?;
    examples.extend(read(&args.bad, false, &args.text_field)?);
    let (sample, held_out) = texts::split(examples, |e| e.text.as_str(), args.held_out, seed);
    if common.dry_run {
        let (n, n_held) = (sample.len(), held_out.len());
        terminal.say(&format!(
            "would train on {n} examples and measure on {n_held}"
        ));
        return Ok(());
    }
    let config = Config {
        shape: Shape {
            bits: args.bits,
            max_n: args.max_n,
            ..Shape::default()
        },
        n_epochs: args.epochs,
        seed,
        ..Config::default()
    };
    let trained = train(&sample, &config).or_usage()?;
    trained.model.save(&args.out).or_data()?;
    let model = Model::load(&args.out).or_data()?;
    let mut report = json!({
        "file": args.out,
        "blake3": model.blake3(),
        "train": {"good": n_good(&sample), "bad": sample.len() - n_good(&sample), "epochs": trained.epochs},
        "held_out": evaluate(&model, &held_out),
    });
    if !args.no_controls {
        report["controls"] = controls(sample, &held_out, &config)?;
    }
    tell(&report, terminal);
    Ok(())
}

fn read(paths: &[PathBuf], label: bool, field: &str) -> Result<Vec<Example>> {
    let mut examples = Vec::new();
    for path in paths {
        let texts = texts::read(path, field)?;
        examples.extend(texts.into_iter().map(|text| Example { text, label }));
    }
    Ok(examples)
}

fn n_good(examples: &[Example]) -> usize {
    examples.iter().filter(|example| example.label).count()
}

/// What a model that learnt nothing reaches: the larger class always, the same training with drawn labels, and the number of
/// characters as the score, whichever way round is better.
fn controls(mut sample: Vec<Example>, held_out: &[Example], config: &Config) -> Result<Value> {
    let mut labels: Vec<bool> = sample.iter().map(|example| example.label).collect();
    Key::new(config.seed)
        .child("drawn labels")
        .stream()
        .shuffle(&mut labels);
    for (example, label) in sample.iter_mut().zip(labels) {
        example.label = label;
    }
    let drawn = train(&sample, config).or_usage()?.model;
    let n = held_out.len().max(1) as f64;
    let share = n_good(held_out) as f64 / n;
    Ok(json!({
        "larger_class_accuracy": share.max(1.0 - share),
        "drawn_labels": evaluate(&drawn, held_out),
        "length_auc": length_auc(held_out),
    }))
}

/// The area under the curve of the number of characters, turned so that it is at least a half.
fn length_auc(examples: &[Example]) -> f64 {
    let mut lengths: Vec<(usize, bool)> = examples
        .iter()
        .map(|example| (example.text.chars().count(), example.label))
        .collect();
    lengths.sort_unstable();
    let (mut below, mut won) = (0.0, 0.0);
    for tied in lengths.chunk_by(|a, b| a.0 == b.0) {
        let n_true = tied.iter().filter(|(_, label)| *label).count() as f64;
        let n_false = tied.len() as f64 - n_true;
        won += n_true * (below + 0.5 * n_false);
        below += n_false;
    }
    let pairs = n_good(examples) as f64 * below;
    let auc = if pairs > 0.0 { won / pairs } else { 0.5 };
    auc.max(1.0 - auc)
}

fn tell(report: &Value, terminal: &Terminal) {
    if terminal.json() {
        return terminal.object(report);
    }
    let metrics = |value: &Value| {
        let metrics: Metrics = serde_json::from_value(value.clone()).unwrap_or_default();
        format!(
            "{} examples, accuracy {:.4}, AUC {:.4}, precision {:.4}, recall {:.4}",
            metrics.n, metrics.accuracy, metrics.auc, metrics.precision, metrics.recall
        )
    };
    let (train, controls) = (&report["train"], &report["controls"]);
    let mut text = format!(
        "{} good and {} bad examples -> {}\nheld out: {}\n",
        train["good"],
        train["bad"],
        report["file"],
        metrics(&report["held_out"])
    );
    if let (Some(larger), Some(length)) = (
        controls["larger_class_accuracy"].as_f64(),
        controls["length_auc"].as_f64(),
    ) {
        text.push_str(&format!(
            "drawn labels: {}\nlarger class always: accuracy {larger:.4}; length alone: AUC {length:.4}\n",
            metrics(&controls["drawn_labels"])
        ));
    }
    terminal.data(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_alone_is_measured_either_way_round() {
        let example = |text: &str, label| Example {
            text: text.to_owned(),
            label,
        };
        let check = |examples: &[Example], expected: f64| {
            assert_eq!(length_auc(examples), expected);
        };
        check(&[example("一二三", true), example("一", false)], 1.0);
        check(&[example("一", true), example("一二", false)], 1.0);
        check(&[example("一", true), example("二", false)], 0.5);
        check(&[example("一", true)], 0.5);
        check(&[], 0.5);
    }
}

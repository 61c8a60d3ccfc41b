//! Prints the speed of the rules on one core in documents a second, whole and by part, as JSON.
//!
//! `cargo run --release -p m6-corpus --example rules_throughput -- DOCS.jsonl FIELD LIST_FOLDER [ROUNDS]`: every tenth document trains the language model
//! and the classifier, the others are measured; every `.txt` file of the folder is a word list.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use m6_corpus::rules::decide::Calibration;
use m6_corpus::rules::lists::{Kind, ListSource, Lists};
use m6_corpus::rules::signals::{PartSignals, Scan, repeats};
use m6_corpus::rules::{Assets, Judge, Signals, classify, lm, packs, pii};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Documents a second, the best of some rounds.
fn speed(n_rounds: usize, texts: &[String], mut work: impl FnMut(&str) -> usize) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..n_rounds {
        let start = Instant::now();
        let total: usize = texts.iter().map(|text| work(text)).sum();
        std::hint::black_box(total);
        best = best.min(start.elapsed().as_secs_f64());
    }
    texts.len() as f64 / best
}

fn load(path: &str, field: &str) -> Result<Vec<String>, Failure> {
    let mut texts = Vec::new();
    for line in std::fs::read_to_string(path)?.lines() {
        let row: serde_json::Value = serde_json::from_str(line)?;
        texts.extend(row[field].as_str().map(str::to_owned));
    }
    Ok(texts)
}

fn lists(folder: &Path) -> Result<Lists, Failure> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path.extension().is_some_and(|ending| ending == "txt") {
            let kind = if name.contains("hosts") {
                Kind::Hosts
            } else {
                Kind::Words
            };
            let tier = if name.contains("ads") { 3 } else { 2 };
            sources.push(ListSource {
                name,
                path,
                tier,
                kind,
                min_chars: 2,
            });
        }
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Lists::load(&sources)?)
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let [_, path, field, folder, rest @ ..] = args.as_slice() else {
        return Err("expected: rules_throughput DOCS.jsonl FIELD LIST_FOLDER [ROUNDS]".into());
    };
    let n_rounds = rest.first().map_or(Ok(5), |n| n.parse())?;
    let (sample, texts): (Vec<_>, Vec<_>) = load(path, field)?
        .into_iter()
        .enumerate()
        .partition(|(index, _)| index % 10 == 0);
    let sample: Vec<String> = sample.into_iter().map(|(_, text)| text).collect();
    let texts: Vec<String> = texts.into_iter().map(|(_, text)| text).collect();
    let start = Instant::now();
    let trained = lm::train(&sample, &lm::Config::default())?;
    let train_s = start.elapsed().as_secs_f64();
    let reversed = sample
        .iter()
        .map(|text| (text.chars().rev().collect::<String>(), false));
    let labelled = sample
        .iter()
        .map(|text| (text.clone(), true))
        .chain(reversed);
    let examples: Vec<classify::Example> = labelled
        .map(|(text, label)| classify::Example { text, label })
        .collect();
    let classifier = classify::train(
        &examples,
        &classify::Config {
            n_epochs: 2,
            ..Default::default()
        },
    )?
    .model;
    let assets = Assets {
        lists: lists(Path::new(folder))?,
        lm: Some(trained.model),
        classifier: Some(classifier),
    };
    let judge = |name: &str| -> Result<Judge, Failure> {
        Ok(Judge::new(&packs::get(name)?, &Calibration::default())?)
    };
    let (default, m6) = (judge("default")?, judge("m6")?);

    let n_bytes: usize = texts.iter().map(String::len).sum();
    let (model, linear) = (assets.lm.as_ref(), assets.classifier.as_ref());
    let scans: Vec<Scan> = texts.iter().map(|text| Scan::of(text)).collect();
    let mut next = 0;
    let parts = [
        (
            "scan",
            speed(n_rounds, &texts, |text| Scan::of(text).chars.len()),
        ),
        (
            "repeats",
            speed(n_rounds, &texts, |_| {
                next = (next + 1) % scans.len();
                (repeats(&scans[next].chars).top[0] * 100.0) as usize
            }),
        ),
        (
            "lists",
            speed(n_rounds, &texts, |text| assets.lists.find(text).len()),
        ),
        ("pii", speed(n_rounds, &texts, |text| pii::find(text).len())),
        (
            "lm",
            speed(n_rounds, &texts, |text| {
                model.map_or(0, |model| model.score(text).n_tokens as usize)
            }),
        ),
        (
            "classifier",
            speed(n_rounds, &texts, |text| {
                linear.map_or(0, |model| (model.score(text) * 100.0) as usize)
            }),
        ),
        (
            "line_signals",
            speed(n_rounds, &texts, |text| {
                PartSignals::with(&assets, text, false).n_chars as usize
            }),
        ),
        (
            "signals_without_models",
            speed(n_rounds, &texts, |text| {
                Signals::of(text, None, None).n_chars as usize
            }),
        ),
        (
            "signals",
            speed(n_rounds, &texts, |text| {
                Signals::with(&assets, text, None, None).n_chars as usize
            }),
        ),
        (
            "pack_default",
            speed(n_rounds, &texts, |text| {
                default.text(&assets, text, None, None).text.len()
            }),
        ),
        (
            "pack_m6",
            speed(n_rounds, &texts, |text| {
                m6.text(&assets, text, None, None).text.len()
            }),
        ),
    ];
    let mut report = serde_json::json!({
        "n_docs": texts.len(),
        "mean_bytes": n_bytes as f64 / texts.len().max(1) as f64,
        "lm_train_chars": trained.report.n_chars,
        "lm_train_chars_per_s": (trained.report.n_chars as f64 / train_s) as u64,
    });
    for (name, docs_per_s) in parts {
        report[name] = (docs_per_s as u64).into();
    }
    println!("{report}");
    Ok(())
}

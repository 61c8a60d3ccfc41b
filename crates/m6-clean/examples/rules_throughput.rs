//! Prints the speed of the rules on one core in documents and megabytes a second, whole and by part, as JSON.
//!
//! `cargo run --release -p m6-clean --example rules_throughput -- [DOCS.jsonl FIELD LIST_FOLDER [ROUNDS]]`: every tenth document trains the
//! language model and the classifier, the others are measured; every `.txt` file of the folder is a word list. Without arguments the pages of
//! DuReader and the lists under `shared/data` (`M6_SHARED`, or beside the workspace).
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use m6_clean::rules::decide::Calibration;
use m6_clean::rules::lists::{Kind, ListSource, Lists};
use m6_clean::rules::signals::{PartSignals, Scan, repeats};
use m6_clean::rules::{Assets, Judge, Signals, classify, lm, packs, pii};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is measured: texts, lists, rounds.
struct Input {
    texts: Vec<String>,
    lists: PathBuf,
    n_rounds: usize,
}

fn input() -> Result<Input, Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.as_slice() {
        [path, field, lists, rest @ ..] => Ok(Input {
            texts: fields(Path::new(path), field)?,
            lists: PathBuf::from(lists),
            n_rounds: rest.first().map_or(Ok(5), |n| n.parse())?,
        }),
        [] => {
            let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
            let data = std::env::var_os("M6_SHARED").map_or_else(beside, PathBuf::from);
            let data = data.join("data");
            Ok(Input {
                texts: pages(&data.join("qa/dureader-demo.jsonl"))?,
                lists: data.join("lists"),
                n_rounds: 5,
            })
        }
        _ => Err("expected: rules_throughput [DOCS.jsonl FIELD LIST_FOLDER [ROUNDS]]".into()),
    }
}

fn rows(path: &Path) -> Result<Vec<serde_json::Value>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let rows = text.lines().map(serde_json::from_str);
    Ok(rows.collect::<Result<_, _>>()?)
}

fn fields(path: &Path, field: &str) -> Result<Vec<String>, Failure> {
    let texts = rows(path)?
        .into_iter()
        .filter_map(|row| row[field].as_str().map(str::to_owned));
    Ok(texts.filter(|text| !text.is_empty()).collect())
}

/// The web pages behind DuReader's questions.
fn pages(path: &Path) -> Result<Vec<String>, Failure> {
    let mut texts = Vec::new();
    for row in rows(path)? {
        for page in row["documents"].as_array().into_iter().flatten() {
            let lines = page["paragraphs"].as_array().into_iter().flatten();
            let lines: Vec<&str> = lines.filter_map(|line| line.as_str()).collect();
            texts.push(lines.join("\n"));
        }
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

/// Lists of the folder, and models trained on the sample; the classifier's bad texts are the good ones backwards.
fn assets(sample: &[String], folder: &Path) -> Result<(Assets, serde_json::Value), Failure> {
    let start = Instant::now();
    let trained = lm::train(sample, &lm::Config::default())?;
    let n_chars = trained.report.n_chars;
    let speed = n_chars as f64 / start.elapsed().as_secs_f64();
    let good = sample.iter().map(|text| (text.clone(), true));
    let bad = sample
        .iter()
        .map(|text| (text.chars().rev().collect(), false));
    let examples: Vec<classify::Example> = good
        .chain(bad)
        .map(|(text, label)| classify::Example { text, label })
        .collect();
    let config = classify::Config {
        n_epochs: 2,
        ..Default::default()
    };
    let assets = Assets {
        lists: lists(folder)?,
        lm: Some(trained.model),
        classifier: Some(classify::train(&examples, &config)?.model),
    };
    Ok((
        assets,
        serde_json::json!({"chars": n_chars, "chars_per_s": speed as u64}),
    ))
}

/// A name and what is done with each text; the number keeps the work from being left out.
type Part<'a> = (&'static str, Box<dyn Fn(usize, &str) -> usize + 'a>);

fn parts<'a>(
    assets: &'a Assets,
    scans: &'a [Scan],
    packs: &'a [(&'static str, Judge)],
) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = vec![
        ("scan", Box::new(|_, text| Scan::of(text).chars.len())),
        (
            "repeats",
            Box::new(|i, _| (repeats(&scans[i].chars).top[0] * 100.0) as usize),
        ),
        ("lists", Box::new(|_, text| assets.lists.find(text).len())),
        ("pii", Box::new(|_, text| pii::find(text).len())),
        (
            "lm",
            Box::new(|_, text| {
                let model = assets.lm.as_ref();
                model.map_or(0, |model| model.score(text).n_tokens as usize)
            }),
        ),
        (
            "classifier",
            Box::new(|_, text| {
                let model = assets.classifier.as_ref();
                model.map_or(0, |model| (model.score(text) * 100.0) as usize)
            }),
        ),
        (
            "line_signals",
            Box::new(|_, text| PartSignals::with(assets, text, false).n_chars as usize),
        ),
        (
            "signals_without_models",
            Box::new(|_, text| Signals::of(text, None, None).n_chars as usize),
        ),
        (
            "signals",
            Box::new(|_, text| Signals::with(assets, text, None, None).n_chars as usize),
        ),
    ];
    for (name, judge) in packs {
        let work = |_: usize, text: &str| judge.text(assets, text, None, None).text.len();
        parts.push((name, Box::new(work)));
    }
    parts
}

fn main() -> Result<(), Failure> {
    let Input {
        texts,
        lists,
        n_rounds,
    } = input()?;
    let (sample, texts): (Vec<_>, Vec<_>) = texts
        .into_iter()
        .enumerate()
        .partition(|(index, _)| index % 10 == 0);
    let bare = |texts: Vec<(usize, String)>| texts.into_iter().map(|(_, text)| text).collect();
    let (sample, texts): (Vec<String>, Vec<String>) = (bare(sample), bare(texts));
    let (assets, lm_train) = assets(&sample, &lists)?;
    let mut judges = Vec::new();
    for (name, pack) in [
        ("pack_default", "default"),
        ("pack_m6", "m6"),
        ("pack_wudao", "wudao"),
    ] {
        judges.push((
            name,
            Judge::new(&packs::get(pack)?, &Calibration::default())?,
        ));
    }
    let n_mb = texts.iter().map(String::len).sum::<usize>() as f64 / 1e6;
    let scans: Vec<Scan> = texts.iter().map(|text| Scan::of(text)).collect();
    let mut report = serde_json::json!({
        "n_docs": texts.len(),
        "mean_bytes": (n_mb * 1e6 / texts.len().max(1) as f64) as u64,
        "lm_train": lm_train,
    });
    for (name, work) in parts(&assets, &scans, &judges) {
        let mut best = f64::INFINITY;
        for _ in 0..n_rounds {
            let start = Instant::now();
            let total: usize = texts
                .iter()
                .enumerate()
                .map(|(i, text)| work(i, text))
                .sum();
            std::hint::black_box(total);
            best = best.min(start.elapsed().as_secs_f64());
        }
        report[name] = serde_json::json!({
            "docs_per_s": (texts.len() as f64 / best) as u64,
            "mb_per_s": (10.0 * n_mb / best).round() / 10.0,
        });
    }
    println!("{report}");
    Ok(())
}

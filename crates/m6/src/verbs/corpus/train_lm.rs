//! `m6 corpus train-lm`: the language model behind the column `perplexity`.

use super::texts;
use crate::cli::Common;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use clap::Args;
use m6_clean::rules::lm::{Config, Model, Score, train};
use m6_store::rng::Key;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Texts measured for a report; more say nothing new.
const MAX_MEASURED: usize = 20_000;

/// `m6 corpus train-lm`.
#[derive(Args, Debug, Clone)]
pub struct TrainLmArgs {
    /// Text to train on: `.jsonl` files by their text field, other files line by line.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// Field of the text in `.jsonl` files.
    #[arg(long, value_name = "NAME", default_value = "text")]
    pub text_field: String,
    /// Model file to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Longest n-gram, 2 to 6 characters.
    #[arg(long, value_name = "N", default_value_t = Config::default().order)]
    pub order: usize,
    /// Characters that occur less often are unknown to the model.
    #[arg(long, value_name = "N", default_value_t = Config::default().min_char_count)]
    pub min_char_count: u64,
    /// Text beyond this many characters is left out; training takes some 60 bytes for each.
    #[arg(long, value_name = "N", default_value_t = Config::default().max_chars)]
    pub max_chars: usize,
    /// Share of the texts that is kept from training to measure the model on, as they are and with their characters shuffled.
    #[arg(long, value_name = "X", default_value_t = 0.05)]
    pub held_out: f64,
    /// Other texts whose perplexity is told too.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub against: Vec<PathBuf>,
}

/// Runs the verb.
pub fn run(args: &TrainLmArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    if !(0.0..1.0).contains(&args.held_out) {
        return Err(Failure::usage(
            "--held-out is a share of at least 0 and under 1",
        ));
    }
    let seed = common.seed.unwrap_or(0);
    let mut all = Vec::new();
    for path in &args.input {
        all.extend(texts::read(path, &args.text_field)?);
    }
    let (sample, held_out) = texts::split(all, String::as_str, args.held_out, seed);
    if common.dry_run {
        let (n, n_held) = (sample.len(), held_out.len());
        terminal.say(&format!("would train on {n} texts and measure on {n_held}"));
        return Ok(());
    }
    let config = Config {
        order: args.order,
        min_char_count: args.min_char_count,
        max_chars: args.max_chars,
        ..Config::default()
    };
    let trained = train(&sample, &config).or_usage()?;
    trained.model.save(&args.out).or_data()?;
    let model = Model::load(&args.out).or_data()?;
    let mut report = json!({"file": args.out, "blake3": model.blake3(), "order": model.order()});
    if let (Some(row), Ok(Value::Object(counts))) = (
        report.as_object_mut(),
        serde_json::to_value(&trained.report),
    ) {
        row.extend(counts);
    }
    report["held_out"] = measure(&model, &held_out);
    report["held_out_shuffled"] = measure(&model, &shuffled(&held_out, seed));
    for path in &args.against {
        let name = path.display().to_string();
        report["against"][name] = measure(&model, &texts::read(path, &args.text_field)?);
    }
    tell(&report, terminal);
    Ok(())
}

/// The texts with their characters in a drawn order: the same characters, no text.
fn shuffled(texts: &[String], seed: u64) -> Vec<String> {
    let key = Key::new(seed).child("shuffled texts");
    let one = |(i, text): (usize, &String)| {
        let mut chars: Vec<char> = text.chars().collect();
        key.at(i as u64).stream().shuffle(&mut chars);
        chars.into_iter().collect()
    };
    texts
        .iter()
        .take(MAX_MEASURED)
        .enumerate()
        .map(one)
        .collect()
}

/// Perplexity a character of all texts together, and of the middle text and the one that 95 % do not exceed.
fn measure(model: &Model, texts: &[String]) -> Value {
    let scores: Vec<Score> = texts
        .par_iter()
        .take(MAX_MEASURED)
        .map(|text| model.score(text))
        .collect();
    let mut whole = Score::default();
    for score in &scores {
        whole.log2_prob += score.log2_prob;
        whole.n_tokens += score.n_tokens;
        whole.n_unknown += score.n_unknown;
    }
    let mut each: Vec<f64> = scores.iter().filter_map(Score::perplexity).collect();
    each.sort_by(f64::total_cmp);
    let quantile = |share: f64| each.get((share * each.len() as f64) as usize).copied();
    json!({
        "texts": each.len(),
        "tokens": whole.n_tokens,
        "unknown": whole.n_unknown,
        "perplexity": whole.perplexity(),
        "median": quantile(0.5),
        "q95": quantile(0.95),
    })
}

fn tell(report: &Value, terminal: &Terminal) {
    if terminal.json() {
        return terminal.object(report);
    }
    let mut text = format!(
        "{} characters, {} sentences -> {}\n",
        report["n_chars"], report["n_sentences"], report["file"]
    );
    let mut row = |name: &str, of: &Value| {
        let figure = |key: &str| {
            of[key]
                .as_f64()
                .map_or("-".to_owned(), |x| format!("{x:.1}"))
        };
        text.push_str(&format!(
            "{:>8} texts, perplexity {:>9}, median {:>9}, q95 {:>9}  {name}\n",
            of["texts"].to_string(),
            figure("perplexity"),
            figure("median"),
            figure("q95")
        ));
    };
    row("held out", &report["held_out"]);
    row("held out, shuffled", &report["held_out_shuffled"]);
    for (name, of) in report["against"].as_object().into_iter().flatten() {
        row(name, of);
    }
    terminal.data(&text);
}

//! `m6 eval match`: does the match head tell own texts from swapped ones? And `m6 generate match`.

use super::common as shared;
use super::eval_items::{self, Item, PairArgs};
use crate::cli::Common;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use clap::Args;
use clap::builder::TypedValueParser;
use m6_eval::Measured;
use m6_model::MatchPair;
use m6_store::rng::Key;
use m6_train::LoadedModel;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// `m6 eval match`.
#[derive(Args, Debug, Clone)]
pub struct EvalMatchArgs {
    /// Run, checkpoint or exported model with a match head.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// What is read.
    #[command(flatten)]
    pub pairs: PairArgs,
    /// Writes what the model said, a line each, as `m6 score match` reads candidates; the truth goes to FILE with `.truth.jsonl` behind its
    /// name.
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,
    /// Pairs read in one pass.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4096).map(|n| n as usize))]
    pub batch: usize,
}

/// `m6 generate match`.
#[derive(Args, Debug, Clone)]
pub struct MatchArgs {
    /// Run, checkpoint or exported model with a match head.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The picture.
    #[arg(long, value_name = "FILE")]
    pub image: PathBuf,
    /// The text.
    #[arg(long)]
    pub text: String,
}

/// A picture and a text by their records, and whether they belong together.
struct Asked<'a> {
    id: String,
    picture: &'a Item,
    text: &'a [u32],
    label: bool,
}

/// Runs `m6 eval match`.
pub fn run(args: &EvalMatchArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let loaded = shared::load_model(&args.model, terminal)?;
    // Without the head nothing need be read.
    loaded.model.match_scores(&[], 0).or_usage()?;
    let items = eval_items::read(&args.pairs, common, &loaded, terminal)?;
    if common.dry_run {
        terminal.say(&format!("would match {} records", items.len()));
        return Ok(());
    }
    let key = Key::new(common.seed.unwrap_or(1)).child("eval match");
    let random = asked(&items, |i| any_other(&items, i, key.at(i as u64)));
    let hard: Vec<Asked> = asked(&items, |i| nearest_other(&items, i))
        .into_iter()
        .filter(|asked| !asked.label)
        .collect();
    // The control sees the next record's picture with the same texts and labels.
    let moved = asked_with(&items, &random, 1);
    let mut bar = terminal.progress((2 * random.len() + hard.len()) as u64, "match");
    let mut n_done = 0;
    let mut score = |pairs: &[Asked]| {
        scores(&loaded, pairs, args.batch, &mut |n| {
            n_done += n;
            bar.at(n_done, "");
        })
    };
    let (found, found_hard, found_moved) = (score(&random)?, score(&hard)?, score(&moved)?);
    bar.finish();
    if let Some(path) = &args.predictions {
        write(path, &random, &found)?;
    }
    let own = random.iter().zip(&found).filter(|(asked, _)| asked.label);
    let with_hard = own.chain(hard.iter().zip(&found_hard));
    let mut row = figures(&measure(random.iter().zip(&found))?);
    for (name, value) in figures(&measure(with_hard)?) {
        row.insert(format!("hard_{name}"), value);
    }
    let shuffled = figures(&measure(moved.iter().zip(&found_moved))?);
    report(random.len(), row, shuffled, terminal);
    Ok(())
}

/// Every record with a text of its own and with one that `other` gives.
fn asked<'a>(items: &'a [Item], other: impl Fn(usize) -> Option<&'a [u32]>) -> Vec<Asked<'a>> {
    let mut out = Vec::with_capacity(2 * items.len());
    for (i, item) in items.iter().enumerate() {
        let mut push = |text, label: bool| {
            out.push(Asked {
                id: format!("{}#{}", item.id, u8::from(label)),
                picture: item,
                text,
                label,
            });
        };
        push(&item.texts[0], true);
        if let Some(text) = other(i) {
            push(text, false);
        }
    }
    out
}

/// The same texts and labels with the pictures of records `shift` further on.
fn asked_with<'a>(items: &'a [Item], pairs: &[Asked<'a>], shift: usize) -> Vec<Asked<'a>> {
    let place = |id: &str| items.iter().position(|item| item.id == id).unwrap_or(0);
    let moved = |asked: &Asked<'a>| Asked {
        id: asked.id.clone(),
        picture: &items[(place(&asked.picture.id) + shift) % items.len()],
        ..*asked
    };
    pairs.iter().map(moved).collect()
}

/// A text of another record that is none of this one's; drawn, and after a few draws the next there is.
fn any_other(items: &[Item], i: usize, key: Key) -> Option<&[u32]> {
    let start = 1 + key.stream().below(items.len() as u64 - 1) as usize;
    let others =
        (0..items.len() - 1).map(|k| (i + 1 + (start - 1 + k) % (items.len() - 1)) % items.len());
    let texts = others.flat_map(|other| items[other].texts.first());
    let mut texts = texts.filter(|text| !items[i].texts.contains(text));
    texts.next().map(Vec::as_slice)
}

/// Of the other records' texts that are none of this one's, the one that shares most words with its first.
fn nearest_other(items: &[Item], i: usize) -> Option<&[u32]> {
    let own: BTreeSet<u32> = items[i].texts[0].iter().copied().collect();
    let likeness = |text: &[u32]| {
        let other: BTreeSet<u32> = text.iter().copied().collect();
        let shared = own.intersection(&other).count();
        shared as f64 / (own.len() + other.len() - shared).max(1) as f64
    };
    let others = items.iter().enumerate().filter(|(other, _)| *other != i);
    let texts = others.flat_map(|(_, item)| item.texts.iter());
    let texts = texts.filter(|text| !items[i].texts.contains(text));
    let mut best: Option<(f64, &[u32])> = None;
    for text in texts {
        let near = likeness(text);
        if best.is_none_or(|(most, _)| near > most) {
            best = Some((near, text));
        }
    }
    best.map(|(_, text)| text)
}

fn scores(
    loaded: &LoadedModel,
    pairs: &[Asked],
    batch: usize,
    done: &mut dyn FnMut(u64),
) -> Result<Vec<f64>> {
    let begin = loaded.tokenizer.special().cls;
    let mut out = Vec::with_capacity(pairs.len());
    for chunk in pairs.chunks(batch) {
        let chunk: Vec<MatchPair> = chunk
            .iter()
            .map(|asked| MatchPair {
                pictures: &asked.picture.picture,
                text: asked.text,
            })
            .collect();
        let found = loaded.model.match_scores(&chunk, begin).or_usage()?;
        out.extend(found.into_iter().map(f64::from));
        done(chunk.len() as u64);
    }
    Ok(out)
}

/// Lines of truth and of what was said.
fn lines<'a>(pairs: impl Iterator<Item = (&'a Asked<'a>, &'a f64)>) -> [String; 2] {
    let (mut truth, mut said) = (String::new(), String::new());
    for (asked, score) in pairs {
        truth.push_str(&format!(
            "{}\n",
            json!({"id": asked.id, "label": u8::from(asked.label)})
        ));
        said.push_str(&format!("{}\n", json!({"id": asked.id, "score": score})));
    }
    [truth, said]
}

fn measure<'a>(pairs: impl Iterator<Item = (&'a Asked<'a>, &'a f64)>) -> Result<Measured> {
    let [truth, said] = lines(pairs);
    m6_eval::measure_match(truth.as_bytes(), said.as_bytes(), 0.5).or_data()
}

/// Figures by name, as `--json` has them.
pub fn figures(measured: &Measured) -> Map<String, Value> {
    let figures = measured.figures().into_iter().map(Value::from);
    measured.names.iter().cloned().zip(figures).collect()
}

fn write(path: &Path, pairs: &[Asked], scores: &[f64]) -> Result<()> {
    write_both(path, lines(pairs.iter().zip(scores)))
}

/// Writes what was said to `path` and the truth beside it, with `.truth.jsonl` behind the name.
pub fn write_both(path: &Path, [truth, said]: [String; 2]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".truth.jsonl");
    m6_store::atomic::write_file(Path::new(&beside), truth.as_bytes()).or_usage()?;
    m6_store::atomic::write_file(path, said.as_bytes()).or_usage()
}

fn report(n: usize, scores: Map<String, Value>, shuffled: Map<String, Value>, terminal: &Terminal) {
    if terminal.json() {
        terminal.object(&json!({
            "task": "match", "n": n, "scores": scores, "control": {"shuffled": shuffled},
        }));
        return;
    }
    let title = format!("{n} pairs");
    terminal.data(&format!("{title:26} {:>8} {:>8}\n", "", "shuffled"));
    for (name, value) in &scores {
        let shown = |value: Option<&Value>| {
            value
                .and_then(Value::as_f64)
                .map_or(String::new(), |v| format!("{v:.4}"))
        };
        terminal.data(&format!(
            "{name:26} {:>8} {:>8}\n",
            shown(Some(value)),
            shown(shuffled.get(name))
        ));
    }
}

/// Runs `m6 generate match`.
pub fn generate(args: &MatchArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let loaded = shared::load_model(&args.model, terminal)?;
    loaded.model.match_scores(&[], 0).or_usage()?;
    let bytes = std::fs::read(&args.image)
        .map_err(|e| Failure::usage(format!("cannot read {}: {e}", args.image.display())))?;
    let side = loaded.model.config().patches.image_side;
    let name = args.image.display().to_string();
    let picture = shared::picture(&name, &bytes, side, shared::fit_of(&loaded))?;
    let text = loaded.tokenizer.encode(&args.text);
    if text.is_empty() {
        return Err(Failure::usage("--text is empty"));
    }
    if common.dry_run {
        terminal.say("would match one picture with one text");
        return Ok(());
    }
    let pair = MatchPair {
        pictures: &picture.chw,
        text: &text,
    };
    let begin = loaded.tokenizer.special().cls;
    let scores = loaded.model.match_scores(&[pair], begin).or_usage()?;
    let score = scores.first().copied().unwrap_or(f32::NAN);
    match terminal.json() {
        true => terminal.object(&json!({"score": score})),
        false => terminal.data(&format!("{score:.4}\n")),
    }
    Ok(())
}

//! `m6 eval image --retrieval`: does a matcher find the prompt of a drawn picture, and the picture of a prompt?

use super::common as shared;
use super::draw::Studio;
use super::eval::{self, Case};
use super::feature_sets::{self, Measure};
use super::vqgan;
use crate::cli::{Common, EvalImageArgs};
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use m6_eval::{PairScores, RetrievalScores};
use m6_image::{Limits, Rgb8};
use m6_model::Prompt;
use m6_store::rng::Key;
use m6_train::LoadedModel;
use m6_train::vqgan::LoadedVqgan;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Most other texts that a picture is matched with when the command line does not say.
const N_DISTRACTORS: usize = 100;

/// A prompt, and the real picture of it where there is one.
#[derive(Debug, Deserialize)]
struct Line {
    prompt: String,
    file: Option<String>,
}

/// What tells how likely a text is for a picture.
struct Matcher<'a> {
    loaded: &'a LoadedModel,
    /// Of the codes that it reads; `None` when it reads pixels.
    vqgan: Option<&'a LoadedVqgan>,
}

/// The pairs that are scored: prompts on a ring in drawn order, each picture with its own text and the `n_others` behind it, so
/// that each text is scored with as many pictures as each picture with texts.
struct Ring {
    /// The prompt at each place of the ring.
    order: Vec<usize>,
    n_others: usize,
}

/// Runs the verb.
pub fn run(args: &EvalImageArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let (Some(model), Some(prompts)) = (&args.model, &args.prompts) else {
        return Err(
            Failure::usage("--retrieval needs a model and prompts to draw").hint(
                "--model DIR --prompts FILE, one prompt a line or lines of {\"prompt\",\"file\"}",
            ),
        );
    };
    let lines = read(prompts)?;
    let features = match &args.features {
        Some(_) => Measure::open(args, terminal)?,
        None => None,
    };
    let real = match &args.real {
        Some(dir) => real(dir, &lines, prompts, features.is_some())?,
        None => None,
    };
    let studio = Studio::open(model, args.vqgan.as_deref(), terminal)?;
    let other = other(args, &studio, terminal)?;
    let matcher = other.matcher(&studio)?;
    let texts = matcher.texts(&lines)?;
    let seed = common.seed.unwrap_or(1);
    let ring = Ring::new(lines.len(), args.distractors, seed);
    let cases: Vec<Case> = lines.iter().enumerate().map(case).collect();
    let mut bar = terminal.progress((cases.len() * args.best_of) as u64, "draw");
    let pictures = eval::drawn(&studio, &cases, &args.how, args.best_of, seed, &mut |n| {
        bar.at(n as u64, "");
    })?;
    bar.finish();
    if let Some(out) = &args.out {
        eval::write(out, &cases, &pictures)?;
    }
    let drawn = matcher.scores(&pictures, &texts, &ring, terminal)?;
    let mut found = figures(&drawn)?;
    if let Some(real) = &real {
        let scores = matcher.scores(real, &texts, &ring, terminal)?;
        found["real"] = both(scores.image_to_text(0), scores.text_to_image(0))?;
    }
    found["n"] = json!(lines.len());
    found["candidates"] = json!(ring.n_others + 1);
    found["matcher"] = json!({"model": matcher.loaded.path, "by": matcher.by()});
    let apart = match &features {
        Some(features) => features.of_pictures(&pictures, terminal)?,
        None => Map::new(),
    };
    report(&found, apart, terminal);
    Ok(())
}

/// What drawn pictures give, with the controls that need no other scores.
fn figures(drawn: &PairScores) -> Result<Value> {
    Ok(json!({
        "drawn": both(drawn.image_to_text(0), drawn.text_to_image(0))?,
        "shuffled": both(drawn.image_to_text(1), drawn.text_to_image(1))?,
        "chance": both(drawn.chance_image_to_text(), drawn.chance_text_to_image())?,
    }))
}

/// Both directions, as `--json` has them.
fn both(
    image_to_text: m6_eval::Result<RetrievalScores>,
    text_to_image: m6_eval::Result<RetrievalScores>,
) -> Result<Value> {
    Ok(json!({
        "image_to_text": image_to_text.or_usage()?, "text_to_image": text_to_image.or_usage()?,
    }))
}

fn report(found: &Value, apart: Map<String, Value>, terminal: &Terminal) {
    if terminal.json() {
        let mut row = Map::from_iter([("retrieval".to_owned(), found.clone())]);
        row.extend(apart);
        terminal.object(&Value::Object(row));
        return;
    }
    let model = found["matcher"]["model"].as_str().unwrap_or_default();
    let by = found["matcher"]["by"].as_str().unwrap_or_default();
    terminal.data(&format!(
        "{} prompts, each picture among {} texts, matched by {model} ({by})\n{:26} {:>7} {:>7} {:>7} {:>7}\n",
        found["n"], found["candidates"], "", "R@1", "R@5", "R@10", "median"
    ));
    for name in ["drawn", "real", "shuffled", "chance"] {
        for (way, label) in [
            ("image_to_text", "picture -> text"),
            ("text_to_image", "text -> picture"),
        ] {
            let figure = |key: &str| found[name][way][key].as_f64();
            let (Some(r1), Some(r5), Some(r10), Some(rank)) = (
                figure("r1"),
                figure("r5"),
                figure("r10"),
                figure("median_rank"),
            ) else {
                continue;
            };
            let [r1, r5, r10] = [r1, r5, r10].map(|share| 100.0 * share);
            terminal.data(&format!(
                "{name:9} {label:16} {r1:6.1}% {r5:6.1}% {r10:6.1}% {rank:7.1}\n"
            ));
        }
    }
    terminal.data(&feature_sets::lines(&apart));
}

/// Prompts, one a line or in JSON lines; empty lines are passed over.
fn read(path: &Path) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (i, line) in shared::lines(path)?.enumerate() {
        let line = line?;
        let text = line.trim();
        if text.starts_with('{') {
            let parsed = serde_json::from_str(text).map_err(|error| {
                Failure::data(format!("{}, line {}: {error}", path.display(), i + 1)).hint(
                    "a line holds {\"prompt\"} or {\"prompt\",\"file\"}, or is a prompt itself",
                )
            })?;
            lines.push(parsed);
        } else if !text.is_empty() {
            let prompt = text.to_owned();
            lines.push(Line { prompt, file: None });
        }
    }
    let n = lines
        .iter()
        .map(|line: &Line| &line.prompt)
        .collect::<BTreeSet<_>>();
    if n.len() < 2 {
        return Err(Failure::usage(format!(
            "{} has {} prompt(s) that differ; retrieval needs at least 2 to tell apart",
            path.display(),
            n.len()
        )));
    }
    Ok(lines)
}

/// The real picture of every prompt; `None` when none is named and `dir` serves for features alone.
fn real(
    dir: &Path,
    lines: &[Line],
    prompts: &Path,
    for_features: bool,
) -> Result<Option<Vec<Rgb8>>> {
    if for_features && lines.iter().all(|line| line.file.is_none()) {
        return Ok(None);
    }
    let picture = |line: &Line| {
        let Some(file) = &line.file else {
            return Err(Failure::usage(format!(
                "{} names no real picture of {:?}",
                prompts.display(),
                line.prompt
            ))
            .hint("with --real, every line is {\"prompt\",\"file\"}, file inside that folder"));
        };
        let path = dir.join(file);
        let bytes = std::fs::read(&path).map_err(|e| {
            let of = &line.prompt;
            Failure::usage(format!(
                "cannot read {}, the picture of {of:?}: {e}",
                path.display()
            ))
        })?;
        m6_image::decode(&bytes, &Limits::default())
            .map_err(|e| Failure::data(format!("{}: {e}", path.display())))
    };
    lines.iter().map(picture).collect::<Result<_>>().map(Some)
}

/// What is written of a drawn picture.
fn case((i, line): (usize, &Line)) -> Case {
    Case {
        file: format!("{i:05}.png"),
        prompt: line.prompt.clone(),
        wanted: Vec::new(),
    }
}

/// What `--matcher` brings.
enum Other {
    /// Nothing: the model matches its own pictures.
    Same,
    /// A model that reads pixels, or codes of the same VQGAN.
    Model(Box<LoadedModel>),
    /// A model that reads codes of a VQGAN of its own.
    Studio(Box<Studio>),
}

fn other(args: &EvalImageArgs, studio: &Studio, terminal: &Terminal) -> Result<Other> {
    let Some(path) = &args.matcher else {
        return Ok(Other::Same);
    };
    let loaded = shared::load_model(path, terminal)?;
    let learned = loaded.config.data["codes"]["vqgan"]
        .as_str()
        .unwrap_or_default();
    if reads_pixels(&loaded)? || learned == vqgan::identity(&studio.vqgan)? {
        return Ok(Other::Model(Box::new(loaded)));
    }
    Ok(Other::Studio(Box::new(Studio::of(loaded, None, terminal)?)))
}

impl Other {
    fn matcher<'a>(&'a self, studio: &'a Studio) -> Result<Matcher<'a>> {
        let (loaded, vqgan) = match self {
            Other::Same => (&studio.model, &studio.vqgan),
            Other::Model(loaded) => (&**loaded, &studio.vqgan),
            Other::Studio(own) => (&own.model, &own.vqgan),
        };
        let vqgan = (!reads_pixels(loaded)?).then_some(vqgan);
        Ok(Matcher { loaded, vqgan })
    }
}

/// Whether a matcher reads pixels, which it does when it learned to, or codes.
fn reads_pixels(loaded: &LoadedModel) -> Result<bool> {
    let learned = |task: &str| loaded.config.tasks.iter().any(|known| known == task);
    match (learned("image_to_text"), learned("codes_to_text")) {
        (true, _) => Ok(true),
        (false, true) => Ok(false),
        (false, false) => Err(Failure::usage(format!(
            "{} cannot match pictures with texts: it learned neither image_to_text nor codes_to_text",
            loaded.path.display()
        ))
        .hint("--matcher DIR names a model that did")),
    }
}

impl Matcher<'_> {
    fn by(&self) -> &'static str {
        if self.vqgan.is_some() {
            "codes"
        } else {
            "pixels"
        }
    }

    /// The prompts as what is to be scored, with the end token; refused when one is too long, or when all are the same words.
    fn texts(&self, lines: &[Line]) -> Result<Vec<Vec<u32>>> {
        let most = self.loaded.model.config().max_len;
        let mut texts = Vec::with_capacity(lines.len());
        for line in lines {
            let mut ids = self.loaded.tokenizer.encode(&line.prompt);
            ids.push(self.loaded.tokenizer.special().sep);
            if ids.len() > most {
                let shown: String = line.prompt.chars().take(40).collect();
                return Err(Failure::usage(format!(
                    "the prompt {shown:?}... has {} tokens with its end, the matcher reads at most {most}",
                    ids.len()
                )));
            }
            texts.push(ids);
        }
        if texts.iter().all(|text| *text == texts[0]) {
            return Err(Failure::usage(format!(
                "all prompts are one text in the vocabulary of {}",
                self.loaded.path.display()
            )));
        }
        Ok(texts)
    }

    /// Pointwise scores of the ring's pairs, numbered by place; pairs of another prompt with the same text are left out.
    fn scores(
        &self,
        pictures: &[Rgb8],
        texts: &[Vec<u32>],
        ring: &Ring,
        terminal: &Terminal,
    ) -> Result<PairScores> {
        let mut bar = terminal.progress(pictures.len() as u64, "match");
        let begin = self.loaded.tokenizer.special().cls;
        let mut rows = Vec::with_capacity(pictures.len());
        for (place, picture) in ring.order.iter().enumerate() {
            let own = &texts[*picture];
            let mut places: Vec<usize> = ring.places(place).collect();
            places.retain(|other| *other == place || texts[ring.order[*other]] != *own);
            let targets: Vec<_> = places
                .iter()
                .map(|at| texts[ring.order[*at]].clone())
                .collect();
            let prompt = self.prompt(&pictures[*picture])?;
            let scores = m6_model::score_targets(&self.loaded.model, &prompt, begin, &targets);
            rows.push(places.into_iter().zip(scores.or_usage()?).collect());
            bar.at(place as u64 + 1, "");
        }
        bar.finish();
        Ok(PairScores::new(rows).or_data()?.pointwise())
    }

    /// What the matcher reads of a picture: always from its pixels, so that drawn and real ones go the same way.
    fn prompt(&self, picture: &Rgb8) -> Result<Prompt> {
        let fit = shared::fit_of(self.loaded);
        let square = |side| m6_image::to_chw(&m6_image::resize_square(picture, side, fit));
        Ok(match self.vqgan {
            None => Prompt {
                pictures: square(self.loaded.model.config().patches.image_side),
                ..Prompt::default()
            },
            Some(loaded) => Prompt {
                codes: loaded
                    .vqgan
                    .encode(&square(loaded.vqgan.config().image_side))
                    .or_usage()?,
                ..Prompt::default()
            },
        })
    }
}

impl Ring {
    fn new(n: usize, n_others: Option<usize>, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..n).collect();
        Key::new(seed)
            .child("retrieval")
            .stream()
            .shuffle(&mut order);
        let n_others = n_others.unwrap_or(N_DISTRACTORS).min(n.saturating_sub(1));
        Self { order, n_others }
    }

    /// The places whose texts the picture at `place` is scored with, its own first.
    fn places(&self, place: usize) -> impl Iterator<Item = usize> {
        let n = self.order.len();
        (0..=self.n_others).map(move |i| (place + i) % n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_scored_with_as_many_pictures_as_every_picture_with_texts() {
        for (n, asked, n_others) in [
            (7, Some(3), 3),
            (7, None, 6),
            (3, Some(9), 2),
            (200, None, 100),
        ] {
            let ring = Ring::new(n, asked, 5);
            assert_eq!(ring.n_others, n_others);
            let mut met = vec![0; n];
            for place in 0..n {
                let places: BTreeSet<usize> = ring.places(place).collect();
                assert!(places.contains(&place) && places.len() == n_others + 1);
                places.iter().for_each(|at| met[*at] += 1);
            }
            assert!(met.iter().all(|m| *m == n_others + 1), "{met:?}");
            let mut order = ring.order.clone();
            order.sort_unstable();
            assert!(order.into_iter().eq(0..n));
        }
        assert_eq!(Ring::new(50, None, 5).order, Ring::new(50, None, 5).order);
        assert_ne!(Ring::new(50, None, 5).order, Ring::new(50, None, 6).order);
    }
}

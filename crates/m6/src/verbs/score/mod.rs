//! `m6 score`: files in, figures out. What is measured is m6-eval's; here are files, intervals and comparisons.

mod args;
mod show;

pub use args::ScoreVerb;

use super::common as shared;
use crate::cli::Common;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use args::{CaptionArgs, ItemArgs, PairArgs, PoemArgs};
use m6_eval::{Measured, Segment, Training};
use m6_store::rng::Key;
use m6_text::Tokenizer;
use show::{Against, Found};
use std::path::Path;

/// Draws of a comparison for which none are asked for.
const DRAWS: usize = 1000;

/// Runs the verb.
pub fn run(verb: &ScoreVerb, common: &Common, terminal: &Terminal) -> Result<()> {
    let pair = |metric, args: &PairArgs, measure: Measure| {
        let found = of_pair(metric, args, measure, common, terminal)?;
        finish(found, &args.items, terminal)
    };
    match verb {
        ScoreVerb::Caption(args) => captions(args, common, terminal),
        ScoreVerb::Vqa(args) => pair("vqa", args, &m6_eval::measure_vqa),
        ScoreVerb::Qa(args) => pair("qa", args, &m6_eval::measure_qa),
        ScoreVerb::Match(args) => pair("match", &args.pair, &|references, candidates| {
            m6_eval::measure_match(references, candidates, args.threshold)
        }),
        ScoreVerb::Retrieval(args) => pair("retrieval", args, &m6_eval::measure_retrieval),
        ScoreVerb::Poem(args) => poems(args, common, terminal),
        ScoreVerb::Classify(args) => pair("classify", args, &m6_eval::measure_classify),
    }
}

type Measure<'a> = &'a dyn Fn(&[u8], &[u8]) -> m6_eval::Result<Measured>;

fn of_pair(
    metric: &'static str,
    args: &PairArgs,
    measure: Measure,
    common: &Common,
    terminal: &Terminal,
) -> Result<Found> {
    let references = read(&args.references)?;
    let of = |path: &Path, _| {
        let measured = measure(&references, &read(path)?);
        measured.map_err(|error| match error.side() {
            Some("references") => fault(&args.references, &error),
            _ => fault(path, &error),
        })
    };
    found(metric, &args.candidates, &args.items, &of, common, terminal)
}

fn poems(args: &PoemArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let training = match &args.training {
        Some(path) => Some(Training::parse(&read(path)?).map_err(|error| fault(path, &error))?),
        None => None,
    };
    let of = |path: &Path, _| {
        let measured = m6_eval::measure_poem(&read(path)?, training.as_ref());
        measured.map_err(|error| fault(path, &error))
    };
    let found = found("poem", &args.candidates, &args.items, &of, common, terminal)?;
    finish(found, &args.items, terminal)
}

fn captions(args: &CaptionArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let (pair, items) = (&args.pair, &args.pair.items);
    let tokenizer = args.vocab.as_ref().map(|path| Tokenizer::from_file(path));
    let tokenizer = tokenizer.transpose().or_data()?;
    let segment = segment_of(args)?;
    let references = m6_eval::parse_references(&read(&pair.references)?);
    let references = references.map_err(|error| fault(&pair.references, &error))?;
    let of = |path: &Path, system| {
        let candidates = m6_eval::parse_candidates(&read(path)?);
        let mut candidates = candidates.map_err(|error| fault(path, &error))?;
        if args.shuffled && system == System::Own {
            shared::shift_texts(&mut candidates);
        }
        m6_eval::measure_captions(&references, &candidates, segment, tokenizer.as_ref()).map_err(
            |error| match error.side() {
                Some("references") => fault(&pair.references, &error),
                _ => fault(path, &error),
            },
        )
    };
    let found = found("caption", &pair.candidates, items, &of, common, terminal)?;
    if terminal.json() && !items.per_item {
        let more = args.detail || items.bootstrap.is_some() || items.against.is_some();
        terminal.object(&found.caption_object(more));
        return Ok(());
    }
    finish(found, items, terminal)
}

fn segment_of(args: &CaptionArgs) -> Result<Segment> {
    match (args.segment.as_str(), &args.vocab) {
        ("none", _) => Ok(Segment::None),
        ("char", _) => Ok(Segment::Char),
        (_, Some(_)) => Ok(Segment::WordPiece),
        _ => Err(Failure::usage("--segment wordpiece needs --vocab FILE")),
    }
}

/// Whose candidates a file holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum System {
    Own,
    Other,
}

/// Measures the candidates, and the other system's when there is one.
fn found(
    metric: &'static str,
    candidates: &Path,
    items: &ItemArgs,
    of: &dyn Fn(&Path, System) -> Result<Measured>,
    common: &Common,
    terminal: &Terminal,
) -> Result<Found> {
    let measured = of(candidates, System::Own)?;
    let key = Key::new(common.seed.unwrap_or(1)).child("score");
    let against = match &items.against {
        Some(path) => {
            let other = of(path, System::Other)?;
            let n_draws = items.bootstrap.unwrap_or(DRAWS);
            terminal.say(&format!(
                "{n_draws} draws and exchanges of {} items",
                measured.n()
            ));
            let compared = measured.compare(&other, n_draws, key.child("compare"));
            let differences = compared.map_err(|error| fault(path, &error))?;
            Some(Against {
                path: path.display().to_string(),
                figures: other.figures(),
                fixed: other.fixed,
                differences,
                n_draws,
            })
        }
        None => None,
    };
    let intervals = |n| measured.intervals(n, key.child("intervals"));
    Ok(Found {
        metric,
        bootstrap: items.bootstrap.map(|n| (n, intervals(n))),
        against,
        figures: measured.figures(),
        measured,
    })
}

fn finish(found: Found, items: &ItemArgs, terminal: &Terminal) -> Result<()> {
    match (items.per_item, terminal.json()) {
        (true, _) => {
            for item in &found.measured.per_item {
                terminal.object(item);
            }
        }
        (false, true) => terminal.object(&found.object()),
        (false, false) => terminal.data(&found.table()),
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))
}

fn fault(path: &Path, error: &m6_eval::Error) -> Failure {
    Failure::data(format!("{}: {error}", path.display()))
}

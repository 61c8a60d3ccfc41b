//! `m6 score caption`.

use super::common;
use crate::cli::{Common, ScoreCaptionArgs, ScoreVerb};
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use m6_eval::Segment;
use m6_text::Tokenizer;
use serde_json::json;
use std::path::Path;

/// Runs the verb.
pub fn run(verb: &ScoreVerb, _common: &Common, terminal: &Terminal) -> Result<()> {
    let ScoreVerb::Caption(args) = verb;
    let references = read(&args.references, m6_eval::parse_references)?;
    let mut candidates = read(&args.candidates, m6_eval::parse_candidates)?;
    if args.shuffled {
        common::shift_texts(&mut candidates);
    }
    let tokenizer = args
        .vocab
        .as_ref()
        .map(|path| Tokenizer::from_file(path))
        .transpose()
        .or_data()?;
    let segment = segment_of(args)?;
    let scores =
        m6_eval::score_captions(&references, &candidates, segment, tokenizer.as_ref()).or_data()?;
    if args.per_item {
        for item in &scores.per_item {
            terminal.object(item);
        }
        return Ok(());
    }
    if terminal.json() {
        let row = json!({"bleu": scores.bleu, "rouge_l": scores.rouge_l, "cider": scores.cider, "n": scores.n});
        terminal.object(&row);
    } else {
        let [b1, b2, b3, b4] = scores.bleu;
        terminal.data(&format!(
            "n {}  BLEU-1..4 {b1:.4} {b2:.4} {b3:.4} {b4:.4}  ROUGE-L {:.4}  CIDEr {:.4}\n",
            scores.n, scores.rouge_l, scores.cider
        ));
    }
    Ok(())
}

fn segment_of(args: &ScoreCaptionArgs) -> Result<Segment> {
    match (args.segment.as_str(), &args.vocab) {
        ("none", _) => Ok(Segment::None),
        ("char", _) => Ok(Segment::Char),
        (_, Some(_)) => Ok(Segment::WordPiece),
        _ => Err(Failure::usage("--segment wordpiece needs --vocab FILE")),
    }
}

fn read<T>(path: &Path, parse: fn(&[u8]) -> m6_eval::Result<T>) -> Result<T> {
    let bytes = std::fs::read(path)
        .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?;
    parse(&bytes).map_err(|e| Failure::data(format!("{}: {e}", path.display())))
}

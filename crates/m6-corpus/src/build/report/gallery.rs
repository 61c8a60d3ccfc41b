//! Kept and dropped examples with the reason.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine;
use m6_store::blobs::BlobReader;

use super::super::context::Made;
use super::super::stages::pictures::COPIES_NAME;
use super::super::stages::write::{EXAMPLES_NAME, Example, Examples};
use super::escape;
use crate::{Error, Result};

/// Cards of one stage and rule.
const PER_RULE: usize = 6;
/// Cards of kept records.
const KEPT: usize = 12;
/// Cards in all; beyond it the page would be too heavy to open.
const MOST: usize = 400;

/// A card with the shard it is from.
type Card = (usize, Example);

/// Writes the gallery.
pub(super) fn write(body: &mut String, written: &[Made], seen: &[Made]) -> Result<()> {
    let mut cards: BTreeMap<String, Vec<Card>> = BTreeMap::new();
    for (shard, made) in written.iter().enumerate() {
        let path = made.folder.join(EXAMPLES_NAME);
        let bytes = std::fs::read(&path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        let examples: Examples =
            serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
                path,
                problem: error.to_string(),
            })?;
        for (kind, of_kind) in examples.0 {
            let known = cards.entry(kind).or_default();
            for example in of_kind {
                let limit = if example.row.is_end() { PER_RULE } else { KEPT };
                if known.len() < limit {
                    known.push((shard, example));
                }
            }
        }
    }
    if cards.is_empty() {
        return Ok(());
    }
    body.push_str("<h2>Gallery</h2>");
    let (ended, kept): (Vec<_>, Vec<_>) = cards.iter().partition(|(_, cards)| {
        cards
            .first()
            .is_some_and(|(_, example)| example.row.is_end())
    });
    let mut left = MOST;
    for (kind, cards) in kept.into_iter().chain(ended) {
        let _ = write!(body, "<h3>{}</h3><div class=grid>", escape(kind));
        for (shard, example) in cards.iter().take(left) {
            card(body, example, seen.get(*shard));
        }
        left = left.saturating_sub(cards.len());
        body.push_str("</div>");
    }
    Ok(())
}

fn card(body: &mut String, example: &Example, seen: Option<&Made>) {
    body.push_str("<div class=card>");
    if let Some(jpeg) = picture(example, seen) {
        let data = base64::engine::general_purpose::STANDARD.encode(jpeg);
        let _ = write!(body, "<img alt='' src='data:image/jpeg;base64,{data}'>");
    }
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.4}"));
    let (value, threshold) = (number(example.row.value), number(example.row.threshold));
    let measured = match (value.is_empty(), threshold.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!(" = {value}"),
        (true, false) => format!(" at {threshold}"),
        (false, false) => format!(" = {value} against {threshold}"),
    };
    let reason = match example.row.rule.is_empty() {
        true => &example.row.verdict,
        false => &example.row.rule,
    };
    let _ = write!(
        body,
        "<b>{}{measured}</b><div>{}</div><div>{}</div><div class=dim>{}</div></div>",
        escape(reason),
        escape(&example.title),
        escape(&example.excerpt),
        escape(&example.row.record_id)
    );
}

fn picture(example: &Example, seen: Option<&Made>) -> Option<Vec<u8>> {
    let copies = BlobReader::open(&seen?.folder.join(COPIES_NAME)).ok()?;
    let copy = usize::try_from(example.copy?).ok()?;
    copies.try_get(copy).map(<[u8]>::to_vec)
}

//! Texts to trimmed texts and numbers: parts that fail are taken out, what is left is measured.

use std::path::Path;

use m6_store::atomic::{DirCommit, FileWriter};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::adapt::rules::{Assets, Judges, signal_names, values_of};
use super::super::context::{Context, Made, Side};
use super::super::docs::DocReader;
use super::super::work::{KeyHash, Note, Stage};
use super::Sorted;
use crate::Result;
use crate::table::{Cell, Column, Kind, Writer};
use m6_clean::rules::decide::JudgedText;

/// Trimming and measuring.
pub const STAGE: Stage = Stage {
    name: "signals",
    version: 1,
};
/// The table of numbers: one row a record, in their order; columns are the signals.
pub const NAME: &str = "signals.parquet";
/// The table of texts that lost something, in order of row.
const TRIMMED_NAME: &str = "trimmed.parquet";
/// Its columns.
const TRIMMED: [(&str, Kind); 5] = [
    ("row", Kind::Int),
    ("cut", Kind::Int),
    ("masked", Kind::Int),
    ("edits", Kind::Text),
    ("text", Kind::Text),
];

/// Parts that one rule took out of a text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// `paragraph` or `sentence`.
    pub stage: String,
    /// The rule.
    pub rule: String,
    /// Value of the first part.
    pub value: f64,
    /// Its threshold.
    pub threshold: f64,
    /// Number of parts.
    pub parts: u64,
}

/// A text that lost something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trimmed {
    /// Characters of an unfinished end.
    pub cut: u64,
    /// Pieces of personal data masked.
    pub masked: u64,
    /// What was taken out, by rule.
    pub edits: Vec<Edit>,
    /// What is left, without blank lines.
    pub text: String,
}

/// Runs the stage over every shard.
///
/// # Errors
/// As [`Context::map`].
pub fn run(
    context: &Context<'_>,
    extracted: &[Made],
    assets: &Assets,
    judges: &Judges,
) -> Result<Vec<Made>> {
    context.map(
        STAGE,
        Side::OneByOne,
        |shard| {
            Ok(KeyHash::new(STAGE)
                .with(extracted[shard].key.as_bytes())
                .with(assets.identity().as_bytes())
                .with(signal_names().join(" ").as_bytes())
                .with(
                    judges
                        .parts_identity(context.shards[shard].source)
                        .as_bytes(),
                )
                .finish())
        },
        |shard, commit| {
            let source = context.shards[shard].source;
            measure(&extracted[shard], source, assets, judges, commit)
        },
    )
}

fn measure(
    extracted: &Made,
    source: usize,
    assets: &Assets,
    judges: &Judges,
    commit: &DirCommit,
) -> Result<Note> {
    let columns: Vec<Column> = signal_names()
        .iter()
        .map(|name| Column::new(*name, Kind::Float))
        .collect();
    let mut table = Writer::new(commit.file(NAME)?, &commit.path().join(NAME), &columns)?;
    let columns = TRIMMED.map(|(name, kind)| match name {
        "text" | "edits" => Column::long(name),
        _ => Column::new(name, kind),
    });
    let path = commit.path().join(TRIMMED_NAME);
    let mut texts = Writer::new(commit.file(TRIMMED_NAME)?, &path, &columns)?;
    let mut reader = DocReader::open(&extracted.folder)?;
    let mut row = 0;
    while let Some(docs) = reader.next_batch()? {
        let judged: Vec<JudgedText> = docs
            .par_iter()
            .map(|doc| judges.trim(source, assets, doc))
            .collect();
        for (doc, judged) in docs.iter().zip(judged) {
            let values = values_of(&judged.signals);
            let cells = values
                .into_iter()
                .map(|value| value.map_or(Cell::Null, Cell::Float));
            table.push(&cells.collect::<Vec<_>>())?;
            if judged.text != doc.text {
                push(&mut texts, row, &judged)?;
            }
            row += 1;
        }
    }
    let records = table.n_rows();
    table.finish()?.finish()?;
    texts.finish()?.finish()?;
    Ok(Note {
        records,
        ..Note::default()
    })
}

fn push(texts: &mut Writer<FileWriter>, row: usize, judged: &JudgedText) -> Result<()> {
    let mut edits: Vec<Edit> = Vec::new();
    for edit in &judged.edits {
        let same =
            |known: &&mut Edit| known.stage == edit.stage.name() && known.rule == edit.failure.rule;
        match edits.iter_mut().find(same) {
            Some(known) => known.parts += 1,
            None => edits.push(Edit {
                stage: edit.stage.name().to_string(),
                rule: edit.failure.rule.clone(),
                value: edit.failure.value,
                threshold: edit.failure.threshold,
                parts: 1,
            }),
        }
    }
    let lines: Vec<&str> = judged
        .text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    texts.push(&[
        Cell::Int(row as i64),
        Cell::Int(judged.n_cut_chars as i64),
        Cell::Int(judged.n_masked as i64),
        Cell::Text(&serde_json::to_string(&edits).unwrap_or_default()),
        Cell::Text(&lines.join("\n")),
    ])
}

/// The texts of a shard that lost something, met on the way through its records.
///
/// # Errors
/// A table that cannot be read.
pub fn trimmed(folder: &Path) -> Result<Sorted<Trimmed>> {
    Sorted::open(&folder.join(TRIMMED_NAME), &TRIMMED, |batch, row| {
        let count = |column| u64::try_from(batch.int(column, row)).unwrap_or(0);
        Trimmed {
            cut: count(1),
            masked: count(2),
            edits: serde_json::from_str(batch.text(3, row)).unwrap_or_default(),
            text: batch.text(4, row).to_string(),
        }
    })
}

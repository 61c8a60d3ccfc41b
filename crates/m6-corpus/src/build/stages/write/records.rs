//! One row a record: who it is, what became of it, its numbers.

use m6_store::atomic::{DirCommit, FileWriter};

use crate::Result;
use crate::build::adapt::rules::signal_names;
use crate::build::docs::Doc;
use crate::table::{Cell, Column, Kind, Writer};

/// Name of the table inside a shard's folder.
pub const NAME: &str = "records.parquet";
/// The columns before those of the signals.
pub const COLUMNS: [(&str, Kind); 20] = [
    ("record_id", Kind::Text),
    ("url", Kind::Text),
    ("source", Kind::Text),
    ("host", Kind::Text),
    ("title", Kind::Text),
    ("lang", Kind::Text),
    ("charset", Kind::Text),
    ("fate", Kind::Text),
    ("stage", Kind::Text),
    ("rule", Kind::Text),
    ("value", Kind::Float),
    ("threshold", Kind::Float),
    ("number", Kind::Int),
    ("duplicate_of", Kind::Int),
    ("split", Kind::Text),
    ("text_tokens", Kind::Int),
    ("pairs", Kind::Int),
    ("pair_tokens", Kind::Int),
    ("document_pictures", Kind::Int),
    ("document_tokens", Kind::Int),
];

/// What became of a record, beside what it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fate {
    /// `kept`, `dropped`, `refused`, `damaged` or `skipped`.
    pub fate: &'static str,
    /// The stage that ended it.
    pub stage: String,
    /// The rule that ended it.
    pub rule: String,
    /// What the rule measured.
    pub value: Option<f64>,
    /// What it was compared with.
    pub threshold: Option<f64>,
    /// Number of the record in the build; none for what never became one.
    pub number: Option<u32>,
    /// Number of the record that is kept instead.
    pub duplicate_of: Option<u32>,
    /// `train` or `held_out`.
    pub split: Option<&'static str>,
    /// Tokens of its passage; 0 where there is none.
    pub text_tokens: u64,
    /// Its image-text pairs.
    pub pairs: u64,
    /// Tokens of their captions.
    pub pair_tokens: u64,
    /// Pictures of its interleaved document.
    pub document_pictures: u64,
    /// Tokens of that document.
    pub document_tokens: u64,
}

/// Writes the table of a shard.
pub struct Records {
    table: Writer<FileWriter>,
    n_signals: usize,
}

impl Records {
    /// Starts the table.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn new(commit: &DirCommit) -> Result<Self> {
        let fixed = COLUMNS.iter().map(|(name, kind)| match *name {
            "record_id" | "url" | "title" => Column::long(*name),
            _ => Column::new(*name, *kind),
        });
        let signals = signal_names();
        let numbers = signals.iter().map(|name| Column::new(*name, Kind::Float));
        let columns: Vec<Column> = fixed.chain(numbers).collect();
        Ok(Self {
            table: Writer::new(commit.file(NAME)?, &commit.path().join(NAME), &columns)?,
            n_signals: signals.len(),
        })
    }

    /// Adds a record; `signals` is empty for what never became one.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn push(
        &mut self,
        source: &str,
        doc: &Doc,
        fate: &Fate,
        signals: &[Option<f64>],
    ) -> Result<()> {
        let float = |value: Option<f64>| value.map_or(Cell::Null, Cell::Float);
        let number = |value: Option<u32>| value.map_or(Cell::Null, |n| Cell::Int(i64::from(n)));
        let count = |value: u64| Cell::Int(i64::try_from(value).unwrap_or(i64::MAX));
        let mut row = vec![
            Cell::Text(&doc.id),
            Cell::Text(&doc.url),
            Cell::Text(source),
            Cell::Text(&doc.host),
            Cell::Text(&doc.title),
            Cell::Text(&doc.lang),
            Cell::Text(&doc.charset),
            Cell::Text(fate.fate),
            Cell::Text(&fate.stage),
            Cell::Text(&fate.rule),
            float(fate.value),
            float(fate.threshold),
            number(fate.number),
            number(fate.duplicate_of),
            fate.split.map_or(Cell::Null, Cell::Text),
            count(fate.text_tokens),
            count(fate.pairs),
            count(fate.pair_tokens),
            count(fate.document_pictures),
            count(fate.document_tokens),
        ];
        row.extend((0..self.n_signals).map(|at| float(signals.get(at).copied().flatten())));
        self.table.push(&row)
    }

    /// Ends the table; gives the number of records.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn finish(self) -> Result<u64> {
        let n = self.table.n_rows();
        self.table.finish()?.finish()?;
        Ok(n)
    }
}

//! The ledger: what happened to each record at each stage, with the rule, its value and its threshold.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::table::{Cell, Column, Kind, Reader, Writer};

/// Columns of `ledger/*.parquet`, in order; frozen.
pub const COLUMNS: [(&str, Kind); 6] = [
    ("record_id", Kind::Text),
    ("stage", Kind::Text),
    ("verdict", Kind::Text),
    ("rule", Kind::Text),
    ("value", Kind::Float),
    ("threshold", Kind::Float),
];

/// One step of a record's life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The record; a picture is `record#n`, n from 0.
    pub record_id: String,
    /// `read`, `extract`, `rules`, `duplicates`, `lines`, `decontaminate`, `mix`, `split`, `pictures`, `picture_duplicates`, `pairs`.
    pub stage: String,
    /// `keep`, `drop`, `edit`, `refused`, `damaged`, or the split a kept record went to.
    pub verdict: String,
    /// The rule that decided; empty where the record simply passed.
    pub rule: String,
    /// What the rule measured, if it measures.
    pub value: Option<f64>,
    /// What the value was compared with, if anything.
    pub threshold: Option<f64>,
}

impl Row {
    /// A row without numbers.
    pub fn new(record_id: &str, stage: &str, verdict: &str, rule: &str) -> Self {
        Self {
            record_id: record_id.to_string(),
            stage: stage.to_string(),
            verdict: verdict.to_string(),
            rule: rule.to_string(),
            ..Self::default()
        }
    }

    /// The row with what was measured and what it was compared with.
    pub fn measured(mut self, value: Option<f64>, threshold: Option<f64>) -> Self {
        (self.value, self.threshold) = (value, threshold);
        self
    }

    /// The rule without the numbers and names that a reason of damage holds, so that reasons can be counted.
    pub fn general_rule(&self) -> String {
        if self.verdict != "damaged" {
            return self.rule.clone();
        }
        let mut out = String::new();
        for (at, part) in self.rule.split('`').enumerate() {
            // Every second part stands between marks.
            if at % 2 == 1 {
                out.push('…');
                continue;
            }
            for c in part.chars() {
                match c.is_ascii_digit() {
                    true if out.ends_with('#') => {}
                    true => out.push('#'),
                    false => out.push(c),
                }
            }
        }
        out
    }

    /// Whether the record ended here.
    pub fn is_end(&self) -> bool {
        matches!(self.verdict.as_str(), "drop" | "refused" | "damaged")
    }
}

/// Writes a ledger file.
pub struct LedgerWriter<W: Write + Send>(Writer<W>);

impl<W: Write + Send> LedgerWriter<W> {
    /// Starts a file in `out`; `path` is only for messages.
    ///
    /// # Errors
    /// As [`Writer::new`].
    pub fn new(out: W, path: &Path) -> Result<Self> {
        let columns: Vec<Column> = COLUMNS
            .iter()
            .map(|(name, kind)| Column::new(*name, *kind))
            .collect();
        Ok(Self(Writer::new(out, path, &columns)?))
    }

    /// Adds a row.
    ///
    /// # Errors
    /// As [`Writer::push`].
    pub fn push(&mut self, row: &Row) -> Result<()> {
        let number = |value: Option<f64>| value.map_or(Cell::Null, Cell::Float);
        self.0.push(&[
            Cell::Text(&row.record_id),
            Cell::Text(&row.stage),
            Cell::Text(&row.verdict),
            Cell::Text(&row.rule),
            number(row.value),
            number(row.threshold),
        ])
    }

    /// Ends the file and gives the output back.
    ///
    /// # Errors
    /// As [`Writer::finish`].
    pub fn finish(self) -> Result<W> {
        self.0.finish()
    }
}

/// Hands every row of a ledger file to `take`, in order.
///
/// # Errors
/// As [`Reader::open`] and [`Reader::next_batch`], and what `take` answers.
pub fn read(path: &Path, mut take: impl FnMut(Row) -> Result<()>) -> Result<()> {
    let mut reader = Reader::open(path, &COLUMNS)?;
    while let Some(batch) = reader.next_batch()? {
        for row in 0..batch.n_rows() {
            take(Row {
                record_id: batch.text(0, row).to_string(),
                stage: batch.text(1, row).to_string(),
                verdict: batch.text(2, row).to_string(),
                rule: batch.text(3, row).to_string(),
                value: batch.float(4, row),
                threshold: batch.float(5, row),
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_the_columns_are_frozen() {
        let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "record_id",
                "stage",
                "verdict",
                "rule",
                "value",
                "threshold"
            ]
        );
        let rows = [
            Row::new("a/1", "rules", "drop", "min_chars").measured(Some(3.0), Some(15.0)),
            Row::new("a/2", "extract", "keep", ""),
        ];
        let mut writer = LedgerWriter::new(Vec::new(), Path::new("l")).expect("starts");
        for row in &rows {
            writer.push(row).expect("fits");
        }
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("l.parquet");
        m6_store::atomic::write_file(&path, &writer.finish().expect("ends")).expect("written");
        let mut back = Vec::new();
        read(&path, |row| {
            back.push(row);
            Ok(())
        })
        .expect("reads");
        assert_eq!(back, rows);
        assert!(back[0].is_end() && !back[1].is_end());
        for (verdict, rule, expected) in [
            (
                "damaged",
                "length `-1` at 120, 7 more",
                "length … at #, # more",
            ),
            ("damaged", "cut", "cut"),
            ("drop", "listed-words-2", "listed-words-2"),
        ] {
            assert_eq!(
                Row::new("a", "read", verdict, rule).general_rule(),
                expected
            );
        }
    }
}

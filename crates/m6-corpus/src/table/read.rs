//! Row groups to batches of columns.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::schema::{Column, Kind};
use crate::{Error, Result};

/// Rows decoded in one call, so that a lying footer cannot ask for more than it holds.
const STEP: usize = 8192;

/// Reads chosen columns of a table, one row group at a time.
pub struct Reader {
    path: PathBuf,
    inner: SerializedFileReader<File>,
    /// Columns asked for, with their place in the file.
    wanted: Vec<(Column, usize)>,
    group: usize,
}

impl Reader {
    /// Opens a table for the named columns, in this order; each must be there with this kind.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened, [`Error::Damaged`] when it is no Parquet file or lacks a column.
    pub fn open(path: &Path, columns: &[(&str, Kind)]) -> Result<Self> {
        let mut reader = Self::open_all(path)?;
        let mut wanted = Vec::with_capacity(columns.len());
        for (name, kind) in columns {
            let found = reader
                .wanted
                .iter()
                .find(|(column, _)| column.name == *name && column.kind == *kind);
            let Some(found) = found else {
                let problem = format!("there is no column `{name}` of kind {}", kind.name());
                return Err(damaged(path, problem));
            };
            wanted.push(found.clone());
        }
        reader.wanted = wanted;
        Ok(reader)
    }

    /// Opens a table for every column of a kind that [`Kind`] knows, in the file's order.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_all(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        // The footer's reader is known to panic on some damage; a table at rest may be damaged like any file.
        let inner = match catch_unwind(|| SerializedFileReader::new(file)) {
            Ok(Ok(inner)) => inner,
            Ok(Err(error)) => return Err(damaged(path, error.to_string())),
            Err(_) => return Err(damaged(path, "the footer is damaged".to_string())),
        };
        let schema = inner.metadata().file_metadata().schema_descr_ptr();
        let mut wanted = Vec::new();
        for (at, column) in schema.columns().iter().enumerate() {
            let plain = column.max_rep_level() == 0 && column.max_def_level() <= 1;
            if let (true, Some(kind)) = (plain, Kind::of(column.physical_type())) {
                wanted.push((Column::new(column.name().to_string(), kind), at));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            inner,
            wanted,
            group: 0,
        })
    }

    /// The columns that batches hold, in order.
    pub fn columns(&self) -> Vec<Column> {
        self.wanted
            .iter()
            .map(|(column, _)| column.clone())
            .collect()
    }

    /// Rows the footer names.
    pub fn n_rows(&self) -> u64 {
        u64::try_from(self.inner.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// The next row group; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it cannot be decoded.
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        if self.group >= self.inner.num_row_groups() {
            return Ok(None);
        }
        let group = self.group;
        self.group += 1;
        match catch_unwind(AssertUnwindSafe(|| self.read_group(group))) {
            Ok(Ok(batch)) => Ok(Some(batch)),
            Ok(Err(error)) => Err(damaged(
                &self.path,
                format!("row group {group} cannot be read: {error}"),
            )),
            Err(_) => Err(damaged(
                &self.path,
                format!("row group {group} holds a damaged page"),
            )),
        }
    }

    fn read_group(&self, group: usize) -> std::result::Result<Batch, ParquetError> {
        let group = self.inner.get_row_group(group)?;
        let mut columns = Vec::with_capacity(self.wanted.len());
        for (_, at) in &self.wanted {
            let optional = group.metadata().column(*at).column_descr().max_def_level() == 1;
            columns.push(Values::read(group.get_column_reader(*at)?, optional)?);
        }
        let n_rows = columns.first().map_or(0, Values::len);
        if columns.iter().any(|column| column.len() != n_rows) {
            return Err(ParquetError::General(
                "columns of different lengths".to_string(),
            ));
        }
        Ok(Batch { columns, n_rows })
    }
}

/// Some rows of a table, by column.
#[derive(Debug)]
pub struct Batch {
    columns: Vec<Values>,
    n_rows: usize,
}

impl Batch {
    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// A text; empty where it is absent or the column holds none.
    pub fn text(&self, column: usize, row: usize) -> &str {
        self.text_or_none(column, row).unwrap_or_default()
    }

    /// A text, if it is there.
    pub fn text_or_none(&self, column: usize, row: usize) -> Option<&str> {
        match self.columns.get(column) {
            Some(Values::Text(texts)) => texts.get(row),
            _ => None,
        }
    }

    /// A number; none where it is absent or the column holds none.
    pub fn float(&self, column: usize, row: usize) -> Option<f64> {
        match self.columns.get(column) {
            Some(Values::Float(values)) => *values.get(row)?,
            _ => None,
        }
    }

    /// An integer; 0 where it is absent or the column holds none.
    pub fn int(&self, column: usize, row: usize) -> i64 {
        match self.columns.get(column) {
            Some(Values::Int(values)) => values.get(row).copied().flatten().unwrap_or(0),
            _ => 0,
        }
    }

    /// A flag; false where it is absent or the column holds none.
    pub fn flag(&self, column: usize, row: usize) -> bool {
        match self.columns.get(column) {
            Some(Values::Bool(values)) => values.get(row).copied().flatten().unwrap_or(false),
            _ => false,
        }
    }

    /// Any kind of number as a float (a flag is 0 or 1); none for text and where it is absent.
    pub fn number(&self, column: usize, row: usize) -> Option<f64> {
        match self.columns.get(column)? {
            Values::Text(_) => None,
            Values::Float(values) => *values.get(row)?,
            Values::Int(values) => values.get(row)?.map(|value| value as f64),
            Values::Bool(values) => values.get(row)?.map(|value| f64::from(u8::from(value))),
        }
    }
}

/// All texts of a column in one allocation.
#[derive(Debug, Default)]
struct Texts {
    joined: String,
    /// Where each row's text ends, and whether it is there.
    ends: Vec<(usize, bool)>,
}

impl Texts {
    fn get(&self, row: usize) -> Option<&str> {
        let (end, present) = *self.ends.get(row)?;
        let begin = match row {
            0 => 0,
            _ => self.ends[row - 1].0,
        };
        present.then(|| &self.joined[begin..end])
    }

    fn push(&mut self, text: Option<&ByteArray>) -> std::result::Result<(), ParquetError> {
        if let Some(bytes) = text {
            let text = std::str::from_utf8(bytes.data())
                .map_err(|error| ParquetError::General(error.to_string()))?;
            self.joined.push_str(text);
        }
        self.ends.push((self.joined.len(), text.is_some()));
        Ok(())
    }
}

/// The cells of one column.
#[derive(Debug)]
enum Values {
    Text(Texts),
    Float(Vec<Option<f64>>),
    Int(Vec<Option<i64>>),
    Bool(Vec<Option<bool>>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Text(texts) => texts.ends.len(),
            Values::Float(values) => values.len(),
            Values::Int(values) => values.len(),
            Values::Bool(values) => values.len(),
        }
    }

    fn read(reader: ColumnReader, optional: bool) -> std::result::Result<Self, ParquetError> {
        Ok(match reader {
            ColumnReader::ByteArrayColumnReader(mut reader) => {
                let mut texts = Texts::default();
                drain(
                    optional,
                    |levels, values: &mut Vec<ByteArray>| {
                        reader.read_records(STEP, levels, None, values)
                    },
                    |value| texts.push(value),
                )?;
                Values::Text(texts)
            }
            ColumnReader::DoubleColumnReader(mut reader) => {
                let mut out = Vec::new();
                drain(
                    optional,
                    |levels, values: &mut Vec<f64>| reader.read_records(STEP, levels, None, values),
                    |value| {
                        out.push(value.copied());
                        Ok(())
                    },
                )?;
                Values::Float(out)
            }
            ColumnReader::Int64ColumnReader(mut reader) => {
                let mut out = Vec::new();
                drain(
                    optional,
                    |levels, values: &mut Vec<i64>| reader.read_records(STEP, levels, None, values),
                    |value| {
                        out.push(value.copied());
                        Ok(())
                    },
                )?;
                Values::Int(out)
            }
            ColumnReader::BoolColumnReader(mut reader) => {
                let mut out = Vec::new();
                drain(
                    optional,
                    |levels, values: &mut Vec<bool>| {
                        reader.read_records(STEP, levels, None, values)
                    },
                    |value| {
                        out.push(value.copied());
                        Ok(())
                    },
                )?;
                Values::Bool(out)
            }
            _ => {
                return Err(ParquetError::General(
                    "a column of an unknown kind".to_string(),
                ));
            }
        })
    }
}

/// Reads a column to its end in steps and hands on every cell, absent ones as `None`.
fn drain<T>(
    optional: bool,
    mut read: impl FnMut(
        Option<&mut Vec<i16>>,
        &mut Vec<T>,
    ) -> std::result::Result<(usize, usize, usize), ParquetError>,
    mut take: impl FnMut(Option<&T>) -> std::result::Result<(), ParquetError>,
) -> std::result::Result<(), ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    loop {
        levels.clear();
        values.clear();
        let (n_records, _, _) = read(Some(&mut levels), &mut values)?;
        if n_records == 0 {
            return Ok(());
        }
        let mut present = values.iter();
        for row in 0..n_records {
            let is_there = !optional || levels.get(row).is_some_and(|level| *level == 1);
            take(if is_there { present.next() } else { None })?;
        }
    }
}

fn damaged(path: &Path, problem: String) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        problem,
    }
}

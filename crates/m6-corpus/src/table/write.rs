//! Rows to row groups.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnPath;

use super::schema::{Cell, Column, message};
use crate::{Error, Result};

/// Bytes of cells after which a row group is written; bounds the memory of a writer and of a reader.
pub const ROW_GROUP_BYTES: usize = 8 << 20;
/// Rows after which a row group is written.
pub const ROW_GROUP_ROWS: usize = 1 << 16;
/// zstd level of every page: about 400 MB/s, most of the gain.
const ZSTD_LEVEL: i32 = 3;

/// The cells of one column that wait for their row group.
enum Buffer {
    Text(Vec<ByteArray>),
    Float(Vec<f64>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
}

/// Writes a table, holding at most one row group in memory.
pub struct Writer<W: Write + Send> {
    path: PathBuf,
    columns: Vec<Column>,
    buffers: Vec<Buffer>,
    /// For each column, 1 for a cell that is there and 0 for one that is absent.
    levels: Vec<Vec<i16>>,
    n_bytes: usize,
    n_waiting: usize,
    n_rows: u64,
    inner: SerializedFileWriter<W>,
}

impl<W: Write + Send> Writer<W> {
    /// Starts a table in `out`; `path` is only for messages.
    ///
    /// # Errors
    /// [`Error::Io`] when the first bytes cannot be written, [`Error::Config`] for columns Parquet cannot hold.
    pub fn new(out: W, path: &Path, columns: &[Column]) -> Result<Self> {
        let schema = message(columns).map_err(|error| refused(path, error))?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(
                ZstdLevel::try_new(ZSTD_LEVEL).map_err(|error| refused(path, error))?,
            ))
            .set_statistics_enabled(EnabledStatistics::Chunk);
        for column in columns.iter().filter(|column| column.long) {
            let name = ColumnPath::from(column.name.to_string());
            properties = properties
                .set_column_dictionary_enabled(name.clone(), false)
                .set_column_statistics_enabled(name, EnabledStatistics::None);
        }
        let inner = SerializedFileWriter::new(out, schema, Arc::new(properties.build()))
            .map_err(|error| refused(path, error))?;
        Ok(Self {
            path: path.to_owned(),
            buffers: columns.iter().map(empty).collect(),
            levels: vec![Vec::new(); columns.len()],
            columns: columns.to_vec(),
            n_bytes: 0,
            n_waiting: 0,
            n_rows: 0,
            inner,
        })
    }

    /// Adds a row: one cell a column, in their order.
    ///
    /// # Errors
    /// [`Error::Config`] for cells that do not fit the columns, [`Error::Io`] when a full row group cannot be written.
    pub fn push(&mut self, row: &[Cell<'_>]) -> Result<()> {
        self.check(row)?;
        for ((buffer, levels), cell) in self.buffers.iter_mut().zip(&mut self.levels).zip(row) {
            levels.push(i16::from(*cell != Cell::Null));
            self.n_bytes += 2;
            match (buffer, cell) {
                (Buffer::Text(texts), Cell::Text(text)) => {
                    self.n_bytes += text.len() + size_of::<ByteArray>();
                    texts.push(ByteArray::from(text.as_bytes().to_vec()));
                }
                (Buffer::Float(values), Cell::Float(value)) => values.push(*value),
                (Buffer::Int(values), Cell::Int(value)) => values.push(*value),
                (Buffer::Bool(values), Cell::Bool(value)) => values.push(*value),
                _ => {}
            }
            self.n_bytes += size_of::<i64>();
        }
        self.n_waiting += 1;
        self.n_rows += 1;
        if self.n_bytes >= ROW_GROUP_BYTES || self.n_waiting >= ROW_GROUP_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    /// Rows given so far.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Writes what waits and the footer; gives the output back for its own end.
    ///
    /// # Errors
    /// [`Error::Io`] when the bytes cannot be written.
    pub fn finish(mut self) -> Result<W> {
        self.flush()?;
        self.inner
            .into_inner()
            .map_err(|error| refused(&self.path, error))
    }

    fn check(&self, row: &[Cell<'_>]) -> Result<()> {
        let fits = |(column, cell): (&Column, &Cell<'_>)| {
            cell.kind().is_none_or(|kind| kind == column.kind)
        };
        if row.len() == self.columns.len() && self.columns.iter().zip(row).all(fits) {
            return Ok(());
        }
        let wanted: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{} {}", column.name, column.kind.name()))
            .collect();
        Err(Error::Config(format!(
            "{}: a row of {} cells does not fit the columns {}",
            self.path.display(),
            row.len(),
            wanted.join(", ")
        )))
    }

    fn flush(&mut self) -> Result<()> {
        if self.n_waiting == 0 {
            return Ok(());
        }
        let written = write_group(&mut self.inner, &self.buffers, &self.levels);
        written.map_err(|error| refused(&self.path, error))?;
        for (buffer, levels) in self.buffers.iter_mut().zip(&mut self.levels) {
            match buffer {
                Buffer::Text(values) => values.clear(),
                Buffer::Float(values) => values.clear(),
                Buffer::Int(values) => values.clear(),
                Buffer::Bool(values) => values.clear(),
            }
            levels.clear();
        }
        (self.n_bytes, self.n_waiting) = (0, 0);
        Ok(())
    }
}

fn empty(column: &Column) -> Buffer {
    use super::Kind;
    match column.kind {
        Kind::Text => Buffer::Text(Vec::new()),
        Kind::Float => Buffer::Float(Vec::new()),
        Kind::Int => Buffer::Int(Vec::new()),
        Kind::Bool => Buffer::Bool(Vec::new()),
    }
}

fn write_group<W: Write + Send>(
    file: &mut SerializedFileWriter<W>,
    buffers: &[Buffer],
    levels: &[Vec<i16>],
) -> std::result::Result<(), ParquetError> {
    let mut group = file.next_row_group()?;
    for (buffer, levels) in buffers.iter().zip(levels) {
        match buffer {
            Buffer::Text(values) => write_column::<ByteArrayType, W>(&mut group, values, levels)?,
            Buffer::Float(values) => write_column::<DoubleType, W>(&mut group, values, levels)?,
            Buffer::Int(values) => write_column::<Int64Type, W>(&mut group, values, levels)?,
            Buffer::Bool(values) => write_column::<BoolType, W>(&mut group, values, levels)?,
        }
    }
    group.close()?;
    Ok(())
}

fn write_column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: &[i16],
) -> std::result::Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("a column too many".to_string()));
    };
    column
        .typed::<T>()
        .write_batch(values, Some(levels), None)?;
    column.close()
}

/// A failed write as an error of ours; a system error keeps its kind.
fn refused(path: &Path, error: ParquetError) -> Error {
    let source = match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(source) => *source,
            Err(other) => std::io::Error::other(other),
        },
        other => std::io::Error::other(other),
    };
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

//! The stages, in the order of the data; each is a pure function of its input, its part of the configuration and its assets.

pub mod calibrate;
pub mod decide;
pub mod duplicates;
pub mod extract;
pub mod finish;
pub mod lines;
pub mod looks;
pub mod mix;
pub mod pictures;
pub mod signals;
mod texts;
pub mod write;

use std::collections::HashMap;
use std::path::Path;

use super::context::Made;
use crate::Result;
use crate::table::{Batch, Kind, Reader};

/// Name of the part of a reduce stage's result that belongs to one shard.
pub(crate) fn part_name(shard: usize) -> String {
    format!("{shard:06}.parquet")
}

/// Hashes of the parts of a reduce stage's result, by name; a shard that has none has nothing of it.
///
/// # Errors
/// [`crate::Error::Store`] when the folder's manifest cannot be read.
pub(crate) fn parts(made: &Made) -> Result<HashMap<String, String>> {
    let files = m6_store::manifest::read(&made.folder)?.files;
    Ok(files
        .into_iter()
        .map(|file| (file.name, file.blake3))
        .collect())
}

/// The hash of one shard's part.
pub(crate) fn part_hash(parts: &HashMap<String, String>, shard: usize) -> &[u8] {
    parts
        .get(&part_name(shard))
        .map_or(&[], |hash| hash.as_bytes())
}

/// Hands every row of a table to `take`; a table that is not there has no rows.
pub(crate) fn rows(
    path: &Path,
    columns: &[(&str, Kind)],
    mut take: impl FnMut(&Batch, usize) -> Result<()>,
) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let mut reader = Reader::open(path, columns)?;
    while let Some(batch) = reader.next_batch()? {
        for row in 0..batch.n_rows() {
            take(&batch, row)?;
        }
    }
    Ok(())
}

/// Reads a table row by row beside others, whatever their row groups.
pub(crate) struct Cursor {
    reader: Reader,
    batch: Option<Batch>,
    row: usize,
}

impl Cursor {
    /// A cursor before the first row.
    pub(crate) fn new(reader: Reader) -> Self {
        Self {
            reader,
            batch: None,
            row: 0,
        }
    }

    /// The next row, as a batch and a place in it; none after the last.
    pub(crate) fn next(&mut self) -> Result<Option<(&Batch, usize)>> {
        self.row += 1;
        while self
            .batch
            .as_ref()
            .is_none_or(|batch| self.row >= batch.n_rows())
        {
            self.batch = self.reader.next_batch()?;
            self.row = 0;
            if self.batch.is_none() {
                return Ok(None);
            }
        }
        Ok(self.batch.as_ref().map(|batch| (batch, self.row)))
    }
}

/// Rows of a table that are named by an ascending number, met one by one on the way through that number.
pub(crate) struct Sorted<T> {
    cursor: Option<Cursor>,
    parse: fn(&Batch, usize) -> T,
    next: Option<(usize, T)>,
}

impl<T> Sorted<T> {
    /// Opens a table whose first column is the number; a table that is not there has no rows.
    pub(crate) fn open(
        path: &Path,
        columns: &[(&str, Kind)],
        parse: fn(&Batch, usize) -> T,
    ) -> Result<Self> {
        let cursor = match path.exists() {
            true => Some(Cursor::new(Reader::open(path, columns)?)),
            false => None,
        };
        let mut out = Self {
            cursor,
            parse,
            next: None,
        };
        out.advance()?;
        Ok(out)
    }

    fn advance(&mut self) -> Result<()> {
        self.next = match &mut self.cursor {
            None => None,
            Some(cursor) => cursor.next()?.map(|(batch, row)| {
                let number = usize::try_from(batch.int(0, row)).unwrap_or(usize::MAX);
                (number, (self.parse)(batch, row))
            }),
        };
        Ok(())
    }

    /// The next row of this number, if there is one; rows of smaller numbers are passed over.
    pub(crate) fn take(&mut self, number: usize) -> Result<Option<T>> {
        while self.next.as_ref().is_some_and(|(at, _)| *at < number) {
            self.advance()?;
        }
        if self.next.as_ref().is_none_or(|(at, _)| *at != number) {
            return Ok(None);
        }
        let taken = self.next.take().map(|(_, row)| row);
        self.advance()?;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Cell, Column, Writer};

    #[test]
    fn a_cursor_passes_over_the_ends_of_row_groups() {
        let columns = [Column::new("n", Kind::Int)];
        let mut writer = Writer::new(Vec::new(), Path::new("t"), &columns).expect("starts");
        let n_rows = crate::table::ROW_GROUP_ROWS as i64 + 10;
        for n in 0..n_rows {
            writer.push(&[Cell::Int(n)]).expect("fits");
        }
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("t.parquet");
        m6_store::atomic::write_file(&path, &writer.finish().expect("ends")).expect("written");
        let mut cursor = Cursor::new(Reader::open_all(&path).expect("opens"));
        for n in 0..n_rows {
            let (batch, row) = cursor.next().expect("reads").expect("a row");
            assert_eq!(batch.int(0, row), n);
        }
        assert!(cursor.next().expect("reads").is_none());
        let parse = |batch: &Batch, row: usize| batch.int(0, row);
        let mut sorted = Sorted::open(&path, &[("n", Kind::Int)], parse).expect("opens");
        for (number, expected) in [
            (3, Some(3)),
            (3, None),
            (2, None),
            (7, Some(7)),
            (n_rows, None),
        ] {
            let number = usize::try_from(number).expect("not negative");
            assert_eq!(sorted.take(number).expect("reads"), expected, "{number}");
        }
        let mut none =
            Sorted::open(&dir.path().join("none"), &[("n", Kind::Int)], parse).expect("opens");
        assert_eq!(none.take(0).expect("reads"), None);
        let mut n_seen = 0;
        rows(&dir.path().join("none"), &[("n", Kind::Int)], |_, _| {
            n_seen += 1;
            Ok(())
        })
        .expect("no table has no rows");
        assert_eq!(n_seen, 0);
    }
}

//! External sort: records of a fixed size in ascending order, each once, within a memory budget.
//!
//! Runs go to anonymous temporary files, which the system removes with the process however it ends. Sixteen runs of one level are
//! merged into one of the next, so few files are open at a time whatever the input.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rayon::slice::ParallelSliceMut;

use crate::{Error, Result};

/// Runs that are merged together.
const FAN_IN: usize = 16;
/// Largest record in bytes.
const MAX_RECORD: usize = 32;
/// Bytes of a buffer before a run being written or read.
const RUN_BUFFER: usize = 64 << 10;
/// A buffer that holds this part of its capacity grows to the whole at once.
const LAST_GROWTH: usize = 8;
/// Fewest records sorted in memory, however small the budget.
const MIN_RECORDS: usize = 256;

/// A record of a fixed number of bytes.
pub trait Record: Copy + Ord + Send {
    /// Bytes on disk, at most 32.
    const BYTES: usize;
    /// Writes itself into exactly that many bytes.
    fn put(&self, bytes: &mut [u8]);
    /// Reads itself back.
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! records {
    ($(($($name:ident: $kind:ty),+)),+) => {$(
        impl Record for ($($kind),+) {
            const BYTES: usize = 0 $(+ size_of::<$kind>())+;

            fn put(&self, bytes: &mut [u8]) {
                let ($($name),+) = *self;
                let mut at = 0;
                $(
                    bytes[at..at + size_of::<$kind>()].copy_from_slice(&$name.to_le_bytes());
                    at += size_of::<$kind>();
                )+
                debug_assert_eq!(at, Self::BYTES);
            }

            fn get(bytes: &[u8]) -> Self {
                let mut at = 0;
                $(
                    let mut word = [0; size_of::<$kind>()];
                    word.copy_from_slice(&bytes[at..at + size_of::<$kind>()]);
                    let $name = <$kind>::from_le_bytes(word);
                    at += size_of::<$kind>();
                )+
                debug_assert_eq!(at, Self::BYTES);
                ($($name),+)
            }
        }
    )+};
}

records!((a: u32, b: u32), (a: u64, b: u32), (a: u128, b: u32), (a: u64, b: u32, c: u32));

/// Takes records in any order; [`Sorter::finish`] gives them back sorted.
pub struct Sorter<R> {
    buffer: Vec<R>,
    /// Records held before a run is written.
    capacity: usize,
    levels: Vec<Vec<Run>>,
    folder: PathBuf,
    spilled: u64,
}

/// Records of a sorter in ascending order, repeats left out.
pub struct Sorted<R> {
    records: Source<R>,
    last: Option<R>,
    folder: PathBuf,
    spilled: u64,
}

enum Source<R> {
    Memory(std::vec::IntoIter<R>),
    Merge(Merge<R>),
}

/// A sorted temporary file, read from its start.
struct Run {
    file: File,
    n_records: u64,
}

impl<R: Record> Sorter<R> {
    /// A sorter that holds at most about `memory` bytes and spills into `folder`.
    pub fn new(folder: &Path, memory: usize) -> Self {
        Self {
            buffer: Vec::new(),
            capacity: (memory / size_of::<R>()).max(MIN_RECORDS),
            levels: Vec::new(),
            folder: folder.to_owned(),
            spilled: 0,
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// A run could not be written (a full disk).
    pub fn push(&mut self, record: R) -> Result<()> {
        if self.buffer.len() == self.capacity {
            self.spill().map_err(|source| self.failed(source))?;
        }
        if self.buffer.len() == self.buffer.capacity() {
            let (held, room) = (self.buffer.len(), self.capacity - self.buffer.len());
            // Growth may hold the old and the new buffer at once; the last one is made while the old is still small.
            let is_large = held >= self.capacity / LAST_GROWTH;
            let more = if is_large { room } else { held };
            self.buffer
                .reserve_exact(more.clamp(MIN_RECORDS, room.max(MIN_RECORDS)));
        }
        self.buffer.push(record);
        Ok(())
    }

    /// The records, sorted.
    ///
    /// # Errors
    /// A run could not be written or read.
    pub fn finish(mut self) -> Result<Sorted<R>> {
        let records = self.source().map_err(|source| self.failed(source))?;
        Ok(Sorted {
            records,
            last: None,
            folder: self.folder,
            spilled: self.spilled,
        })
    }

    fn source(&mut self) -> io::Result<Source<R>> {
        if self.levels.is_empty() {
            self.buffer.par_sort_unstable();
            return Ok(Source::Memory(std::mem::take(&mut self.buffer).into_iter()));
        }
        self.spill()?;
        self.buffer = Vec::new();
        let mut runs: Vec<Run> = std::mem::take(&mut self.levels)
            .into_iter()
            .flatten()
            .collect();
        while runs.len() > FAN_IN {
            // The short runs of the low levels come first.
            let rest = runs.split_off(FAN_IN);
            let merged = self.merge(runs)?;
            runs = rest;
            runs.push(merged);
        }
        Merge::new(runs).map(Source::Merge)
    }

    /// Writes the buffer as a run, and merges where a level is full.
    fn spill(&mut self) -> io::Result<()> {
        self.buffer.par_sort_unstable();
        let mut writer = RunWriter::new(&self.folder)?;
        for record in &self.buffer {
            writer.push(record)?;
        }
        self.buffer.clear();
        let mut run = writer.finish(&mut self.spilled)?;
        let mut level = 0;
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(run);
            if self.levels[level].len() < FAN_IN {
                return Ok(());
            }
            let full = std::mem::take(&mut self.levels[level]);
            run = self.merge(full)?;
            level += 1;
        }
    }

    fn merge(&mut self, runs: Vec<Run>) -> io::Result<Run> {
        let mut writer = RunWriter::new(&self.folder)?;
        let mut last = None;
        let mut merge = Merge::<R>::new(runs)?;
        while let Some(record) = merge.next()? {
            if last != Some(record) {
                writer.push(&record)?;
                last = Some(record);
            }
        }
        writer.finish(&mut self.spilled)
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Io {
            path: self.folder.clone(),
            source,
        }
    }
}

impl<R> Sorted<R> {
    /// Bytes written to temporary files; 0 when the budget held everything.
    pub fn spilled(&self) -> u64 {
        self.spilled
    }
}

impl<R: Record> Iterator for Sorted<R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        loop {
            let record = match &mut self.records {
                Source::Memory(records) => records.next()?,
                Source::Merge(merge) => match merge.next() {
                    Ok(record) => record?,
                    Err(source) => {
                        let path = self.folder.clone();
                        return Some(Err(Error::Io { path, source }));
                    }
                },
            };
            if self.last != Some(record) {
                self.last = Some(record);
                return Some(Ok(record));
            }
        }
    }
}

struct RunWriter {
    out: BufWriter<File>,
    n_records: u64,
    n_bytes: u64,
}

impl RunWriter {
    fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            out: BufWriter::with_capacity(RUN_BUFFER, tempfile::tempfile_in(folder)?),
            n_records: 0,
            n_bytes: 0,
        })
    }

    fn push<R: Record>(&mut self, record: &R) -> io::Result<()> {
        let mut bytes = [0; MAX_RECORD];
        record.put(&mut bytes[..R::BYTES]);
        self.out.write_all(&bytes[..R::BYTES])?;
        self.n_records += 1;
        self.n_bytes += R::BYTES as u64;
        Ok(())
    }

    fn finish(self, spilled: &mut u64) -> io::Result<Run> {
        *spilled += self.n_bytes;
        let mut file = self
            .out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(Run {
            file,
            n_records: self.n_records,
        })
    }
}

/// Several runs read as one; the run of the least record is on top of the heap.
struct Merge<R> {
    runs: Vec<RunReader>,
    heap: BinaryHeap<Reverse<(R, usize)>>,
}

struct RunReader {
    reader: BufReader<File>,
    n_left: u64,
}

impl RunReader {
    fn next<R: Record>(&mut self) -> io::Result<Option<R>> {
        if self.n_left == 0 {
            return Ok(None);
        }
        self.n_left -= 1;
        let mut bytes = [0; MAX_RECORD];
        self.reader.read_exact(&mut bytes[..R::BYTES])?;
        Ok(Some(R::get(&bytes[..R::BYTES])))
    }
}

impl<R: Record> Merge<R> {
    fn new(runs: Vec<Run>) -> io::Result<Self> {
        let mut merge = Self {
            runs: Vec::with_capacity(runs.len()),
            heap: BinaryHeap::with_capacity(runs.len()),
        };
        for (i, run) in runs.into_iter().enumerate() {
            let mut reader = RunReader {
                reader: BufReader::with_capacity(RUN_BUFFER, run.file),
                n_left: run.n_records,
            };
            if let Some(record) = reader.next()? {
                merge.heap.push(Reverse((record, i)));
            }
            merge.runs.push(reader);
        }
        Ok(merge)
    }

    fn next(&mut self) -> io::Result<Option<R>> {
        let Some(mut top) = self.heap.peek_mut() else {
            return Ok(None);
        };
        let Reverse((record, i)) = *top;
        match self.runs[i].next()? {
            Some(following) => *top = Reverse((following, i)),
            None => {
                PeekMut::pop(top);
            }
        }
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use m6_store::rng::Key;
    use proptest::prelude::*;

    fn sorted<R: Record>(records: &[R], memory: usize) -> (Vec<R>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path(), memory);
        for record in records {
            sorter.push(*record).unwrap();
        }
        let sorted = sorter.finish().unwrap();
        let spilled = sorted.spilled();
        (sorted.map(Result::unwrap).collect(), spilled)
    }

    fn expected<R: Record>(records: &[R]) -> Vec<R> {
        let mut records = records.to_vec();
        records.sort_unstable();
        records.dedup();
        records
    }

    #[test]
    fn any_budget_gives_the_same_order() {
        // Enough for runs of runs: 256 records a run, 16 runs a level, two levels.
        let mut stream = Key::new(1).stream();
        let records: Vec<(u64, u32)> = (0..90_000)
            .map(|_| (stream.below(30_000), stream.next_u32() % 2))
            .collect();
        let expected = expected(&records);
        for (memory, spills) in [(0, true), (100_000, true), (1 << 24, false)] {
            let (got, spilled) = sorted(&records, memory);
            assert_eq!(spilled > 0, spills, "{memory}");
            assert!(got == expected, "{memory}");
        }
    }

    #[test]
    fn nothing_in_gives_nothing_out() {
        assert_eq!(sorted::<(u32, u32)>(&[], 0), (Vec::new(), 0));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let mut sorter = Sorter::new(Path::new("/nonexistent-m6"), 0);
        let failed = (0..1000).find_map(|i: u32| sorter.push((i, 0u32)).err());
        assert!(failed.unwrap().to_string().contains("/nonexistent-m6"));
    }

    fn check<R: Record + std::fmt::Debug>(record: R) {
        let mut bytes = [0xAA; MAX_RECORD];
        record.put(&mut bytes[..R::BYTES]);
        assert_eq!(R::get(&bytes[..R::BYTES]), record);
    }

    #[test]
    fn records_come_back_from_their_bytes() {
        check((1u32, u32::MAX));
        check((u64::MAX - 5, 7u32));
        check((u128::MAX - 5, 7u32));
        check((3u64, 4u32, 5u32));
    }

    proptest! {
        #[test]
        fn sorts_like_a_vector(records in prop::collection::vec((0u32..50, 0u32..50), 0..2000)) {
            prop_assert_eq!(sorted(&records, 0).0, expected(&records));
        }
    }
}

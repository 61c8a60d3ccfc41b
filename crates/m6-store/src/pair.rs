//! What token and blob shards share: a `.bin` of content and an `.idx` that is published last.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::atomic::{AtomicFile, parent_of, sync_dir};
use crate::mmap::Mmap;
use crate::{Error, Result};

/// `<base><suffix>`; the base may itself hold dots.
pub(crate) fn with_suffix(base: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(base);
    name.push(suffix);
    PathBuf::from(name)
}

/// Writes a pair; nothing appears before [`PairWriter::finish`].
#[derive(Debug)]
pub(crate) struct PairWriter {
    bin: AtomicFile,
    bin_path: PathBuf,
    idx_path: PathBuf,
    n_bytes: u64,
}

impl PairWriter {
    pub(crate) fn create(base: &Path) -> Result<Self> {
        let bin_path = with_suffix(base, ".bin");
        Ok(Self {
            bin: AtomicFile::create(&bin_path)?,
            idx_path: with_suffix(base, ".idx"),
            bin_path,
            n_bytes: 0,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.bin_path
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.n_bytes + bytes.len() as u64;
        let wrote = self.bin.write_all(bytes);
        wrote.map_err(|source| Error::write(&self.bin_path, end, source))?;
        self.n_bytes = end;
        Ok(())
    }

    /// Publishes both files. An older index is removed first, so that a crash in between leaves a pair
    /// without an index (an error on opening), never a new `.bin` under an old `.idx`.
    pub(crate) fn finish(
        self,
        write_index: impl FnOnce(&mut AtomicFile) -> std::io::Result<()>,
    ) -> Result<()> {
        let mut idx = AtomicFile::create(&self.idx_path)?;
        write_index(&mut idx).map_err(|source| Error::write(&self.idx_path, 0, source))?;
        match std::fs::remove_file(&self.idx_path) {
            Ok(()) => sync_dir(parent_of(&self.idx_path))?,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::io("remove the old", &self.idx_path, source)),
        }
        self.bin.commit()?;
        idx.commit()
    }
}

/// Reads the fields of a mapped index; nothing is allocated on its word.
pub(crate) struct Fields<'a> {
    map: &'a Mmap,
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(map: &'a Mmap) -> Self {
        Self { map, at: 0 }
    }

    pub(crate) fn expect(&mut self, expected: &[u8], what: &str) -> Result<()> {
        let at = self.at;
        let got = self.take(expected.len(), what)?;
        if got != expected {
            let (expected, got) = (expected.escape_ascii(), got.escape_ascii());
            return Err(self.damaged(at, format!("{what} \"{expected}\""), format!("\"{got}\"")));
        }
        Ok(())
    }

    pub(crate) fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64_at(self.take(8, what)?, 0))
    }

    /// A count; one that does not fit the address space is damage.
    pub(crate) fn count(&mut self, what: &str) -> Result<usize> {
        let at = self.at;
        let count = self.u64(what)?;
        usize::try_from(count).map_err(|_| self.damaged(at, what.to_owned(), count.to_string()))
    }

    /// The start of a table of `n` entries of `width` bytes, checked to lie inside the file.
    pub(crate) fn table(&mut self, n: usize, width: usize, what: &str) -> Result<usize> {
        let at = self.at;
        let left = self.map.len() - at;
        match n.checked_mul(width) {
            Some(n_bytes) if n_bytes <= left => {
                self.at += n_bytes;
                Ok(at)
            }
            _ => Err(self.damaged(
                at,
                format!("{n} {what} of {width} bytes"),
                format!("{left} bytes to the end"),
            )),
        }
    }

    /// Refuses bytes after the last table.
    pub(crate) fn end(&self) -> Result<()> {
        let left = self.map.len() - self.at;
        if left > 0 {
            return Err(self.damaged(
                self.at,
                "the end of the file".to_owned(),
                format!("{left} more bytes"),
            ));
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, at: usize, expected: String, got: String) -> Error {
        Error::damaged(self.map.path(), at as u64, expected, got)
    }

    fn take(&mut self, n_bytes: usize, what: &str) -> Result<&'a [u8]> {
        let rest = &self.map[self.at..];
        match rest.get(..n_bytes) {
            Some(bytes) => {
                self.at += n_bytes;
                Ok(bytes)
            }
            None => Err(self.damaged(
                self.at,
                format!("{what} ({n_bytes} bytes)"),
                format!("{} bytes to the end", rest.len()),
            )),
        }
    }
}

/// The little-endian number at byte `at`.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// The little-endian number at byte `at`.
#[inline]
pub(crate) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    i32::from_le_bytes(word)
}

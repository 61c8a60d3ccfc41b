//! Byte strings by number: `<base>.bin` holds them end to end, `<base>.idx` their offsets (ours).
//!
//! The index is `"M6BLOBS\0"`, version u64 = 1, n_blobs u64, then n_blobs + 1 offsets u64, all
//! little-endian; blob `i` lies between offsets `i` and `i + 1` of the `.bin`.

use std::io::Write;
use std::path::Path;

use crate::mmap::Mmap;
use crate::pair::{Fields, PairWriter, u64_at, with_suffix};
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"M6BLOBS\0";
const VERSION: u64 = 1;

/// Writes a blob shard; nothing appears before [`BlobWriter::finish`].
#[derive(Debug)]
pub struct BlobWriter {
    pair: PairWriter,
    /// Where each blob ends.
    ends: Vec<u64>,
}

impl BlobWriter {
    /// Starts `<base>.bin` and `<base>.idx`; the folder must exist.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::DiskFull`] when the file cannot be made.
    pub fn create(base: &Path) -> Result<Self> {
        Ok(Self {
            pair: PairWriter::create(base)?,
            ends: Vec::new(),
        })
    }

    /// Adds a blob (it may be empty) and returns its number.
    ///
    /// # Errors
    /// [`Error::DiskFull`] or [`Error::Io`].
    pub fn append(&mut self, blob: &[u8]) -> Result<u64> {
        self.pair.append(blob)?;
        self.ends.push(self.pair.n_bytes());
        Ok(self.ends.len() as u64 - 1)
    }

    /// The number of blobs so far.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True before the first blob.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Makes both files durable and publishes them.
    ///
    /// # Errors
    /// [`Error::DiskFull`] or [`Error::Io`]; nothing is published then.
    pub fn finish(self) -> Result<()> {
        let ends = self.ends;
        self.pair.finish(|idx| {
            idx.write_all(MAGIC)?;
            idx.write_all(&VERSION.to_le_bytes())?;
            idx.write_all(&(ends.len() as u64).to_le_bytes())?;
            idx.write_all(&0u64.to_le_bytes())?;
            ends.iter()
                .try_for_each(|end| idx.write_all(&end.to_le_bytes()))
        })
    }
}

/// Reads a blob shard through memory maps.
#[derive(Debug)]
pub struct BlobReader {
    bin: Mmap,
    idx: Mmap,
    n_blobs: usize,
    offsets_at: usize,
}

impl BlobReader {
    /// Opens a shard and checks the whole index against the size of the `.bin`.
    ///
    /// # Errors
    /// [`Error::Io`] when a file is missing, [`Error::Damaged`] when the index is truncated, of another
    /// format, or points outside the `.bin`.
    pub fn open(base: &Path) -> Result<Self> {
        let idx = Mmap::open(&with_suffix(base, ".idx"))?;
        let bin = Mmap::open(&with_suffix(base, ".bin"))?;
        let mut fields = Fields::new(&idx);
        fields.expect(MAGIC, "the magic")?;
        fields.expect(&VERSION.to_le_bytes(), "version 1")?;
        let n_blobs = fields.count("n_blobs")?;
        let offsets_at = fields.table(n_blobs.saturating_add(1), 8, "offsets")?;
        fields.end()?;
        let mut last = 0;
        for i in 0..=n_blobs {
            let at = offsets_at + 8 * i;
            let offset = u64_at(&idx, at);
            if offset < last || (i == 0 && offset != 0) {
                return Err(fields.damaged(
                    at,
                    format!("an offset of at least {last}"),
                    offset.to_string(),
                ));
            }
            last = offset;
        }
        if last != bin.len() as u64 {
            return Err(Error::damaged(
                bin.path(),
                last,
                format!("{last} bytes"),
                format!("{} bytes", bin.len()),
            ));
        }
        Ok(Self {
            bin,
            n_blobs,
            offsets_at,
            idx,
        })
    }

    /// The number of blobs.
    pub fn len(&self) -> usize {
        self.n_blobs
    }

    /// True when there is no blob.
    pub fn is_empty(&self) -> bool {
        self.n_blobs == 0
    }

    /// Blob `i`.
    ///
    /// # Panics
    /// When `i` is not below [`BlobReader::len`]; for numbers from outside use [`BlobReader::try_get`].
    pub fn get(&self, i: usize) -> &[u8] {
        self.try_get(i).unwrap_or_else(|| {
            panic!(
                "blob {i} of {} in {}",
                self.n_blobs,
                self.bin.path().display()
            )
        })
    }

    /// Blob `i`, or `None` when there is no such blob.
    pub fn try_get(&self, i: usize) -> Option<&[u8]> {
        if i >= self.n_blobs {
            return None;
        }
        let at = self.offsets_at + 8 * i;
        let (from, to) = (u64_at(&self.idx, at), u64_at(&self.idx, at + 8));
        self.bin.get(from as usize..to as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::write_file;
    use proptest::prelude::*;

    fn write(base: &Path, blobs: &[Vec<u8>]) {
        let mut writer = BlobWriter::create(base).unwrap();
        for (i, blob) in blobs.iter().enumerate() {
            assert_eq!(writer.append(blob).unwrap(), i as u64);
        }
        writer.finish().unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_was_written_is_read(blobs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..30)) {
            let dir = tempfile::tempdir().unwrap();
            let base = dir.path().join("images.v1");
            write(&base, &blobs);
            let reader = BlobReader::open(&base).unwrap();
            prop_assert_eq!(reader.len(), blobs.len());
            for (i, blob) in blobs.iter().enumerate() {
                prop_assert_eq!(reader.get(i), &blob[..]);
            }
            prop_assert!(reader.try_get(blobs.len()).is_none());
        }

        #[test]
        fn damaged_files_give_errors_or_slices_inside(
            at in 0usize..80, value: u8, cut in 0usize..80, which in 0..3,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let base = dir.path().join("b");
            write(&base, &[vec![1; 5], vec![], vec![2; 7], vec![3; 9]]);
            let path = with_suffix(&base, if which == 2 { ".bin" } else { ".idx" });
            let mut bytes = std::fs::read(&path).unwrap();
            if which == 0 {
                let at = at % bytes.len();
                bytes[at] = value;
            } else {
                bytes.truncate(cut);
            }
            write_file(&path, &bytes).unwrap();
            if let Ok(reader) = BlobReader::open(&base) {
                for i in 0..reader.len() {
                    prop_assert!(reader.get(i).len() <= 21);
                }
            }
        }
    }

    fn check(idx: &[u8], message: &str) {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("b");
        write(&base, &[vec![1; 5]]);
        write_file(&with_suffix(&base, ".idx"), idx).unwrap();
        let error = BlobReader::open(&base).unwrap_err().to_string();
        assert!(error.contains(message), "{error}, not: {message}");
    }

    #[test]
    fn lying_indices_are_named() {
        let index = |numbers: &[u64]| {
            let words = numbers.iter().flat_map(|number| number.to_le_bytes());
            MAGIC.iter().copied().chain(words).collect::<Vec<u8>>()
        };
        check(b"", "the magic");
        check(&index(&[]), "version 1");
        check(&index(&[2, 0]), "version 1");
        check(&index(&[1, u64::MAX, 0, 5]), "offsets of 8 bytes");
        check(&index(&[1, 1 << 60, 0, 5]), "offsets of 8 bytes");
        check(&index(&[1, 1, 0]), "2 offsets of 8 bytes");
        check(&index(&[1, 1, 0, 6]), "expected 6 bytes, got 5 bytes");
        check(&index(&[1, 2, 0, 6, 5]), "an offset of at least 6");
        check(&index(&[1, 1, 2, 5]), "an offset of at least 0");
        check(&index(&[1, 1, 0, 5, 5]), "the end of the file");
    }

    #[test]
    fn an_unfinished_shard_does_not_appear() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("b");
        let mut writer = BlobWriter::create(&base).unwrap();
        writer.append(b"x").unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(BlobReader::open(&base).is_err());
    }
}

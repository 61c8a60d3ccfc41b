//! Token shards in the Megatron layout: `<base>.bin` holds ids, `<base>.idx` sequences and documents.
//!
//! The index is `"MMIDIDX\0\0"`, version u64 = 1, type u8 = 8 (u16), n_sequences u64, n_documents + 1
//! u64, then the sizes in ids (i32 each), the byte offsets in the `.bin` (i64 each) and the first
//! sequence of every document plus the end (i64 each), all little-endian: other tools of the field
//! read it as it is.

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use crate::mmap::Mmap;
use crate::pair::{Fields, PairWriter, i32_at, u64_at, with_suffix};
use crate::{Error, Result};

const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";
const VERSION: u64 = 1;
const TYPE_U16: u8 = 8;
const BYTES_PER_ID: u64 = 2;

/// Writes a token shard; nothing appears before [`TokenWriter::finish`].
#[derive(Debug)]
pub struct TokenWriter {
    pair: PairWriter,
    sizes: Vec<i32>,
    /// The sequence after the last one of each document.
    document_ends: Vec<u64>,
}

impl TokenWriter {
    /// Starts `<base>.bin` and `<base>.idx`; the folder must exist.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::DiskFull`] when the file cannot be made.
    pub fn create(base: &Path) -> Result<Self> {
        Ok(Self {
            pair: PairWriter::create(base)?,
            sizes: Vec::new(),
            document_ends: Vec::new(),
        })
    }

    /// Adds a sequence of ids (it may be empty) to the current document and returns its number.
    ///
    /// # Errors
    /// [`Error::Invalid`] beyond 2^31 - 1 ids, [`Error::DiskFull`] or [`Error::Io`].
    pub fn sequence(&mut self, ids: &[u16]) -> Result<usize> {
        let size = i32::try_from(ids.len()).map_err(|_| {
            let reason = format!(
                "a sequence of {} ids; the format holds at most {}",
                ids.len(),
                i32::MAX
            );
            Error::invalid(self.pair.path(), reason)
        })?;
        self.pair.append(bytes_of(ids))?;
        self.sizes.push(size);
        Ok(self.sizes.len() - 1)
    }

    /// Ends the current document (it may hold no sequence).
    pub fn end_document(&mut self) {
        self.document_ends.push(self.sizes.len() as u64);
    }

    /// The number of sequences so far.
    pub fn n_sequences(&self) -> usize {
        self.sizes.len()
    }

    /// The number of ids so far.
    pub fn n_tokens(&self) -> u64 {
        self.pair.n_bytes() / BYTES_PER_ID
    }

    /// Ends an open document, makes both files durable and publishes them.
    ///
    /// # Errors
    /// [`Error::DiskFull`] or [`Error::Io`]; nothing is published then.
    pub fn finish(mut self) -> Result<()> {
        if self.document_ends.last().copied().unwrap_or(0) < self.sizes.len() as u64 {
            self.end_document();
        }
        let (sizes, ends) = (self.sizes, self.document_ends);
        self.pair.finish(|idx| {
            idx.write_all(MAGIC)?;
            idx.write_all(&VERSION.to_le_bytes())?;
            idx.write_all(&[TYPE_U16])?;
            idx.write_all(&(sizes.len() as u64).to_le_bytes())?;
            idx.write_all(&(ends.len() as u64 + 1).to_le_bytes())?;
            for size in &sizes {
                idx.write_all(&size.to_le_bytes())?;
            }
            let mut offset = 0u64;
            for size in &sizes {
                idx.write_all(&offset.to_le_bytes())?;
                offset += *size as u64 * BYTES_PER_ID;
            }
            idx.write_all(&0u64.to_le_bytes())?;
            ends.iter()
                .try_for_each(|end| idx.write_all(&end.to_le_bytes()))
        })
    }
}

/// Reads a token shard through memory maps.
#[derive(Debug)]
pub struct TokenReader {
    bin: Mmap,
    idx: Mmap,
    n_sequences: usize,
    n_documents: usize,
    sizes_at: usize,
    offsets_at: usize,
    documents_at: usize,
}

impl TokenReader {
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
        fields.expect(&[TYPE_U16], "type 8 (u16 ids)")?;
        let n_sequences = fields.count("n_sequences")?;
        let n_bounds = fields.count("n_documents + 1")?;
        let sizes_at = fields.table(n_sequences, 4, "sizes")?;
        let offsets_at = fields.table(n_sequences, 8, "offsets")?;
        let documents_at = fields.table(n_bounds, 8, "document bounds")?;
        fields.end()?;
        if n_bounds == 0 {
            return Err(fields.damaged(
                documents_at,
                "at least one document bound".to_owned(),
                "none".to_owned(),
            ));
        }
        check_sequences(&fields, &idx, &bin, n_sequences, sizes_at, offsets_at)?;
        check_documents(&fields, &idx, n_sequences, n_bounds, documents_at)?;
        Ok(Self {
            n_documents: n_bounds - 1,
            bin,
            n_sequences,
            sizes_at,
            offsets_at,
            documents_at,
            idx,
        })
    }

    /// The number of sequences.
    pub fn n_sequences(&self) -> usize {
        self.n_sequences
    }

    /// The number of documents.
    pub fn n_documents(&self) -> usize {
        self.n_documents
    }

    /// The number of ids in the `.bin`.
    pub fn n_tokens(&self) -> u64 {
        self.bin.len() as u64 / BYTES_PER_ID
    }

    /// The ids of sequence `i`.
    ///
    /// # Panics
    /// When `i` is not below [`TokenReader::n_sequences`]; for numbers from outside use
    /// [`TokenReader::try_sequence`].
    pub fn sequence(&self, i: usize) -> &[u16] {
        self.try_sequence(i).unwrap_or_else(|| {
            panic!(
                "sequence {i} of {} in {}",
                self.n_sequences,
                self.bin.path().display()
            )
        })
    }

    /// The ids of sequence `i`, or `None` when there is no such sequence.
    pub fn try_sequence(&self, i: usize) -> Option<&[u16]> {
        if i >= self.n_sequences {
            return None;
        }
        let n_ids = i32_at(&self.idx, self.sizes_at + 4 * i) as usize;
        let from = u64_at(&self.idx, self.offsets_at + 8 * i) as usize;
        ids_of(self.bin.get(from..from.checked_add(2 * n_ids)?)?)
    }

    /// The sequences of document `d`.
    ///
    /// # Panics
    /// When `d` is not below [`TokenReader::n_documents`].
    pub fn document(&self, d: usize) -> Range<usize> {
        assert!(d < self.n_documents, "document {d} of {}", self.n_documents);
        let at = self.documents_at + 8 * d;
        u64_at(&self.idx, at) as usize..u64_at(&self.idx, at + 8) as usize
    }
}

fn check_sequences(
    fields: &Fields<'_>,
    idx: &Mmap,
    bin: &Mmap,
    n_sequences: usize,
    sizes_at: usize,
    offsets_at: usize,
) -> Result<()> {
    for i in 0..n_sequences {
        let size_at = sizes_at + 4 * i;
        let size = i32_at(idx, size_at);
        if size < 0 {
            return Err(fields.damaged(
                size_at,
                format!("a size for sequence {i}"),
                size.to_string(),
            ));
        }
        let offset_at = offsets_at + 8 * i;
        let offset = u64_at(idx, offset_at);
        let end = offset.checked_add(size as u64 * BYTES_PER_ID);
        if !offset.is_multiple_of(BYTES_PER_ID) || end.is_none_or(|end| end > bin.len() as u64) {
            let expected = format!(
                "sequence {i} of {size} ids inside the .bin of {} bytes",
                bin.len()
            );
            return Err(fields.damaged(offset_at, expected, format!("offset {offset}")));
        }
    }
    Ok(())
}

fn check_documents(
    fields: &Fields<'_>,
    idx: &Mmap,
    n_sequences: usize,
    n_bounds: usize,
    documents_at: usize,
) -> Result<()> {
    let mut last = 0;
    for d in 0..n_bounds {
        let at = documents_at + 8 * d;
        let bound = u64_at(idx, at);
        if bound < last || (d == 0 && bound != 0) || bound > n_sequences as u64 {
            let expected = format!("a document bound in {last}..={n_sequences}");
            return Err(fields.damaged(at, expected, bound.to_string()));
        }
        last = bound;
    }
    if last != n_sequences as u64 {
        let expected = format!("the last document to end at sequence {n_sequences}");
        return Err(fields.damaged(
            documents_at + 8 * (n_bounds - 1),
            expected,
            last.to_string(),
        ));
    }
    Ok(())
}

/// The bytes of ids as they lie in memory (this crate is little-endian only).
fn bytes_of(ids: &[u16]) -> &[u8] {
    // SAFETY: u16 has no padding, u8 no alignment, and the length in bytes is exactly twice the count.
    unsafe { std::slice::from_raw_parts(ids.as_ptr().cast::<u8>(), 2 * ids.len()) }
}

/// The ids in bytes, or `None` when they do not start and end on an id.
fn ids_of(bytes: &[u8]) -> Option<&[u16]> {
    // SAFETY: every pattern of 16 bits is a u16, and `align_to` itself sees to the alignment.
    let (before, ids, after) = unsafe { bytes.align_to::<u16>() };
    (before.is_empty() && after.is_empty()).then_some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::write_file;
    use proptest::prelude::*;

    fn write(base: &Path, documents: &[Vec<Vec<u16>>]) {
        let mut writer = TokenWriter::create(base).unwrap();
        for document in documents {
            for ids in document {
                writer.sequence(ids).unwrap();
            }
            writer.end_document();
        }
        writer.finish().unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn what_was_written_is_read(
            documents in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u16>(), 0..20), 0..5), 0..8),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let base = dir.path().join("tokens");
            write(&base, &documents);
            let reader = TokenReader::open(&base).unwrap();
            prop_assert_eq!(reader.n_documents(), documents.len());
            let n_ids: usize = documents.iter().flatten().map(Vec::len).sum();
            prop_assert_eq!(reader.n_tokens(), n_ids as u64);
            for (d, document) in documents.iter().enumerate() {
                let read: Vec<Vec<u16>> = reader.document(d).map(|i| reader.sequence(i).to_vec()).collect();
                prop_assert_eq!(&read, document);
            }
            prop_assert!(reader.try_sequence(reader.n_sequences()).is_none());
        }

        #[test]
        fn damaged_files_give_errors_or_slices_inside(
            at in 0usize..200, value: u8, cut in 0usize..200, which in 0..3,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let base = dir.path().join("t");
            write(&base, &[vec![vec![1; 5], vec![]], vec![vec![2; 7]], vec![]]);
            let path = with_suffix(&base, if which == 2 { ".bin" } else { ".idx" });
            let mut bytes = std::fs::read(&path).unwrap();
            if which == 0 {
                let at = at % bytes.len();
                bytes[at] = value;
            } else {
                bytes.truncate(cut);
            }
            write_file(&path, &bytes).unwrap();
            if let Ok(reader) = TokenReader::open(&base) {
                for d in 0..reader.n_documents() {
                    for i in reader.document(d) {
                        prop_assert!(reader.sequence(i).len() <= 12);
                    }
                }
            }
        }
    }

    #[test]
    fn the_layout_is_megatrons_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("t.v1");
        write(&base, &[vec![vec![258, 3], vec![4]], vec![vec![5]]]);
        assert_eq!(
            std::fs::read(with_suffix(&base, ".bin")).unwrap(),
            [2, 1, 3, 0, 4, 0, 5, 0]
        );
        let mut expected = b"MMIDIDX\0\0".to_vec();
        expected.extend(1u64.to_le_bytes());
        expected.push(8);
        expected.extend([3u64, 3].iter().flat_map(|count| count.to_le_bytes()));
        expected.extend([2i32, 1, 1].iter().flat_map(|size| size.to_le_bytes()));
        expected.extend([0i64, 4, 6].iter().flat_map(|offset| offset.to_le_bytes()));
        expected.extend([0i64, 2, 3].iter().flat_map(|bound| bound.to_le_bytes()));
        assert_eq!(std::fs::read(with_suffix(&base, ".idx")).unwrap(), expected);
    }

    #[test]
    fn sequences_without_an_end_of_document_are_one_document() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("t");
        let mut writer = TokenWriter::create(&base).unwrap();
        writer.sequence(&[1]).unwrap();
        writer.end_document();
        writer.sequence(&[2, 3]).unwrap();
        writer.sequence(&[]).unwrap();
        assert_eq!((writer.n_sequences(), writer.n_tokens()), (3, 3));
        writer.finish().unwrap();
        let reader = TokenReader::open(&base).unwrap();
        assert_eq!(reader.document(1), 1..3);
    }

    fn check(edit: impl Fn(&mut Vec<u8>), message: &str) {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("t");
        write(&base, &[vec![vec![1, 2], vec![3]]]);
        let path = with_suffix(&base, ".idx");
        let mut bytes = std::fs::read(&path).unwrap();
        edit(&mut bytes);
        write_file(&path, &bytes).unwrap();
        let error = TokenReader::open(&base).unwrap_err().to_string();
        assert!(
            error.contains(message) && error.contains("t.idx"),
            "{error}, not: {message}"
        );
    }

    #[test]
    fn lying_indices_are_named() {
        check(|idx| idx.truncate(5), "the magic");
        check(|idx| idx[0] = b'X', "the magic");
        check(|idx| idx[9] = 2, "version 1");
        check(|idx| idx[17] = 4, "type 8 (u16 ids)");
        check(|idx| idx[18..26].fill(0xff), "sizes of 4 bytes");
        check(|idx| idx[26..34].fill(0xff), "document bounds of 8 bytes");
        check(|idx| idx[26..34].fill(0), "the end of the file");
        check(|idx| idx[34..38].fill(0xff), "a size for sequence 0");
        check(
            |idx| idx[34] = 9,
            "sequence 0 of 9 ids inside the .bin of 6 bytes",
        );
        check(|idx| idx[42] = 1, "offset 1");
        check(|idx| idx[42..50].fill(0xff), "sequence 0");
        check(|idx| idx[58] = 1, "a document bound");
        check(|idx| idx[66] = 1, "the last document");
        check(|idx| idx[66] = 3, "a document bound");
        check(|idx| idx.push(0), "the end of the file");
    }
}

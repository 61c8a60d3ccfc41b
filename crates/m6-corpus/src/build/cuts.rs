//! Where large files are cut into shards.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::adapt;
use super::config::Form;
use super::files::Files;
use super::inputs::{Hashes, io};
use super::work::{KeyHash, Note, Stage, Work, write_json};
use crate::{Error, Result};

/// Counting the lines of large objects.
const CUTS_STAGE: Stage = Stage {
    name: "cuts",
    version: 1,
};
/// Where the cuts of an object lie.
const CUTS_NAME: &str = "cuts.json";
/// First bytes of a large object that are asked for to see whether it can be cut; more when they hold less than three records.
const HEAD_BYTES: u64 = 1 << 20;
/// First bytes that are held at once; an archive whose third record begins later is downloaded to be looked at.
const MAX_HEAD_BYTES: u64 = 8 << 20;
/// Bytes read at a time while lines are counted.
const SCAN_BYTES: usize = 1 << 20;

/// What is known of files without reading them, and where what is learnt is kept.
pub(super) struct Learnt<'a> {
    pub files: &'a Files<'a>,
    pub work: &'a Work<'a>,
    pub hashes: &'a mut Hashes,
}

/// Where pieces of a file begin, each with the lines before it; empty for a file that is read whole.
pub(super) fn cuts(
    form: Form,
    file: &Path,
    limit: u64,
    size: u64,
    known: &mut Learnt<'_>,
) -> Result<Vec<(u64, u64)>> {
    let remote = known.files.identity(file);
    match (form, remote) {
        (Form::Archive, None) if adapt::archive::can_start_anywhere(file) => {
            Ok(even_cuts(limit, size))
        }
        (Form::Archive, Some(identity)) => known.remote_archive_cuts(file, &identity, limit, size),
        (Form::Jsonl, None) if adapt::sources::is_plain(file) => {
            known.hashes.line_cuts(file, limit)
        }
        (Form::Jsonl, Some(identity)) => known.remote_line_cuts(file, &identity, limit),
        _ => Ok(Vec::new()),
    }
}

fn even_cuts(limit: u64, size: u64) -> Vec<(u64, u64)> {
    let n_pieces = size.div_ceil(limit);
    (0..n_pieces).map(|piece| (piece * limit, 0)).collect()
}

impl Learnt<'_> {
    /// As for a local archive, but from its first bytes, and asked for once: three records tell whether it can be cut.
    fn remote_archive_cuts(
        &mut self,
        file: &Path,
        identity: &str,
        limit: u64,
        size: u64,
    ) -> Result<Vec<(u64, u64)>> {
        if let Some(cuts) = self.hashes.cuts_of(file, identity, limit) {
            return Ok(cuts);
        }
        let mut n = HEAD_BYTES;
        let is_cut = loop {
            if n > MAX_HEAD_BYTES {
                break adapt::archive::can_start_anywhere(&self.files.local(file)?);
            }
            let Some(bytes) = self.files.beginning(file, n)? else {
                break false;
            };
            let is_whole = bytes.len() as u64 == size;
            match adapt::archive::beginning_can_start_anywhere(bytes, is_whole) {
                Some(answer) => break answer,
                None => n = n.saturating_mul(8),
            }
        };
        let cuts = match is_cut {
            true => even_cuts(limit, size),
            false => Vec::new(),
        };
        self.hashes.learn(file, identity, size, limit, &cuts);
        Ok(cuts)
    }

    /// Lines can only be counted by reading all of them. What one machine has counted the others find among the results.
    fn remote_line_cuts(
        &mut self,
        file: &Path,
        identity: &str,
        limit: u64,
    ) -> Result<Vec<(u64, u64)>> {
        let head = self.files.beginning(file, 4)?;
        if !head.is_some_and(|head| adapt::sources::begins_plain(&head)) {
            return Ok(Vec::new());
        }
        let key = KeyHash::new(CUTS_STAGE)
            .with(identity.as_bytes())
            .with(&limit.to_le_bytes());
        let files = self.files;
        let folder = self.work.once(CUTS_STAGE, &key.finish(), |commit| {
            let cuts = line_cuts(&files.local(file)?, limit)?;
            write_json(commit, CUTS_NAME, &cuts)?;
            Ok(Note::default())
        })?;
        let path = folder.join(CUTS_NAME);
        let bytes = fs::read(&path).map_err(|source| io(&path, source))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
            path,
            problem: error.to_string(),
        })
    }
}

/// The first line that begins at or after every multiple of `step` bytes, each with the number of lines before it.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read.
pub(super) fn line_cuts(path: &Path, step: u64) -> Result<Vec<(u64, u64)>> {
    let mut file = fs::File::open(path).map_err(|source| io(path, source))?;
    let mut buffer = vec![0; SCAN_BYTES];
    let (mut cuts, mut offset, mut n_lines, mut wanted) = (vec![(0, 0)], 0u64, 0u64, step);
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(io(path, source)),
        };
        for end in memchr::memchr_iter(b'\n', buffer.get(..n).unwrap_or_default()) {
            n_lines += 1;
            let line = offset + end as u64 + 1;
            if line >= wanted {
                cuts.push((line, n_lines));
                wanted = (line / step + 1) * step;
            }
        }
        offset += n as u64;
    }
    // A line end at the end of the file begins no line.
    cuts.retain(|(line, _)| *line < offset || *line == 0);
    Ok(cuts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_begin() {
        let dir = tempfile::tempdir().expect("a folder");
        let check = |text: &str, step: u64, expected: &[(u64, u64)]| {
            let path = dir.path().join("lines");
            m6_store::atomic::write_file(&path, text.as_bytes()).expect("written");
            assert_eq!(line_cuts(&path, step).expect("reads"), expected, "{text:?}");
        };
        check("", 4, &[(0, 0)]);
        check("abc\n", 4, &[(0, 0)]);
        check("abc\nd", 4, &[(0, 0), (4, 1)]);
        check("a\nb\nc\nd\ne\n", 4, &[(0, 0), (4, 2), (8, 4)]);
        check("a long line\nb\nc\nd", 4, &[(0, 0), (12, 1), (16, 3)]);
        check("one line without an end", 4, &[(0, 0)]);
    }
}

//! The quarantine: one line a bad record, with enough to try again.

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine;
use m6_store::atomic;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::record::BadRecord;

/// Lines kept beside the output when preparing stops.
const KEPT_LINES: usize = 1000;

#[derive(Serialize)]
struct Line<'a> {
    source: &'a str,
    #[serde(rename = "where")]
    where_: &'a str,
    reason: &'a str,
    detail: &'a str,
    bytes_base64: String,
}

/// Writes `quarantine.jsonl` and remembers the first lines for the case that the folder is never committed.
pub struct Quarantine<W: Write> {
    out: W,
    path: PathBuf,
    first: Vec<u8>,
    n_lines: usize,
}

impl<W: Write> Quarantine<W> {
    /// A quarantine that writes to `out`; `path` is used in messages.
    pub fn new(out: W, path: PathBuf) -> Self {
        Self {
            out,
            path,
            first: Vec::new(),
            n_lines: 0,
        }
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, source: &str, bad: &BadRecord) -> Result<()> {
        let line = Line {
            source,
            where_: &bad.where_,
            reason: bad.reason,
            detail: &bad.detail,
            bytes_base64: base64::engine::general_purpose::STANDARD.encode(&bad.bytes),
        };
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        if self.n_lines < KEPT_LINES {
            self.first.extend_from_slice(&bytes);
        }
        self.n_lines += 1;
        self.out
            .write_all(&bytes)
            .map_err(|cause| Error::io(&self.path, cause))
    }

    /// Keeps the first 1000 lines in a file beside the output; gives its path.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_beside(&self, out: &Path) -> Result<PathBuf> {
        let mut name = out.file_name().unwrap_or_default().to_os_string();
        name.push(".quarantine.jsonl");
        let path = out.with_file_name(name);
        atomic::write_file(&path, &self.first)?;
        Ok(path)
    }

    /// The writer, after the last line.
    pub fn into_inner(self) -> W {
        self.out
    }
}

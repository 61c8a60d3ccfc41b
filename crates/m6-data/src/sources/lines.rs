//! JSON lines, alone or naming pictures of a tar.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use m6_store::mmap::Mmap;
use serde_json::Value;

use super::pictures::{Pictures, TarPictures};
use crate::config::{Fields, SourceConfig};
use crate::error::Result;
use crate::fields::FieldMap;
use crate::record::{BadRecord, Record, Source};

/// Longest line that is parsed, in bytes.
const MAX_LINE: usize = 64 << 20;

/// Records of JSON lines.
pub(super) struct LineSource {
    name: String,
    fields: FieldMap,
    pictures: Pictures,
    lines: Lines,
}

impl LineSource {
    /// Pictures are files beside the lines.
    pub(super) fn beside(config: &SourceConfig, files: Vec<PathBuf>) -> Self {
        Self {
            name: config.name.clone(),
            fields: FieldMap::new(config),
            pictures: Pictures::Beside,
            lines: Lines::new(files),
        }
    }

    /// Pictures are members of tars, named by the field `image` (`file` unless given).
    pub(super) fn in_tars(
        config: &SourceConfig,
        lines: Vec<PathBuf>,
        tars: &[PathBuf],
    ) -> Result<Self> {
        let mut config = config.clone();
        if config.image.is_empty() {
            config.image = Fields::from(["file"]);
        }
        Ok(Self {
            name: config.name.clone(),
            fields: FieldMap::new(&config),
            pictures: Pictures::InTars(TarPictures::new(tars)?),
            lines: Lines::new(lines),
        })
    }
}

impl Source for LineSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn next(&mut self) -> Option<std::result::Result<Record, BadRecord>> {
        if let Pictures::InTars(tars) = &mut self.pictures
            && let Some(fault) = tars.next_fault()
        {
            return Some(Err(fault));
        }
        let line = match self.lines.next()? {
            Ok(line) => line,
            Err(bad) => return Some(Err(bad)),
        };
        let place = line.place();
        let value: Value = match parse(line.bytes) {
            Ok(value) => value,
            Err((reason, detail)) => {
                return Some(Err(BadRecord::new(place, reason, detail, line.bytes)));
            }
        };
        let mut record = self.fields.record(&value, place, &line.fallback_id());
        for name in self.fields.images(&value) {
            record.images.push(self.pictures.find(name, line.file));
        }
        Some(Ok(record))
    }

    fn skipped(&self) -> BTreeMap<String, u64> {
        let mut out = BTreeMap::new();
        if let Pictures::InTars(tars) = &self.pictures
            && tars.n_unused() > 0
        {
            out.insert("picture_without_line".to_string(), tars.n_unused());
        }
        out
    }
}

/// A JSON object from the bytes of a line, or the reason word and the detail.
pub(super) fn parse(bytes: &[u8]) -> std::result::Result<Value, (&'static str, String)> {
    let text = std::str::from_utf8(bytes).map_err(|error| ("utf8", error.to_string()))?;
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(("json", "expected an object".to_string())),
        Err(error) => Err(("json", error.to_string())),
    }
}

/// A line of a mapped file.
pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) file: &'a Path,
    pub(super) number: u64,
}

impl Line<'_> {
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.number)
    }

    /// File stem and line number: an identity that does not depend on where the data lies.
    pub(super) fn fallback_id(&self) -> String {
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy();
        format!("{stem}:{}", self.number)
    }
}

/// The lines of some files that are not blank, one file mapped at a time.
pub(super) struct Lines {
    files: Vec<PathBuf>,
    n_opened: usize,
    map: Option<Mmap>,
    at: usize,
    number: u64,
}

impl Lines {
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        Self {
            files,
            n_opened: 0,
            map: None,
            at: 0,
            number: 0,
        }
    }

    /// The next line; a file that cannot be mapped and a line beyond the limit are bad records.
    pub(super) fn next(&mut self) -> Option<std::result::Result<Line<'_>, BadRecord>> {
        let (from, to) = loop {
            if self.map.is_none() {
                let file = self.files.get(self.n_opened)?;
                self.n_opened += 1;
                match Mmap::open(file) {
                    Ok(map) => self.map = Some(map),
                    Err(error) => {
                        let place = file.display().to_string();
                        return Some(Err(BadRecord::new(place, "unreadable", error, &[])));
                    }
                }
                (self.at, self.number) = (0, 0);
            }
            match self.advance() {
                Some(range) => break range,
                None => self.map = None,
            }
        };
        let line = Line {
            bytes: self.map.as_deref()?.get(from..to)?,
            file: &self.files[self.n_opened - 1],
            number: self.number,
        };
        if line.bytes.len() > MAX_LINE {
            let detail = format!(
                "a line of {} bytes, the limit is {MAX_LINE}",
                line.bytes.len()
            );
            return Some(Err(BadRecord::new(
                line.place(),
                "too_long",
                detail,
                line.bytes,
            )));
        }
        Some(Ok(line))
    }

    /// The range of the next line that is not blank, without white space around it.
    fn advance(&mut self) -> Option<(usize, usize)> {
        let bytes = self.map.as_deref()?;
        while self.at < bytes.len() {
            let rest = &bytes[self.at..];
            let length = rest
                .iter()
                .position(|&byte| byte == b'\n')
                .unwrap_or(rest.len());
            let mut line = &rest[..length];
            let begin = self.at;
            self.at += length + 1;
            self.number += 1;
            let mut from = begin;
            if self.number == 1 && line.starts_with(b"\xef\xbb\xbf") {
                line = &line[3..];
                from += 3;
            }
            let trimmed = line.trim_ascii_end();
            if !trimmed.is_empty() {
                return Some((from, from + trimmed.len()));
            }
        }
        None
    }
}

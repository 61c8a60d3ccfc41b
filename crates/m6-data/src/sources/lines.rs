//! Lines: JSON objects or cells with tabs between, which name pictures or hold them.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use m6_store::mmap::Mmap;
use serde_json::Value;

use super::each::{Each, Element};
use super::pictures::Pictures;
use crate::config::{Fields, Kind, SourceConfig};
use crate::error::Result;
use crate::fields::FieldMap;
use crate::record::{BadRecord, Record, Source};

/// Longest line that is parsed, in bytes.
const MAX_LINE: usize = 64 << 20;

/// Records of lines.
pub(super) struct LineSource {
    name: String,
    fields: FieldMap,
    pictures: Pictures,
    lines: Lines,
    form: Form,
    each: Option<Each>,
    /// Records of the last line that are still to come.
    rest: Rest,
    n_empty: u64,
}

/// How a line becomes a value.
enum Form {
    Object,
    Cells(Columns),
}

/// The names of cells.
struct Columns {
    names: Vec<String>,
    /// The file whose first line gave the names, where none are configured.
    head_of: Option<PathBuf>,
    in_files: bool,
}

#[derive(Default)]
struct Rest {
    elements: VecDeque<Element>,
    file: PathBuf,
    place: String,
    fallback_id: String,
    n_given: usize,
}

impl LineSource {
    /// JSON lines or, for a source with columns, cells.
    pub(super) fn new(config: &SourceConfig, files: Vec<PathBuf>, root: &Path) -> Result<Self> {
        Ok(Self::with(config, files, Pictures::of(config, root)?))
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
        Ok(Self::with(&config, lines, Pictures::stored(tars)?))
    }

    fn with(config: &SourceConfig, files: Vec<PathBuf>, pictures: Pictures) -> Self {
        let names: Vec<String> = config.columns.iter().map(str::to_string).collect();
        Self {
            name: config.name.clone(),
            fields: FieldMap::new(config),
            pictures,
            lines: Lines::new(files),
            form: match config.kind {
                Kind::Tsv => Form::Cells(Columns {
                    in_files: names.is_empty(),
                    names,
                    head_of: None,
                }),
                _ => Form::Object,
            },
            each: Each::new(config.each.as_deref()),
            rest: Rest::default(),
            n_empty: 0,
        }
    }

    /// The next record of the last line.
    fn next_of_line(&mut self) -> Option<Record> {
        let rest = &mut self.rest;
        let value = rest.elements.pop_front()?.into_value();
        rest.n_given += 1;
        let fallback_id = match &self.each {
            Some(_) => format!("{}.{}", rest.fallback_id, rest.n_given),
            None => rest.fallback_id.clone(),
        };
        let mut record = self.fields.record(&value, rest.place.clone(), &fallback_id);
        for image in self.fields.images(&value) {
            record.images.push(self.pictures.find(image, &rest.file));
        }
        Some(record)
    }
}

impl Source for LineSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn next(&mut self) -> Option<std::result::Result<Record, BadRecord>> {
        if let Some(fault) = self.pictures.next_fault() {
            return Some(Err(fault));
        }
        loop {
            if let Some(record) = self.next_of_line() {
                return Some(Ok(record));
            }
            let line = match self.lines.next()? {
                Ok(line) => line,
                Err(bad) => return Some(Err(bad)),
            };
            let place = line.place();
            let value = match &mut self.form {
                Form::Object => parse(line.bytes).map(Some),
                Form::Cells(columns) => columns.value(&line),
            };
            let value = match value {
                Ok(Some(value)) => value,
                Ok(None) => continue,
                Err((reason, detail)) => {
                    return Some(Err(BadRecord::new(place, reason, detail, line.bytes)));
                }
            };
            let elements = match &self.each {
                Some(each) => each.elements(value),
                None => VecDeque::from([Element::alone(value)]),
            };
            self.n_empty += u64::from(elements.is_empty());
            self.rest = Rest {
                elements,
                file: line.file.to_path_buf(),
                place,
                fallback_id: line.fallback_id(),
                n_given: 0,
            };
        }
    }

    fn skipped(&self) -> BTreeMap<String, u64> {
        let counts = [
            ("picture_without_line", self.pictures.n_unused()),
            ("line_without_records", self.n_empty),
        ];
        let counts = counts.into_iter().filter(|(_, n)| *n > 0);
        counts.map(|(rule, n)| (rule.to_string(), n)).collect()
    }
}

impl Columns {
    /// The cells of a line by the names of their columns; `None` for a line that holds the names.
    fn value(
        &mut self,
        line: &Line<'_>,
    ) -> std::result::Result<Option<Value>, (&'static str, String)> {
        let text = std::str::from_utf8(line.bytes).map_err(|error| ("utf8", error.to_string()))?;
        if self.in_files && self.head_of.as_deref() != Some(line.file) {
            self.head_of = Some(line.file.to_path_buf());
            self.names = text
                .split('\t')
                .map(|name| name.trim().to_string())
                .collect();
            return Ok(None);
        }
        let cells: Vec<&str> = text.split('\t').collect();
        if cells.len() != self.names.len() {
            let names = self.names.join(", ");
            let detail = format!(
                "{} cells, expected {} ({names})",
                cells.len(),
                self.names.len()
            );
            return Err(("field", detail));
        }
        let cells = cells.into_iter().map(Value::from);
        Ok(Some(self.names.iter().cloned().zip(cells).collect()))
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

//! One item of an archive after the other.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::arc;
use super::block::{Block, Verdict};
use super::headers::media_type;
use super::http::{self, HttpHead};
use super::record::{Damage, Item, Kind, Limits, Place, Record, Truncation};
use super::source::{Fault, Source};
use super::stream::{Opened, SNIFF, Stream, quoted};
use super::warc::{self, Head};
use super::zstd;
use crate::{Error, Result};

/// Reads an archive from its start or from any place in it.
///
/// Memory is bounded by [`Limits`], whatever the archive claims: one payload, one header, about 5 MB of
/// windows, and the window of a zstd frame (at most 128 MiB). The items depend on the bytes alone.
pub struct Reader {
    stream: Stream,
    limits: Limits,
    path: PathBuf,
    /// A row about the record that was given last.
    pending: Option<Damage>,
    /// Decoded bytes to step over in the first segment.
    within: u64,
    /// Where the record at hand begins.
    begun: Place,
    is_finished: bool,
}

/// What one attempt gave.
enum Step {
    Item(Item),
    Again,
    End,
}

impl Reader {
    /// Reads `path` from its start.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened.
    pub fn open(path: &Path, limits: Limits) -> Result<Self> {
        Self::at(path, Place::default(), limits)
    }

    /// Reads `path` from `place` on, which an earlier reader gave. Anything else is damage up to the next record.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened or its beginning not be read.
    pub fn at(path: &Path, place: impl Into<Place>, limits: Limits) -> Result<Self> {
        let place = place.into();
        let failed = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(failed)?;
        let mut dictionary = Vec::new();
        if place.offset > 0 {
            dictionary = dictionary_of(&file, limits).map_err(failed)?;
            file.seek(SeekFrom::Start(place.offset)).map_err(failed)?;
        }
        let mut reader = Self::build(Box::new(file), place, path.to_owned(), limits);
        reader.stream.set_dictionary(dictionary);
        Ok(reader)
    }

    /// Reads an archive that is not a file.
    pub fn from_read(input: impl Read + Send + 'static, limits: Limits) -> Self {
        let path = PathBuf::from("stream");
        Self::build(Box::new(input), Place::default(), path, limits)
    }

    fn build(input: Box<dyn Read + Send>, place: Place, path: PathBuf, limits: Limits) -> Self {
        Self {
            stream: Stream::new(Source::new(input, place.offset), limits),
            limits,
            path,
            pending: None,
            within: place.within,
            begun: place,
            is_finished: false,
        }
    }

    /// Where the item after the last one begins: with [`Reader::at`] the reading goes on there.
    ///
    /// A row about the last record that is still to come is not given again.
    pub fn place(&self) -> Place {
        self.stream.place()
    }

    fn step(&mut self) -> io::Result<Option<Item>> {
        loop {
            let reason = match self.attempt() {
                Ok(Step::Item(item)) => return Ok(Some(item)),
                Ok(Step::Again) => continue,
                Ok(Step::End) => return Ok(None),
                Err(Fault::Io(error)) => return Err(error),
                Err(Fault::Corrupt(reason)) => reason,
                Err(Fault::Cut) => "the file ends inside a record".to_string(),
            };
            let offset = self.begun.offset;
            self.stream.resync()?;
            return Ok(Some(Item::Damage(Damage { offset, reason })));
        }
    }

    fn attempt(&mut self) -> std::result::Result<Step, Fault> {
        if self.stream.codec().is_none() {
            let opened = self.stream.open();
            self.begun = Place::from(self.stream.start());
            let offset = self.begun.offset;
            match opened? {
                Opened::Segment => {}
                Opened::End => return Ok(Step::End),
                Opened::Unknown(reason) => return Err(Fault::Corrupt(reason)),
                Opened::Refused(reason) => {
                    self.is_finished = true;
                    return Ok(Step::Item(Item::Damage(Damage { offset, reason })));
                }
            }
            let within = std::mem::take(&mut self.within);
            self.stream.skip(within)?;
        }
        if self.stream.skip_blank()? {
            self.stream.close();
            return Ok(Step::Again);
        }
        self.begun = self.stream.place();
        self.stream.mark_record();
        match self.head()? {
            Ok(head) => self.record(head).map(Step::Item),
            Err(reason) => {
                // At least one byte on, so that the same header is not met again.
                self.stream.consume(1);
                self.stream.scan(false)?;
                let offset = self.begun.offset;
                Ok(Step::Item(Item::Damage(Damage { offset, reason })))
            }
        }
    }

    /// Reads the header of a record; the inner error says why the record cannot be read.
    fn head(&mut self) -> std::result::Result<std::result::Result<Head, String>, Fault> {
        let bytes = self.stream.look(SNIFF)?;
        if warc::starts(bytes) {
            let limit = self.limits.header;
            let Some(n) = self.stream.head(limit)? else {
                let has_limit = self.stream.peek(limit)?.len() >= limit;
                return Ok(Err(match has_limit {
                    true => format!("the record header does not end within {limit} bytes"),
                    false => "the record header does not end".to_string(),
                }));
            };
            let head = warc::parse(self.stream.peek(n)?.get(..n).unwrap_or_default());
            if head.is_ok() {
                self.stream.consume(n);
            }
            return Ok(head);
        }
        if arc::starts(bytes) {
            let (line, n) = arc::line(self.stream.look(arc::LINE_LIMIT)?);
            let head = arc::parse(line);
            if head.is_ok() {
                self.stream.consume(n);
            }
            return Ok(head);
        }
        Ok(Err(format!("no record begins here, but {}", quoted(bytes))))
    }

    /// Reads what follows a header.
    fn record(&mut self, head: Head) -> std::result::Result<Item, Fault> {
        let (http, n_http) = match self.http_head(&head)? {
            Some((http, n)) => (Some(http), n as u64),
            None => (None, 0),
        };
        let length = head.length - n_http.min(head.length);
        let mut block = Block::read(&mut self.stream, length, self.limits.payload)?;
        let verdict = block.settle(&mut self.stream, self.begun)?;
        let mut truncated = match (block.is_over_limit(), head.declared_cut) {
            (true, _) => Some(Truncation::PayloadLimit),
            (false, true) => Some(Truncation::Declared),
            (false, false) => None,
        };
        match verdict {
            Verdict::Sound => {}
            Verdict::Flagged(why, damage) => {
                truncated = Some(why);
                self.pending = Some(damage);
            }
            Verdict::Lost(damage) => return Ok(Item::Damage(damage)),
        }
        Ok(Item::Record(Box::new(Record {
            place: self.begun,
            mime: mime(&head, http.as_ref()),
            kind: head.kind,
            url: head.url,
            date: head.date,
            headers: head.headers,
            http,
            payload: block.payload,
            length: head.length,
            truncated,
        })))
    }

    /// Reads the HTTP head at the start of a block, if there is one, and its length in bytes.
    fn http_head(&mut self, head: &Head) -> std::result::Result<Option<(HttpHead, usize)>, Fault> {
        let is_http = |head: &Head| {
            let mime = head.content_type.as_deref().and_then(media_type);
            mime.is_some_and(|mime| mime == "application/http")
        };
        let has_head = head.length > 0
            && match head.kind {
                Kind::Response | Kind::Revisit => http::starts(self.stream.look(SNIFF)?),
                Kind::Request => is_http(head),
                _ => false,
            };
        if !has_head {
            return Ok(None);
        }
        let length = usize::try_from(head.length).unwrap_or(usize::MAX);
        let Some(n) = self.stream.head(self.limits.header.min(length))? else {
            return Ok(None);
        };
        let parsed = HttpHead::parse(self.stream.peek(n)?.get(..n).unwrap_or_default());
        self.stream.consume(n);
        Ok(Some((parsed, n)))
    }
}

impl Iterator for Reader {
    /// Errors are those of the file system alone; after one there is nothing more.
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(damage) = self.pending.take() {
            return Some(Ok(Item::Damage(damage)));
        }
        if self.is_finished {
            return None;
        }
        match self.step() {
            Ok(Some(item)) => Some(Ok(item)),
            Ok(None) => {
                self.is_finished = true;
                None
            }
            Err(source) => {
                self.is_finished = true;
                let path = self.path.clone();
                Some(Err(Error::Io { path, source }))
            }
        }
    }
}

/// The media type of a payload.
fn mime(head: &Head, http: Option<&HttpHead>) -> Option<String> {
    let identified = || head.headers.get("WARC-Identified-Payload-Type");
    match http {
        Some(http) if head.kind != Kind::Request => http
            .headers
            .get("Content-Type")
            .and_then(media_type)
            .or_else(|| identified().and_then(media_type)),
        _ => head.content_type.as_deref().and_then(media_type),
    }
}

/// The dictionary at the head of a zstd file; empty where there is none or it cannot be read.
fn dictionary_of(file: &File, limits: Limits) -> io::Result<Vec<u8>> {
    let mut source = Source::new(Box::new(file.try_clone()?), 0);
    if !matches!(zstd::skippable(source.look(SNIFF)?), Some((_, true))) {
        return Ok(Vec::new());
    }
    match zstd::read_dictionary(&mut source, limits.dictionary) {
        Ok(dictionary) => Ok(dictionary),
        // The frames will say that they need one.
        Err(Fault::Corrupt(_) | Fault::Cut) => Ok(Vec::new()),
        Err(Fault::Io(error)) => Err(error),
    }
}

//! What a reader gives: records, and rows for what could not be read.

use super::body::{self, Body, BodyError};
use super::headers::Headers;
use super::http::HttpHead;

/// How much of an archive may be held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of one payload that are kept; the rest is skipped and the record flagged. 50 MB by default (ours).
    pub payload: usize,
    /// Most bytes of one record header or HTTP head; 256 KiB by default (ours).
    pub header: usize,
    /// Most bytes of a zstd dictionary at the head of a file; 16 MiB by default (ours).
    pub dictionary: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            payload: 50_000_000,
            header: 256 << 10,
            dictionary: 16 << 20,
        }
    }
}

/// Where a record begins: enough to start reading there again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Byte of the file: of the record itself when raw, else of the gzip member or zstd frame it begins in.
    pub offset: u64,
    /// Decoded bytes before it in that member or frame; 0 when raw, and where each record has its own.
    pub within: u64,
}

impl From<u64> for Place {
    fn from(offset: u64) -> Self {
        Self { offset, within: 0 }
    }
}

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// About the file.
    Warcinfo,
    /// What a server sent.
    Response,
    /// A thing kept without the protocol that brought it.
    Resource,
    /// What was asked of a server.
    Request,
    /// About another record; the records of a WAT file.
    Metadata,
    /// The same as an earlier record.
    Revisit,
    /// Made from another record; the records of a WET file.
    Conversion,
    /// More of an earlier record.
    Continuation,
    /// The first record of an ARC file, about the file.
    ArcHeader,
    /// A type outside the standard, as it is written; empty where there is none.
    Other(String),
}

impl Kind {
    /// The name in `WARC-Type`.
    pub fn name(&self) -> &str {
        match self {
            Kind::Warcinfo => "warcinfo",
            Kind::Response => "response",
            Kind::Resource => "resource",
            Kind::Request => "request",
            Kind::Metadata => "metadata",
            Kind::Revisit => "revisit",
            Kind::Conversion => "conversion",
            Kind::Continuation => "continuation",
            Kind::ArcHeader => "arc_header",
            Kind::Other(name) => name,
        }
    }

    /// The kind with this name, in any case of letters.
    pub(super) fn of(name: &str) -> Self {
        let known = [
            Kind::Response,
            Kind::Request,
            Kind::Metadata,
            Kind::Conversion,
            Kind::Warcinfo,
            Kind::Resource,
            Kind::Revisit,
            Kind::Continuation,
        ];
        let found = known
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| Kind::Other(name.to_string()))
    }
}

/// Why a payload is not the whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// It is longer than [`Limits::payload`].
    PayloadLimit,
    /// The file ends inside it.
    EndOfInput,
    /// The record does not have the length it says.
    Length,
    /// The crawler cut it and said so (`WARC-Truncated`).
    Declared,
}

impl Truncation {
    /// One word, as it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Truncation::PayloadLimit => "payload_limit",
            Truncation::EndOfInput => "end_of_input",
            Truncation::Length => "length",
            Truncation::Declared => "declared",
        }
    }
}

/// One record of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
    /// What was crawled.
    pub url: Option<String>,
    /// When, as `YYYY-MM-DDThh:mm:ssZ` where the archive says it so or in 14 digits.
    pub date: Option<String>,
    /// Media type of the payload, in small letters, without parameters: of the HTTP head where there is one.
    pub mime: Option<String>,
    /// Named fields of the record; empty in ARC.
    pub headers: Headers,
    /// The HTTP head, where the record has one.
    pub http: Option<HttpHead>,
    /// What follows the heads, as stored: [`Record::body`] undoes its encodings.
    pub payload: Vec<u8>,
    /// Bytes of the block (HTTP head and payload) as the archive says.
    pub length: u64,
    /// Why the payload is not whole, if it is not.
    pub truncated: Option<Truncation>,
}

impl Record {
    /// The payload without its transfer and content encodings, at most `max` bytes of it.
    ///
    /// Servers and crawlers lie: a payload that is not encoded as its head says is given as it is.
    ///
    /// # Errors
    /// [`BodyError`] for an encoding that is not read.
    pub fn body(&self, max: usize) -> Result<Body<'_>, BodyError> {
        body::decode(self.http.as_ref(), &self.payload, max)
    }
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Byte of the file, as in [`Place::offset`].
    pub offset: u64,
    /// What was expected and what was found.
    pub reason: String,
}

/// What lies in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A record.
    Record(Box<Record>),
    /// A broken place; the next item is what was found after it.
    Damage(Damage),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_in_any_case_and_others_kept() {
        for (name, expected) in [
            ("response", Kind::Response),
            ("Conversion", Kind::Conversion),
            ("WARCINFO", Kind::Warcinfo),
            ("screenshot", Kind::Other("screenshot".into())),
            ("", Kind::Other(String::new())),
        ] {
            assert_eq!(Kind::of(name), expected);
            assert!(expected.name().eq_ignore_ascii_case(name));
        }
    }
}

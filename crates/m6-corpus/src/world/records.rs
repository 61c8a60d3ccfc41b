//! Pages and pictures as records of a web archive, whole and damaged.

use std::io::Write;

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use m6_store::rng::Stream;

use super::plan::PageKind;
use m6_clean::archive::{Compression, Kind, NewRecord, Writer};

/// Media type of a record of what a server sent.
const HTTP: &str = "application/http; msgtype=response";
/// Deflate level of members that are made here to be damaged.
const LEVEL: u32 = 6;

/// What a server answered.
pub(super) struct Answer<'a> {
    pub(super) url: &'a str,
    pub(super) date: &'a str,
    /// `200 OK`
    pub(super) status: &'a str,
    /// Value of `Content-Type`.
    pub(super) mime: &'a str,
    /// Where to go instead.
    pub(super) location: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl Answer<'_> {
    fn block(&self) -> Vec<u8> {
        let location = self
            .location
            .map(|to| format!("Location: {to}\r\n"))
            .unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {}\r\nServer: nginx\r\nContent-Type: {}\r\n{location}Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.status,
            self.mime,
            self.body.len()
        );
        [head.as_bytes(), self.body].concat()
    }

    /// The record as one gzip member, or uncompressed.
    fn write(&self, compression: Compression) -> std::io::Result<Vec<u8>> {
        let block = self.block();
        let record = NewRecord {
            kind: Kind::Response,
            url: Some(self.url),
            date: self.date,
            content_type: HTTP,
            fields: &[],
            block: &block,
        };
        let mut writer = Writer::new(Vec::new(), compression);
        writer.write(&record)?;
        writer.finish()
    }

    /// The record as one whole gzip member.
    pub(super) fn member(&self) -> std::io::Result<Vec<u8>> {
        self.write(Compression::Gzip)
    }

    /// The record as one gzip member with the damage of its kind.
    pub(super) fn damaged(&self, kind: PageKind, stream: &mut Stream) -> std::io::Result<Vec<u8>> {
        let member = self.member()?;
        match kind {
            PageKind::BrokenMember => Ok(broken(member, stream)),
            PageKind::CutMember => {
                // The head of the member stays whole: what is left looks like a record until it ends.
                let kept = (member.len() * 2 / 3).max(64).min(member.len());
                Ok(member.get(..kept).unwrap_or_default().to_vec())
            }
            PageKind::CutRecord => {
                let raw = self.write(Compression::None)?;
                gzip(raw.get(..raw.len() * 2 / 3).unwrap_or_default())
            }
            PageKind::WrongLength => {
                let raw = self.write(Compression::None)?;
                let length = self.block().len();
                let (said, lie) = (
                    format!("Content-Length: {length}\r\n\r\n"),
                    length.saturating_sub(60),
                );
                let at = raw
                    .windows(said.len())
                    .position(|window| window == said.as_bytes())
                    .unwrap_or(raw.len());
                let (before, after) = raw.split_at(at);
                let rest = after.get(said.len()..).unwrap_or_default();
                gzip(
                    &[
                        before,
                        format!("Content-Length: {lie}\r\n\r\n").as_bytes(),
                        rest,
                    ]
                    .concat(),
                )
            }
            _ => Ok(member),
        }
    }
}

/// Wrong bytes in the middle third.
fn broken(mut member: Vec<u8>, stream: &mut Stream) -> Vec<u8> {
    const N_WRONG: u64 = 24;
    let (begin, width) = (member.len() / 3, (member.len() / 3) as u64);
    for _ in 0..N_WRONG {
        let at = begin + stream.below(width) as usize;
        if let Some(byte) = member.get_mut(at) {
            *byte = 0x80 + stream.below(0x60) as u8;
        }
    }
    member
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut member = GzEncoder::new(Vec::new(), Level::new(LEVEL));
    member.write_all(bytes)?;
    member.finish()
}

/// The first record of a file, as one gzip member.
pub(super) fn warcinfo(name: &str, date: &str) -> std::io::Result<Vec<u8>> {
    let block = format!(
        "software: m6\r\nformat: WARC File Format 1.1\r\ndescription: synthetic sample world, {name}\r\n"
    );
    let record = NewRecord {
        kind: Kind::Warcinfo,
        url: None,
        date,
        content_type: "application/warc-fields",
        fields: &[("WARC-Filename", name)],
        block: block.as_bytes(),
    };
    let mut writer = Writer::new(Vec::new(), Compression::Gzip);
    writer.write(&record)?;
    writer.finish()
}

//! Writes WARC 1.1, one gzip member a record.

use std::io::{self, Write};

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use m6_store::hash::hash_bytes;

use super::record::Kind;

/// Deflate level: what crawlers use.
const LEVEL: u32 = 6;

/// How records are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Raw text.
    None,
    /// One gzip member each, so that a reader can begin at any record.
    Gzip,
}

/// A record to write.
#[derive(Clone, Debug)]
pub struct NewRecord<'a> {
    /// What it is.
    pub kind: Kind,
    /// What was crawled.
    pub url: Option<&'a str>,
    /// When, as `YYYY-MM-DDThh:mm:ssZ`.
    pub date: &'a str,
    /// Media type of the block: `application/http; msgtype=response` for what a server sent.
    pub content_type: &'a str,
    /// More named fields.
    pub fields: &'a [(&'a str, &'a str)],
    /// The HTTP head and payload, or the payload alone.
    pub block: &'a [u8],
}

/// Writes records one behind the other; the same records give the same bytes.
pub struct Writer<W: Write> {
    out: W,
    compression: Compression,
    offset: u64,
}

impl<W: Write> Writer<W> {
    /// A writer that begins at the start of a file.
    pub fn new(out: W, compression: Compression) -> Self {
        Self {
            out,
            compression,
            offset: 0,
        }
    }

    /// Writes a record; gives the offset at which it begins.
    ///
    /// Its identifier is made from its content and place: there is no chance in it. Line breaks in fields become blanks.
    ///
    /// # Errors
    /// Those of the writer below.
    pub fn write(&mut self, record: &NewRecord<'_>) -> io::Result<u64> {
        let header = self.header(record);
        let parts = [header.as_bytes(), record.block, b"\r\n\r\n"];
        let begins = self.offset;
        match self.compression {
            Compression::None => {
                for part in parts {
                    self.out.write_all(part)?;
                    self.offset += part.len() as u64;
                }
            }
            Compression::Gzip => {
                let mut member = GzEncoder::new(Vec::new(), Level::new(LEVEL));
                for part in parts {
                    member.write_all(part)?;
                }
                let member = member.finish()?;
                self.out.write_all(&member)?;
                self.offset += member.len() as u64;
            }
        }
        Ok(begins)
    }

    /// The writer below, after the last record.
    ///
    /// # Errors
    /// Those of flushing it.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }

    fn header(&self, record: &NewRecord<'_>) -> String {
        let mut header = String::from("WARC/1.1\r\n");
        let mut field = |name: &str, value: &str| {
            let value = value.replace(['\r', '\n'], " ");
            header.push_str(&format!("{name}: {value}\r\n"));
        };
        field("WARC-Type", record.kind.name());
        field("WARC-Record-ID", &self.id(record));
        if let Some(url) = record.url {
            field("WARC-Target-URI", url);
        }
        field("WARC-Date", record.date);
        for (name, value) in record.fields {
            field(name, value);
        }
        field("Content-Type", record.content_type);
        field("Content-Length", &record.block.len().to_string());
        header.push_str("\r\n");
        header
    }

    /// A UUID of version 8 (RFC 9562: its bits are ours) from what the record is and where.
    fn id(&self, record: &NewRecord<'_>) -> String {
        let key = [
            record.kind.name(),
            record.url.unwrap_or_default(),
            record.date,
            &self.offset.to_string(),
            &hash_bytes(record.block),
        ];
        let hash = hash_bytes(key.join("\n").as_bytes());
        let part = |range: std::ops::Range<usize>| hash.get(range).unwrap_or_default();
        format!(
            "<urn:uuid:{}-{}-8{}-8{}-{}>",
            part(0..8),
            part(8..12),
            part(12..15),
            part(15..18),
            part(18..30)
        )
    }
}

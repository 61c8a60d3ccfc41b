//! Where segments begin and end: opening one, joining two, and going on after damage.

use super::super::gzip;
use super::super::search::{Want, find, raw_start};
use super::super::source::Fault;
use super::super::zstd::{self, Zstd};
use super::{Codec, SNIFF, Stream};

/// Archives and packings that are known and not read.
const FOREIGN: [(&[u8], &str); 5] = [
    (b"\x04\x22\x4d\x18", "an LZ4 frame"),
    (b"BZh", "a bzip2 stream"),
    (b"\xfd7zXZ\0", "an xz stream"),
    (b"PK\x03\x04", "a ZIP (a WACZ holds WARC files: unpack it)"),
    (b"%PDF-", "a PDF"),
];

/// What lies at a segment boundary.
#[derive(Debug)]
pub(in crate::archive) enum Opened {
    /// A segment, now open.
    Segment,
    /// The end of the file.
    End,
    /// Nothing that begins a segment.
    Unknown(String),
    /// A file of another kind altogether.
    Refused(String),
}

impl Stream {
    /// Opens the segment at the reading position.
    pub(in crate::archive) fn open(&mut self) -> Result<Opened, Fault> {
        loop {
            self.skip_padding()?;
            self.source.mark();
            self.start = self.source.offset();
            let bytes = self.source.look(SNIFF)?;
            if bytes.is_empty() {
                return Ok(Opened::End);
            }
            if bytes.starts_with(&gzip::MAGIC) {
                self.begin(Codec::Gzip);
                self.gzip.begin(&mut self.source)?;
                return Ok(Opened::Segment);
            }
            if bytes.starts_with(&zstd::MAGIC) {
                self.begin(Codec::Zstd);
                self.begin_frame()?;
                return Ok(Opened::Segment);
            }
            if raw_start(bytes) {
                self.begin(Codec::Raw);
                return Ok(Opened::Segment);
            }
            match zstd::skippable(bytes) {
                Some((_, true)) => {
                    self.begin(Codec::Zstd);
                    let max = self.limits.dictionary;
                    let dictionary = zstd::read_dictionary(&mut self.source, max)?;
                    self.set_dictionary(dictionary);
                    self.close();
                }
                Some((length, false)) => self.skip_frame(length)?,
                None => return Ok(self.not_a_segment()),
            }
        }
    }

    fn not_a_segment(&mut self) -> Opened {
        let bytes = self.source.fill(0).unwrap_or_default();
        let foreign = FOREIGN.iter().find(|(magic, _)| bytes.starts_with(magic));
        match foreign {
            Some((_, name)) if self.start == 0 => {
                Opened::Refused(format!("this is {name}, not a WARC or ARC file"))
            }
            _ => Opened::Unknown(format!("no record begins here, but {}", quoted(bytes))),
        }
    }

    fn begin(&mut self, codec: Codec) {
        self.close();
        self.codec = Some(codec);
        self.last = Some(codec);
        self.taken = 0;
    }

    fn begin_frame(&mut self) -> Result<(), Fault> {
        let mut decoder = match self.zstd.take() {
            Some(decoder) => decoder,
            None => Zstd::new(&self.dictionary)?,
        };
        decoder.begin()?;
        self.zstd = Some(decoder);
        Ok(())
    }

    /// Line ends and NULs may lie between segments; tapes and block devices pad with them.
    fn skip_padding(&mut self) -> Result<(), Fault> {
        loop {
            let bytes = self.source.fill(1)?;
            let n = bytes
                .iter()
                .take_while(|byte| b"\r\n\0".contains(byte))
                .count();
            let is_all = n == bytes.len();
            self.source.consume(n);
            if n == 0 || !is_all {
                return Ok(());
            }
        }
    }

    fn skip_frame(&mut self, length: u64) -> Result<(), Fault> {
        let mut left = length.saturating_add(8);
        while left > 0 {
            let bytes = self.source.fill(1)?;
            if bytes.is_empty() {
                return Err(Fault::Cut);
            }
            let n = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.source.consume(n);
            left -= n as u64;
        }
        Ok(())
    }

    /// Whether the record goes on in the next segment: its member ended too early, and the next begins no record.
    ///
    /// The next segment is open afterwards, whatever it holds.
    pub(in crate::archive) fn join(&mut self) -> Result<bool, Fault> {
        let Some(codec @ (Codec::Gzip | Codec::Zstd)) = self.codec else {
            return Ok(false);
        };
        let bytes = self.source.look(zstd::MAGIC.len())?;
        let goes_on = match codec {
            Codec::Gzip => bytes.starts_with(&gzip::MAGIC),
            _ => bytes.starts_with(&zstd::MAGIC),
        };
        if !goes_on {
            return Ok(false);
        }
        self.open()?;
        Ok(!self.at_record()?)
    }

    /// Leaves a segment that cannot be read and goes to the next place where one begins; false when there is none.
    pub(in crate::archive) fn resync(&mut self) -> std::io::Result<bool> {
        let want = match self.codec.or(self.last) {
            Some(Codec::Gzip) => Want::GZIP,
            Some(Codec::Zstd) => Want::ZSTD,
            Some(Codec::Raw) | None => Want::ANY,
        };
        self.close();
        self.source.back_to(self.start + 1);
        find(&mut self.source, want, &self.dictionary)
    }
}

/// The first bytes of something unknown, for a message.
pub(in crate::archive) fn quoted(bytes: &[u8]) -> String {
    let head = bytes.get(..bytes.len().min(16)).unwrap_or_default();
    format!("\"{}\"", head.escape_ascii())
}

//! The next place at which a record can begin, after damage.

use std::io;

use memchr::memchr3;

use super::arc;
use super::gzip::{self, Gzip};
use super::source::Source;
use super::warc;
use super::zstd::{self, Zstd};

/// Bytes of a member given to a decoder to see whether a record comes out.
const GZIP_PROBE: usize = 8 << 10;

/// The same for a frame: a frame is decoded in blocks of at most 128 KiB.
const ZSTD_PROBE: usize = 160 << 10;

/// Bytes of a line looked at.
const RAW_PROBE: usize = 4 << 10;

/// Room for what a probe decodes.
const PROBE_ROOM: usize = 4 << 10;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    raw: bool,
    gzip: bool,
    zstd: bool,
}

impl Want {
    /// Gzip members alone: in a file of members a line of text means nothing.
    pub(super) const GZIP: Self = Self {
        raw: false,
        gzip: true,
        zstd: false,
    };
    /// Zstd frames alone.
    pub(super) const ZSTD: Self = Self {
        raw: false,
        gzip: false,
        zstd: true,
    };
    /// Whatever begins a record.
    pub(super) const ANY: Self = Self {
        raw: true,
        gzip: true,
        zstd: true,
    };
}

/// Whether decoded bytes begin with a record, line ends before it aside.
pub(super) fn raw_start(bytes: &[u8]) -> bool {
    let n = bytes
        .iter()
        .take_while(|byte| b"\r\n".contains(byte))
        .count();
    let bytes = bytes.get(n..).unwrap_or_default();
    warc::starts(bytes) || arc::starts(bytes)
}

/// Decoders for trying, made when first needed.
struct Probe<'a> {
    want: Want,
    dictionary: &'a [u8],
    gzip: Option<Gzip>,
    zstd: Option<Zstd>,
    out: Vec<u8>,
}

/// Moves `source` to the next place where a record begins; false at the end of the file.
///
/// A magic number counts only if a record header comes out of what follows it.
pub(super) fn find(source: &mut Source, want: Want, dictionary: &[u8]) -> io::Result<bool> {
    let mut probe = Probe {
        want,
        dictionary,
        gzip: None,
        zstd: None,
        out: Vec::with_capacity(PROBE_ROOM),
    };
    loop {
        if probe.holds(source)? {
            return Ok(true);
        }
        let bytes = source.fill(2)?;
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(false);
        };
        let n = match memchr3(gzip::MAGIC[0], zstd::MAGIC[0], b'\n', rest) {
            _ if first == b'\n' => 1,
            Some(i) if rest.get(i) == Some(&b'\n') => i + 2,
            Some(i) => i + 1,
            None => bytes.len(),
        };
        source.consume(n);
    }
}

impl Probe<'_> {
    /// Whether a record begins at the reading position.
    fn holds(&mut self, source: &mut Source) -> io::Result<bool> {
        let at_line_start = source.previous().is_none_or(|byte| byte == b'\n');
        let bytes = source.look(zstd::MAGIC.len())?;
        if self.want.gzip && bytes.starts_with(&gzip::MAGIC) {
            let decoder = self.gzip.get_or_insert_with(Gzip::new);
            self.out.clear();
            decoder.probe(source.look(GZIP_PROBE)?, &mut self.out);
            return Ok(raw_start(&self.out));
        }
        if self.want.zstd && bytes.starts_with(&zstd::MAGIC) {
            if self.zstd.is_none() {
                self.zstd = Zstd::new(self.dictionary).ok();
            }
            self.out.clear();
            let bytes = source.look(ZSTD_PROBE)?;
            if let Some(decoder) = &mut self.zstd {
                decoder.probe(bytes, &mut self.out);
            }
            return Ok(raw_start(&self.out));
        }
        let is_letter = bytes.first().is_some_and(u8::is_ascii_alphabetic);
        Ok(self.want.raw && at_line_start && is_letter && raw_start(source.look(RAW_PROBE)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn member(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn check(bytes: &[u8], want: Want, expected: Option<u64>) {
        let mut source = Source::new(Box::new(io::Cursor::new(bytes.to_vec())), 0);
        let found = find(&mut source, want, &[]).unwrap();
        assert_eq!(found.then(|| source.offset()), expected);
    }

    #[test]
    fn the_next_start_is_one_from_which_a_record_comes_out() {
        let record = "WARC/1.0\r\nContent-Length: 0\r\n\r\n";
        let page = member("<html>");
        let good = member(record);
        let mut gzip = [b"\x1f\x8b\x08junk".to_vec(), page].concat();
        let expected = gzip.len() as u64;
        gzip.extend_from_slice(&good);
        check(&gzip, Want::GZIP, Some(expected));
        check(&gzip, Want::ZSTD, None);
        let zstd = zstd_crate(record);
        check(&[b"xx\n".to_vec(), zstd].concat(), Want::ANY, Some(3));
        check(b"a\nWARC/ no\nWARC/1.0\r\n", Want::ANY, Some(11));
        check(b"see WARC/1.0", Want::ANY, None);
        check(b"", Want::ANY, None);
        check(b"x\n\x1f\x8b", Want::ANY, None);
        let line = "z\nhttp://a/ 1.2.3.4 20140216050221 text/html 7\n";
        check(line.as_bytes(), Want::ANY, Some(2));
        check(line.as_bytes(), Want::GZIP, None);
    }

    fn zstd_crate(text: &str) -> Vec<u8> {
        ::zstd::stream::encode_all(text.as_bytes(), 3).unwrap()
    }
}

//! The body of an HTTP message without its transfer and content encodings, under an output limit.

use std::borrow::Cow;
use std::io::{BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::http::HttpHead;

/// Most content encodings on top of each other.
const MAX_ENCODINGS: usize = 4;

/// Largest zstd window that a server may use, as a power of two (RFC 9659: 8 MiB).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Buffer of the brotli decoder, in bytes.
const BROTLI_BUFFER: usize = 16 << 10;

/// A body without its encodings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body<'a> {
    /// The bytes; a copy only where there was something to decode.
    pub bytes: Cow<'a, [u8]>,
    /// Why they are not the whole body, if they are not: cut data, or the output limit.
    pub problem: Option<String>,
}

/// An encoding that is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// A content encoding without a decoder here.
    #[error("content encoding `{0}` is not read")]
    Unknown(String),
    /// More encodings than anyone means.
    #[error("{0} content encodings on top of each other, {MAX_ENCODINGS} are read")]
    TooMany(usize),
    /// The bytes are not what their encoding says, and not plain either.
    #[error("the body is not {0}: {1}")]
    Invalid(&'static str, String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Brotli => "br",
            Encoding::Zstd => "zstd",
        }
    }
}

/// Undoes the encodings that `head` names; at most `max` bytes of the body.
pub(super) fn decode<'a>(
    head: Option<&HttpHead>,
    payload: &'a [u8],
    max: usize,
) -> Result<Body<'a>, BodyError> {
    let mut body = Body {
        bytes: Cow::Borrowed(payload),
        problem: None,
    };
    if let Some(head) = head {
        let transfer = head.headers.get("Transfer-Encoding").unwrap_or_default();
        if transfer.to_ascii_lowercase().contains("chunked") {
            body = dechunk(payload);
        }
        let encodings = encodings(head.headers.get("Content-Encoding").unwrap_or_default())?;
        for encoding in encodings.into_iter().rev() {
            body = undo(encoding, body, max)?;
        }
    }
    if body.bytes.len() > max {
        body.problem = Some(format!("the body is longer than {max} bytes"));
        match &mut body.bytes {
            Cow::Borrowed(bytes) => *bytes = bytes.get(..max).unwrap_or_default(),
            Cow::Owned(bytes) => bytes.truncate(max),
        }
    }
    Ok(body)
}

/// The encodings of a `Content-Encoding` value, in the order in which they were applied.
fn encodings(value: &str) -> Result<Vec<Encoding>, BodyError> {
    let mut out = Vec::new();
    for name in value.split(',').map(str::trim) {
        match name.to_ascii_lowercase().as_str() {
            // `utf-8` and `none` are what servers write when they mean nothing.
            "" | "identity" | "none" | "utf-8" | "utf8" | "binary" | "8bit" => {}
            "gzip" | "x-gzip" => out.push(Encoding::Gzip),
            "deflate" => out.push(Encoding::Deflate),
            "br" => out.push(Encoding::Brotli),
            "zstd" => out.push(Encoding::Zstd),
            _ => return Err(BodyError::Unknown(super::warc::short(name))),
        }
    }
    match out.len() {
        n if n > MAX_ENCODINGS => Err(BodyError::TooMany(n)),
        _ => Ok(out),
    }
}

/// Joins chunks. A body that does not begin with a chunk is not chunked: many archives keep it joined.
fn dechunk(payload: &[u8]) -> Body<'_> {
    let mut out = Vec::new();
    let mut rest = payload;
    let mut problem = None;
    loop {
        let Some((size, after)) = chunk_size(rest) else {
            if out.is_empty() {
                return Body {
                    bytes: Cow::Borrowed(payload),
                    problem: None,
                };
            }
            problem = Some("a chunk without its size".to_string());
            break;
        };
        if size == 0 {
            break;
        }
        let Some((chunk, tail)) = after.split_at_checked(size) else {
            out.extend_from_slice(after);
            problem = Some(format!(
                "a chunk of {size} bytes ends after {}",
                after.len()
            ));
            break;
        };
        out.extend_from_slice(chunk);
        let tail = tail.strip_prefix(b"\r").unwrap_or(tail);
        rest = tail.strip_prefix(b"\n").unwrap_or(tail);
        if rest.is_empty() {
            problem = Some("the last chunk is missing".to_string());
            break;
        }
    }
    Body {
        bytes: Cow::Owned(out),
        problem,
    }
}

/// The size at the start of a chunk, and what follows its line.
fn chunk_size(bytes: &[u8]) -> Option<(usize, &[u8])> {
    /// Digits of a size, its extension and the line end.
    const LINE_LIMIT: usize = 1024;
    let line_end = memchr::memchr(b'\n', bytes.get(..LINE_LIMIT).unwrap_or(bytes))?;
    let (line, rest) = bytes.split_at(line_end);
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii();
    let digits = std::str::from_utf8(digits).ok()?;
    let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = is_hex.then(|| usize::from_str_radix(digits, 16).ok())??;
    Some((size, rest.get(1..)?))
}

/// Undoes one encoding of `body`.
fn undo(encoding: Encoding, body: Body<'_>, max: usize) -> Result<Body<'_>, BodyError> {
    let bytes: &[u8] = &body.bytes;
    // An empty body is what HEAD and 304 have, whatever they say. The magic numbers tell lies apart.
    let is_plain = match encoding {
        Encoding::Gzip => !bytes.starts_with(&[0x1f, 0x8b]),
        Encoding::Zstd => !bytes.starts_with(&super::zstd::MAGIC),
        Encoding::Deflate | Encoding::Brotli => bytes.is_empty(),
    };
    if is_plain {
        return Ok(body);
    }
    let (out, failed) = match encoding {
        Encoding::Gzip => gunzip(bytes, max),
        Encoding::Deflate => inflate(bytes, max),
        Encoding::Zstd => match zstd_reader(bytes) {
            Ok(reader) => read_up_to(reader, max),
            Err(error) => (Vec::new(), Some(error.to_string())),
        },
        Encoding::Brotli => unbrotli(bytes, max),
    };
    match failed {
        Some(_) if looks_plain(bytes) => Ok(body),
        Some(reason) if out.is_empty() => Err(BodyError::Invalid(encoding.name(), reason)),
        failed => Ok(Body {
            bytes: Cow::Owned(out),
            problem: failed
                .map(|reason| format!("{}: {reason}", encoding.name()))
                .or(body.problem),
        }),
    }
}

/// Whether the bytes begin as a page or JSON does: then a decoder that failed was not asked for.
fn looks_plain(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    matches!(text.trim_ascii_start().first(), Some(b'<' | b'{'))
}

/// Up to one byte more than `max`, and why the reading stopped if it was not the end.
fn read_up_to(reader: impl Read, max: usize) -> (Vec<u8>, Option<String>) {
    let mut out = Vec::new();
    let limit = (max as u64).saturating_add(1);
    let failed = reader.take(limit).read_to_end(&mut out).err();
    (out, failed.map(|error| error.to_string()))
}

/// All members of a gzip body; what follows the last one is left.
fn gunzip(bytes: &[u8], max: usize) -> (Vec<u8>, Option<String>) {
    let mut rest = bytes;
    let mut out: Vec<u8> = Vec::new();
    while rest.starts_with(&[0x1f, 0x8b]) && out.len() <= max {
        let mut decoder = flate2::bufread::GzDecoder::new(rest);
        let (piece, failed) = read_up_to(&mut decoder, max - out.len());
        match out.is_empty() {
            true => out = piece,
            false => out.extend_from_slice(&piece),
        }
        if failed.is_some() {
            return (out, failed);
        }
        rest = decoder.into_inner();
    }
    (out, None)
}

/// `deflate` is zlib by the standard and raw deflate at some servers.
fn inflate(bytes: &[u8], max: usize) -> (Vec<u8>, Option<String>) {
    let is_zlib = match *bytes {
        [a, b, ..] => a & 15 == 8 && u16::from_be_bytes([a, b]) % 31 == 0,
        _ => false,
    };
    if is_zlib {
        let (out, failed) = read_up_to(flate2::bufread::ZlibDecoder::new(bytes), max);
        if failed.is_none() || !out.is_empty() {
            return (out, failed);
        }
    }
    read_up_to(flate2::bufread::DeflateDecoder::new(bytes), max)
}

fn zstd_reader<R: BufRead>(bytes: R) -> std::io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

fn unbrotli(bytes: &[u8], max: usize) -> (Vec<u8>, Option<String>) {
    // The decoder is safe Rust; what it may do on hostile bytes is panic, and that ends here.
    let read = || {
        read_up_to(
            brotli_decompressor::Decompressor::new(bytes, BROTLI_BUFFER),
            max,
        )
    };
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| (Vec::new(), Some("the decoder gave up".to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const PAGE: &[u8] = b"<html>\xe4\xbd\xa0\xe5\xa5\xbd</html>";

    fn head(fields: &str) -> HttpHead {
        HttpHead::parse(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(bytes: &[u8], is_zlib: bool) -> Vec<u8> {
        let level = flate2::Compression::new(6);
        if is_zlib {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            return encoder.finish().unwrap();
        }
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The body, with a word of the problem if there is one.
    fn check(fields: &str, payload: &[u8], expected: &[u8], problem: Option<&str>) {
        let body = decode(Some(&head(fields)), payload, 1000).unwrap();
        assert_eq!(&*body.bytes, expected, "{fields}");
        match (&body.problem, problem) {
            (None, None) => {}
            (Some(found), Some(part)) => assert!(found.contains(part), "{fields}: {found}"),
            (found, _) => panic!("{fields}: {found:?}"),
        }
    }

    #[test]
    fn chunks_are_joined_and_broken_ones_kept_up_to_the_break() {
        let chunked = "Transfer-Encoding: Chunked";
        for (payload, expected, problem) in [
            (
                &b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"[..],
                &b"abcde"[..],
                None,
            ),
            (b"0\r\n\r\n", b"", None),
            (b"3\nabc\n0\n\n", b"abc", None),
            (b"<html>", b"<html>", None),
            (b"", b"", None),
            (b"3\r\nabc\r\nzz\r\n", b"abc", Some("without its size")),
            (
                b"3\r\nabc\r\n9\r\nde",
                b"abcde",
                Some("9 bytes ends after 2"),
            ),
            (b"3\r\nabc\r\n", b"abc", Some("last chunk")),
            (
                b"3\r\nabc\r\nffffffffffffffffff\r\nx",
                b"abc",
                Some("without its size"),
            ),
        ] {
            check(chunked, payload, expected, problem);
        }
    }

    #[test]
    fn content_encodings_are_undone() {
        let zstd = zstd::stream::encode_all(PAGE, 3).unwrap();
        for (fields, payload) in [
            ("Content-Encoding: gzip", gzip(PAGE)),
            ("Content-Encoding: X-GZIP", gzip(PAGE)),
            (
                "Content-Encoding: gzip",
                [gzip(&PAGE[..5]), gzip(&PAGE[5..])].concat(),
            ),
            (
                "Content-Encoding: gzip",
                [gzip(PAGE), b"junk".to_vec()].concat(),
            ),
            ("Content-Encoding: deflate", deflate(PAGE, true)),
            ("Content-Encoding: deflate", deflate(PAGE, false)),
            ("Content-Encoding: zstd", zstd),
            (
                "Content-Encoding: deflate, gzip",
                gzip(&deflate(PAGE, true)),
            ),
            ("Content-Encoding: identity", PAGE.to_vec()),
            // Plain pages under heads that lie.
            ("Content-Encoding: gzip", PAGE.to_vec()),
            ("Content-Encoding: deflate", PAGE.to_vec()),
            ("Content-Encoding: br", PAGE.to_vec()),
            ("Content-Encoding: zstd", PAGE.to_vec()),
        ] {
            check(fields, &payload, PAGE, None);
        }
    }

    #[test]
    fn brotli_is_undone() {
        // One uncompressed meta-block of 6 bytes, then the empty last one (RFC 7932, section 9.2).
        let packed = [&[0x8b, 0x02, 0x80][..], b"<html>", &[3]].concat();
        check("Content-Encoding: br", &packed, b"<html>", None);
    }

    #[test]
    fn chunks_lie_around_content_encodings() {
        let packed = gzip(PAGE);
        let mut payload = format!("{:x}\r\n", packed.len()).into_bytes();
        payload.extend_from_slice(&packed);
        payload.extend_from_slice(b"\r\n0\r\n\r\n");
        let fields = "Transfer-Encoding: chunked\r\nContent-Encoding: gzip";
        check(fields, &payload, PAGE, None);
    }

    #[test]
    fn cut_and_oversized_bodies_say_so() {
        let long: Vec<u8> = (0..900u32).flat_map(u32::to_le_bytes).collect();
        let packed = gzip(&long);
        let cut = &packed[..packed.len() - 20];
        let body = decode(Some(&head("Content-Encoding: gzip")), cut, 10_000).unwrap();
        assert!(long.starts_with(&body.bytes) && !body.bytes.is_empty());
        assert!(body.problem.unwrap().starts_with("gzip: "));
        for max in [0, 1, 3599] {
            let body = decode(Some(&head("Content-Encoding: gzip")), &packed, max).unwrap();
            assert_eq!(&*body.bytes, &long[..max]);
            assert!(body.problem.unwrap().contains("longer than"));
        }
        let body = decode(Some(&head("Content-Encoding: gzip")), &packed, 3600).unwrap();
        assert_eq!((&*body.bytes, body.problem), (&long[..], None));
        let plain = decode(None, b"abcdef", 3).unwrap();
        assert_eq!(
            (&*plain.bytes, plain.problem.is_some()),
            (&b"abc"[..], true)
        );
    }

    #[test]
    fn a_bomb_costs_its_limit() {
        let mut bomb = vec![0u8; 50_000_000];
        for _ in 0..2 {
            bomb = gzip(&bomb);
        }
        let fields = "Content-Encoding: gzip, gzip";
        let body = decode(Some(&head(fields)), &bomb, 100_000).unwrap();
        assert_eq!(body.bytes.len(), 100_000);
        assert!(body.bytes.capacity_of_owned() < 1_000_000);
        assert!(body.problem.is_some());
    }

    trait Capacity {
        fn capacity_of_owned(&self) -> usize;
    }

    impl Capacity for Cow<'_, [u8]> {
        fn capacity_of_owned(&self) -> usize {
            match self {
                Cow::Borrowed(_) => 0,
                Cow::Owned(bytes) => bytes.capacity(),
            }
        }
    }

    #[test]
    fn what_is_not_read_is_refused_with_its_name() {
        for (fields, payload, part) in [
            ("Content-Encoding: sdch", &b"x"[..], "`sdch` is not read"),
            (
                "Content-Encoding: gzip,gzip,gzip,gzip,gzip",
                b"x",
                "5 content encodings",
            ),
            (
                "Content-Encoding: gzip",
                b"\x1f\x8b\x08\x00 broken",
                "is not gzip",
            ),
        ] {
            let error = decode(Some(&head(fields)), payload, 1000).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}

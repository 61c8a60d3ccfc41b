//! The header line of an ARC record (Internet Archive, versions 1 and 2).
//!
//! `URL IP-address Archive-date Content-type Archive-length`; version 2 has five more fields before the
//! length. Addresses and media types with blanks in them are found in the wild, so that the line is
//! read from its date and its ends.

use super::headers::Headers;
use super::record::Kind;
use super::warc::{Head, parse_length, short};

/// Most bytes of a header line.
pub(super) const LINE_LIMIT: usize = 16 << 10;

const DATE_DIGITS: std::ops::RangeInclusive<usize> = 8..=20;

struct Fields<'a> {
    url: String,
    date: &'a str,
    mime: &'a str,
    length: &'a str,
}

/// Whether `bytes` begin with a line that has the fields of an ARC header, sound or not.
pub(super) fn starts(bytes: &[u8]) -> bool {
    // Most lines are ruled out by their first bytes.
    let scheme = bytes.iter().take(16).position(|&byte| byte == b':');
    let is_scheme = |n: usize| {
        let name = bytes.get(..n).unwrap_or_default();
        name.first().is_some_and(u8::is_ascii_alphabetic)
            && name
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
    };
    scheme.is_some_and(is_scheme) && fields(&String::from_utf8_lossy(line(bytes).0)).is_some()
}

/// The first line without its end, and its length with it.
pub(super) fn line(bytes: &[u8]) -> (&[u8], usize) {
    let bytes = bytes.get(..LINE_LIMIT).unwrap_or(bytes);
    match memchr::memchr(b'\n', bytes) {
        Some(n) => {
            let line = bytes.get(..n).unwrap_or_default();
            (line.strip_suffix(b"\r").unwrap_or(line), n + 1)
        }
        None => (bytes, bytes.len()),
    }
}

/// Reads a header line, without its end.
///
/// # Errors
/// What keeps the record from being read.
pub(super) fn parse(line: &[u8]) -> Result<Head, String> {
    let text = String::from_utf8_lossy(line);
    let Some(fields) = fields(&text) else {
        return Err(format!("`{}` is not an ARC header", short(&text)));
    };
    let length = parse_length(fields.length)
        .ok_or_else(|| format!("ARC length `{}` is not a number", short(fields.length)))?;
    let kind = match fields.url.starts_with("filedesc:") {
        true => Kind::ArcHeader,
        false => Kind::Response,
    };
    Ok(Head {
        kind,
        date: Some(iso_date(fields.date)),
        url: Some(fields.url),
        content_type: Some(fields.mime.to_string()),
        length,
        declared_cut: false,
        headers: Headers::default(),
    })
}

/// Finds the date with an address before it; what precedes these is the URL.
fn fields(text: &str) -> Option<Fields<'_>> {
    let words: Vec<&str> = text.trim_end().split(' ').collect();
    let is_date =
        |word: &str| DATE_DIGITS.contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
    let is_address = |word: &str| {
        word.contains(['.', ':'])
            && word
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || b".:".contains(&b))
    };
    let at = (2..words.len().saturating_sub(2)).rev().find(|&at| {
        words.get(at).is_some_and(|word| is_date(word))
            && words.get(at - 1).is_some_and(|word| is_address(word))
    })?;
    Some(Fields {
        url: words.get(..at - 1)?.join(" "),
        date: words.get(at)?,
        mime: words.get(at + 1)?.trim_end_matches(';'),
        length: words.last()?,
    })
}

/// `20140216050221` as `2014-02-16T05:02:21Z`; other lengths stay as they are.
fn iso_date(digits: &str) -> String {
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    if digits.len() != 14 {
        return digits.to_string();
    }
    format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4),
        part(4..6),
        part(6..8),
        part(8..10),
        part(10..12),
        part(12..14)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<(&str, &str, &str, u64), &str>) {
        match (parse(line.as_bytes()), expected) {
            (Ok(head), Ok((url, date, mime, length))) => {
                assert_eq!(head.url.as_deref(), Some(url));
                assert_eq!(head.date.as_deref(), Some(date));
                assert_eq!(head.content_type.as_deref(), Some(mime));
                assert_eq!(head.length, length);
                assert!(starts(line.as_bytes()), "{line}");
            }
            (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
            (found, _) => panic!("{line}: {found:?}"),
        }
    }

    #[test]
    fn lines_of_both_versions_and_with_blanks_are_read() {
        let date = "2014-02-16T05:02:21Z";
        check(
            "http://a.b/ 93.184.216.119 20140216050221 text/html 1591",
            Ok(("http://a.b/", date, "text/html", 1591)),
        );
        check(
            "http://a.b/x?t=Of The Web&c 93.184.216.119 20140216050221 text/html 7",
            Ok(("http://a.b/x?t=Of The Web&c", date, "text/html", 7)),
        );
        check(
            "http://a.b/ 1.2.3.4 20140216050221 text/html; charset=gbk 7",
            Ok(("http://a.b/", date, "text/html", 7)),
        );
        check(
            "http://a.b/ ::1 20140216050221 text/html 200 - - 1234 f.arc.gz 88",
            Ok(("http://a.b/", date, "text/html", 88)),
        );
        check(
            "filedesc://x.arc 127.0.0.1 201402 text/plain 75",
            Err("not an ARC header"),
        );
    }

    #[test]
    fn broken_lines_are_still_known_for_headers() {
        let line = "http://example.com/ 93.184.216.119 201404010000000000 text/html -1";
        check(line, Err("`-1`"));
        assert!(starts(line.as_bytes()));
        for other in ["", "http://a b c d e", "URL IP-address Archive-date", "a:"] {
            assert!(!starts(other.as_bytes()), "{other}");
        }
    }
}

//! The header of a WARC record (ISO 28500), versions 0.17 to 1.1.

use super::headers::Headers;
use super::record::Kind;

/// How every record begins.
pub(super) const MAGIC: &[u8] = b"WARC/";

/// What the header of a record says, in WARC or in ARC.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) url: Option<String>,
    pub(super) date: Option<String>,
    /// Value of `Content-Type`.
    pub(super) content_type: Option<String>,
    /// Bytes of the block.
    pub(super) length: u64,
    /// The crawler says that it cut the block.
    pub(super) declared_cut: bool,
    pub(super) headers: Headers,
}

/// Whether `bytes` begin with a version line.
pub(super) fn starts(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) && bytes.get(MAGIC.len()).is_some_and(u8::is_ascii_digit)
}

/// Reads a header, from its version line to the empty line.
///
/// # Errors
/// What keeps the record from being read.
pub(super) fn parse(block: &[u8]) -> Result<Head, String> {
    let line_end = memchr::memchr(b'\n', block).unwrap_or(block.len());
    let (line, rest) = block.split_at(line_end);
    let version = line.strip_prefix(MAGIC).unwrap_or_default().trim_ascii();
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let mut parts = version.splitn(2, |&byte| byte == b'.');
    if !parts.next().is_some_and(is_number) || !parts.next().is_some_and(is_number) {
        let line = String::from_utf8_lossy(line.get(..line.len().min(40)).unwrap_or_default());
        return Err(format!("`{}` is not a WARC version line", line.trim_end()));
    }
    let headers = Headers::parse(rest.get(1..).unwrap_or_default());
    let text = |name: &str| headers.get(name).map(str::to_string);
    let length = match headers.get("Content-Length") {
        None => return Err("the record has no Content-Length".into()),
        Some(value) => parse_length(value)
            .ok_or_else(|| format!("Content-Length `{}` is not a number", short(value)))?,
    };
    Ok(Head {
        kind: Kind::of(headers.get("WARC-Type").unwrap_or_default()),
        url: headers.get("WARC-Target-URI").map(|url| bare(url).into()),
        date: text("WARC-Date"),
        content_type: text("Content-Type"),
        length,
        declared_cut: headers.get("WARC-Truncated").is_some(),
        headers,
    })
}

/// A length in decimal digits and nothing else.
pub(super) fn parse_length(text: &str) -> Option<u64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

/// Some writers put an address between angle brackets.
fn bare(url: &str) -> &str {
    let inner = url.strip_prefix('<').and_then(|url| url.strip_suffix('>'));
    inner.unwrap_or(url)
}

/// The beginning of a text from outside, for a message.
pub(super) fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(block: &str, expected: Result<(&str, Option<&str>, u64), &str>) {
        match (parse(block.as_bytes()), expected) {
            (Ok(head), Ok((kind, url, length))) => {
                assert_eq!(head.kind.name(), kind, "{block}");
                assert_eq!(head.url.as_deref(), url, "{block}");
                assert_eq!(head.length, length, "{block}");
            }
            (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
            (found, _) => panic!("{block}: {found:?}"),
        }
    }

    #[test]
    fn headers_of_all_versions_are_read() {
        check(
            "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a/\r\nContent-Length: 7\r\n\r\n",
            Ok(("response", Some("http://a/"), 7)),
        );
        check(
            "WARC/0.17\nwarc-type: resource\nwarc-target-uri: <file:///a b>\ncontent-length: 0\n\n",
            Ok(("resource", Some("file:///a b"), 0)),
        );
        check("WARC/1.1 \r\nContent-Length: 1\r\n\r\n", Ok(("", None, 1)));
    }

    #[test]
    fn headers_that_lead_nowhere_say_why() {
        check("WARC/1.0\r\nWARC-Type: a\r\n\r\n", Err("no Content-Length"));
        check("WARC/1.0\r\nContent-Length: -1\r\n\r\n", Err("`-1`"));
        check("WARC/1.0\r\nContent-Length: 1e3\r\n\r\n", Err("`1e3`"));
        check(
            "WARC/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n",
            Err("99999999999999999999"),
        );
        check("WARC/x\r\nContent-Length: 1\r\n\r\n", Err("WARC/x"));
        check("WARC/1", Err("version line"));
    }
}

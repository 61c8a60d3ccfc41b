//! The head of an HTTP message.

use memchr::memchr_iter;

use super::headers::Headers;

/// A status or request line and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpHead {
    /// The first line, without its end.
    pub line: String,
    /// Status of a response, where it is a number of three digits.
    pub status: Option<u16>,
    /// The fields, in order.
    pub headers: Headers,
}

impl HttpHead {
    /// The `charset` parameter of `Content-Type`, without quotes.
    pub fn charset(&self) -> Option<&str> {
        let value = self.headers.get("Content-Type")?;
        value.split([';', ',']).skip(1).find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let value = value.trim().trim_matches(['"', '\'']).trim();
            (name.trim().eq_ignore_ascii_case("charset") && !value.is_empty()).then_some(value)
        })
    }

    /// Reads a head, from its first line to the empty line.
    pub(super) fn parse(block: &[u8]) -> Self {
        let line_end = memchr::memchr(b'\n', block).map_or(block.len(), |n| n + 1);
        let (line, rest) = block.split_at(line_end);
        let line = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        let status = line
            .starts_with("HTTP/")
            .then(|| line.split_ascii_whitespace().nth(1))
            .flatten()
            .filter(|word| word.len() == 3)
            .and_then(|word| word.parse().ok());
        Self {
            line,
            status,
            headers: Headers::parse(rest),
        }
    }
}

/// Whether `bytes` begin with a status line.
pub(super) fn starts(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/")
}

/// Length of the head at the start of `bytes`, with the empty line that ends it; none when it does not end.
pub(super) fn head_len(bytes: &[u8]) -> Option<usize> {
    memchr_iter(b'\n', bytes).find_map(|at| match bytes.get(at + 1..)? {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_end_at_the_empty_line() {
        for (bytes, expected) in [
            (&b"A: 1\r\n\r\nbody"[..], Some(8)),
            (b"A: 1\n\nbody", Some(6)),
            (b"A: 1\n\r\nbody", Some(7)),
            (b"A: 1\r\n", None),
            (b"A: 1\r\n\r", None),
            (b"", None),
        ] {
            assert_eq!(head_len(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn status_and_fields_are_read() {
        let head = HttpHead::parse(b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n");
        assert_eq!(head.status, Some(404));
        assert_eq!(head.line, "HTTP/1.1 404 Not Found");
        assert_eq!(head.headers.get("a"), Some("b"));
        for line in [
            "HTTP/1.1",
            "HTTP/1.0 OK",
            "GET / HTTP/1.1",
            "HTTP/1.1 20000",
        ] {
            assert_eq!(HttpHead::parse(line.as_bytes()).status, None, "{line}");
        }
    }

    #[test]
    fn charsets_are_read_with_and_without_quotes() {
        for (value, expected) in [
            ("text/html; charset=GBK", Some("GBK")),
            ("text/html;Charset = \"utf-8\" ; x", Some("utf-8")),
            ("text/html; a=b, charset='big5'", Some("big5")),
            ("text/html; charset=", None),
            ("text/html", None),
        ] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {value}\r\n\r\n");
            assert_eq!(HttpHead::parse(head.as_bytes()).charset(), expected);
        }
    }
}

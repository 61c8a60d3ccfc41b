//! Named fields, as WARC records and HTTP messages have them.

use std::ops::Range;

use memchr::{memchr, memchr_iter};

/// Most fields of one header; what follows is dropped.
const MAX_FIELDS: usize = 4096;

/// Fields for which room is made at once: most headers have fewer.
const TYPICAL_FIELDS: usize = 16;

/// `Name: value` lines in their order; names compare without regard to case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    text: String,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl Headers {
    /// Fields of the lines up to the first empty one; what is not UTF-8 is replaced, folded lines are joined.
    pub(super) fn parse(block: &[u8]) -> Self {
        let text = unfolded(block);
        let bytes = text.as_bytes();
        let mut fields = Vec::with_capacity(TYPICAL_FIELDS);
        let mut start = 0;
        while let Some(rest) = bytes.get(start..)
            && fields.len() < MAX_FIELDS
        {
            let line = rest.split_at(memchr(b'\n', rest).unwrap_or(rest.len())).0;
            if line.is_empty() || line == b"\r" {
                break;
            }
            if let Some(colon) = memchr(b':', line) {
                fields.push(Field {
                    name: trimmed(bytes, start, start + colon),
                    value: trimmed(bytes, start + colon + 1, start + line.len()),
                });
            }
            start += line.len() + 1;
        }
        Self { text, fields }
    }

    /// The value of the first field with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        // Lengths rule out most names without a look at them.
        let field = self.fields.iter().find(|field| {
            field.name.len() == name.len() && self.part(&field.name).eq_ignore_ascii_case(name)
        })?;
        Some(self.part(&field.value))
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields
            .iter()
            .map(|field| (self.part(&field.name), self.part(&field.value)))
    }

    fn part(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }
}

/// What `bytes` hold from `start` to `end`, without the blanks at both ends of it.
fn trimmed(bytes: &[u8], start: usize, end: usize) -> Range<usize> {
    let part = bytes.get(start..end).unwrap_or_default();
    let start = start + part.len() - part.trim_ascii_start().len();
    start..start + part.trim_ascii().len()
}

/// The block as text, with the line breaks before continuation lines made blanks.
fn unfolded(block: &[u8]) -> String {
    let mut bytes = block.to_vec();
    for at in memchr_iter(b'\n', block) {
        if matches!(block.get(at + 1), Some(b' ' | b'\t')) {
            bytes[at] = b' ';
            if at > 0 && block[at - 1] == b'\r' {
                bytes[at - 1] = b' ';
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

/// The media type of a `Content-Type` value: small letters, no parameters; none when it is empty.
pub(super) fn media_type(value: &str) -> Option<String> {
    let essence = value.split([';', ',']).next().unwrap_or_default().trim();
    (!essence.is_empty()).then(|| essence.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(block: &str, expected: &[(&str, &str)]) {
        let headers = Headers::parse(block.as_bytes());
        assert_eq!(headers.iter().collect::<Vec<_>>(), expected, "{block:?}");
    }

    #[test]
    fn fields_are_found_in_all_the_ways_they_are_written() {
        check("", &[]);
        check("A: 1\r\nB:2\r\n\r\nC: 3", &[("A", "1"), ("B", "2")]);
        check("A: 1\nB : 2 \n\nC: 3", &[("A", "1"), ("B", "2")]);
        check("A: one\r\n two\r\nB: 3", &[("A", "one   two"), ("B", "3")]);
        check("no colon\r\nA: b:c\r\n", &[("A", "b:c")]);
        check("A:\r\n: x\r\n", &[("A", ""), ("", "x")]);
    }

    #[test]
    fn names_compare_without_case_and_the_first_wins() {
        let headers = Headers::parse(b"Content-Type: a\r\ncontent-type: b\r\n");
        assert_eq!(headers.get("CONTENT-TYPE"), Some("a"));
        assert_eq!(headers.get("none"), None);
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced() {
        let headers = Headers::parse(b"A: \xff\xfeok\r\nB: 1\r\n");
        assert_eq!(headers.get("a"), Some("\u{fffd}\u{fffd}ok"));
        assert_eq!(headers.get("b"), Some("1"));
    }

    #[test]
    fn media_types_lose_their_parameters() {
        for (value, expected) in [
            ("Text/HTML; charset=gbk", Some("text/html")),
            ("text/html,text/html", Some("text/html")),
            (" ; x", None),
            ("", None),
        ] {
            assert_eq!(media_type(value).as_deref(), expected);
        }
    }
}

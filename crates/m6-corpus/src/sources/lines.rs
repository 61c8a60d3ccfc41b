//! Lines of a stream under a limit.

use std::io::BufRead;

/// A line without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Byte offset of its first byte.
    pub(super) offset: u64,
    /// From 1.
    pub(super) number: u64,
    /// Its bytes; a byte order mark at the start of the file is taken off.
    pub(super) bytes: Vec<u8>,
}

/// A line that cannot be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) offset: u64,
    pub(super) number: u64,
    pub(super) reason: String,
}

/// Reads lines; one beyond the limit is skipped without being kept.
pub(super) struct Lines<R> {
    input: R,
    limit: usize,
    offset: u64,
    number: u64,
    has_ended: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, limit: usize) -> Self {
        Self::at(input, limit, 0, 0)
    }

    /// The lines of an input that begins at `offset`, after `n_before` lines.
    pub(super) fn at(input: R, limit: usize, offset: u64, n_before: u64) -> Self {
        Self {
            input,
            limit,
            offset,
            number: n_before,
            has_ended: false,
        }
    }

    /// The next line, blank ones included. A stream that fails gives the failure and then ends.
    pub(super) fn next(&mut self) -> Option<Result<Line, BadLine>> {
        if self.has_ended {
            return None;
        }
        let (offset, number) = (self.offset, self.number + 1);
        let bad = |reason: String| {
            Some(Err(BadLine {
                offset,
                number,
                reason,
            }))
        };
        let mut bytes: Vec<u8> = Vec::new();
        let mut n_bytes = 0usize;
        loop {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.has_ended = true;
                    return bad(format!("the file cannot be read further: {error}"));
                }
            };
            if chunk.is_empty() {
                self.has_ended = true;
                if n_bytes == 0 {
                    return None;
                }
                break;
            }
            let end = memchr::memchr(b'\n', chunk);
            let part = end.unwrap_or(chunk.len());
            n_bytes = n_bytes.saturating_add(part);
            if n_bytes <= self.limit {
                bytes.extend_from_slice(&chunk[..part]);
            }
            let used = part + usize::from(end.is_some());
            self.offset += used as u64;
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.number = number;
        if n_bytes > self.limit {
            return bad(format!(
                "a line of {n_bytes} bytes, the limit is {}",
                self.limit
            ));
        }
        if offset == 0 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        Some(Ok(Line {
            offset,
            number,
            bytes,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads through a buffer of three bytes, so that every line crosses its ends.
    fn check(input: &[u8], limit: usize, expected: &[(u64, Result<&str, &str>)]) {
        let reader = std::io::BufReader::with_capacity(3, input);
        let mut lines = Lines::new(reader, limit);
        let mut got = Vec::new();
        while let Some(line) = lines.next() {
            got.push(match line {
                Ok(line) => (line.offset, Ok(String::from_utf8(line.bytes).unwrap())),
                Err(bad) => (bad.offset, Err(bad.reason)),
            });
        }
        let expected: Vec<_> = expected
            .iter()
            .map(|(at, line)| (*at, line.map(str::to_string).map_err(str::to_string)))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn lines_keep_their_places() {
        check(b"", 9, &[]);
        check(b"\n", 9, &[(0, Ok(""))]);
        check(
            b"abc\r\n\nde",
            9,
            &[(0, Ok("abc")), (5, Ok("")), (6, Ok("de"))],
        );
        check(
            b"\xef\xbb\xbfab\ncdefgh\n",
            9,
            &[(0, Ok("ab")), (6, Ok("cdefgh"))],
        );
    }

    #[test]
    fn a_line_beyond_the_limit_costs_itself() {
        let reason = "a line of 6 bytes, the limit is 5";
        check(
            b"12345\n123456\n1\n",
            5,
            &[(0, Ok("12345")), (6, Err(reason)), (13, Ok("1"))],
        );
        check(b"123456", 5, &[(0, Err(reason))]);
    }
}

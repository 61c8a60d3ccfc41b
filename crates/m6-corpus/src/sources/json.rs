//! JSON lines, and files of JSON values: a list, or values one after the other.

use std::io::{BufRead, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::doc::{Item, Place};
use super::input::{self, Input};
use super::lines::Lines;
use super::rows::Rows;

/// The records of a file of JSON lines from a line on.
pub(super) fn lines(rows: Arc<Rows>, start: Place) -> Box<dyn Iterator<Item = Item>> {
    let path = start.path;
    let input = match input::open_at(&path, start.offset) {
        Ok(input) => input,
        Err(error) => return unreadable(path, &error),
    };
    let n_before = start.line.map_or(0, |line| line.saturating_sub(1));
    let mut lines = Lines::at(input, rows.limits.record, start.offset, n_before);
    Box::new(std::iter::from_fn(move || {
        loop {
            let at = |offset, number| Place {
                path: path.clone(),
                offset,
                line: Some(number),
            };
            let line = match lines.next()? {
                Ok(line) => line,
                Err(bad) => return Some(Item::damage(at(bad.offset, bad.number), bad.reason)),
            };
            if line.bytes.trim_ascii().is_empty() {
                continue;
            }
            let place = at(line.offset, line.number);
            return Some(match object(&line.bytes) {
                Ok(value) => rows.item(&value, place),
                Err(reason) => Item::damage(place, reason),
            });
        }
    }))
}

/// A file that cannot be opened is one row.
pub(super) fn unreadable(
    path: PathBuf,
    error: &dyn std::fmt::Display,
) -> Box<dyn Iterator<Item = Item>> {
    let place = Place {
        path,
        ..Place::default()
    };
    Box::new(std::iter::once(Item::damage(
        place,
        format!("the file cannot be opened: {error}"),
    )))
}

/// A JSON object, or why not.
pub(super) fn object(bytes: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("expected a JSON object".to_string()),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

/// The records of a file of JSON values; the file is never held as a whole.
pub(super) fn values(rows: Arc<Rows>, path: PathBuf) -> Box<dyn Iterator<Item = Item>> {
    let input = match input::open(&path) {
        Ok(input) => input,
        Err(error) => return unreadable(path, &error),
    };
    let mut pieces = Pieces::new(input, rows.limits.record);
    let mut number = 0u64;
    Box::new(
        std::iter::from_fn(move || {
            let (offset, piece) = pieces.next()?;
            let at = |number| Place {
                path: path.clone(),
                offset,
                line: Some(number),
            };
            let value = piece.and_then(|bytes| object(&bytes));
            let records = match (value, &rows.records) {
                (Err(reason), _) => {
                    number += 1;
                    return Some(vec![Item::damage(at(number), reason)]);
                }
                (Ok(value), None) => vec![value],
                (Ok(value), Some(records)) => records.values(&value),
            };
            let items = records.into_iter().map(|value| {
                number += 1;
                match value.is_object() {
                    true => rows.item(&value, at(number)),
                    false => Item::damage(at(number), "expected a JSON object"),
                }
            });
            Some(items.collect())
        })
        .flatten(),
    )
}

/// Cuts a stream into its JSON objects by following brackets outside strings, so that each is parsed alone: elements of
/// a list at the top, or objects one after the other.
struct Pieces {
    input: Input,
    limit: usize,
    offset: u64,
    has_ended: bool,
}

type Piece = (u64, Result<Vec<u8>, String>);

impl Pieces {
    fn new(input: Input, limit: usize) -> Self {
        Self {
            input,
            limit,
            offset: 0,
            has_ended: false,
        }
    }

    /// The next object and its offset. Brackets, commas and other bytes between objects are skipped; what stands there
    /// in a sound file is only punctuation.
    fn next(&mut self) -> Option<Piece> {
        let mut scan = Scan::default();
        let mut bytes: Vec<u8> = Vec::new();
        let (mut begin, mut n_bytes) = (self.offset, 0usize);
        while !self.has_ended {
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.has_ended = true;
                    let reason = format!("the file cannot be read further: {error}");
                    return Some((begin, Err(reason)));
                }
            };
            if chunk.is_empty() {
                self.has_ended = true;
                break;
            }
            let mut from = 0;
            if n_bytes == 0 {
                // Only objects are records; lists around them are walked through.
                from = memchr::memchr(b'{', chunk).unwrap_or(chunk.len());
                begin = self.offset + from as u64;
            }
            let (n_used, end) = scan.run(chunk.get(from..).unwrap_or_default());
            let used = from + n_used;
            n_bytes += n_used;
            if n_bytes <= self.limit {
                bytes.extend_from_slice(chunk.get(from..used).unwrap_or_default());
            } else {
                bytes = Vec::new();
            }
            self.offset += used as u64;
            self.input.consume(used);
            match end {
                None => {}
                Some(Ok(())) => return Some((begin, self.checked(bytes, n_bytes))),
                Some(Err(reason)) => return Some((begin, Err(reason.to_string()))),
            }
        }
        let reason = "the file ends inside this JSON object";
        (n_bytes > 0).then(|| (begin, Err(reason.to_string())))
    }

    fn checked(&self, bytes: Vec<u8>, n_bytes: usize) -> Result<Vec<u8>, String> {
        match n_bytes <= self.limit {
            true => Ok(bytes),
            false => Err(format!(
                "a JSON object of {n_bytes} bytes, the limit is {}",
                self.limit
            )),
        }
    }
}

/// Brackets deeper than this are counted and not remembered; no such object is parsed anyway.
const MAX_DEPTH: usize = 128;

/// Where in an object the scan is. It breaks off where no JSON can go on, so that a lost quote or bracket costs one
/// object and not all that follow.
#[derive(Default)]
struct Scan {
    /// The open brackets.
    open: Vec<u8>,
    /// How many more are open beyond [`MAX_DEPTH`].
    deeper: u64,
    in_string: bool,
    is_escaped: bool,
    /// The last byte outside strings that is no white space; a quote for a string.
    last: u8,
}

impl Scan {
    /// Goes on until the object ends or breaks off; gives how many bytes belong to it, and how it ended.
    fn run(&mut self, bytes: &[u8]) -> (usize, Option<Result<(), &'static str>>) {
        for (at, &byte) in bytes.iter().enumerate() {
            if byte == b'{' && !self.in_string && !self.may_open() {
                // Not this one's: the next object begins here.
                return (at, Some(Err("another JSON object begins inside this one")));
            }
            match self.step(byte) {
                Ok(false) => {}
                Ok(true) => return (at + 1, Some(Ok(()))),
                Err(reason) => return (at + 1, Some(Err(reason))),
            }
        }
        (bytes.len(), None)
    }

    /// Whether an object may stand here.
    fn may_open(&self) -> bool {
        match self.open.last() {
            _ if self.deeper > 0 => true,
            Some(b'{') => self.last == b':',
            Some(_) => matches!(self.last, b'[' | b','),
            None => true,
        }
    }

    /// Takes a byte; true when the object ends with it.
    fn step(&mut self, byte: u8) -> Result<bool, &'static str> {
        if self.is_escaped {
            self.is_escaped = false;
            return Ok(false);
        }
        if self.in_string {
            match byte {
                b'"' => self.in_string = false,
                b'\\' => self.is_escaped = true,
                // A string cannot hold a line end: a quote is missing.
                b'\n' => return Err("a line ends inside a string"),
                _ => {}
            }
            return Ok(false);
        }
        if !byte.is_ascii_whitespace() {
            self.last = byte;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' if self.open.len() < MAX_DEPTH => self.open.push(byte),
            b'{' | b'[' => self.deeper += 1,
            b'}' | b']' if self.deeper > 0 => self.deeper -= 1,
            b'}' | b']' => {
                // In ASCII a bracket closes two places behind its opening one.
                if self.open.pop().is_some_and(|open| open + 2 != byte) {
                    return Err("a bracket is closed by another kind");
                }
                return Ok(self.open.is_empty());
            }
            _ => {}
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, limit: usize, expected: &[Result<&str, &str>]) {
        let bytes = std::io::Cursor::new(input.as_bytes().to_vec());
        let reader: Input = Box::new(std::io::BufReader::with_capacity(3, bytes));
        let mut pieces = Pieces::new(reader, limit);
        let mut got = Vec::new();
        while let Some((offset, piece)) = pieces.next() {
            let piece = piece.map(|bytes| String::from_utf8(bytes).unwrap());
            if let Ok(piece) = &piece {
                assert!(input[offset as usize..].starts_with(piece.as_str()));
            }
            got.push(piece);
        }
        let expected: Vec<Result<String, String>> = expected
            .iter()
            .map(|e| e.map(str::to_string).map_err(str::to_string))
            .collect();
        assert_eq!(got, expected, "{input}");
    }

    #[test]
    fn objects_are_cut_from_lists_and_from_rows() {
        check("", 99, &[]);
        check("[]", 99, &[]);
        check(
            "[{\"a\": [1, {}]}, {}]",
            99,
            &[Ok("{\"a\": [1, {}]}"), Ok("{}")],
        );
        check(
            "{\"a\": \"}\\\"{\"}\n{}",
            99,
            &[Ok("{\"a\": \"}\\\"{\"}"), Ok("{}")],
        );
        check(
            "[{\"a\": \"x\n},{}]",
            99,
            &[Err("a line ends inside a string"), Ok("{}")],
        );
        check(
            "[{\"a\": 1}, {\"b\":",
            99,
            &[
                Ok("{\"a\": 1}"),
                Err("the file ends inside this JSON object"),
            ],
        );
        // A lost bracket costs its object.
        let again = "another JSON object begins inside this one";
        check(
            "{\"a\": 1\n{\"b\": {}}",
            99,
            &[Err(again), Ok("{\"b\": {}}")],
        );
        check(
            "[{\"a\": [1, {}], {},{}]",
            99,
            &[Err(again), Ok("{}"), Ok("{}")],
        );
        check(
            "[{\"a\": [1, {}, {}},{}]",
            99,
            &[Err("a bracket is closed by another kind"), Ok("{}")],
        );
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(300), "]".repeat(300));
        check(&format!("{deep}{{}}"), 999, &[Ok(&deep), Ok("{}")]);
        let reason = "a JSON object of 10 bytes, the limit is 4";
        check(
            "[{},{\"abc\": 1},{ }]",
            4,
            &[Ok("{}"), Err(reason), Ok("{ }")],
        );
    }
}

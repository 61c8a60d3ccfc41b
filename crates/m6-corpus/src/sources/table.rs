//! CSV and TSV with a header line, as shops export them.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use serde_json::{Map, Value};

use super::doc::{Item, Place};
use super::input::{self, Input};
use super::json::unreadable;
use super::lines::{BadLine, Line, Lines};
use super::rows::Rows;

/// The records of a table.
pub(super) fn open(
    rows: Arc<Rows>,
    path: PathBuf,
    delimiter: Option<char>,
) -> Box<dyn Iterator<Item = Item>> {
    let input = match input::open(&path) {
        Ok(input) => input,
        Err(error) => return unreadable(path, &error),
    };
    let mut table = Table::new(
        input,
        rows.limits.record,
        delimiter.and_then(|c| u8::try_from(c).ok()),
    );
    let mut header: Option<Vec<String>> = None;
    Box::new(std::iter::from_fn(move || {
        loop {
            let row = table.next()?;
            let place = |offset, number| Place {
                path: path.clone(),
                offset,
                line: Some(number),
            };
            let row = match row {
                Ok(row) => row,
                Err(bad) => return Some(Item::damage(place(bad.offset, bad.number), bad.reason)),
            };
            let place = place(row.offset, row.number);
            let Some(names) = &header else {
                if let Some(missing) = rows.map.columns(rows.names_id).iter().find(|c| !row.has(c))
                {
                    table.stop();
                    let columns = row.fields.join(", ");
                    return Some(Item::damage(
                        place,
                        format!("no column \"{missing}\" among: {columns}"),
                    ));
                }
                header = Some(row.fields);
                continue;
            };
            if row.fields.len() != names.len() {
                let reason = format!(
                    "{} fields, the header has {}",
                    row.fields.len(),
                    names.len()
                );
                return Some(Item::damage(place, reason));
            }
            let cells = names
                .iter()
                .cloned()
                .zip(row.fields.into_iter().map(Value::String));
            return Some(rows.item(&Value::Object(Map::from_iter(cells)), place));
        }
    }))
}

/// One row as text.
struct Row {
    offset: u64,
    number: u64,
    fields: Vec<String>,
}

impl Row {
    fn has(&self, column: &str) -> bool {
        self.fields.iter().any(|field| field == column)
    }
}

/// Rows of a stream. A row may span lines inside quotes; when its quote is never closed (or not within the limit), its
/// first line is given up and reading goes on with the second.
struct Table {
    lines: Lines<Input>,
    /// Lines read ahead for a row that did not end.
    ahead: VecDeque<Result<Line, BadLine>>,
    limit: usize,
    delimiter: Option<u8>,
    has_ended: bool,
}

impl Table {
    fn new(input: Input, limit: usize, delimiter: Option<u8>) -> Self {
        Self {
            lines: Lines::new(input, limit),
            ahead: VecDeque::new(),
            limit,
            delimiter,
            has_ended: false,
        }
    }

    /// No row follows.
    fn stop(&mut self) {
        self.has_ended = true;
    }

    fn line(&mut self) -> Option<Result<Line, BadLine>> {
        self.ahead.pop_front().or_else(|| self.lines.next())
    }

    fn next(&mut self) -> Option<Result<Row, BadLine>> {
        if self.has_ended {
            return None;
        }
        let first = loop {
            match self.line()? {
                Ok(line) if line.bytes.is_empty() => {}
                Ok(line) => break line,
                Err(bad) => return Some(Err(bad)),
            }
        };
        let (offset, number) = (first.offset, first.number);
        let delimiter = *self
            .delimiter
            .get_or_insert_with(|| guess_delimiter(&first.bytes));
        let mut parser = Parser::new(delimiter);
        let mut is_whole = parser.feed(&first.bytes);
        let mut taken = VecDeque::new();
        let mut n_bytes = first.bytes.len();
        while !is_whole && n_bytes <= self.limit {
            let Some(line) = self.line() else { break };
            let is_readable = line.is_ok();
            if let Ok(line) = &line {
                n_bytes += line.bytes.len() + 1;
                is_whole = parser.feed(&line.bytes);
            }
            taken.push_back(line);
            if !is_readable {
                break;
            }
        }
        let bad = |reason: String| {
            Some(Err(BadLine {
                offset,
                number,
                reason,
            }))
        };
        if !is_whole {
            taken.append(&mut self.ahead);
            self.ahead = taken;
            return bad("a quoted field is not closed".to_string());
        }
        match parser.fields() {
            Some(fields) => Some(Ok(Row {
                offset,
                number,
                fields,
            })),
            None => bad("neither UTF-8 nor GB18030".to_string()),
        }
    }
}

/// Tab or comma, whichever the header has more of.
fn guess_delimiter(header: &[u8]) -> u8 {
    let count = |wanted: u8| header.iter().filter(|&&byte| byte == wanted).count();
    if count(b'\t') > count(b',') {
        b'\t'
    } else {
        b','
    }
}

/// Parses one row, line by line.
struct Parser {
    reader: Reader,
    out: Vec<u8>,
    n_out: usize,
    ends: Vec<usize>,
    n_ends: usize,
}

impl Parser {
    fn new(delimiter: u8) -> Self {
        let terminator = Terminator::Any(b'\n');
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .terminator(terminator)
            .build();
        Self {
            reader,
            out: Vec::new(),
            n_out: 0,
            ends: Vec::new(),
            n_ends: 0,
        }
    }

    /// Takes a line without its end; true when the row ends with it.
    fn feed(&mut self, line: &[u8]) -> bool {
        // Fields are never longer than the row and never more than its bytes, so nothing here is asked for twice.
        self.out.resize(self.n_out + line.len() + 2, 0);
        self.ends.resize(self.n_ends + line.len() + 2, 0);
        for input in [line, b"\n"] {
            let (out, ends) = (&mut self.out[self.n_out..], &mut self.ends[self.n_ends..]);
            if input.is_empty() {
                continue;
            }
            let (result, _, n_out, n_ends) = self.reader.read_record(input, out, ends);
            self.n_out += n_out;
            self.n_ends += n_ends;
            if matches!(result, ReadRecordResult::Record) {
                return true;
            }
        }
        false
    }

    /// The fields in UTF-8; bytes that are no UTF-8 may be GB18030, whose second bytes are never a quote, comma or tab.
    fn fields(&self) -> Option<Vec<String>> {
        let mut from = 0;
        let mut fields = Vec::with_capacity(self.n_ends);
        for &end in self.ends.get(..self.n_ends)? {
            fields.push(self.out.get(from..end)?);
            from = end;
        }
        let utf8: Option<Vec<String>> = fields
            .iter()
            .map(|f| Some(std::str::from_utf8(f).ok()?.to_string()))
            .collect();
        utf8.or_else(|| fields.iter().map(|field| gb18030(field)).collect())
    }
}

fn gb18030(bytes: &[u8]) -> Option<String> {
    let text = encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], expected: &[Result<&[&str], &str>]) {
        let reader: Input = Box::new(std::io::Cursor::new(input.to_vec()));
        let mut table = Table::new(reader, 64, None);
        let mut got = Vec::new();
        while let Some(row) = table.next() {
            got.push(row.map(|row| row.fields).map_err(|bad| bad.reason));
        }
        let expected: Vec<Result<Vec<String>, String>> = expected
            .iter()
            .map(|row| match row {
                Ok(fields) => Ok(fields.iter().map(|field| field.to_string()).collect()),
                Err(reason) => Err(reason.to_string()),
            })
            .collect();
        assert_eq!(got, expected, "{}", String::from_utf8_lossy(input));
    }

    #[test]
    fn rows_with_quotes_and_line_ends() {
        check(
            b"a,b\n1,2\r\n\n3,\n",
            &[Ok(&["a", "b"]), Ok(&["1", "2"]), Ok(&["3", ""])],
        );
        check(
            b"a,b\n\"x, \"\"y\"\"\",\"l1\nl2\"\n",
            &[Ok(&["a", "b"]), Ok(&["x, \"y\"", "l1\nl2"])],
        );
        check(
            b"a\tb,c\td\n1\t2\t3",
            &[Ok(&["a", "b,c", "d"]), Ok(&["1", "2", "3"])],
        );
    }

    #[test]
    fn an_open_quote_costs_one_line() {
        let reason = "a quoted field is not closed";
        check(
            b"a,b\n\"1,2\n3,4\n",
            &[Ok(&["a", "b"]), Err(reason), Ok(&["3", "4"])],
        );
        let long = [b"a,b\n\"1,2\n".to_vec(), b"3,4\n".repeat(40)].concat();
        let reader: Input = Box::new(std::io::Cursor::new(long));
        let mut table = Table::new(reader, 64, None);
        let rows: Vec<bool> = std::iter::from_fn(|| table.next())
            .map(|row| row.is_ok())
            .collect();
        assert_eq!(rows.iter().filter(|&&ok| ok).count(), 41);
        assert_eq!(rows.len(), 42);
    }

    #[test]
    fn tables_in_gb18030_are_read() {
        let (bytes, _, _) = encoding_rs::GB18030.encode("名称,价格\n保温杯,三十\n");
        check(&bytes, &[Ok(&["名称", "价格"]), Ok(&["保温杯", "三十"])]);
        check(
            b"a,b\n\xff\xff,1\n",
            &[Ok(&["a", "b"]), Err("neither UTF-8 nor GB18030")],
        );
    }
}

//! Documents of a JSONL file, read by offset.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::source::{Document, Documents};
use crate::{Error, Result};

/// Longest line that is parsed, in bytes.
pub const MAX_LINE: u64 = 64 << 20;

/// Bytes read at a time while looking for line ends.
const PIECE: usize = 1 << 20;

/// Names of the fields to read; each is a key of the outermost object.
#[derive(Clone, Debug)]
pub struct Fields {
    /// The text, a string.
    pub text: String,
    /// The name of the document, a string or a number.
    pub id: String,
    /// How good the document is, a number; absent or null counts as below all numbers.
    pub quality: Option<String>,
}

/// One sound line.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The name of the document as it stands in the file.
    pub id: Value,
    /// Its text.
    pub text: String,
    /// Its quality, if the field is wanted, there, and a finite number.
    pub quality: Option<f32>,
}

/// One line that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where the line starts, in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// A JSONL file whose lines are found by index; eight bytes a line are kept in memory.
pub struct JsonLines {
    path: PathBuf,
    file: Mutex<File>,
    fields: Fields,
    /// Start of every line that is not blank, and the end of the file.
    starts: Vec<u64>,
}

impl JsonLines {
    /// Opens a file and finds its lines; blank lines are passed over.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(path: &Path, fields: Fields) -> Result<Self> {
        let failed = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let starts = line_starts(BufReader::with_capacity(PIECE, &file)).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(file),
            fields,
            starts,
        })
    }

    /// The line at an index below the number of lines, or what is wrong with it.
    ///
    /// # Errors
    /// The file cannot be read any more, or has become shorter.
    pub fn row(&self, index: usize) -> Result<std::result::Result<Row, Damage>> {
        let (Some(&offset), Some(&end)) = (self.starts.get(index), self.starts.get(index + 1))
        else {
            let last = self.len();
            return Err(Error::Config(format!(
                "line {index} of {last} was asked for"
            )));
        };
        let damage = |reason| Ok(Err(Damage { offset, reason }));
        let n_bytes = end - offset;
        if n_bytes > MAX_LINE {
            return damage(format!(
                "{n_bytes} bytes in a line, at most {MAX_LINE} are read"
            ));
        }
        let mut bytes = vec![0; n_bytes as usize];
        self.read(offset, &mut bytes).map_err(|source| Error::Io {
            path: self.path.clone(),
            source,
        })?;
        match parse(&bytes, &self.fields) {
            Ok(row) => Ok(Ok(row)),
            Err(reason) => damage(reason),
        }
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        // A reader that panicked left nothing but a position, which is set anew.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(bytes)
    }
}

impl Documents for JsonLines {
    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn document(&self, index: usize) -> Result<Option<Document<'_>>> {
        let row = self.row(index)?.ok();
        Ok(row.map(|row| Document {
            text: Cow::Owned(row.text),
            quality: row.quality,
        }))
    }
}

/// Start of every line that is not blank, and the number of bytes.
fn line_starts(mut reader: impl BufRead) -> io::Result<Vec<u64>> {
    let mut starts = Vec::new();
    let (mut at, mut line, mut is_blank) = (0u64, 0u64, true);
    loop {
        let piece = match reader.fill_buf() {
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if piece.is_empty() {
            break;
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let n_used = end.map_or(piece.len(), |end| end + 1);
        is_blank &= piece[..n_used].iter().all(u8::is_ascii_whitespace);
        reader.consume(n_used);
        at += n_used as u64;
        if end.is_some() {
            if !is_blank {
                starts.push(line);
            }
            (line, is_blank) = (at, true);
        }
    }
    if !is_blank {
        starts.push(line);
    }
    starts.push(at);
    Ok(starts)
}

/// The wanted fields of one line.
fn parse(bytes: &[u8], fields: &Fields) -> std::result::Result<Row, String> {
    let bytes = bytes.trim_ascii();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let found = Wanted(fields)
        .deserialize(&mut deserializer)
        .and_then(|found| deserializer.end().map(|()| found))
        .map_err(|error| error.to_string())?;
    let id = found
        .id
        .ok_or_else(|| format!("no field `{}`", fields.id))?;
    if !matches!(id, Value::String(_) | Value::Number(_)) {
        return Err(format!(
            "field `{}` is neither a string nor a number",
            fields.id
        ));
    }
    Ok(Row {
        id,
        text: found
            .text
            .ok_or_else(|| format!("no field `{}`", fields.text))?,
        quality: found.quality.filter(|quality| quality.is_finite()),
    })
}

#[derive(Default)]
struct Found {
    id: Option<Value>,
    text: Option<String>,
    quality: Option<f32>,
}

/// Reads an object and keeps only the wanted fields; the others are passed over without being built.
struct Wanted<'f>(&'f Fields);

/// A key, borrowed from the line when it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Found, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Found, A::Error> {
        let mut found = Found::default();
        while let Some(Name(key)) = map.next_key()? {
            // One field may serve as both: a text without a name of its own.
            if *key == self.0.text {
                let text: String = map.next_value()?;
                if self.0.id == self.0.text {
                    found.id = Some(Value::String(text.clone()));
                }
                found.text = Some(text);
            } else if *key == self.0.id {
                found.id = Some(map.next_value()?);
            } else if self.0.quality.as_deref() == Some(&*key) {
                let quality: Option<f64> = map.next_value()?;
                found.quality = quality.map(|quality| quality as f32);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields() -> Fields {
        Fields {
            text: "text".into(),
            id: "id".into(),
            quality: Some("score".into()),
        }
    }

    fn check(line: &str, expected: std::result::Result<(&str, &str, Option<f32>), &str>) {
        match (parse(line.as_bytes(), &fields()), expected) {
            (Ok(row), Ok((id, text, quality))) => {
                assert_eq!(
                    (row.id.to_string().as_str(), row.text.as_str(), row.quality),
                    (id, text, quality)
                );
            }
            (Err(reason), Err(part)) => assert!(reason.contains(part), "{line}: {reason}"),
            (got, _) => panic!("{line}: {got:?}"),
        }
    }

    #[test]
    fn lines_and_what_is_wrong_with_them() {
        check(r#"{"id":"a","text":"一二"}"#, Ok(("\"a\"", "一二", None)));
        check(
            r#"{"text":"\u4e00\n","x":[{"id":3}],"id":7,"score":0.5}"#,
            Ok(("7", "一\n", Some(0.5))),
        );
        check(
            "\u{feff}{\"id\":1,\"text\":\"\",\"score\":null}\r\n",
            Ok(("1", "", None)),
        );
        check(
            r#"{"id":1,"text":"x","score":1e999}"#,
            Err("number out of range"),
        );
        check(r#"{"id":1,"text":"x","score":"high"}"#, Err("expected f64"));
        check(r#"{"id":1,"text":null}"#, Err("expected a string"));
        check(r#"{"id":1}"#, Err("no field `text`"));
        check(r#"{"text":"x"}"#, Err("no field `id`"));
        check(
            r#"{"id":[1],"text":"x"}"#,
            Err("neither a string nor a number"),
        );
        check(r#"[1]"#, Err("expected an object"));
        check(r#"{"id":1,"text":"x"} y"#, Err("trailing"));
        check(r#"{"id":1,"text":"\ud800"}"#, Err("hex escape"));
        check(r#"{"id":1,"te"#, Err("EOF"));
    }

    #[test]
    fn lines_are_found_by_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let text = "\n{\"id\":1,\"text\":\"a\"}\n \r\nbroken\n{\"id\":2,\"text\":\"b\"}";
        m6_store::atomic::write_file(&path, text.as_bytes()).unwrap();
        let lines = JsonLines::open(&path, fields()).unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines.row(0).unwrap().unwrap().text, "a");
        assert_eq!(lines.row(1).unwrap().unwrap_err().offset, 24);
        assert_eq!(lines.row(2).unwrap().unwrap().text, "b");
        assert!(lines.row(3).is_err());
        assert_eq!(lines.document(1).unwrap(), None);
        m6_store::atomic::write_file(&path, b"").unwrap();
        assert!(JsonLines::open(&path, fields()).unwrap().is_empty());
        let missing = JsonLines::open(&folder.path().join("none"), fields()).err();
        assert!(missing.unwrap().to_string().contains("none"));
    }

    proptest! {
        #[test]
        fn hostile_lines_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, &fields());
            let starts = line_starts(BufReader::with_capacity(7, bytes.as_slice())).unwrap();
            prop_assert_eq!(starts.last().copied(), Some(bytes.len() as u64));
            let n_lines = bytes.split(|b| *b == b'\n').filter(|l| !l.iter().all(u8::is_ascii_whitespace)).count();
            prop_assert_eq!(starts.len(), n_lines + 1);
        }

        #[test]
        fn nearly_sound_lines_do_not_panic(text in "\\PC{0,20}", cut in 0usize..80) {
            let line = serde_json::json!({"id": 1, "text": text, "score": 0.25}).to_string();
            let row = parse(line.as_bytes(), &fields()).unwrap();
            prop_assert_eq!(row.text, text);
            let _ = parse(&line.as_bytes()[..cut.min(line.len())], &fields());
        }
    }
}

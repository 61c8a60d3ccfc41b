//! Lists of addresses: one a line, or somewhere in lines of JSON.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::Value;

use crate::{Error, Result};

/// Longest line that is read; a page with its pictures fits.
const MAX_LINE: u64 = 64 << 20;
/// Most addresses of one list: they are held in memory, with what became of them.
const MAX_URLS: usize = 100_000_000;

/// The addresses of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// In the order they stand, repeated ones too.
    pub urls: Vec<String>,
    /// Lines that could not be used.
    pub n_bad: u64,
    /// Place (line, counted from 1) and reason of the first such line.
    pub first_bad: Option<(u64, String)>,
}

impl List {
    /// Reads a list. Without `field` every line is an address; blank lines and lines that start with `#` are passed over.
    /// With it every line is a JSON object, and `field` leads to its addresses: `url`, or `images.src` through lists.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read, [`Error::Config`] for lines of JSON without `field` and for
    /// more than 100 million addresses.
    pub fn read(path: &Path, field: Option<&str>) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut reader = BufReader::new(File::open(path).map_err(io)?);
        let mut list = Self::default();
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            let n_bytes = next_line(&mut reader, &mut line, MAX_LINE).map_err(io)?;
            if n_bytes == 0 {
                break;
            }
            if n_bytes > MAX_LINE {
                list.bad(number, format!("a line of more than {MAX_LINE} bytes"));
            } else {
                list.take(&line, number, field)?;
            }
            if list.urls.len() > MAX_URLS {
                return Err(Error::Config(format!(
                    "{}: more than {MAX_URLS} addresses; split the list",
                    path.display()
                )));
            }
        }
        Ok(list)
    }

    fn take(&mut self, line: &[u8], number: u64, field: Option<&str>) -> Result<()> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim().trim_start_matches('\u{feff}');
        if text.is_empty() {
            return Ok(());
        }
        let Some(field) = field else {
            if text.starts_with('{') {
                return Err(Error::Config(format!(
                    "line {number} is JSON; name the field of the addresses (as `url` or `images.src`)"
                )));
            }
            if !text.starts_with('#') {
                self.urls.push(text.to_owned());
            }
            return Ok(());
        };
        match serde_json::from_str::<Value>(text) {
            Ok(value @ Value::Object(_)) => {
                let path: Vec<&str> = field.split('.').collect();
                collect(&value, &path, &mut self.urls);
            }
            Ok(_) => self.bad(number, "no JSON object".to_owned()),
            Err(error) => self.bad(number, error.to_string()),
        }
        Ok(())
    }

    fn bad(&mut self, number: u64, reason: String) {
        self.n_bad += 1;
        self.first_bad.get_or_insert((number, reason));
    }
}

/// Reads a line; the bytes it took, of which at most `most` and one are kept. 0 at the end.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>, most: u64) -> std::io::Result<u64> {
    let mut n_bytes = reader.take(most + 1).read_until(b'\n', line)? as u64;
    let mut is_whole = n_bytes <= most || line.ends_with(b"\n");
    while !is_whole {
        line.clear();
        let n_more = reader.take(most + 1).read_until(b'\n', line)? as u64;
        is_whole = n_more == 0 || line.ends_with(b"\n");
        n_bytes += n_more;
    }
    Ok(n_bytes)
}

/// All strings that a path of names leads to; a list is gone through.
fn collect(value: &Value, path: &[&str], urls: &mut Vec<String>) {
    match (value, path) {
        (Value::Array(values), _) => {
            for value in values {
                collect(value, path, urls);
            }
        }
        (Value::String(url), []) if !url.trim().is_empty() => urls.push(url.trim().to_owned()),
        (Value::Object(fields), [name, rest @ ..]) => {
            if let Some(value) = fields.get(*name) {
                collect(value, rest, urls);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], field: Option<&str>) -> Result<List> {
        let file = tempfile::NamedTempFile::new().unwrap();
        m6_store::atomic::write_file(file.path(), text).unwrap();
        List::read(file.path(), field)
    }

    #[test]
    fn addresses_are_read_from_lines_and_fields() {
        let check = |text: &str, field: Option<&str>, expected: &[&str], n_bad: u64| {
            let list = read(text.as_bytes(), field).unwrap();
            assert_eq!(list.urls, expected, "{text}");
            assert_eq!(list.n_bad, n_bad, "{text}: {:?}", list.first_bad);
        };
        check("", None, &[], 0);
        check(
            "\u{feff}http://a/\r\n\n# no\n  http://b/ \nhttp://a/",
            None,
            &["http://a/", "http://b/", "http://a/"],
            0,
        );
        check(
            "{\"url\":\"http://a/\"}\n{\"url\":7}\n{}\n",
            Some("url"),
            &["http://a/"],
            0,
        );
        let page = r#"{"images":[{"src":"http://a/1"},{"alt":"x"},{"src":["http://a/2",""]}]}"#;
        check(page, Some("images.src"), &["http://a/1", "http://a/2"], 0);
        check(
            "{\"url\":\n[1]\n{\"url\":\"http://c/\"}",
            Some("url"),
            &["http://c/"],
            2,
        );
    }

    #[test]
    fn json_without_a_field_and_a_missing_file_are_errors() {
        let error = read(b"{\"url\":\"http://a/\"}", None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 1") && error.contains("field"),
            "{error}"
        );
        assert!(matches!(
            List::read(Path::new("/nowhere/list"), None),
            Err(Error::Io { .. })
        ));
        let list = read(b"\n[1]\n", Some("url")).unwrap();
        assert_eq!(list.first_bad, Some((2, "no JSON object".to_owned())));
    }

    #[test]
    fn a_line_without_end_is_passed_over() {
        let mut reader = std::io::Cursor::new(b"0123456789abcdef\nfits\n\ny");
        let mut check = |expected: u64| {
            let mut line = Vec::new();
            assert_eq!(next_line(&mut reader, &mut line, 5).unwrap(), expected);
            assert!(line.len() <= 6);
        };
        [17, 5, 1, 1, 0].into_iter().for_each(&mut check);
    }
}

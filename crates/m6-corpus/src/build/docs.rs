//! Records after reading, extraction and cleaning, and their table.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::table::{Batch, Cell, Column, Kind, Reader, Writer};
use crate::{Error, Result};

/// File of a shard's records.
pub const DOCS_NAME: &str = "docs.parquet";

/// A record of the corpus on its way through the stages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Doc {
    /// `source/id`, the name of the record in the ledger.
    pub id: String,
    /// Its address; empty where it has none.
    pub url: String,
    /// Host of the address, lower case; empty where there is none.
    pub host: String,
    /// Headline; may be empty.
    pub title: String,
    /// Language, `zh`, `en`, ...; empty where it is not known.
    pub lang: String,
    /// Charset the bytes were read in; empty for records that came as text.
    pub charset: String,
    /// Clean text, a paragraph a line, no blank lines.
    pub text: String,
    /// Pictures in reading order.
    pub pictures: Vec<DocPicture>,
    /// What the source's configuration asked to keep.
    pub meta: std::collections::BTreeMap<String, String>,
}

/// A picture of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocPicture {
    /// Address or name, as found.
    pub address: String,
    /// Index among the pictures stored beside the records, for one whose bytes came with the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<u64>,
    /// Lines of the record's text that stand before it.
    pub line: usize,
    /// The chosen caption; empty where there is none.
    pub caption: String,
    /// Where the chosen caption is from; empty where there is none.
    pub role: String,
    /// Every text about it, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<PictureText>,
}

/// A text about a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureText {
    /// What it is: `alt`, `title`, `figcaption`, `neighbour`, `paragraph`, `caption`.
    pub role: String,
    /// The text.
    pub text: String,
    /// Steps in the document between it and the picture; 0 for attributes.
    pub distance: u32,
}

/// The columns of the table, in order.
const COLUMNS: [(&str, Kind); 9] = [
    ("id", Kind::Text),
    ("url", Kind::Text),
    ("host", Kind::Text),
    ("title", Kind::Text),
    ("lang", Kind::Text),
    ("charset", Kind::Text),
    ("text", Kind::Text),
    ("pictures", Kind::Text),
    ("meta", Kind::Text),
];

/// Writes records.
pub struct DocWriter<W: Write + Send>(Writer<W>);

impl<W: Write + Send> DocWriter<W> {
    /// Starts a table in `out`; `path` is only for messages.
    ///
    /// # Errors
    /// As [`Writer::new`].
    pub fn new(out: W, path: &Path) -> Result<Self> {
        let columns: Vec<Column> = COLUMNS
            .iter()
            .map(|(name, kind)| match *name {
                "host" | "lang" | "charset" => Column::new(*name, *kind),
                _ => Column::long(*name),
            })
            .collect();
        Ok(Self(Writer::new(out, path, &columns)?))
    }

    /// Adds a record.
    ///
    /// # Errors
    /// As [`Writer::push`].
    pub fn push(&mut self, doc: &Doc) -> Result<()> {
        let json = |empty: bool, text: String| if empty { String::new() } else { text };
        let pictures = serde_json::to_string(&doc.pictures).unwrap_or_default();
        let meta = serde_json::to_string(&doc.meta).unwrap_or_default();
        self.0.push(&[
            Cell::Text(&doc.id),
            Cell::Text(&doc.url),
            Cell::Text(&doc.host),
            Cell::Text(&doc.title),
            Cell::Text(&doc.lang),
            Cell::Text(&doc.charset),
            Cell::Text(&doc.text),
            Cell::Text(&json(doc.pictures.is_empty(), pictures)),
            Cell::Text(&json(doc.meta.is_empty(), meta)),
        ])
    }

    /// Ends the table and gives the output back.
    ///
    /// # Errors
    /// As [`Writer::finish`].
    pub fn finish(self) -> Result<W> {
        self.0.finish()
    }
}

/// Reads records, a row group at a time.
pub struct DocReader {
    inner: Reader,
    folder: std::path::PathBuf,
}

impl DocReader {
    /// Opens the records of an extracted shard.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self {
            inner: Reader::open(&folder.join(DOCS_NAME), &COLUMNS)?,
            folder: folder.to_owned(),
        })
    }

    /// Records of the table.
    pub fn n_rows(&self) -> u64 {
        self.inner.n_rows()
    }

    /// The next records; `None` after the last.
    ///
    /// # Errors
    /// As [`Reader::next_batch`].
    pub fn next_batch(&mut self) -> Result<Option<Vec<Doc>>> {
        let Some(batch) = self.inner.next_batch()? else {
            return Ok(None);
        };
        let docs = (0..batch.n_rows()).map(|row| self.doc(&batch, row));
        docs.collect::<Result<Vec<Doc>>>().map(Some)
    }

    fn doc(&self, batch: &Batch, row: usize) -> Result<Doc> {
        let text = |column| batch.text(column, row).to_string();
        Ok(Doc {
            id: text(0),
            url: text(1),
            host: text(2),
            title: text(3),
            lang: text(4),
            charset: text(5),
            text: text(6),
            pictures: self.json(batch.text(7, row))?,
            meta: self.json(batch.text(8, row))?,
        })
    }

    fn json<T: for<'de> Deserialize<'de> + Default>(&self, text: &str) -> Result<T> {
        if text.is_empty() {
            return Ok(T::default());
        }
        serde_json::from_str(text).map_err(|error| Error::Damaged {
            path: self.folder.join(DOCS_NAME),
            problem: error.to_string(),
        })
    }
}

/// Calls `visit` with chosen text columns of every record of a shard, in order.
///
/// # Errors
/// As [`Reader::open`] and [`Reader::next_batch`], and what `visit` answers.
pub fn visit<const N: usize>(
    folder: &Path,
    columns: [&str; N],
    mut visit: impl FnMut([&str; N]) -> Result<()>,
) -> Result<()> {
    let wanted = columns.map(|name| (name, Kind::Text));
    let mut reader = Reader::open(&folder.join(DOCS_NAME), &wanted)?;
    while let Some(batch) = reader.next_batch()? {
        for row in 0..batch.n_rows() {
            visit(std::array::from_fn(|column| batch.text(column, row)))?;
        }
    }
    Ok(())
}

/// The host of an address, lower case without port; empty when there is none.
pub fn host_of(url: &str) -> String {
    let Some((_, rest)) = url.split_once("://") else {
        return String::new();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        // The colons of an IPv6 address stand inside its brackets.
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    host.trim_end_matches('.').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found() {
        for (url, host) in [
            ("http://Www.Example.com:80/a?b", "www.example.com"),
            ("https://u:p@a.cn/", "a.cn"),
            ("https://a.cn.?x=://b", "a.cn"),
            ("http://[::1]:8/x", "[::1]"),
            ("a.cn/x", ""),
            ("", ""),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }

    #[test]
    fn records_come_back() {
        let picture = DocPicture {
            address: "a.jpg".into(),
            blob: Some(3),
            line: 1,
            caption: "猫".into(),
            role: "alt".into(),
            texts: vec![PictureText {
                role: "alt".into(),
                text: "猫".into(),
                distance: 0,
            }],
        };
        let doc = Doc {
            id: "s/1".into(),
            url: "http://a.cn/".into(),
            host: "a.cn".into(),
            text: "一\n二".into(),
            pictures: vec![picture],
            meta: [("k".to_string(), "v".to_string())].into(),
            ..Doc::default()
        };
        let mut writer = DocWriter::new(Vec::new(), Path::new("d")).expect("starts");
        for doc in [&doc, &Doc::default()] {
            writer.push(doc).expect("fits");
        }
        let dir = tempfile::tempdir().expect("a folder");
        let bytes = writer.finish().expect("ends");
        m6_store::atomic::write_file(&dir.path().join(DOCS_NAME), &bytes).expect("written");
        let mut reader = DocReader::open(dir.path()).expect("opens");
        assert_eq!(reader.n_rows(), 2);
        let docs = reader.next_batch().expect("reads").expect("a batch");
        assert_eq!(docs, [doc, Doc::default()]);
        let mut seen = Vec::new();
        visit(dir.path(), ["text", "id"], |[text, id]| {
            seen.push(format!("{id}:{text}"));
            Ok(())
        })
        .expect("reads");
        assert_eq!(seen, ["s/1:一\n二", ":"]);
    }
}

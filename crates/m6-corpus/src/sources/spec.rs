//! What a source is and how to read it, as the configuration says it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::fields::Fields;
use crate::{Error, Result};

/// A source (ours).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceSpec {
    /// Name, used in every record.
    pub name: String,
    /// The form of the files.
    pub kind: Kind,
    /// Files in reading order; a [`Kind::Pages`] source also takes folders.
    pub files: Vec<PathBuf>,
    /// Which fields of a row are what; not used by [`Kind::Mediawiki`].
    pub fields: Fields,
    /// How the text fields are written.
    pub format: TextFormat,
    /// Language hint for records that name none.
    pub lang: Option<String>,
    /// For [`Kind::Json`]: dotted path of the list of records inside each top-level value.
    pub records: Option<String>,
    /// For [`Kind::Table`]: the character between fields; a tab or a comma, whichever the header has more of, unless
    /// given.
    pub delimiter: Option<char>,
    /// Tars and folders in which pictures named by rows lie.
    pub pictures_from: Vec<PathBuf>,
    /// For [`Kind::Pages`]: JSON lines with a `file` and what is known about it (`url`, `title`, `id` by
    /// [`SourceSpec::fields`]).
    pub index: Option<PathBuf>,
    /// Bounds on what one record may take.
    pub limits: Limits,
}

/// The form of the files of a source (ours).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A MediaWiki XML dump, plain or compressed (gzip, bzip2, zstd).
    Mediawiki,
    /// One JSON object a line.
    #[default]
    Jsonl,
    /// A list of JSON objects, or objects one after the other.
    Json,
    /// CSV or TSV with a header line.
    Table,
    /// Tars whose neighbouring members share a name up to the first dot.
    Webdataset,
    /// Parquet tables.
    Parquet,
    /// Web pages: HTML files in folders or tars.
    Pages,
}

/// How text fields are written (ours).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextFormat {
    /// As it is.
    #[default]
    Plain,
    /// Markdown (CommonMark with tables): pictures keep their place.
    Markdown,
    /// MediaWiki markup.
    Wikitext,
}

/// Bounds on one record (ours); what is beyond them is damage, not memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest record in bytes: a line, a page, a JSON value, a member of a tar.
    pub record: usize,
    /// Most pictures that one record keeps; later ones are left out.
    pub pictures: usize,
}

impl Default for Limits {
    /// 50 MB and 1,000 pictures.
    fn default() -> Self {
        Limits {
            record: 50_000_000,
            pictures: 1_000,
        }
    }
}

/// Forms whose rows are read by [`Fields`].
const ROWS: [Kind; 5] = [
    Kind::Jsonl,
    Kind::Json,
    Kind::Table,
    Kind::Webdataset,
    Kind::Parquet,
];

impl SourceSpec {
    /// Checks what can be checked without reading a record.
    ///
    /// # Errors
    /// [`Error::Config`] with the source's name and every problem found.
    pub fn check(&self) -> Result<()> {
        let mut problems: Vec<&str> = Vec::new();
        if self.files.is_empty() {
            problems.push("it names no file");
        }
        // The samples of a tar bring their texts and pictures themselves.
        if ROWS.contains(&self.kind)
            && self.kind != Kind::Webdataset
            && !self.fields.names_content()
        {
            problems.push("it names no field for text, html or pictures");
        }
        if self.records.is_some() && self.kind != Kind::Json {
            problems.push("`records` is for kind = \"json\"");
        }
        if self.index.is_some() && self.kind != Kind::Pages {
            problems.push("`index` is for kind = \"pages\"");
        }
        if self
            .delimiter
            .is_some_and(|delimiter| !delimiter.is_ascii())
        {
            problems.push("`delimiter` must be an ASCII character");
        }
        if self.limits.record == 0 {
            problems.push("`limits.record` must be at least 1 byte");
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::Config(format!(
                "source \"{}\": {}",
                self.name,
                problems.join("; ")
            ))),
        }
    }
}

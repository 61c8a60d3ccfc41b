//! One `[[corpus.sources]]` block.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sources::{Fields, Kind, Limits, TextFormat};

/// Form of the files of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// WARC, ARC, WET or WAT, plain or compressed.
    Archive,
    /// HTML files in folders or tars.
    Pages,
    /// A MediaWiki XML dump.
    Mediawiki,
    /// One JSON object a line.
    #[default]
    Jsonl,
    /// Whole JSON files.
    Json,
    /// CSV or TSV with a header line.
    Table,
    /// Tars of samples.
    Webdataset,
    /// Parquet tables.
    Parquet,
}

impl Form {
    /// The adapter that reads it; none for archives, which are read record by record.
    pub fn adapter(self) -> Option<Kind> {
        Some(match self {
            Form::Archive => return None,
            Form::Pages => Kind::Pages,
            Form::Mediawiki => Kind::Mediawiki,
            Form::Jsonl => Kind::Jsonl,
            Form::Json => Kind::Json,
            Form::Table => Kind::Table,
            Form::Webdataset => Kind::Webdataset,
            Form::Parquet => Kind::Parquet,
        })
    }
}

/// What is made of the records of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    /// Passages of text.
    Text,
    /// Single pictures with a caption.
    Pairs,
    /// Whole records, text and pictures in their order.
    Documents,
}

impl Modality {
    /// The folder of the output it goes to.
    pub fn folder(self) -> &'static str {
        match self {
            Modality::Text => "text",
            Modality::Pairs => "pairs",
            Modality::Documents => "documents",
        }
    }
}

/// Where records come from and what is made of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConfig {
    /// Name; a part of file names and of record names.
    pub name: String,
    /// What kind of source it is, for the table (`Encyclopedia`, `Community QA`, ...); the name unless given.
    pub category: Option<String>,
    /// Form of the files.
    pub kind: Form,
    /// Files, folders or globs, relative to `corpus.root`, or `s3://` addresses of them (globs of objects only).
    pub path: Paths,
    /// Which fields of a row are what.
    pub fields: Fields,
    /// How text fields are written.
    pub format: TextFormat,
    /// Language of records that name none.
    pub lang: Option<String>,
    /// `json` only: dotted path of the list of records.
    pub records: Option<String>,
    /// `table` only: the character between fields.
    pub delimiter: Option<char>,
    /// Tars, folders or globs in which the pictures lie, as for `path`.
    pub pictures_from: Paths,
    /// `pages` only: JSON lines with a `file` and what is known about it.
    pub index: Option<String>,
    /// Bounds on one record.
    pub limits: Limits,
    /// Licence, copied to the card and to every sample.
    pub licence: String,
    /// What is made of the records (`["text"]`).
    pub modality: Vec<Modality>,
    /// Languages kept, empty for all.
    pub langs: Vec<String>,
    /// Rule pack; that of `corpus.rules` unless given.
    pub pack: Option<String>,
    /// Rules left out for this source, by name, beside those of `corpus.rules.off`.
    pub off: Vec<String>,
    /// Records kept, drawn by hash; 0 keeps all.
    pub cap: u64,
    /// Weight of the source in `prepare.toml` (1).
    pub weight: f64,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            category: None,
            kind: Form::Jsonl,
            path: Paths::default(),
            fields: Fields::default(),
            format: TextFormat::Plain,
            lang: None,
            records: None,
            delimiter: None,
            pictures_from: Paths::default(),
            index: None,
            limits: Limits::default(),
            licence: String::from("not stated"),
            modality: vec![Modality::Text],
            langs: Vec::new(),
            pack: None,
            off: Vec::new(),
            cap: 0,
            weight: 1.0,
        }
    }
}

impl SourceConfig {
    /// The name of the table's row.
    pub fn category(&self) -> &str {
        self.category.as_deref().unwrap_or(&self.name)
    }

    /// Whether pictures are wanted at all.
    pub fn wants_pictures(&self) -> bool {
        self.modality
            .iter()
            .any(|modality| *modality != Modality::Text)
    }
}

/// One path or a list of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths(pub Vec<String>);

impl Paths {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths, as written.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<const N: usize> From<[&str; N]> for Paths {
    fn from(paths: [&str; N]) -> Self {
        Paths(paths.iter().map(|path| path.to_string()).collect())
    }
}

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a path or a list of paths")]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        Ok(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(one) => Paths(vec![one]),
            OneOrMany::Many(many) => Paths(many),
        })
    }
}

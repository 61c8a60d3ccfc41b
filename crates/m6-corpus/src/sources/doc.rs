//! The one record type that every adapter gives, and what becomes of records that cannot be given.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a source gives, record by record, in the order of the input (ours).
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A record.
    Doc(Box<RawDoc>),
    /// A record or a stretch of bytes that cannot be read; the source goes on after it.
    Damage(Damage),
    /// A whole record that is none of the corpus' business: a redirect, a page about the wiki itself.
    Skipped(Skipped),
}

/// The items of a source; files are opened one after the other as the iteration reaches them.
pub type Items = Box<dyn Iterator<Item = Item>>;

/// Where a record stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Byte offset in the file, after decompression; 0 for forms without offsets (Parquet).
    pub offset: u64,
    /// Number of the line or row, from 1; none for forms without lines.
    pub line: Option<u64>,
}

impl Place {
    /// The start of a file.
    pub(super) fn start(path: PathBuf) -> Self {
        Place {
            path,
            ..Place::default()
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.path.display()),
            None => write!(f, "{}@{}", self.path.display(), self.offset),
        }
    }
}

/// One row of the quarantine: where the damage is and what it is (ours).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Where the damaged record begins.
    pub place: Place,
    /// What is wrong with it, for people.
    pub reason: String,
}

/// A readable record that the source leaves out (ours).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Where the record begins.
    pub place: Place,
    /// The record's name in the source.
    pub id: String,
    /// Why, one word of a fixed set: `namespace`, `redirect`, `model`, `empty`, `kind`.
    pub reason: String,
}

/// A record as it was found, before any stage has judged it (paper section 1; the layout is ours).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawDoc {
    /// Name of the source.
    pub source: String,
    /// Identity inside the source; unique as far as the input is.
    pub id: String,
    /// Address of the page, where it has one.
    pub url: Option<String>,
    /// Headline, one line.
    pub title: Option<String>,
    /// Plain text, one paragraph a line; may be empty where [`RawDoc::html`] or pictures are given.
    pub text: String,
    /// A page or part of a page that is still to be extracted.
    pub html: Option<Html>,
    /// What the source says about the language (`zh`, `zh-Hant`), not checked.
    pub lang: Option<String>,
    /// The pictures in reading order.
    pub pictures: Vec<Picture>,
    /// Whatever else the configuration asked to keep.
    pub meta: BTreeMap<String, String>,
    /// Where the record stands.
    pub place: Place,
}

/// Bytes of HTML (ours).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Html {
    /// As found, at most [`crate::sources::Limits::record`] bytes.
    pub bytes: Vec<u8>,
    /// The charset that is known from outside, as HTTP would tell it.
    pub charset: Option<String>,
}

/// A picture of a record and what is said about it (ours).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The picture itself or where it is.
    pub data: PictureData,
    /// Texts about this picture, the nearest first.
    pub captions: Vec<Caption>,
    /// Index of the line of [`RawDoc::text`] before which the picture stands; none when it has no place in the text.
    pub line: Option<usize>,
}

/// A picture's bytes or its address (ours).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PictureData {
    /// An address or a file name, as the source writes it.
    Address(String),
    /// The encoded picture with the name it was found under.
    Bytes {
        /// Name in the archive or column.
        name: String,
        /// Encoded bytes, at most [`crate::sources::Limits::record`].
        bytes: Vec<u8>,
    },
}

/// A text about a picture (ours).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caption {
    /// What the source uses the text for.
    pub role: CaptionRole,
    /// The text, not empty.
    pub text: String,
}

/// What a text about a picture is in its source (ours).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptionRole {
    /// A caption, made to be read with the picture.
    Caption,
    /// Alternative text.
    Alt,
    /// A title attribute.
    Title,
}

impl RawDoc {
    /// The record as an item; one without text, HTML and pictures is left out.
    pub(super) fn into_item(self) -> Item {
        match self.text.is_empty() && self.html.is_none() && self.pictures.is_empty() {
            true => Item::skipped(self.place, self.id, "empty"),
            false => Item::Doc(Box::new(self)),
        }
    }
}

impl Caption {
    /// A caption unless the text is blank.
    pub(super) fn new(role: CaptionRole, text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Caption {
            role,
            text: text.to_string(),
        })
    }
}

impl Item {
    /// A quarantine row.
    pub(super) fn damage(place: Place, reason: impl Into<String>) -> Self {
        Item::Damage(Damage {
            place,
            reason: reason.into(),
        })
    }

    /// A record left out; `reason` is one of the fixed words.
    pub(super) fn skipped(place: Place, id: impl Into<String>, reason: &'static str) -> Self {
        Item::Skipped(Skipped {
            place,
            id: id.into(),
            reason: reason.to_string(),
        })
    }
}

//! What is true of every record of the rendered world.

use serde::{Deserialize, Serialize};

/// One line of `truth.jsonl` (ours).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthRow {
    /// Name of the record: `world-<seed>-page-<number>`, or that of the picture.
    pub id: String,
    /// Its address; no two records share one.
    pub url: String,
    /// What was planted: a [`super::PageKind`] by its name, `picture` or `decoration`.
    pub kind: String,
    /// True when a good corpus holds it. Of duplicates the first is the one marked; another of its cluster is as good.
    pub keep: bool,
    /// Why not, one word; empty when it is kept.
    pub why: String,
    /// The headline.
    pub title: String,
    /// The main text as the page shows it, a paragraph a line, without its headline.
    pub text: String,
    /// For pages in traditional characters: the same text in simplified ones.
    pub simplified: Option<String>,
    /// The content pictures in reading order, with the text that describes each.
    pub images: Vec<TruthImage>,
    /// Name of the page that this one copies.
    pub duplicate_of: Option<String>,
    /// The charset that the bytes are in; empty for pictures.
    pub charset: String,
    /// True when the HTTP head or the page names another charset.
    pub charset_lies: bool,
    /// The archive that holds the record.
    pub file: String,
}

/// A content picture of a page (ours).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthImage {
    /// Absolute address.
    pub src: String,
    /// What the page says about it.
    pub caption: String,
}

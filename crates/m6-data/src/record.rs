//! What a source gives: records, and records that could not be read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use m6_image::{Fit, Limits, Rgb8, decode, resize_square, to_chw};
use m6_store::mmap::Mmap;
use m6_world::{Split, World};

/// A picture of a record, not yet decoded or drawn.
#[derive(Clone)]
pub enum Picture {
    /// The bytes of a picture file.
    Encoded(Vec<u8>),
    /// A picture file inside a mapped file.
    Mapped(Arc<Mmap>, Range<usize>),
    /// Pixels.
    Raw(Rgb8),
    /// A picture of the sample world, drawn when it is needed: seed and side are in the world.
    Drawn(World, Split, u64),
    /// A picture that the record names but that is not there: its name.
    Absent(String),
}

impl Picture {
    /// The encoded bytes; empty for pixels, for a drawing and for an absent picture.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Picture::Encoded(bytes) => bytes,
            Picture::Mapped(map, range) => map.get(range.clone()).unwrap_or_default(),
            Picture::Raw(_) | Picture::Drawn(..) | Picture::Absent(_) => &[],
        }
    }
}

impl Picture {
    /// Pixels of a square of `side` pixels, `3 * side * side` bytes, channels first; a file of more than `max_pixels` is refused before it
    /// is decoded.
    ///
    /// # Errors
    /// The reason as one word and in full: the picture is not there, or cannot be decoded.
    pub fn square(
        &self,
        side: usize,
        fit: Fit,
        max_pixels: u64,
    ) -> Result<Vec<u8>, (&'static str, String)> {
        let image = self.decoded(max_pixels)?;
        Ok(to_chw(&resize_square(&image, side, fit)))
    }

    /// The picture at its own size.
    ///
    /// # Errors
    /// As [`Picture::square`].
    pub fn decoded(&self, max_pixels: u64) -> Result<Rgb8, (&'static str, String)> {
        let limits = Limits {
            max_pixels,
            ..Limits::default()
        };
        Ok(match self {
            Picture::Raw(image) => image.clone(),
            Picture::Drawn(world, split, index) => world.picture(*split, *index).image,
            Picture::Absent(name) => {
                return Err(("missing_picture", format!("there is no picture `{name}`")));
            }
            Picture::Encoded(_) | Picture::Mapped(..) => {
                decode(self.bytes(), &limits).map_err(|error| ("picture", error.to_string()))?
            }
        })
    }
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qa {
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// Kind of question (`detection`, `relation`, `color`, `number`) where the source knows it.
    pub kind: Option<String>,
    /// Answers to choose among; empty for an open question.
    pub choices: Vec<String>,
}

/// One document of a source: any number of pictures and texts.
#[derive(Clone, Default)]
pub struct Record {
    /// Identity; its hash decides whether the record is held out.
    pub id: String,
    /// File and line, or tar and member.
    pub place: String,
    /// The passage.
    pub text: Option<String>,
    /// Descriptions of the pictures.
    pub captions: Vec<String>,
    /// Pictures in order.
    pub images: Vec<Picture>,
    /// Questions with answers.
    pub qa: Vec<Qa>,
}

/// A record that could not be read; it becomes one line of the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// File and line, or tar and offset.
    pub where_: String,
    /// Why, as one of a few words: what is counted.
    pub reason: &'static str,
    /// Why, in full.
    pub detail: String,
    /// The bytes, possibly cut, to try again with.
    pub bytes: Vec<u8>,
}

/// Longest copy of a bad record that is kept, in bytes.
pub const QUARANTINE_BYTES: usize = 4096;

impl BadRecord {
    /// A bad record; of `bytes`, the first 4 KiB are kept.
    pub fn new(
        where_: impl Into<String>,
        reason: &'static str,
        detail: impl ToString,
        bytes: &[u8],
    ) -> Self {
        Self {
            where_: where_.into(),
            reason,
            detail: detail.to_string(),
            bytes: bytes[..bytes.len().min(QUARANTINE_BYTES)].to_vec(),
        }
    }
}

/// A stream of records in a fixed order.
pub trait Source: Send {
    /// Name as configured.
    fn name(&self) -> &str;

    /// The next record, or why there is none at this place; `None` at the end.
    fn next(&mut self) -> Option<std::result::Result<Record, BadRecord>>;

    /// Things seen that a rule passed over without making a record, counted by rule.
    fn skipped(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }
}

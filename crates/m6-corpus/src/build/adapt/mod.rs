//! Where the pipeline meets the other rooms: one thin file each, so that a change there touches one file here.

pub mod archive;
pub mod normalize;
pub mod page;
pub mod pictures;
pub mod rules;
pub mod sources;

use crate::sources::RawDoc;

/// What a reader hands on, in the order of the input.
#[derive(Debug)]
pub enum Raw {
    /// A record still to be extracted and cleaned.
    Record(Box<RawDoc>),
    /// A picture that lies in an archive under its own address.
    Picture {
        /// Its address.
        address: String,
        /// As stored.
        bytes: Vec<u8>,
    },
    /// Something that cannot be read: where, and why.
    Damage {
        /// File and offset or line, enough to look at it again.
        place: String,
        /// What is wrong, for people.
        reason: String,
    },
    /// A whole record that is none of the corpus' business.
    Skipped {
        /// Its name in the ledger.
        id: String,
        /// Its address; may be empty.
        url: String,
        /// Why, one word.
        reason: String,
    },
}

impl Raw {
    /// Bytes it holds, about.
    pub fn size(&self) -> usize {
        const ROW: usize = 256;
        ROW + match self {
            Raw::Record(doc) => {
                let html = doc.html.as_ref().map_or(0, |html| html.bytes.len());
                let pictures = doc.pictures.iter().map(|picture| match &picture.data {
                    crate::sources::PictureData::Bytes { bytes, .. } => bytes.len(),
                    crate::sources::PictureData::Address(address) => address.len(),
                });
                doc.text.len() + html + pictures.sum::<usize>()
            }
            Raw::Picture { bytes, .. } => bytes.len(),
            Raw::Damage { .. } | Raw::Skipped { .. } => 0,
        }
    }
}

//! Raw inputs that are not web archives, each read as a stream of [`Item`]s of one record type (paper section 1, "Data
//! sources": encyclopedia, community questions and answers, forum, shop; the forms are ours).
//!
//! An adapter never holds more than one record in memory (Parquet: one row group's page), and damage costs one record:
//! it becomes a [`Damage`] row with its place and reason, and the next record is looked for.

mod doc;
mod fields;
mod input;
mod json;
mod lines;
mod markdown;
mod members;
mod pages;
mod parquet;
mod resume;
mod rows;
mod spec;
mod table;
mod tar;
mod webdataset;
pub mod wiki;

pub use doc::{
    Caption, CaptionRole, Damage, Html, Item, Items, Picture, PictureData, Place, RawDoc, Skipped,
};
pub use fields::Fields;
pub use members::Members;
pub use resume::open_at;
pub use spec::{Kind, Limits, SourceSpec, TextFormat};

use crate::{Error, Result};

/// Opens a source: its settings are checked, no record is read yet.
///
/// Files are read in the given order; a file that cannot be opened or that ends in damage is a [`Damage`] row, and the
/// next file is read.
///
/// # Errors
/// [`Error::Config`] for settings that cannot be followed, [`Error::Io`] for a picture archive or index that cannot be
/// read.
pub fn open(spec: &SourceSpec) -> Result<Items> {
    spec.check()?;
    let files = spec.files.clone().into_iter();
    Ok(match spec.kind {
        Kind::Mediawiki => {
            let spec = spec.clone();
            Box::new(files.flat_map(move |file| wiki::open(&spec, Place::start(file))))
        }
        Kind::Jsonl => {
            let rows = rows::Rows::new(spec)?;
            Box::new(files.flat_map(move |file| json::lines(rows.clone(), Place::start(file))))
        }
        Kind::Json => {
            let rows = rows::Rows::new(spec)?;
            Box::new(files.flat_map(move |file| json::values(rows.clone(), file)))
        }
        Kind::Table => {
            let rows = rows::Rows::new(spec)?;
            let delimiter = spec.delimiter;
            Box::new(files.flat_map(move |file| table::open(rows.clone(), file, delimiter)))
        }
        Kind::Webdataset => {
            let rows = rows::Rows::new(spec)?;
            Box::new(files.flat_map(move |file| webdataset::open(rows.clone(), file)))
        }
        Kind::Parquet => {
            let rows = rows::Rows::new(spec)?;
            Box::new(files.flat_map(move |file| parquet::open(rows.clone(), file)))
        }
        Kind::Pages => pages::open(spec)?,
    })
}

/// An error that names the file.
fn io(path: &std::path::Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod real_tests;
#[cfg(test)]
mod tests;

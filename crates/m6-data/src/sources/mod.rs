//! The forms that records come in.

mod each;
mod folder;
mod json;
mod lines;
mod listed;
mod parquet;
mod pictures;
mod verse;
mod webdataset;
mod world;

use std::path::Path;

use crate::config::{Fields, Kind, SourceConfig};
use crate::error::Result;
use crate::files::expand;
use crate::record::Source;

pub use pictures::IMAGE_EXTENSIONS;

/// Side of pictures of the sample world where no configuration gives one.
const DRAWN_SIDE: usize = 128;

/// Opens a source: its files are found and their outlines checked, no record is read yet.
///
/// A source with the task `poem` gives each pair of title and verse twice, as the questions that ask for the poem by its title
/// and by its first line; what is no verse of equal lines is passed over.
///
/// # Errors
/// A pattern that matches nothing (with the nearest name), a table without the named columns, a file that
/// cannot be mapped.
pub fn open(config: &SourceConfig, root: &Path) -> Result<Box<dyn Source>> {
    open_sized(config, root, DRAWN_SIDE)
}

/// As [`open`], with the side of drawn pictures in pixels.
pub fn open_sized(config: &SourceConfig, root: &Path, side: usize) -> Result<Box<dyn Source>> {
    let config = &config.resolved();
    let files = expand(&config.name, &config.path, root)?;
    let side_files = match &config.side {
        Some(side) => expand(&config.name, &Fields::from([side.as_str()]), root)?,
        None => Vec::new(),
    };
    let source: Box<dyn Source> = match config.kind {
        Kind::Jsonl | Kind::Tsv => Box::new(lines::LineSource::new(config, files, root)?),
        Kind::Json => Box::new(json::JsonSource::new(config, files, root)?),
        Kind::Parquet => Box::new(parquet::ParquetSource::new(config, files)?),
        Kind::Webdataset if !side_files.is_empty() => {
            Box::new(lines::LineSource::in_tars(config, side_files, &files)?)
        }
        Kind::Webdataset => Box::new(webdataset::ShardSource::new(config, files)),
        Kind::Folder => Box::new(folder::FolderSource::new(config, &files, &side_files)?),
        Kind::World => Box::new(world::WorldSource::new(config, side)),
    };
    let source = match &config.only {
        Some(only) => {
            let lists = expand(&config.name, &Fields::from([only.as_str()]), root)?;
            Box::new(listed::Listed::new(source, lists))
        }
        None => source,
    };
    Ok(match config.tasks.contains_key("poem") {
        true => Box::new(verse::Verses::new(source)),
        false => source,
    })
}

#[cfg(test)]
mod importer_tests;
#[cfg(test)]
mod tests;

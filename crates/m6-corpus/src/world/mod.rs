//! The sample world as a piece of the web: pages with their pictures inside WARC files, and the truth of every record
//! (design section 6; ours). A test bed: what is measured on it is synthetic.
//!
//! Planted are near and exact duplicates, advertising, pages without worth, lying charsets, NULs, and broken, cut and
//! lying records. Every page is a function of the seed and its number, so the same options give the same bytes.

mod charset;
mod content;
mod furniture;
mod html;
mod junk;
mod page;
mod plan;
mod records;
mod script;
mod truth;

use std::io::Write;
use std::path::Path;

use m6_store::atomic::DirCommit;
use m6_store::rng::Key;
use m6_world::World;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use plan::PageKind;
pub use truth::{TruthImage, TruthRow};

use crate::{Error, Result};

/// Name of the file of truth beside the archives.
pub const TRUTH_NAME: &str = "truth.jsonl";

/// How much world, and which (ours).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Seed of everything.
    pub seed: u64,
    /// Number of pages; their pictures come on top.
    pub n_pages: u64,
    /// Pages in one archive; at least 1.
    pub pages_per_file: u64,
    /// Side of the pictures in pixels, 16 to 1,024; from 71 on they have the paper's 5,000 pixels.
    pub side: usize,
}

impl Default for Options {
    /// 400 pages in two archives, pictures of 128 pixels.
    fn default() -> Self {
        Options {
            seed: 1,
            n_pages: 400,
            pages_per_file: 200,
            side: 128,
        }
    }
}

/// One rendered archive (ours).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldFile {
    /// `world-00000.warc.gz`.
    pub name: String,
    /// The archive.
    pub bytes: Vec<u8>,
    /// A row for every record of the archive but its first (the `warcinfo`), in order.
    pub truth: Vec<TruthRow>,
}

/// What was written (ours).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Archives.
    pub n_files: u64,
    /// Pages, damaged ones included.
    pub n_pages: u64,
    /// Pages that a good corpus keeps.
    pub n_keep: u64,
    /// Content pictures of whole pages.
    pub n_pictures: u64,
    /// Bytes of the archives.
    pub n_bytes: u64,
}

/// Renders the archives one after the other; the pages of one are made in parallel.
///
/// # Errors
/// [`Error::Config`] when a picture cannot be encoded, which no option leads to.
pub fn files(options: Options) -> impl Iterator<Item = Result<WorldFile>> {
    let per_file = options.pages_per_file.max(1);
    (0..options.n_pages.div_ceil(per_file)).map(move |number| file(&options, number))
}

fn file(options: &Options, number: u64) -> Result<WorldFile> {
    let name = format!("world-{number:05}.warc.gz");
    let world = World::new(options.seed, options.side);
    let key = Key::new(options.seed).child("web");
    let per_file = options.pages_per_file.max(1);
    let first = number * per_file;
    let last = (first + per_file).min(options.n_pages);
    let io = |source| Error::Io {
        path: name.clone().into(),
        source,
    };
    let mut bytes = records::warcinfo(&name, page::DATE).map_err(io)?;
    let mut truth = Vec::new();
    // The small pictures of a host come once, before its first page of the archive.
    let mut hosts: Vec<String> = Vec::new();
    let pages: Vec<Result<page::Made>> = (first..last)
        .into_par_iter()
        .map(|number| page::make(&world, options.seed, key, number))
        .collect();
    for made in pages {
        let made = made?;
        if !hosts.contains(&made.host) {
            for (member, row) in page::decorations(&made.host)? {
                bytes.extend(member);
                truth.push(row);
            }
            hosts.push(made.host);
        }
        for (member, row) in made.records {
            bytes.extend(member);
            truth.push(row);
        }
    }
    truth.iter_mut().for_each(|row| row.file.clone_from(&name));
    Ok(WorldFile { name, bytes, truth })
}

/// Writes the archives and [`TRUTH_NAME`] into a folder that appears whole or not at all.
///
/// # Errors
/// [`Error::Store`] when the folder holds something already or the disk does not take it.
pub fn write(dir: &Path, options: Options) -> Result<Summary> {
    let commit = DirCommit::begin(dir)?;
    let io = |source| Error::Io {
        path: dir.to_path_buf(),
        source,
    };
    let mut summary = Summary::default();
    let mut truth = commit.file(TRUTH_NAME)?;
    for file in files(options) {
        let file = file?;
        let mut out = commit.file(&file.name)?;
        out.write_all(&file.bytes).map_err(io)?;
        out.finish()?;
        summary.n_files += 1;
        summary.n_bytes += file.bytes.len() as u64;
        for row in &file.truth {
            summary.add(row);
            let line =
                serde_json::to_string(row).map_err(|error| Error::Config(error.to_string()))?;
            truth
                .write_all(format!("{line}\n").as_bytes())
                .map_err(io)?;
        }
    }
    truth.finish()?;
    commit.commit()?;
    Ok(summary)
}

impl Summary {
    fn add(&mut self, row: &TruthRow) {
        match row.kind.as_str() {
            "picture" => self.n_pictures += 1,
            "decoration" => {}
            _ => {
                self.n_pages += 1;
                self.n_keep += u64::from(row.keep);
            }
        }
    }
}

#[cfg(test)]
mod tests;

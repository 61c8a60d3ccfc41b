//! The finished corpus in its folder: samples, ledger, records, statistics, report, card; the manifest comes last.

use std::fs;
use std::path::{Path, PathBuf};

use m6_store::atomic::{DirCommit, write_file};
use m6_store::manifest::{self, FileEntry};
use serde::{Deserialize, Serialize};

use super::config::{Config, Modality};
use super::context::{Context, Made};
use super::stages::write::{LEDGER_NAME, RECORDS_NAME, Split, file_name};
use super::stats::Stats;
use super::work::{KeyHash, Stage};
use super::{card, report};
use crate::{Error, Result};

/// Publishing; a part of the key of the whole.
pub const STAGE: Stage = Stage {
    name: "publish",
    version: 1,
};
/// Name of the manifest; it is written last, so a folder without one is not finished.
pub const MANIFEST_NAME: &str = "manifest.json";
/// Version of the manifest.
const FORMAT_VERSION: u32 = 1;
/// What lies beside the folders, for people and `m6 prepare`.
pub const TEXTS: [&str; 4] = ["stats.json", "prepare.toml", "README.md", "report.html"];
/// Folders of the corpus.
pub const FOLDERS: [&str; 5] = ["text", "pairs", "documents", "ledger", "records"];

/// `manifest.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this layout.
    pub format_version: u32,
    /// Name of the whole: what went in and what was done with it.
    pub key: String,
    /// Hash of the names and contents of the data files: samples, ledger and records.
    pub digest: String,
    /// The configuration, every default filled in.
    pub config: serde_json::Value,
    /// Lists and models with their hashes.
    pub assets: serde_json::Value,
    /// Shards by source: their number and bytes of input.
    pub inputs: Vec<Input>,
    /// Data files with their hashes.
    pub files: Vec<FileEntry>,
}

/// What went in of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Name of the source.
    pub source: String,
    /// Its licence.
    pub licence: String,
    /// Shards it was cut into.
    pub shards: u64,
    /// Bytes of input.
    pub bytes: u64,
    /// Hash of what all its files hold.
    pub blake3: String,
}

/// The key of the whole build; `truth` is the hash of the file of planted truth.
pub fn key(context: &Context<'_>, written: &[Made], truth: Option<&str>) -> String {
    let config = Config {
        // Neither where the data lies nor how much memory there is changes what is made.
        root: PathBuf::new(),
        cache: None,
        memory_mb: 0,
        ..context.config.clone()
    };
    let mut key = KeyHash::new(STAGE).with_json(&config);
    for made in written {
        key = key.with(made.key.as_bytes());
    }
    key.with(truth.unwrap_or_default().as_bytes()).finish()
}

/// The manifest of a folder, if it is finished and its files are there in their sizes.
pub fn finished(out: &Path) -> Option<Manifest> {
    let bytes = fs::read(out.join(MANIFEST_NAME)).ok()?;
    let manifest: Manifest = serde_json::from_slice(&bytes).ok()?;
    let is_there = |file: &FileEntry| {
        fs::metadata(out.join(&file.name)).is_ok_and(|data| data.len() == file.size)
    };
    manifest.files.iter().all(is_there).then_some(manifest)
}

/// Puts the corpus in its folder. A reader that finds a manifest finds what it names.
///
/// # Errors
/// [`Error::Io`] and [`Error::Store`] for what cannot be read or written.
pub fn run(
    context: &Context<'_>,
    out: &Path,
    key: String,
    written: &[Made],
    seen: &[Made],
    stats: &Stats,
    assets: serde_json::Value,
) -> Result<Manifest> {
    // From here until the end the folder is unfinished, and says so.
    match fs::remove_file(out.join(MANIFEST_NAME)) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            let path = out.join(MANIFEST_NAME);
            return Err(Error::Io { path, source });
        }
        _ => {}
    }
    let mut files = Vec::new();
    for folder in FOLDERS {
        let links = links(context, folder, written);
        files.extend(publish_folder(out, folder, &links)?);
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let config = context.config;
    put(out, "stats.json", &pretty(stats))?;
    put(out, "prepare.toml", &card::prepare_toml(config, &files))?;
    put(out, "README.md", &card::readme(config, stats))?;
    put(
        out,
        "report.html",
        &report::page(config, stats, written, seen)?,
    )?;
    let mut digest = blake3::Hasher::new();
    for file in &files {
        digest.update(file.name.as_bytes());
        digest.update(b"\0");
        digest.update(file.blake3.as_bytes());
    }
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        key,
        digest: digest.finalize().to_hex().to_string(),
        config: serde_json::to_value(config).unwrap_or_default(),
        assets,
        inputs: inputs(context),
        files,
    };
    put(out, MANIFEST_NAME, &pretty(&manifest))?;
    Ok(manifest)
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn put(out: &Path, name: &str, text: &str) -> Result<()> {
    Ok(write_file(&out.join(name), text.as_bytes())?)
}

fn inputs(context: &Context<'_>) -> Vec<Input> {
    let sources = context.config.sources.iter().enumerate();
    let of_source = sources.map(|(at, source)| {
        let mut input = Input {
            source: source.name.clone(),
            licence: source.licence.clone(),
            ..Input::default()
        };
        let mut hash = blake3::Hasher::new();
        for shard in context.shards.iter().filter(|shard| shard.source == at) {
            input.shards += 1;
            input.bytes += shard.bytes;
            hash.update(shard.identity.as_bytes());
        }
        input.blake3 = hash.finalize().to_hex().to_string();
        input
    });
    of_source.collect()
}

/// A file of the corpus: its name inside the folder and where it lies.
type Link = (String, PathBuf);

/// What lies in a folder of the corpus; files that a shard did not need are left out.
fn links(context: &Context<'_>, folder: &str, written: &[Made]) -> Vec<Link> {
    let mut out = Vec::new();
    for (number, (shard, made)) in context.shards.iter().zip(written).enumerate() {
        let source = &context.config.sources[shard.source];
        let mut add = |name: String, file: &str| {
            let path = made.folder.join(file);
            if path.is_file() {
                out.push((name, path));
            }
        };
        match folder {
            "ledger" => add(format!("{number:05}.parquet"), LEDGER_NAME),
            "records" => add(format!("{number:05}.parquet"), RECORDS_NAME),
            _ => {
                let all = [Modality::Text, Modality::Pairs, Modality::Documents];
                let Some(modality) = all.into_iter().find(|modality| modality.folder() == folder)
                else {
                    continue;
                };
                for split in [Split::Train, Split::HeldOut] {
                    let file = file_name(modality, split, context.config.mix.text);
                    let extension = file.rsplit('.').next().unwrap_or_default();
                    let name = format!(
                        "{}/{}-{:05}.{extension}",
                        source.name,
                        split.name(),
                        shard.number
                    );
                    add(name, &file);
                }
            }
        }
    }
    out
}

/// Makes a folder of links to files of stages, in place of what was there; gives its files with their hashes.
fn publish_folder(out: &Path, folder: &str, links: &[Link]) -> Result<Vec<FileEntry>> {
    let place = out.join(folder);
    if links.is_empty() && !place.exists() {
        return Ok(Vec::new());
    }
    let commit = DirCommit::begin_replacing(&place)?;
    for (name, from) in links {
        let to = commit.path().join(name);
        if let Some(parent) = to.parent() {
            m6_store::atomic::create_dir(parent)?;
        }
        // The same bytes under two names; where the file system has no links, a copy.
        if fs::hard_link(from, &to).is_err() {
            fs::copy(from, &to).map_err(|source| Error::Io { path: to, source })?;
        }
    }
    commit.commit()?;
    let files = manifest::read(&place)?
        .files
        .into_iter()
        .map(|file| FileEntry {
            name: format!("{folder}/{}", file.name),
            ..file
        });
    Ok(files.collect())
}

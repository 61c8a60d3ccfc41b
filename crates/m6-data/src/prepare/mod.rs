//! Sources to a prepared folder: token shards, pictures, record and row tables.

mod digest;
mod fine;
mod rows;
mod source;

pub use digest::is_held_out;
pub(crate) use rows::ITEM_BYTES;

use std::io::Write;
use std::path::Path;

use m6_store::atomic::DirCommit;
use m6_store::hash::hash_bytes;
use m6_text::Tokenizer;

use crate::config::{CodesConfig, DataConfig};
use crate::error::{Error, Result};
use crate::manifest::{FORMAT_VERSION, MANIFEST_FILE, Manifest, Summary};
use crate::quarantine::Quarantine;
use crate::sources;
use crate::tasks::Layout;

/// How far preparing has come.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// The source being read.
    pub source: &'a str,
    /// Number of the source, from 0.
    pub source_index: usize,
    /// Number of sources.
    pub n_sources: usize,
    /// Records of this source seen so far.
    pub records: u64,
    /// Of them, bad ones.
    pub bad: u64,
    /// Whether the records are all read and rows are being packed.
    pub packing: bool,
}

/// Folder of the coder inside prepared data.
pub const CODER_DIR: &str = "vqgan";

/// Turns pictures into image codes while they are prepared.
///
/// With `fine`, each picture has two sets of codes.
pub struct PictureCoder<'a> {
    /// What identifies it: the hash of its weights.
    pub id: String,
    /// Entries of its codebook, at most 65,536.
    pub codebook_size: usize,
    /// Codes per side of a picture.
    pub grid: usize,
    /// Pixels per side of a picture that becomes `grid * grid` codes.
    pub side: usize,
    /// Finer codes per side of a code, [`CodesConfig::fine`]; 0 or 1 for none.
    pub fine: usize,
    /// Files with which it is loaded again, kept in [`CODER_DIR`] of the prepared folder: name and content.
    pub files: Vec<(String, Vec<u8>)>,
    /// Codes of pictures of `image_side` pixels given one after the other (3 x side x side bytes each), each seen at so many times `side`:
    /// `(times * grid)^2` a picture.
    pub encode: &'a dyn Fn(&[u8], usize) -> std::result::Result<Vec<u16>, String>,
}

/// Reads every source and commits a prepared folder at `out`, in one rename.
///
/// With `replace`, prepared data already at `out` stays until the new one is whole.
///
/// The same configuration, tokenizer and files give the same bytes, for any number of threads.
///
/// # Errors
/// Every problem of the configuration at once; a missing file; a source that gives nothing; more bad records
/// than `bad_limit` (the quarantine is then kept beside `out`); a write that fails.
pub fn prepare(
    config: &DataConfig,
    tokenizer: &Tokenizer,
    coder: Option<&PictureCoder<'_>>,
    out: &Path,
    replace: bool,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Summary> {
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(Error::Config(problems));
    }
    let vocab_size = tokenizer.vocab_size();
    if vocab_size > 1 << 16 {
        return Err(Error::Vocabulary { size: vocab_size });
    }
    let config = &DataConfig {
        codes: coder.map_or_else(CodesConfig::default, |coder| CodesConfig {
            vqgan: coder.id.clone(),
            codebook_size: coder.codebook_size,
            grid: coder.grid,
            fine: coder.fine,
        }),
        ..config.resolved()
    };
    fine::check(config, coder)?;
    // All sources are opened before any is read: a misspelt path fails at once.
    let opened = config
        .sources
        .iter()
        .map(|source| sources::open_sized(source, &config.root, config.image_side))
        .collect::<Result<Vec<_>>>()?;
    let commit = match replace {
        true => DirCommit::begin_replacing(out)?,
        false => DirCommit::begin(out)?,
    };
    let file = std::io::BufWriter::new(commit.file("quarantine.jsonl")?);
    let mut quarantine = Quarantine::new(file, out.join("quarantine.jsonl"));
    let layout = Layout::new(config, tokenizer.special());
    let mut reports = Vec::with_capacity(opened.len());
    for (at, reader) in opened.into_iter().enumerate() {
        let mut job = source::Job {
            config,
            source: &config.sources[at],
            tokenizer,
            coder,
            layout: &layout,
            dir: commit.path().join(&config.sources[at].name),
            out,
        };
        let mut tell = |records, bad, packing| {
            progress(Progress {
                source: &config.sources[at].name,
                source_index: at,
                n_sources: config.sources.len(),
                records,
                bad,
                packing,
            });
        };
        reports.push(job.run(reader, &mut quarantine, &mut tell)?);
    }
    let file = quarantine.into_inner().into_inner();
    file.map_err(|error| Error::io(out, error.into_error()))?
        .finish()?;
    let tokenizer_json = tokenizer.to_json();
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        config: config.clone(),
        config_hash: config_hash(config),
        tokenizer_hash: hash_bytes(tokenizer_json.as_bytes()),
        vocab_size,
        image_side: config.image_side,
        grid: config.grid,
        sources: reports,
    };
    for (name, content) in coder.iter().flat_map(|coder| &coder.files) {
        write(&commit, out, &format!("{CODER_DIR}/{name}"), content)?;
    }
    write(&commit, out, "tokenizer.json", tokenizer_json.as_bytes())?;
    write(&commit, out, "README.md", manifest.card().as_bytes())?;
    write(&commit, out, MANIFEST_FILE, manifest.to_json().as_bytes())?;
    commit.commit()?;
    Ok(manifest)
}

fn write(commit: &DirCommit, out: &Path, name: &str, content: &[u8]) -> Result<()> {
    let mut file = commit.file(name)?;
    file.write_all(content)
        .map_err(|cause| Error::io(out.join(name), cause))?;
    Ok(file.finish()?)
}

fn config_hash(config: &DataConfig) -> String {
    let without_root = DataConfig {
        root: Default::default(),
        ..config.clone()
    };
    hash_bytes(
        serde_json::to_string(&without_root)
            .unwrap_or_default()
            .as_bytes(),
    )
}

#[cfg(test)]
mod tests;

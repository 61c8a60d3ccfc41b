//! Which files go in, what they hold, and how they are cut into shards.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::Planned;
use super::config::{Config, SourceConfig};
use super::cuts::{self, Learnt, cuts};
use super::files::Files;
use super::work::Work;
use crate::{Error, Result};

/// Hashes of files seen before, by path; in the work folder.
const CACHE_NAME: &str = "inputs.json";
/// Files below this many bytes are put together in a shard by count too, so that a shard of many tiny pages ends.
const MAX_FILES: usize = 4096;

/// A piece of input that one task reads from start to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shard {
    /// Index of the source in the configuration.
    pub source: usize,
    /// Number of the shard within its source.
    pub number: usize,
    /// Files, in reading order.
    pub files: Vec<PathBuf>,
    /// Bytes of the only file: records that begin from the first to before the second; none for whole files.
    pub range: Option<(u64, u64)>,
    /// Lines of the file before the range, where a file of lines is cut.
    pub lines_before: u64,
    /// Bytes to read.
    pub bytes: u64,
    /// What the bytes are, whatever their paths: hashes of the files, with the range.
    pub identity: String,
}

/// Content hashes of files; a file is read again only when its size or time of change is another.
#[derive(Debug)]
pub struct Hashes {
    path: PathBuf,
    known: BTreeMap<PathBuf, Known>,
    is_changed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    size: u64,
    modified_ns: u64,
    blake3: String,
    /// Where the file can be cut into pieces of so many bytes: offsets of lines, with the number of lines before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cuts: Option<(u64, Vec<(u64, u64)>)>,
}

impl Hashes {
    /// The hashes kept in a work folder; a damaged or missing file of hashes only costs their reading again.
    pub fn open(work: &Path) -> Self {
        let path = work.join(CACHE_NAME);
        let known = fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self {
            path,
            known,
            is_changed: false,
        }
    }

    /// The hash of a file's content; of a folder, that of its files' names and contents. Of an object, what the store says of its content:
    /// it is not read to know that it is the same.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Store`] when it cannot be read.
    pub fn of(&mut self, files: &Files<'_>, path: &Path) -> Result<String> {
        match files.identity(path) {
            Some(identity) => Ok(identity),
            None => self.of_local(path),
        }
    }

    fn of_local(&mut self, path: &Path) -> Result<String> {
        let data = fs::metadata(path).map_err(|source| io(path, source))?;
        if data.is_dir() {
            let mut hash = blake3::Hasher::new();
            for file in files_below(path)? {
                let name = file.strip_prefix(path).unwrap_or(&file);
                hash.update(name.to_string_lossy().as_bytes());
                hash.update(b"\0");
                hash.update(self.of_local(&file)?.as_bytes());
            }
            return Ok(hash.finalize().to_hex().to_string());
        }
        let modified_ns = data
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(0));
        let size = data.len();
        if let Some(known) = self.known.get(path)
            && known.size == size
            && known.modified_ns == modified_ns
            && modified_ns != 0
        {
            return Ok(known.blake3.clone());
        }
        let blake3 = m6_store::hash::hash_file(path)?;
        let known = Known {
            size,
            modified_ns,
            blake3: blake3.clone(),
            cuts: None,
        };
        self.known.insert(path.to_owned(), known);
        self.is_changed = true;
        Ok(blake3)
    }

    /// The first line that begins at or after every multiple of `step` bytes of a file, each with the number of lines before it.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Store`] when the file cannot be read.
    pub(super) fn line_cuts(&mut self, path: &Path, step: u64) -> Result<Vec<(u64, u64)>> {
        self.of_local(path)?;
        let Some(known) = self.known.get_mut(path) else {
            return Ok(vec![(0, 0)]);
        };
        if let Some((of_step, cuts)) = &known.cuts
            && *of_step == step
        {
            return Ok(cuts.clone());
        }
        let cuts = cuts::line_cuts(path, step)?;
        known.cuts = Some((step, cuts.clone()));
        self.is_changed = true;
        Ok(cuts)
    }

    /// Cuts of an object that were learnt before.
    pub(super) fn cuts_of(
        &self,
        path: &Path,
        identity: &str,
        step: u64,
    ) -> Option<Vec<(u64, u64)>> {
        let known = self.known.get(path)?;
        let (of_step, cuts) = known.cuts.as_ref()?;
        (known.blake3 == identity && *of_step == step).then(|| cuts.clone())
    }

    /// Keeps cuts of an object.
    pub(super) fn learn(
        &mut self,
        path: &Path,
        identity: &str,
        size: u64,
        step: u64,
        cuts: &[(u64, u64)],
    ) {
        let known = Known {
            size,
            modified_ns: 0,
            blake3: identity.to_string(),
            cuts: Some((step, cuts.to_vec())),
        };
        self.known.insert(path.to_owned(), known);
        self.is_changed = true;
    }

    /// Keeps what was learnt.
    ///
    /// # Errors
    /// [`Error::Store`] when it cannot be written.
    pub fn save(&self) -> Result<()> {
        if !self.is_changed {
            return Ok(());
        }
        let text = serde_json::to_vec(&self.known).unwrap_or_default();
        Ok(m6_store::atomic::write_file(&self.path, &text)?)
    }
}

/// Every regular file below a folder, in order of path.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut out, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|source| io(&folder, source))? {
            let entry = entry.map_err(|source| io(&folder, source))?;
            let kind = entry.file_type().map_err(|source| io(&folder, source))?;
            match kind.is_dir() {
                true => folders.push(entry.path()),
                false if kind.is_file() => out.push(entry.path()),
                false => {}
            }
        }
    }
    out.sort();
    Ok(out)
}

/// Files and bytes of every source, without reading them.
///
/// # Errors
/// [`Error::Config`] naming every source whose files are not there.
pub(super) fn plan(config: &Config, files: &Files<'_>) -> Result<Vec<Planned>> {
    let (mut out, mut problems) = (Vec::new(), Vec::new());
    for source in &config.sources {
        match files.expand(&source.path) {
            Ok(found) => {
                let sizes: Result<Vec<u64>> = found.iter().map(|file| files.size(file)).collect();
                out.push(Planned {
                    source: source.name.clone(),
                    files: found.len(),
                    bytes: sizes?.iter().sum(),
                });
            }
            Err(error) => problems.push(missing(source, error)?),
        }
        if let Err(error) = files.expand(&source.pictures_from) {
            problems.push(missing(source, error)?);
        }
    }
    match problems.is_empty() {
        true => Ok(out),
        false => Err(Error::Config(problems.join("\n"))),
    }
}

/// A source's files that are not there are told with those of the others; a store that refuses once would refuse for the others too.
fn missing(source: &SourceConfig, error: Error) -> Result<String> {
    match error {
        Error::Remote { .. } => Err(error),
        error => Ok(format!("source `{}`: {error}", source.name)),
    }
}

/// Cuts every source into shards, in order of the configuration. The cut depends on the files and `corpus.shard_mb` only.
///
/// # Errors
/// [`Error::Config`] naming every source whose files are not there, [`Error::Io`] for a file that cannot be read.
pub fn shards(
    config: &Config,
    files: &Files<'_>,
    work: &Work<'_>,
    hashes: &mut Hashes,
) -> Result<Vec<Shard>> {
    let (mut out, mut problems) = (Vec::new(), Vec::new());
    let mut known = Learnt {
        files,
        work,
        hashes,
    };
    for (index, source) in config.sources.iter().enumerate() {
        match files.expand(&source.path) {
            Ok(found) => cut(config, index, source, found, &mut known, &mut out)?,
            Err(error) => problems.push(missing(source, error)?),
        }
    }
    match problems.is_empty() {
        true => Ok(out),
        false => Err(Error::Config(problems.join("\n"))),
    }
}

fn cut(
    config: &Config,
    index: usize,
    source: &SourceConfig,
    files: Vec<PathBuf>,
    known: &mut Learnt<'_>,
    out: &mut Vec<Shard>,
) -> Result<()> {
    let limit = config.shard_bytes();
    let mut group: Vec<(PathBuf, u64)> = Vec::new();
    let mut number = 0;
    let mut push = |files: Vec<(PathBuf, u64)>,
                    range: Option<(u64, u64)>,
                    lines_before: u64,
                    known: &mut Learnt<'_>| {
        let mut identity = String::new();
        for (file, _) in &files {
            identity.push_str(&known.hashes.of(known.files, file)?);
        }
        if let Some((from, to)) = range {
            identity.push_str(&format!("@{from}-{to}"));
        }
        let whole: u64 = files.iter().map(|(_, size)| size).sum();
        out.push(Shard {
            source: index,
            number,
            bytes: range.map_or(whole, |(from, to)| to - from),
            files: files.into_iter().map(|(file, _)| file).collect(),
            range,
            lines_before,
            identity,
        });
        number += 1;
        Ok::<(), Error>(())
    };
    for file in files {
        let size = known.files.size(&file)?;
        let full: u64 = group.iter().map(|(_, size)| size).sum::<u64>() + size;
        if !group.is_empty() && (full > limit || group.len() >= MAX_FILES) {
            push(std::mem::take(&mut group), None, 0, known)?;
        }
        let cuts = match size > limit {
            true => cuts(source.kind, &file, limit, size, known)?,
            false => Vec::new(),
        };
        for (at, (from, lines_before)) in cuts.iter().enumerate() {
            let to = cuts.get(at + 1).map_or(size, |(next, _)| *next);
            push(
                vec![(file.clone(), size)],
                Some((*from, to)),
                *lines_before,
                known,
            )?;
        }
        if !cuts.is_empty() {
            continue;
        }
        group.push((file, size));
    }
    match group.is_empty() {
        true => Ok(()),
        false => push(group, None, 0, known),
    }
}

pub(super) fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::build::config::Paths;
    use crate::remote::Stores;

    fn put(dir: &Path, name: &str, bytes: &[u8]) {
        m6_store::atomic::create_dir(dir).expect("a folder");
        m6_store::atomic::write_file(&dir.join(name), bytes).expect("written");
    }

    #[test]
    fn small_files_are_put_together_and_what_is_missing_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        for n in 0..5 {
            put(dir.path(), &format!("{n}.jsonl"), &vec![b'\n'; 400 << 10]);
        }
        let source = |name: &str, path: &str| SourceConfig {
            name: name.to_string(),
            path: Paths::from([path]),
            ..SourceConfig::default()
        };
        let mut config = Config {
            root: dir.path().to_owned(),
            shard_mb: 1,
            sources: vec![source("a", "*.jsonl")],
            ..Config::default()
        };
        let cut = |config: &Config| {
            let (stores, stop) = (Stores::default(), AtomicBool::new(false));
            let files = Files::new(config, dir.path(), &stores, &stop);
            let work = Work::open(&dir.path().join("out"), None).expect("opens");
            shards(config, &files, &work, &mut Hashes::open(work.root()))
        };
        let shards = cut(&config).expect("found");
        let sizes: Vec<usize> = shards.iter().map(|shard| shard.files.len()).collect();
        assert_eq!(sizes, [2, 2, 1]);
        assert_eq!(shards[2].number, 2);
        config.sources.push(source("b", "none-*.jsonl"));
        config.sources.push(source("c", "no.jsonl"));
        let error = cut(&config).expect_err("two are missing");
        let text = error.to_string();
        assert!(text.contains("`b`") && text.contains("`c`"), "{text}");
    }

    #[test]
    fn hashes_are_kept_and_follow_the_content() {
        let dir = tempfile::tempdir().expect("a folder");
        put(dir.path(), "x", b"one");
        let path = dir.path().join("x");
        let mut hashes = Hashes::open(dir.path());
        let first = hashes.of_local(&path).expect("reads");
        hashes.save().expect("saves");
        assert_eq!(Hashes::open(dir.path()).known.len(), 1);
        put(dir.path(), "x", b"another");
        assert_ne!(
            Hashes::open(dir.path()).of_local(&path).expect("reads"),
            first
        );
        put(dir.path(), CACHE_NAME, b"{damaged");
        assert!(Hashes::open(dir.path()).known.is_empty());
        put(&dir.path().join("sub"), "y", b"1");
        let folder = hashes.of_local(&dir.path().join("sub")).expect("reads");
        put(&dir.path().join("sub"), "z", b"1");
        assert_ne!(
            hashes.of_local(&dir.path().join("sub")).expect("reads"),
            folder
        );
    }
}

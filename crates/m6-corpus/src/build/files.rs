//! Inputs by their paths: local files as they are, objects of a store as they are listed, downloaded when they are read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::{Config, Paths};
use super::inputs::{files_below, io};
use crate::remote::cache::Entry;
use crate::remote::{Address, Stores, is_remote};
use crate::{Error, Result};

/// How keys are matched as files are: `*` stays within one part.
const MATCHING: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// The inputs of a build. An object is named by its address wherever a path is asked for; only [`Files::local`] downloads.
#[derive(Debug)]
pub struct Files<'a> {
    root: PathBuf,
    cache: PathBuf,
    stores: &'a Stores,
    stop: &'a AtomicBool,
    seen: Mutex<Seen>,
}

/// What was learnt of stores: one build sees one state of them.
#[derive(Debug, Default)]
struct Seen {
    /// What patterns named.
    patterns: BTreeMap<PathBuf, Vec<PathBuf>>,
    /// Objects and folders, by address.
    entries: BTreeMap<PathBuf, Arc<Entry>>,
    /// Addresses of what was brought here, by its name in the cache.
    brought: BTreeMap<String, PathBuf>,
}

impl<'a> Files<'a> {
    /// Inputs of a configuration; objects are kept in `corpus.cache`, or in `cache` unless it is given.
    pub fn new(config: &Config, cache: &Path, stores: &'a Stores, stop: &'a AtomicBool) -> Self {
        Self {
            root: config.root.clone(),
            cache: config.cache.clone().unwrap_or_else(|| cache.to_owned()),
            stores,
            stop,
            seen: Mutex::default(),
        }
    }

    /// A path of the configuration, below the root unless it is an address or absolute.
    pub fn below_root(&self, path: &Path) -> PathBuf {
        match is_remote(path) {
            true => path.to_owned(),
            false => self.root.join(path),
        }
    }

    /// The files (or folders, where a source takes them) that paths name, relative to the root, sorted within each glob.
    ///
    /// # Errors
    /// [`Error::Config`] for a path that names nothing or a glob that is none, [`Error::Remote`] when a store refuses.
    pub fn expand(&self, paths: &Paths) -> Result<Vec<PathBuf>> {
        let mut out: Vec<PathBuf> = Vec::new();
        for pattern in paths.iter() {
            let whole = self.below_root(Path::new(pattern));
            let found = match is_remote(&whole) {
                true => self.remote(&Address::parse(&whole)?)?,
                false => local(pattern, &whole)?,
            };
            if found.is_empty() {
                return Err(Error::Config(match is_remote(&whole) {
                    true => format!("path `{pattern}` names no object: {}", whole.display()),
                    false => format!(
                        "path `{pattern}` names no file below {}",
                        self.root.display()
                    ),
                }));
            }
            out.extend(found);
        }
        Ok(out)
    }

    /// The one file of a name, not a pattern.
    ///
    /// # Errors
    /// As [`Files::expand`].
    pub fn one(&self, name: &str) -> Result<PathBuf> {
        let found = self.expand(&Paths::from([name]))?.into_iter().next();
        Ok(found.unwrap_or_else(|| self.below_root(Path::new(name))))
    }

    /// Addresses of what a pattern names in a bucket: the object or folder of that name, else the objects whose keys match.
    fn remote(&self, pattern: &Address) -> Result<Vec<PathBuf>> {
        let path = pattern.to_path();
        if let Some(found) = self.seen().patterns.get(&path) {
            return Ok(found.clone());
        }
        let entries = self.ask(pattern)?;
        let mut seen = self.seen();
        let mut found = Vec::with_capacity(entries.len());
        for entry in entries {
            let address = entry.address.to_path();
            found.push(address.clone());
            seen.entries.insert(address, Arc::new(entry));
        }
        seen.patterns.insert(path, found.clone());
        Ok(found)
    }

    fn ask(&self, pattern: &Address) -> Result<Vec<Entry>> {
        let client = self.stores.of(&pattern.bucket)?;
        let is_wild = |part: &str| part.contains(['*', '?', '[']);
        if !is_wild(&pattern.key) {
            return Ok(Entry::find(&client, pattern)?.into_iter().collect());
        }
        let parts = pattern.key.split('/');
        let fixed: Vec<&str> = parts.take_while(|part| !is_wild(part)).collect();
        let matcher = glob::Pattern::new(&pattern.key)
            .map_err(|error| Error::Config(format!("path `{pattern}`: {error}")))?;
        let objects = client.list(&fixed.join("/"))?.into_iter();
        let found = objects
            .filter(|object| matcher.matches_with(&object.key, MATCHING))
            .map(|object| Entry {
                address: client.address(&object.key),
                objects: vec![object],
            });
        Ok(found.collect())
    }

    fn entry(&self, path: &Path) -> Option<Arc<Entry>> {
        self.seen().entries.get(path).cloned()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of a file, or of all files below a folder.
    ///
    /// # Errors
    /// [`Error::Io`] when it is not there.
    pub fn size(&self, path: &Path) -> Result<u64> {
        if let Some(entry) = self.entry(path) {
            return Ok(entry.size());
        }
        let data = fs::metadata(path).map_err(|source| io(path, source))?;
        if !data.is_dir() {
            return Ok(data.len());
        }
        let mut total = 0;
        for file in files_below(path)? {
            let data = fs::metadata(&file).map_err(|source| io(&file, source))?;
            total += data.len();
        }
        Ok(total)
    }

    /// What an object holds, by the store's word; none for a local file.
    pub fn identity(&self, path: &Path) -> Option<String> {
        self.entry(path).map(|entry| entry.identity())
    }

    /// The first bytes of an object, at most `n`; none for a local file and for a folder.
    ///
    /// # Errors
    /// [`Error::Remote`] when the store refuses.
    pub fn beginning(&self, path: &Path, n: u64) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.entry(path) else {
            return Ok(None);
        };
        let [object] = &entry.objects[..] else {
            return Ok(None);
        };
        let client = self.stores.of(&entry.address.bucket)?;
        let bytes = client.read(&object.key, Some(&object.etag), 0..n.min(object.size))?;
        Ok(Some(bytes))
    }

    /// Where a file or folder lies on this machine; an object is downloaded unless it is there.
    ///
    /// # Errors
    /// As [`Entry::bring`].
    pub fn local(&self, path: &Path) -> Result<PathBuf> {
        let Some(entry) = self.entry(path) else {
            return Ok(path.to_owned());
        };
        let client = self.stores.of(&entry.address.bucket)?;
        let place = entry.bring(&client, &self.cache, self.stop)?;
        self.seen().brought.insert(entry.id(), path.to_owned());
        Ok(place)
    }

    /// [`Files::local`] of several.
    ///
    /// # Errors
    /// As [`Files::local`].
    pub fn all_local(&self, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
        paths.iter().map(|path| self.local(path)).collect()
    }

    /// A path on this machine as the ledger names it: by the address of the object, relative to the root.
    pub fn shown(&self, path: &Path) -> PathBuf {
        let address = self.address_of(path);
        let path = address.as_deref().unwrap_or(path);
        path.strip_prefix(&self.root).unwrap_or(path).to_owned()
    }

    /// The address of a file of the cache: what follows id and name stands below the entry's address.
    fn address_of(&self, path: &Path) -> Option<PathBuf> {
        let mut parts = path.strip_prefix(&self.cache).ok()?.components();
        let address = self
            .seen()
            .brought
            .get(parts.next()?.as_os_str().to_str()?)?
            .clone();
        parts.next()?;
        let rest = parts.as_path();
        Some(match rest.as_os_str().is_empty() {
            true => address,
            false => address.join(rest),
        })
    }
}

/// Local files of a pattern.
fn local(pattern: &str, whole: &Path) -> Result<Vec<PathBuf>> {
    if whole.exists() {
        return Ok(vec![whole.to_owned()]);
    }
    let text = whole.to_string_lossy();
    let matches =
        glob::glob(&text).map_err(|error| Error::Config(format!("path `{pattern}`: {error}")))?;
    let mut found: Vec<PathBuf> = matches.filter_map(std::result::Result::ok).collect();
    found.sort();
    Ok(found)
}

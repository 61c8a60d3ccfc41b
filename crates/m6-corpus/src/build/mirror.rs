//! An output in an object store: results of stages that every machine finds, and the finished corpus.
//!
//! ```text
//! work/<stage>/<key>/<file>.<hash>   the files of a result, each under a name that says what it holds
//! work/<stage>/<key>/MANIFEST.json   their names, sizes and hashes; put last, so a result without it is not there
//! text/ pairs/ ... manifest.json     the corpus as in a local folder; manifest.json is put last and removed first
//! ```
//!
//! Two machines may make one key at the same time. What they put is the same to the byte but for the times in `stage.json`. Since a file's
//! name holds its hash, neither changes what the other has put, and each manifest names only files that are there: a reader that finds
//! either manifest, or one and then the other, finds a whole and equal result. A store needs no locks and no conditional writes for that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use m6_store::atomic::DirCommit;
use m6_store::hash::hash_file;
use m6_store::manifest::{self, FileEntry, MANIFEST_NAME};

use super::publish;
use super::work::Stage;
use crate::remote::{Address, Client, PIECE, Stores};
use crate::{Error, Result};

/// Digits of a hash in the name of a file.
const NAME_DIGITS: usize = 16;

/// The place of an output in a bucket.
#[derive(Debug)]
pub struct Mirror<'a> {
    client: Arc<Client>,
    address: Address,
    stop: &'a AtomicBool,
}

impl<'a> Mirror<'a> {
    /// The output at an address; the store is asked whether something else lies there.
    ///
    /// # Errors
    /// [`Error::Remote`] when the store refuses, [`Error::Config`] when the prefix holds something else than a corpus.
    pub fn open(address: &Address, stores: &Stores, stop: &'a AtomicBool) -> Result<Self> {
        let client = stores.of(&address.bucket)?;
        let is_ours = client.any(&address.below("work"))?
            || client
                .head(&address.below(publish::MANIFEST_NAME))?
                .is_some();
        if !is_ours && client.any(&address.key)? {
            return Err(Error::Config(format!(
                "{address} holds something else than a corpus; choose another --out"
            )));
        }
        Ok(Self {
            client,
            address: address.clone(),
            stop,
        })
    }

    /// Brings a result here, if it is there; false when it is not.
    ///
    /// # Errors
    /// [`Error::Remote`] when the store refuses or a file is not what its manifest says, [`Error::Store`] for the disk,
    /// [`Error::Interrupted`] when asked to stop.
    pub fn fetch(&self, stage: Stage, key: &str, folder: &Path) -> Result<bool> {
        let place = self.place(stage, key);
        let Some(bytes) = self.client.get(&format!("{place}/{MANIFEST_NAME}"))? else {
            return Ok(false);
        };
        let named = PathBuf::from(self.client.address(&place).to_string()).join(MANIFEST_NAME);
        let files = manifest::parse(&bytes, &named)?.files;
        let commit = match DirCommit::begin(folder) {
            Err(m6_store::Error::Exists { .. }) if folder.join(MANIFEST_NAME).is_file() => {
                return Ok(true);
            }
            other => other?,
        };
        for file in &files {
            self.fetch_file(&place, file, &commit)?;
        }
        match commit.commit() {
            // Another slice on this machine brought it meanwhile.
            Err(m6_store::Error::Exists { .. }) if folder.join(MANIFEST_NAME).is_file() => {}
            other => other?,
        }
        Ok(true)
    }

    fn fetch_file(&self, place: &str, file: &FileEntry, commit: &DirCommit) -> Result<()> {
        let key = object_name(place, file);
        let mut writer = commit.file(&file.name)?;
        let mut hash = blake3::Hasher::new();
        let mut at = 0;
        while at < file.size {
            self.check_stop()?;
            let end = file.size.min(at + PIECE);
            let bytes = self.client.read(&key, None, at..end)?;
            hash.update(&bytes);
            let written = writer.write_all(&bytes);
            written.map_err(|source| Error::Io {
                path: commit.path().join(&file.name),
                source,
            })?;
            at = end;
        }
        writer.finish()?;
        if hash.finalize().to_hex().as_str() != file.blake3 {
            let problem = format!(
                "its content is not what {MANIFEST_NAME} beside it says; remove that folder from the store, and the result is made again"
            );
            return Err(self.error(&key, "use", problem));
        }
        Ok(())
    }

    /// Puts a finished result there, unless it is there.
    ///
    /// # Errors
    /// [`Error::Remote`] when the store refuses, [`Error::Interrupted`] when asked to stop; files that went stay and are not sent again.
    pub fn push(&self, stage: Stage, key: &str, folder: &Path) -> Result<()> {
        let place = self.place(stage, key);
        let last = format!("{place}/{MANIFEST_NAME}");
        if self.client.head(&last)?.is_some() {
            return Ok(());
        }
        let manifest = manifest::read(folder)?;
        for file in &manifest.files {
            self.check_stop()?;
            let key = object_name(&place, file);
            self.put_file(&key, &folder.join(&file.name), file.size, &file.blake3)?;
        }
        self.client.put(&last, manifest.to_json().into_bytes())
    }

    /// Puts the finished corpus there, unless it is there.
    ///
    /// # Errors
    /// As [`Mirror::push`], and [`Error::Io`] for what cannot be read.
    pub fn publish(&self, out: &Path, manifest: &publish::Manifest) -> Result<()> {
        let path = out.join(publish::MANIFEST_NAME);
        let text = std::fs::read(&path).map_err(|source| Error::Io { path, source })?;
        let last = self.address.below(publish::MANIFEST_NAME);
        if self.client.get(&last)?.as_deref() == Some(&text) {
            return Ok(());
        }
        // From here until the end the corpus is unfinished, and says so.
        self.client.delete(&last)?;
        let mut files: BTreeMap<&str, (u64, String)> = BTreeMap::new();
        for file in &manifest.files {
            files.insert(&file.name, (file.size, file.blake3.clone()));
        }
        for name in publish::TEXTS {
            let path = out.join(name);
            let data = std::fs::metadata(&path).map_err(|source| Error::Io {
                path: path.clone(),
                source,
            })?;
            files.insert(name, (data.len(), hash_file(&path)?));
        }
        self.remove_others(&files.keys().map(|name| self.address.below(name)).collect())?;
        for (name, (size, hash)) in &files {
            self.check_stop()?;
            self.put_file(&self.address.below(name), &out.join(name), *size, hash)?;
        }
        self.client.put(&last, text)
    }

    /// Removes what an earlier corpus left in the folders of the corpus.
    fn remove_others(&self, wanted: &BTreeSet<String>) -> Result<()> {
        for folder in publish::FOLDERS {
            for object in self.client.list(&self.address.below(folder))? {
                if !wanted.contains(&object.key) {
                    self.client.delete(&object.key)?;
                }
            }
        }
        Ok(())
    }

    fn put_file(&self, key: &str, path: &Path, size: u64, hash: &str) -> Result<()> {
        match self.client.hash_of(key)? {
            Some((there, of)) if there == size && of == hash => Ok(()),
            _ => self.client.put_file(key, path, hash),
        }
    }

    fn place(&self, stage: Stage, key: &str) -> String {
        self.address.below(&format!("work/{}/{key}", stage.name))
    }

    fn check_stop(&self) -> Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    fn error(&self, key: &str, action: &'static str, problem: String) -> Error {
        Error::Remote {
            address: self.client.address(key).to_string(),
            action,
            problem,
        }
    }
}

/// Key of a file of a result.
fn object_name(place: &str, file: &FileEntry) -> String {
    let hash = file.blake3.get(..NAME_DIGITS).unwrap_or(&file.blake3);
    format!("{place}/{}.{hash}", file.name)
}

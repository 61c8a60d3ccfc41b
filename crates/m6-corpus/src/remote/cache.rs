//! Objects on the local disk: downloaded once, whole, and told apart by what the store says about them.
//!
//! What is wanted lies in `<cache>/<id>/<name>`, the id being a hash of address, sizes and ETags: a changed object gets another folder,
//! and one that is there is never asked for again. `object.json` is written last; a folder without it is gone on with where it ended.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use m6_store::lock::FolderLock;

use super::{Address, Client, Object, PIECE};
use crate::{Error, Result};

/// Written when everything is there.
const DONE_NAME: &str = "object.json";
/// Digits of an id: 128 bits.
const ID_DIGITS: usize = 32;
/// How often a download by another process is looked at.
const PATIENCE: Duration = Duration::from_millis(200);

/// An object, or what lies below a prefix as one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was named.
    pub address: Address,
    /// The objects; the one at the address itself, or those below it in order of key.
    pub objects: Vec<Object>,
}

impl Entry {
    /// What lies at an address: an object, else a folder; none where there is nothing.
    ///
    /// # Errors
    /// [`Error::Remote`] when the store refuses.
    pub fn find(client: &Client, address: &Address) -> Result<Option<Self>> {
        let object = match address.key.is_empty() {
            true => None,
            false => client.head(&address.key)?,
        };
        let mut objects = match object {
            Some(object) => vec![object],
            None => client.list(&address.key)?,
        };
        // Some tools put an empty object where a folder would be; here it would stand in the folder's way.
        let keys: BTreeSet<String> = objects.iter().map(|object| object.key.clone()).collect();
        objects.retain(|object| {
            let below = format!("{}/", object.key);
            let next = keys.range(below.clone()..).next();
            object.size > 0 || !next.is_some_and(|key| key.starts_with(&below))
        });
        let address = address.clone();
        Ok((!objects.is_empty()).then_some(Self { address, objects }))
    }

    /// Bytes of all objects.
    pub fn size(&self) -> u64 {
        self.objects.iter().map(|object| object.size).sum()
    }

    /// What the objects hold, by the store's word: a hash of names, sizes and ETags. Nothing is read for it.
    pub fn identity(&self) -> String {
        let mut hash = blake3::Hasher::new();
        for object in &self.objects {
            let name = self.name_below(object);
            for part in [name.as_bytes(), object.etag.as_bytes()] {
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part);
            }
            hash.update(&object.size.to_le_bytes());
        }
        hash.finalize().to_hex().to_string()
    }

    /// Name of the folder in the cache.
    pub fn id(&self) -> String {
        let text = format!("{}\n{}", self.address, self.identity());
        let mut id = m6_store::hash::hash_bytes(text.as_bytes());
        id.truncate(ID_DIGITS);
        id
    }

    /// Its name below the address; empty for the object at the address itself.
    fn name_below<'a>(&self, object: &'a Object) -> &'a str {
        let rest = object.key.strip_prefix(&self.address.key);
        rest.unwrap_or(&object.key).trim_start_matches('/')
    }

    /// The local path, with everything downloaded that was not there.
    ///
    /// # Errors
    /// [`Error::Remote`] when the store refuses or an object was changed since it was listed, [`Error::Io`] and [`Error::Store`] for the
    /// disk, [`Error::Interrupted`] when asked to stop; what has come stays.
    pub fn bring(&self, client: &Client, cache: &Path, stop: &AtomicBool) -> Result<PathBuf> {
        let folder = cache.join(self.id());
        let place = folder.join(self.address.name());
        if self.is_there(&folder, &place) {
            return Ok(place);
        }
        m6_store::atomic::create_dir(&folder)?;
        let _lock = wait_for(&folder, stop)?;
        if self.is_there(&folder, &place) {
            return Ok(place);
        }
        for object in &self.objects {
            download(client, object, &self.path_of(&place, object)?, stop)?;
        }
        let objects = self.objects.iter().map(|object| {
            serde_json::json!({ "key": object.key, "size": object.size, "etag": object.etag })
        });
        let done = serde_json::json!({ "address": self.address.to_string(), "objects": objects.collect::<Vec<_>>() });
        m6_store::atomic::write_file(&folder.join(DONE_NAME), format!("{done}\n").as_bytes())?;
        Ok(place)
    }

    /// Whether everything was downloaded, and still has its size.
    fn is_there(&self, folder: &Path, place: &Path) -> bool {
        folder.join(DONE_NAME).is_file()
            && self.objects.iter().all(|object| {
                let path = self.path_of(place, object);
                let data = path.ok().and_then(|path| fs::metadata(path).ok());
                data.is_some_and(|data| data.len() == object.size)
            })
    }

    fn path_of(&self, place: &Path, object: &Object) -> Result<PathBuf> {
        let name = self.name_below(object);
        if name.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(Error::Remote {
                address: self.address.of_key(&object.key).to_string(),
                action: "download",
                problem: "its name leads out of the folder".to_string(),
            });
        }
        Ok(match name.is_empty() {
            true => place.to_owned(),
            false => place.join(name),
        })
    }
}

/// The lock of a folder of the cache: slices on one machine share downloads.
fn wait_for(folder: &Path, stop: &AtomicBool) -> Result<FolderLock> {
    loop {
        match FolderLock::acquire(folder) {
            Err(m6_store::Error::Locked { .. }) => {}
            other => return Ok(other?),
        }
        check(stop)?;
        std::thread::sleep(PATIENCE);
    }
}

fn check(stop: &AtomicBool) -> Result<()> {
    match stop.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted),
        false => Ok(()),
    }
}

/// Brings an object to a file, going on behind what is there.
///
/// Every request asks for the listed ETag, so a file never mixes two contents. The ETag itself is not computed again from the bytes: it is
/// their MD5 for some uploads and stores only.
fn download(client: &Client, object: &Object, path: &Path, stop: &AtomicBool) -> Result<()> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        m6_store::atomic::create_dir(parent)?;
    }
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(io)?;
    let have = file.metadata().map_err(io)?.len().min(object.size);
    // Pieces are synced one after the other: after a power cut the last one may be a hole, those before it are whole.
    let mut at = (have / PIECE).saturating_sub(1) * PIECE;
    file.set_len(at).map_err(io)?;
    file.seek(SeekFrom::Start(at)).map_err(io)?;
    while at < object.size {
        check(stop)?;
        let end = object.size.min(at + PIECE);
        let bytes = client.read(&object.key, Some(&object.etag), at..end)?;
        file.write_all(&bytes).map_err(io)?;
        file.sync_data().map_err(io)?;
        at = end;
    }
    Ok(())
}

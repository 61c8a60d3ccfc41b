//! Read-only memory maps.

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A file's bytes, mapped for reading; an empty file is an empty slice.
#[derive(Debug)]
pub struct Mmap {
    path: PathBuf,
    map: Option<memmap2::Mmap>,
}

impl Mmap {
    /// Maps a whole file.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::io("open", path, source))?;
        let n_bytes = file
            .metadata()
            .map_err(|source| Error::io("read the size of", path, source))?
            .len();
        let map = if n_bytes == 0 {
            None
        } else {
            // SAFETY: shards are written under a temporary name and never changed after the rename
            // that publishes them, so the mapped bytes do not change while the map lives.
            let map = unsafe { memmap2::Mmap::map(&file) };
            Some(map.map_err(|source| Error::io("map", path, source))?)
        };
        Ok(Self {
            path: path.to_owned(),
            map,
        })
    }

    /// The mapped file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Deref for Mmap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_full_and_empty_files_and_names_missing_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        crate::atomic::write_file(&path, b"abc").unwrap();
        assert_eq!(&*Mmap::open(&path).unwrap(), b"abc");
        crate::atomic::write_file(&path, b"").unwrap();
        assert!(Mmap::open(&path).unwrap().is_empty());
        let error = Mmap::open(&dir.path().join("none"))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("cannot open") && error.contains("none"),
            "{error}"
        );
    }
}

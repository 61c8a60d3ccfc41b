//! Numbers that a process has no room for in memory: a file of its own that nobody else sees and that goes with the process.

use crate::error::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file of places that are written and read again. On Unix it has no name from the beginning, so that nothing is left behind whatever ends the
/// process; elsewhere it is removed when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    file: Positioned,
    path: PathBuf,
    end: AtomicU64,
}

impl Scratch {
    /// A new file in `folder`, which exists.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be made.
    pub fn create(folder: &Path) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".scratch-{}-{number}", std::process::id()));
        let failed = |action| {
            let path = path.clone();
            move |source| Error::Io {
                action,
                path,
                source,
            }
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(failed("create"))?;
        #[cfg(unix)]
        std::fs::remove_file(&path).map_err(failed("unlink"))?;
        Ok(Self {
            file: Positioned::new(file),
            path,
            end: AtomicU64::new(0),
        })
    }

    /// Room for so many bytes: where they begin. Nothing is written; they read as zeros only once something behind them is.
    pub fn reserve(&self, n_bytes: usize) -> u64 {
        self.end.fetch_add(n_bytes as u64, Ordering::Relaxed)
    }

    /// Fills `bytes` with those at a place.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read or has not as many.
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        self.file
            .read(at, bytes)
            .map_err(|source| self.failed("read", source))
    }

    /// Puts `bytes` at a place.
    ///
    /// # Errors
    /// [`Error::DiskFull`], or [`Error::Io`].
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.file.write(at, bytes).map_err(|source| {
            let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
            match full.contains(&source.kind()) {
                true => Error::DiskFull {
                    path: self.path.clone(),
                    bytes: at + bytes.len() as u64,
                    source,
                },
                false => self.failed("write", source),
            }
        })
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(not(unix))]
impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is swept with other leftovers.
        std::fs::remove_file(&self.path).ok();
    }
}

/// Reads and writes at a place.
#[cfg(unix)]
#[derive(Debug)]
struct Positioned(File);

#[cfg(unix)]
impl Positioned {
    fn new(file: File) -> Self {
        Self(file)
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, bytes, at)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, at)
    }
}

/// The same, one thread at a time.
#[cfg(not(unix))]
#[derive(Debug)]
struct Positioned(std::sync::Mutex<File>);

#[cfg(not(unix))]
impl Positioned {
    fn new(file: File) -> Self {
        Self(std::sync::Mutex::new(file))
    }

    fn at(&self, at: u64) -> io::Result<std::sync::MutexGuard<'_, File>> {
        use std::io::{Seek, SeekFrom};
        let mut file = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        file.seek(SeekFrom::Start(at))?;
        Ok(file)
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        io::Read::read_exact(&mut *self.at(at)?, bytes)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut *self.at(at)?, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_keep_what_was_written_and_no_name_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(folder.path()).unwrap();
        let (a, b) = (scratch.reserve(3), scratch.reserve(2));
        scratch.write(b, b"de").unwrap();
        scratch.write(a, b"abc").unwrap();
        scratch.write(b, b"fg").unwrap();
        let mut bytes = [0; 5];
        scratch.read(a, &mut bytes).unwrap();
        assert_eq!(&bytes, b"abcfg");
        let error = scratch.read(3, &mut bytes).unwrap_err().to_string();
        assert!(error.contains("cannot read"), "{error}");
        #[cfg(unix)]
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(Scratch::create(&folder.path().join("none")).is_err());
    }
}

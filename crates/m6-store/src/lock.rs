//! One process per folder.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// An exclusive hold on a folder (a system lock on `.lock` in it); ends when dropped, or with the process.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
}

impl FolderLock {
    /// Takes the lock of an existing folder, without waiting.
    ///
    /// # Errors
    /// [`Error::Locked`] naming the process that holds it, [`Error::Io`] when `.lock` cannot be made or the
    /// file system cannot lock.
    pub fn acquire(dir: &Path) -> Result<Self> {
        let (path, file) = open(dir)?;
        match file.try_lock() {
            Ok(()) => Self::held(&path, file),
            Err(TryLockError::WouldBlock) => Err(Error::Locked {
                path: dir.to_owned(),
                holder: holder(&file),
            }),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", &path, source)),
        }
    }

    /// Takes the lock of an existing folder as soon as it is free: for changes that take a moment.
    ///
    /// # Errors
    /// As [`FolderLock::acquire`], without [`Error::Locked`].
    pub fn wait(dir: &Path) -> Result<Self> {
        let (path, file) = open(dir)?;
        file.lock()
            .map_err(|source| Error::io("lock", &path, source))?;
        Self::held(&path, file)
    }

    fn held(path: &Path, file: File) -> Result<Self> {
        let mut lock = Self { file };
        let noted = lock.note(&std::process::id().to_string());
        noted.map_err(|source| Error::write(path, 0, source))?;
        Ok(lock)
    }

    fn note(&mut self, text: &str) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text.as_bytes())
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // The lock itself ends with the file; the note is emptied so that it never names a stranger.
        let _ = self.note("");
    }
}

fn open(dir: &Path) -> Result<(PathBuf, File)> {
    let path = dir.join(".lock");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| Error::io("open", &path, source))?;
    Ok((path, file))
}

fn holder(file: &File) -> String {
    let mut note = String::new();
    let read = file.take(20).read_to_string(&mut note);
    match read.ok().and_then(|_| note.trim().parse::<u32>().ok()) {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_holder_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = FolderLock::acquire(dir.path()).unwrap();
        let error = FolderLock::acquire(dir.path()).unwrap_err();
        assert!(matches!(error, Error::Locked { .. }));
        let text = error.to_string();
        assert!(
            text.contains(&format!("process {}", std::process::id())),
            "{text}"
        );
        assert!(text.contains(&dir.path().display().to_string()), "{text}");
        drop(first);
        FolderLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn who_waits_comes_after_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let count = dir.path().join("count");
        crate::atomic::write_file(&count, b"0").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let _held = FolderLock::wait(dir.path()).unwrap();
                        let text = std::fs::read_to_string(&count).unwrap();
                        let next = text.parse::<u32>().unwrap() + 1;
                        crate::atomic::write_file(&count, next.to_string().as_bytes()).unwrap();
                    }
                });
            }
        });
        assert_eq!(std::fs::read_to_string(&count).unwrap(), "100");
        let missing = FolderLock::wait(&dir.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains(".lock"), "{missing}");
    }

    #[test]
    fn a_damaged_note_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        crate::atomic::write_file(&dir.path().join(".lock"), &[0xff; 100]).unwrap();
        let _held = FolderLock::acquire(dir.path()).unwrap();
        let missing = FolderLock::acquire(&dir.path().join("none"))
            .unwrap_err()
            .to_string();
        assert!(missing.contains(".lock"), "{missing}");
    }
}

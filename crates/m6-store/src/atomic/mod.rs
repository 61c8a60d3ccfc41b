//! Writes that happen whole or not at all.
//!
//! The order is always the same: write under a temporary sibling name, fsync the bytes, rename,
//! fsync the folder. A crash at any moment leaves the old content, the new content, or a temporary
//! that [`sweep_stale`] removes later; a reader never meets half a file.

mod dir;
mod log;
mod sink;
mod temp;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

pub use dir::{DirCommit, FileWriter, add_file};
pub use log::AppendLog;
pub(crate) use sink::Sink;
pub use temp::sweep_stale;

/// Puts `bytes` at `path`, replacing what was there; after a crash the file is the old or the new one.
///
/// # Errors
/// [`Error::DiskFull`] (path and bytes) or [`Error::Io`]; the temporary is removed and the old file stays.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)
        .map_err(|source| Error::write(path, bytes.len() as u64, source))?;
    file.commit()
}

/// A file being written under a temporary name; it appears at its path on [`AtomicFile::commit`].
///
/// Dropped without a commit it leaves nothing behind.
#[derive(Debug)]
pub struct AtomicFile {
    sink: Sink,
    temp: PathBuf,
    destination: PathBuf,
    is_published: bool,
}

impl AtomicFile {
    /// Starts a file that will replace `path`; the folder must exist.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary sibling cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let temp = temp::sibling(path)?;
        let file = File::create_new(&temp).map_err(|source| Error::write(path, 0, source))?;
        Ok(Self {
            sink: Sink::new(file, path),
            temp,
            destination: path.to_owned(),
            is_published: false,
        })
    }

    /// Makes the bytes durable and publishes them at the path.
    ///
    /// # Errors
    /// [`Error::DiskFull`] or [`Error::Io`]; the path then holds what it held before.
    pub fn commit(mut self) -> Result<()> {
        self.sink.sync()?;
        rename(&self.temp, &self.destination)?;
        self.is_published = true;
        sync_dir(parent_of(&self.destination))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.is_published {
            // Best effort: a temporary that cannot be removed now is swept later.
            let _ = fs::remove_file(&self.temp);
        }
    }
}

/// Makes a folder and its missing parents, each durable before the next.
///
/// # Errors
/// [`Error::Io`] when a folder cannot be made or a file is in the way.
pub fn create_dir(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    create_dir(parent)?;
    match fs::create_dir(path) {
        Ok(()) => sync_dir(parent),
        // Another process may have made it between the check and the call.
        Err(_) if path.is_dir() => Ok(()),
        Err(source) => Err(Error::io("make the folder", path, source)),
    }
}

/// The folder a path lies in; "." for a bare name.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Makes renames and removals inside a folder durable.
pub(crate) fn sync_dir(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    match synced {
        Ok(()) => Ok(()),
        // Some network file systems cannot fsync a folder; they order renames themselves.
        Err(source)
            if matches!(
                source.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        Err(source) => Err(Error::io("sync the folder", path, source)),
    }
}

/// Renames one file or folder.
#[allow(clippy::disallowed_methods)] // This is the module that the ban points to.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|source| match source.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => Error::Exists {
            path: to.to_owned(),
        },
        _ => Error::write(to, 0, source),
    })
}

/// Removes a folder so that a crash in between never leaves a part of it under its own name.
pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    let doomed = temp::sibling(path)?;
    rename(path, &doomed)?;
    sync_dir(parent_of(path))?;
    fs::remove_dir_all(&doomed).map_err(|source| Error::io("remove", &doomed, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_the_whole_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_file(&path, b"a long first version").unwrap();
        write_file(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(dir.path()), ["a.txt"]);
    }

    #[test]
    fn an_abandoned_write_keeps_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_file(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(names(dir.path()).len(), 2);
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a.txt"]);
    }

    #[test]
    fn a_failed_rename_keeps_the_old_content_and_cleans_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_file_into_dir_named(&path);
        let error = write_file(&path, b"new").unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert_eq!(names(dir.path()), ["a"]);
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"kept");
    }

    fn write_file_into_dir_named(path: &Path) {
        create_dir(path).unwrap();
        write_file(&path.join("inside"), b"kept").unwrap();
    }

    #[test]
    fn errors_name_the_path_and_a_full_disk_its_bytes() {
        let missing = write_file(Path::new("/nonexistent-m6/x"), b"1")
            .unwrap_err()
            .to_string();
        assert!(missing.contains("/nonexistent-m6/x"), "{missing}");
        let full = Error::write(
            Path::new("/data/x.bin"),
            77,
            io::ErrorKind::StorageFull.into(),
        );
        assert!(matches!(full, Error::DiskFull { bytes: 77, .. }));
        assert!(
            full.to_string()
                .contains("/data/x.bin could not take 77 bytes"),
            "{full}"
        );
        // Through std::io::Write and back nothing is lost.
        let again = Error::write(Path::new("other"), 0, full.into());
        assert!(
            matches!(again, Error::DiskFull { bytes: 77, .. }),
            "{again}"
        );
    }

    #[test]
    fn folders_are_made_with_their_parents() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        create_dir(&deep).unwrap();
        create_dir(&deep).unwrap();
        write_file(&deep.join("file"), b"").unwrap();
        let error = create_dir(&deep.join("file/d")).unwrap_err().to_string();
        assert!(error.contains("file"), "{error}");
        remove_dir(&dir.path().join("a")).unwrap();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_bare_name_lies_in_the_current_folder() {
        assert_eq!(parent_of(Path::new("x")), Path::new("."));
        assert_eq!(parent_of(Path::new("a/x")), Path::new("a"));
        assert_eq!(parent_of(Path::new("/")), Path::new("/"));
    }
}

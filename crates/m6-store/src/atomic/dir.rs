//! Folders that appear whole: files, manifest, one rename.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Sink, create_dir, parent_of, rename, sweep_stale, sync_dir, temp};
use crate::manifest::{self, FileEntry, MANIFEST_NAME, Manifest};
use crate::{Error, Result, hash};

/// The first failure of a file of the folder, so that a commit never publishes a short file.
type Failure = Arc<Mutex<Option<Error>>>;

/// A folder being written under a temporary name; it appears on [`DirCommit::commit`].
///
/// Files may be made through [`DirCommit::file`] or by any other writer below [`DirCommit::path`].
/// Dropped without a commit it leaves nothing behind.
#[derive(Debug)]
pub struct DirCommit {
    temp: PathBuf,
    destination: PathBuf,
    replaces: bool,
    failure: Failure,
    is_published: bool,
}

impl DirCommit {
    /// Starts a folder that will appear at `final_dir`; leftovers of dead processes beside it are swept.
    ///
    /// # Errors
    /// [`Error::Exists`] when `final_dir` holds something already, [`Error::Io`] or [`Error::DiskFull`]
    /// when the temporary sibling cannot be made.
    pub fn begin(final_dir: &Path) -> Result<Self> {
        if fs::read_dir(final_dir).is_ok_and(|mut entries| entries.next().is_some())
            || final_dir.is_file()
        {
            return Err(Error::Exists {
                path: final_dir.to_owned(),
            });
        }
        Self::start(final_dir, false)
    }

    /// As [`DirCommit::begin`], but what is at `final_dir` is replaced at the commit, in one exchange where
    /// the file system can (Linux, local disks).
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::DiskFull`] when the temporary sibling cannot be made.
    pub fn begin_replacing(final_dir: &Path) -> Result<Self> {
        Self::start(final_dir, true)
    }

    fn start(final_dir: &Path, replaces: bool) -> Result<Self> {
        let parent = parent_of(final_dir);
        create_dir(parent)?;
        sweep_stale(parent)?;
        let temp = temp::sibling(final_dir)?;
        fs::create_dir(&temp).map_err(|source| Error::write(final_dir, 0, source))?;
        Ok(Self {
            temp,
            destination: final_dir.to_owned(),
            replaces,
            failure: Failure::default(),
            is_published: false,
        })
    }

    /// The temporary folder; what lies in it at the commit is published.
    pub fn path(&self) -> &Path {
        &self.temp
    }

    /// Makes a new file; `name` is relative and may hold sub-folders ("wiki/tokens.bin").
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that leaves the folder or is `MANIFEST.json`, [`Error::Io`] when the
    /// file exists already or cannot be made.
    pub fn file(&self, name: &str) -> Result<FileWriter> {
        if !manifest::is_inside(name) || name == MANIFEST_NAME {
            let reason = format!("\"{name}\" is no file name inside the folder");
            return Err(Error::invalid(&self.destination, reason));
        }
        let path = self.temp.join(name);
        create_dir(parent_of(&path))?;
        let shown = self.destination.join(name);
        let file = File::create_new(&path).map_err(|source| Error::write(&shown, 0, source))?;
        Ok(FileWriter {
            sink: Sink::new(file, &shown),
            failure: Arc::clone(&self.failure),
            is_finished: false,
        })
    }

    /// Publishes the folder: fsync every file, `MANIFEST.json` last, one rename, fsync the parent.
    ///
    /// # Errors
    /// The first failed write of any file of the folder, [`Error::Invalid`] when a [`FileWriter`] is still
    /// open, [`Error::Exists`] when the destination was taken meanwhile, [`Error::DiskFull`] or
    /// [`Error::Io`]; nothing is published then.
    pub fn commit(mut self) -> Result<()> {
        self.check_writers()?;
        let mut tree = Tree::default();
        tree.walk(&self.temp, "")?;
        tree.files.sort();
        let mut files = Vec::with_capacity(tree.files.len());
        for name in tree.files {
            files.push(seal(&self.temp, name)?);
        }
        let manifest = Manifest::new(files);
        let path = self.temp.join(MANIFEST_NAME);
        let file = File::create_new(&path).map_err(|source| Error::write(&path, 0, source))?;
        let mut sink = Sink::new(file, &self.destination.join(MANIFEST_NAME));
        let json = manifest.to_json();
        sink.write_all(json.as_bytes())
            .map_err(|source| Error::write(&path, json.len() as u64, source))?;
        sink.sync()?;
        for folder in &tree.folders {
            sync_dir(folder)?;
        }
        self.publish()?;
        self.is_published = true;
        sync_dir(parent_of(&self.destination))
    }

    fn check_writers(&mut self) -> Result<()> {
        if Arc::strong_count(&self.failure) > 1 {
            return Err(Error::invalid(
                &self.destination,
                "a file of the folder is still being written",
            ));
        }
        let mut failure = self
            .failure
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        match failure.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn publish(&self) -> Result<()> {
        if !self.replaces || !self.destination.exists() {
            return rename(&self.temp, &self.destination);
        }
        if exchange(&self.temp, &self.destination) {
            // The old folder now has the temporary name; what cannot be removed is swept later.
            let _ = fs::remove_dir_all(&self.temp);
            return Ok(());
        }
        let old = temp::sibling(&self.destination)?;
        rename(&self.destination, &old)?;
        if let Err(error) = rename(&self.temp, &self.destination) {
            rename(&old, &self.destination)?;
            return Err(error);
        }
        let _ = fs::remove_dir_all(&old);
        Ok(())
    }
}

impl Drop for DirCommit {
    fn drop(&mut self) {
        if !self.is_published {
            // Best effort: what cannot be removed now is swept later.
            let _ = fs::remove_dir_all(&self.temp);
        }
    }
}

/// Writes a whole file, durable when this returns, into the folder of a [`DirCommit`] of another process ([`DirCommit::path`] there),
/// which commits it with its own.
///
/// # Errors
/// [`Error::Invalid`] for a name that leaves the folder, [`Error::Io`] when the file exists already or cannot be made,
/// [`Error::DiskFull`].
pub fn add_file(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    if !manifest::is_inside(name) || name == MANIFEST_NAME {
        let reason = format!("\"{name}\" is no file name inside the folder");
        return Err(Error::invalid(folder, reason));
    }
    let path = folder.join(name);
    let file = File::create_new(&path).map_err(|source| Error::write(&path, 0, source))?;
    let mut sink = Sink::new(file, &path);
    sink.write_all(bytes)
        .map_err(|source| Error::write(&path, bytes.len() as u64, source))?;
    sink.sync()
}

/// Swaps two folders in one step; false where the system cannot.
#[cfg(target_os = "linux")]
fn exchange(a: &Path, b: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_a: &Path, _b: &Path) -> bool {
    false
}

/// Makes one file durable and describes it.
fn seal(folder: &Path, name: String) -> Result<FileEntry> {
    let path = folder.join(&name);
    let size = File::open(&path)
        .and_then(|file| {
            file.sync_all()?;
            file.metadata()
        })
        .map_err(|source| Error::write(&path, 0, source))?
        .len();
    Ok(FileEntry {
        blake3: hash::hash_file(&path)?,
        name,
        size,
    })
}

/// The files (relative names with `/`) and folders below a folder.
#[derive(Default)]
struct Tree {
    files: Vec<String>,
    folders: Vec<PathBuf>,
}

impl Tree {
    fn walk(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let list = |source| Error::io("list", folder, source);
        for entry in fs::read_dir(folder).map_err(list)? {
            let entry = entry.map_err(list)?;
            let path = entry.path();
            let name = entry.file_name().into_string();
            let name = name.map_err(|_| Error::invalid(&path, "file names must be UTF-8"))?;
            let kind = entry.file_type().map_err(list)?;
            if kind.is_dir() {
                self.walk(&path, &format!("{prefix}{name}/"))?;
            } else if kind.is_file() {
                self.files.push(format!("{prefix}{name}"));
            } else {
                return Err(Error::invalid(
                    &path,
                    "only plain files can be committed, no links or devices",
                ));
            }
        }
        // After its members, so that the inner folders are synced first.
        self.folders.push(folder.to_owned());
        Ok(())
    }
}

/// One file of a [`DirCommit`]; a failed write is remembered and fails the commit.
#[derive(Debug)]
pub struct FileWriter {
    sink: Sink,
    failure: Failure,
    is_finished: bool,
}

impl FileWriter {
    /// Ends the file; the commit makes it durable.
    ///
    /// # Errors
    /// [`Error::DiskFull`] or [`Error::Io`].
    pub fn finish(mut self) -> Result<()> {
        self.is_finished = true;
        let finished = self.sink.finish();
        if finished.is_err() {
            self.remember(Error::invalid(
                self.sink.path(),
                "an earlier write to this file failed",
            ));
        }
        finished
    }

    fn remember(&self, error: Error) {
        let mut failure = self
            .failure
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        failure.get_or_insert(error);
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes);
        if let Err(source) = &written
            && source.kind() != io::ErrorKind::Interrupted
        {
            self.remember(Error::invalid(
                self.sink.path(),
                "an earlier write to this file failed",
            ));
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if !self.is_finished
            && let Err(error) = self.sink.finish()
        {
            self.remember(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(commit: &DirCommit, name: &str, bytes: &[u8]) {
        let mut file = commit.file(name).unwrap();
        file.write_all(bytes).unwrap();
        file.finish().unwrap();
    }

    fn n_entries(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_file_of_another_process_is_committed_with_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("step-1");
        let commit = DirCommit::begin(&place).unwrap();
        fill(&commit, "a.bin", b"abc");
        add_file(commit.path(), "part-1", b"xyz").unwrap();
        assert!(add_file(commit.path(), "part-1", b"again").is_err());
        for name in ["../b", MANIFEST_NAME] {
            assert!(add_file(commit.path(), name, b"").is_err(), "{name}");
        }
        commit.commit().unwrap();
        manifest::verify(&place).unwrap();
        assert_eq!(fs::read(place.join("part-1")).unwrap(), b"xyz");
        assert_eq!(manifest::read(&place).unwrap().files.len(), 2);
    }

    #[test]
    fn a_folder_appears_whole_with_its_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("runs/step-1");
        let commit = DirCommit::begin(&place).unwrap();
        fill(&commit, "a.bin", b"abc");
        fill(&commit, "wiki/tokens.bin", b"12");
        crate::atomic::write_file(&commit.path().join("wiki/tokens.idx"), b"3").unwrap();
        assert!(!place.exists());
        commit.commit().unwrap();
        manifest::verify(&place).unwrap();
        let names: Vec<String> = manifest::read(&place)
            .unwrap()
            .files
            .into_iter()
            .map(|file| file.name)
            .collect();
        assert_eq!(names, ["a.bin", "wiki/tokens.bin", "wiki/tokens.idx"]);
        assert_eq!(n_entries(&dir.path().join("runs")), 1);
    }

    #[test]
    fn an_abandoned_folder_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let commit = DirCommit::begin(&dir.path().join("x")).unwrap();
        fill(&commit, "a", b"1");
        drop(commit);
        assert_eq!(n_entries(dir.path()), 0);
    }

    #[test]
    fn a_taken_place_is_refused_early_and_at_the_commit() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("x");
        let late = DirCommit::begin(&place).unwrap();
        fill(&late, "a", b"late");
        let first = DirCommit::begin(&place).unwrap();
        fill(&first, "a", b"first");
        first.commit().unwrap();
        assert!(matches!(late.commit(), Err(Error::Exists { .. })));
        assert!(matches!(
            DirCommit::begin(&place),
            Err(Error::Exists { .. })
        ));
        assert_eq!(fs::read(place.join("a")).unwrap(), b"first");
        assert_eq!(n_entries(dir.path()), 1);
    }

    #[test]
    fn a_folder_can_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("x");
        for content in [b"one", b"two"] {
            let commit = DirCommit::begin_replacing(&place).unwrap();
            fill(&commit, "a", content);
            commit.commit().unwrap();
            assert_eq!(fs::read(place.join("a")).unwrap(), content);
        }
        manifest::verify(&place).unwrap();
        assert_eq!(n_entries(dir.path()), 1);
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let commit = DirCommit::begin(&dir.path().join("x")).unwrap();
        for name in [
            "",
            "..",
            "../a",
            "/etc/a",
            "a/../../b",
            "MANIFEST.json",
            ".",
        ] {
            assert!(
                matches!(commit.file(name), Err(Error::Invalid { .. })),
                "{name}"
            );
        }
        fill(&commit, "a", b"1");
        assert!(commit.file("a").is_err(), "a second file of the same name");
    }

    #[test]
    fn an_open_or_failed_file_stops_the_commit() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("x");
        let commit = DirCommit::begin(&place).unwrap();
        let open = commit.file("a").unwrap();
        let error = commit.commit().unwrap_err().to_string();
        assert!(error.contains("still being written"), "{error}");
        drop(open);

        let commit = DirCommit::begin(&place).unwrap();
        let mut file = commit.file("a").unwrap();
        if let Ok(full) = File::options().write(true).open("/dev/full") {
            file.sink = Sink::new(full, &place.join("a"));
            file.write_all(b"lost").unwrap();
            drop(file);
            let error = commit.commit().unwrap_err();
            assert!(matches!(error, Error::DiskFull { bytes: 4, .. }), "{error}");
            assert!(!place.exists());
        }
    }
}

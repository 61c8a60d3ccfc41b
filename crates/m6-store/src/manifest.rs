//! What a committed folder must hold.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, hash};

/// The manifest's file name; it is written last.
pub const MANIFEST_NAME: &str = "MANIFEST.json";
/// The version this build writes; older ones stay readable.
pub const FORMAT_VERSION: u32 = 1;
/// A manifest larger than this is not read (a million files need about 150 MB).
const MAX_MANIFEST_BYTES: u64 = 256 << 20;

/// The list of a folder's files, `MANIFEST.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this layout.
    pub format_version: u32,
    /// Every file of the folder but the manifest, by name.
    pub files: Vec<FileEntry>,
}

/// One file of a [`Manifest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path relative to the folder, with `/`.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// Content hash, 64 hexadecimal digits.
    pub blake3: String,
}

impl Manifest {
    /// A manifest of the current version.
    pub fn new(files: Vec<FileEntry>) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            files,
        }
    }

    /// The text of `MANIFEST.json`.
    pub fn to_json(&self) -> String {
        let json =
            serde_json::to_string_pretty(self).expect("strings and numbers always serialise");
        json + "\n"
    }
}

/// Reads a folder's `MANIFEST.json` and checks its form, not the files.
///
/// # Errors
/// [`Error::Io`] when it is missing, [`Error::Damaged`] when it is no manifest, is of a later version, or
/// names a file outside the folder.
pub fn read(dir: &Path) -> Result<Manifest> {
    let path = dir.join(MANIFEST_NAME);
    let file = File::open(&path).map_err(|source| Error::io("open", &path, source))?;
    let mut text = Vec::new();
    file.take(MAX_MANIFEST_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|source| Error::io("read", &path, source))?;
    if text.len() as u64 > MAX_MANIFEST_BYTES {
        let expected = format!("at most {MAX_MANIFEST_BYTES} bytes");
        return Err(Error::damaged(&path, MAX_MANIFEST_BYTES, expected, "more"));
    }
    parse(&text, &path)
}

/// The manifest in the bytes of a `MANIFEST.json`, its form checked; `path` is where they come from, for errors.
///
/// # Errors
/// [`Error::Damaged`] as for [`read`].
pub fn parse(text: &[u8], path: &Path) -> Result<Manifest> {
    let manifest: Manifest = serde_json::from_slice(text)
        .map_err(|error| Error::damaged(path, 0, "a manifest in JSON", error.to_string()))?;
    if manifest.format_version == 0 || manifest.format_version > FORMAT_VERSION {
        let expected =
            format!("format_version 1 to {FORMAT_VERSION} (a newer m6 may have written it)");
        return Err(Error::damaged(
            path,
            0,
            expected,
            manifest.format_version.to_string(),
        ));
    }
    if let Some(file) = manifest.files.iter().find(|file| !is_inside(&file.name)) {
        let got = format!("{:?}", file.name);
        return Err(Error::damaged(path, 0, "file names inside the folder", got));
    }
    Ok(manifest)
}

/// Checks every file of a folder against its manifest: presence, size, content.
///
/// Files that the manifest does not name are ignored.
///
/// # Errors
/// As [`read`], and [`Error::Io`] or [`Error::Damaged`] naming the first file that is missing, has another
/// size, or other content.
pub fn verify(dir: &Path) -> Result<()> {
    for file in read(dir)?.files {
        verify_file(dir, &file)?;
    }
    Ok(())
}

fn verify_file(dir: &Path, entry: &FileEntry) -> Result<()> {
    let path = dir.join(&entry.name);
    let data = std::fs::metadata(&path).map_err(|source| Error::io("find", &path, source))?;
    if data.len() != entry.size {
        let offset = data.len().min(entry.size);
        let expected = format!("{} bytes", entry.size);
        return Err(Error::damaged(
            &path,
            offset,
            expected,
            format!("{} bytes", data.len()),
        ));
    }
    let got = hash::hash_file(&path)?;
    if got != entry.blake3 {
        return Err(Error::damaged(
            &path,
            0,
            format!("blake3 {}", entry.blake3),
            got,
        ));
    }
    Ok(())
}

/// True for a relative path of plain names.
pub(crate) fn is_inside(name: &str) -> bool {
    let mut parts = Path::new(name).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic::{DirCommit, write_file};
    use std::io::Write;

    fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("x");
        let commit = DirCommit::begin(&place).unwrap();
        commit
            .file("data.bin")
            .unwrap()
            .write_all(b"0123456789")
            .unwrap();
        commit.commit().unwrap();
        (dir, place)
    }

    fn check(damage: impl Fn(&Path), message: &str) {
        let (_dir, place) = folder();
        verify(&place).unwrap();
        damage(&place);
        let error = verify(&place).unwrap_err().to_string();
        assert!(error.contains(message), "{error}, not: {message}");
    }

    #[test]
    fn every_damage_is_named() {
        check(
            |dir| std::fs::remove_file(dir.join("data.bin")).unwrap(),
            "data.bin",
        );
        check(
            |dir| write_file(&dir.join("data.bin"), b"012").unwrap(),
            "expected 10 bytes, got 3 bytes",
        );
        check(
            |dir| write_file(&dir.join("data.bin"), b"012345678X").unwrap(),
            "blake3",
        );
        check(
            |dir| std::fs::remove_file(dir.join(MANIFEST_NAME)).unwrap(),
            MANIFEST_NAME,
        );
        check(
            |dir| write_file(&dir.join(MANIFEST_NAME), b"{\"format").unwrap(),
            "a manifest in JSON",
        );
        check(
            |dir| write_file(&dir.join(MANIFEST_NAME), &[0xff; 64]).unwrap(),
            "a manifest in JSON",
        );
        let later = b"{\"format_version\": 99, \"files\": []}";
        check(
            |dir| write_file(&dir.join(MANIFEST_NAME), later).unwrap(),
            "format_version",
        );
        for name in ["../x", "/etc/passwd", ""] {
            let entry = FileEntry {
                name: name.to_owned(),
                size: 0,
                blake3: String::new(),
            };
            let lying = Manifest::new(vec![entry]).to_json();
            check(
                |dir| write_file(&dir.join(MANIFEST_NAME), lying.as_bytes()).unwrap(),
                "inside the folder",
            );
        }
    }
}

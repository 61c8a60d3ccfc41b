//! Pictures that rows name and that lie in tars or folders.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use m6_store::mmap::Mmap;

use super::tar::Tar;
use super::{input, io};
use crate::{Error, Result};

/// Files by name, found in tars (by member name) and folders (by path below them) (ours).
#[derive(Debug, Default)]
pub struct Members {
    tars: Vec<Mmap>,
    /// Tar, begin and length by member name; the first of equal names counts.
    places: HashMap<String, (usize, usize, usize)>,
    folders: Vec<PathBuf>,
    limit: usize,
}

impl Members {
    /// Indexes tars, and remembers folders; files beyond `limit` bytes are left out.
    ///
    /// Broken members of a tar are left out: the row that names one keeps the name without the bytes.
    ///
    /// # Errors
    /// [`Error::Io`] for what cannot be opened, [`Error::Config`] for a compressed tar, which has no random access.
    pub fn open(paths: &[PathBuf], limit: usize) -> Result<Self> {
        let mut members = Members {
            limit,
            ..Members::default()
        };
        for path in paths {
            if path.is_dir() {
                members.folders.push(path.clone());
                continue;
            }
            members.add_tar(path)?;
        }
        Ok(members)
    }

    fn add_tar(&mut self, path: &Path) -> Result<()> {
        let map = Mmap::open(path).map_err(|error| Error::Config(error.to_string()))?;
        if map.starts_with(&[0x1f, 0x8b])
            || map.starts_with(b"BZh")
            || map.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
        {
            let problem =
                "a compressed tar; pictures are looked up in any order, so unpack it first";
            return Err(Error::Config(format!("{}: {problem}", path.display())));
        }
        let mut tar = Tar::new(
            input::open(path).map_err(|error| io(path, error))?,
            self.limit,
        );
        while let Some(member) = tar.next() {
            let Ok(member) = member else { continue };
            let Ok(begin) = usize::try_from(member.offset) else {
                continue;
            };
            let name = normal(&member.name).unwrap_or(member.name);
            self.places
                .entry(name)
                .or_insert((self.tars.len(), begin, member.bytes.len()));
        }
        self.tars.push(map);
        Ok(())
    }

    /// The bytes of a file; none where no tar and no folder holds the name, or it leads out of the folder.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let name = normal(name)?;
        if let Some(&(tar, begin, n_bytes)) = self.places.get(&name) {
            return Some(
                self.tars
                    .get(tar)?
                    .get(begin..begin.checked_add(n_bytes)?)?
                    .to_vec(),
            );
        }
        self.folders
            .iter()
            .find_map(|folder| self.read(&folder.join(&name)))
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let file = File::open(path).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(self.limit as u64 + 1)
            .read_to_end(&mut bytes)
            .ok()?;
        (bytes.len() <= self.limit).then_some(bytes)
    }
}

/// A relative name without `.`; none for one that is absolute or climbs.
fn normal(name: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in Path::new(name).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str()?),
            _ => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::tar::tests::build;
    use super::*;

    #[test]
    fn files_are_found_in_tars_and_folders_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let tar = dir.path().join("p.tar");
        m6_store::atomic::write_file(&tar, &build(&[("./a.jpg", b"one"), ("d/b.jpg", b"two")]))
            .unwrap();
        let folder = dir.path().join("folder");
        m6_store::atomic::create_dir(&folder).unwrap();
        m6_store::atomic::write_file(&folder.join("c.jpg"), b"three").unwrap();
        m6_store::atomic::write_file(&folder.join("large.jpg"), &[0; 9]).unwrap();
        let members = Members::open(&[tar, folder], 8).unwrap();
        let check = |name: &str, expected: Option<&[u8]>| {
            assert_eq!(members.get(name).as_deref(), expected, "{name}")
        };
        check("a.jpg", Some(b"one"));
        check("./d/b.jpg", Some(b"two"));
        check("c.jpg", Some(b"three"));
        check("large.jpg", None);
        check("../p.tar", None);
        check("/etc/hostname", None);
        check("", None);
        check("none.jpg", None);
    }

    #[test]
    fn compressed_and_missing_tars_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.tar.gz");
        m6_store::atomic::write_file(&path, &[0x1f, 0x8b, 8, 0]).unwrap();
        let error = Members::open(&[path], 8).unwrap_err().to_string();
        assert!(error.contains("compressed tar"), "{error}");
        assert!(Members::open(&[dir.path().join("none.tar")], 8).is_err());
    }
}

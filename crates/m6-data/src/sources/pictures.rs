//! Where a source finds the pictures that its records name.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use m6_store::mmap::Mmap;
use serde_json::Value;

use crate::error::Result;
use crate::files::inside;
use crate::record::{BadRecord, Picture};
use crate::tarball;

/// Extensions taken for pictures, lower case.
pub const IMAGE_EXTENSIONS: [&str; 6] = ["jpg", "jpeg", "png", "webp", "gif", "bmp"];

/// The last extension of a name, lower case.
pub(super) fn extension(name: &str) -> String {
    let base = name.rsplit('/').next().unwrap_or(name);
    match base.rsplit_once('.') {
        Some((_, extension)) => extension.to_ascii_lowercase(),
        None => String::new(),
    }
}

/// Pictures by name.
pub(super) enum Pictures {
    /// Files below the folder of the file that names them.
    Beside,
    /// Members of tar files.
    InTars(TarPictures),
}

impl Pictures {
    /// The picture that a value of the image field names.
    pub(super) fn find(&mut self, value: &Value, named_in: &Path) -> Picture {
        let name = match value {
            Value::String(name) => name.as_str(),
            other => return Picture::Absent(other.to_string()),
        };
        match self {
            Pictures::Beside => {
                let folder = named_in.parent().unwrap_or(Path::new("."));
                from_file(folder, name)
            }
            Pictures::InTars(tars) => tars.find(name),
        }
    }
}

/// A mapped picture file below `folder`.
pub(super) fn from_file(folder: &Path, name: &str) -> Picture {
    match inside(folder, name).map(|path| Mmap::open(&path)) {
        Some(Ok(map)) => {
            let n_bytes = map.len();
            Picture::Mapped(Arc::new(map), 0..n_bytes)
        }
        Some(Err(_)) | None => Picture::Absent(name.to_string()),
    }
}

/// The picture members of some tar files, by full name and by base name.
pub(super) struct TarPictures {
    maps: Vec<Arc<Mmap>>,
    members: Vec<(usize, Range<usize>)>,
    by_name: HashMap<String, usize>,
    used: Vec<bool>,
    faults: Vec<BadRecord>,
}

impl TarPictures {
    /// Maps and indexes the tars.
    pub(super) fn new(files: &[PathBuf]) -> Result<Self> {
        let mut out = Self {
            maps: Vec::new(),
            members: Vec::new(),
            by_name: HashMap::new(),
            used: Vec::new(),
            faults: Vec::new(),
        };
        for file in files {
            let map = Arc::new(Mmap::open(file)?);
            let (members, faults) = tarball::index(&map);
            for fault in faults {
                let place = format!("{}@{}", file.display(), fault.offset);
                let rest = map.get(fault.offset..).unwrap_or_default();
                out.faults
                    .push(BadRecord::new(place, "tar", fault.detail, rest));
            }
            for member in members {
                if !IMAGE_EXTENSIONS.contains(&extension(&member.name).as_str()) {
                    continue;
                }
                let at = out.members.len();
                out.members.push((out.maps.len(), member.range));
                let base = member
                    .name
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .to_string();
                out.by_name.entry(base).or_insert(at);
                out.by_name.insert(member.name, at);
            }
            out.maps.push(map);
        }
        out.used = vec![false; out.members.len()];
        out.faults.reverse();
        Ok(out)
    }

    fn find(&mut self, name: &str) -> Picture {
        match self.by_name.get(name.trim_start_matches("./")) {
            Some(&at) => {
                self.used[at] = true;
                let (map, range) = &self.members[at];
                Picture::Mapped(self.maps[*map].clone(), range.clone())
            }
            None => Picture::Absent(name.to_string()),
        }
    }

    /// The next broken place of the tars.
    pub(super) fn next_fault(&mut self) -> Option<BadRecord> {
        self.faults.pop()
    }

    /// Pictures that no line has named so far.
    pub(super) fn n_unused(&self) -> u64 {
        self.used.iter().filter(|used| !**used).count() as u64
    }
}

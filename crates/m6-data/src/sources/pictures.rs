//! Where a source finds the pictures that its records name.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use m6_store::mmap::Mmap;
use serde_json::Value;

use crate::config::SourceConfig;
use crate::error::Result;
use crate::fields::ImageValue;
use crate::files::{expand, inside};
use crate::names::NamePattern;
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

/// A name without the extension of a picture; others stay.
pub(super) fn stem(name: &str) -> &str {
    let is_picture = IMAGE_EXTENSIONS.contains(&extension(name).as_str());
    match name.rsplit_once('.') {
        Some((stem, _)) if is_picture => stem,
        _ => name,
    }
}

/// Finds the pictures of records.
pub(super) struct Pictures {
    pattern: Option<NamePattern>,
    /// `None`: files below the folder of the file that names them.
    store: Option<Store>,
}

impl Pictures {
    /// Pictures where the source says that they are.
    pub(super) fn of(config: &SourceConfig, root: &Path) -> Result<Self> {
        let files = expand(&config.name, &config.images, root)?;
        Ok(Self {
            pattern: config.image_name.as_deref().and_then(NamePattern::parse),
            store: match files.is_empty() {
                true => None,
                false => Some(Store::new(&files)?),
            },
        })
    }

    /// Pictures in these files, by the names that the records give.
    pub(super) fn stored(files: &[PathBuf]) -> Result<Self> {
        Ok(Self {
            pattern: None,
            store: Some(Store::new(files)?),
        })
    }

    /// The picture that a value of an image field stands for.
    pub(super) fn find(&mut self, value: ImageValue<'_>, named_in: &Path) -> Picture {
        let named = match value {
            ImageValue::Base64(Value::String(text)) => return from_base64(text.as_bytes()),
            ImageValue::Base64(other) => return Picture::Absent(other.to_string()),
            ImageValue::Named(named) => named,
        };
        let name = match named {
            Value::String(name) => name.clone(),
            Value::Number(number) => number.to_string(),
            other => return Picture::Absent(other.to_string()),
        };
        let name = match &self.pattern {
            Some(pattern) => pattern.fill(&name),
            None => name,
        };
        match &mut self.store {
            None => from_file(named_in.parent().unwrap_or(Path::new(".")), &name),
            Some(store) => store.find(&name),
        }
    }

    /// The next broken place of the files with pictures.
    pub(super) fn next_fault(&mut self) -> Option<BadRecord> {
        self.store.as_mut()?.faults.pop()
    }

    /// Stored pictures that no record has named so far; files of folders are not counted.
    pub(super) fn n_unused(&self) -> u64 {
        let used = self.store.iter().flat_map(|store| &store.used);
        used.filter(|used| !**used).count() as u64
    }
}

/// A mapped picture file below `folder`.
pub(super) fn from_file(folder: &Path, name: &str) -> Picture {
    file_below(folder, name).unwrap_or_else(|| Picture::Absent(name.to_string()))
}

fn file_below(folder: &Path, name: &str) -> Option<Picture> {
    let map = Mmap::open(&inside(folder, name)?).ok()?;
    let n_bytes = map.len();
    Some(Picture::Mapped(Arc::new(map), 0..n_bytes))
}

/// A picture from base64 in either alphabet, with or without padding.
pub(super) fn from_base64(text: &[u8]) -> Picture {
    const LAX: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LAX);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LAX);
    let text = text.trim_ascii();
    let is_url_safe = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let engine = if is_url_safe { &URL_SAFE } else { &STANDARD };
    match engine.decode(text) {
        Ok(bytes) => Picture::Encoded(bytes),
        Err(error) => {
            let start = String::from_utf8_lossy(&text[..text.len().min(40)]).into_owned();
            Picture::Absent(format!("{start}... (no base64: {error})"))
        }
    }
}

/// Pictures in folders, tars and tables.
struct Store {
    folders: Vec<PathBuf>,
    maps: Vec<Arc<Mmap>>,
    members: Vec<Member>,
    by_name: HashMap<String, usize>,
    used: Vec<bool>,
    faults: Vec<BadRecord>,
}

/// A picture inside a mapped file.
struct Member {
    map: usize,
    range: Range<usize>,
    base64: bool,
}

impl Store {
    /// Maps and indexes the files: a folder, a table of `name<TAB>base64` (`.tsv`), or a tar.
    fn new(files: &[PathBuf]) -> Result<Self> {
        let mut out = Self {
            folders: Vec::new(),
            maps: Vec::new(),
            members: Vec::new(),
            by_name: HashMap::new(),
            used: Vec::new(),
            faults: Vec::new(),
        };
        for file in files {
            if file.is_dir() {
                out.folders.push(file.clone());
                continue;
            }
            let map = Arc::new(Mmap::open(file)?);
            match extension(&file.to_string_lossy()) == "tsv" {
                true => out.add_table(file, &map),
                false => out.add_tar(file, &map),
            }
            out.maps.push(map);
        }
        out.used = vec![false; out.members.len()];
        out.faults.reverse();
        Ok(out)
    }

    fn add_tar(&mut self, file: &Path, map: &[u8]) {
        let (members, faults) = tarball::index(map);
        for fault in faults {
            let place = format!("{}@{}", file.display(), fault.offset);
            let rest = map.get(fault.offset..).unwrap_or_default();
            self.faults
                .push(BadRecord::new(place, "tar", fault.detail, rest));
        }
        for member in members {
            if !IMAGE_EXTENSIONS.contains(&extension(&member.name).as_str()) {
                continue;
            }
            let at = self.members.len();
            let base = member.name.rsplit('/').next().unwrap_or_default();
            self.by_name.entry(base.to_string()).or_insert(at);
            self.by_name.insert(member.name, at);
            self.add(member.range, false);
        }
    }

    fn add_table(&mut self, file: &Path, map: &[u8]) {
        let mut from = 0;
        for (number, line) in map.split(|byte| *byte == b'\n').enumerate() {
            let begin = from;
            from += line.len() + 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let bad = |reason, detail: &str| {
                let place = format!("{}:{}", file.display(), number + 1);
                BadRecord::new(place, reason, detail, line)
            };
            let tab = line.iter().position(|byte| *byte == b'\t');
            let name = tab.and_then(|tab| std::str::from_utf8(&line[..tab]).ok());
            let (Some(tab), Some(name)) = (tab, name) else {
                self.faults
                    .push(bad("field", "expected `name<TAB>picture in base64`"));
                continue;
            };
            let name = name.trim_start_matches('\u{feff}').trim();
            let at = self.members.len();
            if self.by_name.insert(name.to_string(), at).is_some() {
                self.faults.push(bad(
                    "duplicate",
                    "the name occurs before; the last one counts",
                ));
            }
            self.add(begin + tab + 1..begin + line.len(), true);
        }
    }

    fn add(&mut self, range: Range<usize>, base64: bool) {
        self.members.push(Member {
            map: self.maps.len(),
            range,
            base64,
        });
    }

    /// The picture of a name, which may lack its extension.
    fn find(&mut self, name: &str) -> Picture {
        let name = name.trim_start_matches("./");
        let longer = IMAGE_EXTENSIONS.map(|extension| format!("{name}.{extension}"));
        let names = || std::iter::once(name).chain(longer.iter().map(String::as_str));
        if let Some(&at) = names().find_map(|name| self.by_name.get(name)) {
            self.used[at] = true;
            let Member { map, range, base64 } = &self.members[at];
            let map = &self.maps[*map];
            return match base64 {
                true => from_base64(map.get(range.clone()).unwrap_or_default()),
                false => Picture::Mapped(map.clone(), range.clone()),
            };
        }
        let files =
            (self.folders.iter()).flat_map(|folder| names().map(move |name| (folder, name)));
        let mut found = files.filter_map(|(folder, name)| file_below(folder, name));
        found
            .next()
            .unwrap_or_else(|| Picture::Absent(name.to_string()))
    }
}

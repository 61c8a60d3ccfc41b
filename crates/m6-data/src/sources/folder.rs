//! Picture files with their texts beside them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use m6_store::mmap::Mmap;
use serde_json::Value;

use super::lines::{Lines, parse};
use super::pictures::{IMAGE_EXTENSIONS, extension, from_file, stem};
use crate::config::{Fields, SourceConfig};
use crate::error::{Error, Result};
use crate::fields::{FieldMap, ImageValue};
use crate::record::{BadRecord, Record, Source};

/// Largest text file that is read, in bytes.
const MAX_TEXT: usize = 16 << 20;

/// One record a picture file, sorted by path.
pub(super) struct FolderSource {
    name: String,
    pictures: std::vec::IntoIter<PathBuf>,
    /// Records of the side file by picture name; `None`: texts lie beside the pictures.
    side: Option<HashMap<String, Record>>,
    faults: std::vec::IntoIter<BadRecord>,
}

impl FolderSource {
    pub(super) fn new(config: &SourceConfig, files: &[PathBuf], side: &[PathBuf]) -> Result<Self> {
        let mut pictures = Vec::new();
        for file in files {
            collect(file, &mut pictures)?;
        }
        pictures.sort();
        pictures.dedup();
        let (side, faults) = match side.is_empty() {
            true => (None, Vec::new()),
            false => {
                let (records, faults) = read_side(config, side);
                (Some(records), faults)
            }
        };
        Ok(Self {
            name: config.name.clone(),
            pictures: pictures.into_iter(),
            side,
            faults: faults.into_iter(),
        })
    }
}

impl Source for FolderSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn next(&mut self) -> Option<std::result::Result<Record, BadRecord>> {
        if let Some(fault) = self.faults.next() {
            return Some(Err(fault));
        }
        let path = self.pictures.next()?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut record = match &mut self.side {
            Some(side) => take(side, &path).unwrap_or_default(),
            None => match beside(&path) {
                Ok(record) => record,
                Err(bad) => return Some(Err(bad)),
            },
        };
        if record.id.is_empty() {
            record.id = name.clone();
        }
        record.place = path.display().to_string();
        record.images = vec![from_file(folder, &name)];
        Some(Ok(record))
    }

    fn skipped(&self) -> BTreeMap<String, u64> {
        match &self.side {
            Some(side) if self.pictures.len() == 0 && !side.is_empty() => {
                BTreeMap::from([("line_without_picture".to_string(), side.len() as u64)])
            }
            _ => BTreeMap::new(),
        }
    }
}

/// The record of a picture: named by its path from any folder above it (`a/1.jpg`), or by its file name alone, with its extension or
/// without.
fn take(side: &mut HashMap<String, Record>, path: &Path) -> Option<Record> {
    let parts: Vec<String> = path
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    (0..parts.len()).find_map(|from| {
        let name = parts[from..].join("/");
        side.remove(&name).or_else(|| side.remove(stem(&name)))
    })
}

/// Picture files at or below a path.
fn collect(path: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        let name = path.to_string_lossy();
        if IMAGE_EXTENSIONS.contains(&extension(&name).as_str()) {
            out.push(path.to_path_buf());
        }
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(|cause| Error::io(path, cause))?;
    for entry in entries {
        let entry = entry.map_err(|cause| Error::io(path, cause))?;
        // A link could lead back up; only real folders are entered.
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if !(is_link && entry.path().is_dir()) {
            collect(&entry.path(), out)?;
        }
    }
    Ok(())
}

/// Captions of `name.txt`, one a line; no file, no captions.
fn beside(picture: &Path) -> std::result::Result<Record, BadRecord> {
    let path = picture.with_extension("txt");
    let mut record = Record::default();
    if !path.is_file() {
        return Ok(record);
    }
    let place = path.display().to_string();
    let map = Mmap::open(&path)
        .map_err(|error| BadRecord::new(place.clone(), "unreadable", error, &[]))?;
    let bytes = &map[..map.len().min(MAX_TEXT)];
    let text =
        std::str::from_utf8(bytes).map_err(|error| BadRecord::new(place, "utf8", error, bytes))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    record.captions = lines.map(str::to_string).collect();
    Ok(record)
}

/// Records by picture name from JSON lines (`image` names the picture), `name<TAB>caption` or `name#n caption` lines.
fn read_side(
    config: &SourceConfig,
    files: &[PathBuf],
) -> (HashMap<String, Record>, Vec<BadRecord>) {
    let mut config = config.clone();
    if config.image.is_empty() {
        config.image = Fields::from(["file"]);
    }
    let fields = FieldMap::new(&config);
    let mut records: HashMap<String, Record> = HashMap::new();
    let mut faults = Vec::new();
    let mut lines = Lines::new(files.to_vec());
    while let Some(line) = lines.next() {
        let line = match line {
            Ok(line) => line,
            Err(bad) => {
                faults.push(bad);
                continue;
            }
        };
        if let Err(bad) = one_line(line.bytes, &line.place(), &fields, &mut records) {
            faults.push(bad);
        }
    }
    (records, faults)
}

fn one_line(
    bytes: &[u8],
    place: &str,
    fields: &FieldMap,
    records: &mut HashMap<String, Record>,
) -> std::result::Result<(), BadRecord> {
    let bad = |reason, detail: String| BadRecord::new(place, reason, detail, bytes);
    if bytes.starts_with(b"{") {
        let value = parse(bytes).map_err(|(reason, detail)| bad(reason, detail))?;
        let Some(ImageValue::Named(Value::String(name))) = fields.images(&value).first().copied()
        else {
            return Err(bad("field", "no picture is named".to_string()));
        };
        let new = fields.record(&value, place.to_string(), name);
        match records.entry(name.clone()) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.captions.extend(new.captions);
                known.qa.extend(new.qa);
                known.text = known.text.take().or(new.text);
            }
            Entry::Vacant(place) => {
                place.insert(new);
            }
        }
        return Ok(());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| bad("utf8", error.to_string()))?;
    // `photo.jpg#0` is the Flickr way of numbering captions; there a blank may stand in place of the tab.
    let numbered = || text.split_once(' ').filter(|(name, _)| name.contains('#'));
    let Some((name, caption)) = text.split_once('\t').or_else(numbered) else {
        return Err(bad(
            "field",
            "expected `name<TAB>caption`, `name#n caption` or a JSON object".to_string(),
        ));
    };
    let name = name.split('#').next().unwrap_or(name).trim();
    let record = records.entry(name.to_string()).or_default();
    record.captions.push(caption.trim().to_string());
    Ok(())
}

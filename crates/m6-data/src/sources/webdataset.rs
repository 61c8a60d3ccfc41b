//! Tar shards whose members share a name up to the first dot.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use m6_store::mmap::Mmap;

use super::lines::parse;
use super::pictures::{IMAGE_EXTENSIONS, extension};
use crate::config::SourceConfig;
use crate::fields::FieldMap;
use crate::record::{BadRecord, Picture, Record, Source};
use crate::tarball;

/// Records of shards; one shard is mapped and indexed at a time.
pub(super) struct ShardSource {
    name: String,
    fields: FieldMap,
    /// Extensions taken for pictures.
    image: Vec<String>,
    files: std::vec::IntoIter<PathBuf>,
    shard: Option<Shard>,
    n_without_text: u64,
}

struct Shard {
    path: PathBuf,
    map: Arc<Mmap>,
    faults: std::vec::IntoIter<tarball::Fault>,
    groups: std::vec::IntoIter<Group>,
}

/// The members of one sample.
#[derive(Default)]
struct Group {
    key: String,
    json: Option<Range<usize>>,
    text: Option<Range<usize>>,
    images: Vec<Range<usize>>,
}

impl ShardSource {
    pub(super) fn new(config: &SourceConfig, files: Vec<PathBuf>) -> Self {
        let mut image: Vec<String> = config.image.iter().map(str::to_ascii_lowercase).collect();
        if image.is_empty() {
            image = IMAGE_EXTENSIONS
                .iter()
                .map(|name| name.to_string())
                .collect();
        }
        Self {
            name: config.name.clone(),
            fields: FieldMap::new(config),
            image,
            files: files.into_iter(),
            shard: None,
            n_without_text: 0,
        }
    }

    fn record(&self, shard: &Shard, group: &Group) -> std::result::Result<Record, BadRecord> {
        let place = format!("{}/{}", shard.path.display(), group.key);
        let mut record = match &group.json {
            Some(range) => {
                let bytes = &shard.map[range.clone()];
                let value = parse(bytes).map_err(|(reason, detail)| {
                    BadRecord::new(place.clone(), reason, detail, bytes)
                })?;
                self.fields.record(&value, place.clone(), &group.key)
            }
            None => Record {
                id: group.key.clone(),
                place: place.clone(),
                ..Record::default()
            },
        };
        if let Some(range) = &group.text {
            let bytes = &shard.map[range.clone()];
            let text = std::str::from_utf8(bytes)
                .map_err(|error| BadRecord::new(place, "utf8", error, bytes))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            record.captions.extend(lines.map(str::to_string));
        }
        let mapped = |range: &Range<usize>| Picture::Mapped(shard.map.clone(), range.clone());
        record.images = group.images.iter().map(mapped).collect();
        Ok(record)
    }
}

impl Source for ShardSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn next(&mut self) -> Option<std::result::Result<Record, BadRecord>> {
        loop {
            let Some(mut shard) = self.shard.take() else {
                match Shard::open(&self.files.next()?, &self.image) {
                    Ok(shard) => self.shard = Some(shard),
                    Err(bad) => return Some(Err(bad)),
                }
                continue;
            };
            let item = match shard.faults.next() {
                Some(fault) => Err(shard.bad(fault)),
                None => match shard.groups.next() {
                    Some(group) if group.json.is_none() && group.text.is_none() => {
                        self.n_without_text += 1;
                        self.shard = Some(shard);
                        continue;
                    }
                    Some(group) => self.record(&shard, &group),
                    None => continue,
                },
            };
            self.shard = Some(shard);
            return Some(item);
        }
    }

    fn skipped(&self) -> BTreeMap<String, u64> {
        let mut out = BTreeMap::new();
        if self.n_without_text > 0 {
            out.insert("picture_without_text".to_string(), self.n_without_text);
        }
        out
    }
}

impl Shard {
    fn open(path: &Path, image: &[String]) -> std::result::Result<Self, BadRecord> {
        let map = Mmap::open(path).map_err(|error| {
            BadRecord::new(path.display().to_string(), "unreadable", error, &[])
        })?;
        let (members, faults) = tarball::index(&map);
        Ok(Self {
            path: path.to_path_buf(),
            groups: group(members, image).into_iter(),
            faults: faults.into_iter(),
            map: Arc::new(map),
        })
    }

    fn bad(&self, fault: tarball::Fault) -> BadRecord {
        let place = format!("{}@{}", self.path.display(), fault.offset);
        let rest = self.map.get(fault.offset..).unwrap_or_default();
        BadRecord::new(place, "tar", fault.detail, rest)
    }
}

/// Members by key, in the order in which each key first appears.
fn group(members: Vec<tarball::Member>, image: &[String]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut by_key: HashMap<String, usize> = HashMap::new();
    for member in members {
        let (folder, base) = member.name.rsplit_once('/').unwrap_or(("", &member.name));
        let stem = base.split('.').next().unwrap_or(base);
        let extension = extension(base);
        let is_image = image.contains(&extension);
        // Members of other kinds (`id.cls`, `id.npy`) belong to someone else's task.
        if stem.is_empty() || !(is_image || extension == "json" || extension == "txt") {
            continue;
        }
        let key = match folder {
            "" | "." => stem.to_string(),
            _ => format!("{folder}/{stem}"),
        };
        let at = *by_key.entry(key.clone()).or_insert_with(|| {
            groups.push(Group {
                key,
                ..Group::default()
            });
            groups.len() - 1
        });
        let sample = &mut groups[at];
        match extension.as_str() {
            "json" => sample.json = Some(member.range),
            "txt" => sample.text = Some(member.range),
            _ => sample.images.push(member.range),
        }
    }
    groups
}

//! Pictures of the records that are still in: found, looked at, copied.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use m6_store::atomic::DirCommit;
use m6_store::blobs::{BlobReader, BlobWriter};
use m6_store::hash::hash64;
use m6_store::mmap::Mmap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::adapt::pictures::{Seen, Shelf, look, thumbnail};
use super::super::config::{Config, PicturesConfig};
use super::super::context::{Context, Made, Side, remove_spill, spill_folder};
use super::super::docs::{Doc, DocPicture, DocReader};
use super::super::files::Files;
use super::super::inputs::Hashes;
use super::super::work::{KeyHash, Note, Stage};
use super::extract::{BLOBS_NAME, FOUND, FOUND_NAME};
use super::{Sorted, finish, mix, rows};
use crate::table::{Batch, Cell, Column, Kind, Reader, Writer};
use crate::{Error, Result};
use m6_clean::dedup::sort::{Record, Sorter};
use m6_clean::pictures::Fingerprint;

/// Where each archived picture lies.
pub const FOUND_STAGE: Stage = Stage {
    name: "found",
    version: 1,
};
/// Looking at pictures.
pub const STAGE: Stage = Stage {
    name: "pictures",
    version: 2,
};
/// The table: one row a picture, in order of record and place.
pub const NAME: &str = "pictures.parquet";
/// Its columns.
pub const COLUMNS: [(&str, Kind); 12] = [
    ("row", Kind::Int),
    ("place", Kind::Int),
    ("verdict", Kind::Text),
    ("rule", Kind::Text),
    ("value", Kind::Float),
    ("threshold", Kind::Float),
    ("width", Kind::Int),
    ("height", Kind::Int),
    ("phash", Kind::Int),
    ("dhash", Kind::Int),
    ("caption", Kind::Text),
    ("copy", Kind::Int),
];
/// Stored copies, and small copies of some that were dropped.
pub const COPIES_NAME: &str = "copies";
/// Bytes of one entry of the list of archived pictures: hash of the address, shard, place.
const ENTRY: usize = 16;
/// Name of that list.
const LIST_NAME: &str = "found.bin";
/// Memory one picture may take while it is looked at: the most pixels allowed, and its scaled copies.
const PICTURE_BYTES: usize = 200 << 20;
/// Dropped pictures of one rule and shard that get a small copy for the report.
const THUMBS: usize = 2;

/// One picture after this stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Row of its record in the shard.
    pub row: usize,
    /// Its place among the record's pictures.
    pub place: usize,
    /// `keep`, `drop`, `refused` or `missing`.
    pub verdict: String,
    /// The rule that decided; empty for kept ones.
    pub rule: String,
    /// What the rule measured.
    pub value: Option<f64>,
    /// What it was compared with.
    pub threshold: Option<f64>,
    /// Width of the original in pixels.
    pub width: u32,
    /// Height of the original in pixels.
    pub height: u32,
    /// Hash of the lowest frequencies.
    pub phash: u64,
    /// Hash of the gradients.
    pub dhash: u64,
    /// The chosen caption.
    pub caption: String,
    /// Its number among the copies; none where there is no copy.
    pub copy: Option<u64>,
}

impl Picture {
    /// Both hashes.
    pub fn print(&self) -> Fingerprint {
        Fingerprint {
            phash: self.phash,
            dhash: self.dhash,
        }
    }
}

/// Runs the stage over every shard.
///
/// # Errors
/// As [`Context::map`], and picture archives that cannot be opened.
pub fn run(
    context: &Context<'_>,
    hashes: &mut Hashes,
    extracted: &[Made],
    finished: &[Made],
) -> Result<Vec<Made>> {
    let config = context.config;
    let found = list_found(context, extracted)?;
    let archive = Archive::open(&found, extracted)?;
    let (shelves, shelf_keys) = shelves(context, hashes)?;
    context.map(
        STAGE,
        Side::OneByOne,
        |shard| {
            let alive = std::fs::read(finished[shard].folder.join(finish::ALIVE_NAME));
            let wants = context.source(shard).wants_pictures();
            Ok(KeyHash::new(STAGE)
                .with(extracted[shard].key.as_bytes())
                .with(&alive.unwrap_or_default())
                .with(found.key.as_bytes())
                .with(shelf_keys[context.shards[shard].source].as_bytes())
                .with_json(&wants)
                .with_json(&what_looking_needs(&config.pictures))
                .finish())
        },
        |shard, commit| {
            let mut outputs = Outputs::new(commit)?;
            if context.source(shard).wants_pictures() {
                let own = BlobReader::open(&extracted[shard].folder.join(BLOBS_NAME))?;
                let shelf = shelves[context.shards[shard].source].get(&context.files)?;
                let finder = Finder {
                    own: &own,
                    shelf,
                    archive: &archive,
                };
                let alive = mix::alive(&finished[shard])?;
                look_at(config, &extracted[shard], &alive, &finder, &mut outputs)?;
            }
            outputs.finish()
        },
    )
}

fn what_looking_needs(config: &PicturesConfig) -> PicturesConfig {
    PicturesConfig {
        near: Default::default(),
        dedup: false,
        ..config.clone()
    }
}

/// The tars and folders of one source, opened (and downloaded) when a picture is first looked for.
struct LateShelf {
    paths: Vec<PathBuf>,
    limit: usize,
    shelf: OnceLock<Shelf>,
}

impl LateShelf {
    fn get(&self, files: &Files<'_>) -> Result<&Shelf> {
        if let Some(shelf) = self.shelf.get() {
            return Ok(shelf);
        }
        let opened = Shelf::open(&files.all_local(&self.paths)?, self.limit)?;
        Ok(self.shelf.get_or_init(|| opened))
    }
}

/// The tars and folders of every source, with their hashes.
fn shelves(context: &Context<'_>, hashes: &mut Hashes) -> Result<(Vec<LateShelf>, Vec<String>)> {
    let (mut shelves, mut keys) = (Vec::new(), Vec::new());
    for source in &context.config.sources {
        let paths: Vec<PathBuf> = match source.wants_pictures() {
            true => context.files.expand(&source.pictures_from)?,
            false => Vec::new(),
        };
        let hashed = paths.iter().map(|path| hashes.of(&context.files, path));
        keys.push(hashed.collect::<Result<Vec<String>>>()?.concat());
        shelves.push(LateShelf {
            paths,
            limit: source.limits.record,
            shelf: OnceLock::new(),
        });
    }
    Ok((shelves, keys))
}

/// Makes the sorted list of archived pictures.
fn list_found(context: &Context<'_>, extracted: &[Made]) -> Result<Made> {
    let mut key = KeyHash::new(FOUND_STAGE);
    for (shard, made) in extracted.iter().enumerate() {
        // Shards without archived pictures change nothing.
        if Reader::open(&made.folder.join(FOUND_NAME), &FOUND)?.n_rows() > 0 {
            key = key
                .with(made.key.as_bytes())
                .with(&(shard as u64).to_le_bytes());
        }
    }
    context.reduce(FOUND_STAGE, key.finish(), |commit| {
        let spill = spill_folder(commit)?;
        let mut sorter = Sorter::<(u64, u32, u32)>::new(&spill, context.config.sort_bytes());
        for (shard, made) in extracted.iter().enumerate() {
            rows(&made.folder.join(FOUND_NAME), &FOUND, |batch, row| {
                let blob = u32::try_from(batch.int(1, row));
                if let (Ok(shard), Ok(blob)) = (u32::try_from(shard), blob) {
                    sorter.push((address_hash(batch.text(0, row)), shard, blob))?;
                }
                Ok(())
            })?;
        }
        let mut file = std::io::BufWriter::new(commit.file(LIST_NAME)?);
        let path = commit.path().join(LIST_NAME);
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        let mut records = 0;
        for entry in sorter.finish()? {
            let mut bytes = [0; ENTRY];
            entry?.put(&mut bytes);
            std::io::Write::write_all(&mut file, &bytes).map_err(io)?;
            records += 1;
        }
        let file = file.into_inner().map_err(|error| io(error.into_error()))?;
        file.finish()?;
        remove_spill(commit)?;
        Ok(Note {
            records,
            ..Note::default()
        })
    })
}

/// Addresses are compared without scheme and fragment.
fn address_hash(address: &str) -> u64 {
    let address = address.split('#').next().unwrap_or_default();
    let plain = address.split_once("://").map_or(address, |(_, rest)| rest);
    hash64(plain.as_bytes())
}

/// The pictures of all archives of the build, by address.
struct Archive {
    list: Mmap,
    blobs: Vec<PathBuf>,
}

impl Archive {
    fn open(found: &Made, extracted: &[Made]) -> Result<Self> {
        Ok(Self {
            list: Mmap::open(&found.folder.join(LIST_NAME))?,
            blobs: extracted
                .iter()
                .map(|made| made.folder.join(BLOBS_NAME))
                .collect(),
        })
    }

    fn entry(&self, at: usize) -> Option<(u64, u32, u32)> {
        let bytes = self.list.get(at * ENTRY..(at + 1) * ENTRY)?;
        Some(<(u64, u32, u32)>::get(bytes))
    }

    fn find(&self, address: &str) -> Option<Vec<u8>> {
        let wanted = address_hash(address);
        let (mut low, mut high) = (0, self.list.len() / ENTRY);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle)?.0 < wanted {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let (hash, shard, blob) = self.entry(low)?;
        if hash != wanted {
            return None;
        }
        let blobs = BlobReader::open(self.blobs.get(shard as usize)?).ok()?;
        blobs.try_get(blob as usize).map(<[u8]>::to_vec)
    }
}

/// Where the bytes of a picture may be.
struct Finder<'a> {
    own: &'a BlobReader,
    shelf: &'a Shelf,
    archive: &'a Archive,
}

impl Finder<'_> {
    fn find(&self, picture: &DocPicture) -> Option<Vec<u8>> {
        if let Some(blob) = picture.blob.and_then(|blob| usize::try_from(blob).ok()) {
            return self.own.try_get(blob).map(<[u8]>::to_vec);
        }
        self.archive
            .find(&picture.address)
            .or_else(|| self.shelf.find(&picture.address))
    }
}

fn look_at(
    config: &Config,
    extracted: &Made,
    alive: &std::collections::HashSet<usize>,
    finder: &Finder<'_>,
    outputs: &mut Outputs,
) -> Result<()> {
    let most = rayon::current_num_threads() * 4;
    let width = (config.memory() / PICTURE_BYTES).clamp(1, most);
    let mut reader = DocReader::open(&extracted.folder)?;
    let mut row = 0;
    while let Some(docs) = reader.next_batch()? {
        let wanted: Vec<(usize, usize, &DocPicture)> = docs
            .iter()
            .enumerate()
            .filter(|(at, _)| alive.contains(&(row + at)))
            .flat_map(|(at, doc)| {
                pictures_of(config, doc).map(move |(place, p)| (row + at, place, p))
            })
            .collect();
        for group in wanted.chunks(width) {
            let seen: Vec<Option<(Seen, Vec<u8>)>> = group
                .par_iter()
                .map(|(_, _, picture)| {
                    let bytes = finder.find(picture)?;
                    Some((look(&bytes, &config.pictures), bytes))
                })
                .collect();
            for ((row, place, picture), seen) in group.iter().zip(seen) {
                outputs.take(*row, *place, picture, seen)?;
            }
        }
        row += docs.len();
    }
    Ok(())
}

fn pictures_of<'d>(config: &Config, doc: &'d Doc) -> impl Iterator<Item = (usize, &'d DocPicture)> {
    doc.pictures
        .iter()
        .enumerate()
        .take(config.pictures.per_record)
}

struct Outputs {
    table: Writer<m6_store::atomic::FileWriter>,
    copies: BlobWriter,
    n_thumbs: BTreeMap<String, usize>,
}

impl Outputs {
    fn new(commit: &DirCommit) -> Result<Self> {
        let columns = COLUMNS.map(|(name, kind)| Column::new(name, kind));
        Ok(Self {
            table: Writer::new(commit.file(NAME)?, &commit.path().join(NAME), &columns)?,
            copies: BlobWriter::create(&commit.path().join(COPIES_NAME))?,
            n_thumbs: BTreeMap::new(),
        })
    }

    fn take(
        &mut self,
        row: usize,
        place: usize,
        picture: &DocPicture,
        seen: Option<(Seen, Vec<u8>)>,
    ) -> Result<()> {
        let mut out = Picture {
            row,
            place,
            verdict: "missing".to_string(),
            rule: "picture_not_found".to_string(),
            caption: picture.caption.clone(),
            ..Picture::default()
        };
        if let Some((seen, bytes)) = seen {
            (out.width, out.height) = (seen.width, seen.height);
            (out.phash, out.dhash) = (seen.print.phash, seen.print.dhash);
            out.verdict = match (&seen.failure, seen.is_refused) {
                (_, true) => "refused",
                (Some(_), false) => "drop",
                (None, false) => "keep",
            }
            .to_string();
            (out.rule, out.value, out.threshold) = seen.failure.unwrap_or_default();
            let copy = match (seen.jpeg, seen.is_refused) {
                (Some(jpeg), _) => Some(jpeg),
                (None, false) => self.thumb(&out.rule, &bytes),
                (None, true) => None,
            };
            out.copy = copy.map(|jpeg| self.copies.append(&jpeg)).transpose()?;
        }
        self.push(&out)
    }

    /// A small copy of the first few that a rule drops.
    fn thumb(&mut self, rule: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        let n = self.n_thumbs.entry(rule.to_string()).or_default();
        if *n >= THUMBS {
            return None;
        }
        *n += 1;
        thumbnail(bytes)
    }

    fn push(&mut self, picture: &Picture) -> Result<()> {
        let number = |value: Option<f64>| value.map_or(Cell::Null, Cell::Float);
        let copy = picture.copy.and_then(|copy| i64::try_from(copy).ok());
        self.table.push(&[
            Cell::Int(picture.row as i64),
            Cell::Int(picture.place as i64),
            Cell::Text(&picture.verdict),
            Cell::Text(&picture.rule),
            number(picture.value),
            number(picture.threshold),
            Cell::Int(i64::from(picture.width)),
            Cell::Int(i64::from(picture.height)),
            Cell::Int(picture.phash.cast_signed()),
            Cell::Int(picture.dhash.cast_signed()),
            Cell::Text(&picture.caption),
            copy.map_or(Cell::Null, Cell::Int),
        ])
    }

    fn finish(self) -> Result<Note> {
        let records = self.table.n_rows();
        self.table.finish()?.finish()?;
        self.copies.finish()?;
        Ok(Note {
            records,
            ..Note::default()
        })
    }
}

/// Hands every picture of a shard to `take`, in order.
///
/// # Errors
/// A table that cannot be read, and what `take` answers.
pub fn read(folder: &std::path::Path, mut take: impl FnMut(Picture) -> Result<()>) -> Result<()> {
    rows(&folder.join(NAME), &COLUMNS, |batch, row| {
        take(picture_of(batch, row))
    })
}

/// The pictures of a shard, met on the way through its records.
///
/// # Errors
/// A table that cannot be read.
pub fn by_record(folder: &std::path::Path) -> Result<Sorted<Picture>> {
    Sorted::open(&folder.join(NAME), &COLUMNS, picture_of)
}

fn picture_of(batch: &Batch, row: usize) -> Picture {
    let size = |column| u32::try_from(batch.int(column, row)).unwrap_or(0);
    let index = |column| usize::try_from(batch.int(column, row)).unwrap_or(usize::MAX);
    let copy = batch.number(11, row).map(|_| batch.int(11, row));
    Picture {
        row: index(0),
        place: index(1),
        verdict: batch.text(2, row).to_string(),
        rule: batch.text(3, row).to_string(),
        value: batch.float(4, row),
        threshold: batch.float(5, row),
        width: size(6),
        height: size(7),
        phash: batch.int(8, row).cast_unsigned(),
        dhash: batch.int(9, row).cast_unsigned(),
        caption: batch.text(10, row).to_string(),
        copy: copy.and_then(|copy| u64::try_from(copy).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_with_and_without_scheme_and_fragment() {
        assert_eq!(
            address_hash("http://a.cn/x.jpg"),
            address_hash("https://a.cn/x.jpg#y")
        );
        assert_ne!(
            address_hash("http://a.cn/x.jpg"),
            address_hash("http://a.cn/x.jpg?y")
        );
    }
}

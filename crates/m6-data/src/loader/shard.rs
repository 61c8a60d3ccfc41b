//! The mapped files of one source.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use m6_store::blobs::BlobReader;
use m6_store::permute::Permutation;
use m6_store::rng::Key;
use m6_store::tokens::TokenReader;

use super::{RowRef, Split};
use crate::config::{CodesConfig, SourceConfig};
use crate::entry::{Entry, EntryRow};
use crate::error::{Error, Result};
use crate::manifest::SPLITS;
use crate::mixture::Schedule;
use crate::prepare::ITEM_BYTES;
use crate::tasks::{self, Item, Peers};

/// One example of a row table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowExample {
    /// Record of the source.
    pub(super) record: u64,
    /// Its part.
    pub(super) item: Item,
}

/// One source of a prepared folder.
pub(super) struct Shard {
    pub(super) name: String,
    dir: PathBuf,
    tokens: TokenReader,
    records: BlobReader,
    images: BlobReader,
    /// Image codes, one sequence a picture; `None` for data without codes.
    codes: Option<TokenReader>,
    /// Finer image codes in the same way.
    fine: Option<TokenReader>,
    /// Row tables by task, for both splits; `None` where the task was not prepared.
    tables: Vec<Option<[BlobReader; 2]>>,
    /// Key of each task.
    pub(super) keys: Vec<Key>,
    split: Split,
    /// `None` when no task has a row and a weight.
    schedule: Option<Schedule>,
    weights: Vec<f64>,
}

impl Shard {
    pub(super) fn open(
        root: &Path,
        source: &SourceConfig,
        codes: &CodesConfig,
        overrides: &BTreeMap<String, f64>,
        split: Split,
        key: Key,
    ) -> Result<Self> {
        let dir = root.join(&source.name);
        let prepared = source.task_weights();
        let mut tables = Vec::new();
        let mut weights = Vec::new();
        for name in tasks::NAMES {
            let Some(weight) = prepared.get(name) else {
                tables.push(None);
                weights.push(0.0);
                continue;
            };
            let open = |split: &str| BlobReader::open(&dir.join(format!("rows-{name}-{split}")));
            let pair = [open(SPLITS[0])?, open(SPLITS[1])?];
            let has_rows = !pair[split as usize].is_empty();
            let weight = *overrides.get(name).unwrap_or(weight);
            weights.push(if has_rows { weight } else { 0.0 });
            tables.push(Some(pair));
        }
        let key = key.child("rows").child(&source.name);
        Ok(Self {
            name: source.name.clone(),
            tokens: TokenReader::open(&dir.join("tokens"))?,
            records: BlobReader::open(&dir.join("records"))?,
            images: BlobReader::open(&dir.join("images"))?,
            codes: match codes.is_none() {
                true => None,
                false => Some(TokenReader::open(&dir.join("codes"))?),
            },
            fine: match codes.has_fine() {
                true => Some(TokenReader::open(&dir.join("codes-fine"))?),
                false => None,
            },
            dir,
            tables,
            keys: tasks::NAMES.iter().map(|name| key.child(name)).collect(),
            split,
            schedule: Schedule::new(&weights),
            weights,
        })
    }

    pub(super) fn can_draw(&self) -> bool {
        self.schedule.is_some()
    }

    /// Rows of a task.
    pub(super) fn n_rows(&self, task: usize, held_out: bool) -> u64 {
        let tables = self.tables.get(task).and_then(Option::as_ref);
        tables.map_or(0, |pair| pair[usize::from(held_out)].len() as u64)
    }

    /// Rows of all tasks that have a weight.
    pub(super) fn n_drawable(&self) -> u64 {
        let held_out = self.split == Split::HeldOut;
        let drawn = (0..self.weights.len()).filter(|&task| self.weights[task] > 0.0);
        drawn.map(|task| self.n_rows(task, held_out)).sum()
    }

    /// Task, epoch and row of draw `k` of this source.
    pub(super) fn draw(&self, k: u64) -> Option<(usize, u64, u64)> {
        let (task, nth) = self.schedule.as_ref()?.at(k);
        let n_rows = self.n_rows(task, self.split == Split::HeldOut);
        let epoch = nth.checked_div(n_rows)?;
        let order = Permutation::new(self.keys[task].at(epoch), n_rows);
        Some((task, epoch, order.at(nth % n_rows)))
    }

    fn damaged(&self, place: &str, at: u64, detail: &str) -> Error {
        Error::Damaged {
            place: format!("{}, {place} {at}", self.dir.display()),
            detail: detail.to_string(),
        }
    }

    /// The examples of a row.
    pub(super) fn row(&self, row: &RowRef) -> Result<Vec<RowExample>> {
        let name = tasks::NAMES[usize::from(row.task)];
        let wrong = |detail| self.damaged(&format!("row of {name}"), row.row, detail);
        let table = self.tables[usize::from(row.task)].as_ref();
        let bytes = table
            .and_then(|pair| pair[usize::from(row.held_out)].try_get(row.row as usize))
            .ok_or_else(|| wrong("there is no such row"))?;
        if bytes.is_empty() || bytes.len() % ITEM_BYTES != 0 {
            return Err(wrong("its length is no multiple of an example's"));
        }
        let parts = bytes.chunks_exact(ITEM_BYTES).map(|part| {
            let number = |at: usize| {
                let mut word = [0; 4];
                word.copy_from_slice(&part[at..at + 4]);
                u32::from_le_bytes(word)
            };
            RowExample {
                record: u64::from(number(0)) | u64::from(number(4)) << 32,
                item: Item {
                    a: number(8),
                    b: number(12),
                    len: number(16),
                },
            }
        });
        Ok(parts.collect())
    }

    /// Calls `f` with a record.
    pub(super) fn with_entry<T>(&self, record: u64, f: impl FnOnce(&Entry) -> T) -> Result<T> {
        let row = self.entry_row(record)?;
        let entry = row.entry(|at| self.tokens.try_sequence(usize::try_from(at).ok()?));
        match entry {
            Some(mut entry) => {
                let images = entry.images.clone();
                entry.codes = self.codes_of(&self.codes, images.clone(), record)?;
                entry.fine = self.codes_of(&self.fine, images, record)?;
                Ok(f(&entry))
            }
            None => Err(self.damaged("record", record, "its sequences are not all there")),
        }
    }

    /// Codes of some pictures of a record; none without a reader.
    fn codes_of<'a>(
        &self,
        reader: &'a Option<TokenReader>,
        images: Range<u64>,
        record: u64,
    ) -> Result<Vec<&'a [u16]>> {
        let Some(codes) = reader else {
            return Ok(Vec::new());
        };
        let of = |image: u64| codes.try_sequence(usize::try_from(image).ok()?);
        let all: Option<Vec<&[u16]>> = images.map(of).collect();
        all.ok_or_else(|| self.damaged("record", record, "its image codes are not all there"))
    }

    /// The records of one split, for tasks that look at others than their own.
    pub(super) fn peers(&self, held_out: bool) -> ShardPeers<'_> {
        ShardPeers {
            shard: self,
            held_out,
        }
    }

    fn entry_row(&self, record: u64) -> Result<EntryRow> {
        let bytes = self.records.try_get(record as usize);
        bytes
            .and_then(EntryRow::from_bytes)
            .ok_or_else(|| self.damaged("record", record, "there is no such record"))
    }

    /// The pixels of picture `image` of an example's record, straight from the map.
    pub(super) fn picture(&self, part: &RowExample, image: usize, n_bytes: usize) -> Result<&[u8]> {
        let row = self.entry_row(part.record)?;
        let at = row.first_image.checked_add(image as u64);
        let pixels = at
            .filter(|_| image < row.n_images as usize)
            .and_then(|at| self.images.try_get(at as usize))
            .filter(|pixels| pixels.len() == n_bytes);
        pixels.ok_or_else(|| {
            let detail = format!("picture {image} is not there with {n_bytes} bytes");
            self.damaged("record", part.record, &detail)
        })
    }
}

/// The records of a shard as tasks see them.
pub(super) struct ShardPeers<'a> {
    shard: &'a Shard,
    held_out: bool,
}

impl Peers for ShardPeers<'_> {
    fn n_records(&self) -> u64 {
        self.shard.records.len() as u64
    }

    fn visit(&self, record: u64, f: &mut dyn FnMut(&Entry)) {
        let row = self.shard.entry_row(record);
        if row.is_ok_and(|row| row.held_out == self.held_out) {
            // A damaged peer is passed over here and reported where its own example is made.
            let _ = self.shard.with_entry(record, f);
        }
    }
}

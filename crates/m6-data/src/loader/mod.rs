//! A prepared folder to batches; the whole state is one number a source.
//!
//! Which row comes at a draw is a formula of that number, so any rank can ask for any row: rank `r` of `w` takes rows
//! `r, r + w, ...` of what [`Loader::next_rows`] gives, and the union is the same for any `w`.

mod pictures;
mod shard;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use m6_store::rng::Key;
use m6_text::{Special, Tokenizer};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::config::{SourceConfig, TaskOptions, options_problems};
use crate::error::{Error, Result, hint};
use crate::manifest::{Manifest, SPLITS};
use crate::mixture::furthest_behind;
use crate::stats::PackStats;
use crate::tasks::{self, Example, Layout};
pub use pictures::PictureSet;
use shard::{RowExample, Shard};

/// Which records rows are drawn from; the two never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Records to learn from.
    Train,
    /// Records kept out of training.
    HeldOut,
}

impl Split {
    /// Its name in file names.
    pub fn name(self) -> &'static str {
        SPLITS[self as usize]
    }
}

/// What a loader needs beside the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Key of row order and noise (1).
    pub seed: u64,
    /// Weights of sources that replace the prepared ones; 0 leaves a source out.
    pub weights: BTreeMap<String, f64>,
    /// Weights of tasks that replace the prepared ones in every source; 0 leaves a task out.
    pub tasks: BTreeMap<String, f64>,
    /// Whether training pictures are mirrored by a keyed coin (off: captions that speak of left and right would lie).
    pub flip: bool,
    /// Noise that replaces the prepared options.
    pub options: Option<TaskOptions>,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            weights: BTreeMap::new(),
            tasks: BTreeMap::new(),
            flip: false,
            options: None,
        }
    }
}

/// The state of a loader: rows drawn from each source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Rows drawn, by source.
    pub drawn: BTreeMap<String, u64>,
}

/// One row of one table at one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowRef {
    /// Index of the source.
    pub source: u16,
    /// Index of the task in [`Loader::task_names`].
    pub task: u8,
    /// Whether it is of the held-out records.
    pub held_out: bool,
    /// How often the table was gone through before.
    pub epoch: u64,
    /// Row of the table.
    pub row: u64,
}

/// Reads a prepared folder.
pub struct Loader {
    shards: Vec<Shard>,
    weights: Vec<f64>,
    task_names: Vec<String>,
    manifest: Manifest,
    tokenizer_path: PathBuf,
    layout: Layout,
    options: TaskOptions,
    flip: bool,
    split: Split,
    left_out: BTreeSet<String>,
}

impl Loader {
    /// Maps a prepared folder.
    ///
    /// # Errors
    /// The folder is no prepared data, of another version, or damaged; an override names what is not there; no row
    /// can be drawn from the split.
    pub fn open(dir: &Path, config: &LoaderConfig, split: Split) -> Result<Self> {
        let manifest = Manifest::read(dir)?;
        check_overrides(config, &manifest)?;
        let tokenizer_path = dir.join("tokenizer.json");
        let special = special_of(&tokenizer_path)?;
        let layout = Layout::new(&manifest.config, special);
        let key = Key::new(config.seed);
        let mut shards = Vec::new();
        let mut weights = Vec::new();
        for source in &manifest.config.sources {
            let codes = &manifest.config.codes;
            let shard = Shard::open(dir, source, codes, &config.tasks, split, key)?;
            let weight = config.weights.get(&source.name).unwrap_or(&source.weight);
            weights.push(if shard.can_draw() { *weight } else { 0.0 });
            shards.push(shard);
        }
        let left_out = tasks::NAMES.iter().filter(|name| {
            let of = |source: &SourceConfig| source.task_weights().get(**name).copied();
            let mut prepared = manifest.config.sources.iter().filter_map(of);
            let own = config.tasks.get(**name);
            prepared.all(|weight| *own.unwrap_or(&weight) == 0.0)
        });
        let left_out = left_out.map(|name| (*name).to_string()).collect();
        if weights.iter().sum::<f64>() <= 0.0 && split == Split::Train {
            return Err(Error::NoRows {
                path: dir.to_path_buf(),
                split: split.name(),
            });
        }
        Ok(Self {
            shards,
            weights,
            task_names: tasks::NAMES.map(str::to_string).to_vec(),
            options: config
                .options
                .clone()
                .unwrap_or(manifest.config.tasks.clone()),
            manifest,
            tokenizer_path,
            layout,
            flip: config.flip && split == Split::Train,
            split,
            left_out,
        })
    }

    /// The next `n` rows of all ranks together; moves the cursor.
    ///
    /// Source: the one furthest behind its weight. Task inside it: by the same rule. Row: a keyed permutation of the
    /// table, another one every epoch. Empty when the split has no row.
    pub fn next_rows(&self, cursor: &mut Cursor, n: usize) -> Vec<RowRef> {
        let start = |shard: &Shard| cursor.drawn.get(&shard.name).copied().unwrap_or(0);
        let mut drawn: Vec<u64> = self.shards.iter().map(start).collect();
        let mut rows = Vec::with_capacity(n);
        for _ in 0..n {
            let Some(source) = furthest_behind(&self.weights, &drawn) else {
                break;
            };
            let Some((task, epoch, row)) = self.shards[source].draw(drawn[source]) else {
                break;
            };
            drawn[source] += 1;
            rows.push(RowRef {
                source: source as u16,
                task: task as u8,
                held_out: self.split == Split::HeldOut,
                epoch,
                row,
            });
        }
        for (shard, drawn) in self.shards.iter().zip(drawn) {
            if drawn > 0 {
                cursor.drawn.insert(shard.name.clone(), drawn);
            }
        }
        rows
    }

    /// The batch of some rows; a pure function of the rows, for any number of threads.
    ///
    /// # Errors
    /// A row that is not there, or damaged tables.
    pub fn batch(&self, rows: &[RowRef]) -> Result<Batch> {
        let made: Vec<Result<Vec<(RowExample, Example)>>> =
            rows.par_iter().map(|row| self.examples(row)).collect();
        let mut batch = Batch {
            n_rows: rows.len(),
            ..Batch::default()
        };
        for (row, examples) in rows.iter().zip(made) {
            let shard = self.shard(row)?;
            for (part, example) in examples? {
                let first = batch.pictures.len();
                let mut pictures = Vec::with_capacity(example.images.len());
                for &image in &example.images {
                    pictures.push(shard.picture(
                        &part,
                        image,
                        self.manifest.config.picture_bytes(),
                    )?);
                }
                batch.push(&example, pictures, &self.layout, row.task, row.source as u8);
                self.mirror(row, &part, &mut batch.pictures[first..]);
            }
        }
        Ok(batch)
    }

    /// The examples of a row and where each comes from.
    fn examples(&self, row: &RowRef) -> Result<Vec<(RowExample, Example)>> {
        let shard = self.shard(row)?;
        let task = tasks::all()[usize::from(row.task)];
        let mut out = Vec::new();
        for part in shard.row(row)? {
            let key = self.example_key(row, &part);
            let peers = shard.peers(row.held_out);
            let example = shard.with_entry(part.record, |entry| {
                task.example_among(entry, &peers, &part.item, &self.layout, &self.options, key)
            })?;
            out.push((part, example));
        }
        Ok(out)
    }

    fn shard(&self, row: &RowRef) -> Result<&Shard> {
        let known = usize::from(row.task) < tasks::NAMES.len();
        let shard = self.shards.get(usize::from(row.source)).filter(|_| known);
        shard.ok_or_else(|| Error::Damaged {
            place: format!("{row:?}"),
            detail: "there is no such source or task".to_string(),
        })
    }

    /// Key of all that is random in one example: seed, source, task, epoch, row, record and part.
    fn example_key(&self, row: &RowRef, part: &RowExample) -> Key {
        let source = &self.shards[usize::from(row.source)];
        source.keys[usize::from(row.task)]
            .child("noise")
            .at(row.epoch)
            .at(row.row)
            .at(part.record)
            .at(u64::from(part.item.a) << 32 | u64::from(part.item.b))
            .at(u64::from(row.held_out))
    }

    fn mirror(&self, row: &RowRef, part: &RowExample, pictures: &mut [u8]) {
        if !self.flip || pictures.is_empty() {
            return;
        }
        let mut coin = self.example_key(row, part).child("flip").stream();
        for picture in pictures.chunks_exact_mut(self.manifest.config.picture_bytes()) {
            if coin.bool(0.5) {
                m6_image::flip_horizontal_chw(picture, self.manifest.image_side);
            }
        }
    }

    /// Positions of these rows, packed as they are and as a padded batch would have them.
    ///
    /// # Errors
    /// As [`Loader::batch`].
    pub fn stats(&self, rows: &[RowRef]) -> Result<PackStats> {
        let mut stats = PackStats {
            n_rows: rows.len() as u64,
            ..PackStats::default()
        };
        for row in rows {
            for (_, example) in self.examples(row)? {
                let prefix = example.images.len() * self.layout.n_patches + example.source.len();
                let answers = usize::from(example.ask != tasks::Ask::Write);
                let targets = example.targets.iter().map(|target| target.len() + 1);
                stats.add(prefix, targets.chain(std::iter::repeat_n(1, answers)));
            }
        }
        Ok(stats)
    }

    /// Whether no source gives a task weight, or none was prepared for it.
    pub fn leaves_out(&self, task: &str) -> bool {
        self.left_out.contains(task)
    }

    /// The texts to write of every training sample of a task, of all sources that have a weight, without their pictures.
    ///
    /// # Errors
    /// As [`Loader::batch`].
    pub fn targets(&self, task: &str) -> Result<Vec<Vec<Vec<u32>>>> {
        let mut targets = Vec::new();
        for row in self.training_rows(task) {
            let examples = self.examples(&row)?;
            targets.extend(examples.into_iter().map(|(_, example)| example.targets));
        }
        Ok(targets)
    }

    /// Whether a task writes texts, by the samples of its first training row; also without one.
    ///
    /// # Errors
    /// As [`Loader::batch`].
    pub fn writes_texts(&self, task: &str) -> Result<bool> {
        let Some(row) = self.training_rows(task).next() else {
            return Ok(true);
        };
        let examples = self.examples(&row)?;
        Ok(examples.iter().all(|(_, example)| example.is_text()))
    }

    /// The training rows of a task in the first epoch, in the order of their tables, of all sources that have a weight.
    fn training_rows(&self, task: &str) -> impl Iterator<Item = RowRef> {
        tasks::index(task).into_iter().flat_map(|task| {
            let sources = self.shards.iter().zip(&self.weights).enumerate();
            let drawn = sources.filter(|(_, (_, weight))| **weight != 0.0);
            drawn.flat_map(move |(source, (shard, _))| {
                (0..shard.n_rows(task, false)).map(move |row| RowRef {
                    source: source as u16,
                    task: task as u8,
                    held_out: false,
                    epoch: 0,
                    row,
                })
            })
        })
    }

    /// How samples are laid out.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Up to `max` held-out rows of a task, in turn from every source that has some, always the same ones; none of a task that is left
    /// out.
    pub fn held_out_rows(&self, task: &str, max: usize) -> Vec<RowRef> {
        let Some(task) = tasks::index(task).filter(|_| !self.leaves_out(task)) else {
            return Vec::new();
        };
        let most = self
            .shards
            .iter()
            .map(|shard| shard.n_rows(task, true))
            .max();
        let mut rows = Vec::new();
        for row in 0..most.unwrap_or(0) {
            for (source, shard) in self.shards.iter().enumerate() {
                if rows.len() == max {
                    return rows;
                }
                if row < shard.n_rows(task, true) {
                    rows.push(RowRef {
                        source: source as u16,
                        task: task as u8,
                        held_out: true,
                        epoch: 0,
                        row,
                    });
                }
            }
        }
        rows
    }

    /// Names of the tasks; `Batch::tasks` and [`RowRef::task`] index them.
    pub fn task_names(&self) -> &[String] {
        &self.task_names
    }

    /// Names of the sources; `Batch::sources` and [`RowRef::source`] index them.
    pub fn source_names(&self) -> Vec<&str> {
        self.shards
            .iter()
            .map(|shard| shard.name.as_str())
            .collect()
    }

    /// The tokenizer of the data.
    pub fn tokenizer_path(&self) -> &Path {
        &self.tokenizer_path
    }

    /// What the folder says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Rows of the split in all sources and tasks that can be drawn.
    pub fn rows_per_epoch(&self) -> u64 {
        let drawn = self
            .shards
            .iter()
            .zip(&self.weights)
            .filter(|(_, weight)| **weight > 0.0);
        drawn.map(|(shard, _)| shard.n_drawable()).sum()
    }
}

/// The first `n` pictures of held-out records, taking the sources in turn: `3 * side * side` bytes each.
///
/// # Errors
/// The folder is no prepared data or is damaged.
pub fn held_out_pictures(dir: &Path, n: usize) -> Result<Vec<Vec<u8>>> {
    let loader = Loader::open(dir, &LoaderConfig::default(), Split::HeldOut)?;
    let mut seen = std::collections::BTreeSet::new();
    let mut out = Vec::new();
    for task in ["image_to_text", "multimodal", "answer"] {
        for row in loader.held_out_rows(task, n) {
            let shard = loader.shard(&row)?;
            for part in shard.row(&row)? {
                if out.len() == n {
                    return Ok(out);
                }
                let n_images = shard.with_entry(part.record, |entry| entry.n_images())?;
                if n_images > 0 && seen.insert((row.source, part.record)) {
                    let bytes = loader.manifest.config.picture_bytes();
                    out.push(shard.picture(&part, 0, bytes)?.to_vec());
                }
            }
        }
    }
    Ok(out)
}

fn special_of(path: &Path) -> Result<Special> {
    match Tokenizer::from_file(path) {
        Ok(tokenizer) => Ok(tokenizer.special()),
        Err(error) => Err(Error::Damaged {
            place: path.display().to_string(),
            detail: error.to_string(),
        }),
    }
}

fn check_overrides(config: &LoaderConfig, manifest: &Manifest) -> Result<()> {
    let names = || {
        manifest
            .config
            .sources
            .iter()
            .map(|source| source.name.as_str())
    };
    for name in config.weights.keys() {
        if !names().any(|known| known == name) {
            return Err(Error::Unknown {
                what: "source",
                name: name.clone(),
                hint: hint(name, names()),
            });
        }
    }
    for name in config.tasks.keys() {
        if tasks::index(name).is_none() {
            return Err(Error::Unknown {
                what: "task",
                name: name.clone(),
                hint: hint(name, tasks::NAMES.into_iter()),
            });
        }
    }
    let mut problems = Vec::new();
    for (name, weight) in config.weights.iter().chain(&config.tasks) {
        if !(weight.is_finite() && *weight >= 0.0) {
            problems.push(format!(
                "weight of `{name}` must not be negative, got {weight}"
            ));
        }
    }
    if let Some(options) = &config.options {
        options_problems(options, &mut problems);
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::Config(problems)),
    }
}

#[cfg(test)]
mod tests;

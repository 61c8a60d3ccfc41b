//! Bytes to records: read, extracted, cleaned.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use m6_store::atomic::{DirCommit, FileWriter};
use m6_store::blobs::BlobWriter;
use rayon::prelude::*;

use super::super::adapt::{self, Raw, normalize::Cleaner, page};
use super::super::config::{Config, Form, SourceConfig};
use super::super::context::{Context, Made, Side};
use super::super::docs::{DOCS_NAME, DocWriter};
use super::super::files::Files;
use super::super::inputs::{Hashes, Shard};
use super::super::work::{KeyHash, Note, Stage};
use crate::table::{Cell, Column, Kind, Writer};
use crate::{Error, Result};

/// Reading, extraction and cleaning.
pub const STAGE: Stage = Stage {
    name: "extract",
    version: 2,
};
/// Table of what was not taken.
pub const REFUSED_NAME: &str = "refused.parquet";
/// Its columns.
pub const REFUSED: [(&str, Kind); 5] = [
    ("id", Kind::Text),
    ("url", Kind::Text),
    ("stage", Kind::Text),
    ("verdict", Kind::Text),
    ("rule", Kind::Text),
];
/// Table of pictures that lie in archives: address and place among the stored pictures.
pub const FOUND_NAME: &str = "found.parquet";
/// Its columns.
pub const FOUND: [(&str, Kind); 2] = [("address", Kind::Text), ("blob", Kind::Int)];
/// Stored pictures of a shard.
pub const BLOBS_NAME: &str = "blobs";
/// Records worked on at once, at most.
const BATCH_RECORDS: usize = 1024;

/// Runs the stage over every shard.
///
/// # Errors
/// As [`Context::map`]; [`Error::Damaged`] when more of a source is damaged than `corpus.bad_limit` allows.
pub fn run(context: &Context<'_>, hashes: &mut Hashes) -> Result<Vec<Made>> {
    let beside = beside(context, hashes)?;
    let cleaner = Cleaner::new(&context.config.normalize).map_err(Error::Config)?;
    let made = context.map(
        STAGE,
        Side::OneByOne,
        |shard| Ok(key(context, shard, &beside)),
        |shard, commit| {
            let shard = &context.shards[shard];
            extract(context, shard, &cleaner, commit)
        },
    )?;
    check_damage(context, &made)?;
    Ok(made)
}

/// Hashes of the files that a source's records depend on beside its own, by source.
fn beside(context: &Context<'_>, hashes: &mut Hashes) -> Result<Vec<String>> {
    let config = context.config;
    let used: BTreeSet<usize> = context.shards.iter().map(|shard| shard.source).collect();
    let mut out = vec![String::new(); config.sources.len()];
    for source in used {
        let at = &config.sources[source];
        let mut paths = context.files.expand(&at.pictures_from)?;
        if let Some(index) = &at.index {
            paths.push(context.files.one(index)?);
        }
        for path in paths {
            out[source].push_str(&hashes.of(&context.files, &path)?);
        }
    }
    Ok(out)
}

fn key(context: &Context<'_>, shard: usize, beside: &[String]) -> String {
    let source = context.source(shard);
    let shard = &context.shards[shard];
    let names = shard.files.iter().map(|file| {
        let file = file.strip_prefix(&context.config.root).unwrap_or(file);
        file.to_string_lossy().into_owned()
    });
    KeyHash::new(STAGE)
        .with(shard.identity.as_bytes())
        .with_json(&context.config.most_bytes().min(source.limits.record))
        .with_json(&names.collect::<Vec<_>>())
        .with_json(&what_reading_needs(source))
        .with_json(&context.config.normalize)
        .with(beside[shard.source].as_bytes())
        .finish()
}

/// The source without what only later stages look at.
fn what_reading_needs(source: &SourceConfig) -> SourceConfig {
    let usual = SourceConfig::default();
    SourceConfig {
        category: usual.category,
        licence: usual.licence,
        modality: usual.modality,
        langs: usual.langs,
        pack: usual.pack,
        off: usual.off,
        cap: usual.cap,
        weight: usual.weight,
        ..source.clone()
    }
}

fn extract(
    context: &Context<'_>,
    shard: &Shard,
    cleaner: &Cleaner,
    commit: &DirCommit,
) -> Result<Note> {
    let (config, files) = (context.config, &context.files);
    let source = &config.sources[shard.source];
    let mut outputs = Outputs::new(commit)?;
    let (send, receive) = sync_channel(1);
    let read = std::thread::scope(|scope| {
        // Reading goes on while the last batch is worked on; two batches are in memory at most.
        let reader = scope.spawn(move || read(config, files, source, shard, send));
        let worked = work(config, source, cleaner, receive, &mut outputs);
        let read = reader.join().unwrap_or_else(|_| {
            Err(Error::Damaged {
                path: shard.files.first().cloned().unwrap_or_default(),
                problem: "the reader gave up".to_string(),
            })
        });
        worked.and(read)
    });
    read?;
    let (records, damaged) = outputs.finish()?;
    Ok(Note {
        records,
        damaged,
        bytes: shard.bytes,
        ..Note::default()
    })
}

/// Sends batches of what lies in the shard's files; ends early when nobody listens any more.
fn read(
    config: &Config,
    files: &Files<'_>,
    source: &SourceConfig,
    shard: &Shard,
    send: SyncSender<Vec<Raw>>,
) -> Result<()> {
    let limit = config.batch_bytes();
    let (mut batch, mut size) = (Vec::new(), 0);
    let mut is_heard = true;
    let mut take = |raw: Raw| {
        if !batch.is_empty() && (size + raw.size() > limit || batch.len() >= BATCH_RECORDS) {
            size = 0;
            is_heard = send.send(std::mem::take(&mut batch)).is_ok();
        }
        size += raw.size();
        batch.push(raw);
        is_heard
    };
    if source.kind == Form::Archive {
        for file in &shard.files {
            adapt::archive::each(source, &files.local(file)?, shard.range, &mut take)?;
        }
    } else {
        adapt::sources::each(files, source, shard, &mut take)?;
    }
    if !batch.is_empty() {
        // Nobody listening means that the other side has failed and will say why.
        let _ = send.send(batch);
    }
    Ok(())
}

fn work(
    config: &Config,
    source: &SourceConfig,
    cleaner: &Cleaner,
    receive: Receiver<Vec<Raw>>,
    outputs: &mut Outputs,
) -> Result<()> {
    for batch in receive {
        let made: Vec<page::Made> = batch
            .into_par_iter()
            .map(|raw| one(config.most_bytes(), source, cleaner, raw))
            .collect();
        for made in made {
            outputs.take(made)?;
        }
    }
    Ok(())
}

/// One record; a fault of ours costs that record, never the shard.
fn one(most_bytes: usize, source: &SourceConfig, cleaner: &Cleaner, raw: Raw) -> page::Made {
    let raw = match raw {
        Raw::Record(raw) => raw,
        Raw::Picture { address, bytes } => return page::Made::Picture { address, bytes },
        Raw::Damage { place, reason } => {
            return page::Made::refused(place, "", "read", "damaged", reason);
        }
        Raw::Skipped { id, url, reason } => {
            return page::Made::refused(id, &url, "read", "skipped", reason);
        }
    };
    let id = format!("{}/{}", source.name, raw.id);
    let url = raw.url.clone().unwrap_or_default();
    let made = catch_unwind(AssertUnwindSafe(|| {
        page::make(most_bytes, source, cleaner, *raw)
    }));
    made.unwrap_or_else(|_| {
        page::Made::refused(
            id,
            &url,
            "extract",
            "damaged",
            "the extractor gave up".into(),
        )
    })
}

/// The tables of a shard being written.
struct Outputs {
    docs: DocWriter<FileWriter>,
    refused: Writer<FileWriter>,
    found: Writer<FileWriter>,
    blobs: BlobWriter,
    n_damaged: u64,
    n_taken: u64,
}

impl Outputs {
    fn new(commit: &DirCommit) -> Result<Self> {
        let table = |name: &str, columns: &[(&'static str, Kind)]| {
            let columns: Vec<Column> = columns
                .iter()
                .map(|(name, kind)| match *name {
                    "id" | "url" | "address" => Column::long(*name),
                    _ => Column::new(*name, *kind),
                })
                .collect();
            Writer::new(commit.file(name)?, &commit.path().join(name), &columns)
        };
        Ok(Self {
            docs: DocWriter::new(commit.file(DOCS_NAME)?, &commit.path().join(DOCS_NAME))?,
            refused: table(REFUSED_NAME, &REFUSED)?,
            found: table(FOUND_NAME, &FOUND)?,
            blobs: BlobWriter::create(&commit.path().join(BLOBS_NAME))?,
            n_damaged: 0,
            n_taken: 0,
        })
    }

    fn take(&mut self, made: page::Made) -> Result<()> {
        self.n_taken += 1;
        match made {
            page::Made::Doc { mut doc, pictures } => {
                for (place, bytes) in pictures {
                    let blob = self.blobs.append(&bytes)?;
                    if let Some(picture) = doc.pictures.get_mut(place) {
                        picture.blob = Some(blob);
                    }
                }
                self.docs.push(&doc)
            }
            page::Made::Picture { address, bytes } => {
                let blob = self.blobs.append(&bytes)?;
                let blob = i64::try_from(blob).unwrap_or(i64::MAX);
                self.found.push(&[Cell::Text(&address), Cell::Int(blob)])
            }
            page::Made::Refused {
                id,
                url,
                stage,
                verdict,
                rule,
            } => {
                self.n_damaged += u64::from(verdict == "damaged");
                self.refused.push(&[
                    Cell::Text(&id),
                    Cell::Text(&url),
                    Cell::Text(stage),
                    Cell::Text(verdict),
                    Cell::Text(&rule),
                ])
            }
        }
    }

    fn finish(self) -> Result<(u64, u64)> {
        self.docs.finish()?.finish()?;
        self.refused.finish()?.finish()?;
        self.found.finish()?.finish()?;
        self.blobs.finish()?;
        Ok((self.n_taken, self.n_damaged))
    }
}

/// Stops where more of a source is damaged than allowed: then something is wrong with the source, not with a record.
fn check_damage(context: &Context<'_>, made: &[Made]) -> Result<()> {
    let mut totals = vec![(0u64, 0u64); context.config.sources.len()];
    for (shard, made) in context.shards.iter().zip(made) {
        let note = super::super::work::note(&made.folder);
        totals[shard.source].0 += note.records;
        totals[shard.source].1 += note.damaged;
    }
    let limit = context.config.bad_limit;
    for (source, (records, damaged)) in context.config.sources.iter().zip(totals) {
        if records > 0 && damaged as f64 > limit * records as f64 {
            return Err(Error::Damaged {
                path: context
                    .config
                    .root
                    .join(source.path.iter().next().unwrap_or_default()),
                problem: format!(
                    "{damaged} of {records} records of source `{}` are damaged, more than corpus.bad_limit = {limit} allows",
                    source.name
                ),
            });
        }
    }
    Ok(())
}

//! The last map: samples, ledger, records and examples of every shard.

mod examples;
mod life;
mod records;
mod samples;

use std::path::Path;

use m6_store::atomic::DirCommit;
use m6_store::blobs::BlobReader;

use super::super::adapt::rules::{Assets, Judges};
use super::super::config::Config;
use super::super::context::{Context, Made, Side};
use super::super::docs::Doc;
use super::super::ledger::{LedgerWriter, Row};
use super::super::work::{KeyHash, Note, Stage, write_json};
use super::extract::{REFUSED, REFUSED_NAME};
use super::pictures::COPIES_NAME;
use super::{part_hash, parts, rows};
use crate::Result;

pub use examples::{Example, Examples, NAME as EXAMPLES_NAME};
pub use records::NAME as RECORDS_NAME;
pub use samples::{Split, file_name};

use life::Life;
use records::{Fate, Records};
use samples::Samples;

/// Writing.
pub const STAGE: Stage = Stage {
    name: "write",
    version: 3,
};
/// The ledger of a shard.
pub const LEDGER_NAME: &str = "ledger.parquet";

/// Everything that was found out about the shards.
pub struct Found<'a> {
    /// Records.
    pub extracted: &'a [Made],
    /// Trimmed texts and numbers.
    pub measured: &'a [Made],
    /// Verdicts.
    pub decided: &'a [Made],
    /// Duplicates.
    pub duplicates: &'a Made,
    /// Finished texts.
    pub finished: &'a [Made],
    /// Caps.
    pub mixed: &'a Made,
    /// Pictures.
    pub seen: &'a [Made],
    /// Look-alikes and captions.
    pub looks: &'a Made,
}

/// Runs the stage over every shard.
///
/// # Errors
/// As [`Context::map`].
pub fn run(
    context: &Context<'_>,
    found: &Found<'_>,
    assets: &Assets,
    judges: &Judges,
) -> Result<Vec<Made>> {
    let (bases, _) = super::duplicates::bases(found.extracted)?;
    let config = context.config;
    let reduced = [
        parts(found.duplicates)?,
        parts(found.mixed)?,
        parts(found.looks)?,
    ];
    context.map(
        STAGE,
        Side::BySide,
        |shard| {
            let source = context.source(shard);
            let about = (&source.name, &source.licence, &source.modality);
            let settings = (
                config.mix.held_out,
                config.mix.text,
                config.seed,
                config.dedup.threshold,
                about,
            );
            let by_shard = [
                found.extracted,
                found.measured,
                found.decided,
                found.finished,
                found.seen,
            ];
            let mut key = KeyHash::new(STAGE)
                .with(&(shard as u64).to_le_bytes())
                .with(&bases[shard].to_le_bytes());
            for made in by_shard {
                key = key.with(made[shard].key.as_bytes());
            }
            for parts in &reduced {
                key = key.with(part_hash(parts, shard));
            }
            Ok(key
                .with_json(&settings)
                .with(judges.pairs_identity().as_bytes())
                .with(assets.identity().as_bytes())
                .finish())
        },
        |shard, commit| {
            let mut writer = ShardWriter::new(context, found, shard, commit)?;
            writer.refused(&found.extracted[shard].folder)?;
            Life::open(context, found, shard, bases[shard])?.each(assets, judges, &mut writer)?;
            writer.finish()
        },
    )
}

/// The files of one shard being written.
pub(super) struct ShardWriter<'a> {
    pub(super) config: &'a Config,
    source: usize,
    ledger: LedgerWriter<m6_store::atomic::FileWriter>,
    records: Records,
    pub(super) samples: Samples<'a>,
    pub(super) copies: BlobReader,
    examples: Examples,
    commit: &'a DirCommit,
}

impl<'a> ShardWriter<'a> {
    fn new(
        context: &'a Context<'_>,
        found: &Found<'_>,
        shard: usize,
        commit: &'a DirCommit,
    ) -> Result<Self> {
        let path = commit.path().join(LEDGER_NAME);
        Ok(Self {
            config: context.config,
            source: context.shards[shard].source,
            ledger: LedgerWriter::new(commit.file(LEDGER_NAME)?, &path)?,
            records: Records::new(commit)?,
            samples: Samples::new(commit, context.config.mix.text, shard),
            copies: BlobReader::open(&found.seen[shard].folder.join(COPIES_NAME))?,
            examples: Examples::default(),
            commit,
        })
    }

    /// Name of the source.
    pub(super) fn source(&self) -> &'a str {
        &self.config.sources[self.source].name
    }

    /// Adds a step of a record, and offers it to the gallery.
    pub(super) fn step(
        &mut self,
        row: &Row,
        title: &str,
        text: &str,
        copy: Option<u64>,
    ) -> Result<()> {
        let source = self.source();
        if row.is_end() || row.stage == "split" || row.stage == "pairs" {
            self.examples.offer(row, source, title, text, copy);
        }
        self.ledger.push(row)
    }

    /// Adds the row of a record.
    pub(super) fn record(&mut self, doc: &Doc, fate: &Fate, signals: &[Option<f64>]) -> Result<()> {
        let source = self.source();
        self.records.push(source, doc, fate, signals)
    }

    /// What never became a record.
    fn refused(&mut self, extracted: &Path) -> Result<()> {
        let mut found = Vec::new();
        rows(&extracted.join(REFUSED_NAME), &REFUSED, |batch, row| {
            let text = |column| batch.text(column, row).to_string();
            found.push([text(0), text(1), text(2), text(3), text(4)]);
            Ok(())
        })?;
        for [id, url, stage, verdict, rule] in found {
            self.step(&Row::new(&id, &stage, &verdict, &rule), &url, "", None)?;
            let fate = Fate {
                fate: match verdict.as_str() {
                    "damaged" => "damaged",
                    "skipped" => "skipped",
                    _ => "refused",
                },
                stage,
                rule,
                ..Fate::default()
            };
            let host = super::super::docs::host_of(&url);
            let doc = Doc {
                id,
                url,
                host,
                ..Doc::default()
            };
            self.record(&doc, &fate, &[])?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Note> {
        self.ledger.finish()?.finish()?;
        let records = self.records.finish()?;
        self.samples.finish()?;
        write_json(self.commit, EXAMPLES_NAME, &self.examples)?;
        Ok(Note {
            records,
            ..Note::default()
        })
    }
}

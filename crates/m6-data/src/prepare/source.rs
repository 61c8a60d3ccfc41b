//! One source: read in chunks, digest in parallel, write in order.

use std::io::Write;
use std::path::{Path, PathBuf};

use m6_store::blobs::BlobWriter;
use m6_store::rng::Key;
use m6_store::tokens::TokenWriter;
use m6_text::Tokenizer;
use rayon::prelude::*;

use super::digest::{Digest, Kept, digest};
use super::fine;
use super::rows::Table;
use crate::config::{DataConfig, SourceConfig};
use crate::entry::EntryRow;
use crate::error::{Error, Result};
use crate::manifest::SourceReport;
use crate::prepare::PictureCoder;
use crate::quarantine::Quarantine;
use crate::record::{BadRecord, Picture, Record, Source};
use crate::tasks::{self, Layout};

/// Records that are in memory at once, at most.
const CHUNK_RECORDS: usize = 256;

/// Bytes of pictures and texts after which a chunk ends; mapped files do not count.
const CHUNK_BYTES: usize = 32 << 20;

/// Records after which a share of bad ones above the limit stops the run at once.
const EARLY_RECORDS: u64 = 1000;

/// Everything needed to prepare one source.
pub(super) struct Job<'a> {
    pub(super) config: &'a DataConfig,
    pub(super) source: &'a SourceConfig,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) coder: Option<&'a PictureCoder<'a>>,
    pub(super) layout: &'a Layout,
    /// Folder of this source, under its temporary name.
    pub(super) dir: PathBuf,
    /// Folder that will be committed.
    pub(super) out: &'a Path,
}

impl Job<'_> {
    /// Reads the source to its end and writes its shards and tables.
    pub(super) fn run<W: Write>(
        &mut self,
        mut reader: Box<dyn Source>,
        quarantine: &mut Quarantine<W>,
        tell: &mut dyn FnMut(u64, u64, bool),
    ) -> Result<SourceReport> {
        std::fs::create_dir_all(&self.dir).map_err(|cause| Error::io(&self.dir, cause))?;
        let mut shards = Shards::create(self)?;
        let mut first_bad = None;
        loop {
            let chunk = read_chunk(reader.as_mut());
            if chunk.is_empty() {
                break;
            }
            for outcome in self.encode(self.digest_all(chunk))? {
                let bad = shards.take(outcome, self.layout)?;
                for bad in bad {
                    quarantine.add(&self.source.name, &bad)?;
                    first_bad.get_or_insert(bad);
                }
            }
            let report = &shards.report;
            tell(report.records_in, report.quarantined, false);
            if report.records_in >= EARLY_RECORDS {
                self.check_bad(report, first_bad.as_ref(), quarantine)?;
            }
        }
        for (rule, n) in reader.skipped() {
            shards.report.records_in += n;
            *shards.report.skipped.entry(rule).or_default() += n;
        }
        self.check_bad(&shards.report, first_bad.as_ref(), quarantine)?;
        self.check_empty(&shards.report)?;
        tell(shards.report.records_in, shards.report.quarantined, true);
        shards.finish(self)
    }

    fn digest_all(&self, chunk: Vec<std::result::Result<Record, BadRecord>>) -> Vec<Digest> {
        let fine_side = self.coder.map_or(0, fine::fine_side);
        chunk
            .into_par_iter()
            .map(|item| match item {
                Ok(record) => digest(record, self.config, self.source, self.tokenizer, fine_side),
                Err(bad) => Digest::Bad(bad),
            })
            .collect()
    }

    /// Adds the image codes of every kept picture, all pictures at once.
    fn encode(&self, mut digests: Vec<Digest>) -> Result<Vec<Digest>> {
        let Some(coder) = self.coder else {
            return Ok(digests);
        };
        let done = fine::encode(coder, self.config.picture_bytes(), &mut digests);
        done.map_err(|detail| Error::Coder {
            name: self.source.name.clone(),
            detail,
        })?;
        Ok(digests)
    }

    fn check_bad<W: Write>(
        &self,
        report: &SourceReport,
        first: Option<&BadRecord>,
        quarantine: &Quarantine<W>,
    ) -> Result<()> {
        let limit = self.config.bad_limit;
        if report.quarantined as f64 <= limit * report.records_in as f64 {
            return Ok(());
        }
        let first = first.map(|bad| format!("{}: {}: {}", bad.where_, bad.reason, bad.detail));
        Err(Error::TooManyBad {
            name: self.source.name.clone(),
            bad: report.quarantined,
            seen: report.records_in,
            limit,
            first: first.unwrap_or_default(),
            report: quarantine.keep_beside(self.out)?,
        })
    }

    fn check_empty(&self, report: &SourceReport) -> Result<()> {
        if report.records > 0 {
            return Ok(());
        }
        let hint = match report.n_skipped() {
            0 => String::new(),
            _ => {
                let rules: Vec<&str> = report.skipped.keys().map(String::as_str).collect();
                format!(
                    "; rules: {}; do the fields text, captions, question and answer name what the records hold?",
                    rules.join(", ")
                )
            }
        };
        Err(Error::Empty {
            name: self.source.name.clone(),
            seen: report.records_in,
            bad: report.quarantined,
            skipped: report.n_skipped(),
            hint,
        })
    }
}

fn read_chunk(reader: &mut dyn Source) -> Vec<std::result::Result<Record, BadRecord>> {
    let mut chunk = Vec::new();
    let mut n_bytes = 0;
    while chunk.len() < CHUNK_RECORDS && n_bytes < CHUNK_BYTES {
        let Some(item) = reader.next() else {
            break;
        };
        if let Ok(record) = &item {
            n_bytes += record.text.as_ref().map_or(0, String::len);
            let owned = record.images.iter().map(|picture| match picture {
                Picture::Encoded(bytes) => bytes.len(),
                Picture::Raw(image) => image.data.len(),
                Picture::Mapped(..) | Picture::Drawn(..) | Picture::Absent(_) => 0,
            });
            n_bytes += owned.sum::<usize>();
        }
        chunk.push(item);
    }
    chunk
}

/// The files of a source while they grow, and the counts.
struct Shards {
    tokens: TokenWriter,
    records: BlobWriter,
    images: BlobWriter,
    /// One sequence a picture; present with a coder.
    codes: Option<TokenWriter>,
    /// The same of the finer codes, an empty sequence for a picture that is too small.
    fine: Option<TokenWriter>,
    tables: Vec<Table>,
    report: SourceReport,
}

impl Shards {
    fn create(job: &Job) -> Result<Self> {
        let weights = job.source.task_weights();
        let wanted = |task: &usize| weights.contains_key(tasks::NAMES[*task]);
        Ok(Self {
            tokens: TokenWriter::create(&job.dir.join("tokens"))?,
            records: BlobWriter::create(&job.dir.join("records"))?,
            images: BlobWriter::create(&job.dir.join("images"))?,
            codes: match job.coder {
                Some(_) => Some(TokenWriter::create(&job.dir.join("codes"))?),
                None => None,
            },
            fine: match job.config.codes.has_fine() {
                true => Some(TokenWriter::create(&job.dir.join("codes-fine"))?),
                false => None,
            },
            tables: (0..tasks::NAMES.len())
                .filter(wanted)
                .map(Table::new)
                .collect(),
            report: SourceReport {
                name: job.source.name.clone(),
                licence: job.source.licence.clone(),
                ..SourceReport::default()
            },
        })
    }

    /// Writes a record, or counts why not; gives what belongs into the quarantine.
    fn take(&mut self, outcome: Digest, layout: &Layout) -> Result<Vec<BadRecord>> {
        self.report.records_in += 1;
        let bad = match outcome {
            Digest::Kept(mut kept) => {
                let bad = std::mem::take(&mut kept.bad_pictures);
                self.report.bad_pictures += bad.len() as u64;
                self.write(kept, layout)?;
                bad
            }
            Digest::Skipped(rule) => {
                *self.report.skipped.entry(rule.to_string()).or_default() += 1;
                Vec::new()
            }
            Digest::Bad(bad) => {
                self.report.quarantined += 1;
                vec![bad]
            }
        };
        for bad in &bad {
            *self.report.bad.entry(bad.reason.to_string()).or_default() += 1;
        }
        Ok(bad)
    }

    fn write(&mut self, kept: Kept, layout: &Layout) -> Result<()> {
        let row = EntryRow {
            id: kept.id,
            first_sequence: self.tokens.n_sequences() as u64,
            first_image: self.images.len() as u64,
            has_text: kept.has_text,
            n_captions: kept.n_captions as u32,
            n_qa: kept.n_qa as u32,
            n_images: kept.images.len() as u32,
            held_out: kept.held_out,
        };
        for sequence in &kept.sequences {
            self.tokens.sequence(sequence)?;
        }
        self.tokens.end_document();
        for image in &kept.images {
            self.images.append(image)?;
        }
        for (writer, pictures) in [(&mut self.codes, &kept.codes), (&mut self.fine, &kept.fine)] {
            if let Some(writer) = writer {
                for codes in pictures {
                    writer.sequence(codes)?;
                }
                writer.end_document();
            }
        }
        let record = self.records.append(&row.to_bytes())?;
        let sequence = |at: u64| {
            let at = (at - row.first_sequence) as usize;
            kept.sequences.get(at).map(Vec::as_slice)
        };
        if let Some(mut entry) = row.entry(sequence) {
            entry.codes = kept.codes.iter().map(Vec::as_slice).collect();
            entry.fine = kept.fine.iter().map(Vec::as_slice).collect();
            for table in &mut self.tables {
                table.add(record, kept.held_out, &entry, layout);
            }
        }
        let report = &mut self.report;
        report.records += 1;
        report.held_out += u64::from(kept.held_out);
        report.images += kept.images.len() as u64;
        report.passages += kept.sequences.len() as u64;
        report.pictures_beyond_max += kept.n_beyond_max as u64;
        report.empty_passages += kept.n_empty as u64;
        Ok(())
    }

    fn finish(self, job: &Job) -> Result<SourceReport> {
        let mut report = self.report;
        report.tokens = self.tokens.n_tokens();
        report.avg_length = report.tokens as f64 / report.passages.max(1) as f64;
        report.modality = match report.images {
            0 => "text".to_string(),
            _ => "image+text".to_string(),
        };
        self.tokens.finish()?;
        self.records.finish()?;
        self.images.finish()?;
        for codes in [self.codes, self.fine].into_iter().flatten() {
            codes.finish()?;
        }
        let key = Key::new(job.config.seed)
            .child("pack")
            .child(&job.source.name);
        for table in self.tables {
            let (task, rows) = table.write(&job.dir, key, job.config.row_len)?;
            report.tasks.insert(task, rows);
        }
        if let Some(coder) = job.coder {
            fine::check_report(coder, &report)?;
        }
        Ok(report)
    }
}

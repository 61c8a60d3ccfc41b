//! What became of each record of a shard, told step by step.

use std::collections::HashMap;

use m6_store::hash::hash64;
use m6_store::rng::mix64;

use super::records::Fate;
use super::samples::{Document, Pair, Split, interleave};
use super::{Found, ShardWriter};
use crate::Result;
use crate::build::adapt::rules::{Assets, Judges, signal_names};
use crate::build::config::{Config, Modality, SourceConfig};
use crate::build::context::Context;
use crate::build::count_tokens;
use crate::build::docs::{Doc, DocPicture, DocReader};
use crate::build::ledger::Row;
use crate::build::stages::finish::{self, Finished};
use crate::build::stages::looks::{self, Looks};
use crate::build::stages::pictures::{self, Picture};
use crate::build::stages::signals::{self, Trimmed};
use crate::build::stages::{Cursor, Sorted, decide, duplicates, mix, part_name, rows};
use crate::table::Reader;

/// A verdict of the document rules.
#[derive(Default)]
struct Verdict {
    keep: bool,
    rule: String,
    value: Option<f64>,
    threshold: Option<f64>,
}

/// Why a record is a duplicate.
struct Twin {
    rule: String,
    kept: u32,
    jaccard: Option<f64>,
}

/// Everything known of a shard, opened side by side.
pub(super) struct Life<'a> {
    config: &'a Config,
    source: &'a SourceConfig,
    base: u32,
    docs: DocReader,
    verdicts: Cursor,
    numbers: Cursor,
    trimmed: Sorted<Trimmed>,
    twins: HashMap<usize, Twin>,
    finished: Sorted<Finished>,
    capped: HashMap<usize, (String, i64)>,
    pictures: Sorted<Picture>,
    looks: Looks,
}

impl<'a> Life<'a> {
    /// Opens what is known of a shard; `base` is the number of its first record.
    pub(super) fn open(
        context: &'a Context<'_>,
        found: &Found<'_>,
        shard: usize,
        base: u32,
    ) -> Result<Self> {
        let index = |value: i64| usize::try_from(value).unwrap_or(usize::MAX);
        let part = part_name(shard);
        let mut twins = HashMap::new();
        let path = found.duplicates.folder.join(&part);
        rows(&path, &duplicates::COLUMNS, |batch, row| {
            let twin = Twin {
                rule: batch.text(1, row).to_string(),
                kept: u32::try_from(batch.int(2, row)).unwrap_or(u32::MAX),
                jaccard: batch.float(3, row),
            };
            twins.insert(index(batch.int(0, row)), twin);
            Ok(())
        })?;
        let mut capped = HashMap::new();
        rows(
            &found.mixed.folder.join(&part),
            &mix::COLUMNS,
            |batch, row| {
                let why = (batch.text(1, row).to_string(), batch.int(2, row));
                capped.insert(index(batch.int(0, row)), why);
                Ok(())
            },
        )?;
        let verdicts = found.decided[shard].folder.join(decide::NAME);
        let numbers = found.measured[shard].folder.join(signals::NAME);
        Ok(Self {
            config: context.config,
            source: context.source(shard),
            base,
            docs: DocReader::open(&found.extracted[shard].folder)?,
            verdicts: Cursor::new(Reader::open(&verdicts, &decide::COLUMNS)?),
            numbers: Cursor::new(Reader::open_all(&numbers)?),
            trimmed: signals::trimmed(&found.measured[shard].folder)?,
            twins,
            finished: finish::read(&found.finished[shard].folder)?,
            capped,
            pictures: pictures::by_record(&found.seen[shard].folder)?,
            looks: looks::read(found.looks, shard)?,
        })
    }

    /// Tells every record's life to the writer.
    pub(super) fn each(
        mut self,
        assets: &Assets,
        judges: &Judges,
        writer: &mut ShardWriter<'_>,
    ) -> Result<()> {
        let mut row = 0;
        while let Some(docs) = self.docs.next_batch()? {
            for doc in docs {
                let (verdict, numbers) = self.next_row()?;
                let known = Known {
                    trimmed: self.trimmed.take(row)?,
                    finished: self.finished.take(row)?,
                    pictures: all_of(&mut self.pictures, row)?,
                };
                let mut told = Told {
                    life: &self,
                    doc: &doc,
                    known,
                    row,
                    assets,
                    judges,
                    fate: Fate {
                        fate: "dropped",
                        number: Some(self.base + u32::try_from(row).unwrap_or(u32::MAX)),
                        ..Fate::default()
                    },
                };
                told.tell(&verdict, &numbers, writer)?;
                let fate = told.fate;
                writer.record(&doc, &fate, &numbers)?;
                row += 1;
            }
        }
        Ok(())
    }

    fn next_row(&mut self) -> Result<(Verdict, Vec<Option<f64>>)> {
        let verdict = match self.verdicts.next()? {
            Some((batch, row)) => Verdict {
                keep: batch.flag(0, row),
                rule: batch.text(1, row).to_string(),
                value: batch.float(2, row),
                threshold: batch.float(3, row),
            },
            None => Verdict::default(),
        };
        let n_columns = signal_names().len();
        let numbers = match self.numbers.next()? {
            Some((batch, row)) => (0..n_columns)
                .map(|column| batch.float(column, row))
                .collect(),
            None => vec![None; n_columns],
        };
        Ok((verdict, numbers))
    }
}

/// What some stages have to say about one record.
#[derive(Default)]
struct Known {
    trimmed: Option<Trimmed>,
    finished: Option<Finished>,
    pictures: Vec<Picture>,
}

/// Every picture of a record.
fn all_of(pictures: &mut Sorted<Picture>, row: usize) -> Result<Vec<Picture>> {
    let mut out = Vec::new();
    while let Some(picture) = pictures.take(row)? {
        out.push(picture);
    }
    Ok(out)
}

/// The life of one record.
struct Told<'a> {
    life: &'a Life<'a>,
    doc: &'a Doc,
    known: Known,
    row: usize,
    assets: &'a Assets,
    judges: &'a Judges,
    fate: Fate,
}

impl Told<'_> {
    fn tell(
        &mut self,
        verdict: &Verdict,
        numbers: &[Option<f64>],
        writer: &mut ShardWriter<'_>,
    ) -> Result<()> {
        let doc = self.doc;
        let n_chars = numbers.first().copied().flatten();
        writer.step(
            &self.step("extract", "keep", "").measured(n_chars, None),
            "",
            "",
            None,
        )?;
        if let Some(trimmed) = &self.known.trimmed {
            self.trims(trimmed, writer)?;
        }
        if !verdict.keep {
            let row = self.step("rules", "drop", &verdict.rule);
            return self.end(row.measured(verdict.value, verdict.threshold), writer);
        }
        writer.step(&self.step("rules", "keep", ""), "", "", None)?;
        if let Some(twin) = self.life.twins.get(&self.row) {
            self.fate.duplicate_of = Some(twin.kept);
            let threshold = (twin.rule == "near_text").then_some(self.life.config.dedup.threshold);
            let row = self.step("duplicates", "drop", &twin.rule);
            return self.end(row.measured(twin.jaccard, threshold), writer);
        }
        writer.step(&self.step("duplicates", "keep", ""), "", "", None)?;
        let Some(done) = self.known.finished.take() else {
            return Ok(());
        };
        if done.removed > 0 {
            let row = self.step("lines", "edit", "repeated_lines");
            writer.step(&row.measured(Some(done.removed as f64), None), "", "", None)?;
        }
        if let Some((stage, rule, value)) = &done.end {
            let threshold = match stage.as_str() {
                "lines" => self.life.config.dedup.min_chars,
                _ => self.life.config.mix.max_overlap,
            };
            let row = self.step(stage, "drop", rule);
            return self.end(row.measured(*value, Some(threshold as f64)), writer);
        }
        if let Some((rule, cap)) = self.life.capped.get(&self.row) {
            let row = self.step("mix", "drop", rule);
            return self.end(row.measured(None, Some(*cap as f64)), writer);
        }
        let split = split_of(self.life.config, doc);
        self.fate.fate = "kept";
        self.fate.split = Some(split.name());
        writer.step(
            &self.step("split", split.name(), ""),
            &doc.title,
            &done.text,
            None,
        )?;
        self.samples(&done, split, writer)
    }

    /// What the rules over parts took out.
    fn trims(&self, trimmed: &Trimmed, writer: &mut ShardWriter<'_>) -> Result<()> {
        for edit in &trimmed.edits {
            let row = self.step(&edit.stage, "edit", &edit.rule);
            writer.step(
                &row.measured(Some(edit.value), Some(edit.threshold)),
                "",
                "",
                None,
            )?;
        }
        let counts = [
            ("unfinished_end", trimmed.cut),
            ("pii_masked", trimmed.masked),
        ];
        for (rule, n) in counts.into_iter().filter(|(_, n)| *n > 0) {
            let row = self.step("document", "edit", rule);
            writer.step(&row.measured(Some(n as f64), None), "", "", None)?;
        }
        Ok(())
    }

    fn step(&self, stage: &str, verdict: &str, rule: &str) -> Row {
        Row::new(&self.doc.id, stage, verdict, rule)
    }

    fn end(&mut self, row: Row, writer: &mut ShardWriter<'_>) -> Result<()> {
        (self.fate.stage, self.fate.rule) = (row.stage.clone(), row.rule.clone());
        (self.fate.value, self.fate.threshold) = (row.value, row.threshold);
        writer.step(&row, &self.doc.title, &self.doc.text, None)
    }

    /// A kept record as the samples its source is read for.
    fn samples(
        &mut self,
        done: &Finished,
        split: Split,
        writer: &mut ShardWriter<'_>,
    ) -> Result<()> {
        let source = self.life.source;
        let pictures = self.pictures(writer)?;
        for modality in &source.modality {
            match modality {
                // A text that goes out with its pictures does not go out a second time without them.
                Modality::Text if done.text.is_empty() || self.is_document(&pictures) => {}
                Modality::Text => {
                    self.fate.text_tokens = count_tokens(&done.text);
                    writer
                        .samples
                        .text(split, &source.name, self.doc, &done.text)?;
                }
                Modality::Pairs => self.pairs(&pictures, split, writer)?,
                Modality::Documents => self.document(&pictures, done, split, writer)?,
            }
        }
        Ok(())
    }

    /// Whether the record goes out as an interleaved document.
    fn is_document(&self, pictures: &[(Picture, u64)]) -> bool {
        self.life.source.modality.contains(&Modality::Documents) && !pictures.is_empty()
    }

    /// The pictures that stay, after telling what became of every one.
    fn pictures(&self, writer: &mut ShardWriter<'_>) -> Result<Vec<(Picture, u64)>> {
        let mut out = Vec::new();
        for picture in &self.known.pictures {
            let id = format!("{}#{}", self.doc.id, picture.place);
            let row = Row::new(&id, "pictures", &picture.verdict, &picture.rule);
            let address = self
                .doc
                .pictures
                .get(picture.place)
                .map_or("", |p| &p.address);
            writer.step(
                &row.measured(picture.value, picture.threshold),
                address,
                &picture.caption,
                picture.copy.filter(|_| picture.verdict == "drop"),
            )?;
            let look = self.life.looks.get(&(picture.row, picture.place)).copied();
            let Some(look) = look.filter(|_| picture.verdict == "keep") else {
                continue;
            };
            if look.is_alike {
                let row = Row::new(&id, "picture_duplicates", "drop", "looks_alike");
                writer.step(&row, address, &picture.caption, picture.copy)?;
                continue;
            }
            out.push((picture.clone(), look.caption_repeats));
        }
        Ok(out)
    }

    fn pairs(
        &mut self,
        pictures: &[(Picture, u64)],
        split: Split,
        writer: &mut ShardWriter<'_>,
    ) -> Result<()> {
        for (picture, repeats) in pictures {
            let id = format!("{}#{}", self.doc.id, picture.place);
            let Some(about) = self.doc.pictures.get(picture.place) else {
                continue;
            };
            let Some(copy) = picture.copy.and_then(|copy| usize::try_from(copy).ok()) else {
                continue;
            };
            let jpeg = writer.copies.try_get(copy).unwrap_or_default().to_vec();
            let size = (picture.width, picture.height);
            let failure = match about.caption.is_empty() {
                true => Some(("no_caption".to_string(), None, None)),
                false => self
                    .judges
                    .pair(
                        self.assets,
                        size,
                        jpeg.len() as u64,
                        &about.caption,
                        *repeats,
                    )
                    .map(|failure| (failure.rule, Some(failure.value), Some(failure.threshold))),
            };
            if let Some((rule, value, threshold)) = failure {
                let row = Row::new(&id, "pairs", "drop", &rule).measured(value, threshold);
                writer.step(&row, &about.caption, &about.address, picture.copy)?;
                continue;
            }
            let row = Row::new(&id, "pairs", "keep", "");
            writer.step(&row, &about.caption, &about.role, picture.copy)?;
            let pair = Pair {
                id,
                url: &self.doc.url,
                image_url: &about.address,
                source: &self.life.source.name,
                licence: &self.life.source.licence,
                captions: captions_of(about),
                caption_role: &about.role,
                title: &self.doc.title,
                width: picture.width,
                height: picture.height,
            };
            writer
                .samples
                .pictures(Modality::Pairs, split, &pair, &[jpeg.as_slice()])?;
            self.fate.pairs += 1;
            self.fate.pair_tokens += pair
                .captions
                .iter()
                .map(|caption| count_tokens(caption))
                .sum::<u64>();
        }
        Ok(())
    }

    /// The record with its pictures in their places; one without pictures is left to the texts.
    fn document(
        &mut self,
        pictures: &[(Picture, u64)],
        done: &Finished,
        split: Split,
        writer: &mut ShardWriter<'_>,
    ) -> Result<()> {
        if !self.is_document(pictures) {
            return Ok(());
        }
        let (mut lines, mut jpegs) = (Vec::new(), Vec::new());
        for (picture, _) in pictures {
            let copy = picture.copy.and_then(|copy| usize::try_from(copy).ok());
            let Some(jpeg) = copy.and_then(|copy| writer.copies.try_get(copy)) else {
                continue;
            };
            lines.push(done.lines.get(picture.place).copied().unwrap_or(usize::MAX));
            jpegs.push(jpeg.to_vec());
        }
        let document = Document {
            id: &self.doc.id,
            url: &self.doc.url,
            source: &self.life.source.name,
            licence: &self.life.source.licence,
            title: &self.doc.title,
            text: &done.text,
            content: interleave(&done.text, &lines),
        };
        let jpegs: Vec<&[u8]> = jpegs.iter().map(Vec::as_slice).collect();
        writer
            .samples
            .pictures(Modality::Documents, split, &document, &jpegs)?;
        self.fate.document_pictures = jpegs.len() as u64;
        self.fate.document_tokens = count_tokens(&done.text);
        Ok(())
    }
}

/// The chosen caption, and behind it the others that came with the picture to be read with it.
fn captions_of(picture: &DocPicture) -> Vec<&str> {
    let given = picture.texts.iter().filter(|text| text.role == "caption");
    let mut out = vec![picture.caption.as_str()];
    for text in given {
        if !out.contains(&text.text.as_str()) {
            out.push(&text.text);
        }
    }
    out
}

/// The split of a record: one for all records of a host.
fn split_of(config: &Config, doc: &Doc) -> Split {
    let name = if doc.host.is_empty() {
        &doc.id
    } else {
        &doc.host
    };
    let draw = mix64(config.seed, hash64(name.as_bytes()));
    // The first 53 bits as a number from 0 to 1.
    let draw = (draw >> 11) as f64 / (1u64 << 53) as f64;
    match draw < config.mix.held_out {
        true => Split::HeldOut,
        false => Split::Train,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_goes_to_one_split_and_the_share_is_right() {
        let mut config = Config::default();
        config.mix.held_out = 0.2;
        let doc = |id: String, host: String| Doc {
            id,
            host,
            ..Doc::default()
        };
        let mut n_held = 0;
        for n in 0..1000 {
            let host = format!("h{n}.cn");
            let split = split_of(&config, &doc("a".into(), host.clone()));
            assert_eq!(split, split_of(&config, &doc("b".into(), host)));
            n_held += u32::from(split == Split::HeldOut);
        }
        assert!((150..250).contains(&n_held), "{n_held}");
        config.mix.held_out = 0.0;
        assert_eq!(
            split_of(&config, &doc("a".into(), String::new())),
            Split::Train
        );
        config.mix.held_out = 1.0;
        assert_eq!(
            split_of(&config, &doc("a".into(), String::new())),
            Split::HeldOut
        );
    }
}

//! Records that are there twice: by address, by text, by near-equal text.

use std::borrow::Cow;
use std::path::Path;

use m6_store::atomic::DirCommit;
use m6_store::hash::hash64;

use super::super::config::DedupConfig;
use super::super::context::{Context, Made, remove_spill, spill_folder};
use super::super::docs;
use super::super::work::{KeyHash, Note, Stage, write_json};
use super::texts::{Texts, TextsWriter};
use super::{decide, part_name, rows, signals};
use crate::table::{Cell, Column, Kind, Writer};
use crate::{Error, Result};
use m6_clean::dedup::{self, Document, Documents};

/// Finding duplicates.
pub const STAGE: Stage = Stage {
    name: "duplicates",
    version: 1,
};
/// Columns of a part: the dropped records of a shard, in order of row.
pub const COLUMNS: [(&str, Kind); 4] = [
    ("row", Kind::Int),
    ("rule", Kind::Text),
    ("kept", Kind::Int),
    ("jaccard", Kind::Float),
];
/// Clusters by size; the size is a key of the object.
pub const SIZES_NAME: &str = "clusters.json";
/// Stands for "no duplicate" in the list of kept records.
const NONE: u32 = u32::MAX;

/// Why a record is dropped, and for which.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Twin {
    kept: u32,
    rule: Rule,
    jaccard: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Url,
    Exact,
    Near,
}

impl Rule {
    fn name(self) -> &'static str {
        match self {
            Rule::Url => "same_url",
            Rule::Exact => "same_text",
            Rule::Near => "near_text",
        }
    }
}

/// Number of the first record of each shard, and their total.
///
/// # Errors
/// [`Error::Config`] for 2^32 - 1 records or more, [`Error::Damaged`] for a shard that cannot be read.
pub fn bases(extracted: &[Made]) -> Result<(Vec<u32>, u32)> {
    let (mut out, mut total) = (Vec::with_capacity(extracted.len()), 0u32);
    for made in extracted {
        out.push(total);
        let n = docs::DocReader::open(&made.folder)?.n_rows();
        let sum = u32::try_from(n).ok().and_then(|n| total.checked_add(n));
        total = match sum {
            Some(sum) if sum < NONE => sum,
            _ => {
                let problem = "more records than one build can hold (2^32 - 2); split the sources";
                return Err(Error::Config(problem.to_string()));
            }
        };
    }
    Ok((out, total))
}

/// Runs the stage.
///
/// # Errors
/// Tables that cannot be read, a full disk, [`Error::Interrupted`].
pub fn run(
    context: &Context<'_>,
    extracted: &[Made],
    measured: &[Made],
    decided: &[Made],
) -> Result<Made> {
    let config = &context.config.dedup;
    let part = (config.url, config.text, config.threshold);
    let mut key = KeyHash::new(STAGE).with_json(&part);
    for (extracted, decided) in extracted.iter().zip(decided) {
        key = key
            .with(extracted.key.as_bytes())
            .with(decided.key.as_bytes());
    }
    context.reduce(STAGE, key.finish(), |commit| {
        let spill = spill_folder(commit)?;
        let (bases, total) = bases(extracted)?;
        let mut twins: Vec<Option<Twin>> = vec![None; total as usize];
        let alive = alive(decided, total)?;
        if config.url {
            by_url(
                extracted,
                &alive,
                context.config.sort_bytes(),
                &spill,
                &mut twins,
            )?;
        }
        if config.text {
            let texts = Candidates::gather(extracted, measured, &alive, &twins, &spill)?;
            by_text(config, context, &spill, &texts, &mut twins)?;
        }
        remove_spill(commit)?;
        write_parts(commit, &bases, &twins)?;
        write_sizes(commit, &twins)?;
        Ok(Note {
            records: u64::from(total),
            ..Note::default()
        })
    })
}

/// Which records passed the rules.
fn alive(decided: &[Made], total: u32) -> Result<Vec<bool>> {
    let mut out = Vec::with_capacity(total as usize);
    for made in decided {
        let path = made.folder.join(decide::NAME);
        rows(&path, &decide::COLUMNS[..1], |batch, row| {
            out.push(batch.flag(0, row));
            Ok(())
        })?;
    }
    match out.len() == total as usize {
        true => Ok(out),
        false => Err(Error::Damaged {
            path: decided
                .first()
                .map(|made| made.folder.clone())
                .unwrap_or_default(),
            problem: format!("{} verdicts for {total} records", out.len()),
        }),
    }
}

/// Of records with the same address the first is kept.
fn by_url(
    extracted: &[Made],
    alive: &[bool],
    memory: usize,
    spill: &Path,
    twins: &mut [Option<Twin>],
) -> Result<()> {
    let mut sorter = dedup::sort::Sorter::<(u64, u32)>::new(spill, memory);
    let mut number = 0u32;
    for made in extracted {
        docs::visit(&made.folder, ["url"], |[url]| {
            if !url.is_empty() && alive[number as usize] {
                sorter.push((hash64(plain_url(url).as_bytes()), number))?;
            }
            number += 1;
            Ok(())
        })?;
    }
    let mut first: Option<(u64, u32)> = None;
    for record in sorter.finish()? {
        let (hash, number) = record?;
        match first {
            Some((same, kept)) if same == hash => {
                twins[number as usize] = Some(Twin {
                    kept,
                    rule: Rule::Url,
                    jaccard: f32::NAN,
                });
            }
            _ => first = Some((hash, number)),
        }
    }
    Ok(())
}

/// An address without scheme and fragment, host in lower case: what names one page.
fn plain_url(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    format!("{}/{path}", host.to_lowercase())
}

/// The texts of the records that are still in, on disk.
struct Candidates {
    texts: Texts,
    numbers: Vec<u32>,
    quality: Vec<f32>,
}

impl Candidates {
    fn gather(
        extracted: &[Made],
        measured: &[Made],
        alive: &[bool],
        twins: &[Option<Twin>],
        spill: &Path,
    ) -> Result<Self> {
        let mut texts = TextsWriter::create(spill)?;
        let (mut numbers, mut quality) = (Vec::new(), Vec::new());
        let is_in = |number: u32| alive[number as usize] && twins[number as usize].is_none();
        let mut number = 0u32;
        for (extracted, measured) in extracted.iter().zip(measured) {
            let start = number;
            let mut trimmed = signals::trimmed(&measured.folder)?;
            docs::visit(&extracted.folder, ["text"], |[text]| {
                let left = trimmed.take((number - start) as usize)?;
                let text = left.as_ref().map_or(text, |left| &left.text);
                if is_in(number) && !text.is_empty() {
                    texts.push(text)?;
                    numbers.push(number);
                }
                number += 1;
                Ok(())
            })?;
            let mut at = start;
            let path = measured.folder.join(signals::NAME);
            rows(&path, &[("quality", Kind::Float)], |batch, row| {
                if numbers.get(quality.len()) == Some(&at) {
                    quality.push(batch.float(0, row).map_or(f32::NAN, |value| value as f32));
                }
                at += 1;
                Ok(())
            })?;
        }
        Ok(Self {
            texts: texts.finish()?,
            numbers,
            quality,
        })
    }
}

impl Documents for Candidates {
    fn len(&self) -> usize {
        self.texts.len()
    }

    fn document(&self, index: usize) -> Result<Option<Document<'_>>> {
        let quality = self
            .quality
            .get(index)
            .copied()
            .filter(|value| !value.is_nan());
        let text = self.texts.get(index)?;
        Ok(text.map(|text| Document {
            text: Cow::Owned(text),
            quality,
        }))
    }
}

/// Of each cluster of like texts the best is kept.
fn by_text(
    config: &DedupConfig,
    context: &Context<'_>,
    spill: &Path,
    texts: &Candidates,
    twins: &mut [Option<Twin>],
) -> Result<()> {
    let options = dedup::Options {
        threshold: config.threshold,
        memory: context.config.sort_bytes(),
        spill: spill.to_owned(),
        seed: context.config.seed,
        // What goes must be like what stays, not only like something that goes too.
        link: dedup::Link::Kept,
        ..dedup::Options::default()
    };
    let outcome = dedup::dedup(texts, &options, &mut |_| {})?;
    let mut kept = vec![NONE; outcome.places.len()];
    for (place, number) in outcome.places.iter().zip(&texts.numbers) {
        if let Some(place) = place
            && place.kept
            && let Some(kept) = kept.get_mut(place.cluster as usize)
        {
            *kept = *number;
        }
    }
    for (place, number) in outcome.places.iter().zip(&texts.numbers) {
        let Some(place) = place else { continue };
        let best = kept.get(place.cluster as usize).copied().unwrap_or(NONE);
        if place.kept || best == NONE {
            continue;
        }
        twins[*number as usize] = Some(Twin {
            kept: best,
            rule: if place.jaccard >= 1.0 {
                Rule::Exact
            } else {
                Rule::Near
            },
            jaccard: place.jaccard,
        });
    }
    Ok(())
}

fn write_parts(commit: &DirCommit, bases: &[u32], twins: &[Option<Twin>]) -> Result<()> {
    let columns = COLUMNS.map(|(name, kind)| Column::new(name, kind));
    for (shard, base) in bases.iter().enumerate() {
        let end = bases
            .get(shard + 1)
            .map_or(twins.len(), |end| *end as usize);
        let part = &twins[*base as usize..end];
        if part.iter().all(Option::is_none) {
            continue;
        }
        let name = part_name(shard);
        let mut writer = Writer::new(commit.file(&name)?, &commit.path().join(&name), &columns)?;
        for (row, twin) in part.iter().enumerate() {
            let Some(twin) = twin else { continue };
            writer.push(&[
                Cell::Int(row as i64),
                Cell::Text(twin.rule.name()),
                Cell::Int(i64::from(twin.kept)),
                match twin.jaccard.is_nan() {
                    true => Cell::Null,
                    false => Cell::Float(f64::from(twin.jaccard)),
                },
            ])?;
        }
        writer.finish()?.finish()?;
    }
    Ok(())
}

/// How many clusters there are of each size from 2 on.
fn write_sizes(commit: &DirCommit, twins: &[Option<Twin>]) -> Result<()> {
    let mut members: std::collections::HashMap<u32, u64> = std::collections::HashMap::new();
    for twin in twins.iter().flatten() {
        *members.entry(twin.kept).or_insert(1) += 1;
    }
    let mut sizes: std::collections::BTreeMap<u64, u64> = std::collections::BTreeMap::new();
    for size in members.values() {
        *sizes.entry(*size).or_default() += 1;
    }
    write_json(commit, SIZES_NAME, &sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_page_has_one_address() {
        for (url, plain) in [
            ("https://A.cn/X?b=1#top", "a.cn/X?b=1"),
            ("http://a.cn/X?b=1", "a.cn/X?b=1"),
            ("http://a.cn", "a.cn/"),
            ("http://a.cn/", "a.cn/"),
        ] {
            assert_eq!(plain_url(url), plain);
        }
        assert_ne!(plain_url("http://a.cn/x"), plain_url("http://a.cn/X"));
    }
}

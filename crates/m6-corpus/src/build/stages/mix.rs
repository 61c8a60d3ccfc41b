//! Caps: how many records of one host and of one source stay.

use std::collections::{BTreeMap, HashSet};

use m6_store::hash::hash64;
use m6_store::rng::mix64;

use super::super::context::{Context, Made, remove_spill, spill_folder};
use super::super::docs;
use super::super::work::{KeyHash, Note, Stage};
use super::{finish, part_name};
use crate::Result;
use crate::table::{Cell, Column, Kind, Writer};
use m6_clean::dedup::sort::Sorter;

/// Drawing what caps keep.
pub const STAGE: Stage = Stage {
    name: "mix",
    version: 1,
};
/// Columns of a part: the records of a shard beyond a cap, in order of row.
pub const COLUMNS: [(&str, Kind); 3] =
    [("row", Kind::Int), ("rule", Kind::Text), ("cap", Kind::Int)];

/// Runs the stage.
///
/// # Errors
/// Tables that cannot be read, a full disk.
pub fn run(context: &Context<'_>, extracted: &[Made], finished: &[Made]) -> Result<Made> {
    let config = context.config;
    let caps: Vec<u64> = config.sources.iter().map(|source| source.cap).collect();
    let mut key = KeyHash::new(STAGE)
        .with_json(&config.mix.per_host)
        .with_json(&caps)
        .with_json(&config.seed);
    for (shard, made) in context.shards.iter().zip(finished) {
        key = key
            .with(made.key.as_bytes())
            .with(&(shard.source as u64).to_le_bytes());
    }
    context.reduce(STAGE, key.finish(), |commit| {
        let mut dropped: BTreeMap<(usize, usize), (&'static str, u64)> = BTreeMap::new();
        let spill = spill_folder(commit)?;
        if config.mix.per_host > 0 {
            let limit = |_| config.mix.per_host;
            let group = |_: usize, host: &str| (!host.is_empty()).then(|| hash64(host.as_bytes()));
            let over = over(context, extracted, finished, &spill, &dropped, group, limit)?;
            let cap = config.mix.per_host;
            dropped.extend(over.into_iter().map(|place| (place, ("cap_per_host", cap))));
        }
        if caps.iter().any(|cap| *cap > 0) {
            let limit = |source: u64| caps.get(source as usize).copied().unwrap_or(0);
            let group = |source: usize, _: &str| (caps[source] > 0).then_some(source as u64);
            let over = over(context, extracted, finished, &spill, &dropped, group, limit)?;
            for place in over {
                let cap = context.source(place.0).cap;
                dropped.insert(place, ("cap_per_source", cap));
            }
        }
        remove_spill(commit)?;
        write_parts(commit, &dropped)?;
        Ok(Note {
            records: dropped.len() as u64,
            ..Note::default()
        })
    })
}

/// Shard and row of the records that are too many in their group: those whose keyed hash is not among the least.
fn over(
    context: &Context<'_>,
    extracted: &[Made],
    finished: &[Made],
    spill: &std::path::Path,
    dropped: &BTreeMap<(usize, usize), (&'static str, u64)>,
    group: impl Fn(usize, &str) -> Option<u64>,
    limit: impl Fn(u64) -> u64,
) -> Result<Vec<(usize, usize)>> {
    let mut sorter = Sorter::<(u64, u32, u32)>::new(spill, context.config.sort_bytes());
    let mut starts = Vec::new();
    let mut number = 0u32;
    for (shard, (made, finished)) in extracted.iter().zip(finished).enumerate() {
        starts.push(number);
        let alive = alive(finished)?;
        let source = context.shards[shard].source;
        let mut row = 0;
        docs::visit(&made.folder, ["id", "host"], |[id, host]| {
            let is_in = alive.contains(&row) && !dropped.contains_key(&(shard, row));
            if is_in && let Some(group) = group(source, host) {
                let rank = mix64(context.config.seed, hash64(id.as_bytes()));
                sorter.push((group, (rank >> 32) as u32, number))?;
            }
            row += 1;
            number += 1;
            Ok(())
        })?;
    }
    let (mut out, mut current, mut n) = (Vec::new(), None, 0);
    for record in sorter.finish()? {
        let (group, _, number) = record?;
        if current != Some(group) {
            (current, n) = (Some(group), 0);
        }
        n += 1;
        if n > limit(group) {
            let shard = starts.partition_point(|start| *start <= number) - 1;
            out.push((shard, (number - starts[shard]) as usize));
        }
    }
    Ok(out)
}

/// Which rows of a shard are still in after finishing.
pub(super) fn alive(finished: &Made) -> Result<HashSet<usize>> {
    let mut out = HashSet::new();
    super::rows(
        &finished.folder.join(finish::NAME),
        &finish::COLUMNS[..3],
        |batch, row| {
            if batch.text_or_none(2, row).is_none() {
                out.extend(usize::try_from(batch.int(0, row)));
            }
            Ok(())
        },
    )?;
    Ok(out)
}

fn write_parts(
    commit: &m6_store::atomic::DirCommit,
    dropped: &BTreeMap<(usize, usize), (&'static str, u64)>,
) -> Result<()> {
    let columns = COLUMNS.map(|(name, kind)| Column::new(name, kind));
    let mut open: Option<(usize, Writer<m6_store::atomic::FileWriter>)> = None;
    for ((shard, row), (rule, cap)) in dropped {
        if open.as_ref().is_none_or(|(at, _)| at != shard) {
            if let Some((_, writer)) = open.take() {
                writer.finish()?.finish()?;
            }
            let name = part_name(*shard);
            let writer = Writer::new(commit.file(&name)?, &commit.path().join(&name), &columns)?;
            open = Some((*shard, writer));
        }
        if let Some((_, writer)) = &mut open {
            writer.push(&[
                Cell::Int(*row as i64),
                Cell::Text(rule),
                Cell::Int(i64::try_from(*cap).unwrap_or(i64::MAX)),
            ])?;
        }
    }
    if let Some((_, writer)) = open {
        writer.finish()?.finish()?;
    }
    Ok(())
}

//! Thresholds that are quantiles: looked up in a sample of each source before anything is decided.

use std::collections::BTreeMap;

use super::super::adapt::rules::{Assets, Packs};
use super::super::context::{Context, Made};
use super::super::docs::{Doc, DocReader};
use super::super::work::{KeyHash, Note, Stage, write_json};
use crate::{Error, Result};

/// Looking thresholds up.
pub const STAGE: Stage = Stage {
    name: "calibrate",
    version: 1,
};
/// The thresholds, by source and rule.
const NAME: &str = "thresholds.json";
/// Shards of a source that the sample is taken from, evenly spaced.
const SHARDS: usize = 8;
/// Records taken from each of them.
const RECORDS: usize = 256;

/// Thresholds of every source, in order of the configuration; empty where no pack asks for quantiles.
///
/// # Errors
/// Tables that cannot be read.
pub fn run(
    context: &Context<'_>,
    extracted: &[Made],
    assets: &Assets,
    packs: &Packs,
) -> Result<Vec<BTreeMap<String, f64>>> {
    let n_sources = context.config.sources.len();
    if !packs.want_sample(assets) {
        return Ok(vec![BTreeMap::new(); n_sources]);
    }
    let mut key = KeyHash::new(STAGE)
        .with(assets.identity().as_bytes())
        .with(packs.identity().as_bytes());
    for (shard, made) in context.shards.iter().zip(extracted) {
        key = key
            .with(made.key.as_bytes())
            .with(&(shard.source as u64).to_le_bytes());
    }
    let made = context.reduce(STAGE, key.finish(), |commit| {
        let mut out = Vec::with_capacity(n_sources);
        for source in 0..n_sources {
            let docs = sample(context, extracted, source)?;
            out.push(packs.calibrate(source, assets, &docs));
        }
        write_json(commit, NAME, &out)?;
        Ok(Note::default())
    })?;
    let path = made.folder.join(NAME);
    let text = std::fs::read(&path).map_err(|source| Error::Io {
        path: path.clone(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|error| Error::Damaged {
        path,
        problem: error.to_string(),
    })
}

/// Some records of a source.
fn sample(context: &Context<'_>, extracted: &[Made], source: usize) -> Result<Vec<Doc>> {
    let shards = context.shards.iter().enumerate();
    let of_source: Vec<usize> = shards
        .filter(|(_, shard)| shard.source == source)
        .map(|(at, _)| at)
        .collect();
    let step = of_source.len().div_ceil(SHARDS).max(1);
    let mut out = Vec::new();
    for shard in of_source.into_iter().step_by(step) {
        let mut reader = DocReader::open(&extracted[shard].folder)?;
        if let Some(docs) = reader.next_batch()? {
            out.extend(docs.into_iter().take(RECORDS));
        }
    }
    Ok(out)
}

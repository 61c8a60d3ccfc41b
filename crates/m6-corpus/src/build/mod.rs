//! From a configuration to a finished corpus (design section 8; paper section 1): the pipeline over the other rooms.
//!
//! ```text
//! extract -> calibrate -> signals -> rules -> duplicates -> lines -> finish -> pictures -> looks -> mix -> write -> publish
//!   map       reduce       map       map      reduce       reduce    map       map        reduce   reduce  map
//! ```
//!
//! A map stage works on one [`inputs::Shard`] and never sees another, so that a slice of the shards can be worked on by
//! another process or machine ([`Options::slice`]); a reduce stage sees tables of numbers and sorts them on disk. Every result lies under a
//! key of what went into it ([`work`]): what exists is not made again, and a changed rule makes again only what follows it.

mod adapt;
mod card;
pub mod compare;
pub mod config;
mod context;
mod cuts;
mod docs;
mod files;
pub mod inputs;
pub mod ledger;
mod mirror;
mod publish;
mod report;
mod stages;
pub mod stats;
mod tokens;
pub mod truth;
pub mod why;
pub mod work;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use m6_store::lock::FolderLock;
use serde::Serialize;

pub use config::Config;
pub use context::Progress;
pub use publish::{MANIFEST_NAME, Manifest, finished};
pub use stats::Stats;
pub use tokens::count_tokens;

use adapt::rules::{Assets, Judges, Packs};
use context::{Context, Made};
use files::Files;
use inputs::{Hashes, Shard};
use mirror::Mirror;
use stages::{
    calibrate, decide, duplicates, extract, finish, lines, looks, mix, pictures, signals, write,
};
use work::Work;

use crate::remote::{Address, Stores};
use crate::{Error, Result};

/// A part of the shards: number `index` of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// From 0.
    pub index: usize,
    /// At least 1.
    pub count: usize,
}

impl std::str::FromStr for Slice {
    type Err = String;

    /// `i/n` with i from 0 to n - 1.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts = text.split_once('/');
        let numbers =
            parts.and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match numbers {
            Some((index, count)) if index < count => Ok(Self { index, count }),
            _ => Err(format!("`{text}` is no slice; 0/4 is the first of four")),
        }
    }
}

impl Slice {
    /// Of every source a run of neighbours, so that a file cut into many shards is read on few machines; sources begin at different
    /// slices, so that small ones do not all go to the first.
    fn takes(self, shard: &Shard, n_shards_of_source: usize) -> bool {
        let turn = shard.number * self.count / n_shards_of_source.max(1);
        (turn + shard.source) % self.count == self.index
    }
}

/// How a build is run; none of it changes what is made.
pub struct Options<'a> {
    /// Where the output goes too: results of stages are shared with other machines there, and the finished corpus is put there.
    pub mirror: Option<&'a Address>,
    /// The object stores in use.
    pub stores: &'a Stores,
    /// Only this part of the shards, and only the stages before the first reduce.
    pub slice: Option<Slice>,
    /// Set from outside to end after the shard in work.
    pub stop: &'a AtomicBool,
}

/// What a build did.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Shards worked on.
    pub shards: usize,
    /// Results of stages made by this run.
    pub made: u64,
    /// Results of stages found from earlier runs.
    pub found: u64,
    /// Hash of the data files; none for a slice.
    pub digest: Option<String>,
    /// Counts; none for a slice.
    #[serde(flatten)]
    pub stats: Option<Stats>,
}

/// What a source will give to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Its name.
    pub source: String,
    /// Files and folders.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Checks that everything a configuration names is there, and says how much it is; nothing is written.
///
/// # Errors
/// [`Error::Config`] with every source whose files are not there, [`Error::Remote`] for a store that refuses, and what lists, models
/// and packs answer.
pub fn plan(config: &Config, stores: &Stores) -> Result<Vec<Planned>> {
    let stop = AtomicBool::new(false);
    // Objects are only listed.
    let files = Files::new(config, Path::new(""), stores, &stop);
    let out = inputs::plan(config, &files)?;
    Assets::load(config)?;
    Packs::load(config)?;
    Ok(out)
}

/// Builds a corpus in `out`, or goes on where an earlier run ended.
///
/// # Errors
/// [`Error::Config`] for settings that cannot be followed and files that are not there, before any work;
/// [`Error::Damaged`] when more of a source is damaged than allowed; [`Error::Interrupted`] when asked to stop;
/// [`Error::Store`] when another process builds in `out`, or the disk is full; [`Error::Remote`] when an object store refuses.
pub fn run(
    config: &Config,
    out: &Path,
    options: &Options<'_>,
    watch: &mut (dyn FnMut(Progress) + Send),
) -> Result<Summary> {
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(Error::Config(problems.join("\n")));
    }
    m6_store::atomic::create_dir(out)?;
    let _lock = lock(out, options.slice)?;
    let mirror = options
        .mirror
        .map(|address| Mirror::open(address, options.stores, options.stop))
        .transpose()?;
    let work = Work::open(out, mirror)?;
    let cache = work.root().join("objects");
    let files = Files::new(config, &cache, options.stores, options.stop);
    let mut hashes = Hashes::open(work.root());
    let mut shards = inputs::shards(config, &files, &work, &mut hashes)?;
    if let Some(slice) = options.slice {
        let mut totals = vec![0; config.sources.len()];
        for shard in &shards {
            totals[shard.source] += 1;
        }
        shards.retain(|shard| slice.takes(shard, totals[shard.source]));
    }
    hashes.save()?;
    let assets = Assets::load(config)?;
    let packs = Packs::load(config)?;
    let context = Context {
        config,
        files,
        work,
        shards,
        stop: options.stop,
        watch: Mutex::new(watch),
    };
    match options.slice {
        Some(_) => slice(&context, &mut hashes, &assets, &packs),
        None => whole(&context, out, &mut hashes, &assets, &packs),
    }
}

/// One process builds in a folder; slices of one build may run side by side, each once.
fn lock(out: &Path, slice: Option<Slice>) -> Result<FolderLock> {
    let folder = match slice {
        None => out.to_owned(),
        Some(slice) => {
            let name = format!("{}-of-{}", slice.index, slice.count);
            let folder = out.join("work").join("slices").join(name);
            m6_store::atomic::create_dir(&folder)?;
            folder
        }
    };
    Ok(FolderLock::acquire(&folder)?)
}

/// The stages that need no other shard. Quantiles need a sample of the whole source; with them a slice ends after extraction.
fn slice(
    context: &Context<'_>,
    hashes: &mut Hashes,
    assets: &Assets,
    packs: &Packs,
) -> Result<Summary> {
    let extracted = extract::run(context, hashes)?;
    if !packs.want_sample(assets) {
        let judges = Judges::new(packs, &[])?;
        let measured = signals::run(context, &extracted, assets, &judges)?;
        decide::run(context, &extracted, &measured, &judges)?;
    }
    hashes.save()?;
    Ok(summary(context, None, None))
}

fn whole(
    context: &Context<'_>,
    out: &Path,
    hashes: &mut Hashes,
    assets: &Assets,
    packs: &Packs,
) -> Result<Summary> {
    let evaluation = finish::Evaluation::load(context.config, &context.files, hashes)?;
    let truth_hash = truth_path(context.config)
        .map(|path| hashes.of(&context.files, &path))
        .transpose()?;
    let extracted = extract::run(context, hashes)?;
    let thresholds = calibrate::run(context, &extracted, assets, packs)?;
    let judges = Judges::new(packs, &thresholds)?;
    let measured = signals::run(context, &extracted, assets, &judges)?;
    let decided = decide::run(context, &extracted, &measured, &judges)?;
    let twins = duplicates::run(context, &extracted, &measured, &decided)?;
    let repeated = lines::run(context, &extracted, &measured, &decided, &twins)?;
    let finished = finish::run(
        context,
        &extracted,
        &measured,
        &decided,
        &twins,
        &repeated,
        &evaluation,
    )?;
    let seen = pictures::run(context, hashes, &extracted, &finished)?;
    let alike = looks::run(context, &seen)?;
    let mixed = mix::run(context, &extracted, &finished)?;
    hashes.save()?;
    let found = write::Found {
        extracted: &extracted,
        measured: &measured,
        decided: &decided,
        duplicates: &twins,
        finished: &finished,
        mixed: &mixed,
        seen: &seen,
        looks: &alike,
    };
    let written = write::run(context, &found, assets, &judges)?;
    let key = publish::key(context, &written, truth_hash.as_deref());
    if let Some((manifest, stats)) = already(out, &key) {
        if let Some(mirror) = context.work.mirror() {
            mirror.publish(out, &manifest)?;
        }
        return Ok(summary(context, Some(manifest.digest), Some(stats)));
    }
    let one = std::slice::from_ref;
    let stages: [(work::Stage, &[Made]); 10] = [
        (extract::STAGE, &extracted),
        (signals::STAGE, &measured),
        (decide::STAGE, &decided),
        (duplicates::STAGE, one(&twins)),
        (lines::STAGE, one(&repeated)),
        (finish::STAGE, &finished),
        (pictures::STAGE, &seen),
        (looks::STAGE, one(&alike)),
        (mix::STAGE, one(&mixed)),
        (write::STAGE, &written),
    ];
    let mut stats = stats::collect(context, &written, &twins, &stages)?;
    if let Some(path) = truth_path(context.config) {
        stats.truth = Some(truth::compare(
            context, &path, &extracted, &finished, &written,
        )?);
    }
    let manifest = publish::run(
        context,
        out,
        key,
        &written,
        &seen,
        &stats,
        assets.manifest(),
    )?;
    if let Some(mirror) = context.work.mirror() {
        mirror.publish(out, &manifest)?;
    }
    Ok(summary(context, Some(manifest.digest), Some(stats)))
}

/// The file of planted truth.
fn truth_path(config: &Config) -> Option<PathBuf> {
    config
        .assets
        .truth
        .as_ref()
        .map(|path| config.root.join(path))
}

/// The finished corpus of the same key, if it is there whole.
fn already(out: &Path, key: &str) -> Option<(Manifest, Stats)> {
    let manifest = finished(out)?;
    let stats = std::fs::read(out.join("stats.json")).ok()?;
    let stats: Stats = serde_json::from_slice(&stats).ok()?;
    (manifest.key == key).then_some((manifest, stats))
}

fn summary(context: &Context<'_>, digest: Option<String>, stats: Option<Stats>) -> Summary {
    let (made, found) = context.work.counts();
    Summary {
        shards: context.shards.len(),
        made,
        found,
        digest,
        stats,
    }
}

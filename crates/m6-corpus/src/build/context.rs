//! What every stage sees, and how stages are run over shards.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use m6_store::atomic::DirCommit;
use rayon::prelude::*;

use super::config::{Config, SourceConfig};
use super::files::Files;
use super::inputs::Shard;
use super::work::{Note, Stage, Work};
use crate::{Error, Result};

/// Memory that one shard takes in a stage that only rewrites tables: a row group read, one written, and what is between.
const TASK_BYTES: usize = 128 << 20;

/// How far a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Name of the stage.
    pub stage: &'static str,
    /// Shards done.
    pub done: usize,
    /// Shards of the stage.
    pub total: usize,
}

/// A result of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// What went into it.
    pub key: String,
    /// Where it lies.
    pub folder: PathBuf,
}

/// Whether a stage's shards run side by side, or one after the other with threads inside each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// As many at once as memory and threads allow.
    BySide,
    /// One after the other.
    OneByOne,
}

/// What every stage sees.
pub struct Context<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Where inputs lie.
    pub files: Files<'a>,
    /// Where results lie.
    pub work: Work<'a>,
    /// The input, cut.
    pub shards: Vec<Shard>,
    /// Set from outside to end after the shard in work.
    pub stop: &'a AtomicBool,
    /// Told how far the build is.
    pub watch: Mutex<&'a mut (dyn FnMut(Progress) + Send)>,
}

impl Context<'_> {
    /// The source of a shard.
    pub fn source(&self, shard: usize) -> &SourceConfig {
        &self.config.sources[self.shards[shard].source]
    }

    /// Runs a stage over every shard; results in order of shards. `key` names what goes into a shard's result.
    ///
    /// # Errors
    /// What `key` and `make` answer (of the first shard that fails, in order), [`Error::Interrupted`] when asked to stop.
    pub fn map(
        &self,
        stage: Stage,
        side: Side,
        key: impl Fn(usize) -> Result<String> + Sync,
        make: impl Fn(usize, &DirCommit) -> Result<Note> + Sync,
    ) -> Result<Vec<Made>> {
        let total = self.shards.len();
        let n_done = AtomicUsize::new(0);
        self.tell(stage, 0, total);
        let one = |shard: usize| -> Result<Made> {
            self.check_stop()?;
            let key = key(shard)?;
            let folder = self.work.once(stage, &key, |commit| make(shard, commit))?;
            self.tell(stage, n_done.fetch_add(1, Ordering::Relaxed) + 1, total);
            Ok(Made { key, folder })
        };
        let shards: Vec<usize> = (0..total).collect();
        if side == Side::OneByOne {
            return shards.into_iter().map(one).collect();
        }
        let width = (self.config.memory() / 2 / TASK_BYTES).clamp(1, rayon::current_num_threads());
        let mut out = Vec::with_capacity(total);
        for group in shards.chunks(width) {
            let made: Vec<Result<Made>> = group.par_iter().map(|shard| one(*shard)).collect();
            for made in made {
                out.push(made?);
            }
        }
        Ok(out)
    }

    /// Runs a stage once over everything.
    ///
    /// # Errors
    /// What `make` answers, [`Error::Interrupted`] when asked to stop.
    pub fn reduce(
        &self,
        stage: Stage,
        key: String,
        make: impl FnOnce(&DirCommit) -> Result<Note>,
    ) -> Result<Made> {
        self.check_stop()?;
        self.tell(stage, 0, 1);
        let folder = self.work.once(stage, &key, make)?;
        self.tell(stage, 1, 1);
        Ok(Made { key, folder })
    }

    fn check_stop(&self) -> Result<()> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    fn tell(&self, stage: Stage, done: usize, total: usize) {
        let mut watch = self
            .watch
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        watch(Progress {
            stage: stage.name,
            done,
            total,
        });
    }
}

/// Folder for temporary files of a reduce stage; it goes with the folder being made, unless it is removed before the commit.
///
/// # Errors
/// [`Error::Store`] when it cannot be made.
pub fn spill_folder(commit: &DirCommit) -> Result<PathBuf> {
    let folder = commit.path().join("spill");
    m6_store::atomic::create_dir(&folder)?;
    Ok(folder)
}

/// Removes the folder of temporary files.
///
/// # Errors
/// [`Error::Io`] when it cannot be removed.
pub fn remove_spill(commit: &DirCommit) -> Result<()> {
    let path = commit.path().join("spill");
    match std::fs::remove_dir_all(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Io { path, source })
        }
        _ => Ok(()),
    }
}

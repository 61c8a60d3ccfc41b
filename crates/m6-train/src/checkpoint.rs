//! A checkpoint: one folder, committed whole or not at all.
//!
//! ```text
//! checkpoints/step-00001000/
//!   model.safetensors  optimizer.safetensors  ema.safetensors (when on)
//!                      optimizer-00000-of-00004.safetensors ... where each rank keeps a part
//!   state.json         step, cursors, counters, what it was trained with
//!   config.json        what loading and generating needs
//!   tokenizer.json     MANIFEST.json (last)
//! ```

use crate::ema::values;
use crate::error::{Error, Result};
use crate::parallel::{Team, exchange, weights_file};
use crate::schedule::Schedule;
use crate::spike::SpikeGuard;
use crate::step::Trainer;
use m6_data::Cursor;
use m6_model::ModelConfig;
use m6_nn::Params;
use m6_nn::optimizer::Optimizer;
use m6_store::atomic::{DirCommit, add_file};
use m6_store::checkpoints::step_dir_name;
use m6_store::mmap::Mmap;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Version of `state.json` and `config.json`; a reader takes this version and every older one.
pub const CHECKPOINT_VERSION: u32 = 1;

pub(crate) const MODEL_FILE: &str = "model.safetensors";
pub(crate) const OPTIMIZER_FILE: &str = "optimizer.safetensors";
pub(crate) const EMA_FILE: &str = "ema.safetensors";
pub(crate) const STATE_FILE: &str = "state.json";
pub(crate) const CONFIG_FILE: &str = "config.json";
pub(crate) const TOKENIZER_FILE: &str = "tokenizer.json";

/// Where a run stands (`state.json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainState {
    /// Version of this file.
    pub format_version: u32,
    /// Updates made.
    pub step: u64,
    /// The whole state of the loader: rows drawn per source.
    pub cursor: Cursor,
    /// Tokens seen.
    pub tokens: u64,
    /// Seconds of training, over all processes of the run.
    pub seconds: f64,
    /// Seed of weights, data order, noise and dropout.
    pub seed: u64,
    /// Learning rate over the run.
    pub schedule: Schedule,
    /// Processes that trained together.
    pub world: u32,
    /// Recent gradient norms, for skipping spikes.
    pub spikes: SpikeGuard,
    /// The best evaluation so far, where the best checkpoint is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// BLAKE3 of `settings`.
    pub config_hash: String,
    /// BLAKE3 of `data`.
    pub data_hash: String,
    /// The settings that decide what is learned; kept to name the one that differs.
    pub settings: Value,
    /// The manifest of the data set and the hashes of its shards; kept for the same reason.
    pub data: Value,
}

/// The best evaluation of a run so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The step it was made at, of which there is a checkpoint.
    pub step: u64,
    /// Its score; higher is better.
    pub score: f64,
    /// Evaluations since then.
    pub n_since: u64,
}

/// What loading a model and generating with it needs (`config.json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedConfig {
    /// Version of this file.
    pub format_version: u32,
    /// Sizes of the network, with the picture side and the patch grid.
    pub model: ModelConfig,
    /// Tasks it was trained on, in the order of the loader.
    pub tasks: Vec<String>,
    /// The settings of the data set, among them how pictures are fitted to the square.
    pub data: Value,
}

/// What a checkpoint is made of besides the trainer.
pub(crate) struct Snapshot<'a> {
    pub state: &'a TrainState,
    pub config: &'a SavedConfig,
    pub tokenizer_json: &'a str,
}

/// As [`save`], every rank writing what only it has; `ready` is what rank 0 did before. Committed by rank 0 when all have written.
///
/// # Errors
/// As [`save`]; [`Error::Peer`] for what kept another rank from writing. No rank goes on then.
pub(crate) fn save_together(
    dir: &Path,
    trainer: &mut Trainer,
    team: &Team,
    snapshot: &Snapshot<'_>,
    ready: Result<()>,
) -> Result<PathBuf> {
    let path = dir.join(step_dir_name(snapshot.state.step));
    let comm = team.comm();
    let mut commit = None;
    let begun = ready.and_then(|()| {
        if comm.rank() == 0 {
            commit = Some(DirCommit::begin_replacing(&path)?);
        }
        Ok(commit.as_ref().map(|commit| commit.path().to_path_buf()))
    });
    let folder = exchange(comm, begun)?.into_iter().next().flatten();
    let folder = folder.ok_or_else(|| Error::damaged(&path, "rank 0 began no checkpoint"))?;
    team.check_alike()?;
    let mut written = Ok(());
    if team.shards_moments() {
        let name = part_file(comm.rank(), comm.size());
        let bytes = trainer.optimizer.state();
        written = bytes
            .map_err(Error::from)
            .and_then(|bytes| Ok(add_file(&folder, &name, &bytes)?));
    }
    if team.shards_weights() {
        let streamed = stream_weights(trainer, team, commit.as_mut());
        written = written.and(streamed);
    }
    if let Some(commit) = &mut commit {
        written = written.and_then(|()| put_shared(commit, trainer, Some(team), snapshot));
    }
    exchange(comm, written)?;
    let committed = commit.map_or(Ok(()), |commit| Ok(commit.commit()?));
    exchange(comm, committed)?;
    Ok(path)
}

/// The name of a rank's part of the moments.
fn part_file(rank: usize, n_ranks: usize) -> String {
    format!("optimizer-{rank:05}-of-{n_ranks:05}.safetensors")
}

/// Writes weights that no rank has whole.
fn stream_weights(trainer: &Trainer, team: &Team, commit: Option<&mut DirCommit>) -> Result<()> {
    let params = trainer.model.params();
    let values = |param: &m6_nn::Param| team.values(param);
    let Some(commit) = commit else {
        return weights_file::write(params, values, None::<(&Path, &mut Vec<u8>)>);
    };
    let shown = commit.path().join(MODEL_FILE);
    match commit.file(MODEL_FILE) {
        Ok(mut file) => {
            weights_file::write(params, values, Some((&shown, &mut file)))?;
            Ok(file.finish()?)
        }
        Err(error) => {
            // The others ask for the weights all the same.
            weights_file::write(params, values, None::<(&Path, &mut Vec<u8>)>)?;
            Err(error.into())
        }
    }
}

/// Adds the weights to a folder in the making, one after the other: a copy of all of them would be what a large model has no room for.
fn put_weights(commit: &mut DirCommit, name: &str, params: &Params) -> Result<()> {
    let path = commit.path().join(name);
    let mut file = commit.file(name)?;
    weights_file::write(params, values, Some((&path, &mut file)))?;
    Ok(file.finish()?)
}

/// Adds the moments, one after the other.
fn put_state(commit: &mut DirCommit, optimizer: &Optimizer) -> Result<()> {
    let path = commit.path().join(OPTIMIZER_FILE);
    let mut file = commit.file(OPTIMIZER_FILE)?;
    weights_file::write_state(optimizer, (&path, &mut file))?;
    Ok(file.finish()?)
}

/// Adds everything that one rank writes for all.
fn put_shared(
    commit: &mut DirCommit,
    trainer: &mut Trainer,
    team: Option<&Team>,
    snapshot: &Snapshot<'_>,
) -> Result<()> {
    if team.is_none_or(|team| !team.shards_weights()) {
        put_weights(commit, MODEL_FILE, trainer.model.params())?;
    }
    if team.is_none_or(|team| !team.shards_moments()) {
        put_state(commit, &trainer.optimizer)?;
    }
    if let Some(ema) = &mut trainer.ema {
        let params = trainer.model.params();
        ema.with_average(params, || put_weights(commit, EMA_FILE, params))?;
    }
    put(commit, STATE_FILE, &pretty(snapshot.state))?;
    put(commit, CONFIG_FILE, &pretty(snapshot.config))?;
    put(commit, TOKENIZER_FILE, snapshot.tokenizer_json.as_bytes())
}

/// Commits the checkpoint of `snapshot.state.step` under `dir` and returns its path.
///
/// # Errors
/// Anything that keeps a file from being written; nothing is left behind then.
pub(crate) fn save(dir: &Path, trainer: &mut Trainer, snapshot: &Snapshot<'_>) -> Result<PathBuf> {
    let path = dir.join(step_dir_name(snapshot.state.step));
    // Only a damaged checkpoint can be in the place: resuming goes on from the newest valid one.
    let mut commit = DirCommit::begin_replacing(&path)?;
    put_shared(&mut commit, trainer, None, snapshot)?;
    commit.commit()?;
    Ok(path)
}

/// Adds one file to a folder in the making.
pub(crate) fn put(commit: &mut DirCommit, name: &str, bytes: &[u8]) -> Result<()> {
    let path = commit.path().join(name);
    let mut file = commit.file(name)?;
    file.write_all(bytes).map_err(Error::io(&path))?;
    Ok(file.finish()?)
}

/// JSON for people, with a newline at the end.
pub(crate) fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("plain data serialises");
    bytes.push(b'\n');
    bytes
}

/// Puts weights, average and spike history of a checkpoint into a trainer that has not joined others yet.
///
/// # Errors
/// A file that is missing, damaged, or of other shapes than the model.
pub(crate) fn restore(path: &Path, trainer: &mut Trainer, state: &TrainState) -> Result<()> {
    if trainer.ema.is_some() {
        // The average is read through the parameters themselves, which then take their own values.
        load_weights(&path.join(EMA_FILE), &trainer.model)?;
        trainer.restart_ema()?;
    }
    load_weights(&path.join(MODEL_FILE), &trainer.model)?;
    trainer.spikes = state.spikes.clone();
    Ok(())
}

/// Puts the moments of a checkpoint into a trainer: its part of them, whatever number of ranks wrote them.
///
/// # Errors
/// As [`restore`]; a part that is missing.
pub(crate) fn restore_moments(path: &Path, trainer: &mut Trainer) -> Result<()> {
    let files = moment_files(path)?;
    let maps = files.iter().map(|file| Mmap::open(file));
    let maps = maps.collect::<std::result::Result<Vec<_>, _>>()?;
    let states: Vec<&[u8]> = maps.iter().map(|map| &**map).collect();
    let loaded = trainer.optimizer.load_states(&states);
    let file = files.first().filter(|_| files.len() == 1);
    loaded.map_err(|error| Error::damaged(file.map_or(path, PathBuf::as_path), error))
}

/// The moments in a checkpoint: one file, or parts in the order of the ranks.
///
/// # Errors
/// There are none.
pub(crate) fn moment_files(path: &Path) -> Result<Vec<PathBuf>> {
    let whole = path.join(OPTIMIZER_FILE);
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(Error::io(path))? {
        let entry = entry.map_err(Error::io(path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("optimizer-") && name.ends_with(".safetensors") {
            files.push(entry.path());
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(Error::damaged(&whole, "is not there, nor are its parts")),
        false => Ok(files),
    }
}

/// Loads every parameter of the model from a safetensors file that holds exactly these.
///
/// # Errors
/// [`Error::Damaged`] naming the file: a lying header, or tensors missing, unknown or of another shape.
pub(crate) fn load_weights(path: &Path, model: &m6_model::Model) -> Result<()> {
    let strict = true;
    model
        .params()
        .load_safetensors(&Mmap::open(path)?, strict)
        .map_err(|error| Error::damaged(path, error))?;
    Ok(())
}

/// Reads `state.json` of a checkpoint.
///
/// # Errors
/// [`Error::Damaged`] when it is not readable or of a newer version.
pub(crate) fn read_state(checkpoint: &Path) -> Result<TrainState> {
    read_versioned(&checkpoint.join(STATE_FILE))
}

/// Reads `config.json` of a checkpoint or exported model.
///
/// # Errors
/// [`Error::Damaged`] when it is not readable or of a newer version.
pub(crate) fn read_config(dir: &Path) -> Result<SavedConfig> {
    read_versioned(&dir.join(CONFIG_FILE))
}

pub(crate) fn read_versioned<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let value: Value =
        serde_json::from_slice(&read(path)?).map_err(|error| Error::damaged(path, error))?;
    let version = value.get("format_version").and_then(Value::as_u64);
    match version {
        Some(version) if version <= u64::from(CHECKPOINT_VERSION) => {}
        Some(version) => {
            let reason = format!(
                "format_version {version}, this build reads up to {CHECKPOINT_VERSION}; use a newer m6"
            );
            return Err(Error::damaged(path, reason));
        }
        None => return Err(Error::damaged(path, "no format_version: not a file of m6")),
    }
    serde_json::from_value(value).map_err(|error| Error::damaged(path, error))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(Error::io(path))
}

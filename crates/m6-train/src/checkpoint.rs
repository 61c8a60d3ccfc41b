//! A checkpoint: one folder, committed whole or not at all.
//!
//! ```text
//! checkpoints/step-00001000/
//!   model.safetensors  optimizer.safetensors  ema.safetensors (when on)
//!   state.json         step, cursors, counters, what it was trained with
//!   config.json        what loading and generating needs
//!   tokenizer.json     MANIFEST.json (last)
//! ```

use crate::error::{Error, Result};
use crate::schedule::Schedule;
use crate::spike::SpikeGuard;
use crate::step::Trainer;
use m6_data::Cursor;
use m6_model::ModelConfig;
use m6_store::atomic::DirCommit;
use m6_store::checkpoints::step_dir_name;
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

/// Commits the checkpoint of `snapshot.state.step` under `dir` and returns its path.
///
/// # Errors
/// Anything that keeps a file from being written; nothing is left behind then.
pub(crate) fn save(dir: &Path, trainer: &mut Trainer, snapshot: &Snapshot<'_>) -> Result<PathBuf> {
    let path = dir.join(step_dir_name(snapshot.state.step));
    // Only a damaged checkpoint can be in the place: resuming goes on from the newest valid one.
    let mut commit = DirCommit::begin_replacing(&path)?;
    put(
        &mut commit,
        MODEL_FILE,
        &trainer.model.params().to_safetensors()?,
    )?;
    put(&mut commit, OPTIMIZER_FILE, &trainer.optimizer.state()?)?;
    if let Some(ema) = &mut trainer.ema {
        let params = trainer.model.params();
        let average = ema.with_average(params, || Ok(params.to_safetensors()?))?;
        put(&mut commit, EMA_FILE, &average)?;
    }
    put(&mut commit, STATE_FILE, &pretty(snapshot.state))?;
    put(&mut commit, CONFIG_FILE, &pretty(snapshot.config))?;
    put(
        &mut commit,
        TOKENIZER_FILE,
        snapshot.tokenizer_json.as_bytes(),
    )?;
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

/// Puts weights, moments, average and spike history of a checkpoint into a trainer.
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
    let optimizer = path.join(OPTIMIZER_FILE);
    let bytes = read(&optimizer)?;
    trainer
        .optimizer
        .load_state(&bytes)
        .map_err(|error| Error::damaged(&optimizer, error))?;
    trainer.spikes = state.spikes.clone();
    Ok(())
}

/// Loads every parameter of the model from a safetensors file that holds exactly these.
///
/// # Errors
/// [`Error::Damaged`] naming the file: a lying header, or tensors missing, unknown or of another shape.
pub(crate) fn load_weights(path: &Path, model: &m6_model::Model) -> Result<()> {
    let strict = true;
    model
        .params()
        .load_safetensors(&read(path)?, strict)
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

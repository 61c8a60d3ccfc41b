//! A model from a run folder, a checkpoint, or an exported folder.

use crate::checkpoint::{
    CONFIG_FILE, EMA_FILE, MODEL_FILE, STATE_FILE, SavedConfig, TOKENIZER_FILE, load_weights, read,
    read_config, read_state,
};
use crate::error::{Error, Result};
use crate::resume::newest_checkpoint;
use m6_model::{ChineseClip, ClipFiles, Model};
use m6_store::checkpoints::step_dir_name;
use m6_store::manifest;
use m6_text::Tokenizer;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A model ready to generate.
pub struct LoadedModel {
    /// The network with its weights; the averaged ones when the run kept an average.
    pub model: Model,
    /// Its vocabulary.
    pub tokenizer: Tokenizer,
    /// Sizes, task names, and the settings of its data.
    pub config: SavedConfig,
    /// The folder it was read from.
    pub path: PathBuf,
    /// The update it was saved after; `None` for an exported model.
    pub step: Option<u64>,
    /// Damaged checkpoints that were passed over, with the reason of each.
    pub warnings: Vec<String>,
}

/// Loads the best or else the newest valid checkpoint of a run folder, a checkpoint, or an exported model; adapters are merged.
///
/// # Errors
/// [`Error::NoModel`] where none is, [`Error::Damaged`] with file and reason, [`Error::VocabularySize`] when the
/// vocabulary beside the weights is another one.
pub fn load_model(path: &Path) -> Result<LoadedModel> {
    load_with(path, Adapters::Merge)
}

/// What becomes of adapters when a model is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adapters {
    /// They are merged into the weights.
    #[default]
    Merge,
    /// They are left out: the model as it was before it had them.
    Drop,
}

/// As [`load_model`], with a choice of what becomes of adapters.
///
/// # Errors
/// As [`load_model`].
pub fn load_with(path: &Path, adapters: Adapters) -> Result<LoadedModel> {
    let (dir, warnings) = locate(path)?;
    if dir.join(manifest::MANIFEST_NAME).is_file() {
        manifest::verify(&dir).map_err(|error| Error::damaged(&dir, error))?;
    }
    let mut config = read_config(&dir)?;
    let tokenizer_path = dir.join(TOKENIZER_FILE);
    let tokenizer = Tokenizer::from_file(&tokenizer_path)
        .map_err(|error| Error::damaged(&tokenizer_path, error))?;
    check_vocabulary(
        &tokenizer_path,
        tokenizer.vocab_size(),
        config.model.vocab_size,
    )?;
    let weights = weights_file(&dir);
    check_size(&weights, &config, &dir.join(CONFIG_FILE))?;
    // The seed is without effect: every weight is overwritten.
    let model = Model::new(&config.model, 0)?;
    load_weights(&weights, &model)?;
    let model = match (config.model.lora.is_none(), adapters) {
        (true, _) => model,
        (false, Adapters::Merge) => model.merged()?,
        (false, Adapters::Drop) => model.unmerged()?,
    };
    config.model = model.config().clone();
    let step = read_state(&dir).ok().map(|state| state.step);
    Ok(LoadedModel {
        model,
        tokenizer,
        config,
        path: dir,
        step,
        warnings,
    })
}

/// The sizes, tasks and data settings of a model, without its weights.
///
/// # Errors
/// As [`load_model`].
pub fn saved_config(path: &Path) -> Result<SavedConfig> {
    read_config(&locate(path)?.0)
}

/// The vocabulary of a model.
///
/// # Errors
/// [`Error::NoModel`] where none is.
pub fn tokenizer_file(path: &Path) -> Result<PathBuf> {
    Ok(locate(path)?.0.join(TOKENIZER_FILE))
}

/// Loads a Chinese-CLIP in the layout of `transformers`: `config.json`, `vocab.txt`, `model.safetensors`, and
/// `preprocessor_config.json` where there is one.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read, [`Error::Damaged`] with the file or tensor that does not fit.
pub fn load_clip(dir: &Path) -> Result<ChineseClip> {
    let weights_path = dir.join(MODEL_FILE);
    if !weights_path.is_file() && dir.join("pytorch_model.bin").is_file() {
        let reason = "weights are read as model.safetensors, but there is only pytorch_model.bin; convert it with \
            ChineseCLIPModel.from_pretrained(...).save_pretrained(...)";
        return Err(Error::damaged(dir, reason));
    }
    let preprocessor = dir.join("preprocessor_config.json");
    let preprocessor = match preprocessor.is_file() {
        true => Some(read(&preprocessor)?),
        false => None,
    };
    let (config, vocabulary) = (read(&dir.join(CONFIG_FILE))?, read(&dir.join("vocab.txt"))?);
    let weights = read(&weights_path)?;
    let files = ClipFiles {
        config: &config,
        preprocessor: preprocessor.as_deref(),
        vocabulary: &vocabulary,
        weights: &weights,
    };
    ChineseClip::new(&files).map_err(|error| Error::damaged(dir, error))
}

/// The folder with the weights, and a line about every damaged checkpoint passed over.
pub(crate) fn locate(path: &Path) -> Result<(PathBuf, Vec<String>)> {
    if path.join(MODEL_FILE).is_file() {
        return Ok((path.to_path_buf(), Vec::new()));
    }
    let inside = path.join("checkpoints");
    let checkpoints = if inside.is_dir() {
        inside
    } else {
        path.to_path_buf()
    };
    let (found, skipped) = if checkpoints.is_dir() {
        newest_checkpoint(&checkpoints)?
    } else {
        (None, Vec::new())
    };
    match found {
        Some((_, dir)) => Ok(best_of(dir, &checkpoints, skipped)),
        None => Err(Error::NoModel {
            path: path.to_path_buf(),
            skipped,
        }),
    }
}

/// The best checkpoint where the newest one names another that is still there and whole, or the newest.
fn best_of(newest: PathBuf, checkpoints: &Path, mut notes: Vec<String>) -> (PathBuf, Vec<String>) {
    let state = read(&newest.join(STATE_FILE)).ok();
    let state = state.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(step) = state.and_then(|state| state["best"]["step"].as_u64()) else {
        return (newest, notes);
    };
    let best = checkpoints.join(step_dir_name(step));
    match manifest::verify(&best) {
        Ok(()) => (best, notes),
        Err(error) => {
            notes.push(format!(
                "{}, the best checkpoint: {error}; taking the newest",
                best.display()
            ));
            (newest, notes)
        }
    }
}

/// The weights that are shown and exported: the average when there is one.
pub(crate) fn weights_file(dir: &Path) -> PathBuf {
    let average = dir.join(EMA_FILE);
    if average.is_file() {
        average
    } else {
        dir.join(MODEL_FILE)
    }
}

/// Refuses a vocabulary of another size than the model's.
///
/// # Errors
/// [`Error::VocabularySize`].
pub(crate) fn check_vocabulary(path: &Path, tokenizer: usize, model: usize) -> Result<()> {
    if tokenizer == model {
        return Ok(());
    }
    Err(Error::VocabularySize {
        path: path.to_path_buf(),
        tokenizer,
        model,
    })
}

/// Sizes are only claims until the file of weights bears them out; nothing is allocated before.
fn check_size(weights: &Path, config: &SavedConfig, config_path: &Path) -> Result<()> {
    let problems = config.model.validate();
    if !problems.is_empty() {
        return Err(Error::damaged(config_path, problems.join("; ")));
    }
    let n_bytes = std::fs::metadata(weights)
        .map_err(Error::io(weights))?
        .len();
    let n_params = m6_model::count(&config.model).params_total;
    // Two bytes each at the least: half precision is read as well.
    if n_bytes < n_params.saturating_mul(2) {
        let reason = format!(
            "{n_bytes} bytes cannot hold the {n_params} parameters of the model in config.json"
        );
        return Err(Error::damaged(weights, reason));
    }
    Ok(())
}

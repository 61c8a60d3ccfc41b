//! A checkpoint of a VQGAN: the folder of any checkpoint, with the discriminator beside the model.

use super::step::VqganTrainer;
use crate::checkpoint::{
    CHECKPOINT_VERSION, CONFIG_FILE, MODEL_FILE, OPTIMIZER_FILE, STATE_FILE, TrainState, pretty,
    put, read, read_versioned,
};
use crate::error::{Error, Result};
use crate::load::locate;
use m6_model::{Vqgan, VqganConfig};
use m6_nn::Params;
use m6_nn::optimizer::Optimizer;
use m6_store::atomic::DirCommit;
use m6_store::checkpoints::step_dir_name;
use m6_store::manifest;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const DISC_FILE: &str = "discriminator.safetensors";
const DISC_OPTIMIZER_FILE: &str = "discriminator.optimizer.safetensors";

/// What loading needs (`config.json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedVqgan {
    format_version: u32,
    vqgan: VqganConfig,
}

/// Commits the checkpoint of `state.step` under `dir` and returns its path.
pub(super) fn save(dir: &Path, trainer: &VqganTrainer, state: &TrainState) -> Result<PathBuf> {
    let path = dir.join(step_dir_name(state.step));
    let mut commit = DirCommit::begin_replacing(&path)?;
    let saved = SavedVqgan {
        format_version: CHECKPOINT_VERSION,
        vqgan: trainer.vqgan.config().clone(),
    };
    let files = [
        (MODEL_FILE, trainer.vqgan.params().to_safetensors()?),
        (OPTIMIZER_FILE, trainer.optimizer.state()?),
        (DISC_FILE, trainer.discriminator.params().to_safetensors()?),
        (DISC_OPTIMIZER_FILE, trainer.disc_optimizer.state()?),
        (STATE_FILE, pretty(state)),
        (CONFIG_FILE, pretty(&saved)),
    ];
    for (name, bytes) in files {
        put(&mut commit, name, &bytes)?;
    }
    commit.commit()?;
    Ok(path)
}

/// Puts weights, codebook and moments of a checkpoint into a trainer.
pub(super) fn restore(path: &Path, trainer: &mut VqganTrainer) -> Result<()> {
    load_params(&path.join(MODEL_FILE), trainer.vqgan.params())?;
    load_params(&path.join(DISC_FILE), trainer.discriminator.params())?;
    load_moments(&path.join(OPTIMIZER_FILE), &mut trainer.optimizer)?;
    load_moments(&path.join(DISC_OPTIMIZER_FILE), &mut trainer.disc_optimizer)
}

fn load_params(path: &Path, params: &Params) -> Result<()> {
    let strict = true;
    let loaded = params.load_safetensors(&read(path)?, strict);
    loaded.map_err(|error| Error::damaged(path, error))?;
    Ok(())
}

fn load_moments(path: &Path, optimizer: &mut Optimizer) -> Result<()> {
    let loaded = optimizer.load_state(&read(path)?);
    loaded.map_err(|error| Error::damaged(path, error))
}

/// The two files from which [`load_vqgan`] loads a VQGAN again: name and content.
///
/// # Errors
/// When a weight cannot be read.
pub fn export_vqgan(vqgan: &Vqgan) -> Result<Vec<(String, Vec<u8>)>> {
    let saved = SavedVqgan {
        format_version: CHECKPOINT_VERSION,
        vqgan: vqgan.config().clone(),
    };
    Ok(vec![
        (CONFIG_FILE.to_owned(), pretty(&saved)),
        (MODEL_FILE.to_owned(), vqgan.params().to_safetensors()?),
    ])
}

/// A VQGAN ready to encode and decode.
pub struct LoadedVqgan {
    /// The autoencoder with its weights.
    pub vqgan: Vqgan,
    /// The folder it was read from.
    pub path: PathBuf,
    /// Damaged checkpoints that were passed over, with the reason of each.
    pub warnings: Vec<String>,
}

/// Loads the newest valid checkpoint of a VQGAN's run folder, a checkpoint, or a folder with `config.json` and
/// `model.safetensors` (one converted from taming-transformers, say).
///
/// # Errors
/// [`Error::NoModel`] where none is, [`Error::Damaged`] with file and reason.
pub fn load_vqgan(path: &Path) -> Result<LoadedVqgan> {
    let (dir, warnings) = locate(path)?;
    if dir.join(manifest::MANIFEST_NAME).is_file() {
        manifest::verify(&dir).map_err(|error| Error::damaged(&dir, error))?;
    }
    let config_path = dir.join(CONFIG_FILE);
    let saved: SavedVqgan = read_versioned(&config_path)?;
    let problems = saved.vqgan.validate();
    if !problems.is_empty() {
        return Err(Error::damaged(&config_path, problems.join("; ")));
    }
    let vqgan = Vqgan::new(&saved.vqgan, 0)?;
    let weights = dir.join(MODEL_FILE);
    vqgan
        .load(&read(&weights)?)
        .map_err(|error| Error::damaged(&weights, error))?;
    Ok(LoadedVqgan {
        vqgan,
        path: dir,
        warnings,
    })
}

//! The network that compares features, from a run or from a file of somebody else's weights.

use crate::error::{Error, Result};
use crate::load::load_model;
use m6_model::vqgan::Perceptual;
use m6_store::hash::hash_bytes;
use serde_json::{Value, json};
use std::path::Path;

/// A network that compares features.
pub struct LoadedPerceptual {
    /// The network.
    pub network: Perceptual,
    /// What identifies it among the settings of a run: its kind and the hash of its weights.
    pub identity: Value,
    /// What it is and where it was read from, for people: one line for the terminal and `log.txt`.
    pub description: String,
    /// Damaged checkpoints that were passed over, with the reason of each.
    pub warnings: Vec<String>,
}

/// Loads what `adversary.perceptual` names: a safetensors file with VGG16 (and LPIPS's layers or not) or ResNet-50 in torchvision's
/// names, or a run or exported model whose patch network compares.
///
/// # Errors
/// [`Error::NoModel`] where none is, [`Error::Damaged`] with file and reason.
pub fn load_perceptual(path: &Path) -> Result<LoadedPerceptual> {
    if !path.is_file() {
        let loaded = load_model(path)?;
        let hash = hash_bytes(&loaded.model.params().to_safetensors()?);
        let network =
            Perceptual::new(loaded.model).map_err(|error| Error::damaged(&loaded.path, error))?;
        return Ok(LoadedPerceptual {
            network,
            identity: json!({"patch_network": hash}),
            description: format!(
                "features are compared by the patch network of {}",
                loaded.path.display()
            ),
            warnings: loaded.warnings,
        });
    }
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let network =
        Perceptual::from_safetensors(&bytes).map_err(|error| Error::damaged(path, error))?;
    Ok(LoadedPerceptual {
        identity: json!({"network": network.name(), "file": hash_bytes(&bytes)}),
        description: format!(
            "features are compared by {} of {}",
            network.name(),
            path.display()
        ),
        network,
        warnings: Vec::new(),
    })
}

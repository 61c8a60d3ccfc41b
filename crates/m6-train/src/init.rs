//! A run that begins from the weights of another one: finetuning, and pretraining in several stages.

use crate::checkpoint::{TOKENIZER_FILE, read, read_config};
use crate::error::{Error, Result};
use crate::load::{load_model, locate, weights_file};
use m6_model::Model;
use m6_store::hash::hash_bytes;
use m6_store::manifest;
use m6_text::Tokenizer;
use std::path::{Path, PathBuf};

/// Weights to begin from, read but not yet taken over.
pub(crate) struct Start {
    path: PathBuf,
    weights: Vec<u8>,
    tokenizer: Tokenizer,
}

impl Start {
    /// Reads the newest valid checkpoint of a run, a checkpoint, or an exported model; the averaged weights where there are some.
    ///
    /// # Errors
    /// As [`crate::load_model`].
    pub fn read(path: &Path) -> Result<Self> {
        let (dir, skipped) = locate(path)?;
        for warning in skipped {
            tracing::warn!("{warning}");
        }
        if dir.join(manifest::MANIFEST_NAME).is_file() {
            manifest::verify(&dir).map_err(|error| Error::damaged(&dir, error))?;
        }
        let file = dir.join(TOKENIZER_FILE);
        let tokenizer = Tokenizer::from_file(&file).map_err(|e| Error::damaged(&file, e))?;
        let path = weights_file(&dir);
        let weights = match read_config(&dir)?.model.lora.is_none() {
            true => read(&path)?,
            // Adapters of an earlier finetuning are part of what it learned.
            false => load_model(&dir)?.model.params().to_safetensors()?,
        };
        Ok(Self {
            path,
            weights,
            tokenizer,
        })
    }

    /// What identifies it: the hash of the weights.
    pub fn identity(&self) -> String {
        hash_bytes(&self.weights)
    }

    /// Takes the weights over into a fresh model; what the other model did not have (a table of codes, say) keeps its random start,
    /// and tables of positions or segments take the rows that both have. Gives the names that kept theirs, whole or in part.
    ///
    /// # Errors
    /// Another vocabulary than the data's; weights of other sizes.
    pub fn take_over(&self, model: &Model, data: &Tokenizer) -> Result<Vec<String>> {
        if self.tokenizer.to_json() != data.to_json() {
            return Err(Error::Config {
                problems: vec![format!(
                    "init.model = {} has another vocabulary than the data; prepare the data with tokenizer.file set to the tokenizer.json beside it",
                    self.path.display()
                )],
            });
        }
        let report = model.params().start_from_safetensors(&self.weights);
        let report = report.map_err(|error| Error::damaged(&self.path, error))?;
        if !report.wrong_shape.is_empty() {
            let wrong = report.wrong_shape.iter();
            let problem = |what: &String| {
                format!(
                    "init.model = {}: {what}; both models must have the same sizes",
                    self.path.display()
                )
            };
            return Err(Error::Config {
                problems: wrong.map(problem).collect(),
            });
        }
        let unused = &report.unexpected;
        if !unused.is_empty() {
            tracing::info!("{}: not needed: {}", self.path.display(), unused.join(", "));
        }
        Ok([report.missing, report.partly].concat())
    }
}

//! A run that begins from the weights of another one: finetuning, and pretraining in several stages.

use crate::checkpoint::{MODEL_FILE, TOKENIZER_FILE, moment_files, read, read_config};
use crate::error::{Error, Result};
use crate::load::{load_model, locate, weights_file};
use crate::step::Trainer;
use crate::untie::untied;
use m6_model::{Model, ModelConfig};
use m6_store::hash::hash_bytes;
use m6_store::manifest;
use m6_text::Tokenizer;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Weights to begin from, read but not yet taken over.
pub(crate) struct Start {
    dir: PathBuf,
    path: PathBuf,
    model: ModelConfig,
    weights: Vec<u8>,
    tokenizer: Tokenizer,
}

impl Start {
    /// Reads the newest valid checkpoint of a run, a checkpoint, or an exported model; the averaged weights where there are some, but with the
    /// `moments` those that the moments belong to.
    ///
    /// # Errors
    /// As [`crate::load_model`].
    pub fn read(path: &Path, moments: bool) -> Result<Self> {
        let (dir, skipped) = locate(path)?;
        for warning in skipped {
            tracing::warn!("{warning}");
        }
        if dir.join(manifest::MANIFEST_NAME).is_file() {
            manifest::verify(&dir).map_err(|error| Error::damaged(&dir, error))?;
        }
        let file = dir.join(TOKENIZER_FILE);
        let tokenizer = Tokenizer::from_file(&file).map_err(|e| Error::damaged(&file, e))?;
        let path = match moments {
            true => dir.join(MODEL_FILE),
            false => weights_file(&dir),
        };
        let model = read_config(&dir)?.model;
        let weights = match model.lora.is_none() || moments {
            true => read(&path)?,
            // Adapters of an earlier finetuning are part of what it learned.
            false => load_model(&dir)?.model.params().to_safetensors()?,
        };
        Ok(Self {
            dir,
            path,
            model,
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
        let own = self.for_blocks_of(model, &self.weights, &self.path)?;
        let report = model.params().start_from_safetensors(&own);
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

    /// Takes the moments over as well, and the number of updates behind them; both models must have the same parameters, but for blocks that
    /// shared theirs.
    ///
    /// # Errors
    /// There are none; moments of another optimizer or of other parameters.
    pub fn take_over_moments(&self, trainer: &mut Trainer) -> Result<()> {
        let files = moment_files(&self.dir)?;
        let mut states = Vec::with_capacity(files.len());
        for file in &files {
            let state = read(file)?;
            states.push(
                self.for_blocks_of(&trainer.model, &state, file)?
                    .into_owned(),
            );
        }
        let states: Vec<&[u8]> = states.iter().map(Vec::as_slice).collect();
        let loaded = trainer.optimizer.load_states(&states);
        loaded.map_err(|error| Error::damaged(&self.dir, error))
    }

    /// What was read of blocks that share weights, as blocks with weights of their own where `model` has such.
    fn for_blocks_of<'a>(
        &self,
        model: &Model,
        bytes: &'a [u8],
        from: &Path,
    ) -> Result<Cow<'a, [u8]>> {
        let cfg = model.config();
        let unties =
            self.model.n_distinct() < self.model.n_layers && cfg.n_distinct() == cfg.n_layers;
        if !unties {
            return Ok(Cow::Borrowed(bytes));
        }
        let own = untied(bytes, &self.model).map_err(|error| Error::damaged(from, error))?;
        Ok(Cow::Owned(own))
    }
}

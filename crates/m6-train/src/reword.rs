//! Batches that are written anew by the model before it learns from them.

use crate::error::{Error, Result};
use crate::run::with_merged;
use crate::step::Trainer;
use m6_data::Batch;
use m6_model::Model;
use m6_store::rng::Key;

/// Replaces what the loader dealt by what the model itself says, each label with the weight it earned ([`Batch::weights`]). What is learned is
/// then a function of the weights, the rows and the seed, so a run resumes exactly.
pub trait Reword: Sync {
    /// The new batch, and the mean reward of its texts; `seed` is another one for every micro-batch. The model has no adapters: they are
    /// merged.
    ///
    /// # Errors
    /// What keeps the batch from being written anew, in words.
    fn reword(
        &self,
        model: &Model,
        batch: &Batch,
        seed: u64,
    ) -> std::result::Result<(Batch, f64), String>;

    /// The settings that decide what comes out: a run goes on only with the same.
    fn identity(&self) -> serde_json::Value;
}

impl Trainer {
    /// The micro-batches of update `step` written anew, and the mean of their rewards.
    pub(crate) fn reworded(
        &self,
        reword: &dyn Reword,
        step: u64,
        batches: &[Batch],
    ) -> Result<(Vec<Batch>, f64)> {
        let key = Key::new(self.config.seed).child("reword").at(step);
        let mut sum = 0.0;
        let mut new = Vec::with_capacity(batches.len());
        for (i, batch) in batches.iter().enumerate() {
            let seed = key.at(i as u64).stream().next_u64();
            let told = with_merged(&self.model, |model| reword.reword(model, batch, seed))?;
            let (batch, reward) = told.map_err(|reason| Error::Reword { step, reason })?;
            sum += reward;
            new.push(batch);
        }
        Ok((new, sum / batches.len().max(1) as f64))
    }
}

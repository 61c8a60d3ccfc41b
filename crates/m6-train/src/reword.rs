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
    /// The new batch, the sum of its texts' rewards and their number; `seed` is another one for every micro-batch. The model has no adapters: they are
    /// merged.
    ///
    /// # Errors
    /// What keeps the batch from being written anew, in words.
    fn reword(
        &self,
        model: &Model,
        batch: &Batch,
        seed: u64,
    ) -> std::result::Result<(Batch, f64, usize), String>;

    /// The settings that decide what comes out: a run goes on only with the same.
    fn identity(&self) -> serde_json::Value;
}

impl Trainer {
    /// The micro-batches of update `step` written anew, and the mean reward of their texts.
    pub(crate) fn reworded(
        &self,
        reword: &dyn Reword,
        step: u64,
        batches: &[Batch],
    ) -> Result<(Vec<Batch>, f64)> {
        let key = Key::new(self.config.seed).child("reword").at(step);
        let seeds = (0..batches.len()).map(|i| key.at(i as u64).stream().next_u64());
        let told: std::result::Result<Vec<_>, String> = with_merged(&self.model, |model| {
            let told = batches.iter().zip(seeds);
            told.map(|(batch, seed)| reword.reword(model, batch, seed))
                .collect()
        })?;
        let (mut new, mut sum, mut n) = (Vec::with_capacity(batches.len()), 0.0, 0);
        for (batch, reward, n_texts) in told.map_err(|reason| Error::Reword { step, reason })? {
            new.push(batch);
            sum += reward;
            n += n_texts;
        }
        Ok((new, sum / n.max(1) as f64))
    }
}

//! `[reward]` of a configuration: the model learns from its own texts.

use crate::config::{RewardConfig, RewardKind, RunConfig};
use crate::error::{Code, Failure, OrFail, Result};
use m6_data::{Batch, Loader, LoaderConfig, Split};
use m6_eval::SelfCritical;
use m6_model::{GenerateOptions, Model};
use m6_text::Tokenizer;
use serde_json::{Value, json};
use std::path::Path;

/// Tells a model in training what its own texts are worth.
pub struct Reward {
    teacher: SelfCritical,
    config: RewardConfig,
}

impl Reward {
    /// The reward that the configuration asks for, with the rarity of n-grams among the texts that are trained.
    pub fn new(config: &RunConfig, data: &Path, mixture: &LoaderConfig) -> Result<Option<Self>> {
        let RewardConfig {
            kind,
            n_texts,
            max_tokens,
            temperature,
        } = config.reward;
        if kind == RewardKind::None {
            return Ok(None);
        }
        if config.train.label_smoothing != 0.0 {
            return Err(Failure::usage(format!(
                "train.label_smoothing = {}: with a reward some texts are unlearned, and a smoothed label is not one the model drew",
                config.train.label_smoothing
            ))
            .hint("--set train.label_smoothing=0"));
        }
        let loader = Loader::open(data, mixture, Split::Train).or_data()?;
        let mut references = Vec::new();
        for task in m6_data::tasks::NAMES
            .iter()
            .filter(|task| !loader.leaves_out(task))
        {
            references.extend(loader.targets(task).or_data()?);
        }
        let tokenizer = Tokenizer::from_file(loader.tokenizer_path()).or_data()?;
        let marks = tokenizer.special();
        let max_text = loader.layout().max_text;
        let options = GenerateOptions {
            max_tokens: if max_tokens == 0 {
                max_text
            } else {
                max_tokens
            },
            temperature,
            bos: marks.cls,
            eos: marks.sep,
            banned: vec![marks.pad, marks.unk, marks.cls, marks.mask],
            ..GenerateOptions::default()
        };
        let teacher = SelfCritical::new(references, loader.layout().clone(), options, n_texts);
        Ok(Some(Self {
            teacher: teacher.or_fail(Code::Usage)?,
            config: config.reward.clone(),
        }))
    }
}

impl m6_train::Reword for Reward {
    fn reword(
        &self,
        model: &Model,
        batch: &Batch,
        seed: u64,
    ) -> std::result::Result<(Batch, f64), String> {
        let told = self.teacher.tell(model, batch, seed);
        told.map(|told| (told.batch, told.reward))
            .map_err(|error| error.to_string())
    }

    fn identity(&self) -> Value {
        json!(self.config)
    }
}

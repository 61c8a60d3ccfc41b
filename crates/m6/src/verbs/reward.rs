//! `[reward]` of a configuration: the model learns from its own texts.

use crate::config::{RewardConfig, RewardKind, RunConfig};
use crate::error::{Failure, OrFail, Result};
use m6_data::{Batch, Loader, LoaderConfig, Split};
use m6_eval::SelfCritical;
use m6_model::{GenerateOptions, Model};
use m6_text::Tokenizer;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Tells a model in training what its own texts are worth.
pub struct Reward {
    config: RewardConfig,
    data: PathBuf,
    mixture: LoaderConfig,
    /// Made for the first batch: by then the data is known to be whole.
    teacher: OnceLock<std::result::Result<SelfCritical, String>>,
}

impl Reward {
    /// The reward that the configuration asks for, if any; every problem at once.
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
        let (smoothing, max_len) = (config.train.label_smoothing, config.model.max_len);
        let mut problems = Vec::new();
        if smoothing != 0.0 {
            problems.push(format!(
                "train.label_smoothing = {smoothing} must be 0: some texts are unlearned, and a smoothed label is not one the model drew"
            ));
        }
        if n_texts < 2 {
            problems.push(format!(
                "reward.n_texts = {n_texts} must be 2 or more: each text is compared with the others"
            ));
        }
        if !(temperature.is_finite() && temperature > 0.0) {
            problems.push(format!(
                "reward.temperature = {temperature} must be above 0: texts are drawn"
            ));
        }
        if max_tokens >= max_len {
            problems.push(format!(
                "reward.max_tokens = {max_tokens} must be below model.max_len = {max_len}"
            ));
        }
        let loader = Loader::open(data, mixture, Split::Train).or_data()?;
        for task in trained(&loader) {
            if !loader.writes_texts(task).or_data()? {
                problems.push(format!(
                    "the data teaches {task}, which writes no text that could be rewarded"
                ));
            }
        }
        if !problems.is_empty() {
            return Err(
                Failure::usage(format!("[reward]: {}", problems.join("; "))).hint(
                    "`m6 finetune caption|vqa|qa|poem|classify` trains one task that writes texts",
                ),
            );
        }
        Ok(Some(Self {
            config: config.reward.clone(),
            data: data.to_path_buf(),
            mixture: mixture.clone(),
            teacher: OnceLock::new(),
        }))
    }

    /// The teacher, with the rarity of n-grams among the texts that are trained.
    fn teacher(&self) -> std::result::Result<SelfCritical, String> {
        let said = |error: m6_data::Error| error.to_string();
        let loader = Loader::open(&self.data, &self.mixture, Split::Train).map_err(said)?;
        let mut references = Vec::new();
        for task in trained(&loader) {
            references.extend(loader.targets(task).map_err(said)?);
        }
        let tokenizer = Tokenizer::from_file(loader.tokenizer_path()).map_err(|e| e.to_string())?;
        let marks = tokenizer.special();
        let options = GenerateOptions {
            max_tokens: match self.config.max_tokens {
                0 => loader.layout().max_text,
                n => n,
            },
            temperature: self.config.temperature,
            bos: marks.cls,
            eos: marks.sep,
            banned: marks.never_written(),
            ..GenerateOptions::default()
        };
        let (layout, n_texts) = (loader.layout().clone(), self.config.n_texts);
        SelfCritical::new(references, layout, options, n_texts).map_err(|e| e.to_string())
    }
}

fn trained(loader: &Loader) -> impl Iterator<Item = &'static str> {
    let names = m6_data::tasks::NAMES.into_iter();
    names.filter(|task| !loader.leaves_out(task))
}

impl m6_train::Reword for Reward {
    fn reword(
        &self,
        model: &Model,
        batch: &Batch,
        seed: u64,
    ) -> std::result::Result<(Batch, f64, usize), String> {
        let teacher = self.teacher.get_or_init(|| self.teacher());
        let teacher = teacher.as_ref().map_err(String::clone)?;
        let told = teacher
            .tell(model, batch, seed)
            .map_err(|e| e.to_string())?;
        Ok((told.batch, told.reward, told.n_texts))
    }

    fn identity(&self) -> Value {
        json!(self.config)
    }
}

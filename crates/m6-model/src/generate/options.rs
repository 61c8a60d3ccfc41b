//! How to write: options and their checks.

use super::Prompt;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How words are chosen; the default is greedy, up to 64 words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerateOptions {
    /// New words at most; the model's `max_len` limits as well. Default 64.
    pub max_tokens: usize,
    /// New words at least: the end token is not chosen before. Default 0.
    pub min_tokens: usize,
    /// Divides the logits before sampling; 0 (default) takes the likeliest word.
    pub temperature: f64,
    /// Sample from this many likeliest words only; 0 (default) means all.
    pub top_k: usize,
    /// Sample from the fewest likeliest words whose probabilities reach this share, in (0, 1]. Default 1.
    pub top_p: f64,
    /// Hypotheses of beam search; 1 (default) means none.
    pub beams: usize,
    /// A finished hypothesis scores `logprob / length^length_penalty`; above 0 favours longer ones. Default 1.
    pub length_penalty: f64,
    /// No sequence of so many words appears twice in the target; 0 (default) means no such rule.
    pub no_repeat_ngram: usize,
    /// Seed of sampling.
    pub seed: u64,
    /// Stream of each prompt under the seed; empty means 0 for all. Equal prompts draw alike unless their streams
    /// differ, so that what a prompt gives never depends on its neighbours.
    pub streams: Vec<u64>,
    /// The begin token. Default 2, `[CLS]` of our own tokenizers; take it from the tokenizer.
    pub bos: u32,
    /// The end token. Default 3, `[SEP]` of our own tokenizers; take it from the tokenizer.
    pub eos: u32,
    /// Words never to write.
    pub banned: Vec<u32>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            max_tokens: 64,
            min_tokens: 0,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            beams: 1,
            length_penalty: 1.0,
            no_repeat_ngram: 0,
            seed: 0,
            streams: Vec::new(),
            bos: 2,
            eos: 3,
            banned: Vec::new(),
        }
    }
}

impl GenerateOptions {
    /// Names every option that cannot be followed by a model of `cfg` with `n_prompts` prompts.
    pub(crate) fn check(&self, cfg: &ModelConfig, n_prompts: usize) -> Result<()> {
        let mut bad = Vec::new();
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            bad.push(format!(
                "temperature = {} must be 0 or more",
                self.temperature
            ));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            bad.push(format!(
                "top_p = {} must be above 0 and at most 1",
                self.top_p
            ));
        }
        if self.beams == 0 || self.beams > 1024 {
            bad.push(format!("beams = {} must be between 1 and 1024", self.beams));
        }
        if self.beams > 1 && self.temperature > 0.0 {
            bad.push(format!(
                "beams = {} searches and does not sample; set temperature = 0",
                self.beams
            ));
        }
        if self.min_tokens > self.max_tokens {
            bad.push(format!(
                "min_tokens = {} exceeds max_tokens = {}",
                self.min_tokens, self.max_tokens
            ));
        }
        if !self.length_penalty.is_finite() {
            bad.push(format!(
                "length_penalty = {} must be a number",
                self.length_penalty
            ));
        }
        if !self.streams.is_empty() && self.streams.len() != n_prompts {
            bad.push(format!(
                "{} streams for {n_prompts} prompts; give one each or none",
                self.streams.len()
            ));
        }
        for (name, id) in [("bos", self.bos), ("eos", self.eos)] {
            if id as usize >= cfg.vocab_size {
                bad.push(format!(
                    "{name} = {id} must be below the vocabulary's {}",
                    cfg.vocab_size
                ));
            }
        }
        match bad.is_empty() {
            true => Ok(()),
            false => Err(Error::Options(bad.join("; "))),
        }
    }

    /// New words this prompt may get: positions end at `max_len`, and the last word needs none of its own.
    pub(crate) fn limit(&self, cfg: &ModelConfig, prompt: &Prompt) -> usize {
        self.max_tokens
            .min(cfg.max_len.saturating_sub(prompt.target.len()))
    }
}

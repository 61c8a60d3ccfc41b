//! What to draw and how: prompts, options and their checks.

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::model::Model;
use serde::{Deserialize, Serialize};

/// A picture to draw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrawPrompt {
    /// What it shall show.
    pub text: Vec<u32>,
    /// Codes of a whole picture of which the finer ones are drawn (super-resolution as a second stage; CogView); empty (default) draws
    /// codes of the model's own grid.
    pub coarse: Vec<u32>,
    /// Codes that are given, by place; empty when none is.
    pub given: Vec<Option<u32>>,
}

/// How codes are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrawMethod {
    /// One after the other in raster order (paper section 4.1). A given code is seen by those behind it alone.
    #[default]
    Ar,
    /// All places at once, the surest first, in a few steps (Chang and others; M6-UFC). Every given code is seen by all.
    Parallel,
}

/// How to draw; the default is the likeliest code without guidance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrawOptions {
    /// One after the other, or in parallel.
    pub method: DrawMethod,
    /// How far the logits move from those without text; 1 (default) is no guidance.
    pub guidance: f64,
    /// Share of the codes that are drawn with guidance, from the first on. Default 1.
    pub guidance_until: f64,
    /// Divides the logits before sampling; 0 (default) takes the likeliest code.
    pub temperature: f64,
    /// Sample from this many likeliest codes only; 0 (default) means all.
    pub top_k: usize,
    /// Sample from the fewest likeliest codes whose probabilities reach this share, in (0, 1]. Default 1.
    pub top_p: f64,
    /// Steps of parallel decoding. Default 12.
    pub steps: usize,
    /// Scale of the noise under which parallel decoding calls a code sure, fading to 0. Default 4 (MaskGIT 4.5).
    pub choice_temperature: f64,
    /// Seed of sampling.
    pub seed: u64,
    /// Stream of each prompt under the seed; empty means 0 for all.
    pub streams: Vec<u64>,
}

impl Default for DrawOptions {
    fn default() -> Self {
        Self {
            method: DrawMethod::Ar,
            guidance: 1.0,
            guidance_until: 1.0,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            steps: 12,
            choice_temperature: 4.0,
            seed: 0,
            streams: Vec::new(),
        }
    }
}

/// Names every option that cannot be followed, or the first prompt that does not fit the model.
pub(super) fn check(model: &Model, prompts: &[DrawPrompt], options: &DrawOptions) -> Result<()> {
    let cfg = model.config();
    if cfg.codes.is_none() {
        let what = "the model has no image codes; it was pretrained without a VQGAN";
        return Err(Error::Input(what.into()));
    }
    let mut bad = Vec::new();
    for (name, x, low, high) in [
        ("guidance", options.guidance, 0.0, 100.0),
        ("guidance_until", options.guidance_until, 0.0, 1.0),
        ("temperature", options.temperature, 0.0, 1e6),
        ("top_p", options.top_p, f64::MIN_POSITIVE, 1.0),
        ("choice_temperature", options.choice_temperature, 0.0, 1e6),
    ] {
        if !(low..=high).contains(&x) {
            bad.push(format!("{name} = {x} must be from {low} to {high}"));
        }
    }
    if !(1..=1024).contains(&options.steps) {
        bad.push(format!("steps = {} must be from 1 to 1024", options.steps));
    }
    if !options.streams.is_empty() && options.streams.len() != prompts.len() {
        bad.push(format!(
            "{} streams for {} prompts; give one each or none",
            options.streams.len(),
            prompts.len()
        ));
    }
    if !bad.is_empty() {
        return Err(Error::Options(bad.join("; ")));
    }
    prompts
        .iter()
        .enumerate()
        .try_for_each(|(i, prompt)| check_prompt(cfg, i, prompt, is_fine(prompts)))
}

/// Whether finer codes are drawn.
pub(super) fn is_fine(prompts: &[DrawPrompt]) -> bool {
    prompts.iter().any(|prompt| !prompt.coarse.is_empty())
}

fn check_prompt(cfg: &ModelConfig, i: usize, prompt: &DrawPrompt, fine: bool) -> Result<()> {
    let codes = &cfg.codes;
    if fine && !codes.has_fine() {
        let what = "the model has no finer codes; it was pretrained on data without them";
        return Err(Error::Input(what.into()));
    }
    let beyond = |code: u32| code as usize >= codes.codebook_size;
    if fine && (prompt.coarse.len() != codes.n_codes() || prompt.coarse.iter().any(|c| beyond(*c)))
    {
        return Err(Error::Input(format!(
            "prompt {i} has {} codes to draw finer ones of; they must be the {} of a whole picture, below {}",
            prompt.coarse.len(),
            codes.n_codes(),
            codes.codebook_size
        )));
    }
    let n_codes = if fine {
        codes.n_fine()
    } else {
        codes.n_codes()
    };
    let n = prompt.given.len();
    if (n != 0 && n != n_codes) || prompt.given.iter().flatten().any(|c| beyond(*c)) {
        return Err(Error::Input(format!(
            "prompt {i} gives {n} codes for a picture of {n_codes} from a codebook of {}",
            codes.codebook_size
        )));
    }
    let strange = prompt
        .text
        .iter()
        .find(|id| **id as usize >= cfg.vocab_size);
    if let Some(id) = strange {
        return Err(Error::Input(format!(
            "prompt {i} holds word {id}, which must be below the vocabulary's {}",
            cfg.vocab_size
        )));
    }
    if prompt.text.len() > cfg.max_len {
        return Err(Error::Input(format!(
            "prompt {i} has {} words; max_len is {}",
            prompt.text.len(),
            cfg.max_len
        )));
    }
    Ok(())
}

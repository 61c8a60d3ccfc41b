//! Writing text: greedy, sampled or by beam search, many prompts at once.
//!
//! Every prompt is read alone, several at the same time (one that equals its neighbour is not read again); then each step computes the
//! next token of all prompts together with kernels whose rows do not
//! depend on each other. So a prompt gives, bit for bit, what it gives alone. Against the training path (other kernels, other
//! order of sums) logits agree to 1e-4 relative; a test holds this.

mod beam;
mod decoder;
mod draw;
mod draw_options;
mod greedy;
mod options;
mod pick;
pub mod rules;
mod score;
#[cfg(test)]
mod tests;

pub use draw::{Drawn, draw};
pub use draw_options::{DrawMethod, DrawOptions, DrawPrompt};
pub use options::GenerateOptions;
pub use score::{score_target, score_targets};

use crate::error::{Error, Result};
use crate::model::Model;
use decoder::{Decoder, Lane};
use m6_nn::threads::on_pool;
use m6_store::rng::Key;
use pick::Picker;
use rayon::prelude::*;
use rules::{Rule, Text};

/// What to continue: pictures, source text and the target so far; each may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Pixels of any number of pictures, 3 x side x side bytes each, channels first.
    pub pictures: Vec<u8>,
    /// Image codes of a picture that are read; the mask where one is hidden.
    pub codes: Vec<u32>,
    /// Source text (Tm).
    pub source: Vec<u32>,
    /// Target text so far (Td), without the begin token.
    pub target: Vec<u32>,
}

/// What a prompt gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Generated {
    /// New words, without begin and end tokens.
    pub ids: Vec<u32>,
    /// Log probability in nats of `ids` (and of the end token when `finished`) under the model itself, before
    /// temperature, bans and cuts.
    pub logprob: f64,
    /// Whether the end token was chosen; false when a limit or the caller stopped it.
    pub finished: bool,
}

/// One prompt being continued, by one token at a time.
struct Run {
    lane: Lane,
    logits: Vec<f32>,
    /// Target so far with what was added.
    text: Vec<u32>,
    limit: usize,
    key: Key,
    out: Generated,
    open: bool,
}

/// Continues every prompt; `on_token(prompt, id)` hears each new word and may stop its prompt by returning false.
///
/// With beam search the words of a prompt come all at once, when its text is decided; stopping then only ends the report.
/// The begin token and the end token are
/// never reported. No prompt grows beyond the model's `max_len`.
///
/// # Errors
/// [`Error::Options`] for options that cannot be followed, [`Error::Input`] for a prompt
/// that does not fit the model.
pub fn generate(
    model: &Model,
    prompts: &[Prompt],
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(usize, u32) -> bool,
) -> Result<Vec<Generated>> {
    generate_with(model, prompts, &[], options, on_token)
}

/// [`generate()`] under a rule for each prompt; no rules at all leave every prompt free.
///
/// # Errors
/// Those of [`generate()`]; [`Error::Options`] when there are rules, but not one for each prompt.
pub fn generate_with(
    model: &Model,
    prompts: &[Prompt],
    rules: &[&dyn Rule],
    options: &GenerateOptions,
    on_token: &mut dyn FnMut(usize, u32) -> bool,
) -> Result<Vec<Generated>> {
    options.check(model.config(), prompts.len())?;
    if !rules.is_empty() && rules.len() != prompts.len() {
        return Err(Error::Options(format!(
            "{} rules for {} prompts; give one each or none",
            rules.len(),
            prompts.len()
        )));
    }
    let decoder = Decoder::new(model);
    if options.beams > 1 {
        return beam::search(&decoder, prompts, rules, options, on_token);
    }
    let picker = Picker::new(options, model.config().vocab_size);
    let mut runs = Vec::with_capacity(prompts.len());
    for (i, read) in read_all(&decoder, prompts, options)?
        .into_iter()
        .enumerate()
    {
        let limit = options.limit(decoder.config(), &prompts[i]);
        runs.push(Run::start(read, &prompts[i], options, limit, i));
    }
    if let [run] = runs.as_slice()
        && greedy::serves(options, run.limit)
    {
        let written = runs.into_iter().map(|run| {
            let on_token = &mut |id| on_token(0, id);
            greedy::write(
                &decoder,
                &picker,
                options,
                run,
                rules.first().copied(),
                on_token,
            )
        });
        return written.collect();
    }
    loop {
        for (i, run) in runs.iter_mut().enumerate().filter(|(_, run)| run.open) {
            run.extend(&picker, rules.get(i).copied(), options, &mut |id| {
                on_token(i, id)
            });
        }
        let mut live: Vec<&mut Run> = runs.iter_mut().filter(|run| run.open).collect();
        if live.is_empty() {
            return Ok(runs.into_iter().map(|run| run.out).collect());
        }
        let tokens: Vec<u32> = live
            .iter()
            .filter_map(|run| run.text.last().copied())
            .collect();
        let mut lanes: Vec<&mut Lane> = live.iter_mut().map(|run| &mut run.lane).collect();
        let logits = decoder.step(&mut lanes, &tokens)?;
        for (run, logits) in live
            .iter_mut()
            .zip(logits.chunks_exact(decoder.vocab_size()))
        {
            run.logits.copy_from_slice(logits);
        }
    }
}

/// A prompt as it was read: its lane, and the logits of the first new word.
type Read = (Lane, Vec<f32>);

/// Reads every prompt, side by side; equal neighbours are read once.
fn read_all(
    decoder: &Decoder<'_>,
    prompts: &[Prompt],
    options: &GenerateOptions,
) -> Result<Vec<Read>> {
    let runs: Vec<&[Prompt]> = prompts.chunk_by(|a, b| a == b).collect();
    let read = |run: &&[Prompt]| {
        let words = with_begin(options.bos, &run[0].target);
        let limit = options.limit(decoder.config(), &run[0]);
        decoder.prefill(&run[0], &words, limit, 1)
    };
    let read: Vec<Result<Read>> = on_pool(|| runs.par_iter().map(read).collect());
    let mut all = Vec::with_capacity(prompts.len());
    for (run, read) in runs.iter().zip(read) {
        all.extend(std::iter::repeat_n(read?, run.len()));
    }
    Ok(all)
}

impl Run {
    fn start(
        (lane, logits): Read,
        prompt: &Prompt,
        options: &GenerateOptions,
        limit: usize,
        index: usize,
    ) -> Self {
        let stream = options.streams.get(index).copied().unwrap_or(0);
        Self {
            lane,
            logits,
            text: prompt.target.clone(),
            limit,
            key: Key::new(options.seed).child("generate").at(stream),
            out: Generated::default(),
            open: limit > 0,
        }
    }

    /// Chooses the next token from the logits and takes it.
    fn extend(
        &mut self,
        picker: &Picker,
        rule: Option<&dyn Rule>,
        options: &GenerateOptions,
        on_token: &mut dyn FnMut(u32) -> bool,
    ) {
        let mut stream = self.key.at(self.out.ids.len() as u64).stream();
        let allowed = picker.allowed(self.text(), rule);
        let Some((id, logprob)) = picker.pick(&self.logits, &allowed, &mut stream) else {
            self.open = false;
            return;
        };
        self.out.logprob += logprob;
        self.take(id, options, on_token);
    }

    fn text(&self) -> Text<'_> {
        Text {
            ids: &self.text,
            n_given: self.text.len() - self.out.ids.len(),
        }
    }

    /// Adds a chosen token; closes the run at the end token, at the limit or when told to.
    fn take(&mut self, id: u32, options: &GenerateOptions, on_token: &mut dyn FnMut(u32) -> bool) {
        if id == options.eos {
            self.out.finished = true;
            self.open = false;
            return;
        }
        self.out.ids.push(id);
        self.text.push(id);
        self.open = on_token(id) && self.out.ids.len() < self.limit;
    }
}

fn with_begin(bos: u32, target: &[u32]) -> Vec<u32> {
    let mut words = Vec::with_capacity(target.len() + 1);
    words.push(bos);
    words.extend_from_slice(target);
    words
}

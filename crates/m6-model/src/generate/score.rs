//! How likely given texts are: one after its prompt, or many after one and the same prompt.

use super::decoder::{Decoder, Lane, Row, split_qkv};
use super::pick::log_sum_exp;
use super::{Prompt, with_begin};
use crate::error::{Error, Result};
use crate::input::SEGMENT_TARGET;
use crate::model::Model;
use m6_nn::infer;
use m6_nn::threads::on_pool;
use rayon::prelude::*;

/// Rows of targets that are worked on at once; their logits over the whole vocabulary are held.
const N_ROWS: usize = 256;

/// Log probability in nats, summed in f64, of `target` after `prompt`; add the end token to `target` to score it too.
///
/// # Errors
/// [`Error::Input`] when `target` is empty or the prompt or target does not fit the model.
pub fn score_target(model: &Model, prompt: &Prompt, bos: u32, target: &[u32]) -> Result<f64> {
    let decoder = Decoder::new(model);
    let words = words_of(&decoder, prompt, bos, target)?;
    let (_, logits) = decoder.prefill(prompt, &words, 0, target.len())?;
    let rows = logits.chunks_exact(decoder.vocab_size()).zip(target);
    Ok(rows.map(logprob).sum())
}

/// [`score_target`] of each of `targets`, to the bit, with the prompt's pictures, codes and source read only once.
///
/// # Errors
/// [`Error::Input`] when one of `targets` is empty or it or the prompt does not fit the model.
pub fn score_targets(
    model: &Model,
    prompt: &Prompt,
    bos: u32,
    targets: &[Vec<u32>],
) -> Result<Vec<f64>> {
    let decoder = Decoder::new(model);
    let texts = targets
        .iter()
        .map(|target| words_of(&decoder, prompt, bos, target));
    let texts = texts.collect::<Result<Vec<_>>>()?;
    let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
    let (mut lane, _) = decoder.prefill(prompt, &[], longest, 0)?;
    let mut scores = Vec::with_capacity(targets.len());
    while scores.len() < targets.len() {
        let first = scores.len();
        let mut n_rows = 0;
        let fits = |text: &&Vec<u32>| {
            n_rows += text.len();
            n_rows <= N_ROWS
        };
        let n = texts[first..].iter().take_while(fits).count().max(1);
        let part = first..first + n;
        let logprobs = on_pool(|| {
            let rows = read_targets(&decoder, &mut lane, &texts[part.clone()])?;
            score_rows(
                &decoder,
                &rows,
                &texts[part.clone()],
                &targets[part.clone()],
            )
        })?;
        scores.extend(logprobs);
    }
    Ok(scores)
}

/// What is read to score `target`: the begin token, the prompt's own target, and `target` but for its last word.
fn words_of(decoder: &Decoder<'_>, prompt: &Prompt, bos: u32, target: &[u32]) -> Result<Vec<u32>> {
    let vocab_size = decoder.vocab_size();
    let Some((_, inputs)) = target.split_last() else {
        return Err(Error::Input("there is no target to score".into()));
    };
    if let Some(id) = target.iter().find(|&&id| id as usize >= vocab_size) {
        return Err(Error::Input(format!(
            "word {id} to score must be below {vocab_size}"
        )));
    }
    let mut words = with_begin(bos, &prompt.target);
    words.extend_from_slice(inputs);
    decoder.check_words("target", &words)?;
    Ok(words)
}

/// Rows `[n, d]` of `texts`, one text behind the other, each as if it alone stood after the prefix in `lane`; `lane` stays as it was.
fn read_targets(decoder: &Decoder<'_>, lane: &mut Lane, texts: &[Vec<u32>]) -> Result<Vec<f32>> {
    let d = decoder.config().d_model;
    let row = |(i, &id): (usize, &u32)| Row {
        token: Some(id),
        position: i as u32,
        segment: SEGMENT_TARGET,
    };
    let rows: Vec<Row> = texts
        .iter()
        .flat_map(|words| words.iter().enumerate().map(row))
        .collect();
    let cache = &mut lane.cache;
    let x = decoder.blocks(decoder.embed(&rows)?, |layer, n_heads, qkv, out| {
        let n_prefix = cache.len(layer);
        let (mut qkv, mut out) = (qkv, out);
        for words in texts {
            let (own, behind) = qkv.split_at(3 * d * words.len());
            let (own_out, out_behind) = out.split_at_mut(d * words.len());
            let [q, k, v] = split_qkv(own, d);
            let visible: Vec<usize> = (1..=words.len()).map(|i| n_prefix + i).collect();
            cache.push(layer, &k, &v)?;
            infer::attend_rows(&q, n_heads, cache, layer, &visible, own_out)?;
            cache.truncate(n_prefix);
            (qkv, out) = (behind, out_behind);
        }
        Ok(())
    })?;
    decoder.final_norm(&x)
}

/// Log probability of every target after the final rows of its text; of a text's rows only the last `target.len()` tell one of its words.
fn score_rows(
    decoder: &Decoder<'_>,
    rows: &[f32],
    texts: &[Vec<u32>],
    targets: &[Vec<u32>],
) -> Result<Vec<f64>> {
    let d = decoder.config().d_model;
    let mut telling = Vec::with_capacity(rows.len());
    let mut at = 0;
    for (words, target) in texts.iter().zip(targets) {
        at += words.len();
        telling.extend_from_slice(&rows[(at - target.len()) * d..at * d]);
    }
    let logits = decoder.head_rows(&telling)?;
    let wanted: Vec<u32> = targets.concat();
    let each: Vec<f64> = logits
        .par_chunks_exact(decoder.vocab_size())
        .zip(&wanted)
        .map(logprob)
        .collect();
    let mut behind = each.as_slice();
    let sum = |target: &Vec<u32>| {
        let (own, rest) = behind.split_at(target.len());
        behind = rest;
        own.iter().sum()
    };
    Ok(targets.iter().map(sum).collect())
}

fn logprob((logits, &id): (&[f32], &u32)) -> f64 {
    f64::from(logits[id as usize]) - log_sum_exp(logits)
}

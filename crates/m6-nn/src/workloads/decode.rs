//! Greedy generation with a cache of keys and values, one token at a time.

use super::lm::{D_FF, D_MODEL, EPS, MAX_LEN, N_HEADS, N_LAYERS, VOCAB_SIZE, open};
use super::{Timing, Weights, timed};
use crate::error::{Error, Result};
use crate::infer::{KvCache, attend_rows, layer_norm_rows, linear_rows};
use crate::ops::Act;
use crate::param::Params;
use crate::{glue, real};

/// Tokens of the prompt, read before the clock starts.
const PROMPT: usize = 64;

/// Generates `n_tokens` tokens after a prompt of 64 with the model of [`super::train`]; `ms` is the time of each token and `loss` ends
/// with the sum of the ids of all tokens, the one after the prompt included.
///
/// # Errors
/// When the weights cannot be read, or prompt and tokens exceed the model's 512 positions.
pub fn decode(weights: &Weights, n_tokens: usize) -> Result<Timing> {
    if PROMPT + n_tokens > MAX_LEN {
        let what =
            format!("{n_tokens} tokens after a prompt of {PROMPT} exceed {MAX_LEN} positions");
        return Err(Error::Value { op: "decode", what });
    }
    let (params, tokens) = open(weights)?;
    let model = Decoder { params };
    let mut cache = KvCache::new(N_LAYERS, D_MODEL, MAX_LEN);
    let mut next = model.next(&tokens[..PROMPT], &mut cache)?;
    let mut sum = f64::from(next);
    let mut timing = timed(n_tokens, || {
        next = model.next(&[next], &mut cache)?;
        sum += f64::from(next);
        Ok(sum)
    })?;
    if timing.loss.is_empty() {
        timing.loss.push(sum);
    }
    Ok(timing)
}

struct Decoder {
    params: Params,
}

impl Decoder {
    /// Lets `f` read a weight.
    fn with<R>(&self, name: &str, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
        let param = self
            .params
            .get(name)
            .expect("every name in this file is in the table of lm.rs");
        Ok(f(&glue::view::<f32>(param.var())?))
    }

    /// `act(x w^T + b)` of rows `x` `[n, k]` with the weights under `name`.
    fn linear(&self, name: &str, x: &[f32], k: usize, c_out: usize, act: Act) -> Result<Vec<f32>> {
        let n = x.len() / k;
        let mut y = vec![0.0; n * c_out];
        self.with(&format!("{name}.w"), |w| {
            self.with(&format!("{name}.b"), |b| {
                linear_rows(x, n, k, w, Some(b), act, &mut y)
            })
        })??;
        Ok(y)
    }

    fn norm(&self, name: &str, x: &[f32]) -> Result<Vec<f32>> {
        let mut y = vec![0.0; x.len()];
        self.with(&format!("{name}.w"), |w| {
            self.with(&format!("{name}.b"), |b| {
                layer_norm_rows(x, w, b, EPS as f32, &mut y)
            })
        })??;
        Ok(y)
    }

    /// The most probable token after `tokens`, which continue what the cache holds.
    fn next(&self, tokens: &[u32], cache: &mut KvCache) -> Result<u32> {
        let d = D_MODEL;
        let held = cache.len(0);
        let mut x = self.embed(tokens, held)?;
        let visible: Vec<usize> = (held + 1..=held + tokens.len()).collect();
        for i in 0..N_LAYERS {
            let qkv = self.linear(
                &format!("l{i}.qkv"),
                &self.norm(&format!("l{i}.ln1"), &x)?,
                d,
                3 * d,
                Act::None,
            )?;
            let mut queries = Vec::with_capacity(x.len());
            for row in qkv.chunks_exact(3 * d) {
                queries.extend_from_slice(&row[..d]);
                cache.push(i, &row[d..2 * d], &row[2 * d..])?;
            }
            let mut h = vec![0.0; x.len()];
            attend_rows(&queries, N_HEADS, cache, i, &visible, &mut h)?;
            real::add_into(
                &mut x,
                &self.linear(&format!("l{i}.o"), &h, d, d, Act::None)?,
            );
            let h = self.linear(
                &format!("l{i}.fc1"),
                &self.norm(&format!("l{i}.ln2"), &x)?,
                d,
                D_FF,
                Act::Gelu,
            )?;
            real::add_into(
                &mut x,
                &self.linear(&format!("l{i}.fc2"), &h, D_FF, d, Act::None)?,
            );
        }
        let last = self.norm("lnf", &x[x.len() - d..])?;
        let mut logits = vec![0.0; VOCAB_SIZE];
        self.with("head", |w| {
            linear_rows(&last, 1, d, w, None, Act::None, &mut logits)
        })?;
        let largest = real::max(&logits);
        let id = logits.iter().position(|&x| x == largest);
        Ok(id.unwrap_or(0) as u32)
    }

    /// Sum of token and position rows for tokens at positions `from..`.
    fn embed(&self, tokens: &[u32], from: usize) -> Result<Vec<f32>> {
        let d = D_MODEL;
        let mut x = vec![0.0; tokens.len() * d];
        self.with("tok_emb", |table| {
            for (x, token) in x.chunks_exact_mut(d).zip(tokens) {
                x.copy_from_slice(&table[*token as usize * d..][..d]);
            }
        })?;
        self.with("pos_emb", |table| {
            real::add_into(&mut x, &table[from * d..][..tokens.len() * d])
        })?;
        Ok(x)
    }
}

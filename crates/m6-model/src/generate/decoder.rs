//! The model on plain slices with a cache of keys and values.
//!
//! Row `i` of every result depends on row `i` of the operands alone, in fixed order, whatever else is in the call.
//! Shapes: n rows, d model, f feed-forward, v vocabulary.

use super::Prompt;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::experts::FeedForward;
use crate::input::{
    SEGMENT_CODE_READ, SEGMENT_CODE_WRITTEN, SEGMENT_FINE_WRITTEN, SEGMENT_PICTURE, SEGMENT_SOURCE,
    SEGMENT_TARGET, is_code,
};
use crate::model::Model;
use crate::params::{Linear, Norm};
use crate::transformer::Block;
use m6_nn::glue::view;
use m6_nn::infer::{self, KvCache, LargestInner};
use m6_nn::ops::Act;
use m6_nn::threads::on_pool;
use m6_nn::{Param, Tensor};
use rayon::prelude::*;

/// One sequence being written: its keys and values, and how many target words they hold.
#[derive(Clone)]
pub(super) struct Lane {
    pub cache: KvCache,
    n_target: usize,
}

/// Runs a model row by row.
pub(super) struct Decoder<'m> {
    model: &'m Model,
}

/// Word or code, position and segment of one row; the first is absent for a patch.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub token: Option<u32>,
    pub position: u32,
    pub segment: u32,
}

/// What a target holds, and so which table its rows are of and which head continues it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    Words,
    Codes,
    /// Finer codes of the picture whose codes are read.
    Fine,
}

impl Writes {
    fn segment(self) -> u32 {
        match self {
            Writes::Words => SEGMENT_TARGET,
            Writes::Codes => SEGMENT_CODE_WRITTEN,
            Writes::Fine => SEGMENT_FINE_WRITTEN,
        }
    }
}

impl<'m> Decoder<'m> {
    pub fn new(model: &'m Model) -> Self {
        Self { model }
    }

    pub fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    pub fn vocab_size(&self) -> usize {
        self.config().vocab_size
    }

    /// Reads a prompt whose target is `words` (begin token first), with room for `n_more` words; gives the logits
    /// `[n_logits, v]` after the last `n_logits` of them.
    pub fn prefill(
        &self,
        prompt: &Prompt,
        words: &[u32],
        n_more: usize,
        n_logits: usize,
    ) -> Result<(Lane, Vec<f32>)> {
        self.read(Writes::Words, prompt, words, n_more, n_logits)
    }

    /// [`Decoder::prefill`] with a target of words or of codes.
    pub fn read(
        &self,
        writes: Writes,
        prompt: &Prompt,
        words: &[u32],
        n_more: usize,
        n_logits: usize,
    ) -> Result<(Lane, Vec<f32>)> {
        let patches = self.patch_rows(&prompt.pictures)?;
        let d = self.config().d_model;
        let rows = self.prompt_rows(writes, prompt, patches.len() / d, words)?;
        let n_prefix = rows.len() - words.len();
        let mut x = self.embed(&rows)?;
        for (x, patch) in x.iter_mut().zip(&patches) {
            *x += patch;
        }
        // A prefix row sees the prefix; a target row sees everything up to itself.
        let visible: Vec<usize> = (0..rows.len()).map(|i| n_prefix.max(i + 1)).collect();
        let mut cache = KvCache::new(self.config().n_layers, d, rows.len() + n_more);
        let x = self.blocks(x, |layer, n_heads, qkv, out| {
            let [q, k, v] = split_qkv(qkv, d);
            cache.push(layer, &k, &v)?;
            Ok(infer::attend_rows(
                &q, n_heads, &cache, layer, &visible, out,
            )?)
        })?;
        let last = norm(&self.model.norm, &x[(rows.len() - n_logits) * d..])?;
        let logits = self.head_of(writes, &last)?;
        Ok((
            Lane {
                cache,
                n_target: words.len(),
            },
            logits,
        ))
    }

    /// Adds one word to each lane; gives the logits `[n_lanes, v]` after it.
    pub fn step(&self, lanes: &mut [&mut Lane], tokens: &[u32]) -> Result<Vec<f32>> {
        self.step_of(Writes::Words, lanes, tokens)
    }

    /// [`Decoder::step`] for words or for codes.
    pub fn step_of(
        &self,
        writes: Writes,
        lanes: &mut [&mut Lane],
        tokens: &[u32],
    ) -> Result<Vec<f32>> {
        on_pool(|| {
            let rows = self.step_on_pool(writes, lanes, tokens)?;
            self.head_of(writes, &rows)
        })
    }

    /// Logits `[n_logits, k]` of the codes at the first `n_logits` of some rows that all see each other.
    pub fn tell_codes(&self, rows: &[Row], n_logits: usize) -> Result<Vec<f32>> {
        on_pool(|| {
            let d = self.config().d_model;
            let mut cache = KvCache::new(self.config().n_layers, d, rows.len());
            let visible = vec![rows.len(); rows.len()];
            let x = self.blocks(self.embed(rows)?, |layer, n_heads, qkv, out| {
                let [q, k, v] = split_qkv(qkv, d);
                cache.push(layer, &k, &v)?;
                Ok(infer::attend_rows(
                    &q, n_heads, &cache, layer, &visible, out,
                )?)
            })?;
            self.head_of(Writes::Codes, &norm(&self.model.norm, &x[..n_logits * d])?)
        })
    }

    fn head_of(&self, writes: Writes, rows: &[f32]) -> Result<Vec<f32>> {
        match (writes, &self.model.embedding.codes) {
            (Writes::Words, _) => self.head_rows(rows),
            (Writes::Codes | Writes::Fine, Some(tables)) => match &tables.own {
                Some(own) => on_pool(|| rows_times(rows, &own.head.tensor(), None, Act::None)),
                // Code logits only where codes belong: probabilities are those among codes.
                None => {
                    let k = self.config().codes.codebook_size;
                    self.head_part(rows, self.vocab_size(), k)
                }
            },
            (Writes::Codes | Writes::Fine, None) => Err(no_codes()),
        }
    }

    /// Adds one word to each lane; gives the final rows `[n_lanes, d]` after it, which the head takes.
    pub fn step_rows(&self, lanes: &mut [&mut Lane], tokens: &[u32]) -> Result<Vec<f32>> {
        on_pool(|| self.step_on_pool(Writes::Words, lanes, tokens))
    }

    /// What [`Decoder::find_likeliest`] searches; valid while the weights stay as they are.
    pub fn head_search(&self) -> Result<LargestInner> {
        let head = self.word_head()?;
        let head = view::<f32>(&head)?;
        Ok(LargestInner::new(&head, self.config().d_model))
    }

    /// The likeliest allowed word after the final row `row` `[d]`, the lower id first among equals.
    pub fn find_likeliest(
        &self,
        search: &LargestInner,
        row: &[f32],
        allowed: impl Fn(u32) -> bool + Sync,
    ) -> Result<Option<u32>> {
        let head = self.word_head()?;
        let head = view::<f32>(&head)?;
        let found = on_pool(|| search.find(&head, row, |id| allowed(id as u32)));
        Ok(found.map(|(id, _)| id as u32))
    }

    /// What the head takes of rows that went through all blocks.
    pub fn final_norm(&self, x: &[f32]) -> Result<Vec<f32>> {
        norm(&self.model.norm, x)
    }

    /// Logits `[n, v]` of final rows `[n, d]`.
    pub fn head_rows(&self, rows: &[f32]) -> Result<Vec<f32>> {
        self.head_part(rows, 0, self.vocab_size())
    }

    /// The rows of the head that are words.
    fn word_head(&self) -> Result<Tensor> {
        let head = self.model.head.tensor();
        let words = head.narrow(0, 0, self.vocab_size());
        Ok(words.map_err(m6_nn::Error::from)?)
    }

    /// Products of final rows with `n` rows of the head, from `first` on.
    fn head_part(&self, rows: &[f32], first: usize, n: usize) -> Result<Vec<f32>> {
        let head = self.model.head.tensor();
        let part = head.narrow(0, first, n).map_err(m6_nn::Error::from)?;
        on_pool(|| rows_times(rows, &part, None, Act::None))
    }

    fn step_on_pool(
        &self,
        writes: Writes,
        lanes: &mut [&mut Lane],
        tokens: &[u32],
    ) -> Result<Vec<f32>> {
        let d = self.config().d_model;
        let mut rows = Vec::with_capacity(lanes.len());
        for (lane, &token) in lanes.iter_mut().zip(tokens) {
            rows.push(Row {
                token: Some(token),
                position: lane.n_target as u32,
                segment: writes.segment(),
            });
            lane.n_target += 1;
        }
        let x = self.embed(&rows)?;
        let x = self.blocks(x, |layer, n_heads, qkv, out| {
            for (lane, qkv) in lanes.iter_mut().zip(qkv.chunks_exact(3 * d)) {
                lane.cache.push(layer, &qkv[d..2 * d], &qkv[2 * d..])?;
            }
            let rows = out
                .par_chunks_mut(d)
                .zip(qkv.par_chunks(3 * d))
                .zip(&*lanes);
            rows.for_each(|((out, qkv), lane)| {
                let (k, v) = (lane.cache.keys(layer), lane.cache.values(layer));
                infer::attend_cached(&qkv[..d], n_heads, k, v, out);
            });
            Ok(())
        })?;
        norm(&self.model.norm, &x)
    }

    /// Patch vectors of the pictures, `[k * p, d]`.
    fn patch_rows(&self, pictures: &[u8]) -> Result<Vec<f32>> {
        let bytes = self.config().patches.picture_bytes();
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        if !pictures.len().is_multiple_of(bytes) {
            return Err(Error::Input(format!(
                "{} bytes of pictures are no multiple of {bytes} (3 x {side} x {side})",
                pictures.len(),
                side = self.config().patches.image_side
            )));
        }
        let patches = m6_nn::no_grad(|| self.model.patches.forward(pictures))?;
        Ok(view::<f32>(&patches)?.to_vec())
    }

    fn prompt_rows(
        &self,
        writes: Writes,
        prompt: &Prompt,
        n_patch_rows: usize,
        words: &[u32],
    ) -> Result<Vec<Row>> {
        let codes = &self.config().codes;
        self.check_codes(&prompt.codes, codes.n_codes())?;
        let written: &[u32] = match writes {
            Writes::Words => words,
            Writes::Codes => {
                self.check_codes(words, codes.n_codes())?;
                &[]
            }
            Writes::Fine => {
                self.check_codes(words, codes.n_fine())?;
                &[]
            }
        };
        self.check_words("source", &prompt.source)?;
        self.check_words("target", written)?;
        let n_patches = self.config().patches.n_patches();
        let patch = |i: usize| Row {
            token: None,
            position: (i % n_patches) as u32,
            segment: SEGMENT_PICTURE,
        };
        let text = |ids: &[u32], segment: u32| {
            let row = |(i, &id): (usize, &u32)| Row {
                token: Some(id),
                position: i as u32,
                segment,
            };
            ids.iter().enumerate().map(row).collect::<Vec<_>>()
        };
        let mut rows: Vec<Row> = (0..n_patch_rows).map(patch).collect();
        rows.extend(text(&prompt.codes, SEGMENT_CODE_READ));
        rows.extend(text(&prompt.source, SEGMENT_SOURCE));
        rows.extend(text(words, writes.segment()));
        Ok(rows)
    }

    /// Words must be of the vocabulary and no more than the model reads.
    pub fn check_words(&self, what: &str, ids: &[u32]) -> Result<()> {
        let (max_len, vocab_size) = (self.config().max_len, self.vocab_size());
        if ids.len() > max_len {
            return Err(Error::Input(format!(
                "a {what} of {} words exceeds max_len = {max_len}",
                ids.len()
            )));
        }
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(Error::Input(format!(
                "{what} word {id} must be below the vocabulary's {vocab_size}"
            )));
        }
        Ok(())
    }

    /// Codes must be of a model that has them, no more than a picture's, and inside the table.
    fn check_codes(&self, ids: &[u32], most: usize) -> Result<()> {
        let codes = &self.config().codes;
        if ids.is_empty() {
            return Ok(());
        }
        if codes.is_none() {
            return Err(no_codes());
        }
        if ids.len() > most || ids.iter().any(|id| *id > codes.mask()) {
            return Err(Error::Input(format!(
                "{} codes up to {} do not fit a picture of {most} codes from a codebook of {}",
                ids.len(),
                ids.iter().max().copied().unwrap_or(0),
                codes.codebook_size
            )));
        }
        Ok(())
    }

    pub fn embed(&self, rows: &[Row]) -> Result<Vec<f32>> {
        let (d, tables) = (self.config().d_model, &self.model.embedding);
        let mut x = vec![0.0; rows.len() * d];
        let add =
            |x: &mut [f32], table: &Param, pick: &dyn Fn(&Row) -> Option<u32>| -> Result<()> {
                let table = table.tensor();
                let table = view::<f32>(&table)?;
                for (x, row) in x.chunks_exact_mut(d).zip(rows) {
                    if let Some(id) = pick(row) {
                        add_to(x, &table[id as usize * d..][..d]);
                    }
                }
                Ok(())
            };
        let word = |row: &Row| row.token.filter(|_| !is_code(row.segment));
        let code = |row: &Row| row.token.filter(|_| is_code(row.segment));
        let (joint, n_words) = (self.config().codes.joint, self.vocab_size() as u32);
        add(&mut x, &tables.tokens, &|row| {
            let behind = || code(row).filter(|_| joint).map(|code| n_words + code);
            word(row).or_else(behind)
        })?;
        add(&mut x, &tables.positions, &|row| {
            word(row).map(|_| row.position)
        })?;
        add(&mut x, &tables.patch_positions, &|row| {
            if row.token.is_none() {
                Some(row.position)
            } else {
                None
            }
        })?;
        add(&mut x, &tables.segments, &|row| {
            (!is_code(row.segment)).then_some(row.segment)
        })?;
        if let Some(codes) = &tables.codes {
            let of = &self.config().codes;
            let place = |row: &Row| code(row).map(|_| of.place(row.segment, row.position));
            if let Some(own) = &codes.own {
                add(&mut x, &own.codes, &code)?;
            }
            add(&mut x, &codes.rows, &|row| place(row).map(|at| at.row))?;
            add(&mut x, &codes.columns, &|row| {
                place(row).map(|at| at.column)
            })?;
            add(&mut x, &codes.segments, &|row| {
                place(row).map(|at| at.segment)
            })?;
            if let Some(fine) = &codes.fine {
                add(&mut x, fine, &|row| place(row).and_then(|at| at.part))?;
            }
        }
        Ok(x)
    }

    /// All blocks over `x` `[n, d]`; `attend(layer, n_heads, qkv, out)` keeps keys and values and fills `out` `[n, d]`.
    pub fn blocks(
        &self,
        mut x: Vec<f32>,
        mut attend: impl FnMut(usize, usize, &[f32], &mut [f32]) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let mut mixed = vec![0.0; x.len()];
        for Block {
            layer,
            n_heads,
            ln1,
            qkv,
            out,
            ln2,
            ffn,
            peers: _,
        } in &self.model.blocks
        {
            attend(
                *layer,
                *n_heads,
                &linear(qkv, &norm(ln1, &x)?, Act::None)?,
                &mut mixed,
            )?;
            add_to(&mut x, &linear(out, &mixed, Act::None)?);
            let h = norm(ln2, &x)?;
            let h = match ffn {
                FeedForward::Dense { up, down } => {
                    linear(down, &linear(up, &h, Act::Gelu)?, Act::None)?
                }
                FeedForward::Experts(experts) => experts.rows(&h)?,
            };
            add_to(&mut x, &h);
        }
        Ok(x)
    }
}

fn no_codes() -> Error {
    Error::Input("the model has no image codes; it was pretrained without a VQGAN".into())
}

fn add_to(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// Rows `[q | k | v]` to three arrays of rows.
pub(super) fn split_qkv(qkv: &[f32], d: usize) -> [Vec<f32>; 3] {
    [0, 1, 2].map(|part| {
        qkv.chunks_exact(3 * d)
            .flat_map(|row| &row[part * d..(part + 1) * d])
            .copied()
            .collect()
    })
}

fn linear(layer: &Linear, x: &[f32], act: Act) -> Result<Vec<f32>> {
    if layer.1.is_some() {
        let what = "the model has adapters; merge them before it writes (Model::merged)";
        return Err(Error::Input(what.into()));
    }
    rows_times(
        x,
        &layer.0.weight.tensor(),
        Some(&layer.0.bias.tensor()),
        act,
    )
}

/// `act(x w^T + b)` for rows of `x`.
fn rows_times(x: &[f32], weight: &Tensor, bias: Option<&Tensor>, act: Act) -> Result<Vec<f32>> {
    let (n_out, n_in) = weight.dims2().map_err(m6_nn::Error::from)?;
    let n = x.len() / n_in;
    let mut out = vec![0.0; n * n_out];
    let bias = bias.map(view::<f32>).transpose()?;
    infer::linear_rows(
        x,
        n,
        n_in,
        &view::<f32>(weight)?,
        bias.as_deref(),
        act,
        &mut out,
    );
    Ok(out)
}

fn norm(norm: &Norm, x: &[f32]) -> Result<Vec<f32>> {
    let (weight, bias) = (norm.pair.weight.tensor(), norm.pair.bias.tensor());
    let mut out = vec![0.0; x.len()];
    infer::layer_norm_rows(
        x,
        &view::<f32>(&weight)?,
        &view::<f32>(&bias)?,
        norm.eps as f32,
        &mut out,
    );
    Ok(out)
}

//! Training of a decoder language model: the weights that [`super::decode`] generates with as well.

use super::{Store, Timing, Weights, timed};
use crate::error::Result;
use crate::ops::{Act, add, attention, embed, head_ce, layer_norm, linear};
use crate::optimizer::{Optimizer, OptimizerConfig};
use crate::param::{Param, Params, backward};
use crate::spans::Spans;
use candle_core::Tensor;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) const N_LAYERS: usize = 6;
pub(super) const D_MODEL: usize = 512;
pub(super) const N_HEADS: usize = 8;
pub(super) const D_FF: usize = 2048;
pub(super) const VOCAB_SIZE: usize = 21128;
pub(super) const MAX_LEN: usize = 512;
pub(super) const EPS: f64 = 1e-5;
pub(super) const N_ROWS: usize = 8;
pub(super) const ROW_LEN: usize = 256;

/// Name, shape and mean of every weight; all have the standard deviation 0.02.
fn table() -> Vec<(String, Vec<usize>, f64)> {
    let (d, ff) = (D_MODEL, D_FF);
    let mut table = vec![
        ("tok_emb".to_owned(), vec![VOCAB_SIZE, d], 0.0),
        ("pos_emb".to_owned(), vec![MAX_LEN, d], 0.0),
        ("head".to_owned(), vec![VOCAB_SIZE, d], 0.0),
        ("lnf.w".to_owned(), vec![d], 1.0),
        ("lnf.b".to_owned(), vec![d], 0.0),
    ];
    for i in 0..N_LAYERS {
        let norms = ["ln1", "ln2"].map(|n| {
            [
                (format!("l{i}.{n}.w"), vec![d], 1.0),
                (format!("l{i}.{n}.b"), vec![d], 0.0),
            ]
        });
        table.extend(norms.into_iter().flatten());
        for (name, c_out, c_in) in [
            ("qkv", 3 * d, d),
            ("o", d, d),
            ("fc1", ff, d),
            ("fc2", d, ff),
        ] {
            table.push((format!("l{i}.{name}.w"), vec![c_out, c_in], 0.0));
            table.push((format!("l{i}.{name}.b"), vec![c_out], 0.0));
        }
    }
    table
}

/// The weights, and token rows of one more than [`ROW_LEN`] ids, flat.
pub(super) fn open(weights: &Weights) -> Result<(Params, Vec<u32>)> {
    let mut store = Store::open(weights, "lm.safetensors")?;
    let mut params = Params::new();
    for (name, shape, mean) in table() {
        let values = store.take(&name, &shape, mean, 0.02)?;
        params.insert(Param::new(name, &values, true)?)?;
    }
    let tokens = store.tokens(VOCAB_SIZE as u32, N_ROWS, ROW_LEN + 1)?;
    Ok((params, tokens))
}

/// `n_iterations` training steps of a pre-norm decoder (6 layers, width 512, 8 heads, 2048 hidden, 21128 tokens, 40.7 M parameters)
/// on 8 rows of 256 tokens with AdamW, always on the same batch.
///
/// # Errors
/// When the weights cannot be read.
pub fn train(weights: &Weights, n_iterations: usize) -> Result<Timing> {
    let (params, tokens) = open(weights)?;
    let shifted = |from: usize| -> Arc<[u32]> {
        tokens
            .chunks_exact(ROW_LEN + 1)
            .flat_map(|row| row[from..from + ROW_LEN].iter().copied())
            .collect()
    };
    let n_tokens = N_ROWS * ROW_LEN;
    let batch = Batch {
        tokens: shifted(0),
        labels: shifted(1),
        positions: (0..n_tokens).map(|i| (i % ROW_LEN) as u32).collect(),
        weights: vec![1.0 / n_tokens as f32; n_tokens].into(),
        spans: Arc::new(Spans::causal(N_ROWS, ROW_LEN)),
    };
    let mut optimizer = Optimizer::new(&params, OptimizerConfig::default(), &BTreeSet::new());
    timed(n_iterations, || {
        params.zero_grads();
        let loss = batch.loss(&params)?;
        backward(&loss, &params)?;
        optimizer.step(&params, 1e-3, 1.0)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    })
}

struct Batch {
    tokens: Arc<[u32]>,
    labels: Arc<[u32]>,
    positions: Arc<[u32]>,
    weights: Arc<[f32]>,
    spans: Arc<Spans>,
}

impl Batch {
    fn loss(&self, params: &Params) -> Result<Tensor> {
        let param = |name: &str| {
            params
                .get(name)
                .expect("every name in this file is in its table")
        };
        let tables = [
            (param("tok_emb"), self.tokens.clone()),
            (param("pos_emb"), self.positions.clone()),
        ];
        let mut x = embed(&tables)?;
        for i in 0..N_LAYERS {
            let part = |name: &str| param(&format!("l{i}.{name}"));
            let h = layer_norm(&x, part("ln1.w"), part("ln1.b"), EPS)?;
            let qkv = linear(&h, part("qkv.w"), Some(part("qkv.b")), Act::None)?;
            let h = attention(&qkv, N_HEADS, &self.spans)?;
            x = add(&x, &linear(&h, part("o.w"), Some(part("o.b")), Act::None)?)?;
            let h = layer_norm(&x, part("ln2.w"), part("ln2.b"), EPS)?;
            let h = linear(&h, part("fc1.w"), Some(part("fc1.b")), Act::Gelu)?;
            x = add(
                &x,
                &linear(&h, part("fc2.w"), Some(part("fc2.b")), Act::None)?,
            )?;
        }
        let x = layer_norm(&x, param("lnf.w"), param("lnf.b"), EPS)?;
        Ok(head_ce(
            &x,
            param("head"),
            None,
            self.labels.clone(),
            self.weights.clone(),
            0.0,
        )?
        .0)
    }
}

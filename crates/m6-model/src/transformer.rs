//! The unified transformer: embedding, blocks, final norm (paper section 2.2 and 2.3).
//!
//! Shape suffixes: n flat tokens of all samples, d model, f feed-forward, v vocabulary, m rows with a loss, p patches.
//! Blocks are pre-norm with exact GELU (the paper leaves both open; as the team's baselines).

use crate::config::{ModelConfig, Room};
use crate::experts::{ExpertLoad, FeedForward, Route};
use crate::input::Layout;
use crate::params::{Linear, Lookup, Norm};
use m6_nn::ops::{self, Act, Peers};
use m6_nn::spans::Spans;
use m6_nn::{Param, Result, Tensor};
use m6_store::rng::mix64;
use std::sync::{Arc, Mutex, PoisonError};

/// Dropout of one forward pass; probability 0 outside training.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dropout {
    pub p: f32,
    pub key: u64,
}

impl Dropout {
    /// Key of one use of dropout: layer 0 is the embedding, block i is layer i + 1.
    fn site(self, layer: usize, site: u64) -> u64 {
        mix64(mix64(self.key, layer as u64), site)
    }
}

/// Stochastic depth of one forward pass (Huang and others 2016; the rates grow linearly with depth, as there): a sample is dropped from a
/// branch of the residual stream as a whole, and kept ones weigh `1 / (1 - rate)`.
pub(crate) struct DropPath {
    /// Rate of the last block, above 0.
    pub p: f32,
    /// Blocks of the model.
    pub n_layers: usize,
    /// The sample of every flat position, `[n]`.
    pub sample_of: Vec<u32>,
}

impl DropPath {
    /// The sample that each flat position is of, by the ranges of a batch.
    pub fn new(p: f32, n_layers: usize, spans: &Spans) -> Self {
        let mut sample_of = vec![0; spans.n_tokens()];
        for (i, sample) in spans.samples().iter().enumerate() {
            for range in std::iter::once(&sample.prefix).chain(&sample.targets) {
                sample_of[range.clone()].fill(i as u32);
            }
        }
        Self {
            p,
            n_layers,
            sample_of,
        }
    }

    /// Factor of every row of a branch of block `layer`, of which `rows` are there (all without).
    fn factors(&self, layer: usize, key: u64, rows: Option<&Arc<[u32]>>) -> Arc<[f32]> {
        let rate = f64::from(self.p) * (layer + 1) as f64 / self.n_layers as f64;
        let factor = |sample: u32| {
            // 53 bits of the hash as a number from 0 to below 1.
            let drawn = (mix64(key, u64::from(sample)) >> 11) as f64 / (1u64 << 53) as f64;
            match drawn < rate {
                true => 0.0,
                false => (1.0 / (1.0 - rate)) as f32,
            }
        };
        match rows {
            None => self
                .sample_of
                .iter()
                .map(|&sample| factor(sample))
                .collect(),
            Some(rows) => rows
                .iter()
                .map(|&row| factor(self.sample_of[row as usize]))
                .collect(),
        }
    }
}

/// What is random in the blocks of one forward pass, and the room that experts have in it.
#[derive(Clone)]
pub(crate) struct Noise {
    pub dropout: Dropout,
    pub path: Option<Arc<DropPath>>,
    pub room: Room,
    /// Whether experts draw and have losses.
    pub train: bool,
}

impl Noise {
    /// How the experts of block `layer` route. Sites of a block: 0 and 1 are those of dropout, 2 and 3 those of stochastic depth.
    fn route(&self, layer: usize) -> Route {
        Route {
            room: self.room,
            key: self.train.then(|| self.dropout.site(layer + 1, 4)),
        }
    }
}

/// What a block gives: the stream, and of experts the weighted loss and the load.
pub(crate) type BlockOutput = (Tensor, Option<Tensor>, Option<ExpertLoad>);

/// Token, text position, patch position and segment tables.
pub(crate) struct Embedding {
    pub tokens: Param,
    pub positions: Param,
    pub patch_positions: Param,
    pub segments: Param,
    pub codes: Option<CodeTables>,
}

/// Places of codes in two dimensions, whether they are read or written, and what they are.
pub(crate) struct CodeTables {
    pub rows: Param,
    pub columns: Param,
    pub segments: Param,
    /// Which of the finer codes of a coarse one; absent in a model without them.
    pub fine: Option<Param>,
    /// Absent in a joint vocabulary, where codes are rows of the word table.
    pub own: Option<OwnCodes>,
}

/// Codes apart from words.
pub(crate) struct OwnCodes {
    pub codes: Param,
    /// Vectors whose inner products with a state tell the next code.
    pub head: Param,
}

impl Embedding {
    pub fn new(cfg: &ModelConfig, params: &Lookup<'_>) -> Result<Self> {
        let codes = match cfg.codes.is_none() {
            true => None,
            false => Some(CodeTables {
                own: match cfg.codes.joint {
                    true => None,
                    false => Some(OwnCodes {
                        codes: params.get("embed.codes")?,
                        head: params.get("code_head.weight")?,
                    }),
                },
                rows: params.get("embed.code_rows")?,
                columns: params.get("embed.code_columns")?,
                segments: params.get("embed.code_segments")?,
                fine: match cfg.codes.has_fine() {
                    true => Some(params.get("embed.code_fine")?),
                    false => None,
                },
            }),
        };
        Ok(Self {
            codes,
            tokens: params.get("embed.tokens")?,
            positions: params.get("embed.positions")?,
            patch_positions: params.get("embed.patch_positions")?,
            segments: params.get("embed.segments")?,
        })
    }

    /// Sum of the tables at every flat position, plus the patch vectors `[p, d]` at theirs: `[n, d]`. The words may be split among `peers`.
    pub fn forward(
        &self,
        layout: &Layout,
        patches_pd: Option<&Tensor>,
        dropout: Dropout,
        peers: Option<&Peers>,
    ) -> Result<Tensor> {
        let mut tables = vec![
            (&self.tokens, layout.tokens.clone()),
            (&self.positions, layout.positions.clone()),
            (&self.patch_positions, layout.patch_positions.clone()),
            (&self.segments, layout.segments.clone()),
        ];
        if let (Some(tables_of_codes), Some(at)) = (&self.codes, &layout.codes) {
            if let Some(own) = &tables_of_codes.own {
                tables.push((&own.codes, at.codes.clone()));
            }
            tables.extend([
                (&tables_of_codes.rows, at.rows.clone()),
                (&tables_of_codes.columns, at.columns.clone()),
                (&tables_of_codes.segments, at.segments.clone()),
            ]);
            if let Some(fine) = &tables_of_codes.fine {
                tables.push((fine, at.parts.clone()));
            }
        }
        let x_nd = match peers.filter(|_| !self.tokens.is_whole()) {
            None => ops::embed(&tables)?,
            Some(peers) => {
                let words_nd =
                    ops::embed(&[(&self.tokens, words_here(&self.tokens, &tables[0].1))])?;
                let words_nd = ops::summed(&words_nd, None, peers)?;
                ops::add(&words_nd, &ops::embed(&tables[1..])?)?
            }
        };
        let x_nd = match patches_pd {
            Some(rows) => ops::scatter_rows(&x_nd, rows, layout.patch_at.clone())?,
            None => x_nd,
        };
        if dropout.p == 0.0 {
            return Ok(x_nd);
        }
        ops::add_dropout(
            &x_nd.zeros_like()?.detach(),
            &x_nd,
            dropout.p,
            dropout.site(0, 0),
        )
    }
}

/// The ids of the words of which this process has the vectors, counted from the first of those; nothing in the place of others.
fn words_here(table: &Param, ids: &[u32]) -> Arc<[u32]> {
    let held = table.held();
    let d = table.shape().last().copied().unwrap_or(1).max(1);
    let first = (held.first() / d) as u32;
    let here = first..first + (held.n_elements() / d) as u32;
    let local = |id: &u32| {
        if here.contains(id) {
            id - first
        } else {
            ops::NONE
        }
    };
    ids.iter().map(local).collect()
}

/// One block: attention and feed-forward, each on its own residual branch.
#[derive(Clone)]
pub(crate) struct Block {
    pub layer: usize,
    pub n_heads: usize,
    pub ln1: Norm,
    pub qkv: Linear,
    pub out: Linear,
    pub ln2: Norm,
    pub ffn: FeedForward,
    /// The ranks that have the matrices among them, where they are split.
    pub peers: Option<Peers>,
}

impl Block {
    pub fn new(cfg: &ModelConfig, layer: usize, params: &Lookup<'_>) -> Result<Self> {
        let at = |part: &str| format!("blocks.{}.{part}", cfg.weights_of(layer));
        Ok(Self {
            layer,
            n_heads: cfg.n_heads,
            ln1: params.norm(&at("ln1"))?,
            qkv: params.linear(&at("attn.qkv"))?,
            out: params.linear(&at("attn.out"))?,
            ln2: params.norm(&at("ln2"))?,
            ffn: FeedForward::new(cfg, layer, params)?,
            peers: None,
        })
    }

    /// `[n, d]` to `[n, d]` under the mask of `spans`, or to `[m, d]` at the rows to `keep`.
    ///
    /// After attention a block works row by row, so rows that nobody reads need not go on: in the last block that is
    /// every patch and every source word, which have no loss.
    pub fn forward(
        &self,
        x_nd: &Tensor,
        spans: &Arc<Spans>,
        keep: Option<&Arc<[u32]>>,
        noise: &Noise,
    ) -> Result<BlockOutput> {
        // With all of the weights here, as a sample is drawn, there is nothing to ask the others for.
        let peers = self.peers.as_ref();
        let peers = peers.filter(|_| !self.qkv.0.weight.is_whole());
        let mut h_nd = self.ln1.forward(x_nd)?;
        if let Some(peers) = peers {
            h_nd = ops::copied(&h_nd, peers)?;
        }
        let qkv_n3d = self.qkv.forward(&h_nd, Act::None)?;
        let (_, width) = qkv_n3d.dims2()?;
        let (_, d) = x_nd.dims2()?;
        let a_nd = ops::attention(&qkv_n3d, self.n_heads * width / (3 * d), spans)?;
        let (x_nd, a_nd) = match keep {
            Some(rows) => (
                ops::select_rows(x_nd, rows.clone())?,
                ops::select_rows(&a_nd, rows.clone())?,
            ),
            None => (x_nd.clone(), a_nd),
        };
        let a_nd = self.out.forward_summed(&a_nd, peers)?;
        let x_nd = self.residual(&x_nd, &a_nd, keep, noise, 0)?;
        let route = noise.route(self.layer);
        let (h_nd, loss, load) = self.ffn.forward(&self.ln2.forward(&x_nd)?, route, peers)?;
        Ok((self.residual(&x_nd, &h_nd, keep, noise, 1)?, loss, load))
    }

    fn residual(
        &self,
        x: &Tensor,
        branch: &Tensor,
        rows: Option<&Arc<[u32]>>,
        noise: &Noise,
        site: u64,
    ) -> Result<Tensor> {
        let dropout = noise.dropout;
        let scaled;
        let branch = match &noise.path {
            None => branch,
            Some(path) => {
                // Sites of a block: 0 and 1 are those of dropout.
                let key = dropout.site(self.layer + 1, 2 + site);
                scaled = ops::scale_rows(branch, path.factors(self.layer, key, rows))?;
                &scaled
            }
        };
        if dropout.p == 0.0 {
            return ops::add(x, branch);
        }
        ops::add_dropout(x, branch, dropout.p, dropout.site(self.layer + 1, site))
    }

    /// As [`Block::forward`], keeping only the input for the backward pass, which runs the block again.
    pub fn forward_checkpointed(
        &self,
        x_nd: &Tensor,
        spans: &Arc<Spans>,
        keep: Option<&Arc<[u32]>>,
        noise: &Noise,
    ) -> Result<BlockOutput> {
        let (block, spans, keep) = (self.clone(), spans.clone(), keep.cloned());
        let noise = noise.clone();
        let (n, d) = x_nd.dims2()?;
        let n = keep.as_ref().map_or(n, |rows| rows.len());
        let has_loss = noise.train && self.ffn.has_loss();
        // The load of the first run; the second one, in the backward pass, finds the same.
        let load: Arc<Mutex<Option<ExpertLoad>>> = Arc::default();
        let seen = load.clone();
        let run = move |x: &Tensor| {
            let (y, loss, load) = block.forward(x, &spans, keep.as_ref(), &noise)?;
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = load;
            match loss {
                // A checkpoint has one result.
                Some(loss) => ops::pack(&y, &loss),
                None => Ok(y),
            }
        };
        let y = ops::checkpoint(x_nd, Box::new(run))?;
        let load = load.lock().unwrap_or_else(PoisonError::into_inner).take();
        if !has_loss {
            return Ok((y, None, load));
        }
        let (y_nd, loss) = ops::unpack(&y, &[n, d])?;
        Ok((y_nd, Some(loss), load))
    }
}

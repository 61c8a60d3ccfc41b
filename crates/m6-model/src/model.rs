//! The whole model: parameters, forward pass, loss.

use crate::config::{ModelConfig, Room};
use crate::error::{Error, Result};
use crate::experts::{ExpertLoad, Routes};
use crate::heads::{Heads, Kinds};
use crate::input::ModelInput;
use crate::params::{self, Lookup, Norm};
use crate::patches::PatchNet;
use crate::split::split_part;
use crate::transformer::{Block, DropPath, Dropout, Embedding, Noise};
use m6_nn::ops::{self, Act, BlockHooks, ExpertPeers, ExpertWeights, Peers};
use m6_nn::{Param, Params, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How a forward pass runs; the default is evaluation.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForwardOptions {
    /// Whether dropout is on.
    pub train: bool,
    /// Key of the dropout masks; the same key gives the same masks.
    pub dropout_key: u64,
    /// Share of the samples dropped from each branch of the last block, in [0, 1), with `train` alone; block `i` of `n` drops
    /// `(i + 1) / n` of it. The same key gives the same samples.
    pub drop_path: f32,
    /// Share of the label's probability spread over all words, in [0, 1); `nll` is never smoothed.
    pub label_smoothing: f32,
    /// Keep only the input of each block and run it again in the backward pass: less memory, bit-equal results.
    pub checkpoint: bool,
    /// What the losses of the experts' own weigh; without it, what the labels weigh together. Labels that weigh less than nothing say nothing
    /// of how much of a batch this is.
    pub aux_share: Option<f64>,
    /// Whether experts have the room of `capacity_factor_eval` outside training, as a held-out loss beside a training loss wants.
    /// Without it no token is dropped there, so that a result does not depend on what else is in the batch.
    pub eval_capacity: bool,
}

impl ForwardOptions {
    fn room(&self) -> Room {
        match (self.train, self.eval_capacity) {
            (true, _) => Room::Train,
            (false, true) => Room::Eval,
            (false, false) => Room::Unlimited,
        }
    }
}

/// What a forward pass with a loss gives.
#[derive(Debug)]
pub struct Output {
    /// Weighted loss, a scalar with its tape. In training the weighted losses of routers are part of it, times the sum of the loss
    /// weights: over the micro-batches of a batch, whose weights add up to 1, they make a mean.
    pub loss: Tensor,
    /// Negative log likelihood of every label in nats, without smoothing.
    pub nll: Vec<f32>,
    /// How the tokens went to experts, one entry a layer that has some.
    pub experts: Vec<ExpertLoad>,
}

/// The unified transformer with its patch network (paper section 2).
pub struct Model {
    cfg: ModelConfig,
    params: Params,
    pub(crate) patches: PatchNet,
    pub(crate) embedding: Embedding,
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm: Norm,
    pub(crate) head: Param,
    pub(crate) heads: Heads,
    hooks: Option<Arc<dyn BlockHooks>>,
    peers: Option<Peers>,
}

impl Model {
    /// Builds a model and draws its weights: normal with 0.02, the last layer of each residual branch scaled by
    /// `1 / sqrt(2 n_layers)`, each keyed by seed and name (so that a wider vocabulary leaves the blocks as they are).
    ///
    /// # Errors
    /// [`Error::Config`] with every problem of `cfg`.
    pub fn new(cfg: &ModelConfig, seed: u64) -> Result<Self> {
        let problems = cfg.validate();
        if !problems.is_empty() {
            return Err(Error::Config(problems));
        }
        Ok(Self::assemble(cfg, params::build(cfg, seed)?)?)
    }

    /// A model of these parameters, which are those of `cfg`.
    pub(crate) fn assemble(cfg: &ModelConfig, params: Params) -> m6_nn::Result<Self> {
        let lookup = Lookup {
            params: &params,
            ln_eps: cfg.ln_eps,
            adapter_scale: cfg.lora.scale(),
        };
        let patches = PatchNet::new(&cfg.patches, &lookup)?;
        let embedding = Embedding::new(cfg, &lookup)?;
        let blocks = (0..cfg.n_layers)
            .map(|i| Block::new(cfg, i, &lookup))
            .collect::<m6_nn::Result<_>>()?;
        let norm = lookup.norm("norm")?;
        let head = if cfg.tie_embeddings {
            embedding.tokens.clone()
        } else {
            lookup.get("head.weight")?
        };
        let heads = Heads::new(cfg, &lookup)?;
        Ok(Self {
            cfg: cfg.clone(),
            patches,
            embedding,
            blocks,
            norm,
            head,
            heads,
            params,
            hooks: None,
            peers: None,
        })
    }

    /// Tells `hooks` from now on when a forward pass enters and leaves each block, and when a backward pass is done with it; no value changes.
    pub fn set_hooks(&mut self, hooks: Arc<dyn BlockHooks>) {
        self.hooks = Some(hooks);
    }

    /// The weights of every layer of experts, by the number of its block.
    pub fn expert_layers(&self) -> BTreeMap<usize, ExpertWeights> {
        let layers = self.blocks.iter().enumerate();
        let layers = layers.filter_map(|(i, block)| Some((i, block.ffn.expert_weights()?.clone())));
        layers.collect()
    }

    /// Lets the experts of every layer be with these ranks, which know them by the numbers of [`Model::expert_layers`].
    pub fn set_expert_peers(&mut self, peers: &Arc<dyn ExpertPeers>) {
        for block in &mut self.blocks {
            block.ffn.set_peers(peers);
        }
    }

    /// Lets these ranks have the matrices among them, each the parts of [`crate::split_part`], which it holds from now on.
    ///
    /// # Errors
    /// Weights that are not `f32` on the CPU.
    pub fn split(&mut self, place: usize, n: usize, peers: &Peers) -> m6_nn::Result<()> {
        for param in self.params.iter() {
            if let Some(part) = split_part(&self.cfg, param.name(), param.shape(), place, n) {
                param.hold(part)?;
            }
        }
        self.peers = Some(peers.clone());
        for block in &mut self.blocks {
            block.peers = Some(peers.clone());
        }
        Ok(())
    }

    /// The block that a parameter of this name belongs to; `None` for tables, patch network, last norm and heads.
    pub fn block_of(name: &str) -> Option<usize> {
        name.strip_prefix("blocks.")?
            .split('.')
            .next()?
            .parse()
            .ok()
    }

    /// The configuration the model was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.cfg
    }

    /// All parameters, in the order of the forward pass; load weights with [`Params::load_safetensors`].
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Names of the weights that map vectors to vectors: those of the patch network, the projection, attention and feed-forward; no
    /// tables, norms and biases.
    pub fn hidden_matrices(&self) -> BTreeSet<String> {
        crate::spec::hidden_matrices(&self.cfg)
    }

    /// Loss of the labels of `input` (paper section 2.2: only target words have one).
    ///
    /// # Errors
    /// [`Error::Input`] when the arrays contradict each other or the model, or when there are no labels.
    pub fn forward(&self, input: &ModelInput<'_>, options: &ForwardOptions) -> Result<Output> {
        let weights = input.loss_weights(&self.cfg)?;
        let (x_md, routes) = self.run_blocks(input, options, Some(input.loss_at.into()), |_| ())?;
        let x_md = self.norm.forward(&x_md)?;
        let sum = || weights.iter().map(|&weight| f64::from(weight)).sum();
        let share: f64 = options.aux_share.unwrap_or_else(sum);
        let (loss, nll) = self.heads_loss(&x_md, input, weights, options)?;
        let loss = match routes.loss {
            None => loss,
            Some(own) => {
                (loss + (own * share).map_err(m6_nn::Error::from)?).map_err(m6_nn::Error::from)?
            }
        };
        Ok(Output {
            loss,
            nll,
            experts: routes.loads,
        })
    }

    /// Loss of the labels by the rows `[m, d]` that have one, each told by its head.
    fn heads_loss(
        &self,
        x_md: &Tensor,
        input: &ModelInput<'_>,
        weights: Vec<f32>,
        options: &ForwardOptions,
    ) -> Result<(Tensor, Vec<f32>)> {
        let smoothing = options.label_smoothing;
        let kinds = Kinds::new(input);
        let tables = self.embedding.codes.as_ref();
        let own = tables.and_then(|tables| tables.own.as_ref());
        let mut labels = input.labels.to_vec();
        let mut words = kinds.words;
        if own.is_none() {
            // In a joint vocabulary codes follow the words, and one head tells both.
            kinds
                .codes
                .iter()
                .for_each(|&i| labels[i] += self.cfg.vocab_size as u32);
            words.extend(&kinds.codes);
            words.sort_unstable();
        }
        if words.len() == labels.len() {
            let (labels, weights) = (labels.into(), weights.into());
            return Ok(self.told(x_md, &self.head, labels, weights, smoothing)?);
        }
        // Each head tells its own rows; the losses of all come back in the order of the labels.
        let mut sum = HeadSum {
            nll: vec![0.0; labels.len()],
            loss: None,
        };
        let told = [
            (Some(&self.head), &words),
            (own.map(|own| &own.head), &kinds.codes),
            (self.heads.matching.as_ref(), &kinds.verdicts),
        ];
        for (head, rows) in told {
            let Some(head) = head.filter(|_| !rows.is_empty()) else {
                continue;
            };
            let labels: Arc<[u32]> = rows.iter().map(|&i| labels[i]).collect();
            let shares: Arc<[f32]> = rows.iter().map(|&i| weights[i]).collect();
            let x = ops::select_rows(x_md, row_ids(rows))?;
            sum.add(rows, self.told(&x, head, labels, shares, smoothing)?)?;
        }
        if let Some(part) = self.heads.contrast(x_md, &kinds.pairs, input, &weights)? {
            let rows = [kinds.pairs.pictures, kinds.pairs.texts].concat();
            sum.add(&rows, part)?;
        }
        let loss = sum.loss;
        let loss = loss.ok_or_else(|| Error::Input("there are no labels".into()))?;
        Ok((loss, sum.nll))
    }

    /// Loss of rows by a head, which may be split.
    fn told(
        &self,
        x_md: &Tensor,
        head: &Param,
        labels: Arc<[u32]>,
        weights: Arc<[f32]>,
        smoothing: f32,
    ) -> m6_nn::Result<(Tensor, Vec<f32>)> {
        match self.peers.as_ref().filter(|_| !head.is_whole()) {
            None => ops::head_ce(x_md, head, None, labels, weights, smoothing),
            Some(peers) => ops::head_ce_split(x_md, head, peers, labels, weights, smoothing),
        }
    }

    /// Vectors after the last norm, `[n, d]`, at every flat position.
    ///
    /// # Errors
    /// [`Error::Input`] when the arrays contradict each other or the model; the loss arrays are not looked at.
    pub fn hidden(&self, input: &ModelInput<'_>, options: &ForwardOptions) -> Result<Tensor> {
        let (x_nd, _) = self.run_blocks(input, options, None, |_| ())?;
        Ok(self.norm.forward(&x_nd)?)
    }

    /// Logits of the next word, `[n, v]`, at every flat position, in a joint vocabulary those of the codes behind them; large, so for
    /// small inputs and tests.
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn logits(&self, input: &ModelInput<'_>, options: &ForwardOptions) -> Result<Tensor> {
        if !self.head.is_whole() {
            return Err(Error::Input(
                "the words of the head are split over ranks".into(),
            ));
        }
        Ok(ops::linear(
            &self.hidden(input, options)?,
            &self.head,
            None,
            Act::None,
        )?)
    }

    /// Features of the patch network before the projection, `[k * p, n_features]`, for `k` pictures as bytes.
    ///
    /// # Errors
    /// [`Error::Input`] when the bytes are no whole number of pictures, or none.
    pub fn patch_features(&self, pictures: &[u8]) -> Result<Tensor> {
        let bytes = self.cfg.patches.picture_bytes();
        if pictures.is_empty() || !pictures.len().is_multiple_of(bytes) {
            return Err(Error::Input(format!(
                "{} bytes are no whole number of pictures of {bytes}",
                pictures.len()
            )));
        }
        Ok(self.patches.features(pictures)?)
    }

    /// The residual stream after each block, `[n, d]`, for comparison with a reference.
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn block_outputs(
        &self,
        input: &ModelInput<'_>,
        options: &ForwardOptions,
    ) -> Result<Vec<Tensor>> {
        let mut outputs = Vec::with_capacity(self.cfg.n_layers);
        self.run_blocks(input, options, None, |x| outputs.push(x.clone()))?;
        Ok(outputs)
    }

    /// Runs every block; the last one keeps only the given rows, when there are some to leave out.
    pub(crate) fn run_blocks(
        &self,
        input: &ModelInput<'_>,
        options: &ForwardOptions,
        keep: Option<Arc<[u32]>>,
        mut after_block: impl FnMut(&Tensor),
    ) -> Result<(Tensor, Routes)> {
        let layout = input.layout(&self.cfg)?;
        let dropout = Dropout {
            p: if options.train { self.cfg.dropout } else { 0.0 },
            key: options.dropout_key,
        };
        let patches_pd = match input.pictures.is_empty() {
            true => None,
            false => Some(self.patches.forward(input.pictures)?),
        };
        let mut x_nd =
            self.embedding
                .forward(&layout, patches_pd.as_ref(), dropout, self.peers.as_ref())?;
        let path = (options.train && options.drop_path > 0.0)
            .then(|| DropPath::new(options.drop_path, self.cfg.n_layers, &layout.spans));
        let noise = Noise {
            dropout,
            path: path.map(Arc::new),
            room: options.room(),
            train: options.train,
        };
        let mut routes = Routes::default();
        for (i, block) in self.blocks.iter().enumerate() {
            let keep = keep.as_ref().filter(|_| i + 1 == self.blocks.len());
            if let Some(hooks) = &self.hooks {
                x_nd = ops::boundary(&x_nd, i, hooks)?;
            }
            let (stream, loss, load) = match options.checkpoint {
                true => block.forward_checkpointed(&x_nd, &layout.spans, keep, &noise)?,
                false => block.forward(&x_nd, &layout.spans, keep, &noise)?,
            };
            if let Some(hooks) = &self.hooks {
                hooks.leave(i)?;
            }
            x_nd = stream;
            routes.add(loss, load)?;
            after_block(&x_nd);
        }
        Ok((x_nd, routes))
    }
}

/// The losses of several heads.
struct HeadSum {
    nll: Vec<f32>,
    loss: Option<Tensor>,
}

impl HeadSum {
    /// Adds the loss of one head, whose rows are these of all.
    fn add(&mut self, rows: &[usize], (part, nll): (Tensor, Vec<f32>)) -> m6_nn::Result<()> {
        for (&i, value) in rows.iter().zip(nll) {
            self.nll[i] = value;
        }
        self.loss = Some(match self.loss.take() {
            Some(loss) => ops::add(&loss, &part)?,
            None => part,
        });
        Ok(())
    }
}

/// Places in a list as the row operators take them.
pub(crate) fn row_ids(rows: &[usize]) -> Arc<[u32]> {
    rows.iter().map(|&i| i as u32).collect()
}

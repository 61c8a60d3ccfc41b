//! The feed-forward part of a block: dense, or a router with experts (paper section 2.5).
//!
//! Shape suffixes: n flat tokens, d model, f feed-forward, e experts, s choices of a token.

use crate::config::{ExpertsConfig, ModelConfig, Room};
use crate::params::{Linear, Lookup};
use m6_nn::infer::{ExpertRows, expert_rows};
use m6_nn::ops::{self, Act, ExpertPeers, ExpertWeights, Peered, Peers};
use m6_nn::{Param, Result, Tensor, glue::view};
use std::sync::Arc;

/// How evenly the tokens of one layer went to its experts.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertLoad {
    /// The block, from 0.
    pub layer: usize,
    /// Choices of each expert, those that found no room included, `[e]`.
    pub load: Vec<u32>,
    /// Choices that found no room.
    pub n_dropped: u64,
    /// Balance loss, unweighted: 1 is even, the number of experts of a prototype the worst.
    pub balance: f64,
    /// Z loss of the router, unweighted.
    pub z: f64,
}

/// What the experts of a forward pass leave beside their output.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    /// Weighted losses of the routers, a scalar on the tape; none where their weights are 0 or the pass is no training.
    pub loss: Option<Tensor>,
    /// One entry a layer with experts.
    pub loads: Vec<ExpertLoad>,
}

impl Routes {
    /// Takes over what a block left.
    pub fn add(&mut self, loss: Option<Tensor>, load: Option<ExpertLoad>) -> Result<()> {
        self.loss = match (self.loss.take(), loss) {
            (Some(sum), Some(loss)) => Some(ops::add(&sum, &loss)?),
            (sum, loss) => sum.or(loss),
        };
        self.loads.extend(load);
        Ok(())
    }
}

/// How the experts of one forward pass route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub room: Room,
    /// Key of what is drawn in this layer; none outside training.
    pub key: Option<u64>,
}

/// The feed-forward part of a block.
#[derive(Clone)]
pub(crate) enum FeedForward {
    Dense { up: Linear, down: Linear },
    Experts(Box<Experts>),
}

/// A router and its experts.
#[derive(Clone)]
pub(crate) struct Experts {
    layer: usize,
    cfg: ExpertsConfig,
    router_ed: Param,
    weights: ExpertWeights,
    /// The ranks that have the experts, where they are spread.
    peers: Option<Peered>,
}

impl FeedForward {
    pub fn new(cfg: &ModelConfig, layer: usize, params: &Lookup<'_>) -> Result<Self> {
        let at = |part: &str| format!("blocks.{}.{part}", cfg.weights_of(layer));
        if !cfg.experts.is_expert_layer(layer) {
            return Ok(Self::Dense {
                up: params.linear(&at("ffn.up"))?,
                down: params.linear(&at("ffn.down"))?,
            });
        }
        Ok(Self::Experts(Box::new(Experts {
            layer,
            cfg: cfg.experts.clone(),
            router_ed: params.get(&at("moe.router.weight"))?,
            weights: ExpertWeights {
                up_efd: params.get(&at("moe.up.weight"))?,
                up_bias_ef: params.get(&at("moe.up.bias"))?,
                down_edf: params.get(&at("moe.down.weight"))?,
                down_bias_ed: params.get(&at("moe.down.bias"))?,
            },
            peers: None,
        })))
    }

    /// The weights of the experts; `None` of a dense layer.
    pub fn expert_weights(&self) -> Option<&ExpertWeights> {
        match self {
            Self::Dense { .. } => None,
            Self::Experts(experts) => Some(&experts.weights),
        }
    }

    /// Lets the experts be with these ranks.
    pub fn set_peers(&mut self, peers: &Arc<dyn ExpertPeers>) {
        if let Self::Experts(experts) = self {
            experts.peers = Some(Peered {
                layer: experts.layer,
                peers: Arc::clone(peers),
            });
        }
    }

    /// Whether the router has a loss in training.
    pub fn has_loss(&self) -> bool {
        match self {
            Self::Dense { .. } => false,
            Self::Experts(experts) => {
                experts.cfg.aux_loss_weight > 0.0 || experts.cfg.z_loss_weight > 0.0
            }
        }
    }

    /// `[n, d]` to `[n, d]`, with the loss and the load of experts where there are some. The matrices of a dense layer may be split among `peers`;
    /// experts are computed by each of those.
    pub fn forward(
        &self,
        x_nd: &Tensor,
        route: Route,
        peers: Option<&Peers>,
    ) -> Result<(Tensor, Option<Tensor>, Option<ExpertLoad>)> {
        match self {
            Self::Dense { up, down } => {
                let copied = peers.map(|peers| ops::copied(x_nd, peers)).transpose()?;
                let h_nf = up.forward(copied.as_ref().unwrap_or(x_nd), Act::Gelu)?;
                Ok((down.forward_summed(&h_nf, peers)?, None, None))
            }
            Self::Experts(experts) => {
                let (y_nd, loss, load) = experts.forward(x_nd, route, self.has_loss())?;
                Ok((y_nd, loss, Some(load)))
            }
        }
    }
}

impl Experts {
    fn forward(
        &self,
        x_nd: &Tensor,
        route: Route,
        has_loss: bool,
    ) -> Result<(Tensor, Option<Tensor>, ExpertLoad)> {
        let (n, _) = x_nd.dims2()?;
        let read_nd = match route.key {
            Some(key) if self.cfg.jitter > 0.0 => ops::jitter(x_nd, self.cfg.jitter, key)?,
            _ => x_nd.clone(),
        };
        // The draws of the second policy are others than those of the jitter.
        let draw = route.key.map(|key| key.rotate_left(32) ^ 1);
        let options = self.cfg.route_options(n, route.room, draw);
        let logits_ne = ops::linear(&read_nd, &self.router_ed, None, Act::None)?;
        let routed = ops::route(&logits_ne, &options)?;
        let loss = match has_loss && route.key.is_some() {
            false => None,
            true => {
                let (balance, z) = (self.cfg.aux_loss_weight, self.cfg.z_loss_weight);
                Some(ops::router_loss(&logits_ne, &routed, balance, z)?)
            }
        };
        let (gates, routing) = (&routed.gates_ns, &routed.routing);
        let y_nd = ops::experts(x_nd, gates, routing, &self.weights, self.peers.as_ref())?;
        let load = ExpertLoad {
            layer: self.layer,
            load: routed.routing.load_e.clone(),
            n_dropped: routed.routing.n_dropped(),
            balance: routed.balance,
            z: routed.z,
        };
        Ok((y_nd, loss, load))
    }

    /// Rows `[n, d]` to `[n, d]`, each on its own: no token is dropped, whatever else is in the call.
    pub fn rows(&self, x_nd: &[f32]) -> Result<Vec<f32>> {
        let (_, d) = self.router_ed.var().dims2()?;
        let w = &self.weights;
        let weights = ExpertRows {
            router_ed: &view::<f32>(self.router_ed.var())?,
            up_efd: &view::<f32>(w.up_efd.var())?,
            up_bias_ef: &view::<f32>(w.up_bias_ef.var())?,
            down_edf: &view::<f32>(w.down_edf.var())?,
            down_bias_ed: &view::<f32>(w.down_bias_ed.var())?,
        };
        let options = self
            .cfg
            .route_options(x_nd.len() / d, Room::Unlimited, None);
        let mut out_nd = vec![0.0; x_nd.len()];
        expert_rows(x_nd, d, &weights, &options, &mut out_nd);
        Ok(out_nd)
    }
}

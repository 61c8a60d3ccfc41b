//! The pieces of both towers.

use super::config::Activation;
use super::weights::Weights;
use crate::error;
use m6_nn::ops::{self, Act};
use m6_nn::{Param, Result, Spans, Tensor};
use std::sync::Arc;

/// Slope of the sigmoid in OpenAI's fast GELU.
const QUICK: f64 = 1.702;

/// A linear layer `[n, in] -> [n, out]`.
pub(super) struct Linear {
    pub weight: Param,
    pub bias: Option<Param>,
}

impl Linear {
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.with(x, Act::None)
    }

    fn with(&self, x: &Tensor, act: Act) -> Result<Tensor> {
        ops::linear(x, &self.weight, self.bias.as_ref(), act)
    }
}

/// A layer norm over the last dimension.
pub(super) struct Norm {
    pub weight: Param,
    pub bias: Param,
    pub eps: f64,
}

impl Norm {
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

/// Where the four layers of an attention lie.
pub(super) struct AttentionNames {
    pub query: String,
    pub key: String,
    pub value: String,
    pub out: String,
}

/// Self-attention in which every token sees every other.
pub(super) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    n_heads: usize,
}

impl Attention {
    pub fn new(
        weights: &Weights<'_>,
        names: &AttentionNames,
        d: usize,
        n_heads: usize,
    ) -> error::Result<Self> {
        Ok(Self {
            query: weights.linear(&names.query, d, d)?,
            key: weights.linear(&names.key, d, d)?,
            value: weights.linear(&names.value, d, d)?,
            out: weights.linear(&names.out, d, d)?,
            n_heads,
        })
    }

    /// `[n, d]` to `[n, d]`.
    pub fn forward(&self, x: &Tensor, spans: &Arc<Spans>) -> Result<Tensor> {
        let parts = [
            self.query.forward(x)?,
            self.key.forward(x)?,
            self.value.forward(x)?,
        ];
        let qkv = Tensor::cat(&parts, 1)?;
        self.out
            .forward(&ops::attention(&qkv, self.n_heads, spans)?)
    }
}

/// Two layers with an activation between them.
pub(super) struct Network {
    pub up: Linear,
    pub down: Linear,
    pub act: Activation,
}

impl Network {
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = match self.act {
            Activation::Gelu => self.up.with(x, Act::Gelu)?,
            Activation::Relu => self.up.with(x, Act::Relu)?,
            Activation::QuickGelu => {
                // u sigmoid(s u) = silu(s u) / s
                let u = self.up.forward(x)?;
                ((u * QUICK)?.silu()? * (1.0 / QUICK))?
            }
        };
        self.down.forward(&hidden)
    }
}

/// The pattern in which `n` tokens all see each other.
pub(super) fn all_see_all(n: usize) -> Result<Arc<Spans>> {
    Ok(Arc::new(Spans::new(n, vec![[0, n as u32]], Vec::new())?))
}

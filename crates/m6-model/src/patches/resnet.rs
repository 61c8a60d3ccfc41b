//! The small residual patch network (ours): strided 3x3 convolutions, group norm, SiLU, pre-activation blocks.
//!
//! Stage i: convolution with stride 2, `blocks[i]` residual blocks at that size, group norm + SiLU. The first stage is the
//! stem, so that the expensive full size is touched by one 3-channel convolution only.

use crate::config::PatchConfig;
use crate::params::{Lookup, Pair};
use m6_nn::{Result, Tensor, ops};

/// Epsilon of the group norms (PyTorch's default).
const EPS: f64 = 1e-5;

struct Block {
    norm1: Pair,
    conv1: Pair,
    norm2: Pair,
    conv2: Pair,
}

struct Stage {
    down: Pair,
    blocks: Vec<Block>,
    norm: Pair,
}

pub(crate) struct Resnet {
    stages: Vec<Stage>,
    groups: usize,
}

impl Resnet {
    pub fn new(cfg: &PatchConfig, params: &Lookup<'_>) -> Result<Self> {
        let mut stages = Vec::new();
        for (i, (_, n_blocks)) in cfg.stages().into_iter().enumerate() {
            let stage = format!("patches.stages.{i}");
            let mut blocks = Vec::new();
            for j in 0..n_blocks {
                let at = format!("{stage}.blocks.{j}");
                blocks.push(Block {
                    norm1: params.pair(&format!("{at}.norm1"))?,
                    conv1: params.pair(&format!("{at}.conv1"))?,
                    norm2: params.pair(&format!("{at}.norm2"))?,
                    conv2: params.pair(&format!("{at}.conv2"))?,
                });
            }
            let down = params.pair(&format!("{stage}.down"))?;
            stages.push(Stage {
                down,
                blocks,
                norm: params.pair(&format!("{stage}.norm"))?,
            });
        }
        Ok(Self {
            stages,
            groups: cfg.norm_groups,
        })
    }

    /// `[n, 3, side, side]` to `[n, c, side / stride, side / stride]`.
    pub fn forward(&self, x_nchw: &Tensor) -> Result<Tensor> {
        let last = self.maps(x_nchw)?.pop();
        Ok(last.unwrap_or_else(|| x_nchw.clone()))
    }

    pub fn n_stages(&self) -> usize {
        self.stages.len()
    }

    /// What each stage gives.
    pub fn maps(&self, x_nchw: &Tensor) -> Result<Vec<Tensor>> {
        let mut maps = Vec::with_capacity(self.stages.len());
        let mut x = x_nchw.clone();
        for stage in &self.stages {
            x = conv(&x, &stage.down, 2)?;
            for block in &stage.blocks {
                let h = conv(&self.norm_silu(&x, &block.norm1)?, &block.conv1, 1)?;
                let h = conv(&self.norm_silu(&h, &block.norm2)?, &block.conv2, 1)?;
                x = ops::add(&x, &h)?;
            }
            x = self.norm_silu(&x, &stage.norm)?;
            maps.push(x.clone());
        }
        Ok(maps)
    }

    fn norm_silu(&self, x: &Tensor, norm: &Pair) -> Result<Tensor> {
        ops::group_norm_silu(x, &norm.weight, &norm.bias, self.groups, EPS)
    }
}

fn conv(x: &Tensor, pair: &Pair, stride: usize) -> Result<Tensor> {
    ops::conv2d(x, &pair.weight, Some(&pair.bias), stride, 1)
}

//! ResNet-50 in torchvision's layout and names, with batch norm folded into the convolutions (paper section 2.1).
//!
//! The batch statistics are frozen, as in detection practice: cells of one picture are no independent sample to estimate them
//! from. Scale and shift of the norms learn with the convolutions, through the folding. Pooling over the cell is the
//! caller's; the 1000-class layer is left out.

use crate::config::PatchConfig;
use crate::params::{Lookup, Pair};
use m6_nn::{Param, Result, Tensor, ops};

/// Epsilon of torchvision's batch norm.
const EPS: f64 = 1e-5;

struct ConvNorm {
    weight: Param,
    norm: Pair,
    mean: Param,
    var: Param,
}

impl ConvNorm {
    fn new(params: &Lookup<'_>, conv: &str, norm: &str) -> Result<Self> {
        Ok(Self {
            weight: params.get(&format!("patches.{conv}.weight"))?,
            norm: params.pair(&format!("patches.{norm}"))?,
            mean: params.get(&format!("patches.{norm}.running_mean"))?,
            var: params.get(&format!("patches.{norm}.running_var"))?,
        })
    }

    /// Convolution and norm as one convolution: `w * g / sqrt(var + eps)`, bias `b - mean * g / sqrt(var + eps)`.
    fn forward(&self, x: &Tensor, stride: usize) -> Result<Tensor> {
        let weight = self.weight.tensor();
        let k = weight.dim(2)?;
        let scale = (self.norm.weight.tensor() / (self.var.tensor() + EPS)?.sqrt()?)?;
        let shift = (self.norm.bias.tensor() - (self.mean.tensor() * &scale)?)?;
        let folded = weight.broadcast_mul(&scale.reshape(((), 1, 1, 1))?)?;
        ops::conv2d_t(x, &folded, Some(&shift), stride, [k / 2, k / 2])
    }
}

struct Bottleneck {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: ConvNorm,
    downsample: Option<ConvNorm>,
    stride: usize,
}

impl Bottleneck {
    fn new(params: &Lookup<'_>, layer: usize, index: usize) -> Result<Self> {
        let at = format!("layer{layer}.{index}");
        let conv =
            |i: usize| ConvNorm::new(params, &format!("{at}.conv{i}"), &format!("{at}.bn{i}"));
        let downsample = match index {
            0 => Some(ConvNorm::new(
                params,
                &format!("{at}.downsample.0"),
                &format!("{at}.downsample.1"),
            )?),
            _ => None,
        };
        let stride = if layer > 1 && index == 0 { 2 } else { 1 };
        Ok(Self {
            conv1: conv(1)?,
            conv2: conv(2)?,
            conv3: conv(3)?,
            downsample,
            stride,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let h = ops::relu(&self.conv1.forward(x, 1)?)?;
        let h = ops::relu(&self.conv2.forward(&h, self.stride)?)?;
        let h = self.conv3.forward(&h, 1)?;
        let shortcut = match &self.downsample {
            Some(down) => down.forward(x, self.stride)?,
            None => x.clone(),
        };
        ops::relu(&ops::add(&h, &shortcut)?)
    }
}

/// Feature maps of [`Resnet50::maps`].
pub(crate) const N_MAPS: usize = 5;

pub(crate) struct Resnet50 {
    stem: ConvNorm,
    layers: Vec<Vec<Bottleneck>>,
}

impl Resnet50 {
    pub fn new(cfg: &PatchConfig, params: &Lookup<'_>) -> Result<Self> {
        let stem = ConvNorm::new(params, "conv1", "bn1")?;
        let mut layers = Vec::new();
        for (i, (_, n_blocks)) in cfg.stages().into_iter().enumerate() {
            let blocks = (0..n_blocks).map(|j| Bottleneck::new(params, i + 1, j));
            layers.push(blocks.collect::<Result<_>>()?);
        }
        Ok(Self { stem, layers })
    }

    /// `[n, 3, side, side]` to `[n, 2048, side / 32, side / 32]` (rounded up).
    pub fn forward(&self, x_nchw: &Tensor) -> Result<Tensor> {
        let mut maps = self.maps(x_nchw)?;
        Ok(maps.swap_remove(maps.len() - 1))
    }

    /// What the stem and each layer give.
    pub fn maps(&self, x_nchw: &Tensor) -> Result<Vec<Tensor>> {
        let x = ops::relu(&self.stem.forward(x_nchw, 2)?)?;
        let mut maps = vec![x.clone()];
        let mut x = ops::max_pool2d(&x, 3, 2, 1)?;
        for layer in &self.layers {
            for block in layer {
                x = block.forward(&x)?;
            }
            maps.push(x.clone());
        }
        Ok(maps)
    }
}

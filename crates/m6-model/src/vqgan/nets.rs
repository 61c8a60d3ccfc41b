//! Encoder, decoder and discriminator.

use super::config::VqganConfig;
use super::layers::{Builder, Conv, Level, Middle, Norm};
use m6_nn::{Param, Result, Tensor};

/// Pictures `[n, 3, side, side]` in [-1, 1] to maps `[n, z_channels, grid, grid]`.
pub(super) struct Encoder {
    conv_in: Conv,
    levels: Vec<Level>,
    mid: Middle,
    norm_out: Norm,
    conv_out: Conv,
}

impl Encoder {
    pub fn new(b: &mut Builder, cfg: &VqganConfig) -> Result<Self> {
        let conv_in = b.conv3("encoder.conv_in", 3, cfg.ch)?;
        let (mut c, mut side) = (cfg.ch, cfg.image_side);
        let mut levels = Vec::new();
        for i in 0..cfg.ch_mult.len() {
            let name = format!("encoder.down.{i}");
            let attention = cfg.attn_sides.contains(&side);
            let level = Level::new(b, &name, c, cfg.width(i), cfg.n_res_blocks, attention)?;
            c = cfg.width(i);
            levels.push(if i + 1 < cfg.ch_mult.len() {
                side /= 2;
                level.with_downsample(b, &name, c)?
            } else {
                level
            });
        }
        Ok(Self {
            conv_in,
            levels,
            mid: Middle::new(b, "encoder.mid", c)?,
            norm_out: b.norm("encoder.norm_out", c)?,
            conv_out: b.conv3("encoder.conv_out", c, cfg.z_channels)?,
        })
    }

    pub fn forward(&self, x_nchw: &Tensor) -> Result<Tensor> {
        let mut x = self.conv_in.forward(x_nchw)?;
        for level in &self.levels {
            x = level.down(&x)?;
        }
        let x = self.mid.forward(&x)?;
        self.conv_out.forward(&self.norm_out.silu(&x)?)
    }
}

/// Maps `[n, z_channels, grid, grid]` to pictures `[n, 3, side, side]`, about [-1, 1].
pub(super) struct Decoder {
    conv_in: Conv,
    mid: Middle,
    /// From the smallest map to the picture.
    levels: Vec<Level>,
    norm_out: Norm,
    conv_out: Conv,
}

impl Decoder {
    pub fn new(b: &mut Builder, cfg: &VqganConfig) -> Result<Self> {
        let last = cfg.ch_mult.len() - 1;
        let mut c = cfg.width(last);
        let mut side = cfg.code_grid();
        let conv_in = b.conv3("decoder.conv_in", cfg.z_channels, c)?;
        let mid = Middle::new(b, "decoder.mid", c)?;
        let mut levels = Vec::new();
        for i in (0..=last).rev() {
            let name = format!("decoder.up.{i}");
            let attention = cfg.attn_sides.contains(&side);
            let level = Level::new(b, &name, c, cfg.width(i), cfg.n_res_blocks + 1, attention)?;
            c = cfg.width(i);
            levels.push(if i > 0 {
                side *= 2;
                level.with_upsample(b, &name, c)?
            } else {
                level
            });
        }
        Ok(Self {
            conv_in,
            mid,
            levels,
            norm_out: b.norm("decoder.norm_out", c)?,
            conv_out: b.conv3("decoder.conv_out", c, 3)?,
        })
    }

    /// What the last convolution takes.
    pub fn hidden(&self, z_nchw: &Tensor) -> Result<Tensor> {
        let mut x = self.mid.forward(&self.conv_in.forward(z_nchw)?)?;
        for level in &self.levels {
            x = level.up(&x)?;
        }
        self.norm_out.silu(&x)
    }

    /// The last convolution.
    pub fn out(&self, hidden: &Tensor) -> Result<Tensor> {
        self.conv_out.forward(hidden)
    }

    /// Weight of the last convolution, at which the adversary is weighed against the reconstruction.
    pub fn last_weight(&self) -> &Param {
        &self.conv_out.pair.weight
    }
}

/// A patch discriminator (Isola and others): one score per patch of the picture. Group norm and SiLU stand in for batch norm and
/// leaky ReLU (ours), so that a score does not depend on the other pictures of the batch.
pub(super) struct PatchGan {
    conv_in: Conv,
    layers: Vec<(Conv, Norm)>,
    conv_out: Conv,
}

impl PatchGan {
    /// `n_layers` convolutions with stride 2 from `ch` channels on, then two that keep the size but for their border.
    pub fn new(b: &mut Builder, ch: usize, n_layers: usize) -> Result<Self> {
        let conv_in = b.conv("discriminator.conv_in", 3, ch, 4, 2, 1)?;
        let mut layers = Vec::new();
        let mut c = ch;
        for i in 1..=n_layers {
            let wider = ch << i.min(3);
            let stride = if i < n_layers { 2 } else { 1 };
            let conv = b.conv(&format!("discriminator.conv.{i}"), c, wider, 4, stride, 1)?;
            layers.push((conv, b.norm(&format!("discriminator.norm.{i}"), wider)?));
            c = wider;
        }
        let conv_out = b.conv("discriminator.conv_out", c, 1, 4, 1, 1)?;
        Ok(Self {
            conv_in,
            layers,
            conv_out,
        })
    }

    pub fn forward(&self, x_nchw: &Tensor) -> Result<Tensor> {
        let mut x = self.conv_in.forward(x_nchw)?.silu()?;
        for (conv, norm) in &self.layers {
            x = norm.silu(&conv.forward(&x)?)?;
        }
        self.conv_out.forward(&x)
    }
}

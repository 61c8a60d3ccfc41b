//! The pieces of encoder, decoder and discriminator, with the names that taming-transformers gives their weights.
//!
//! Shapes: n pictures, c channels, h w map.

use crate::params::Pair;
use crate::params::draw;
use crate::spec::{Init, Part, Spec};
use m6_nn::ops;
use m6_nn::{Params, Result, Spans, Tensor};
use m6_store::rng::Key;
use std::sync::Arc;

/// Epsilon of the group norms (taming-transformers).
const EPS: f64 = 1e-6;

/// Draws weights as layers ask for them.
pub(super) struct Builder {
    pub params: Params,
    key: Key,
    groups: usize,
}

impl Builder {
    /// `groups` is the number of groups of every group norm.
    pub fn new(key: Key, groups: usize) -> Self {
        Self {
            params: Params::new(),
            key,
            groups,
        }
    }

    /// A parameter of its own; one that is not `trained` is state that training writes.
    pub fn add(
        &mut self,
        name: String,
        shape: &[usize],
        init: Init,
        trained: bool,
    ) -> Result<m6_nn::Param> {
        let spec = Spec {
            name,
            shape: shape.to_vec(),
            init,
            decay: false,
            trained,
            part: Part::Vqgan,
        };
        let param = draw(&spec, self.key)?;
        self.params.insert(param.clone())?;
        Ok(param)
    }

    /// A convolution of side `k` with the variance of PyTorch's own first weights.
    pub fn conv(
        &mut self,
        name: &str,
        c_in: usize,
        c_out: usize,
        k: usize,
        stride: usize,
        pad: usize,
    ) -> Result<Conv> {
        let std = 1.0 / (3.0 * (c_in * k * k) as f64).sqrt();
        let weight = self.add(
            format!("{name}.weight"),
            &[c_out, c_in, k, k],
            Init::Normal(std),
            true,
        )?;
        let bias = self.add(format!("{name}.bias"), &[c_out], Init::Constant(0.0), true)?;
        Ok(Conv {
            pair: Pair { weight, bias },
            stride,
            pad,
        })
    }

    /// A 3x3 convolution that keeps the size.
    pub fn conv3(&mut self, name: &str, c_in: usize, c_out: usize) -> Result<Conv> {
        self.conv(name, c_in, c_out, 3, 1, 1)
    }

    /// A 1x1 convolution.
    pub fn conv1(&mut self, name: &str, c_in: usize, c_out: usize) -> Result<Conv> {
        self.conv(name, c_in, c_out, 1, 1, 0)
    }

    pub fn norm(&mut self, name: &str, c: usize) -> Result<Norm> {
        let weight = self.add(format!("{name}.weight"), &[c], Init::Constant(1.0), true)?;
        let bias = self.add(format!("{name}.bias"), &[c], Init::Constant(0.0), true)?;
        Ok(Norm {
            pair: Pair { weight, bias },
            groups: self.groups,
        })
    }
}

/// A convolution with its stride and padding.
pub(super) struct Conv {
    pub pair: Pair,
    stride: usize,
    pad: usize,
}

impl Conv {
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::conv2d(
            x,
            &self.pair.weight,
            Some(&self.pair.bias),
            self.stride,
            self.pad,
        )
    }
}

/// A group norm.
pub(super) struct Norm {
    pair: Pair,
    groups: usize,
}

impl Norm {
    /// With SiLU after it.
    pub fn silu(&self, x: &Tensor) -> Result<Tensor> {
        ops::group_norm_silu(x, &self.pair.weight, &self.pair.bias, self.groups, EPS)
    }

    fn plain(&self, x: &Tensor) -> Result<Tensor> {
        ops::group_norm(x, &self.pair.weight, &self.pair.bias, self.groups, EPS)
    }
}

/// Two convolutions beside a shortcut.
pub(super) struct ResBlock {
    norm1: Norm,
    conv1: Conv,
    norm2: Norm,
    conv2: Conv,
    shortcut: Option<Conv>,
}

impl ResBlock {
    pub fn new(b: &mut Builder, name: &str, c_in: usize, c_out: usize) -> Result<Self> {
        Ok(Self {
            norm1: b.norm(&format!("{name}.norm1"), c_in)?,
            conv1: b.conv3(&format!("{name}.conv1"), c_in, c_out)?,
            norm2: b.norm(&format!("{name}.norm2"), c_out)?,
            conv2: b.conv3(&format!("{name}.conv2"), c_out, c_out)?,
            shortcut: match c_in == c_out {
                true => None,
                false => Some(b.conv1(&format!("{name}.nin_shortcut"), c_in, c_out)?),
            },
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let h = self.conv1.forward(&self.norm1.silu(x)?)?;
        let h = self.conv2.forward(&self.norm2.silu(&h)?)?;
        match &self.shortcut {
            Some(shortcut) => ops::add(&shortcut.forward(x)?, &h),
            None => ops::add(x, &h),
        }
    }
}

/// Attention of one head between all places of a picture.
pub(super) struct AttnBlock {
    norm: Norm,
    q: Conv,
    k: Conv,
    v: Conv,
    proj_out: Conv,
}

impl AttnBlock {
    pub fn new(b: &mut Builder, name: &str, c: usize) -> Result<Self> {
        Ok(Self {
            norm: b.norm(&format!("{name}.norm"), c)?,
            q: b.conv1(&format!("{name}.q"), c, c)?,
            k: b.conv1(&format!("{name}.k"), c, c)?,
            v: b.conv1(&format!("{name}.v"), c, c)?,
            proj_out: b.conv1(&format!("{name}.proj_out"), c, c)?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, _, h, w) = x.dims4()?;
        let normed = self.norm.plain(x)?;
        let rows = |conv: &Conv| ops::nchw_to_rows(&conv.forward(&normed)?);
        let qkv = Tensor::cat(&[rows(&self.q)?, rows(&self.k)?, rows(&self.v)?], 1)?;
        // Every picture is a prefix of its own: its places see each other and nothing else.
        let places = h * w;
        let prefixes = (0..n).map(|i| [(i * places) as u32, ((i + 1) * places) as u32]);
        let spans = Arc::new(Spans::new(n * places, prefixes.collect(), Vec::new())?);
        let seen = ops::attention(&qkv.contiguous()?, 1, &spans)?;
        ops::add(x, &self.proj_out.forward(&rows_to_nchw(&seen, n, h, w)?)?)
    }
}

/// `[n * h * w, c]` to `[n, c, h, w]`.
pub(super) fn rows_to_nchw(rows: &Tensor, n: usize, h: usize, w: usize) -> Result<Tensor> {
    let (_, c) = rows.dims2()?;
    let x = rows.reshape((n, h, w, c))?.permute((0, 3, 1, 2))?;
    Ok(x.contiguous()?)
}

/// The residual blocks of one level, each followed by attention where the level has it.
pub(super) struct Level {
    blocks: Vec<ResBlock>,
    attn: Vec<AttnBlock>,
    /// Halves or doubles the side.
    resample: Option<Conv>,
}

impl Level {
    pub fn new(
        b: &mut Builder,
        name: &str,
        c_in: usize,
        c_out: usize,
        n_blocks: usize,
        attention: bool,
    ) -> Result<Self> {
        let mut level = Self {
            blocks: Vec::new(),
            attn: Vec::new(),
            resample: None,
        };
        for i in 0..n_blocks {
            let c = if i == 0 { c_in } else { c_out };
            level
                .blocks
                .push(ResBlock::new(b, &format!("{name}.block.{i}"), c, c_out)?);
            if attention {
                level
                    .attn
                    .push(AttnBlock::new(b, &format!("{name}.attn.{i}"), c_out)?);
            }
        }
        Ok(level)
    }

    /// Adds a convolution with stride 2 behind a row and a column of zeros at the far edges.
    pub fn with_downsample(mut self, b: &mut Builder, name: &str, c: usize) -> Result<Self> {
        self.resample = Some(b.conv(&format!("{name}.downsample.conv"), c, c, 3, 2, 0)?);
        Ok(self)
    }

    /// Adds nearest-neighbour upsampling with a convolution behind it.
    pub fn with_upsample(mut self, b: &mut Builder, name: &str, c: usize) -> Result<Self> {
        self.resample = Some(b.conv3(&format!("{name}.upsample.conv"), c, c)?);
        Ok(self)
    }

    fn blocks(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        for (i, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x)?;
            if let Some(attn) = self.attn.get(i) {
                x = attn.forward(&x)?;
            }
        }
        Ok(x)
    }

    pub fn down(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.blocks(x)?;
        match &self.resample {
            Some(conv) => conv.forward(&x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?),
            None => Ok(x),
        }
    }

    pub fn up(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.blocks(x)?;
        match &self.resample {
            Some(conv) => conv.forward(&ops::up2(&x)?),
            None => Ok(x),
        }
    }
}

/// Residual block, attention, residual block.
pub(super) struct Middle {
    block_1: ResBlock,
    attn_1: AttnBlock,
    block_2: ResBlock,
}

impl Middle {
    pub fn new(b: &mut Builder, name: &str, c: usize) -> Result<Self> {
        Ok(Self {
            block_1: ResBlock::new(b, &format!("{name}.block_1"), c, c)?,
            attn_1: AttnBlock::new(b, &format!("{name}.attn_1"), c)?,
            block_2: ResBlock::new(b, &format!("{name}.block_2"), c, c)?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.attn_1.forward(&self.block_1.forward(x)?)?;
        self.block_2.forward(&x)
    }
}

/// Vectors `[n, d]` on the unit sphere.
pub(super) fn unit(rows_nd: &Tensor) -> Result<Tensor> {
    let squares = rows_nd.sqr()?.sum_keepdim(1)?;
    // As PyTorch's normalize: a zero vector stays one.
    Ok(rows_nd.broadcast_div(&squares.sqrt()?.maximum(1e-12)?)?)
}

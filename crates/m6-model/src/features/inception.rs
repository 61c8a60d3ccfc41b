//! InceptionV3 as FID uses it: the network of 2015 in the names of pytorch-fid, up to the last pooling.
//!
//! It differs from torchvision's in its averages, which leave the padding out, and in a maximum in the last block's pooling branch.

use crate::error::{Error, Result};
use crate::frozen::FrozenConv;
use m6_nn::ops::{self, composed2d};
use m6_nn::{Device, Tensor, TensorFile};

/// Side that pictures are scaled to, in pixels.
const SIDE: usize = 299;
/// Epsilon of the batch norms.
const EPS: f64 = 1e-3;

/// A convolution: the end of its name, output channels, kernel. Stride is 1 and the size stays, unless the branch reduces.
type Step = (&'static str, usize, [usize; 2]);

/// What a branch does before its convolutions.
#[derive(Clone, Copy, PartialEq)]
enum Pool {
    None,
    /// Mean over 3x3, without the padding.
    Mean,
    /// Maximum over 3x3.
    Max,
    /// Maximum over 3x3 with stride 2 and no padding; there is no convolution after it.
    Halve,
}

/// One path through a block; its output is concatenated with the others'.
struct Branch {
    pool: Pool,
    chain: Vec<FrozenConv>,
    /// Convolutions that each take the chain's end.
    fork: Vec<FrozenConv>,
}

/// A branch before its weights are read.
struct Plan {
    pool: Pool,
    chain: Vec<Step>,
    fork: Vec<Step>,
    /// Whether the last convolution of the chain halves the size.
    halves: bool,
}

const ONE: [usize; 2] = [1, 1];
const THREE: [usize; 2] = [3, 3];
const WIDE7: [usize; 2] = [1, 7];
const TALL7: [usize; 2] = [7, 1];

fn branch(pool: Pool, chain: &[Step]) -> Plan {
    Plan {
        pool,
        chain: chain.to_vec(),
        fork: Vec::new(),
        halves: false,
    }
}

fn halving(chain: &[Step]) -> Plan {
    Plan {
        halves: true,
        ..branch(Pool::None, chain)
    }
}

fn forked(chain: &[Step], fork: [Step; 2]) -> Plan {
    Plan {
        fork: fork.to_vec(),
        ..branch(Pool::None, chain)
    }
}

/// 35x35 with a pooling branch of `c_pool` channels.
fn block_a(c_pool: usize) -> Vec<Plan> {
    vec![
        branch(Pool::None, &[("branch1x1", 64, ONE)]),
        branch(
            Pool::None,
            &[("branch5x5_1", 48, ONE), ("branch5x5_2", 64, [5, 5])],
        ),
        branch(
            Pool::None,
            &[
                ("branch3x3dbl_1", 64, ONE),
                ("branch3x3dbl_2", 96, THREE),
                ("branch3x3dbl_3", 96, THREE),
            ],
        ),
        branch(Pool::Mean, &[("branch_pool", c_pool, ONE)]),
    ]
}

/// 35x35 to 17x17.
fn block_b() -> Vec<Plan> {
    vec![
        halving(&[("branch3x3", 384, THREE)]),
        halving(&[
            ("branch3x3dbl_1", 64, ONE),
            ("branch3x3dbl_2", 96, THREE),
            ("branch3x3dbl_3", 96, THREE),
        ]),
        branch(Pool::Halve, &[]),
    ]
}

/// 17x17 with `c` channels inside.
fn block_c(c: usize) -> Vec<Plan> {
    vec![
        branch(Pool::None, &[("branch1x1", 192, ONE)]),
        branch(
            Pool::None,
            &[
                ("branch7x7_1", c, ONE),
                ("branch7x7_2", c, WIDE7),
                ("branch7x7_3", 192, TALL7),
            ],
        ),
        branch(
            Pool::None,
            &[
                ("branch7x7dbl_1", c, ONE),
                ("branch7x7dbl_2", c, TALL7),
                ("branch7x7dbl_3", c, WIDE7),
                ("branch7x7dbl_4", c, TALL7),
                ("branch7x7dbl_5", 192, WIDE7),
            ],
        ),
        branch(Pool::Mean, &[("branch_pool", 192, ONE)]),
    ]
}

/// 17x17 to 8x8.
fn block_d() -> Vec<Plan> {
    vec![
        halving(&[("branch3x3_1", 192, ONE), ("branch3x3_2", 320, THREE)]),
        halving(&[
            ("branch7x7x3_1", 192, ONE),
            ("branch7x7x3_2", 192, WIDE7),
            ("branch7x7x3_3", 192, TALL7),
            ("branch7x7x3_4", 192, THREE),
        ]),
        branch(Pool::Halve, &[]),
    ]
}

/// 8x8; `pool` is the mean in the first and, as FID has it, the maximum in the second.
fn block_e(pool: Pool) -> Vec<Plan> {
    let (wide, tall) = ([1, 3], [3, 1]);
    vec![
        branch(Pool::None, &[("branch1x1", 320, ONE)]),
        forked(
            &[("branch3x3_1", 384, ONE)],
            [("branch3x3_2a", 384, wide), ("branch3x3_2b", 384, tall)],
        ),
        forked(
            &[("branch3x3dbl_1", 448, ONE), ("branch3x3dbl_2", 384, THREE)],
            [
                ("branch3x3dbl_3a", 384, wide),
                ("branch3x3dbl_3b", 384, tall),
            ],
        ),
        branch(pool, &[("branch_pool", 192, ONE)]),
    ]
}

/// The network of the Frechet Inception Distance.
pub struct Inception {
    /// Three convolutions, a pooling, two convolutions, a pooling.
    stem: [Vec<FrozenConv>; 2],
    blocks: Vec<Vec<Branch>>,
}

impl Inception {
    /// Length of a feature vector.
    pub const N_FEATURES: usize = 2048;

    /// Reads the weights from safetensors bytes with the names of pytorch-fid's `pt_inception-2015-12-05` (`Conv2d_1a_3x3.conv.weight`,
    /// ...; `reference/inception_to_safetensors.py` converts the file). The classifier is passed over.
    ///
    /// # Errors
    /// [`Error::Nn`] when the bytes are no safetensors, or a weight is missing or of another shape.
    pub fn load(bytes: &[u8]) -> Result<Self> {
        let file = TensorFile::open(bytes)?;
        let stem = |name: &str, [c_out, c_in, k]: [usize; 3], stride, pad| {
            FrozenConv::folded(&file, name, [c_out, c_in, k, k], stride, [pad, pad], EPS)
        };
        let stem = [
            vec![
                stem("Conv2d_1a_3x3", [32, 3, 3], 2, 0)?,
                stem("Conv2d_2a_3x3", [32, 32, 3], 1, 0)?,
                stem("Conv2d_2b_3x3", [64, 32, 3], 1, 1)?,
            ],
            vec![
                stem("Conv2d_3b_1x1", [80, 64, 1], 1, 0)?,
                stem("Conv2d_4a_3x3", [192, 80, 3], 1, 0)?,
            ],
        ];
        let plans = [
            ("Mixed_5b", block_a(32)),
            ("Mixed_5c", block_a(64)),
            ("Mixed_5d", block_a(64)),
            ("Mixed_6a", block_b()),
            ("Mixed_6b", block_c(128)),
            ("Mixed_6c", block_c(160)),
            ("Mixed_6d", block_c(160)),
            ("Mixed_6e", block_c(192)),
            ("Mixed_7a", block_d()),
            ("Mixed_7b", block_e(Pool::Mean)),
            ("Mixed_7c", block_e(Pool::Max)),
        ];
        let (mut blocks, mut c_in) = (Vec::new(), 192);
        for (name, plans) in plans {
            let (mut branches, mut c_out) = (Vec::new(), 0);
            for plan in &plans {
                let (branch, c) = Branch::read(&file, name, plan, c_in)?;
                branches.push(branch);
                c_out += c;
            }
            blocks.push(branches);
            c_in = c_out;
        }
        Ok(Self { stem, blocks })
    }

    /// Feature vectors `[n, 2048]`, row by row, of `n` pictures of `height` by `width` pixels given as bytes, channels first; they are
    /// scaled to 299 pixels as pytorch-fid does it (bilinear, without smoothing).
    ///
    /// # Errors
    /// [`Error::Input`] when the bytes are no whole number of pictures, or none.
    pub fn features(&self, height: usize, width: usize, pictures: &[u8]) -> Result<Vec<f32>> {
        let bytes = 3 * height * width;
        if pictures.is_empty() || bytes == 0 || !pictures.len().is_multiple_of(bytes) {
            return Err(Error::Input(format!(
                "{} bytes are no whole number of pictures of 3 x {height} x {width}",
                pictures.len()
            )));
        }
        let mut out = Vec::with_capacity(pictures.len() / bytes * Self::N_FEATURES);
        for picture in pictures.chunks_exact(bytes) {
            let x = scaled(picture, height, width);
            let x = Tensor::from_vec(x, (1, 3, SIDE, SIDE), &Device::Cpu);
            let features = self.forward(x.map_err(m6_nn::Error::from)?)?;
            let values = features.flatten_all().and_then(|f| f.to_vec1::<f32>());
            out.extend(values.map_err(m6_nn::Error::from)?);
        }
        Ok(out)
    }

    /// `[n, 3, 299, 299]` in [-1, 1] to `[n, 2048]`.
    fn forward(&self, x_nchw: Tensor) -> m6_nn::Result<Tensor> {
        let mut x = x_nchw;
        for convs in &self.stem {
            for conv in convs {
                x = conv.relu(&x)?;
            }
            x = ops::max_pool2d(&x, 3, 2, 0)?;
        }
        for branches in &self.blocks {
            let mut parts = Vec::new();
            for branch in branches {
                branch.forward(&x, &mut parts)?;
            }
            x = Tensor::cat(&parts, 1)?;
        }
        ops::global_avg_pool(&x)
    }
}

impl Branch {
    /// The branch and its output channels.
    fn read(
        file: &TensorFile<'_>,
        block: &str,
        plan: &Plan,
        mut c_in: usize,
    ) -> m6_nn::Result<(Self, usize)> {
        let conv = |&(name, c_out, [k_h, k_w]): &Step, c_in: usize, halves: bool| {
            let name = format!("{block}.{name}");
            let (stride, pad) = match halves {
                true => (2, [0, 0]),
                false => (1, [k_h / 2, k_w / 2]),
            };
            FrozenConv::folded(file, &name, [c_out, c_in, k_h, k_w], stride, pad, EPS)
        };
        let mut chain = Vec::new();
        for (i, step) in plan.chain.iter().enumerate() {
            let halves = plan.halves && i + 1 == plan.chain.len();
            chain.push(conv(step, c_in, halves)?);
            c_in = step.1;
        }
        let fork = plan.fork.iter().map(|step| conv(step, c_in, false));
        let fork = fork.collect::<m6_nn::Result<Vec<_>>>()?;
        let c_out = match &plan.fork[..] {
            [] => c_in,
            fork => fork.iter().map(|step| step.1).sum(),
        };
        let branch = Self {
            pool: plan.pool,
            chain,
            fork,
        };
        Ok((branch, c_out))
    }

    /// Adds what it gives to `parts`.
    fn forward(&self, x_nchw: &Tensor, parts: &mut Vec<Tensor>) -> m6_nn::Result<()> {
        let mut x = match self.pool {
            Pool::None => x_nchw.clone(),
            Pool::Mean => composed2d::avg_pool2d(x_nchw, 3)?,
            Pool::Max => ops::max_pool2d(x_nchw, 3, 1, 1)?,
            Pool::Halve => ops::max_pool2d(x_nchw, 3, 2, 0)?,
        };
        for conv in &self.chain {
            x = conv.relu(&x)?;
        }
        if self.fork.is_empty() {
            parts.push(x);
            return Ok(());
        }
        for conv in &self.fork {
            parts.push(conv.relu(&x)?);
        }
        Ok(())
    }
}

/// A picture as bytes, channels first, to `[3, 299, 299]` in [-1, 1]: bilinear between pixel centres, edges repeated.
fn scaled(picture: &[u8], height: usize, width: usize) -> Vec<f32> {
    let (rows, columns) = (places(height), places(width));
    let mut out = Vec::with_capacity(3 * SIDE * SIDE);
    for plane in picture.chunks_exact(height * width) {
        let at = |y: usize, x: usize| f32::from(plane[y * width + x]) / 255.0;
        for &(y0, y1, down) in &rows {
            for &(x0, x1, right) in &columns {
                let upper = at(y0, x0) * (1.0 - right) + at(y0, x1) * right;
                let lower = at(y1, x0) * (1.0 - right) + at(y1, x1) * right;
                out.push(2.0 * (upper * (1.0 - down) + lower * down) - 1.0);
            }
        }
    }
    out
}

/// For each of the 299 places, the two pixels of `len` it lies between and the share of the second.
fn places(len: usize) -> Vec<(usize, usize, f32)> {
    let scale = len as f32 / SIDE as f32;
    let place = |i: usize| {
        let from = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
        let first = (from as usize).min(len - 1);
        (first, (first + 1).min(len - 1), from - first as f32)
    };
    (0..SIDE).map(place).collect()
}

//! VQGAN: pictures to codes and back (paper section 4.1; van den Oord; Esser and others, in the layout of taming-transformers).
//!
//! Shapes: n pictures, z channels, g codes per side, r = n * g * g vectors, d code dimension.

mod config;
mod layers;
mod nets;
mod objective;
mod perceptual;
mod quantize;
mod vgg;

pub use config::{CodebookUpdate, VqganConfig};
pub use objective::{AdversaryWeights, GeneratorLosses};
pub use perceptual::Perceptual;

use crate::error::{Error, Result};
use layers::{Builder, Conv, rows_to_nchw};
use m6_nn::glue::view;
use m6_nn::{Device, Param, Params, Tensor, ops};
use m6_store::rng::Key;
use nets::{Decoder, Encoder, PatchGan};
use quantize::{Quantized, Quantizer};
use rayon::prelude::*;
use std::collections::BTreeSet;

/// Pictures of the own side that are encoded or decoded at once.
const CHUNK: usize = 32;

/// Longest side of a picture in pixels.
const MAX_SIDE: usize = 4096;

/// An autoencoder of pictures through a codebook.
pub struct Vqgan {
    cfg: VqganConfig,
    params: Params,
    encoder: Encoder,
    quant_conv: Conv,
    quantizer: Quantizer,
    post_quant_conv: Conv,
    decoder: Decoder,
}

/// A discriminator of pictures and their reconstructions.
pub struct Discriminator {
    params: Params,
    net: PatchGan,
}

impl Discriminator {
    /// `ch` channels (a multiple of 8) behind the first of `n_layers + 2` convolutions, drawn from the seed.
    ///
    /// # Errors
    /// [`Error::Config`] when the sizes cannot be built.
    pub fn new(ch: usize, n_layers: usize, seed: u64) -> Result<Self> {
        if ch == 0 || !ch.is_multiple_of(8) || ch > 1024 || !(1..=5).contains(&n_layers) {
            return Err(Error::Config(vec![format!(
                "a discriminator of {ch} channels and {n_layers} layers: channels must be a multiple of 8 up to 1024, layers 1 to 5"
            )]));
        }
        let mut builder = Builder::new(Key::new(seed).child("discriminator"), 8);
        let net = PatchGan::new(&mut builder, ch, n_layers)?;
        Ok(Self {
            params: builder.params,
            net,
        })
    }

    /// All parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Lets every parameter learn, or none.
    fn set_trainable(&self, trainable: bool) {
        self.params.iter().for_each(|p| p.set_trainable(trainable));
    }
}

/// What a pass through the whole autoencoder leaves.
struct Pass {
    /// Input of the decoder's last convolution.
    hidden: Tensor,
    /// Reconstructions, about [-1, 1], `[n, 3, side, side]`.
    rebuilt: Tensor,
    quantized: Quantized,
}

impl Vqgan {
    /// Builds an autoencoder and draws its weights from the seed.
    ///
    /// # Errors
    /// [`Error::Config`] with every problem of `cfg`.
    pub fn new(cfg: &VqganConfig, seed: u64) -> Result<Self> {
        let problems = cfg.validate();
        if !problems.is_empty() {
            return Err(Error::Config(problems));
        }
        let mut b = Builder::new(Key::new(seed).child("vqgan"), cfg.norm_groups);
        let encoder = Encoder::new(&mut b, cfg)?;
        let quant_conv = b.conv1("quant_conv", cfg.z_channels, cfg.code_dim)?;
        let quantizer = Quantizer::new(&mut b, cfg)?;
        let post_quant_conv = b.conv1("post_quant_conv", cfg.code_dim, cfg.z_channels)?;
        let decoder = Decoder::new(&mut b, cfg)?;
        Ok(Self {
            cfg: cfg.clone(),
            params: b.params,
            encoder,
            quant_conv,
            quantizer,
            post_quant_conv,
            decoder,
        })
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &VqganConfig {
        &self.cfg
    }

    /// All parameters and the state of the codebook, under the names of taming-transformers.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Names of the filters and matrices between picture and code, for an optimizer that treats them apart: all but the codebook and the
    /// convolutions that read and write pixels.
    pub fn hidden_matrices(&self) -> BTreeSet<String> {
        let outer = [
            "encoder.conv_in.weight",
            "decoder.conv_out.weight",
            "quantize.embedding.weight",
        ];
        let hidden =
            |p: &&Param| p.is_trainable() && p.shape().len() >= 2 && !outer.contains(&p.name());
        let names = self.params.iter().filter(hidden);
        names.map(|p| p.name().to_owned()).collect()
    }

    /// Loads weights from safetensors bytes with the names of taming-transformers. The state that only training reads may be missing,
    /// and what belongs to a discriminator or a perceptual network (`loss.*`) is passed over.
    ///
    /// # Errors
    /// [`Error::Weights`] when the bytes are no safetensors, or a weight is missing or of another shape.
    pub fn load(&self, bytes: &[u8]) -> Result<()> {
        let strict = false;
        let report = self.params.load_safetensors(bytes, strict)?;
        let codebook = "quantize.embedding.weight";
        let is_state = |name: &str| {
            name != codebook && self.params.get(name).is_some_and(|p| !p.is_trainable())
        };
        let lost: Vec<&String> = report.missing.iter().filter(|n| !is_state(n)).collect();
        let foreign: Vec<&String> = report
            .unexpected
            .iter()
            .filter(|n| !n.starts_with("loss."))
            .collect();
        if lost.is_empty() && foreign.is_empty() && report.wrong_shape.is_empty() {
            return Ok(());
        }
        let first = |names: &[&String]| names.first().map_or(String::new(), |n| n.to_string());
        Err(Error::Weights(format!(
            "{} weights are missing ({}), {} are of another shape ({}), {} belong to no part of this VQGAN ({})",
            lost.len(),
            first(&lost),
            report.wrong_shape.len(),
            report.wrong_shape.first().cloned().unwrap_or_default(),
            foreign.len(),
            first(&foreign)
        )))
    }

    /// Codes of pictures given as bytes, channels first: `n_codes` a picture, in raster order.
    ///
    /// # Errors
    /// [`Error::Input`] when the bytes are no whole number of pictures, or none.
    pub fn encode(&self, pictures: &[u8]) -> Result<Vec<u32>> {
        self.encode_at(pictures, self.cfg.image_side)
    }

    /// [`Vqgan::encode`] of pictures of another side in pixels, a multiple of [`VqganConfig::factor`]: `(side / factor)^2` codes a
    /// picture, of the same codebook. The network is made of convolutions, and of attention between all places there are (ours; the
    /// finer codes of super-resolution).
    ///
    /// # Errors
    /// [`Error::Input`] for a side that is no such multiple or above 4096, and as [`Vqgan::encode`].
    pub fn encode_at(&self, pictures: &[u8], side: usize) -> Result<Vec<u32>> {
        let factor = self.cfg.factor();
        if side == 0 || side > MAX_SIDE || !side.is_multiple_of(factor) {
            return Err(Error::Input(format!(
                "pictures of {side} pixels a side; a code stands for {factor} pixels, so a side must be a multiple of that and at most {MAX_SIDE}"
            )));
        }
        let bytes = 3 * side * side;
        if pictures.is_empty() || !pictures.len().is_multiple_of(bytes) {
            return Err(Error::Input(format!(
                "{} bytes are no whole number of pictures of {bytes} (3 x {side} x {side})",
                pictures.len(),
            )));
        }
        let mut codes = Vec::new();
        for chunk in pictures.chunks(self.n_at_once(side / factor) * bytes) {
            let found = m6_nn::no_grad(|| {
                let rows = self.vectors(&to_tensor(chunk, side)?)?;
                self.quantizer.codes(&rows)
            })?;
            codes.extend(found);
        }
        Ok(codes)
    }

    /// Pictures of codes as bytes, channels first.
    ///
    /// # Errors
    /// [`Error::Input`] when the codes are no whole number of pictures, or one is beyond the codebook.
    pub fn decode(&self, codes: &[u32]) -> Result<Vec<u8>> {
        self.decode_at(codes, self.cfg.code_grid())
    }

    /// [`Vqgan::decode`] of pictures of another number of codes per side, `grid`: `grid * factor` pixels a side.
    ///
    /// # Errors
    /// [`Error::Input`] for a grid of no codes or of more than 4096 pixels, and as [`Vqgan::decode`].
    pub fn decode_at(&self, codes: &[u32], grid: usize) -> Result<Vec<u8>> {
        if grid == 0 || grid > MAX_SIDE / self.cfg.factor() {
            return Err(Error::Input(format!(
                "a picture of {grid} x {grid} codes; a side must have at least one and at most {MAX_SIDE} pixels, {} a code",
                self.cfg.factor()
            )));
        }
        let n_codes = grid * grid;
        if codes.is_empty() || !codes.len().is_multiple_of(n_codes) {
            return Err(Error::Input(format!(
                "{} codes are no whole number of pictures of {n_codes}",
                codes.len()
            )));
        }
        if let Some(code) = codes
            .iter()
            .find(|c| **c as usize >= self.cfg.codebook_size)
        {
            return Err(Error::Input(format!(
                "code {code} is beyond the codebook of {}",
                self.cfg.codebook_size
            )));
        }
        let bytes = 3 * (grid * self.cfg.factor()).pow(2);
        let mut out = Vec::with_capacity(codes.len() / n_codes * bytes);
        for chunk in codes.chunks(self.n_at_once(grid) * n_codes) {
            let rebuilt = m6_nn::no_grad(|| {
                let rows = self.quantizer.lookup(chunk)?;
                self.decoder.out(&self.hidden(&rows, grid)?)
            })?;
            out.extend(to_bytes(&rebuilt)?);
        }
        Ok(out)
    }

    /// Pictures of `grid` codes a side that are worked on together: as many pixels as [`CHUNK`] pictures of the own side have.
    fn n_at_once(&self, grid: usize) -> usize {
        (CHUNK * self.cfg.n_codes() / (grid * grid)).max(1)
    }

    /// Vectors before quantising, `[r, d]`, of pictures `[n, 3, side, side]` in [-1, 1].
    fn vectors(&self, x_nchw: &Tensor) -> m6_nn::Result<Tensor> {
        let z = self.quant_conv.forward(&self.encoder.forward(x_nchw)?)?;
        ops::nchw_to_rows(&z)
    }

    /// What the last convolution of the decoder takes for the vectors `[r, d]` of pictures of `grid` codes a side.
    fn hidden(&self, rows_rd: &Tensor, grid: usize) -> m6_nn::Result<Tensor> {
        let n = rows_rd.dim(0)? / (grid * grid);
        let z = rows_to_nchw(rows_rd, n, grid, grid)?;
        self.decoder.hidden(&self.post_quant_conv.forward(&z)?)
    }

    fn pass(&self, x_nchw: &Tensor) -> m6_nn::Result<Pass> {
        let quantized = self.quantizer.quantize(&self.vectors(x_nchw)?)?;
        let hidden = self.hidden(&quantized.rows, self.cfg.code_grid())?;
        Ok(Pass {
            rebuilt: self.decoder.out(&hidden)?,
            hidden,
            quantized,
        })
    }

    /// Reconstructions of pictures `[n, 3, side, side]` in [-1, 1], and their codes; for comparison with a reference.
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn reconstruct(&self, x_nchw: &Tensor) -> Result<(Tensor, Vec<u32>)> {
        let pass = m6_nn::no_grad(|| self.pass(x_nchw))?;
        Ok((pass.rebuilt, pass.quantized.codes))
    }
}

/// Bytes of pictures, channels first, to `[n, 3, side, side]` in [-1, 1].
///
/// # Errors
/// When the bytes are no whole number of pictures.
pub fn to_tensor(pictures: &[u8], side: usize) -> m6_nn::Result<Tensor> {
    let n = pictures.len() / (3 * side * side).max(1);
    let mut values = vec![0.0f32; pictures.len()];
    let chunks = values.par_chunks_mut(1 << 14);
    chunks.zip(pictures.par_chunks(1 << 14)).for_each(|(v, b)| {
        for (v, b) in v.iter_mut().zip(b) {
            *v = f32::from(*b) / 127.5 - 1.0;
        }
    });
    Ok(Tensor::from_vec(values, (n, 3, side, side), &Device::Cpu)?)
}

/// Pictures about [-1, 1] to bytes; what lies outside is cut.
fn to_bytes(x: &Tensor) -> m6_nn::Result<Vec<u8>> {
    let x = x.contiguous()?;
    let values = view::<f32>(&x)?;
    let byte = |v: &f32| ((v + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
    Ok(values.par_iter().map(byte).collect())
}

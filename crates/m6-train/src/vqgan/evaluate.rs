//! How well a VQGAN rebuilds pictures, and how much of its codebook it uses.

use crate::error::Result;
use m6_image::Rgb8;
use m6_model::Vqgan;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

/// Pictures that are rebuilt at once.
const CHUNK: usize = 64;

/// Figures over a set of pictures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rebuilt {
    /// Pictures.
    pub n: usize,
    /// Mean peak signal-to-noise ratio in dB.
    pub psnr: f64,
    /// Mean structural similarity, at most 1.
    pub ssim: f64,
    /// Mean absolute difference in levels of 0 to 255.
    pub l1: f64,
    /// Share of the codebook that was chosen at least once.
    pub codebook_usage: f64,
    /// Exponential of the entropy of the chosen codes: how many codes equally used would say as much.
    pub perplexity: f64,
}

impl Rebuilt {
    /// The figures by name, as metrics and `--json` have them.
    pub fn figures(&self) -> BTreeMap<String, f64> {
        [
            ("psnr", self.psnr),
            ("ssim", self.ssim),
            ("l1", self.l1),
            ("codebook_usage", self.codebook_usage),
            ("perplexity", self.perplexity),
        ]
        .map(|(name, value)| (name.to_string(), value))
        .into()
    }
}

/// Rebuilds pictures of the model's side (3 x side x side bytes, channels first); gives the figures and the rebuilt bytes.
///
/// # Errors
/// A picture of another size.
pub fn rebuild(vqgan: &Vqgan, pictures: &[&[u8]]) -> Result<(Rebuilt, Vec<Vec<u8>>)> {
    let side = vqgan.config().image_side;
    let mut counts = vec![0u64; vqgan.config().codebook_size];
    let mut rebuilt = Vec::with_capacity(pictures.len());
    for chunk in pictures.chunks(CHUNK) {
        let codes = vqgan.encode(&chunk.concat())?;
        for &code in &codes {
            counts[code as usize] += 1;
        }
        let bytes = vqgan.decode(&codes)?;
        rebuilt.extend(bytes.chunks(3 * side * side).map(<[u8]>::to_vec));
    }
    let scores: Vec<[f64; 3]> = pictures
        .par_iter()
        .zip(&rebuilt)
        .map(|(a, b)| compare(a, b, side))
        .collect();
    let mean = |i: usize| scores.iter().map(|s| s[i]).sum::<f64>() / scores.len().max(1) as f64;
    let figures = Rebuilt {
        n: pictures.len(),
        psnr: mean(0),
        ssim: mean(1),
        l1: mean(2),
        codebook_usage: usage(&counts),
        perplexity: perplexity(&counts),
    };
    Ok((figures, rebuilt))
}

/// PSNR in dB, SSIM and mean absolute difference in levels of two pictures of this side (3 x side x side bytes, channels first); equal ones
/// count as 100 dB, bytes that are no such pictures as NaN.
pub fn compare(a: &[u8], b: &[u8], side: usize) -> [f64; 3] {
    let picture = |bytes: &[u8]| Rgb8::from_chw(side, side, bytes).ok();
    let (Some(x), Some(y)) = (picture(a), picture(b)) else {
        return [f64::NAN; 3];
    };
    let psnr = m6_image::psnr(&x, &y).unwrap_or(f64::NAN).min(100.0);
    let ssim = m6_image::ssim(&x, &y).unwrap_or(f64::NAN);
    let apart: u64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    [psnr, ssim, apart as f64 / a.len().max(1) as f64]
}

fn usage(counts: &[u64]) -> f64 {
    counts.iter().filter(|n| **n > 0).count() as f64 / counts.len().max(1) as f64
}

fn perplexity(counts: &[u64]) -> f64 {
    let total = counts.iter().sum::<u64>().max(1) as f64;
    let shares = counts.iter().filter(|n| **n > 0).map(|n| *n as f64 / total);
    (-shares.map(|p| p * p.ln()).sum::<f64>()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_and_perplexity_count_what_was_chosen() {
        assert_eq!(usage(&[3, 0, 1, 0]), 0.5);
        assert!((perplexity(&[5, 5, 5, 5]) - 4.0).abs() < 1e-12);
        assert!((perplexity(&[7, 0, 0, 0]) - 1.0).abs() < 1e-12);
    }
}

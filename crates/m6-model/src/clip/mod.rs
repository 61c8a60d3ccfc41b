//! Chinese-CLIP: how well a picture fits a text (Yang and others 2022); DALL-E and OFA rank what they draw by such a model.
//!
//! A vision transformer for pictures and a BERT for texts (RoBERTa-wwm), each projected into one space. Weights, sizes and vocabulary are
//! the user's: a folder in the layout of `transformers`' `ChineseCLIPModel`. Inference only, in `f32`; a picture or text is worked on
//! alone, so that its features do not depend on what else is asked.
//!
//! Shapes: p patches of a picture and one for the whole, t tokens, d width of a tower, e width of the common space.

mod config;
mod layers;
mod pixels;
mod towers;
mod weights;

use crate::error::{Error, Result};
use config::ClipConfig;
use m6_image::Rgb8;
use m6_nn::glue::view;
use m6_nn::{Tensor, no_grad};
use m6_text::Tokenizer;
use pixels::Preprocess;
use towers::{TextTower, VisionTower};
use weights::Weights;

/// Tokens of a text with the two that enclose it; the length that the published models were trained with.
const CONTEXT: usize = 52;

/// The bytes of a Chinese-CLIP's folder.
#[derive(Clone, Copy, Debug)]
pub struct ClipFiles<'a> {
    /// `config.json`.
    pub config: &'a [u8],
    /// `preprocessor_config.json`; without it a picture is stretched to the tower's square, as the published models do.
    pub preprocessor: Option<&'a [u8]>,
    /// `vocab.txt`.
    pub vocabulary: &'a [u8],
    /// `model.safetensors`.
    pub weights: &'a [u8],
}

/// A text tower and a picture tower with one common space.
pub struct ChineseClip {
    tokenizer: Tokenizer,
    preprocess: Preprocess,
    text: TextTower,
    vision: VisionTower,
    logit_scale: f64,
    n_tokens: usize,
}

impl ChineseClip {
    /// Builds both towers; every tensor is checked against `config.json` before it is read.
    ///
    /// # Errors
    /// [`Error::Clip`] with the file and, for weights, the name of the tensor and both shapes.
    pub fn new(files: &ClipFiles<'_>) -> Result<Self> {
        let cfg = ClipConfig::parse(files.config)?;
        let side = cfg.vision_config.image_size;
        let preprocess = Preprocess::parse(files.preprocessor, side)?;
        let tokenizer = Tokenizer::from_vocab_lines(files.vocabulary)
            .map_err(|error| Error::clip("vocab.txt", error))?;
        let rows = cfg.text_config.vocab_size;
        if tokenizer.vocab_size() > rows {
            let n = tokenizer.vocab_size();
            let problem =
                format!("{n} tokens, but text_config.vocab_size of config.json is {rows}");
            return Err(Error::clip("vocab.txt", problem));
        }
        let weights = Weights::parse(files.weights)?;
        let text = TextTower::new(&weights, &cfg)?;
        let vision = VisionTower::new(&weights, &cfg)?;
        let scale = weights.take("logit_scale", &[])?;
        weights.finish()?;
        let scale = scale.var().to_scalar::<f32>().map_err(m6_nn::Error::from)?;
        Ok(Self {
            tokenizer,
            preprocess,
            text,
            vision,
            logit_scale: f64::from(scale).exp(),
            n_tokens: CONTEXT.min(cfg.text_config.max_position_embeddings),
        })
    }

    /// What a cosine is multiplied by to give a logit of the contrastive loss.
    pub fn logit_scale(&self) -> f64 {
        self.logit_scale
    }

    /// Features of pictures, `e` numbers of length 1 each.
    ///
    /// # Errors
    /// [`Error::Clip`] when features are not finite, which only damaged weights bring about.
    pub fn images(&self, pictures: &[Rgb8]) -> Result<Vec<Vec<f32>>> {
        pictures.iter().map(|picture| self.image(picture)).collect()
    }

    /// Features of texts, `e` numbers of length 1 each; what is beyond 50 tokens is cut off.
    ///
    /// # Errors
    /// As [`ChineseClip::images`].
    pub fn texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        texts.iter().map(|text| self.text(text)).collect()
    }

    /// Cosine (-1..=1) of the features of each picture and those of the prompt.
    ///
    /// # Errors
    /// As [`ChineseClip::images`].
    pub fn score(&self, prompt: &str, pictures: &[Rgb8]) -> Result<Vec<f64>> {
        let text = self.text(prompt)?;
        let images = self.images(pictures)?;
        Ok(images.iter().map(|image| cosine(image, &text)).collect())
    }

    fn image(&self, picture: &Rgb8) -> Result<Vec<f32>> {
        let pixels = self.preprocess.pixels(picture)?;
        unit(&no_grad(|| self.vision.forward(&pixels))?)
    }

    fn text(&self, text: &str) -> Result<Vec<f32>> {
        let ids = self.tokens(text);
        unit(&no_grad(|| self.text.forward(&ids))?)
    }

    /// Ids of a text between the two that enclose it.
    fn tokens(&self, text: &str) -> Vec<u32> {
        let marks = self.tokenizer.special();
        let inner = self.tokenizer.encode(text);
        let most = self.n_tokens.saturating_sub(2);
        [marks.cls]
            .into_iter()
            .chain(inner.into_iter().take(most))
            .chain([marks.sep])
            .collect()
    }
}

/// Product of two features of length 1, summed in `f64`.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

/// `[1, e]` at length 1.
fn unit(features: &Tensor) -> Result<Vec<f32>> {
    let features = view::<f32>(features)?;
    let squares = features.iter().map(|v| f64::from(*v) * f64::from(*v));
    let length = squares.sum::<f64>().sqrt();
    if !(length.is_finite() && length > 0.0) {
        let problem = format!("features of length {length}: the weights are damaged");
        return Err(Error::clip("model.safetensors", problem));
    }
    Ok(features
        .iter()
        .map(|v| (f64::from(*v) / length) as f32)
        .collect())
}

#[cfg(test)]
mod tests;

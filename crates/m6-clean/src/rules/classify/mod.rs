//! A linear classifier of texts over hashed character n-grams: trained here on labelled examples, kept in one file (ours).
//!
//! Logistic regression, as fastText is without its hidden layer: a text is the average of its character n-grams, each a bucket of a hash
//! table. It tells good text from spam, advertisements or machine-made pages well enough to sort a corpus, at millions of
//! characters a second. M6 used detectors of its own (paper section 1.2) that were never published.

mod features;
mod file;
mod train;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use features::Features;

pub use train::{Config, Epoch, Example, Metrics, Trained, evaluate, train};

/// Buckets are at least 2^8 and at most 2^24.
pub const BITS: std::ops::RangeInclusive<u32> = 8..=24;
/// Lengths of n-grams that a model can use, in characters.
pub const N_GRAMS: std::ops::RangeInclusive<u32> = 1..=6;

/// What a model looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// The number of buckets, as a power of two: 8 to 24.
    pub bits: u32,
    /// The shortest n-gram, characters.
    pub min_n: u32,
    /// The longest n-gram, characters; at most 6.
    pub max_n: u32,
    /// Characters looked at, from the start of the text, blanks left out.
    pub max_chars: u32,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            bits: 18,
            min_n: 1,
            max_n: 3,
            max_chars: 4096,
        }
    }
}

impl Shape {
    /// True when every value is in its range.
    fn is_valid(&self) -> bool {
        BITS.contains(&self.bits)
            && N_GRAMS.contains(&self.min_n)
            && (self.min_n..=*N_GRAMS.end()).contains(&self.max_n)
            && self.max_chars > 0
    }

    fn n_buckets(&self) -> usize {
        1 << self.bits
    }
}

/// A trained classifier in memory; shared freely between threads.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    shape: Shape,
    bias: f32,
    weights: Vec<f32>,
    blake3: String,
}

impl Model {
    /// Reads a model file.
    ///
    /// # Errors
    /// [`crate::Error::Io`], or [`crate::Error::Damaged`] for a file that is no model of this format or does not match its hash.
    pub fn load(path: &Path) -> Result<Self> {
        file::load(path)
    }

    /// Writes the model, whole or not at all.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        file::save(self, path)
    }

    /// What the model looks at.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The hash of the model's file, 64 hexadecimal digits; empty for a model that was trained and not loaded.
    pub fn blake3(&self) -> &str {
        &self.blake3
    }

    /// The probability, in 0..=1, that a text belongs to the class labelled true; a text without visible characters gets the
    /// probability of the class as such.
    pub fn score(&self, text: &str) -> f64 {
        sigmoid(self.margin(&Features::of(text, &self.shape)))
    }

    /// Log-odds; the sum runs in the order of the text, so that it is the same everywhere.
    fn margin(&self, features: &Features) -> f64 {
        let sum: f64 = features
            .buckets
            .iter()
            .filter_map(|bucket| self.weights.get(*bucket as usize))
            .map(|weight| f64::from(*weight))
            .sum();
        f64::from(self.bias) + sum * features.weight
    }
}

/// 1 / (1 + e^-x), without overflow.
fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + libm::exp(-x))
    } else {
        let e = libm::exp(x);
        e / (1.0 + e)
    }
}

#[cfg(test)]
mod tests;

//! A character n-gram language model: trained here, kept in one compact file, asked for perplexities.
//!
//! Interpolated modified Kneser-Ney smoothing (Chen and Goodman, 1999) over folded characters, in back-off form: a text's perplexity
//! says how unlike the training text it is. M6 drops sentences of high perplexity without giving the model or the threshold
//! (paper section 1.2); both are ours, and thresholds are taken as quantiles of a sample.

mod arpa;
mod counts;
mod estimate;
mod file;
mod score;
mod table;
mod train;
mod vocab;

use std::path::Path;

use crate::Result;
use table::{Table, extend, start};
use vocab::Vocab;

pub use train::{Config, Report, Trained, train};

/// Orders that a model can have.
pub const ORDERS: std::ops::RangeInclusive<usize> = 2..=6;
/// The longest model file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 8 << 30;
/// Sentences are scored in pieces of this many characters, so that a page without an end mark needs no memory of its own.
const MAX_SENTENCE_CHARS: usize = 4096;

/// A trained model in memory; shared freely between threads.
#[derive(Clone, Debug)]
pub struct Model {
    vocab: Vocab,
    /// Probability and back-off of each id, packed as in [`table`].
    unigrams: Vec<u32>,
    /// Tables of order 2 and up.
    tables: Vec<Table>,
    blake3: String,
}

/// How well a text is predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Sum of the base-2 logarithms of the probabilities; at most 0.
    pub log2_prob: f64,
    /// Predicted tokens: characters and sentence ends.
    pub n_tokens: u64,
    /// Characters among them that the model does not know.
    pub n_unknown: u64,
}

impl Score {
    /// 2 to the mean surprise a token, at least 1; `None` when nothing was predicted.
    pub fn perplexity(&self) -> Option<f64> {
        (self.n_tokens > 0).then(|| libm::exp2(-self.log2_prob / self.n_tokens as f64))
    }
}

impl Model {
    /// Reads a model file.
    ///
    /// # Errors
    /// [`crate::Error::Io`], or [`crate::Error::Damaged`] for a file that is no model of this format or does not match its hash.
    pub fn load(path: &Path) -> Result<Self> {
        file::load(path)
    }

    /// Reads a model of characters in the ARPA format that SRILM, KenLM and others write, order 2 to 6. Its characters must be folded as
    /// here (small letters, half width, every digit `0`) to be met.
    ///
    /// # Errors
    /// [`crate::Error::Io`], or [`crate::Error::Damaged`] with the line for a file that is no such model.
    pub fn from_arpa(path: &Path) -> Result<Self> {
        arpa::load(path)
    }

    /// Writes the model, whole or not at all.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        file::save(self, path)
    }

    /// The longest n-gram.
    pub fn order(&self) -> usize {
        self.tables.len() + 1
    }

    /// The hash of the file it was read from, 64 hexadecimal digits; empty for a model that was trained and not loaded.
    pub fn blake3(&self) -> &str {
        &self.blake3
    }

    /// Perplexity a character of a text, each sentence on its own, ends of sentences predicted too; `None` for a text without
    /// visible characters.
    pub fn perplexity(&self, text: &str) -> Option<f64> {
        self.score(text).perplexity()
    }

    /// Scores the sentences of all lines of a text.
    pub fn score(&self, text: &str) -> Score {
        score::score(self, text)
    }

    /// Packed probability and back-off of an n-gram given from its first id to its last.
    fn packed(&self, ids: &[u16]) -> Option<u32> {
        let (last, history) = ids.split_last()?;
        if history.is_empty() {
            return self.unigrams.get(usize::from(*last)).copied();
        }
        let hash = history
            .iter()
            .rev()
            .fold(start(*last), |hash, id| extend(hash, *id));
        self.tables.get(history.len() - 1)?.get(hash)
    }
}

#[cfg(test)]
mod tests;

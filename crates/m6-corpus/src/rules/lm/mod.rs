//! A character n-gram language model: trained here, kept in one compact file, asked for perplexities.
//!
//! Interpolated modified Kneser-Ney smoothing (Chen and Goodman, 1999) over folded characters, in back-off form: a text's perplexity
//! says how unlike the training text it is. M6 drops sentences of high perplexity without giving the model or the threshold
//! (paper section 1.2); both are ours, and thresholds are taken as quantiles of a sample.

mod arpa;
mod counts;
mod estimate;
mod file;
mod table;
mod train;
mod vocab;

use std::path::Path;

use super::split;
use crate::Result;
use table::{Table, extend, log2_of, start};
use vocab::{BOS, EOS, Vocab};

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
        let mut score = Score::default();
        let mut ids = Vec::new();
        for line in text.lines() {
            for sentence in split::sentences(line) {
                self.score_sentence(&line[sentence], &mut ids, &mut score);
            }
        }
        score
    }

    fn score_sentence(&self, sentence: &str, ids: &mut Vec<u16>, score: &mut Score) {
        let mut known = sentence
            .chars()
            .filter_map(super::fold::fold)
            .map(|c| self.vocab.id(c))
            .peekable();
        while known.peek().is_some() {
            ids.clear();
            ids.push(BOS);
            ids.extend(known.by_ref().take(MAX_SENTENCE_CHARS));
            ids.push(EOS);
            let mut backoffs = Backoffs::default();
            for at in 0..ids.len() {
                let log2_prob = self.next(&ids[..=at], &mut backoffs);
                if at > 0 {
                    score.log2_prob += log2_prob;
                }
            }
            score.n_tokens += ids.len() as u64 - 1;
            score.n_unknown += ids.iter().filter(|id| **id == vocab::UNK).count() as u64;
        }
    }

    /// The base-2 logarithm of the last id's probability after the others, with the back-offs of the n-grams that end before it;
    /// leaves those of the n-grams that end in it.
    #[inline]
    fn next(&self, ids: &[u16], backoffs: &mut Backoffs) -> f64 {
        let mut found = Backoffs::default();
        let Some((&last, history)) = ids.split_last() else {
            return 0.0;
        };
        let (mut log2_prob, backoff) = log2_of(
            self.unigrams
                .get(usize::from(last))
                .copied()
                .unwrap_or_default(),
        );
        found.push(backoff);
        let mut hash = start(last);
        for (table, previous) in self.tables.iter().zip(history.iter().rev()) {
            hash = extend(hash, *previous);
            let Some(packed) = table.get(hash) else { break };
            let (longer, backoff) = log2_of(packed);
            log2_prob = longer;
            found.push(backoff);
        }
        // The contexts longer than the one used were seen, but not with this character: each hands on its share. The n-gram
        // found has `found.len` ids, so that it used a context one shorter; a context of all the order allows never hands on.
        let longest = backoffs.len.min(self.tables.len());
        for backoff in backoffs
            .values
            .get(found.len - 1..longest)
            .unwrap_or_default()
            .iter()
        {
            log2_prob += backoff;
        }
        *backoffs = found;
        log2_prob
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

/// Logarithms of the back-offs of the n-grams that end in one place, shortest first.
#[derive(Clone, Copy, Default)]
struct Backoffs {
    values: [f64; 6],
    len: usize,
}

impl Backoffs {
    fn push(&mut self, value: f64) {
        if let Some(place) = self.values.get_mut(self.len) {
            *place = value;
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests;

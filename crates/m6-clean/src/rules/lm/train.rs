//! Training: lines in, a model and what it was made of out.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::counts::count;
use super::estimate::estimate;
use super::vocab::{BOS, EOS, MAX_CHARS, UNK, Vocab};
use super::{MAX_SENTENCE_CHARS, Model, ORDERS};
use crate::rules::fold::fold;
use crate::rules::split;
use crate::{Error, Result};

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The longest n-gram, 2 to 6 characters.
    pub order: usize,
    /// Least count for an n-gram to stay, by order from 1; the last one also stands for the orders above. Lower orders count
    /// distinct characters before the n-gram.
    pub min_counts: Vec<u32>,
    /// Characters that occur less often are unknown to the model.
    pub min_char_count: u64,
    /// The most characters the model knows, at most 65,533.
    pub max_vocab: usize,
    /// Training text beyond this many characters is left out; training takes some 60 bytes of memory for each.
    pub max_chars: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            order: 5,
            min_counts: vec![1, 1, 1, 2, 2],
            min_char_count: 2,
            max_vocab: 30_000,
            max_chars: 16 << 20,
        }
    }
}

/// What a model was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Sentences used.
    pub n_sentences: u64,
    /// Characters used, blanks left out.
    pub n_chars: u64,
    /// Characters among them that the vocabulary does not hold.
    pub n_unknown: u64,
    /// True when text was left out because of `max_chars`.
    pub is_cut: bool,
    /// Characters the model knows.
    pub n_vocab: u64,
    /// N-grams in the model, by order from 1.
    pub n_grams: Vec<u64>,
}

/// A new model with its report.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model.
    pub model: Model,
    /// What it was made of.
    pub report: Report,
}

/// Folded sentences, one after another.
#[derive(Default)]
struct Sample {
    chars: Vec<char>,
    /// Where each sentence ends in `chars`.
    ends: Vec<usize>,
    is_cut: bool,
}

/// Trains a model on lines of text; the same lines give the same model for any number of threads.
///
/// # Errors
/// [`Error::Config`] for an order or a vocabulary out of range, or when no line holds a visible character.
pub fn train<S: AsRef<str>>(
    lines: impl IntoIterator<Item = S>,
    config: &Config,
) -> Result<Trained> {
    if !ORDERS.contains(&config.order) {
        let (least, most) = (ORDERS.start(), ORDERS.end());
        return Err(Error::Config(format!(
            "language model: order {} is not in {least}..={most}",
            config.order
        )));
    }
    if !(1..=MAX_CHARS).contains(&config.max_vocab) {
        return Err(Error::Config(format!(
            "language model: max_vocab {} is not in 1..={MAX_CHARS}",
            config.max_vocab
        )));
    }
    let sample = collect(lines, config.max_chars);
    if sample.chars.is_empty() {
        return Err(Error::Config(
            "language model: the training text is empty".to_owned(),
        ));
    }
    let mut counts: FxHashMap<char, u64> = FxHashMap::default();
    for c in &sample.chars {
        *counts.entry(*c).or_default() += 1;
    }
    let counts: BTreeMap<char, u64> = counts.into_iter().collect();
    let vocab = Vocab::of_counts(&counts, config.min_char_count, config.max_vocab);
    let mut report = Report {
        n_sentences: sample.ends.len() as u64,
        n_chars: sample.chars.len() as u64,
        is_cut: sample.is_cut,
        n_vocab: vocab.chars().len() as u64,
        ..Report::default()
    };
    let ids = number(sample, &vocab);
    report.n_unknown = ids.iter().filter(|id| **id == UNK).count() as u64;
    let sentences: Vec<&[u16]> = ids.chunk_by(|_, next| *next != BOS).collect();
    let model = estimate(vocab, &count(&sentences, config.order), &config.min_counts);
    report.n_grams = std::iter::once(model.unigrams.len())
        .chain(model.tables.iter().map(|table| table.len()))
        .map(|n| n as u64)
        .collect();
    Ok(Trained { model, report })
}

fn collect<S: AsRef<str>>(lines: impl IntoIterator<Item = S>, max_chars: usize) -> Sample {
    let mut sample = Sample::default();
    for text in lines {
        for line in text.as_ref().lines() {
            for sentence in split::sentences(line) {
                if sample.chars.len() >= max_chars {
                    sample.is_cut = true;
                    return sample;
                }
                let begin = sample.chars.len();
                let room = MAX_SENTENCE_CHARS.min(max_chars - begin);
                let mut folded = line[sentence].chars().filter_map(fold);
                sample.chars.extend(folded.by_ref().take(room));
                sample.is_cut |= folded.next().is_some();
                if sample.chars.len() > begin {
                    sample.ends.push(sample.chars.len());
                }
            }
        }
    }
    sample
}

/// The sentences as ids, each between its marks.
fn number(sample: Sample, vocab: &Vocab) -> Vec<u16> {
    let mut ids = Vec::with_capacity(sample.chars.len() + 2 * sample.ends.len());
    let mut begin = 0;
    for end in sample.ends {
        ids.push(BOS);
        ids.extend(
            sample
                .chars
                .get(begin..end)
                .unwrap_or_default()
                .iter()
                .map(|c| vocab.id(*c)),
        );
        ids.push(EOS);
        begin = end;
    }
    ids
}

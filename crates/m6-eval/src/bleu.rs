//! BLEU-1 to BLEU-4 as in pycocoevalcap: closest reference length, its two smoothing constants.

use crate::ngrams::{Counted, MAX_ORDER, Sentences, lookup};
use rayon::prelude::*;

/// Added to counts of matches, so that no match gives almost 0 (pycocoevalcap).
const TINY: f64 = 1e-15;
/// Added to counts of n-grams, so that an empty sentence divides by no zero (pycocoevalcap).
const SMALL: f64 = 1e-9;

/// BLEU of a corpus and of each item alone, orders 1 to 4.
#[derive(Clone, Debug, PartialEq)]
pub struct BleuScores {
    /// From the summed counts of all items.
    pub corpus: [f64; MAX_ORDER],
    /// Of each item, in order.
    pub per_item: Vec<[f64; MAX_ORDER]>,
}

/// What BLEU needs to know of an item; sums over items are meaningful.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    n_candidate: u64,
    n_reference: u64,
    n_guessed: [u64; MAX_ORDER],
    n_correct: [u64; MAX_ORDER],
}

impl Totals {
    /// Columns of [`Totals::row`].
    pub(crate) const WIDTH: usize = 2 + 2 * MAX_ORDER;

    /// The counts as one row.
    pub(crate) fn row(&self) -> [f64; Self::WIDTH] {
        let mut row = [
            self.n_candidate as f64,
            self.n_reference as f64,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ];
        for k in 0..MAX_ORDER {
            row[2 + k] = self.n_guessed[k] as f64;
            row[2 + MAX_ORDER + k] = self.n_correct[k] as f64;
        }
        row
    }

    /// BLEU of the sum of such rows.
    pub(crate) fn score_of(sums: &[f64]) -> [f64; MAX_ORDER] {
        score(&Self {
            n_candidate: sums[0] as u64,
            n_reference: sums[1] as u64,
            n_guessed: std::array::from_fn(|k| sums[2 + k] as u64),
            n_correct: std::array::from_fn(|k| sums[2 + MAX_ORDER + k] as u64),
        })
    }
}

/// BLEU of every item and of the corpus. An item without references counts as one whose closest
/// reference is empty.
pub fn bleu(items: &[Sentences]) -> BleuScores {
    let totals = items.par_iter().map(|i| totals(i, &Counted::of(i)));
    of_totals(&totals.collect::<Vec<_>>())
}

/// BLEU of items and of their corpus.
pub(crate) fn of_totals(totals: &[Totals]) -> BleuScores {
    let mut sum = Totals::default();
    for item in totals {
        sum.n_candidate += item.n_candidate;
        sum.n_reference += item.n_reference;
        for k in 0..MAX_ORDER {
            sum.n_guessed[k] += item.n_guessed[k];
            sum.n_correct[k] += item.n_correct[k];
        }
    }
    BleuScores {
        corpus: score(&sum),
        per_item: totals.iter().map(score).collect(),
    }
}

/// What BLEU needs of an item and its counts.
pub(crate) fn totals(item: &Sentences, counted: &Counted) -> Totals {
    let n_candidate = item.candidate.len();
    let mut totals = Totals {
        n_candidate: n_candidate as u64,
        n_reference: closest_length(item) as u64,
        ..Totals::default()
    };
    for (k, grams) in counted.candidate.iter().enumerate() {
        totals.n_guessed[k] = n_candidate.saturating_sub(k) as u64;
        for (gram, n) in grams {
            let allowed = counted.references.iter().map(|r| lookup(&r[k], gram));
            let allowed = allowed.max();
            totals.n_correct[k] += u64::from(allowed.unwrap_or(0).min(*n));
        }
    }
    totals
}

/// Length of the reference nearest in length; of two as near, the shorter.
fn closest_length(item: &Sentences) -> usize {
    let n = item.candidate.len();
    let lengths = item.references.iter().map(Vec::len);
    lengths
        .min_by_key(|len| (len.abs_diff(n), *len))
        .unwrap_or(0)
}

fn score(totals: &Totals) -> [f64; MAX_ORDER] {
    let ratio = (totals.n_candidate as f64 + TINY) / (totals.n_reference as f64 + SMALL);
    let brevity = if ratio < 1.0 {
        (1.0 - 1.0 / ratio).exp()
    } else {
        1.0
    };
    let mut product = 1.0;
    std::array::from_fn(|k| {
        product *= (totals.n_correct[k] as f64 + TINY) / (totals.n_guessed[k] as f64 + SMALL);
        product.powf(1.0 / (k + 1) as f64) * brevity
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(candidate: &[u32], references: &[&[u32]]) -> Sentences {
        Sentences {
            candidate: candidate.to_vec(),
            references: references.iter().map(|r| r.to_vec()).collect(),
        }
    }

    #[test]
    fn a_repeated_word_counts_as_often_as_one_reference_has_it() {
        let scores = bleu(&[item(&[1, 1, 1, 1], &[&[1, 2, 1, 3], &[1, 4, 5, 6]])]);
        assert!((scores.corpus[0] - 0.5).abs() < 1e-8);
        assert!(scores.corpus[1] < 1e-6);
    }

    #[test]
    fn the_nearest_reference_sets_the_length_and_the_shorter_wins_a_tie() {
        assert_eq!(
            closest_length(&item(&[1; 5], &[&[1; 9], &[1; 6], &[1; 4]])),
            4
        );
        let short = bleu(&[item(&[1, 2], &[&[1, 2, 3, 4]])]).corpus[0];
        assert!((short - (-1.0f64).exp()).abs() < 1e-8);
    }

    #[test]
    fn an_empty_candidate_scores_nothing() {
        let scores = bleu(&[item(&[], &[&[1, 2]])]);
        assert!(scores.corpus.iter().all(|s| *s < 1e-9));
    }
}

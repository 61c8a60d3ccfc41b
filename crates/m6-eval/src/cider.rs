//! CIDEr as pycocoevalcap's `Cider` computes it (CIDEr-D: clipped counts, length penalty).

use crate::ngrams::{Counts, Gram, MAX_ORDER, Sentences, count};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

/// Width of the length penalty.
const SIGMA: f64 = 6.0;
/// Scale of the score.
const SCALE: f64 = 10.0;

/// CIDEr of a corpus and of each item.
#[derive(Clone, Debug, PartialEq)]
pub struct CiderScores {
    /// Mean over the items.
    pub mean: f64,
    /// Of each item, in order.
    pub per_item: Vec<f64>,
}

/// Weighted n-grams of a sentence.
struct Vector {
    /// Per order, n-grams in order.
    weights: [Vec<(Gram, f64)>; MAX_ORDER],
    norms: [f64; MAX_ORDER],
    /// Number of bigrams, which pycocoevalcap takes for the length.
    length: f64,
}

/// Rarity of n-grams among the reference sets.
struct Rarity {
    n_items_with: FxHashMap<Gram, u32>,
    log_n_items: f64,
}

/// CIDEr of every item; the rarity of n-grams is taken from the references of the same items.
/// One item alone scores 0, since its n-grams are in every item there is.
pub fn cider(items: &[Sentences]) -> CiderScores {
    let references: Vec<Vec<Counts>> = items
        .par_iter()
        .map(|item| item.references.iter().map(|r| count(r)).collect())
        .collect();
    let rarity = Rarity::of(&references);
    let per_item: Vec<f64> = items
        .par_iter()
        .zip(&references)
        .map(|(item, references)| rarity.score(&item.candidate, references))
        .collect();
    CiderScores {
        mean: per_item.iter().sum::<f64>() / per_item.len().max(1) as f64,
        per_item,
    }
}

impl Rarity {
    fn of(references: &[Vec<Counts>]) -> Self {
        let mut n_items_with: FxHashMap<Gram, u32> = FxHashMap::default();
        let mut seen = FxHashSet::default();
        for item in references {
            seen.clear();
            for (gram, _) in item.iter().flatten().flatten() {
                if seen.insert(*gram) {
                    *n_items_with.entry(*gram).or_default() += 1;
                }
            }
        }
        Self {
            n_items_with,
            log_n_items: (references.len() as f64).ln(),
        }
    }

    fn weight(&self, gram: &Gram, n: u32) -> f64 {
        let n_items_with = self.n_items_with.get(gram).copied().unwrap_or(0);
        f64::from(n) * (self.log_n_items - f64::from(n_items_with.max(1)).ln())
    }

    fn vector(&self, counts: &Counts) -> Vector {
        let weights: [Vec<(Gram, f64)>; MAX_ORDER] = std::array::from_fn(|k| {
            let weighted = counts[k].iter().map(|(g, n)| (*g, self.weight(g, *n)));
            weighted.collect()
        });
        let norms = std::array::from_fn(|k| {
            let squares: f64 = weights[k].iter().map(|(_, w)| w * w).sum();
            squares.sqrt()
        });
        Vector {
            weights,
            norms,
            length: counts[1].iter().map(|(_, n)| f64::from(*n)).sum(),
        }
    }

    fn score(&self, candidate: &[u32], references: &[Counts]) -> f64 {
        let candidate = self.vector(&count(candidate));
        let sum: f64 = references
            .iter()
            .map(|r| similarity(&candidate, &self.vector(r)))
            .sum();
        SCALE * sum / references.len().max(1) as f64
    }
}

/// Mean over the orders of the clipped cosine, times the length penalty.
fn similarity(candidate: &Vector, reference: &Vector) -> f64 {
    let delta = candidate.length - reference.length;
    let penalty = (-delta * delta / (2.0 * SIGMA * SIGMA)).exp();
    let mut sum = 0.0;
    for k in 0..MAX_ORDER {
        let mut product = clipped_product(&candidate.weights[k], &reference.weights[k]);
        let norms = candidate.norms[k] * reference.norms[k];
        if norms != 0.0 {
            product /= norms;
        }
        sum += product * penalty;
    }
    sum / MAX_ORDER as f64
}

/// Sum over common n-grams of `min(candidate, reference) * reference`; both lists are in order.
fn clipped_product(candidate: &[(Gram, f64)], reference: &[(Gram, f64)]) -> f64 {
    let mut sum = 0.0;
    let mut rest = reference.iter().peekable();
    for (gram, weight) in candidate {
        while rest.next_if(|(other, _)| other < gram).is_some() {}
        if let Some((_, other)) = rest.next_if(|(other, _)| other == gram) {
            sum += weight.min(*other) * other;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(candidate: &[u32], reference: &[u32]) -> Sentences {
        Sentences {
            candidate: candidate.to_vec(),
            references: vec![reference.to_vec()],
        }
    }

    #[test]
    fn a_perfect_candidate_scores_ten() {
        let items = [
            item(&[1, 2, 3, 4], &[1, 2, 3, 4]),
            item(&[5], &[6, 7, 8, 9]),
        ];
        let scores = cider(&items);
        assert!((scores.per_item[0] - 10.0).abs() < 1e-12);
        assert_eq!(scores.per_item[1], 0.0);
        assert!((scores.mean - 5.0).abs() < 1e-12);
    }

    #[test]
    fn words_of_every_item_weigh_nothing() {
        let items = [item(&[1], &[1, 2]), item(&[1], &[1, 3])];
        assert_eq!(cider(&items).mean, 0.0);
        assert_eq!(cider(&items[..1]).mean, 0.0);
        assert_eq!(cider(&[]).mean, 0.0);
    }
}

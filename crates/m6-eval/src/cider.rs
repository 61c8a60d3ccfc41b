//! CIDEr as pycocoevalcap's `Cider` computes it (CIDEr-D: clipped counts, length penalty).

use crate::ngrams::{Counted, Counts, Gram, MAX_ORDER, Sentences, gram};
use rayon::prelude::*;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::hash::BuildHasher;

/// Width of the length penalty.
const SIGMA: f64 = 6.0;
/// Scale of the score.
const SCALE: f64 = 10.0;
/// Items whose n-grams are in memory at once while rarities are counted.
const BLOCK: usize = 4096;
/// Counts whose logarithm is looked up.
const N_LOGS: usize = 1024;

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
pub(crate) struct Rarity {
    /// Items that have an n-gram; an n-gram is in the map of its hash, so that several threads can count.
    n_items_with: Vec<FxHashMap<Gram, u32>>,
    log_n_items: f64,
    /// Of small counts, since most are.
    logs: Vec<f64>,
}

/// CIDEr of every item; the rarity of n-grams is taken from the references of the same items.
/// One item alone scores 0, since its n-grams are in every item there is.
pub fn cider(items: &[Sentences]) -> CiderScores {
    let rarity = Rarity::of(items);
    let per_item = items.par_iter().map(|i| rarity.score(&Counted::of(i)));
    CiderScores::of(per_item.collect())
}

impl CiderScores {
    /// The scores of items and their mean.
    pub(crate) fn of(per_item: Vec<f64>) -> Self {
        Self {
            mean: per_item.iter().sum::<f64>() / per_item.len().max(1) as f64,
            per_item,
        }
    }
}

/// CIDEr of one sentence at a time, with the rarity of n-grams among references known before: a reward for a model that learns to write.
pub struct CiderReward(Rarity);

impl CiderReward {
    /// Takes the rarity of n-grams from the references of all items, as rows of token numbers.
    pub fn new(references: Vec<Vec<Vec<u32>>>) -> Self {
        let items = references.into_iter().map(|references| Sentences {
            references,
            ..Sentences::default()
        });
        Self(Rarity::of(&items.collect::<Vec<_>>()))
    }

    /// CIDEr of an item, 0 to 10 and not bounded by it; 0 without references.
    pub fn of(&self, item: &Sentences) -> f64 {
        self.0.score(&Counted::of(item))
    }
}

/// The different n-grams of all orders that an item's references have.
fn distinct(item: &Sentences) -> Vec<Gram> {
    let mut grams = Vec::new();
    for reference in &item.references {
        for order in 1..=MAX_ORDER {
            grams.extend(reference.windows(order).map(gram));
        }
    }
    grams.sort_unstable();
    grams.dedup();
    grams
}

impl Rarity {
    pub(crate) fn of(items: &[Sentences]) -> Self {
        let n_maps = rayon::current_num_threads().clamp(1, 16);
        let mut n_items_with: Vec<FxHashMap<Gram, u32>> = vec![FxHashMap::default(); n_maps];
        for block in items.chunks(BLOCK) {
            let grams: Vec<Vec<Gram>> = block.par_iter().map(distinct).collect();
            n_items_with
                .par_iter_mut()
                .enumerate()
                .for_each(|(at, map)| {
                    let all = grams.iter().flatten();
                    for gram in all.filter(|gram| map_of(gram, n_maps) == at) {
                        *map.entry(*gram).or_default() += 1;
                    }
                });
        }
        Self {
            n_items_with,
            log_n_items: (items.len() as f64).ln(),
            logs: (0..N_LOGS).map(|n| (n.max(1) as f64).ln()).collect(),
        }
    }

    fn weight(&self, gram: &Gram, n: u32) -> f64 {
        let map = &self.n_items_with[map_of(gram, self.n_items_with.len())];
        let n_items_with = map.get(gram).copied().unwrap_or(0);
        let log = match self.logs.get(n_items_with as usize) {
            Some(log) => *log,
            None => f64::from(n_items_with).ln(),
        };
        f64::from(n) * (self.log_n_items - log)
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

    /// CIDEr of an item.
    pub(crate) fn score(&self, item: &Counted) -> f64 {
        let candidate = self.vector(&item.candidate);
        let references = item.references.iter();
        let sum: f64 = references
            .map(|r| similarity(&candidate, &self.vector(r)))
            .sum();
        SCALE * sum / item.references.len().max(1) as f64
    }
}

/// The map that counts an n-gram. The maps themselves use the first and the last bits of the hash.
fn map_of(gram: &Gram, n_maps: usize) -> usize {
    (FxBuildHasher.hash_one(gram) >> 24) as usize % n_maps
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
    fn the_reward_of_a_sentence_is_its_score_in_the_corpus() {
        let items = [
            item(&[1, 2, 5, 4], &[1, 2, 3, 4]),
            item(&[6, 7, 1], &[6, 7, 8, 9]),
            item(&[8, 9], &[3, 8, 9]),
        ];
        let reward = CiderReward::new(items.iter().map(|i| i.references.clone()).collect());
        let scores: Vec<f64> = items.iter().map(|item| reward.of(item)).collect();
        assert_eq!(scores, cider(&items).per_item);
    }

    #[test]
    fn words_of_every_item_weigh_nothing() {
        let items = [item(&[1], &[1, 2]), item(&[1], &[1, 3])];
        assert_eq!(cider(&items).mean, 0.0);
        assert_eq!(cider(&items[..1]).mean, 0.0);
        assert_eq!(cider(&[]).mean, 0.0);
    }
}

//! From counts to probabilities: interpolated modified Kneser-Ney (Chen and Goodman, 1999), with pruning as KenLM does it.

use super::counts::{Grams, context, ids, suffix};
use super::table::{Table, extend, log2_of, pack, start, with_backoff};
use super::vocab::{BOS, Vocab};
use super::{Model, ORDERS};

/// Used where a small or uniform sample gives no valid estimate (KenLM's fallback).
const FALLBACK: [f64; 3] = [0.5, 1.0, 1.5];

/// What is taken from counts of 1, of 2, and of 3 and more.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Discounts([f64; 3]);

impl Discounts {
    fn of(counts: &[u32]) -> Self {
        let mut n = [0u64; 5];
        for count in counts {
            if let Some(n) = n.get_mut(*count as usize) {
                *n += 1;
            }
        }
        let [_, n1, n2, n3, n4] = n.map(|n| n as f64);
        if n1 * n2 * n3 == 0.0 {
            return Self(FALLBACK);
        }
        let y = n1 / (n1 + 2.0 * n2);
        let discounts = [
            1.0 - 2.0 * y * n2 / n1,
            2.0 - 3.0 * y * n3 / n2,
            3.0 - 4.0 * y * n4 / n3,
        ];
        let is_valid = discounts
            .iter()
            .zip(1..)
            .all(|(discount, count)| *discount > 0.0 && *discount <= f64::from(count));
        Self(if is_valid { discounts } else { FALLBACK })
    }

    fn take(&self, count: u32) -> f64 {
        match count {
            0 => 0.0,
            1 => self.0[0],
            2 => self.0[1],
            _ => self.0[2],
        }
    }
}

/// Which n-grams stay, by order from 2: those counted often enough, and every context and suffix of one that stays, so that a
/// longer n-gram is never found without its shorter ones.
fn keep(orders: &[Grams], min_counts: &[u32]) -> Vec<Vec<bool>> {
    let mut needed: Vec<u128> = Vec::new();
    let mut kept = Vec::new();
    for (n, grams) in (1..)
        .zip(orders)
        .skip(1)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        let min_count = min_counts
            .get(n - 1)
            .or(min_counts.last())
            .copied()
            .unwrap_or(1);
        let mut wanted = needed.iter().peekable();
        let flags: Vec<bool> = grams
            .keys
            .iter()
            .zip(&grams.counts)
            .map(|(key, count)| {
                while wanted.next_if(|wanted| *wanted < key).is_some() {}
                *count >= min_count || wanted.peek() == Some(&key)
            })
            .collect();
        let staying = || {
            grams
                .keys
                .iter()
                .zip(&flags)
                .filter(|(_, stays)| **stays)
                .map(|(key, _)| *key)
        };
        let mut below: Vec<u128> = staying()
            .map(context)
            .chain(staying().map(|key| suffix(key, n)))
            .collect();
        below.sort_unstable();
        below.dedup();
        needed = below;
        kept.push(flags);
    }
    kept.reverse();
    kept
}

/// Estimates a model from the counts of all orders; `min_counts` by order, the last one also for what lies above.
pub(super) fn estimate(vocab: Vocab, orders: &[Grams], min_counts: &[u32]) -> Model {
    let kept = keep(orders, min_counts);
    let unigrams = orders
        .first()
        .map(|grams| unigrams(&vocab, grams))
        .unwrap_or_default();
    let mut model = Model {
        vocab,
        unigrams,
        tables: Vec::new(),
        blake3: String::new(),
    };
    for (n, (grams, flags)) in (2..=*ORDERS.end()).zip(orders.iter().skip(1).zip(&kept)) {
        add_order(&mut model, n, grams, flags);
    }
    model
}

/// Interpolated with the uniform distribution over everything that can be predicted.
fn unigrams(vocab: &Vocab, grams: &Grams) -> Vec<u32> {
    let discounts = Discounts::of(&grams.counts);
    let total: f64 = grams.counts.iter().map(|count| f64::from(*count)).sum();
    let handed: f64 = grams
        .counts
        .iter()
        .map(|count| discounts.take(*count))
        .sum();
    let n_predicted = (vocab.n_ids() - 1) as f64;
    let uniform = if total > 0.0 {
        handed / total / n_predicted
    } else {
        1.0 / n_predicted
    };
    let mut probs = vec![uniform; vocab.n_ids()];
    for (key, count) in grams.keys.iter().zip(&grams.counts) {
        if let Some(prob) = probs.get_mut(*key as usize) {
            *prob += (f64::from(*count) - discounts.take(*count)) / total.max(1.0);
        }
    }
    if let Some(beginning) = probs.get_mut(usize::from(BOS)) {
        *beginning = 0.0;
    }
    probs.into_iter().map(|prob| pack(prob, 1.0)).collect()
}

/// Adds the n-grams of order `n` that stay, and the back-off of each context to the order below.
fn add_order(model: &mut Model, n: usize, grams: &Grams, flags: &[bool]) {
    let discounts = Discounts::of(&grams.counts);
    let mut table = Table::with_room(flags.iter().filter(|stays| **stays).count());
    let mut rest = (grams.counts.as_slice(), flags);
    for group in grams.keys.chunk_by(|a, b| context(*a) == context(*b)) {
        let (Some((counts, more_counts)), Some((flags, more_flags))) = (
            rest.0.split_at_checked(group.len()),
            rest.1.split_at_checked(group.len()),
        ) else {
            return;
        };
        rest = (more_counts, more_flags);
        let members = || group.iter().zip(counts).zip(flags);
        let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
        // What is taken from those that stay and the whole of those that go falls to the shorter context.
        let handed: f64 = members()
            .map(|((_, count), stays)| {
                if *stays {
                    discounts.take(*count)
                } else {
                    f64::from(*count)
                }
            })
            .sum();
        let backoff = handed / total;
        let mut stay_any = false;
        for ((key, count), _) in members().filter(|(_, stays)| **stays) {
            stay_any = true;
            let mut hash = None;
            for id in ids(*key, n).rev() {
                hash = Some(hash.map_or_else(|| start(id), |hash| extend(hash, id)));
            }
            let shorter: Vec<u16> = ids(*key, n).skip(1).collect();
            let lower = model
                .packed(&shorter)
                .map_or(0.0, |packed| libm::exp2(log2_of(packed).0));
            let prob = (f64::from(*count) - discounts.take(*count)) / total + backoff * lower;
            table.set(hash.unwrap_or_default(), pack(prob, 1.0));
        }
        if stay_any && let Some(key) = group.first() {
            let context: Vec<u16> = ids(*key, n).take(n - 1).collect();
            set_backoff(model, &context, backoff);
        }
    }
    model.tables.push(table);
}

fn set_backoff(model: &mut Model, context: &[u16], backoff: f64) {
    let Some(packed) = model
        .packed(context)
        .map(|packed| with_backoff(packed, backoff))
    else {
        return;
    };
    let Some((last, history)) = context.split_last() else {
        return;
    };
    if history.is_empty() {
        if let Some(place) = model.unigrams.get_mut(usize::from(*last)) {
            *place = packed;
        }
        return;
    }
    let hash = history
        .iter()
        .rev()
        .fold(start(*last), |hash, id| extend(hash, *id));
    if let Some(table) = model.tables.get_mut(history.len() - 1) {
        table.set(hash, packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::lm::counts::{count, key};

    #[test]
    fn discounts_follow_the_counts_of_counts() {
        // 10 singletons, 5 pairs, 3 triples, 2 of four: y = 0.5.
        let counts: Vec<u32> = [(1, 10), (2, 5), (3, 3), (4, 2)]
            .into_iter()
            .flat_map(|(c, n)| vec![c; n])
            .collect();
        let Discounts(found) = Discounts::of(&counts);
        for (found, expected) in found
            .into_iter()
            .zip([0.5, 1.1, 3.0 - 4.0 * 0.5 * 2.0 / 3.0])
        {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert_eq!(Discounts::of(&[1, 1, 1]), Discounts(FALLBACK));
        assert_eq!(Discounts::of(&[]), Discounts(FALLBACK));
        assert_eq!(Discounts(FALLBACK).take(0), 0.0);
    }

    #[test]
    fn what_stays_keeps_its_contexts_and_suffixes() {
        let sentences: Vec<Vec<u16>> = vec![vec![BOS, 3, 4, 5, 2]; 3]
            .into_iter()
            .chain([vec![BOS, 6, 7, 2]])
            .collect();
        let slices: Vec<&[u16]> = sentences.iter().map(Vec::as_slice).collect();
        let orders = count(&slices, 3);
        let kept = keep(&orders, &[1, 2, 2]);
        let stays = |n: usize, gram: &[u16]| {
            let index = orders[n - 1].keys.binary_search(&key(gram)).unwrap();
            kept[n - 2][index]
        };
        assert!(stays(3, &[3, 4, 5]) && stays(3, &[BOS, 3, 4]));
        // Counted once as a continuation, but context and suffix of what stays.
        assert!(stays(2, &[3, 4]) && stays(2, &[4, 5]));
        assert!(!stays(3, &[BOS, 6, 7]) && !stays(2, &[6, 7]));
    }
}

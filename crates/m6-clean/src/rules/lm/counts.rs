//! Counting n-grams by sorting: a key is an n-gram's ids, the first in the highest bits.

use rayon::prelude::*;

use super::vocab::BOS;

const ID_BITS: usize = 16;

/// The distinct n-grams of one order, sorted, with their counts.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Grams {
    pub(super) keys: Vec<u128>,
    pub(super) counts: Vec<u32>,
}

impl Grams {
    /// Sorts keys and counts equal ones; the result does not depend on the number of threads.
    pub(super) fn of(mut keys: Vec<u128>) -> Self {
        keys.par_sort_unstable();
        let mut grams = Self::default();
        for run in keys.chunk_by(|a, b| a == b) {
            grams.keys.push(run[0]);
            grams
                .counts
                .push(u32::try_from(run.len()).unwrap_or(u32::MAX));
        }
        grams
    }
}

/// Ids to key.
pub(super) fn key(ids: &[u16]) -> u128 {
    ids.iter()
        .fold(0, |key, id| key << ID_BITS | u128::from(*id))
}

/// Key to ids, the first one first.
pub(super) fn ids(key: u128, n: usize) -> impl DoubleEndedIterator<Item = u16> + Clone {
    (0..n)
        .rev()
        .map(move |place| (key >> (place * ID_BITS)) as u16)
}

/// The n-gram without its last id.
pub(super) fn context(key: u128) -> u128 {
    key >> ID_BITS
}

/// The n-gram of order `n` without its first id.
pub(super) fn suffix(key: u128, n: usize) -> u128 {
    key & ((1 << ((n - 1) * ID_BITS)) - 1)
}

/// Counts of orders 1 to `order` (index 0 is order 1) over sentences that begin with [`BOS`].
///
/// The highest order counts occurrences, the lower ones distinct characters before the n-gram, except that an n-gram at a sentence's
/// beginning, before which nothing can stand, counts its occurrences (Kneser and Ney, 1995; as KenLM does).
pub(super) fn count(sentences: &[&[u16]], order: usize) -> Vec<Grams> {
    let highest: Vec<u128> = sentences
        .par_iter()
        .flat_map_iter(|ids| ids.windows(order).map(key))
        .collect();
    let mut orders = vec![Grams::of(highest)];
    for n in (1..order).rev() {
        let Some(longer) = orders.last() else { break };
        let mut keys: Vec<u128> = longer.keys.iter().map(|key| suffix(*key, n + 1)).collect();
        keys.extend(sentences.iter().filter_map(|ids| ids.get(..n)).map(key));
        orders.push(Grams::of(keys));
    }
    orders.reverse();
    if let Some(unigrams) = orders.first_mut() {
        // The beginning of a sentence is given, never predicted.
        let beginning = unigrams.keys.binary_search(&u128::from(BOS));
        if let Some(count) = beginning
            .ok()
            .and_then(|index| unigrams.counts.get_mut(index))
        {
            *count = 0;
        }
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::lm::vocab::EOS;

    const A: u16 = 3;
    const B: u16 = 4;

    fn count_of(grams: &Grams, ids: &[u16]) -> u32 {
        grams
            .keys
            .binary_search(&key(ids))
            .map_or(0, |index| grams.counts[index])
    }

    #[test]
    fn keys_give_their_ids_back() {
        let all = [1, 2, 3, 4, 5, u16::MAX];
        assert!(ids(key(&all), 6).eq(all));
        assert_eq!(context(key(&all)), key(&all[..5]));
        assert_eq!(suffix(key(&all), 6), key(&all[1..]));
    }

    #[test]
    fn lower_orders_count_what_stands_before() {
        // "ab ab b": <s> a b a b b </s>, and once more "a": <s> a </s>.
        let first = [BOS, A, B, A, B, B, EOS];
        let second = [BOS, A, EOS];
        let orders = count(&[&first, &second], 3);
        assert_eq!(count_of(&orders[2], &[BOS, A, B]), 1);
        assert_eq!(count_of(&orders[2], &[A, B, A]), 1);
        assert_eq!(orders[2].keys.len(), 6);
        // "a b" stands behind <s> and behind b; "<s> a" begins two sentences.
        assert_eq!(count_of(&orders[1], &[A, B]), 2);
        assert_eq!(count_of(&orders[1], &[BOS, A]), 2);
        // Before "a" stand <s> and b; before "b" stand a and b; before the end stand b and a.
        assert_eq!(count_of(&orders[0], &[A]), 2);
        assert_eq!(count_of(&orders[0], &[B]), 2);
        assert_eq!(count_of(&orders[0], &[EOS]), 2);
        assert_eq!(count_of(&orders[0], &[BOS]), 0);
    }

    #[test]
    fn a_sentence_shorter_than_the_order_still_counts_below() {
        let short = [BOS, A, EOS];
        let orders = count(&[&short], 5);
        assert!(orders[4].keys.is_empty() && orders[3].keys.is_empty());
        assert_eq!(count_of(&orders[2], &[BOS, A, EOS]), 1);
        assert_eq!(count_of(&orders[1], &[A, EOS]), 1);
        assert_eq!(count_of(&orders[0], &[A]), 1);
    }
}

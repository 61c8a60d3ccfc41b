//! Characters and their ids.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

/// Any character the model does not know.
pub(super) const UNK: u16 = 0;
/// Stands before a sentence; never predicted.
pub(super) const BOS: u16 = 1;
/// Stands behind a sentence.
pub(super) const EOS: u16 = 2;
/// The first id of a character.
const FIRST: usize = 3;
/// The most characters a model can know: ids are 16 bits wide.
pub(super) const MAX_CHARS: usize = (1 << 16) - FIRST;

const BMP: usize = 1 << 16;

/// The characters of a model in the order of their ids.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Vocab {
    chars: Vec<char>,
    /// Ids of the Basic Multilingual Plane by code point.
    low: Box<[u16]>,
    high: FxHashMap<char, u16>,
}

impl Vocab {
    /// The vocabulary with these characters; what is over the limit, or given twice, stays unknown.
    pub(super) fn new(chars: Vec<char>) -> Self {
        let mut low = vec![UNK; BMP].into_boxed_slice();
        let mut high = FxHashMap::default();
        for (index, &c) in chars.iter().enumerate().take(MAX_CHARS) {
            let id = (index + FIRST) as u16;
            match low.get_mut(c as usize) {
                Some(place) => *place = id,
                None => {
                    high.insert(c, id);
                }
            }
        }
        Self { chars, low, high }
    }

    /// The most frequent characters that occur at least `min_count` times, most frequent first, then by code point.
    pub(super) fn of_counts(
        counts: &BTreeMap<char, u64>,
        min_count: u64,
        max_chars: usize,
    ) -> Self {
        let mut frequent: Vec<(char, u64)> = counts
            .iter()
            .map(|(c, count)| (*c, *count))
            .filter(|(_, count)| *count >= min_count)
            .collect();
        frequent.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        frequent.truncate(max_chars.min(MAX_CHARS));
        Self::new(frequent.into_iter().map(|(c, _)| c).collect())
    }

    #[inline]
    pub(super) fn id(&self, c: char) -> u16 {
        match self.low.get(c as usize) {
            Some(id) => *id,
            None => self.high.get(&c).copied().unwrap_or(UNK),
        }
    }

    /// The characters, in the order of their ids.
    pub(super) fn chars(&self) -> &[char] {
        &self.chars
    }

    /// Number of ids, with the three special ones.
    pub(super) fn n_ids(&self) -> usize {
        self.chars.len() + FIRST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_characters_get_small_ids() {
        let counts: BTreeMap<char, u64> = [('的', 9), ('山', 2), ('一', 9), ('𠀀', 3), ('x', 1)]
            .into_iter()
            .collect();
        let vocab = Vocab::of_counts(&counts, 2, 100);
        let ids: Vec<u16> = "一的𠀀山x好".chars().map(|c| vocab.id(c)).collect();
        assert_eq!(ids, [3, 4, 5, 6, UNK, UNK]);
        assert_eq!(vocab.n_ids(), 7);
        assert_eq!(Vocab::of_counts(&counts, 1, 2).chars(), ['一', '的']);
    }
}

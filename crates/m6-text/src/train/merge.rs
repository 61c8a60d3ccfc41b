//! Merging pairs of pieces, most frequent first.

use rustc_hash::{FxHashMap, FxHashSet};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

type Pair = (u32, u32);

struct TrainedWord {
    pieces: Vec<u32>,
    n: u64,
}

#[derive(Default)]
struct PairState {
    n: u64,
    /// Words that hold, or once held, the pair.
    words: Vec<u32>,
}

/// Words cut in pieces, and the counts of neighbouring pieces.
pub(super) struct Merger<'a> {
    tokens: Vec<String>,
    ids: FxHashMap<String, u32>,
    words: Vec<TrainedWord>,
    pairs: FxHashMap<Pair, PairState>,
    /// Counts that were true when pushed; stale ones are dropped when popped.
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
    prefix: &'a str,
}

impl<'a> Merger<'a> {
    /// Cuts words into the characters among `tokens`; a word with a missing piece is left out.
    pub fn new(tokens: Vec<String>, words: &[(&str, u64)], prefix: &'a str) -> Self {
        let ids: FxHashMap<String, u32> = tokens.iter().cloned().zip(0..).collect();
        let mut merger = Self {
            tokens,
            ids,
            words: Vec::new(),
            pairs: FxHashMap::default(),
            queue: BinaryHeap::new(),
            prefix,
        };
        for (word, n) in words {
            if let Some(pieces) = merger.cut(word) {
                merger.add_word(pieces, *n);
            }
        }
        let counted = merger.pairs.iter().map(|(pair, x)| (x.n, Reverse(*pair)));
        merger.queue = counted.collect();
        merger
    }

    fn cut(&self, word: &str) -> Option<Vec<u32>> {
        let piece = |(i, c): (usize, char)| {
            let prefix = if i == 0 { "" } else { self.prefix };
            self.ids.get(&format!("{prefix}{c}")).copied()
        };
        word.chars().enumerate().map(piece).collect()
    }

    fn add_word(&mut self, pieces: Vec<u32>, n: u64) {
        let index = self.words.len() as u32;
        for pair in pieces.windows(2) {
            let state = self.pairs.entry((pair[0], pair[1])).or_default();
            state.n += n;
            state.words.push(index);
        }
        self.words.push(TrainedWord { pieces, n });
    }

    /// Merges until the vocabulary is full or no pair is frequent enough; returns the tokens.
    pub fn run(mut self, vocab_size: usize, min_frequency: u64) -> Vec<String> {
        while self.tokens.len() < vocab_size {
            let Some((n, Reverse(pair))) = self.queue.pop() else {
                break;
            };
            if self.pairs.get(&pair).is_none_or(|x| x.n != n) {
                continue;
            }
            if n == 0 || n < min_frequency {
                break;
            }
            let merged = self.token_of(pair);
            self.merge(pair, merged);
        }
        self.tokens
    }

    /// The id of the joined piece; two ways to build a piece share it.
    fn token_of(&mut self, (left, right): Pair) -> u32 {
        let right = &self.tokens[right as usize];
        let right = right.strip_prefix(self.prefix).unwrap_or(right);
        let token = format!("{}{right}", self.tokens[left as usize]);
        let next = self.tokens.len() as u32;
        let id = *self.ids.entry(token.clone()).or_insert(next);
        if id == next {
            self.tokens.push(token);
        }
        id
    }

    fn merge(&mut self, pair: Pair, merged: u32) {
        let mut places = self.pairs.remove(&pair).unwrap_or_default().words;
        places.sort_unstable();
        places.dedup();
        let mut changed = FxHashSet::default();
        for index in places {
            self.merge_in_word(index, pair, merged, &mut changed);
        }
        for pair in changed {
            if let Some(state) = self.pairs.get(&pair) {
                self.queue.push((state.n, Reverse(pair)));
            }
        }
    }

    fn merge_in_word(
        &mut self,
        index: u32,
        pair: Pair,
        merged: u32,
        changed: &mut FxHashSet<Pair>,
    ) {
        let word = &mut self.words[index as usize];
        let joined = join(&word.pieces, pair, merged);
        for old in word.pieces.windows(2) {
            let key = (old[0], old[1]);
            if let Some(state) = self.pairs.get_mut(&key) {
                state.n = state.n.saturating_sub(word.n);
                changed.insert(key);
            }
        }
        for new in joined.windows(2) {
            let key = (new[0], new[1]);
            let state = self.pairs.entry(key).or_default();
            state.n += word.n;
            if state.words.last() != Some(&index) {
                state.words.push(index);
            }
            changed.insert(key);
        }
        word.pieces = joined;
    }
}

fn join(pieces: &[u32], pair: Pair, merged: u32) -> Vec<u32> {
    let mut joined = Vec::with_capacity(pieces.len());
    let mut i = 0;
    while i < pieces.len() {
        if i + 1 < pieces.len() && (pieces[i], pieces[i + 1]) == pair {
            joined.push(merged);
            i += 2;
        } else {
            joined.push(pieces[i]);
            i += 1;
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_merge_from_the_left_without_overlap() {
        assert_eq!(join(&[1, 1, 1, 2], (1, 1), 9), [9, 1, 2]);
        assert_eq!(join(&[2, 1, 2, 1], (2, 1), 9), [9, 9]);
        assert!(join(&[], (2, 1), 9).is_empty());
    }

    #[test]
    fn the_most_frequent_pair_goes_first_and_counts_follow() {
        let tokens = ["a", "##b", "##c"].map(String::from).to_vec();
        let words = [("abc", 3), ("abcb", 1), ("ab", 1)];
        let got = Merger::new(tokens, &words, "##").run(100, 2);
        assert_eq!(got[3..], ["ab", "abc"]);
    }
}

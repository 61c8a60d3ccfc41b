//! A run of words of a passage: extractive reading.

use super::{Next, Rule, Text};
use std::borrow::Cow;

/// The new words stand behind each other in a passage, then the end.
#[derive(Clone, Debug)]
pub struct Span {
    passage: Vec<u32>,
    /// Its words in rising order, each once: what may come first.
    first: Vec<u32>,
    eos: u32,
}

impl Span {
    /// The spans of `passage`, ended by `eos`. Of an empty passage there is none, and nothing is written.
    pub fn new(passage: &[u32], eos: u32) -> Self {
        Self {
            passage: passage.to_vec(),
            first: rising(passage.to_vec()),
            eos,
        }
    }
}

fn rising(mut words: Vec<u32>) -> Vec<u32> {
    words.sort_unstable();
    words.dedup();
    words
}

impl Rule for Span {
    fn next(&self, text: Text<'_>) -> Next<'_> {
        let new = text.new_ids();
        if new.is_empty() {
            return Next::Only(Cow::Borrowed(&self.first));
        }
        let places = self.passage.windows(new.len()).enumerate();
        let mut found = places.filter(|(_, words)| *words == new).peekable();
        if found.peek().is_none() {
            return Next::Only(Cow::Borrowed(&[]));
        }
        let after = found.filter_map(|(at, _)| self.passage.get(at + new.len()).copied());
        Next::Only(Cow::Owned(rising(after.chain([self.eos]).collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(passage: &[u32], new: &[u32], want: &[u32]) {
        // One word is given: it need not be of the passage.
        let ids = [&[9], new].concat();
        let text = Text {
            ids: &ids,
            n_given: 1,
        };
        let want = Next::Only(Cow::Borrowed(want));
        assert_eq!(Span::new(passage, 3).next(text), want);
    }

    #[test]
    fn only_what_stands_behind_the_words_so_far_or_the_end_may_follow() {
        let passage = [5, 7, 5, 8, 7, 5];
        check(&passage, &[], &[5, 7, 8]);
        check(&passage, &[5], &[3, 7, 8]);
        check(&passage, &[7, 5], &[3, 8]);
        check(&passage, &[8, 7, 5], &[3]);
        check(&passage, &[5, 5], &[]);
        check(&passage, &[5, 7, 5, 8, 7, 5, 5], &[]);
        check(&[], &[], &[]);
    }
}

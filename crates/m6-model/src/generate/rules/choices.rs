//! One of some given texts: answers to choose among, labels of classes.

use super::{Next, Rule, Text};
use crate::error::{Error, Result};
use std::borrow::Cow;

/// The new words are one of these texts, then the end. A tree of their beginnings.
#[derive(Clone, Debug)]
pub struct Choices {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Words that go on from here, the end token among them, in rising order.
    words: Vec<u32>,
    /// Node after each of them; the end leads nowhere.
    after: Vec<Option<usize>>,
}

impl Choices {
    /// The choice among `texts`, each ended by `eos`.
    ///
    /// # Errors
    /// [`Error::Options`] without a text, for an empty one, and for one that holds `eos`.
    pub fn new(texts: &[Vec<u32>], eos: u32) -> Result<Self> {
        if texts.is_empty()
            || texts
                .iter()
                .any(|text| text.is_empty() || text.contains(&eos))
        {
            return Err(Error::Options(
                "a choice needs texts of at least one word, without the end token".into(),
            ));
        }
        let mut choices = Self {
            nodes: vec![Node::default()],
        };
        for text in texts {
            let mut at = 0;
            for &word in text {
                at = choices.step(at, word);
            }
            choices.nodes[at].insert(eos, None);
        }
        Ok(choices)
    }

    /// The node after `word`, made if there is none.
    fn step(&mut self, at: usize, word: u32) -> usize {
        if let Some(next) = self.nodes[at].follow(word) {
            return next;
        }
        let next = self.nodes.len();
        self.nodes.push(Node::default());
        self.nodes[at].insert(word, Some(next));
        next
    }
}

impl Node {
    fn follow(&self, word: u32) -> Option<usize> {
        let at = self.words.binary_search(&word).ok()?;
        self.after[at]
    }

    fn insert(&mut self, word: u32, after: Option<usize>) {
        if let Err(at) = self.words.binary_search(&word) {
            self.words.insert(at, word);
            self.after.insert(at, after);
        }
    }
}

impl Rule for Choices {
    fn next(&self, text: Text<'_>) -> Next<'_> {
        let walk = |at: usize, word: &u32| self.nodes[at].follow(*word);
        match text.new_ids().iter().try_fold(0, walk) {
            Some(at) => Next::Only(Cow::Borrowed(&self.nodes[at].words)),
            None => Next::Only(Cow::Borrowed(&[])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_beginnings_of_a_text_go_on() {
        let choices = Choices::new(&[vec![9, 7], vec![9, 5, 6], vec![9], vec![4]], 3).unwrap();
        for (written, expected) in [
            (vec![], vec![4, 9]),
            (vec![9], vec![3, 5, 7]),
            (vec![9, 5], vec![6]),
            (vec![9, 7], vec![3]),
            (vec![8], vec![]),
        ] {
            let ids = [&[1, 2], written.as_slice()].concat();
            let text = Text {
                ids: &ids,
                n_given: 2,
            };
            assert_eq!(
                choices.next(text),
                Next::Only(Cow::Owned(expected)),
                "{written:?}"
            );
        }
        for bad in [vec![], vec![vec![]], vec![vec![3]]] {
            assert!(Choices::new(&bad, 3).is_err());
        }
    }
}

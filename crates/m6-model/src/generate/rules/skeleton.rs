//! Fixed words with free fields between them: forced beginnings, forms to fill in, answers that are JSON.

use super::{Next, Rule, Text};
use crate::error::{Error, Result};
use std::borrow::Cow;

/// A part of a skeleton.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// These words.
    Words(Vec<u32>),
    /// One word or more, at most so many, up to the first word of what follows, which it does not hold.
    Field(usize),
}

/// The new words follow the parts in order, then the text ends.
#[derive(Clone, Debug)]
pub struct Skeleton {
    parts: Vec<Part>,
    eos: u32,
}

/// Where a text stands in the skeleton.
enum Place {
    /// This word comes next.
    Word(u32),
    /// Inside a field: words so far, most, and what ends it.
    Field { n: usize, max: usize, stop: u32 },
    /// It left the skeleton.
    Lost,
}

impl Skeleton {
    /// A skeleton of these parts.
    ///
    /// # Errors
    /// [`Error::Options`] for no part, a part without a word, a field behind a field, and a fixed part that holds `eos`.
    pub fn new(parts: Vec<Part>, eos: u32) -> Result<Self> {
        let empty = |part: &Part| match part {
            Part::Words(words) => words.is_empty() || words.contains(&eos),
            Part::Field(max) => *max == 0,
        };
        let is_field = |part: &Part| matches!(part, Part::Field(_));
        let adjacent = parts.windows(2).any(|pair| pair.iter().all(is_field));
        if parts.is_empty() || parts.iter().any(empty) || adjacent {
            return Err(Error::Options(
                "a skeleton needs parts of at least one word, words between its fields, and no end token inside".into(),
            ));
        }
        Ok(Self { parts, eos })
    }

    /// Words that a text of this skeleton may have, at most.
    pub fn max_words(&self) -> usize {
        let most = |part: &Part| match part {
            Part::Words(words) => words.len(),
            Part::Field(max) => *max,
        };
        self.parts.iter().map(most).sum()
    }

    /// What stands in each field of `new_ids`, as far as they go.
    pub fn fields<'a>(&self, new_ids: &'a [u32]) -> Vec<&'a [u32]> {
        let (mut at, mut fields) = (0, Vec::new());
        for (i, part) in self.parts.iter().enumerate() {
            let rest = &new_ids[at.min(new_ids.len())..];
            match part {
                Part::Words(words) => at += words.len(),
                Part::Field(_) => {
                    let stop = self.stop(i);
                    let n = rest.iter().position(|id| *id == stop);
                    let field = &rest[..n.unwrap_or(rest.len())];
                    at += field.len();
                    fields.push(field);
                }
            }
        }
        fields
    }

    /// The word that ends the field at part `i`.
    fn stop(&self, i: usize) -> u32 {
        match self.parts.get(i + 1) {
            Some(Part::Words(words)) => words[0],
            _ => self.eos,
        }
    }

    fn place(&self, new_ids: &[u32]) -> Place {
        let mut rest = new_ids;
        for (i, part) in self.parts.iter().enumerate() {
            match part {
                Part::Words(words) => {
                    let n = words.iter().zip(rest).take_while(|(a, b)| a == b).count();
                    match (n == words.len(), n == rest.len()) {
                        (true, _) => rest = &rest[n..],
                        (false, true) => return Place::Word(words[n]),
                        (false, false) => return Place::Lost,
                    }
                }
                Part::Field(max) => {
                    let stop = self.stop(i);
                    match rest.iter().position(|id| *id == stop) {
                        Some(n) => rest = &rest[n..],
                        None => {
                            return Place::Field {
                                n: rest.len(),
                                max: *max,
                                stop,
                            };
                        }
                    }
                }
            }
        }
        match rest.is_empty() {
            true => Place::Word(self.eos),
            false => Place::Lost,
        }
    }
}

impl Rule for Skeleton {
    fn next(&self, text: Text<'_>) -> Next<'_> {
        let only = |words: Vec<u32>| Next::Only(Cow::Owned(words));
        match self.place(text.new_ids()) {
            Place::Word(word) => only(vec![word]),
            Place::Lost => only(Vec::new()),
            Place::Field { n: 0, stop, .. } => Next::But(vec![self.eos, stop]),
            Place::Field { n, max, stop } if n >= max => only(vec![stop]),
            Place::Field { stop, .. } if stop == self.eos => Next::Any,
            Place::Field { .. } => Next::But(vec![self.eos]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EOS: u32 = 0;

    fn check(skeleton: &Skeleton, written: &[u32], expected: Next<'_>) {
        let text = Text {
            ids: written,
            n_given: 0,
        };
        assert_eq!(skeleton.next(text), expected, "{written:?}");
    }

    fn only(words: &[u32]) -> Next<'static> {
        Next::Only(Cow::Owned(words.to_vec()))
    }

    #[test]
    fn words_are_forced_and_fields_end_at_what_follows() {
        let parts = vec![
            Part::Words(vec![1, 2]),
            Part::Field(2),
            Part::Words(vec![3, 4]),
        ];
        let skeleton = Skeleton::new(parts, EOS).unwrap();
        check(&skeleton, &[], only(&[1]));
        check(&skeleton, &[1], only(&[2]));
        check(&skeleton, &[1, 2], Next::But(vec![EOS, 3]));
        check(&skeleton, &[1, 2, 9], Next::But(vec![EOS]));
        check(&skeleton, &[1, 2, 9, 9], only(&[3]));
        check(&skeleton, &[1, 2, 9, 3], only(&[4]));
        check(&skeleton, &[1, 2, 9, 3, 4], only(&[EOS]));
        check(&skeleton, &[1, 7], only(&[]));
        assert_eq!(skeleton.max_words(), 6);
        assert_eq!(skeleton.fields(&[1, 2, 9, 8, 3, 4]), [&[9, 8]]);
    }

    #[test]
    fn a_last_field_ends_with_the_text() {
        let skeleton = Skeleton::new(vec![Part::Words(vec![1]), Part::Field(3)], EOS).unwrap();
        check(&skeleton, &[1, 5], Next::Any);
        check(&skeleton, &[1, 5, 5, 5], only(&[EOS]));
        assert_eq!(skeleton.fields(&[1, 5, 6]), [&[5, 6]]);
    }

    #[test]
    fn skeletons_that_cannot_be_followed_are_refused() {
        for bad in [
            vec![],
            vec![Part::Words(vec![])],
            vec![Part::Field(0)],
            vec![Part::Words(vec![EOS])],
            vec![Part::Field(1), Part::Field(1)],
        ] {
            assert!(Skeleton::new(bad.clone(), EOS).is_err(), "{bad:?}");
        }
    }
}

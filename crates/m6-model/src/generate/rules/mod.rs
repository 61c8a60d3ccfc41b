//! What may be written next: one mechanism for every constraint (paper section 4.5 for poems; the mechanism is ours).
//!
//! A [`Rule`] sees the target so far and says which words may follow. It holds no state, so that greedy writing, sampling and beam search
//! ask it alike, and a prompt gives under a rule what it gives alone. Rules are composed by [`Every`]: a word must pass all of them. When
//! nothing is left the text ends unfinished. [`generate_with`](super::generate_with) takes a rule for each prompt; bans, repeats and least
//! lengths of [`GenerateOptions`](super::GenerateOptions) go the same way. Codes of pictures need no rule: the decoder
//! multiplies by the rows of the head that are codes and by no other, which is the same restriction without a mask.

mod choices;
mod lengths;
mod skeleton;
mod span;
mod verse;

pub use choices::Choices;
pub use lengths::{Length, char_widths};
pub use skeleton::{Part, Skeleton};
pub use span::Span;
pub use verse::VerseRule;

use std::borrow::Cow;

/// A target in the making.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text<'a> {
    /// All its words: those of the prompt, then the new ones. Begin and end tokens are not among them.
    pub ids: &'a [u32],
    /// How many the prompt gave.
    pub n_given: usize,
}

impl<'a> Text<'a> {
    /// The words that are new.
    pub fn new_ids(&self) -> &'a [u32] {
        &self.ids[self.n_given.min(self.ids.len())..]
    }
}

/// What a rule lets follow. The end token is a word like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// Every word.
    Any,
    /// Every word but these.
    But(Vec<u32>),
    /// These words alone, in rising order, each once.
    Only(Cow<'a, [u32]>),
}

/// A constraint on what is written.
pub trait Rule: Send + Sync {
    /// What may follow `text`: a function of it alone.
    fn next(&self, text: Text<'_>) -> Next<'_>;
}

/// Rules that all hold at once.
#[derive(Default)]
pub struct Every(pub Vec<Box<dyn Rule>>);

impl Rule for Every {
    fn next(&self, text: Text<'_>) -> Next<'_> {
        let each = self.0.iter().map(|rule| rule.next(text));
        each.fold(Next::Any, Next::and)
    }
}

/// No sequence of so many words twice in a target, the words of the prompt included; 0 forbids nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoRepeat(pub usize);

impl Rule for NoRepeat {
    fn next(&self, text: Text<'_>) -> Next<'_> {
        match repeats(text.ids, self.0) {
            words if words.is_empty() => Next::Any,
            words => Next::But(words),
        }
    }
}

impl<'a> Next<'a> {
    /// What both let pass.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Next::Any, next) | (next, Next::Any) => next,
            (Next::But(mut a), Next::But(b)) => {
                a.extend(b);
                Next::But(a)
            }
            (Next::Only(only), Next::But(but)) | (Next::But(but), Next::Only(only)) => {
                Next::Only(kept(&only, |id| !but.contains(&id)))
            }
            (Next::Only(a), Next::Only(b)) => {
                Next::Only(kept(&a, |id| b.binary_search(&id).is_ok()))
            }
        }
    }
}

fn kept<'a>(ids: &[u32], keep: impl Fn(u32) -> bool) -> Cow<'a, [u32]> {
    ids.iter().copied().filter(|&id| keep(id)).collect()
}

/// What may follow a text in the end: the bans of the options and every rule together.
pub(super) struct Allowed<'a> {
    /// By id.
    pub banned: &'a [bool],
    pub next: Next<'a>,
}

impl Allowed<'_> {
    pub fn has(&self, id: u32) -> bool {
        let open = self.banned.get(id as usize).is_some_and(|banned| !banned);
        open && match &self.next {
            Next::Any => true,
            Next::But(but) => !but.contains(&id),
            Next::Only(only) => only.binary_search(&id).is_ok(),
        }
    }

    /// The words in rising order.
    pub fn ids(&self) -> Vec<u32> {
        match &self.next {
            Next::Only(only) => only.iter().copied().filter(|&id| self.has(id)).collect(),
            _ => {
                let all = 0..self.banned.len() as u32;
                all.filter(|&id| self.has(id)).collect()
            }
        }
    }

    /// The one word that may follow, when a rule leaves no other.
    pub fn forced(&self) -> Option<u32> {
        match &self.next {
            Next::Only(only) => match only.as_ref() {
                [id] => Some(*id).filter(|&id| self.has(id)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Words that would complete a sequence of `n` words which `text` already holds.
fn repeats(text: &[u32], n: usize) -> Vec<u32> {
    if n == 0 || text.len() < n {
        return Vec::new();
    }
    let tail = &text[text.len() + 1 - n..];
    text.windows(n)
        .filter(|window| window[..n - 1] == *tail)
        .map(|window| window[n - 1])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ngrams_do_not_repeat() {
        assert_eq!(repeats(&[7, 8, 9, 7, 8], 3), [9]);
        assert_eq!(repeats(&[7, 8, 7], 2), [8]);
        assert_eq!(repeats(&[7, 8], 1), [7, 8]);
        assert!(repeats(&[7], 2).is_empty());
        assert!(repeats(&[7, 8, 9], 0).is_empty());
    }

    fn next() -> impl Strategy<Value = Next<'static>> {
        let words = || prop::collection::btree_set(0u32..12, 0..8);
        prop_oneof![
            Just(Next::Any),
            words().prop_map(|w| Next::But(w.into_iter().collect())),
            words().prop_map(|w| Next::Only(w.into_iter().collect())),
        ]
    }

    fn passes(next: &Next<'_>, id: u32) -> bool {
        match next {
            Next::Any => true,
            Next::But(but) => !but.contains(&id),
            Next::Only(only) => only.contains(&id),
        }
    }

    proptest! {
        #[test]
        fn together_they_let_pass_what_each_does(
            a in next(), b in next(), banned in prop::collection::vec(any::<bool>(), 10),
        ) {
            let both = Allowed { banned: &banned, next: a.clone().and(b.clone()) };
            for id in 0..14u32 {
                let open = banned.get(id as usize) == Some(&false);
                let wanted = open && passes(&a, id) && passes(&b, id);
                prop_assert_eq!(both.has(id), wanted, "{}", id);
            }
            let ids: Vec<u32> = (0..14).filter(|&id| both.has(id)).collect();
            prop_assert_eq!(both.ids(), ids.clone());
            if let Some(forced) = both.forced() {
                prop_assert_eq!(vec![forced], ids);
            }
        }
    }
}

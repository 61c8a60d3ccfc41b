//! How long a text may and must be, in words or in characters.

use super::{Next, Rule, Text};
use m6_text::Tokenizer;
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Limits of what is new in a target. Beyond the upper ones the text ends; below the lower ones it may not.
#[derive(Clone, Debug)]
pub struct Length {
    /// Words.
    pub words: RangeInclusive<usize>,
    /// Characters that are no blanks.
    pub chars: RangeInclusive<usize>,
    /// Characters of each word of the vocabulary, as [`char_widths`] gives them; needed when `chars` limits anything.
    pub widths: Arc<[u32]>,
    /// The end token.
    pub eos: u32,
}

impl Length {
    /// Limits of words alone.
    pub fn words(words: RangeInclusive<usize>, eos: u32) -> Self {
        Self {
            words,
            chars: 0..=usize::MAX,
            widths: Arc::default(),
            eos,
        }
    }

    /// Limits of characters alone.
    pub fn chars(chars: RangeInclusive<usize>, widths: Arc<[u32]>, eos: u32) -> Self {
        Self {
            words: 0..=usize::MAX,
            chars,
            widths,
            eos,
        }
    }

    fn width(&self, id: u32) -> usize {
        self.widths.get(id as usize).map_or(0, |w| *w as usize)
    }
}

impl Rule for Length {
    fn next(&self, text: Text<'_>) -> Next<'_> {
        let new = text.new_ids();
        let n_chars: usize = new.iter().map(|&id| self.width(id)).sum();
        let left = self.chars.end().saturating_sub(n_chars);
        if new.len() >= *self.words.end() || left == 0 {
            return Next::Only(Cow::Owned(vec![self.eos]));
        }
        let early = new.len() < *self.words.start() || n_chars < *self.chars.start();
        let widest = self.widths.iter().copied().max().unwrap_or(0) as usize;
        if left < widest {
            let fits = |&id: &u32| match id == self.eos {
                true => !early,
                false => self.width(id) <= left,
            };
            return Next::Only((0..self.widths.len() as u32).filter(fits).collect());
        }
        match early {
            true => Next::But(vec![self.eos]),
            false => Next::Any,
        }
    }
}

/// Characters that each entry of a vocabulary adds to a text, blanks not counted; special tokens add none.
pub fn char_widths(tokenizer: &Tokenizer) -> Arc<[u32]> {
    let special = tokenizer.special().ids();
    let width = |id: u32| match tokenizer.token(id) {
        Some(token) if !special.contains(&id) => {
            token.strip_prefix("##").unwrap_or(token).chars().count() as u32
        }
        _ => 0,
    };
    (0..tokenizer.vocab_size() as u32).map(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: &Length, written: &[u32], expected: Next<'_>) {
        let text = Text {
            ids: written,
            n_given: 0,
        };
        assert_eq!(rule.next(text), expected, "{written:?}");
    }

    #[test]
    fn words_are_counted_from_the_prompt_on() {
        let rule = Length::words(2..=3, 1);
        check(&rule, &[5], Next::But(vec![1]));
        check(&rule, &[5, 5], Next::Any);
        check(&rule, &[5, 5, 5], Next::Only(Cow::Owned(vec![1])));
        let text = Text {
            ids: &[5, 5, 5, 5],
            n_given: 3,
        };
        assert_eq!(rule.next(text), Next::But(vec![1]));
    }

    #[test]
    fn no_word_goes_over_the_last_character() {
        // End, one, two and three characters.
        let rule = Length::chars(2..=4, Arc::from([0, 1, 2, 3]), 0);
        check(&rule, &[1], Next::But(vec![0]));
        check(&rule, &[2], Next::Only(Cow::Owned(vec![0, 1, 2])));
        check(&rule, &[3], Next::Only(Cow::Owned(vec![0, 1])));
        check(&rule, &[3, 1], Next::Only(Cow::Owned(vec![0])));
        let short = Length::chars(4..=4, Arc::from([0, 1, 2, 3]), 0);
        check(&short, &[2], Next::Only(Cow::Owned(vec![1, 2])));
    }
}

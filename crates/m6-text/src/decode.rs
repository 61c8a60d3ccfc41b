//! From ids back to text, and the normal form that this gives back.

use crate::options::{BertOptions, is_ideograph, is_punctuation};
use crate::scan::{Sink, Word};
use crate::tokenizer::{Inner, Tokenizer};

/// Joins words with the spacing of the normal form.
#[derive(Debug)]
struct Joiner<'a> {
    options: &'a BertOptions,
    out: String,
    /// What the text ends with, the last two words of it.
    last: Option<Joint>,
    before: Option<Joint>,
}

/// The part of a word that spacing depends on.
#[derive(Clone, Copy, Debug)]
struct Joint {
    /// One ideograph or punctuation mark.
    isolated: bool,
    first: char,
    last: char,
}

impl Joint {
    fn of(word: &str, options: &BertOptions) -> Option<Self> {
        let first = word.chars().next()?;
        let last = word.chars().next_back()?;
        let single = first.len_utf8() == word.len();
        let ideograph = options.handle_chinese_chars && is_ideograph(first);
        Some(Self {
            isolated: single && (ideograph || is_punctuation(first)),
            first,
            last,
        })
    }
}

impl<'a> Joiner<'a> {
    fn new(options: &'a BertOptions) -> Self {
        Self {
            options,
            out: String::new(),
            last: None,
            before: None,
        }
    }

    fn word(&mut self, word: &str) {
        let Some(joint) = Joint::of(word, self.options) else {
            return;
        };
        if self.wants_space(joint) {
            self.out.push(' ');
        }
        self.out.push_str(word);
        self.before = self.last.replace(joint);
    }

    /// Two words never touch; a clause mark after Latin is followed by a space before Latin.
    fn wants_space(&self, next: Joint) -> bool {
        let Some(last) = self.last else {
            return false;
        };
        if !last.isolated {
            return !next.isolated;
        }
        let after_latin = self.before.is_some_and(|x| x.last.is_ascii_alphanumeric());
        let clause_mark = matches!(last.last, ',' | ';' | '!' | '?');
        clause_mark && after_latin && !next.isolated && next.first.is_ascii_alphabetic()
    }
}

/// Feeds scanned words to a joiner; special tokens vanish, other added tokens are words.
struct NormalForm<'a> {
    inner: &'a Inner,
    joiner: Joiner<'a>,
}

impl Sink for NormalForm<'_> {
    const OFFSETS: bool = false;

    fn clear(&mut self) {
        self.joiner = Joiner::new(&self.inner.options);
    }

    fn special(&mut self, id: u32, _: [u32; 2]) {
        if !self.inner.is_special(id) {
            self.joiner
                .word(self.inner.vocab.token(id).unwrap_or_default());
        }
    }

    fn isolated(&mut self, _: u32, normalized: impl FnOnce() -> char, _: [u32; 2]) {
        self.joiner.word(normalized().encode_utf8(&mut [0; 4]));
    }

    fn word(&mut self, word: &Word) {
        let word: String = word.chars.iter().collect();
        self.joiner.word(&word);
    }
}

impl Inner {
    fn is_special(&self, id: u32) -> bool {
        self.added
            .binary_search_by_key(&id, |(added, _)| *added)
            .is_ok_and(|i| self.added[i].1)
    }
}

impl Tokenizer {
    /// The text of a row of ids: special tokens and ids out of range are skipped, continuing
    /// pieces join the piece before, words are spaced as in [`Tokenizer::normalize`].
    pub fn decode(&self, ids: &[u32]) -> String {
        let inner = &*self.inner;
        let mut joiner = Joiner::new(&inner.options);
        let mut word = String::new();
        for &id in ids {
            let Some(token) = inner.vocab.token(id) else {
                continue;
            };
            if inner.is_special(id) {
                joiner.word(&std::mem::take(&mut word));
                continue;
            }
            match token.strip_prefix(inner.prefix.as_str()) {
                Some(rest) if !inner.prefix.is_empty() => word.push_str(rest),
                _ => {
                    joiner.word(&word);
                    word.clear();
                    word.push_str(token);
                }
            }
        }
        joiner.word(&word);
        joiner.out
    }

    /// The normal form of a text: what [`Tokenizer::decode`] gives back after
    /// [`Tokenizer::encode`] whenever no `[UNK]` is among the ids.
    ///
    /// Control characters and special tokens are gone, letters are lower case without accents
    /// (as [`BertOptions`] says), and white space (ours) depends on the words alone: one space
    /// between two words of letters or digits, one after `, ; ! ?` between Latin words, none
    /// beside ideographs and other punctuation.
    pub fn normalize(&self, text: &str) -> String {
        let mut sink = NormalForm {
            inner: &self.inner,
            joiner: Joiner::new(&self.inner.options),
        };
        self.inner.scanner.scan(text, &mut sink);
        sink.joiner.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
        let tokenizer = Tokenizer::from_tokens(names.map(String::from).to_vec()).unwrap();
        assert_eq!(tokenizer.normalize(text), expected, "{text:?}");
        assert_eq!(tokenizer.normalize(expected), expected, "not stable");
    }

    #[test]
    fn the_normal_form_spaces_words_and_nothing_else() {
        check(" 红 色的  T 恤 ", "红色的t恤");
        check("Hello ,World!  You", "hello, world! you");
        check("www.Baidu.com 3.14 1,000", "www.baidu.com 3.14 1,000");
        check("iPhone 12 手机 , 黑色", "iphone 12手机,黑色");
        check("Caf\u{e9}\u{200b} à\tla", "cafe a la");
        check("a[MASK]b 是[SEP]", "a b是");
        check("", "");
    }
}

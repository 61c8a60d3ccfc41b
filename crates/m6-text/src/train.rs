//! Learning a WordPiece vocabulary from text.
//!
//! The order of ids is fixed by the counts alone: the five special tokens, then the alphabet by
//! falling frequency, then its characters inside words by falling frequency, then pieces in the
//! order in which pairs are merged (most frequent first, as Hugging Face's trainer merges). Equal
//! counts are ordered by character or by id, so the same text gives the same bytes.

use crate::error::{Error, Result};
use crate::options::BertOptions;
use crate::scan::{Scanner, Sink, Word};
use crate::tokenizer::Tokenizer;
use crate::trie::PieceTrie;
use merge::Merger;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

mod merge;

const SPECIALS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const PREFIX: &str = "##";
/// Longer words are never encoded, so they are not learnt from.
const MAX_WORD_CHARS: usize = 100;

/// Counts words of a corpus and learns a vocabulary from the counts.
///
/// ```
/// use m6_text::train::WordPieceTrainer;
///
/// let mut trainer = WordPieceTrainer::new(100);
/// trainer.feed("红色的花和红色的果");
/// let tokenizer = trainer.train()?;
/// assert_eq!(tokenizer.token(5), Some("的"));
/// # Ok::<(), m6_text::Error>(())
/// ```
#[derive(Debug)]
pub struct WordPieceTrainer {
    /// Most tokens to learn, the five special ones included.
    pub vocab_size: usize,
    /// Pairs that occur less often are not merged (2 unless set).
    pub min_frequency: u64,
    /// Most distinct characters to keep, most frequent first; `None` keeps all that fit.
    pub limit_alphabet: Option<usize>,
    scanner: Scanner,
    counts: Counts,
    /// Scratch of [`WordPieceTrainer::feed`], empty between lines.
    found: Vec<Found>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Words of one isolated character.
    isolated: FxHashMap<char, u64>,
    words: FxHashMap<Box<str>, u64>,
    spelling: String,
}

impl WordPieceTrainer {
    /// A trainer for at most `vocab_size` tokens, with the normaliser of bert-base-chinese.
    pub fn new(vocab_size: usize) -> Self {
        let no_pieces = PieceTrie::new(std::iter::empty(), PREFIX);
        Self {
            vocab_size,
            min_frequency: 2,
            limit_alphabet: None,
            scanner: Scanner::new(BertOptions::default(), no_pieces, 0, Vec::new()),
            counts: Counts::default(),
            found: Vec::new(),
        }
    }

    /// Counts the words of a text. Memory grows with the distinct words and the longest line.
    pub fn feed(&mut self, text: &str) {
        // A line break always ends a word, so lines can be scanned apart.
        for line in text.split('\n') {
            let mut sink = Counting {
                counts: &mut self.counts,
                found: std::mem::take(&mut self.found),
            };
            self.scanner.scan(line, &mut sink);
            self.found = sink.commit();
        }
    }

    /// Learns the vocabulary.
    ///
    /// # Errors
    /// [`Error::Train`] when nothing was fed or `vocab_size` leaves no room for a character.
    pub fn train(&self) -> Result<Tokenizer> {
        if self.vocab_size <= SPECIALS.len() {
            return Err(Error::Train(format!(
                "vocab_size is {}; the special tokens alone take {}",
                self.vocab_size,
                SPECIALS.len()
            )));
        }
        let alphabet = self.alphabet();
        if alphabet.is_empty() {
            return Err(Error::Train(
                "no text was fed, or limit_alphabet is 0".into(),
            ));
        }
        let mut tokens: Vec<String> = SPECIALS.map(String::from).to_vec();
        tokens.extend(alphabet.iter().map(|c| c.to_string()));
        let words = self.words_within(&alphabet);
        let continuing = by_frequency(count_continuing(&words));
        let room = self.vocab_size - tokens.len();
        tokens.extend(continuing.iter().take(room).map(|c| format!("{PREFIX}{c}")));
        let merger = Merger::new(tokens, &words, PREFIX);
        Tokenizer::from_tokens(merger.run(self.vocab_size, self.min_frequency))
    }

    /// Characters kept, by falling frequency.
    fn alphabet(&self) -> Vec<char> {
        let mut counts = self.counts.isolated.clone();
        for (word, n) in &self.counts.words {
            for c in word.chars() {
                *counts.entry(c).or_default() += n;
            }
        }
        let mut alphabet = by_frequency(counts);
        let room = self.vocab_size - SPECIALS.len();
        alphabet.truncate(self.limit_alphabet.unwrap_or(room).min(room));
        alphabet
    }

    /// Words written in the alphabet alone, in order of spelling. Others would be `[UNK]`.
    fn words_within(&self, alphabet: &[char]) -> Vec<(&str, u64)> {
        let kept: rustc_hash::FxHashSet<char> = alphabet.iter().copied().collect();
        let mut words: Vec<(&str, u64)> = self
            .counts
            .words
            .iter()
            .filter(|(word, _)| word.chars().all(|c| kept.contains(&c)))
            .map(|(word, n)| (&**word, *n))
            .collect();
        words.sort_unstable();
        words
    }
}

fn count_continuing(words: &[(&str, u64)]) -> FxHashMap<char, u64> {
    let mut counts = FxHashMap::default();
    for (word, n) in words {
        for c in word.chars().skip(1) {
            *counts.entry(c).or_default() += n;
        }
    }
    counts
}

fn by_frequency(counts: FxHashMap<char, u64>) -> Vec<char> {
    let mut chars: Vec<(Reverse<u64>, char)> =
        counts.into_iter().map(|(c, n)| (Reverse(n), c)).collect();
    chars.sort_unstable();
    chars.into_iter().map(|(_, c)| c).collect()
}

/// Counts what a scan finds. Isolated characters wait in a list, since a scan may start again.
struct Counting<'a> {
    counts: &'a mut Counts,
    found: Vec<Found>,
}

#[derive(Debug)]
enum Found {
    Isolated(char),
    Word(Box<str>),
}

impl Counting<'_> {
    /// Adds what was found to the counts; gives the emptied list back.
    fn commit(mut self) -> Vec<Found> {
        for found in self.found.drain(..) {
            match found {
                Found::Isolated(c) => *self.counts.isolated.entry(c).or_default() += 1,
                Found::Word(word) => *self.counts.words.entry(word).or_default() += 1,
            }
        }
        self.found
    }
}

impl Sink for Counting<'_> {
    const OFFSETS: bool = false;

    fn clear(&mut self) {
        self.found.clear();
    }

    fn special(&mut self, _: u32, _: [u32; 2]) {}

    fn isolated(&mut self, _: u32, normalized: impl FnOnce() -> char, _: [u32; 2]) {
        self.found.push(Found::Isolated(normalized()));
    }

    fn word(&mut self, word: &Word) {
        if word.chars.len() > MAX_WORD_CHARS {
            return;
        }
        let spelling = &mut self.counts.spelling;
        spelling.clear();
        spelling.extend(&word.chars);
        self.found.push(Found::Word(spelling.as_str().into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(texts: &[&str], vocab_size: usize, limit: Option<usize>) -> Vec<String> {
        let mut trainer = WordPieceTrainer::new(vocab_size);
        trainer.limit_alphabet = limit;
        texts.iter().for_each(|text| trainer.feed(text));
        let tokenizer = trainer.train().unwrap();
        let tokens = tokenizer.to_vocab_txt();
        tokens.lines().skip(5).map(String::from).collect()
    }

    #[test]
    fn characters_come_by_frequency_then_merges_by_frequency() {
        let got = learn(&["红红的花的的 ab abc ab"], 14, None);
        assert_eq!(got, ["a", "b", "的", "红", "c", "花", "##b", "##c", "ab"]);
    }

    #[test]
    fn the_alphabet_is_limited_to_the_most_frequent() {
        assert_eq!(learn(&["红红的的的花"], 100, Some(2)), ["的", "红"]);
        assert_eq!(learn(&["红红的的的花"], 6, None), ["的"]);
    }

    #[test]
    fn a_learnt_vocabulary_has_no_token_twice_and_stops_at_its_size() {
        let text = "banana bandana band ban abab ababab aaaa aaaaaaa";
        for size in 6..60 {
            let tokens = learn(&[text, text], size, None);
            assert!(tokens.len() <= size - 5);
        }
    }

    #[test]
    fn order_of_texts_does_not_matter() {
        let texts = ["红色 red reds", "a redder red", "é 한국 ０１ \u{1d165}x"];
        let turned: Vec<&str> = texts.iter().rev().copied().collect();
        assert_eq!(learn(&texts, 40, None), learn(&turned, 40, None));
    }

    #[test]
    fn training_without_text_or_room_is_an_error() {
        assert!(matches!(
            WordPieceTrainer::new(100).train(),
            Err(Error::Train(_))
        ));
        let mut trainer = WordPieceTrainer::new(5);
        trainer.feed("字");
        assert!(matches!(trainer.train(), Err(Error::Train(_))));
    }
}

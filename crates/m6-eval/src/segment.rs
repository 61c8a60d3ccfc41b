//! From a sentence to tokens.

use crate::error::{Error, Result};
use m6_text::Tokenizer;
use rustc_hash::FxHashMap;
use std::str::FromStr;

/// How sentences are cut before they are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// At white space; the sentences are already segmented.
    None,
    /// Every character of U+4E00..=U+9FFF, A-Z, a-z, 0-9 is a token, all else is dropped.
    Char,
    /// By the word pieces of a tokenizer.
    WordPiece,
}

impl FromStr for Segment {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Self::None),
            "char" => Ok(Self::Char),
            "wordpiece" => Ok(Self::WordPiece),
            _ => Err(Error::UnknownSegment {
                got: name.to_owned(),
            }),
        }
    }
}

/// Cuts sentences and numbers their tokens; equal tokens get equal numbers.
#[derive(Debug)]
pub struct Segmenter<'a> {
    segment: Segment,
    tokenizer: Option<&'a Tokenizer>,
    numbers: FxHashMap<String, u32>,
}

impl<'a> Segmenter<'a> {
    /// Prepares segmentation.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] for [`Segment::WordPiece`] without a tokenizer.
    pub fn new(segment: Segment, tokenizer: Option<&'a Tokenizer>) -> Result<Self> {
        if segment == Segment::WordPiece && tokenizer.is_none() {
            return Err(Error::NoTokenizer);
        }
        Ok(Self {
            segment,
            tokenizer,
            numbers: FxHashMap::default(),
        })
    }

    /// The token numbers of a sentence; empty when it holds no token.
    pub fn tokens(&mut self, sentence: &str) -> Vec<u32> {
        match (self.segment, self.tokenizer) {
            (Segment::WordPiece, Some(tokenizer)) => tokenizer.encode(sentence),
            (Segment::Char, _) => sentence
                .chars()
                .filter(|c| is_kept(*c))
                .map(u32::from)
                .collect(),
            _ => sentence
                .split_whitespace()
                .map(|w| self.number(w))
                .collect(),
        }
    }

    fn number(&mut self, word: &str) -> u32 {
        if let Some(&number) = self.numbers.get(word) {
            return number;
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(word.to_owned(), number);
        number
    }
}

fn is_kept(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}') || c.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn char_keeps_ideographs_letters_and_digits_only() {
        let mut segmenter = Segmenter::new(Segment::Char, None).unwrap();
        let got: String = segmenter
            .tokens("一只 Dog，2！②é\u{3400}。")
            .into_iter()
            .filter_map(char::from_u32)
            .collect();
        assert_eq!(got, "一只Dog2");
    }

    #[test]
    fn none_numbers_words_as_they_are_met() {
        let mut segmenter = Segmenter::new(Segment::None, None).unwrap();
        assert_eq!(segmenter.tokens(" 的 狗\u{3000}的 "), [0, 1, 0]);
        assert_eq!(segmenter.tokens("狗 !"), [1, 2]);
        assert!(segmenter.tokens(" ").is_empty());
    }

    #[test]
    fn word_pieces_need_a_tokenizer() {
        assert!(matches!(
            Segmenter::new(Segment::WordPiece, None),
            Err(Error::NoTokenizer)
        ));
        let tokens = "[PAD] [UNK] [CLS] [SEP] [MASK] 狗 do ##g";
        let tokens = tokens.split(' ').map(String::from).collect();
        let tokenizer = Tokenizer::from_tokens(tokens).unwrap();
        let mut segmenter = Segmenter::new(Segment::WordPiece, Some(&tokenizer)).unwrap();
        assert_eq!(segmenter.tokens("狗 DOG"), [5, 6, 7]);
    }

    #[test]
    fn names_are_read() {
        assert_eq!("char".parse::<Segment>().unwrap(), Segment::Char);
        assert!("chars".parse::<Segment>().is_err());
    }
}

//! What is made of scanned words: ids alone, or ids with offsets.

use crate::scan::{Sink, Word};
use crate::trie::PieceTrie;

/// How words become ids.
#[derive(Clone, Copy)]
pub(crate) struct WordRule<'a> {
    pub trie: &'a PieceTrie,
    pub unk: u32,
    /// Longer words are unknown as a whole.
    pub max_chars: usize,
}

/// Collects ids.
pub(crate) struct Ids<'a> {
    pub rule: WordRule<'a>,
    pub ids: Vec<u32>,
}

impl Sink for Ids<'_> {
    const OFFSETS: bool = false;

    fn clear(&mut self) {
        self.ids.clear();
    }

    fn special(&mut self, id: u32, _: [u32; 2]) {
        self.ids.push(id);
    }

    #[inline]
    fn isolated(&mut self, id: u32, _: impl FnOnce() -> char, _: [u32; 2]) {
        self.ids.push(id);
    }

    fn word(&mut self, word: &Word) {
        let start = self.ids.len();
        let fits = word.chars.len() <= self.rule.max_chars;
        let ids = &mut self.ids;
        let whole = fits && self.rule.trie.split(&word.chars, |id, _, _| ids.push(id));
        if !whole {
            self.ids.truncate(start);
            self.ids.push(self.rule.unk);
        }
    }
}

/// Collects ids with their ranges of original characters.
pub(crate) struct IdsWithOffsets<'a> {
    pub rule: WordRule<'a>,
    pub ids: Vec<u32>,
    pub offsets: Vec<[usize; 2]>,
}

impl IdsWithOffsets<'_> {
    fn push(&mut self, id: u32, [from, to]: [u32; 2]) {
        self.ids.push(id);
        self.offsets.push([from as usize, to as usize]);
    }
}

impl Sink for IdsWithOffsets<'_> {
    const OFFSETS: bool = true;

    fn clear(&mut self) {
        self.ids.clear();
        self.offsets.clear();
    }

    fn special(&mut self, id: u32, span: [u32; 2]) {
        self.push(id, span);
    }

    fn isolated(&mut self, id: u32, _: impl FnOnce() -> char, span: [u32; 2]) {
        self.push(id, span);
    }

    fn word(&mut self, word: &Word) {
        let start = self.ids.len();
        let WordRule {
            trie,
            unk,
            max_chars,
        } = self.rule;
        let span = |from: usize, to: usize| [word.spans[from][0], word.spans[to - 1][1]];
        let fits = word.chars.len() <= max_chars;
        let whole = fits && trie.split(&word.chars, |id, from, to| self.push(id, span(from, to)));
        if !whole {
            self.ids.truncate(start);
            self.offsets.truncate(start);
            self.push(unk, span(0, word.chars.len()));
        }
    }
}

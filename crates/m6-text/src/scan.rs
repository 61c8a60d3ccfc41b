//! The scanner: one pass over a text that hands words to a sink.

use crate::options::{BertOptions, Role, normalize_aligned, role};
use crate::table::{CharTable, Class};
use crate::trie::PieceTrie;

/// A word under construction: normalised characters and, if wanted, their origins.
#[derive(Debug, Default)]
pub(crate) struct Word {
    pub chars: Vec<char>,
    /// One range of original characters each; empty when the sink wants no offsets.
    pub spans: Vec<[u32; 2]>,
}

/// Receives what the scanner finds, in order.
pub(crate) trait Sink {
    /// Whether origins are recorded.
    const OFFSETS: bool;
    /// Forgets everything received.
    fn clear(&mut self);
    /// A special token written in the text.
    fn special(&mut self, id: u32, span: [u32; 2]);
    /// A word of one character with its id; `normalized` gives the character.
    fn isolated(&mut self, id: u32, normalized: impl FnOnce() -> char, span: [u32; 2]);
    /// A word of letters, digits and the like; never empty.
    fn word(&mut self, word: &Word);
}

/// Everything a scan needs: the tables and the special tokens.
#[derive(Debug)]
pub(crate) struct Scanner {
    options: BertOptions,
    table: CharTable,
    trie: PieceTrie,
    unk: u32,
    /// Longest first, so that the first match is the longest.
    specials: Vec<(String, u32)>,
}

impl Scanner {
    /// Prepares a scanner; `specials` are texts that become one id wherever they are written.
    pub fn new(
        options: BertOptions,
        trie: PieceTrie,
        unk: u32,
        mut specials: Vec<(String, u32)>,
    ) -> Self {
        specials.retain(|(text, _)| !text.is_empty());
        specials.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.cmp(b)));
        let starts = specials.iter().filter_map(|x| x.0.chars().next()).collect();
        Self {
            table: CharTable::new(options, starts, unk),
            options,
            trie,
            unk,
            specials,
        }
    }

    /// The pieces that words are matched against.
    pub fn trie(&self) -> &PieceTrie {
        &self.trie
    }

    /// Hands the words of a text to the sink.
    pub fn scan<S: Sink>(&self, text: &str, sink: &mut S) {
        if !self.scan_by_table(text, sink) {
            sink.clear();
            self.scan_by_rule(text, sink);
        }
    }

    /// Returns false at the first character that cannot be normalised alone.
    fn scan_by_table<S: Sink>(&self, text: &str, sink: &mut S) -> bool {
        let mut word = Word::default();
        let mut chars = text.chars();
        let mut at = 0u32;
        loop {
            let rest = chars.as_str();
            let Some(c) = chars.next() else {
                break;
            };
            let entry = self.table.entry(c, &self.trie);
            if entry.may_be_special()
                && let Some((special, id)) = self.special_at(rest)
            {
                flush(&mut word, sink);
                let n_chars = special.chars().count() as u32;
                sink.special(id, [at, at + n_chars]);
                at += n_chars;
                chars = rest[special.len()..].chars();
                continue;
            }
            let span = [at, at + 1];
            match entry.class() {
                Class::Isolated => {
                    flush(&mut word, sink);
                    sink.isolated(entry.id(), || self.table.isolated(c, &self.trie), span);
                }
                Class::Inner => push::<S>(&mut word, entry.inner(), span),
                Class::Space => flush(&mut word, sink),
                Class::Dropped => {}
                Class::Several => {
                    for &c in self.table.several(c, &self.trie) {
                        self.take(c, span, &mut word, sink);
                    }
                }
                Class::Complex => return false,
            }
            at += 1;
        }
        flush(&mut word, sink);
        true
    }

    /// The same by the book: special tokens first, then the normaliser over each stretch between.
    fn scan_by_rule<S: Sink>(&self, text: &str, sink: &mut S) {
        let mut at = 0u32;
        let mut rest = text;
        while !rest.is_empty() {
            let found = rest
                .char_indices()
                .find_map(|(byte, _)| Some((byte, self.special_at(&rest[byte..])?)));
            let end = found.map_or(rest.len(), |(byte, _)| byte);
            self.scan_stretch(&rest[..end], at, sink);
            at += rest[..end].chars().count() as u32;
            rest = &rest[end..];
            if let Some((_, (special, id))) = found {
                let n_chars = special.chars().count() as u32;
                sink.special(id, [at, at + n_chars]);
                at += n_chars;
                rest = &rest[special.len()..];
            }
        }
    }

    fn scan_stretch<S: Sink>(&self, text: &str, first: u32, sink: &mut S) {
        let mut word = Word::default();
        for x in normalize_aligned(text, first, &self.options) {
            self.take(x.c, x.span, &mut word, sink);
        }
        flush(&mut word, sink);
    }

    /// Adds one normalised character to what has been read.
    fn take<S: Sink>(&self, c: char, span: [u32; 2], word: &mut Word, sink: &mut S) {
        match role(c) {
            Role::Space => flush(word, sink),
            Role::Inner => push::<S>(word, c, span),
            Role::Isolated => {
                flush(word, sink);
                let id = self.trie.single(c).unwrap_or(self.unk);
                sink.isolated(id, || c, span);
            }
        }
    }

    fn special_at(&self, rest: &str) -> Option<(&str, u32)> {
        self.specials
            .iter()
            .find(|(text, _)| rest.starts_with(text.as_str()))
            .map(|(text, id)| (text.as_str(), *id))
    }
}

#[inline]
fn push<S: Sink>(word: &mut Word, c: char, span: [u32; 2]) {
    word.chars.push(c);
    if S::OFFSETS {
        word.spans.push(span);
    }
}

#[inline]
fn flush<S: Sink>(word: &mut Word, sink: &mut S) {
    if !word.chars.is_empty() {
        sink.word(word);
        word.chars.clear();
        word.spans.clear();
    }
}

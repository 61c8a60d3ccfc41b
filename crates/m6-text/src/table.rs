//! One table entry a character: everything normaliser and pre-tokeniser would do with it.
//!
//! Blocks of 256 characters are filled when first met, by running the reference normaliser on each
//! character alone. That is exact but for canonical reordering, which needs neighbours: characters
//! it can move are marked [`Class::Complex`], and a text that holds one takes the slow road.

use crate::options::{Aligned, BertOptions, Role, is_reordered, normalize_aligned, role};
use crate::trie::PieceTrie;
use std::sync::OnceLock;

const BLOCK: usize = 256;
const N_BLOCKS: usize = 0x11_0000 / BLOCK;
const CLASS_SHIFT: u32 = 28;
const SPECIAL_BIT: u32 = 1 << 27;
const PAYLOAD: u32 = (1 << 21) - 1;
const LEN_BITS: u32 = 5;

/// What the scanner does with a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Class {
    /// Vanishes without a trace.
    Dropped = 0,
    /// Ends a word and vanishes.
    Space = 1,
    /// A word of its own, whose id is the payload.
    Isolated = 2,
    /// Adds one character (the payload) to the word.
    Inner = 3,
    /// Stands for several characters, listed in the block's pool.
    Several = 4,
    /// Needs its neighbours to be normalised.
    Complex = 5,
}

/// A packed table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(u32);

impl Entry {
    fn new(class: Class, payload: u32) -> Self {
        Self((class as u32) << CLASS_SHIFT | payload)
    }

    pub fn class(self) -> Class {
        match self.0 >> CLASS_SHIFT {
            0 => Class::Dropped,
            1 => Class::Space,
            2 => Class::Isolated,
            3 => Class::Inner,
            4 => Class::Several,
            _ => Class::Complex,
        }
    }

    /// Whether a special token may begin with this character.
    pub fn may_be_special(self) -> bool {
        self.0 & SPECIAL_BIT != 0
    }

    /// The id of an isolated character.
    pub fn id(self) -> u32 {
        self.0 & PAYLOAD
    }

    /// The character of an inner one.
    pub fn inner(self) -> char {
        char::from_u32(self.0 & PAYLOAD).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

struct Block {
    entries: [Entry; BLOCK],
    /// Normalised form of isolated characters.
    isolated: [char; BLOCK],
    pool: Vec<char>,
}

/// The table of all characters, for one vocabulary and one set of options.
pub(crate) struct CharTable {
    options: BertOptions,
    special_starts: Vec<char>,
    unk: u32,
    blocks: Box<[OnceLock<Box<Block>>]>,
}

impl CharTable {
    /// An empty table; `special_starts` are the first characters of special tokens, `unk` the id
    /// of isolated characters that the vocabulary lacks.
    pub fn new(options: BertOptions, special_starts: Vec<char>, unk: u32) -> Self {
        Self {
            options,
            special_starts,
            unk,
            blocks: (0..N_BLOCKS).map(|_| OnceLock::new()).collect(),
        }
    }

    #[inline]
    fn block(&self, c: char, trie: &PieceTrie) -> &Block {
        let number = u32::from(c) as usize / BLOCK;
        self.blocks[number].get_or_init(|| self.build(number, trie))
    }

    /// The entry of a character.
    #[inline]
    pub fn entry(&self, c: char, trie: &PieceTrie) -> Entry {
        self.block(c, trie).entries[u32::from(c) as usize % BLOCK]
    }

    /// The normalised form of an isolated character.
    pub fn isolated(&self, c: char, trie: &PieceTrie) -> char {
        self.block(c, trie).isolated[u32::from(c) as usize % BLOCK]
    }

    /// The characters that an entry of class [`Class::Several`] stands for.
    pub fn several(&self, c: char, trie: &PieceTrie) -> &[char] {
        let block = self.block(c, trie);
        let payload = block.entries[u32::from(c) as usize % BLOCK].0 & PAYLOAD;
        let from = (payload >> LEN_BITS) as usize;
        let len = (payload & ((1 << LEN_BITS) - 1)) as usize;
        &block.pool[from..from + len]
    }

    fn build(&self, number: usize, trie: &PieceTrie) -> Box<Block> {
        let mut block = Box::new(Block {
            entries: [Entry::new(Class::Dropped, 0); BLOCK],
            isolated: ['\0'; BLOCK],
            pool: Vec::new(),
        });
        let mut buffer = [0; 4];
        for i in 0..BLOCK {
            let Some(c) = char::from_u32((number * BLOCK + i) as u32) else {
                continue;
            };
            let out = normalize_aligned(c.encode_utf8(&mut buffer), 0, &self.options);
            let mut entry = self.classify(&out, &mut block.pool, trie);
            if entry.class() == Class::Isolated {
                block.isolated[i] = out[out.len() / 2].c;
            }
            if self.special_starts.contains(&c) {
                entry.0 |= SPECIAL_BIT;
            }
            block.entries[i] = entry;
        }
        block
    }

    fn classify(&self, out: &[Aligned], pool: &mut Vec<char>, trie: &PieceTrie) -> Entry {
        if self.options.strips_accents() && out.iter().any(|x| is_reordered(x.c)) {
            return Entry::new(Class::Complex, 0);
        }
        let roles: Vec<Role> = out.iter().map(|x| role(x.c)).collect();
        match roles[..] {
            [] => Entry::new(Class::Dropped, 0),
            [Role::Inner] => Entry::new(Class::Inner, u32::from(out[0].c)),
            [Role::Isolated] | [Role::Space, Role::Inner, Role::Space] => {
                let c = out[out.len() / 2].c;
                Entry::new(Class::Isolated, trie.single(c).unwrap_or(self.unk))
            }
            _ if roles.iter().all(|r| *r == Role::Space) => Entry::new(Class::Space, 0),
            _ => {
                let from = pool.len() as u32;
                pool.extend(out.iter().map(|x| x.c));
                Entry::new(Class::Several, from << LEN_BITS | out.len() as u32)
            }
        }
    }
}

impl std::fmt::Debug for CharTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CharTable")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_classed_as_the_normaliser_treats_it() {
        let tokens = ["中", "豈", "a", ","];
        let trie = PieceTrie::new(tokens.iter().copied().zip(10..), "##");
        let table = CharTable::new(BertOptions::default(), vec!['['], 99);
        let class = |c| table.entry(c, &trie).class();
        assert_eq!(class('\u{200b}'), Class::Dropped);
        assert_eq!(class('\u{3000}'), Class::Space);
        assert_eq!(class('A'), Class::Inner);
        assert_eq!(table.entry('Á', &trie).inner(), 'a');
        assert_eq!(class('中'), Class::Isolated);
        assert_eq!(table.entry('中', &trie).id(), 10);
        assert_eq!(table.entry('\u{f900}', &trie).id(), 11);
        assert_eq!(table.isolated('\u{f900}', &trie), '豈');
        assert_eq!(table.entry('，', &trie).id(), 99);
        assert_eq!(table.several('한', &trie), ['ᄒ', 'ᅡ', 'ᆫ']);
        assert_eq!(class('\u{1d165}'), Class::Complex);
        assert!(table.entry('[', &trie).may_be_special());
    }
}

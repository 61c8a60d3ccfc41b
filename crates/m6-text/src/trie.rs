//! Greedy longest match of word pieces over a trie of characters.

use rustc_hash::FxHashMap;

/// No piece ends at this node.
const NONE: u32 = u32::MAX;
/// Root of pieces that begin a word.
const FIRST: u32 = 0;
/// Root of pieces that continue a word (stored without their prefix).
const CONTINUING: u32 = 1;

/// All pieces of a vocabulary, in two tries that share their node numbers.
#[derive(Debug)]
pub(crate) struct PieceTrie {
    edges: FxHashMap<u64, u32>,
    ids: Vec<u32>,
}

impl PieceTrie {
    /// Builds the tries; the empty piece can never match and is left out.
    pub fn new<'a>(tokens: impl Iterator<Item = (&'a str, u32)>, prefix: &str) -> Self {
        let mut trie = Self {
            edges: FxHashMap::default(),
            ids: vec![NONE; 2],
        };
        for (token, id) in tokens {
            trie.insert(FIRST, token, id);
            if let Some(piece) = token.strip_prefix(prefix) {
                trie.insert(CONTINUING, piece, id);
            }
        }
        trie
    }

    fn insert(&mut self, root: u32, piece: &str, id: u32) {
        if piece.is_empty() {
            return;
        }
        let mut node = root;
        for c in piece.chars() {
            let next = self.ids.len() as u32;
            node = *self.edges.entry(edge(node, c)).or_insert(next);
            if node == next {
                self.ids.push(NONE);
            }
        }
        self.ids[node as usize] = id;
    }

    /// The id of a word of one character.
    pub fn single(&self, c: char) -> Option<u32> {
        self.longest(FIRST, &[c]).map(|(_, id)| id)
    }

    /// Splits a word into pieces, longest first, calling `emit(id, from, to)` in characters.
    /// Returns false, having emitted a part, when some rest of the word matches no piece.
    pub fn split(&self, word: &[char], mut emit: impl FnMut(u32, usize, usize)) -> bool {
        let mut from = 0;
        let mut root = FIRST;
        while from < word.len() {
            let Some((len, id)) = self.longest(root, &word[from..]) else {
                return false;
            };
            emit(id, from, from + len);
            from += len;
            root = CONTINUING;
        }
        true
    }

    fn longest(&self, root: u32, rest: &[char]) -> Option<(usize, u32)> {
        let mut node = root;
        let mut best = None;
        for (i, &c) in rest.iter().enumerate() {
            let Some(&next) = self.edges.get(&edge(node, c)) else {
                break;
            };
            node = next;
            let id = self.ids[node as usize];
            if id != NONE {
                best = Some((i + 1, id));
            }
        }
        best
    }
}

fn edge(node: u32, c: char) -> u64 {
    u64::from(node) << 21 | u64::from(u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, expected: Option<&[u32]>) {
        let tokens = ["un", "##a", "##aff", "##able", "able", "", "##", "a"];
        let trie = PieceTrie::new(tokens.iter().copied().zip(0..), "##");
        let chars: Vec<char> = word.chars().collect();
        let mut ids = Vec::new();
        let whole = trie.split(&chars, |id, _, _| ids.push(id));
        assert_eq!(whole.then_some(&ids[..]), expected, "{word}");
    }

    #[test]
    fn the_longest_piece_wins_at_every_place() {
        check("unaffable", Some(&[0, 2, 3]));
        check("able", Some(&[4]));
        check("aable", Some(&[7, 3]));
    }

    #[test]
    fn a_rest_without_a_piece_fails_the_word() {
        check("unaffb", None);
        check("b", None);
        check("ununable", None);
    }
}

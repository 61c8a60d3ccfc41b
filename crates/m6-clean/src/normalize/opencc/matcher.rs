//! Finds the longest key of ranked dictionaries at every place of a text, in one walk from left to right (ours; the
//! result is that of OpenCC's dictionary groups).

use super::edges::{Edges, MAX_PARENT_BITS};
use super::ids;
use crate::{Error, Result};
use rustc_hash::FxHashMap;

/// Most nodes of one matcher; larger dictionaries are refused.
const MAX_NODES: usize = 1 << MAX_PARENT_BITS;
/// Most bytes of all values together.
const MAX_ARENA: usize = u32::MAX as usize;

/// Entry of [`Matcher::first`]: the low bits are an index into [`Matcher::heads`].
const HEAD: u32 = 1 << 31;
/// Entry of [`Matcher::first`]: begins an ideographic description sequence, which passes whole.
const DESCRIPTION: u32 = 1 << 30;

/// What takes the parts of a text as they are found.
pub(super) trait Sink {
    /// A part that no key covers.
    fn keep(&mut self, part: &str);
    /// A character of three bytes, replaced or not, as little-endian bytes below a zero.
    fn put(&mut self, utf8: u32);
    /// A key of `n_bytes` and its value; a lower rank is an earlier dictionary of the group.
    fn hit(&mut self, n_bytes: usize, value: &str, rank: u8);
}

/// Value of a node.
#[derive(Clone, Copy)]
struct Value {
    start: u32,
    len: u32,
    /// [`NO_VALUE`] when no key ends here.
    rank: u8,
}

/// Rank of a node that ends no key.
const NO_VALUE: u8 = u8::MAX;

/// A first character that needs more than a look: several keys begin with it, or its value is not one character.
#[derive(Clone, Copy)]
struct Head {
    node: u32,
    /// The three bytes that stand for the character alone; 0 when they are not three or its rank must be told.
    alone: u32,
    /// Which second characters may follow: first word in [`Matcher::filters`], and the shift of [`spread`] that leaves
    /// an index of one of its bits. Most walks end here, without touching the edges.
    filter: u32,
    shift: u32,
}

/// Bits of a filter for every second character, at least 64 in all: one in eight wrong characters passes.
const FILTER_BITS: usize = 8;

/// Spreads code points over the bits of a filter.
#[inline]
fn spread(code: u32, shift: u32) -> usize {
    (code.wrapping_mul(0x9e37_79b1) >> shift) as usize
}

/// The code point of three bytes of UTF-8.
#[inline]
fn code_of_three(a: u8, b: u8, c: u8) -> u32 {
    u32::from(a & 0x0f) << 12 | u32::from(b & 0x3f) << 6 | u32::from(c & 0x3f)
}

/// Ranked keys compiled for search.
pub(super) struct Matcher {
    /// By code point of the first character: 0 passes; below [`DESCRIPTION`] the three bytes that replace it; else
    /// [`HEAD`] with an index, or [`DESCRIPTION`].
    first: Vec<u32>,
    heads: Vec<Head>,
    filters: Vec<u64>,
    edges: Edges,
    values: Vec<Value>,
    arena: String,
    /// Whether a key begins with ASCII; otherwise such runs pass at once.
    ascii: bool,
}

impl Matcher {
    /// Gives all parts of `text` to the sink, in order; together they cover it.
    pub(super) fn scan(&self, text: &str, sink: &mut impl Sink) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&lead) = bytes.get(at) {
            if lead < 0x80 && !self.ascii {
                let run = bytes[at..].iter().position(|b| *b >= 0x80);
                let end = run.map_or(bytes.len(), |n| at + n);
                sink.keep(&text[at..end]);
                at = end;
                continue;
            }
            if lead & 0xf0 == 0xe0
                && let Some(&[a, b, c]) = bytes[at..].first_chunk::<3>()
            {
                let entry = self
                    .first
                    .get(code_of_three(a, b, c) as usize)
                    .copied()
                    .unwrap_or(0);
                if entry < DESCRIPTION {
                    let own = u32::from_le_bytes([a, b, c, 0]);
                    sink.put(if entry == 0 { own } else { entry });
                    at += 3;
                    continue;
                }
                if let Some(head) = self.heads.get((entry ^ HEAD) as usize)
                    && head.alone != 0
                    && self.is_alone(head, &bytes[at + 3..])
                {
                    sink.put(head.alone);
                    at += 3;
                    continue;
                }
            }
            at += self.step(&text[at..], sink);
        }
    }

    /// Whether no longer key can begin here, as far as a look at the next character's bytes says.
    #[inline]
    fn is_alone(&self, head: &Head, next: &[u8]) -> bool {
        let code = match *next {
            [] => return true,
            [a, ..] if a < 0x80 => u32::from(a),
            [a, b, c, ..] if a & 0xf0 == 0xe0 => code_of_three(a, b, c),
            _ => return false,
        };
        !self.may_follow(head, code)
    }

    /// Whether this may be the second character of a key.
    #[inline]
    fn may_follow(&self, head: &Head, code: u32) -> bool {
        let bit = spread(code, head.shift);
        let word = self.filters.get(head.filter as usize + bit / 64);
        word.is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// The general step: one key, one character, or one description sequence; returns its bytes.
    fn step(&self, rest: &str, sink: &mut impl Sink) -> usize {
        let Some(c) = rest.chars().next() else {
            return rest.len().max(1);
        };
        let entry = self.first.get(c as usize).copied().unwrap_or(0);
        if entry & HEAD != 0
            && let Some(head) = self.heads.get((entry & !HEAD) as usize)
            && let Some((n_bytes, value)) = self.longest(head, c, rest)
        {
            let (start, end) = (value.start as usize, (value.start + value.len) as usize);
            sink.hit(
                n_bytes,
                self.arena.get(start..end).unwrap_or(""),
                value.rank,
            );
            return n_bytes;
        }
        let whole = (entry & DESCRIPTION != 0)
            .then(|| ids::length(rest))
            .flatten();
        let n_bytes = whole.unwrap_or_else(|| c.len_utf8());
        sink.keep(&rest[..n_bytes]);
        n_bytes
    }

    /// The longest key of the earliest dictionary that has one here.
    fn longest(&self, head: &Head, first: char, rest: &str) -> Option<(usize, Value)> {
        let value_of = |node: u32| {
            let value = self.values.get(node as usize).copied();
            value.filter(|value| value.rank != NO_VALUE)
        };
        let mut n_bytes = first.len_utf8();
        let mut best = value_of(head.node).map(|value| (n_bytes, value));
        let mut node = head.node;
        for c in rest[n_bytes..].chars() {
            if node == head.node && !self.may_follow(head, u32::from(c)) {
                break;
            }
            let Some(child) = self.edges.get(node, c) else {
                break;
            };
            n_bytes += c.len_utf8();
            let better = value_of(child).filter(|v| best.is_none_or(|(_, b)| v.rank <= b.rank));
            best = better.map(|value| (n_bytes, value)).or(best);
            node = child;
        }
        best
    }
}

/// Collects ranked keys for a [`Matcher`].
#[derive(Default)]
pub(super) struct Builder {
    heads: FxHashMap<char, u32>,
    edges: FxHashMap<(u32, char), u32>,
    values: Vec<Value>,
    arena: String,
}

impl Builder {
    /// Adds a key; of equal keys the lowest rank stays, and of equal ranks the first.
    ///
    /// # Errors
    /// [`Error::Config`] when there are more keys than can be held.
    pub(super) fn add(&mut self, key: &str, value: &str, rank: u8) -> Result<()> {
        let mut chars = key.chars();
        let Some(first) = chars.next() else {
            return Ok(());
        };
        if self.values.len() + key.len() > MAX_NODES || self.arena.len() + value.len() > MAX_ARENA {
            return Err(Error::Config(format!(
                "the dictionaries are too large: more than {MAX_NODES} nodes"
            )));
        }
        let values = &mut self.values;
        let mut fresh = || {
            // Node 0 is never a child, so that an empty cell of the edges is 0.
            if values.is_empty() {
                values.push(UNSET);
            }
            values.push(UNSET);
            (values.len() - 1) as u32
        };
        let mut node = *self.heads.entry(first).or_insert_with(&mut fresh);
        for c in chars {
            node = *self.edges.entry((node, c)).or_insert_with(&mut fresh);
        }
        let place = &mut self.values[node as usize];
        if rank < place.rank {
            *place = Value {
                start: self.arena.len() as u32,
                len: value.len() as u32,
                rank,
            };
            self.arena.push_str(value);
        }
        Ok(())
    }

    /// Compiles what was added.
    pub(super) fn build(self) -> Matcher {
        let mut edges = Edges::with_capacity(self.edges.len());
        let mut seconds: FxHashMap<u32, Vec<u32>> = self
            .heads
            .values()
            .map(|node| (*node, Vec::new()))
            .collect();
        for (&(node, c), &child) in &self.edges {
            edges.insert(node, c, child);
            if let Some(seconds) = seconds.get_mut(&node) {
                seconds.push(u32::from(c));
            }
        }
        let last = self.heads.keys().map(|c| *c as usize).max().unwrap_or(0);
        let mut matcher = Matcher {
            first: vec![0; last.max(ids::LAST as usize) + 1],
            heads: Vec::new(),
            filters: Vec::new(),
            edges,
            values: self.values,
            arena: self.arena,
            ascii: self.heads.keys().any(char::is_ascii),
        };
        for operator in ids::FIRST..=ids::LAST {
            matcher.first[operator as usize] = DESCRIPTION;
        }
        for (&c, &node) in &self.heads {
            let seconds = seconds.get(&node).map_or(&[][..], Vec::as_slice);
            let alone = matcher.alone(c, node).unwrap_or(0);
            matcher.first[c as usize] = if seconds.is_empty() && alone != 0 {
                alone
            } else {
                matcher.head(node, alone, seconds)
            };
        }
        matcher
    }
}

/// A node that ends no key.
const UNSET: Value = Value {
    start: 0,
    len: 0,
    rank: NO_VALUE,
};

impl Matcher {
    /// Adds a head with its filter; returns its entry.
    fn head(&mut self, node: u32, alone: u32, seconds: &[u32]) -> u32 {
        let n_bits = (seconds.len() * FILTER_BITS).next_power_of_two().max(64);
        let head = Head {
            node,
            alone,
            filter: self.filters.len() as u32,
            shift: 32 - n_bits.trailing_zeros(),
        };
        self.filters.resize(self.filters.len() + n_bits / 64, 0);
        for code in seconds {
            let bit = spread(*code, head.shift);
            self.filters[head.filter as usize + bit / 64] |= 1 << (bit % 64);
        }
        self.heads.push(head);
        HEAD | (self.heads.len() - 1) as u32
    }

    /// The three bytes that a character of three bytes becomes where no longer key begins, unless its rank is 0: that
    /// cuts the text where cuts are asked for, so the sink must be told.
    fn alone(&self, c: char, node: u32) -> Option<u32> {
        let value = self.values.get(node as usize)?;
        let mut own = [0; 4];
        let text = match value.rank {
            0 => return None,
            NO_VALUE => &*c.encode_utf8(&mut own),
            _ => self
                .arena
                .get(value.start as usize..)?
                .get(..value.len as usize)?,
        };
        let mut chars = text.chars();
        let only = chars.next().filter(|_| chars.next().is_none())?;
        match *text.as_bytes() {
            [x, y, z] if c.len_utf8() == 3 && only.len_utf8() == 3 => {
                Some(u32::from_le_bytes([x, y, z, 0]))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a scan finds: text as it comes out, values of rank 0 in brackets.
    #[derive(Default)]
    struct Shown(String);

    impl Sink for Shown {
        fn keep(&mut self, part: &str) {
            self.0.push_str(part);
        }
        fn put(&mut self, utf8: u32) {
            self.0
                .push_str(std::str::from_utf8(&utf8.to_le_bytes()[..3]).expect("a character"));
        }
        fn hit(&mut self, n_bytes: usize, value: &str, rank: u8) {
            if rank == 0 {
                self.0.push_str(&format!("[{n_bytes}:{value}]"));
            } else {
                self.0.push_str(value);
            }
        }
    }

    fn check(keys: &[(&str, &str, u8)], text: &str, expected: &str) {
        let mut builder = Builder::default();
        for (key, value, rank) in keys {
            builder.add(key, value, *rank).expect("fits");
        }
        let mut shown = Shown::default();
        builder.build().scan(text, &mut shown);
        assert_eq!(shown.0, expected, "{text}");
    }

    #[test]
    fn the_longest_key_of_the_lowest_rank() {
        let keys = [
            ("甲", "一", 1),
            ("甲乙", "二", 0),
            ("甲乙丙", "三", 0),
            ("乙丙丁", "四", 1),
        ];
        check(&keys, "甲乙丙丁", "[9:三]丁");
        check(&keys, "甲乙丁甲", "[6:二]丁一");
        check(&keys, "甲丙乙丙丁", "一丙四");
        check(&keys, "丙甲", "丙一");
        let ranked = [("甲乙", "短", 0), ("甲乙丙", "长", 1), ("丙", "末", 2)];
        check(&ranked, "甲乙丙", "[6:短]末");
        let doubled = [("甲", "先", 1), ("甲", "后", 1), ("甲", "早", 0)];
        check(&doubled, "甲", "[3:早]");
        check(&doubled[..2], "甲", "先");
    }

    #[test]
    fn keys_of_every_width() {
        let keys = [
            ("U盘", "隨身碟", 0),
            ("é", "e", 1),
            ("𠮷", "吉", 1),
            ("吉", "𠮷", 1),
            ("后", "後后", 1),
        ];
        check(&keys, "aU盘U", "a[4:隨身碟]U");
        check(&keys, "éa𠮷吉后", "ea吉𠮷後后");
        check(&keys, "\0\u{7f}", "\0\u{7f}");
        check(&[], "甲a", "甲a");
        check(&[("", "x", 0)], "甲a", "甲a");
    }

    #[test]
    fn a_drawn_character_passes_whole() {
        let keys = [("木", "林", 1)];
        check(&keys, "木⿰木木木", "林⿰木木林");
        check(&keys, "⿰木", "⿰林");
    }

    #[test]
    fn a_walk_that_fails_comes_back() {
        let keys = [("一二三四五", "长", 0), ("二三", "短", 0), ("一", "壹", 1)];
        check(&keys, "一二三四", "壹[6:短]四");
        check(&keys, "一二三四五", "[15:长]");
    }
}

//! The edges of a trie over characters.

/// Bits of a node's number in a cell of [`Edges`].
const NODE_BITS: u32 = 22;
/// Bits of a character.
const CHAR_BITS: u32 = 21;
/// Bits that a node with edges may have, so that node, character and child share 64 bits.
pub(super) const MAX_PARENT_BITS: u32 = 64 - NODE_BITS - CHAR_BITS;

/// (node, character) -> node, in one flat table with open addressing: a step costs about one cache line.
pub(super) struct Edges {
    /// Parent, character and child; 0 is free, since a child is never node 0.
    cells: Vec<u64>,
    shift: u32,
}

impl Edges {
    /// Room for so many edges.
    pub(super) fn with_capacity(n_edges: usize) -> Self {
        let n_cells = (n_edges * 2).next_power_of_two().max(16);
        Self {
            cells: vec![0; n_cells],
            shift: 64 - n_cells.trailing_zeros(),
        }
    }

    fn key(node: u32, c: char) -> u64 {
        (u64::from(node) << CHAR_BITS) | u64::from(u32::from(c))
    }

    fn slot(&self, key: u64) -> usize {
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }

    /// The node that a character leads to.
    pub(super) fn get(&self, node: u32, c: char) -> Option<u32> {
        let key = Self::key(node, c);
        let mask = self.cells.len() - 1;
        let mut slot = self.slot(key);
        loop {
            let cell = self.cells[slot & mask];
            if cell == 0 {
                return None;
            }
            if cell >> NODE_BITS == key {
                return Some((cell & ((1 << NODE_BITS) - 1)) as u32);
            }
            slot += 1;
        }
    }

    /// Adds an edge that is not there yet, within the capacity; `child` is not 0.
    pub(super) fn insert(&mut self, node: u32, c: char, child: u32) {
        let key = Self::key(node, c);
        let mask = self.cells.len() - 1;
        let mut slot = self.slot(key);
        while self.cells[slot & mask] != 0 {
            slot += 1;
        }
        self.cells[slot & mask] = (key << NODE_BITS) | u64::from(child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found() {
        let letters: Vec<char> = ('一'..='鿿')
            .step_by(7)
            .take(1000)
            .chain(['a', '\u{10ffff}'])
            .collect();
        let mut edges = Edges::with_capacity(letters.len() * 2);
        for (i, &c) in letters.iter().enumerate() {
            edges.insert(0, c, i as u32 + 1);
            edges.insert(
                (1 << MAX_PARENT_BITS) - 1,
                c,
                (1 << NODE_BITS) - 1 - i as u32,
            );
        }
        for (i, &c) in letters.iter().enumerate() {
            assert_eq!(edges.get(0, c), Some(i as u32 + 1));
            assert_eq!(edges.get(1, c), None);
            let last = (1 << NODE_BITS) - 1 - i as u32;
            assert_eq!(edges.get((1 << MAX_PARENT_BITS) - 1, c), Some(last));
        }
        assert_eq!(Edges::with_capacity(0).get(3, 'x'), None);
    }
}

//! How much of a text repeats itself, by character n-grams (after Gopher's rules, which count words).

use crate::rules::hash;

/// Characters looked at, from the start; a text that repeats itself does so early, and the memory stays bounded.
pub const MAX_CHARS: usize = 1 << 20;
/// The shortest n-gram of the "most frequent" shares.
const FIRST_TOP: usize = 2;
const LAST_TOP: usize = 4;
/// The n-grams of the "covered by repeats" shares.
const FIRST_COVER: usize = 5;
const LAST_COVER: usize = 10;

/// Shares of a text's characters, each in 0..=1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Repeats {
    /// Held by the occurrences of the most frequent 2-, 3- and 4-gram; 0 when none occurs twice.
    pub top: [f64; 3],
    /// Inside a 5- to 10-gram that occurred before.
    pub covered: [f64; 6],
}

/// An n-gram: half of its hash, and how often it was seen; 0 marks an empty cell.
#[derive(Clone, Copy, Default)]
struct Cell {
    key: u32,
    count: u32,
}

/// Counts n-grams of one length: open addressing by the other half of the hash, at most half full.
#[derive(Default)]
struct Counter {
    cells: Vec<Cell>,
    mask: usize,
}

impl Counter {
    fn reset(&mut self, n_keys: usize) {
        let capacity = (2 * n_keys).next_power_of_two();
        self.mask = capacity - 1;
        self.cells.clear();
        self.cells.resize(capacity, Cell::default());
    }

    /// Counts one occurrence; says where, and the count so far.
    #[inline]
    fn add(&mut self, hash: u64) -> (usize, u32) {
        let key = hash as u32;
        let mut slot = (hash >> 32) as usize & self.mask;
        loop {
            let cell = &mut self.cells[slot];
            if cell.count == 0 {
                cell.key = key;
            }
            if cell.key == key {
                cell.count += 1;
                return (slot, cell.count);
            }
            slot = (slot + 1) & self.mask;
        }
    }
}

/// A place where an n-gram starts that occurs more than once, with the n-gram's hash.
#[derive(Clone, Copy)]
struct Place {
    at: u32,
    slot: u32,
    hash: u64,
}

/// Measures the repetition in `chars`, a text without its white space, as code points.
///
/// Only places whose (n-1)-gram occurs twice can start an n-gram that does, so that the work shrinks with n.
pub fn repeats(chars: &[u32]) -> Repeats {
    let chars = &chars[..chars.len().min(MAX_CHARS)];
    let mut found = Repeats::default();
    let mut counter = Counter::default();
    let first = |(at, pair): (usize, &[u32])| Place {
        at: at as u32,
        slot: 0,
        hash: hash::extend(u64::from(pair[0]), pair[1]),
    };
    let mut places: Vec<Place> = chars.windows(FIRST_TOP).enumerate().map(first).collect();
    for n in FIRST_TOP..=LAST_COVER {
        if places.is_empty() {
            break;
        }
        counter.reset(places.len());
        let mut covered = 0;
        let mut covered_to = 0;
        let mut most = 0;
        for place in &mut places {
            let (slot, count) = counter.add(place.hash);
            place.slot = slot as u32;
            most = most.max(count);
            if count > 1 {
                let at = place.at as usize;
                covered += (at + n) - covered_to.max(at);
                covered_to = at + n;
            }
        }
        let share = |part: usize| (part as f64 / chars.len() as f64).min(1.0);
        match n {
            FIRST_TOP..=LAST_TOP if most > 1 => found.top[n - FIRST_TOP] = share(most as usize * n),
            FIRST_COVER..=LAST_COVER => found.covered[n - FIRST_COVER] = share(covered),
            _ => {}
        }
        places.retain_mut(|place| {
            counter.cells[place.slot as usize].count > 1 && lengthen(place, chars, n + 1)
        });
    }
    found
}

/// Makes an (n-1)-gram into an n-gram; false for one that would run over the end.
fn lengthen(place: &mut Place, chars: &[u32], n: usize) -> bool {
    let Some(next) = chars.get(place.at as usize + n - 1) else {
        return false;
    };
    place.hash = hash::extend(place.hash, *next);
    true
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Repeats {
        repeats(&text.chars().map(u32::from).collect::<Vec<u32>>())
    }

    /// The definition, written without care for speed.
    fn slowly(chars: &[u32]) -> Repeats {
        let mut found = Repeats::default();
        let share = |part: usize| (part as f64 / chars.len() as f64).min(1.0);
        for n in FIRST_TOP..=LAST_COVER {
            let mut counts: HashMap<&[u32], usize> = HashMap::new();
            let mut inside = vec![false; chars.len()];
            for (at, gram) in chars.windows(n).enumerate() {
                let count = counts.entry(gram).or_default();
                *count += 1;
                if *count > 1 {
                    inside[at..at + n].fill(true);
                }
            }
            let most = counts.values().copied().max().unwrap_or(0);
            if n <= LAST_TOP {
                found.top[n - FIRST_TOP] = if most > 1 { share(most * n) } else { 0.0 };
            } else if !chars.is_empty() {
                found.covered[n - FIRST_COVER] =
                    share(inside.iter().filter(|inside| **inside).count());
            }
        }
        found
    }

    #[test]
    fn known_texts_have_known_shares() {
        assert_eq!(of(""), Repeats::default());
        assert_eq!(of("山"), Repeats::default());
        assert_eq!(of("春眠不觉晓处处闻啼鸟"), Repeats::default());
        let twice = of("买一送一快来看买一送一快来看");
        assert_eq!(twice.top, [4.0 / 14.0, 6.0 / 14.0, 8.0 / 14.0]);
        assert_eq!(twice.covered, [0.5, 0.5, 0.5, 0.0, 0.0, 0.0]);
        assert_eq!(of("哈哈哈哈哈哈哈哈哈哈哈哈").top, [1.0; 3]);
    }

    proptest! {
        #[test]
        fn the_shrinking_search_finds_what_the_definition_says(chars in prop::collection::vec(0u32..3, 0..120)) {
            prop_assert_eq!(repeats(&chars), slowly(&chars));
        }
    }
}

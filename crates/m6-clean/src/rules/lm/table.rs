//! N-grams of one order: a hash table of eight bytes a slot.
//!
//! A slot holds 32 bits of the n-gram's hash, its probability and its back-off, each a base-2 logarithm in steps of 1/2048 (ours, after
//! KenLM's probing tables). Two n-grams are mistaken for one another about once in 2^31 look-ups; the steps cost less than 0.1 % of
//! a perplexity.

use crate::rules::hash;

/// Steps of a logarithm.
const STEPS: f64 = 2048.0;
/// Mixed into every hash.
const SEED: u64 = 0x6d36_2d6c_6d2d_3031;

/// The hash of one id; [`extend`] it by the ids before it, nearest first.
#[inline]
pub(super) fn start(id: u16) -> u64 {
    hash::extend(SEED, u32::from(id))
}

/// The hash of an n-gram with one more id before it.
#[inline]
pub(super) fn extend(hash: u64, previous: u16) -> u64 {
    hash::extend(hash, u32::from(previous))
}

/// Packs a probability and a back-off weight, both in 0..=1; 0 becomes 2^-32.
pub(super) fn pack(prob: f64, backoff: f64) -> u32 {
    let quantum = |weight: f64| {
        let steps = -libm::log2(weight.max(f64::MIN_POSITIVE)) * STEPS;
        libm::round(steps).clamp(0.0, f64::from(u16::MAX)) as u32
    };
    quantum(prob) | quantum(backoff) << 16
}

/// The base-2 logarithms of a packed probability and back-off.
#[inline]
pub(super) fn log2_of(packed: u32) -> (f64, f64) {
    let log2 = |steps: u32| f64::from(steps) * (-1.0 / STEPS);
    (log2(packed & 0xffff), log2(packed >> 16))
}

/// The packed value with another back-off.
pub(super) fn with_backoff(packed: u32, backoff: f64) -> u32 {
    (packed & 0xffff) | (pack(1.0, backoff) & 0xffff_0000)
}

/// A table; its number of slots is a power of two, at most three quarters of which are full.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    slots: Vec<u64>,
}

impl Table {
    /// An empty table for `n` n-grams.
    pub(super) fn with_room(n: usize) -> Self {
        Self {
            slots: vec![0; (n + n / 3 + 1).next_power_of_two()],
        }
    }

    /// The table with these slots, as a file gives them; `None` unless their number is a power of two.
    pub(super) fn from_slots(slots: Vec<u64>) -> Option<Self> {
        slots.len().is_power_of_two().then_some(Self { slots })
    }

    pub(super) fn slots(&self) -> &[u64] {
        &self.slots
    }

    /// N-grams in the table.
    pub(super) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| **slot != 0).count()
    }

    /// The slot of an n-gram: the one that holds it, or the first empty one; `None` when it is neither there nor is there room.
    #[inline]
    fn find(&self, hash: u64) -> Option<(usize, bool)> {
        let mask = self.slots.len().checked_sub(1)?;
        let print = fingerprint(hash);
        let first = (hash >> 32) as usize & mask;
        // Bounded, since a file may give a table without an empty slot.
        for step in 0..=mask {
            let index = (first + step) & mask;
            let slot = self.slots[index];
            if slot == 0 {
                return Some((index, false));
            }
            if slot as u32 == print {
                return Some((index, true));
            }
        }
        None
    }

    /// The packed value of an n-gram.
    #[inline]
    pub(super) fn get(&self, hash: u64) -> Option<u32> {
        let (index, is_there) = self.find(hash)?;
        is_there.then(|| (self.slots[index] >> 32) as u32)
    }

    /// The slot where the search for an n-gram begins.
    #[inline]
    pub(super) fn first_slot(&self, hash: u64) -> u64 {
        let mask = self.slots.len().wrapping_sub(1);
        let first = self.slots.get((hash >> 32) as usize & mask);
        first.copied().unwrap_or_default()
    }

    /// As [`Table::get`], with the first slot already read.
    #[inline]
    pub(super) fn get_from(&self, hash: u64, first: u64) -> Option<u32> {
        if first == 0 {
            return None;
        }
        if first as u32 == fingerprint(hash) {
            return Some((first >> 32) as u32);
        }
        self.get(hash)
    }

    /// Puts an n-gram in, or replaces its value.
    pub(super) fn set(&mut self, hash: u64, packed: u32) {
        if let Some((index, _)) = self.find(hash) {
            self.slots[index] = u64::from(packed) << 32 | u64::from(fingerprint(hash));
        }
    }
}

/// The low half of the hash, never 0, which marks an empty slot.
#[inline]
fn fingerprint(hash: u64) -> u32 {
    (hash as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_survive_packing() {
        for (prob, backoff) in [(1.0, 1.0), (0.5, 0.25), (1e-6, 0.013), (0.3, 1e-9)] {
            let (log2_prob, log2_backoff) = log2_of(pack(prob, backoff));
            assert!((log2_prob - prob.log2()).abs() <= 0.5 / STEPS, "{prob}");
            assert!(
                (log2_backoff - backoff.log2()).abs() <= 0.5 / STEPS,
                "{backoff}"
            );
        }
        assert!(log2_of(pack(0.0, 0.0)).0 < -31.9);
        let (log2_prob, log2_backoff) = log2_of(with_backoff(pack(0.5, 0.5), 0.125));
        assert_eq!((log2_prob, log2_backoff), (-1.0, -3.0));
    }

    #[test]
    fn n_grams_are_found_again_and_others_are_not() {
        let grams: Vec<u64> = (0..5000u16)
            .map(|id| extend(start(id), id.wrapping_mul(7)))
            .collect();
        let mut table = Table::with_room(grams.len());
        for (value, hash) in grams.iter().enumerate() {
            table.set(*hash, value as u32);
        }
        assert_eq!(table.len(), grams.len());
        assert!(
            grams
                .iter()
                .enumerate()
                .all(|(value, hash)| table.get(*hash) == Some(value as u32))
        );
        assert!((0..5000u16).all(|id| table.get(extend(start(id), 9)).is_none() || id == 0));
        table.set(grams[3], 77);
        assert_eq!((table.get(grams[3]), table.len()), (Some(77), grams.len()));
    }

    #[test]
    fn a_full_table_ends_the_search() {
        let full = Table::from_slots(vec![u64::MAX; 4]).unwrap();
        assert_eq!(full.get(start(1)), None);
        assert_eq!(Table::from_slots(vec![0; 3]), None);
        assert_eq!(Table::from_slots(Vec::new()), None);
        assert_eq!(Table::default().get(1), None);
    }
}

//! The hash of sequences: one multiplication a step (after wyhash, by Wang Yi).

const LEFT: u64 = 0xa076_1d64_78bd_642f;
const RIGHT: u64 = 0xe703_7ed1_a0b4_28db;

/// The hash of a sequence with one more element. Model files depend on these values: never change them.
#[inline]
pub(crate) fn extend(hash: u64, element: u32) -> u64 {
    let product = u128::from(hash ^ LEFT) * u128::from(u64::from(element) ^ RIGHT);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_stay_the_same_for_ever() {
        assert_eq!(extend(0, 0), 0x1ff5_c292_3a78_8d2c);
        assert_eq!(extend(extend(0, 1), 2), 0x2e3a_4b0b_be0a_bd6b);
    }

    #[test]
    fn sequences_do_not_meet() {
        let mut seen: Vec<u64> = Vec::new();
        for first in 0..300 {
            for second in 0..300 {
                seen.push(extend(extend(0, first), second));
            }
        }
        let halves: Vec<u64> = seen
            .iter()
            .map(|hash| hash >> 32 << 32 | hash >> 32)
            .collect();
        for mut hashes in [seen, halves] {
            let n = hashes.len();
            hashes.sort_unstable();
            hashes.dedup();
            // Of 90,000 values of 32 bits about one pair is expected to meet.
            assert!(n - hashes.len() < 8, "{} of {n}", n - hashes.len());
        }
    }

    #[test]
    fn every_bit_moves_half_of_the_others() {
        for bit in 0..16 {
            let flips =
                |element: u32| (extend(7, element) ^ extend(7, element ^ (1 << bit))).count_ones();
            let mean = f64::from((0..1000).map(flips).sum::<u32>()) / 1000.0;
            assert!((24.0..40.0).contains(&mean), "bit {bit}: {mean}");
        }
    }
}

//! MinHash signatures and the bands that make candidates of them (Broder, 1997; Leskovec, Rajaraman and Ullman, chapter 3; ours).

use m6_store::rng::{Key, mix64};

/// Permutations of a signature.
pub const N_PERMUTATIONS: usize = 112;

/// Hashes of one pass of the inner loop; a list is filled up to a multiple of it, so that the loop has no rest.
const LANES: usize = 32;

/// The least hash of a text under each permutation; all ones for a text without shingles.
pub type Signature = [u32; N_PERMUTATIONS];

/// Computes signatures: `x -> (x ^ xor) * odd` over 32 bits is a permutation, and its least value over the shingles is the same for
/// two texts with a chance that is their Jaccard similarity.
///
/// An exclusive-or and an odd factor are what a vector unit does fastest; the shingle hashes are well spread already.
#[derive(Clone, Debug)]
pub struct Signer {
    xor: Signature,
    odd: Signature,
}

impl Signer {
    /// The permutations of a seed.
    pub fn new(seed: u64) -> Self {
        let mut stream = Key::new(seed).child("minhash").stream();
        let mut signer = Self {
            xor: [0; N_PERMUTATIONS],
            odd: [0; N_PERMUTATIONS],
        };
        for (xor, odd) in signer.xor.iter_mut().zip(&mut signer.odd) {
            *xor = stream.next_u32();
            *odd = stream.next_u32() | 1;
        }
        signer
    }

    /// The signature of shingle hashes, of which only the high halves are used; `scratch` is overwritten.
    pub fn sign(&self, hashes: &[u64], scratch: &mut Vec<u32>) -> Signature {
        scratch.clear();
        scratch.extend(hashes.iter().map(|hash| (hash >> 32) as u32));
        if let Some(last) = scratch.last().copied() {
            // A hash once more changes no minimum.
            scratch.resize(scratch.len().next_multiple_of(LANES), last);
        }
        let mut signature = [u32::MAX; N_PERMUTATIONS];
        for (i, least) in signature.iter_mut().enumerate() {
            *least = minimum(scratch, self.xor[i], self.odd[i]);
        }
        signature
    }
}

/// The least value of one permutation; the compiler makes vector code of this loop.
fn minimum(hashes: &[u32], xor: u32, odd: u32) -> u32 {
    hashes
        .iter()
        .map(|hash| (hash ^ xor).wrapping_mul(odd))
        .fold(u32::MAX, u32::min)
}

/// How a signature is cut: two texts become a candidate pair when all rows of one band are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bands {
    /// Bands used; `n_bands * n_rows` is at most [`N_PERMUTATIONS`].
    pub n_bands: usize,
    /// Rows of a band.
    pub n_rows: usize,
}

impl Bands {
    /// The longest bands with which a pair of similarity `threshold` becomes a candidate with a chance of at least `recall`; bands of
    /// one row when there are none.
    ///
    /// Long bands make few candidates of pairs far below the threshold; candidates are checked, so they cost time, never precision.
    pub fn for_threshold(threshold: f64, recall: f64) -> Self {
        let n_rows = (1..=N_PERMUTATIONS)
            .rev()
            .find(|n_rows| Self::of_rows(*n_rows).chance(threshold) >= recall)
            .unwrap_or(1);
        Self::of_rows(n_rows)
    }

    fn of_rows(n_rows: usize) -> Self {
        Self {
            n_bands: N_PERMUTATIONS / n_rows,
            n_rows,
        }
    }

    /// The chance that a pair of this Jaccard similarity becomes a candidate.
    pub fn chance(&self, similarity: f64) -> f64 {
        let band = similarity.clamp(0.0, 1.0).powi(self.n_rows as i32);
        1.0 - (1.0 - band).powi(self.n_bands as i32)
    }

    /// One 64-bit key a band, in order of bands; keys of different bands differ.
    pub fn keys<'s>(&self, signature: &'s Signature) -> impl Iterator<Item = u64> + use<'s> {
        let bands = signature.chunks_exact(self.n_rows.max(1));
        bands.take(self.n_bands).enumerate().map(|(band, rows)| {
            rows.iter()
                .fold(band as u64, |key, row| mix64(key, u64::from(*row)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shingle hashes of two sets with `n_both` of `n_either` in common.
    fn two_sets(seed: u64, n_both: u64, n_either: u64) -> [Vec<u64>; 2] {
        let key = Key::new(seed);
        let hash = |i: u64| key.at(i).word();
        let half = (n_either - n_both) / 2;
        let both = (0..n_both).map(hash);
        let left = (n_both..n_both + half).map(hash);
        let right = (n_both + half..n_either).map(hash);
        [
            both.clone().chain(left).collect(),
            both.chain(right).collect(),
        ]
    }

    fn signatures(signer: &Signer, sets: &[Vec<u64>; 2]) -> [Signature; 2] {
        let mut scratch = Vec::new();
        sets.each_ref().map(|set| signer.sign(set, &mut scratch))
    }

    #[test]
    fn bands_follow_the_threshold() {
        let check = |threshold, recall, n_bands, n_rows| {
            let bands = Bands::for_threshold(threshold, recall);
            assert_eq!(bands, Bands { n_bands, n_rows }, "{threshold} {recall}");
            assert!(n_rows == 1 || bands.chance(threshold) >= recall);
        };
        check(0.8, 0.9, 14, 8);
        check(0.8, 0.999, 22, 5);
        check(0.9, 0.999, 14, 8);
        check(0.5, 0.999, 56, 2);
        check(1.0, 0.999, 1, 112);
        check(0.01, 0.999, 112, 1);
        check(0.8, 1.1, 112, 1);
    }

    #[test]
    fn equal_rows_are_as_frequent_as_the_similarity_says() {
        for (n_both, n_either) in [(0, 400), (120, 600), (500, 1000), (400, 500), (95, 100)] {
            let mut n_equal = 0;
            for seed in 0..60 {
                let [a, b] = signatures(&Signer::new(seed), &two_sets(seed, n_both, n_either));
                n_equal += a.iter().zip(&b).filter(|(x, y)| x == y).count();
            }
            let n_rows = 60.0 * N_PERMUTATIONS as f64;
            let expected = n_both as f64 / n_either as f64;
            let spread = (expected * (1.0 - expected) / n_rows).sqrt();
            let got = n_equal as f64 / n_rows;
            assert!(
                (got - expected).abs() < 5.0 * spread + 1e-3,
                "{got} for {expected}"
            );
        }
    }

    #[test]
    fn candidates_are_as_frequent_as_the_bands_promise() {
        for (n_both, n_rows) in [(160, 8), (160, 5), (100, 5)] {
            let bands = Bands::of_rows(n_rows);
            let mut n_found = 0;
            for seed in 0..2000 {
                let [a, b] = signatures(&Signer::new(7), &two_sets(seed, n_both, 200));
                n_found += usize::from(bands.keys(&a).zip(bands.keys(&b)).any(|(x, y)| x == y));
            }
            let expected = bands.chance(n_both as f64 / 200.0);
            let got = n_found as f64 / 2000.0;
            assert!((got - expected).abs() < 0.035, "{got} for {expected}");
        }
    }

    #[test]
    fn signatures_do_not_depend_on_order_or_repeats() {
        let signer = Signer::new(3);
        let [set, _] = two_sets(1, 37, 37);
        let mut scratch = Vec::new();
        let expected = signer.sign(&set, &mut scratch);
        let mut other: Vec<u64> = set.iter().rev().copied().collect();
        other.extend(&set[..5]);
        assert_eq!(signer.sign(&other, &mut scratch), expected);
        assert_eq!(signer.sign(&[], &mut scratch), [u32::MAX; N_PERMUTATIONS]);
        let naive: Vec<u32> = (0..N_PERMUTATIONS)
            .map(|i| {
                let each = set
                    .iter()
                    .map(|h| ((h >> 32) as u32 ^ signer.xor[i]).wrapping_mul(signer.odd[i]));
                each.min().unwrap_or(u32::MAX)
            })
            .collect();
        assert_eq!(expected.to_vec(), naive);
    }

    #[test]
    fn keys_differ_between_bands_of_equal_rows() {
        let bands = Bands {
            n_bands: 14,
            n_rows: 8,
        };
        let keys: std::collections::BTreeSet<u64> = bands.keys(&[9; N_PERMUTATIONS]).collect();
        assert_eq!(keys.len(), 14);
    }
}

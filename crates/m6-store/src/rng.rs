//! Keyed random streams: every draw is a pure function of a key and a counter (ours).
//!
//! A [`Key`] names a place in a tree ("seed 7, source wiki, epoch 3, row 12"); a [`Stream`] reads the
//! numbers at that place. Nothing is shared and nothing is consumed, so results depend neither on
//! the number of threads nor on what was drawn elsewhere. The generator is Philox2x64-10 (Salmon et
//! al., 2011); transcendental functions come from `libm`, so the bytes are the same on every system.

use std::f64::consts::TAU;

const PHILOX_MULTIPLIER: u64 = 0xD2B7_4407_B1CE_6E93;
const PHILOX_WEYL: u64 = 0x9E37_79B9_7F4A_7C15;
/// Separates the keys made by [`Key::at`] from the numbers read by [`Key::stream`].
const INDEX_TWEAK: u64 = 0x6D36_2D69_6E64_6578;
/// Separates the keys made by [`Key::new`] from all others.
const SEED_TWEAK: u64 = 0x6D36_2D73_6565_6473;

/// One block of Philox2x64-10: 128 pseudo-random bits from a 128-bit counter and a 64-bit key.
#[inline]
fn philox(mut counter: [u64; 2], mut key: u64) -> [u64; 2] {
    for _ in 0..10 {
        let product = u128::from(counter[0]) * u128::from(PHILOX_MULTIPLIER);
        let (high, low) = ((product >> 64) as u64, product as u64);
        counter = [high ^ key ^ counter[1], low];
        key = key.wrapping_add(PHILOX_WEYL);
    }
    counter
}

#[inline]
fn finalize(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Mixes two words into one well-spread word; cheap enough for one call per element (dropout masks).
///
/// With `a` fixed in a loop its half of the work is hoisted, and the values over `b` are those of
/// SplitMix64 started at a mixed `a`.
#[inline]
pub fn mix64(a: u64, b: u64) -> u64 {
    let start = finalize(a.wrapping_add(PHILOX_WEYL));
    finalize(start.wrapping_add(b.wrapping_add(1).wrapping_mul(PHILOX_WEYL)))
}

/// A 128-bit name of a random stream; children of different names or indices are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    high: u64,
    low: u64,
}

impl Key {
    /// The root key of a seed.
    pub fn new(seed: u64) -> Self {
        let [high, low] = philox([seed, 0], SEED_TWEAK);
        Self { high, low }
    }

    /// The child with this name (a blake3 keyed hash of the name; some 100 ns).
    pub fn child(&self, name: &str) -> Self {
        let mut secret = [0u8; 32];
        secret[..8].copy_from_slice(&self.high.to_le_bytes());
        secret[8..16].copy_from_slice(&self.low.to_le_bytes());
        let digest = blake3::keyed_hash(&secret, name.as_bytes());
        let bytes = digest.as_bytes();
        let word = |at: usize| {
            let mut word = [0u8; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        Self {
            high: word(0),
            low: word(8),
        }
    }

    /// The child with this index (one Philox block; some nanoseconds).
    #[inline]
    pub fn at(&self, index: u64) -> Self {
        let [high, low] = philox([index, self.low], self.high ^ INDEX_TWEAK);
        Self { high, low }
    }

    /// The numbers of this key, from the first one.
    #[inline]
    pub fn stream(&self) -> Stream {
        Stream {
            key: *self,
            block: 0,
            spare: None,
        }
    }

    /// The key folded to one word, for interfaces that take a `u64` key (dropout).
    #[inline]
    pub fn word(&self) -> u64 {
        mix64(self.high, self.low)
    }
}

/// The numbers of one [`Key`], in order.
#[derive(Clone, Debug)]
pub struct Stream {
    key: Key,
    block: u64,
    spare: Option<u64>,
}

impl Stream {
    /// The next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        if let Some(word) = self.spare.take() {
            return word;
        }
        let [first, second] = philox([self.block, self.key.low], self.key.high);
        self.block = self.block.wrapping_add(1);
        self.spare = Some(second);
        first
    }

    /// The high half of the next 64 bits.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// Uniform in [0, 1), 24 bits.
    #[inline]
    pub fn f32(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    /// Uniform in [0, 1), 53 bits.
    #[inline]
    pub fn f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `0..n` without bias (Lemire, 2019); 0 when `n` is 0.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        let mut product = u128::from(self.next_u64()) * u128::from(n);
        if (product as u64) < n {
            let threshold = n.wrapping_neg() % n;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(n);
            }
        }
        (product >> 64) as u64
    }

    /// Uniform in `lo..hi` (integers, or reals in [lo, hi)); `lo` when the range is empty.
    #[inline]
    pub fn range<T: Uniform>(&mut self, lo: T, hi: T) -> T {
        T::draw(self, lo, hi)
    }

    /// True with probability `p`; `p` at or below 0 is never, at or above 1 always.
    #[inline]
    pub fn bool(&mut self, p: f64) -> bool {
        self.f64() < p
    }

    /// Standard normal (Box and Muller); two words a draw.
    pub fn normal(&mut self) -> f64 {
        // 1 - u lies in (0, 1], so that the logarithm is finite.
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.f64()));
        radius * libm::cos(TAU * self.f64())
    }

    /// One element, uniformly.
    ///
    /// # Panics
    /// When `items` is empty.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        assert!(!items.is_empty(), "Stream::choose needs at least one item");
        &items[self.below(items.len() as u64) as usize]
    }

    /// Puts the elements in a uniformly drawn order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }

    /// Poisson with mean `lambda`; 0 when `lambda` is not positive.
    ///
    /// Exact up to a mean of 1,000 (products of uniforms, in steps of at most 16 because a Poisson is
    /// the sum of Poissons of its parts), a rounded normal beyond.
    pub fn poisson(&mut self, lambda: f64) -> u64 {
        if lambda.is_nan() || lambda <= 0.0 {
            return 0;
        }
        if lambda > 1000.0 {
            return (lambda + libm::sqrt(lambda) * self.normal() + 0.5).max(0.0) as u64;
        }
        let mut count = 0;
        let mut rest = lambda;
        while rest > 0.0 {
            let part = rest.min(16.0);
            rest -= part;
            let limit = libm::exp(-part);
            let mut product = self.f64();
            while product > limit {
                count += 1;
                product *= self.f64();
            }
        }
        count
    }
}

/// Numbers that [`Stream::range`] can draw.
pub trait Uniform: Copy {
    /// Uniform in `lo..hi`; `lo` when the range is empty.
    fn draw(stream: &mut Stream, lo: Self, hi: Self) -> Self;
}

macro_rules! uniform_integers {
    ($($kind:ty),*) => {$(
        impl Uniform for $kind {
            #[inline]
            fn draw(stream: &mut Stream, lo: Self, hi: Self) -> Self {
                if lo >= hi {
                    return lo;
                }
                // The width of any range fits u64 in two's complement, also for signed kinds.
                let width = (hi as u64).wrapping_sub(lo as u64);
                lo.wrapping_add(stream.below(width) as $kind)
            }
        }
    )*};
}
uniform_integers!(u64, u32, usize, i64, i32);

impl Uniform for f64 {
    #[inline]
    fn draw(stream: &mut Stream, lo: Self, hi: Self) -> Self {
        lo + (hi - lo).max(0.0) * stream.f64()
    }
}

impl Uniform for f32 {
    #[inline]
    fn draw(stream: &mut Stream, lo: Self, hi: Self) -> Self {
        lo + (hi - lo).max(0.0) * stream.f32()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_vectors() {
        // Random123, kat_vectors, philox2x64 with 10 rounds.
        assert_eq!(
            philox([0, 0], 0),
            [0xca00_a045_9843_d731, 0x66c2_4222_c9a8_45b5]
        );
        assert_eq!(
            philox([u64::MAX, u64::MAX], u64::MAX),
            [0x65b0_21d6_0cd8_310f, 0x4d02_f322_2f86_df20]
        );
        assert_eq!(
            philox(
                [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344],
                0xa409_3822_299f_31d0
            ),
            [0x0a5e_742c_2997_341c, 0xb0f8_83d3_8000_de5d]
        );
    }

    #[test]
    fn moments_are_those_of_the_laws() {
        let mut stream = Key::new(1).child("moments").stream();
        let n = 200_000;
        let mean = |draw: &mut dyn FnMut() -> f64| {
            let (mut sum, mut square) = (0.0, 0.0);
            for _ in 0..n {
                let value = draw();
                sum += value;
                square += value * value;
            }
            let mean = sum / f64::from(n);
            (mean, square / f64::from(n) - mean * mean)
        };
        let (m, v) = mean(&mut || stream.f64());
        assert!(
            (m - 0.5).abs() < 0.005 && (v - 1.0 / 12.0).abs() < 0.002,
            "uniform: {m} {v}"
        );
        let (m, v) = mean(&mut || stream.normal());
        assert!(m.abs() < 0.01 && (v - 1.0).abs() < 0.02, "normal: {m} {v}");
        for lambda in [0.5, 3.0, 40.0] {
            let (m, v) = mean(&mut || stream.poisson(lambda) as f64);
            let room = 0.02 * lambda.max(1.0);
            assert!(
                (m - lambda).abs() < room && (v - lambda).abs() < 2.0 * room,
                "poisson {lambda}: {m} {v}"
            );
        }
        let (m, v) = mean(&mut || stream.poisson(5000.0) as f64);
        assert!(
            (m - 5000.0).abs() < 2.0 && (v / 5000.0 - 1.0).abs() < 0.03,
            "poisson 5000: {m} {v}"
        );
    }

    #[test]
    fn below_is_uniform_and_inside() {
        let mut stream = Key::new(2).stream();
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[stream.below(7) as usize] += 1;
        }
        assert!(
            counts.iter().all(|&count| (9_500..10_500).contains(&count)),
            "{counts:?}"
        );
        assert_eq!(stream.below(0), 0);
        assert_eq!(stream.below(1), 0);
        // A bound that is not a power of two near the top of the range: rejection must work.
        assert!((0..100).all(|_| stream.below(u64::MAX - 1) < u64::MAX - 1));
    }

    #[test]
    fn ranges_stay_inside_for_every_kind() {
        let mut stream = Key::new(3).stream();
        for _ in 0..2_000 {
            assert!((-5..7).contains(&stream.range(-5i32, 7)));
            assert!((i64::MIN..i64::MAX).contains(&stream.range(i64::MIN, i64::MAX)));
            assert!((3..4).contains(&stream.range(3usize, 4)));
            assert!((-1.5..2.5).contains(&stream.range(-1.5f64, 2.5)));
            let real = stream.f32();
            assert!((0.0..1.0).contains(&real));
        }
        assert_eq!(stream.range(9u32, 9), 9);
        assert_eq!(stream.range(9u32, 2), 9);
        assert!(!(0..100).any(|_| stream.bool(0.0)));
        assert!((0..100).all(|_| stream.bool(1.0)));
        assert_eq!(stream.poisson(f64::NAN), 0);
        assert_eq!(stream.poisson(-1.0), 0);
    }

    #[test]
    fn streams_of_different_places_differ_and_of_the_same_place_agree() {
        let key = Key::new(5);
        let first = |key: Key| key.stream().next_u64();
        assert_eq!(
            first(key.child("a").at(3)),
            first(Key::new(5).child("a").at(3))
        );
        let mut seen: Vec<u64> = (0..1000).map(|index| first(key.at(index))).collect();
        seen.extend((0..1000).map(|index| first(key.child(&format!("{index}")))));
        seen.extend((0..1000).map(|seed| first(Key::new(seed + 100))));
        let mut stream = key.stream();
        seen.extend((0..1000).map(|_| stream.next_u64()));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 4000);
    }

    #[test]
    fn mix64_flips_half_of_the_bits() {
        for bit in 0..64 {
            let mut flipped = 0;
            for word in 0..256u64 {
                flipped += (mix64(7, word) ^ mix64(7, word ^ (1 << bit))).count_ones();
                flipped += (mix64(word, 7) ^ mix64(word ^ (1 << bit), 7)).count_ones();
            }
            let mean = f64::from(flipped) / 512.0;
            assert!((30.0..34.0).contains(&mean), "bit {bit}: {mean}");
        }
    }

    #[test]
    fn shuffle_reaches_every_order_evenly() {
        let mut stream = Key::new(9).stream();
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..24_000 {
            let mut items = [0, 1, 2, 3];
            stream.shuffle(&mut items);
            *counts.entry(items).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        assert!(counts.values().all(|&count| (850..1150).contains(&count)));
    }

    #[test]
    fn the_bytes_stay_the_same_for_ever() {
        // Runs, data sets and checkpoints depend on these values: never change them.
        let key = Key::new(42).child("wiki").at(7);
        let mut stream = key.stream();
        assert_eq!(stream.next_u64(), 0xdbd8_ecf9_1474_1ef0);
        assert_eq!(stream.next_u64(), 0x3bca_050b_3487_946a);
        assert_eq!(stream.next_u32(), 0x5c35_888f);
        assert_eq!(key.word(), 0xd5ee_49a1_30cc_5d9d);
        assert_eq!(mix64(1, 2), 0x0b95_f66d_327e_8d78);
        assert_eq!(stream.f32(), 0.1580087);
        assert_eq!(stream.f64(), 0.001978026508365094);
        assert_eq!(stream.below(1000), 366);
        assert_eq!(stream.range(-50, 50), 36);
        assert_eq!(stream.normal().to_bits(), 13_827_201_430_636_055_106);
        assert_eq!(stream.poisson(3.0), 2);
        let mut order = [0, 1, 2, 3, 4, 5, 6, 7];
        stream.shuffle(&mut order);
        assert_eq!(order, [2, 1, 7, 0, 5, 3, 6, 4]);
    }
}

//! Perceptual hashes: of the lowest frequencies (pHash) and of the gradients (dHash).

use std::f64::consts::PI;
use std::sync::OnceLock;

use m6_image::Rgb8;
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::scale::{Gray, scale};

/// The side of the square the frequencies are taken of.
const SIDE: usize = 32;
/// Frequencies 0..=10 a direction hold the 64 lowest ones in zigzag order.
const N_WAVES: usize = 11;
const N_BITS: usize = 64;

/// Two hashes of one picture.
///
/// A picture of one colour has neither frequencies nor gradients, so that all such pictures look alike: drop them first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Fingerprint {
    /// Bit i: the i-th lowest frequency (zigzag order, without the mean) is above the median of the 64.
    pub phash: u64,
    /// Bit 8y + x of an 8x8 grid: brighter than its left neighbour.
    pub dhash: u64,
}

impl Fingerprint {
    /// The hashes of a picture; a copy of some 256 pixels is as good as the whole one, and faster.
    ///
    /// # Errors
    /// [`Refusal::Prepare`] when the picture cannot be scaled.
    pub fn of(picture: &Rgb8) -> Result<Self, Refusal> {
        let square = Gray::of(&scale(picture, None, SIDE, SIDE)?);
        let grid = Gray::of(&scale(picture, None, 9, 8)?);
        Ok(Self {
            phash: phash(&square),
            dhash: dhash(&grid),
        })
    }
}

/// In how many of 64 bits two hashes differ.
pub fn distance(a: u64, b: u64) -> u32 {
    (a ^ b).count_ones()
}

/// `cosines()[k][x]` = cos(pi * k * (2x + 1) / 64); `libm`, so that every machine gets the same hash.
fn cosines() -> &'static [[f64; SIDE]; N_WAVES] {
    static TABLE: OnceLock<[[f64; SIDE]; N_WAVES]> = OnceLock::new();
    TABLE.get_or_init(|| {
        std::array::from_fn(|k| {
            std::array::from_fn(|x| libm::cos(PI * (k * (2 * x + 1)) as f64 / (2 * SIDE) as f64))
        })
    })
}

/// The 64 lowest frequencies of a square without the mean, in zigzag order.
fn low_waves(square: &Gray) -> [f64; N_BITS] {
    let table = cosines();
    let mut rows = [[0.0; N_WAVES]; SIDE];
    for (row, pixels) in rows.iter_mut().zip(square.data.chunks_exact(SIDE)) {
        for (wave, cosine) in row.iter_mut().zip(table) {
            *wave = pixels
                .iter()
                .zip(cosine)
                .map(|(&value, c)| f64::from(value) * c)
                .sum();
        }
    }
    let mut waves = [0.0; N_BITS];
    let zigzag = (1..N_WAVES).flat_map(|sum| (0..=sum).map(move |v| (sum - v, v)));
    for (wave, (u, v)) in waves.iter_mut().zip(zigzag) {
        *wave = rows.iter().zip(&table[v]).map(|(row, c)| row[u] * c).sum();
    }
    waves
}

fn phash(square: &Gray) -> u64 {
    let waves = low_waves(square);
    let mut sorted = waves;
    sorted.sort_by(f64::total_cmp);
    let median = (sorted[N_BITS / 2 - 1] + sorted[N_BITS / 2]) / 2.0;
    bits(waves.iter().map(|&wave| wave > median))
}

fn dhash(grid: &Gray) -> u64 {
    let rises = grid
        .data
        .chunks_exact(9)
        .flat_map(|row| row.windows(2).map(|pair| pair[1] > pair[0]));
    bits(rises)
}

fn bits(values: impl Iterator<Item = bool>) -> u64 {
    values
        .take(N_BITS)
        .enumerate()
        .fold(0, |word, (at, bit)| word | u64::from(bit) << at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, color: impl Fn(f64, f64) -> [u8; 3]) -> Rgb8 {
        let mut data = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let at = |i: usize, n: usize| (i as f64 + 0.5) / n as f64;
                data.extend(color(at(x, width), at(y, height)));
            }
        }
        Rgb8::from_hwc(width, height, data).unwrap()
    }

    fn scene(shift: f64) -> impl Fn(f64, f64) -> [u8; 3] {
        move |x, y| {
            let wave = |f: f64, g: f64| (127.0 + 120.0 * libm::sin(f * x + g * y + shift)) as u8;
            [wave(9.0, 2.0), wave(3.0, 11.0), wave(5.0, -7.0)]
        }
    }

    #[test]
    fn hashes_stay_when_the_size_and_the_brightness_change() {
        let base = Fingerprint::of(&picture(200, 150, scene(0.0))).unwrap();
        let check = |other: &Rgb8, near: bool| {
            let other = Fingerprint::of(other).unwrap();
            let [p, d] = [
                distance(base.phash, other.phash),
                distance(base.dhash, other.dhash),
            ];
            assert_eq!(p <= 6 && d <= 8, near, "{p} and {d} bits");
        };
        check(&picture(400, 300, scene(0.0)), true);
        check(&picture(90, 70, scene(0.0)), true);
        let darker = |x: f64, y: f64| scene(0.0)(x, y).map(|value| value / 2 + 20);
        check(&picture(200, 150, darker), true);
        check(&picture(200, 150, scene(1.6)), false);
        check(&picture(200, 150, |x, y| scene(0.0)(1.0 - x, y)), false);
    }

    #[test]
    fn half_of_the_bits_of_a_phash_are_set() {
        for shift in 0..20 {
            let hash = Fingerprint::of(&picture(64, 48, scene(f64::from(shift)))).unwrap();
            assert_eq!(hash.phash.count_ones(), 32, "shift {shift}");
        }
    }

    #[test]
    fn gradients_are_read_from_left_to_right() {
        let rising = picture(90, 80, |x, _| [(200.0 * x) as u8; 3]);
        assert_eq!(Fingerprint::of(&rising).unwrap().dhash, u64::MAX);
        let falling = picture(90, 80, |x, _| [(200.0 - 200.0 * x) as u8; 3]);
        assert_eq!(Fingerprint::of(&falling).unwrap().dhash, 0);
        let flat = Fingerprint::of(&Rgb8::filled(50, 50, [9; 3])).unwrap();
        assert_eq!(flat.dhash, 0);
    }

    #[test]
    fn a_single_wave_is_found_in_its_place() {
        let square = |f: &dyn Fn(usize, usize) -> f64| Gray {
            width: SIDE,
            height: SIDE,
            data: (0..SIDE * SIDE)
                .map(|at| (128.0 + 100.0 * f(at % SIDE, at / SIDE)) as u8)
                .collect(),
        };
        // Zigzag: (1,0) (0,1) (2,0) (1,1) (0,2) ...
        for (place, u, v) in [(0, 1, 0), (1, 0, 1), (3, 1, 1), (4, 0, 2)] {
            let waves = low_waves(&square(&|x, y| cosines()[u][x] * cosines()[v][y]));
            let largest = (0..N_BITS).max_by(|&a, &b| waves[a].abs().total_cmp(&waves[b].abs()));
            assert_eq!(largest, Some(place));
        }
    }

    #[test]
    fn distances_count_bits() {
        let check = |a, b, expected| assert_eq!(distance(a, b), expected);
        check(0, 0, 0);
        check(0, u64::MAX, 64);
        check(0b1011, 0b0001, 2);
    }
}

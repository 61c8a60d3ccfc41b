//! Numbers in 8 bits: the dynamic maps of Dettmers and others (2021, "8-bit Optimizers via Block-wise Quantization", section 1.3), a
//! sign, an exponent of varying length and a fraction, scaled by the largest magnitude of each block.

use crate::real::Real;
use std::sync::LazyLock;

/// Elements that share a scale: 256 as in bitsandbytes; the paper has 2,048. [`crate::glue::CHUNK`] is a multiple.
pub const BLOCK: usize = 256;

/// Decades of the map, from 1 down to 1e-7.
const N_DECADES: i32 = 7;
/// Numbers that 8 bits tell apart.
const N_CODES: usize = 256;

/// What the 256 codes stand for, ascending, as shares of the largest magnitude of a block.
pub struct Map {
    values: [f32; N_CODES],
    /// A share above the first `c` of these has code `c`; the last is out of reach.
    bounds: [f32; N_CODES],
}

static SIGNED: LazyLock<Map> = LazyLock::new(|| {
    let values = dynamic(true);
    let bounds = midpoints(&values);
    Map { values, bounds }
});

static UNSIGNED: LazyLock<Map> = LazyLock::new(|| {
    let values = dynamic(false);
    let mut bounds = midpoints(&values);
    // Ours: what is above 0 never becomes 0, since a first moment that is left would then be divided by eps alone.
    bounds[0] = 0.0;
    Map { values, bounds }
});

/// The map as bitsandbytes' `create_dynamic_map` makes it: every decade is cut evenly, twice as often as the decade below it, and each
/// piece stands for its middle; 0 and 1 are added.
fn dynamic(signed: bool) -> [f32; N_CODES] {
    let mut values = vec![0.0, 1.0];
    for decade in 0..N_DECADES {
        let n = 1 << (decade + i32::from(!signed));
        let top = 10_f64.powi(decade + 1 - N_DECADES);
        for i in 0..n {
            let middle = 0.1 + 0.9 * (f64::from(i) + 0.5) / f64::from(n);
            values.push(top * middle);
            if signed {
                values.push(-top * middle);
            }
        }
    }
    values.sort_by(f64::total_cmp);
    let mut map = [0.0; N_CODES];
    for (to, from) in map.iter_mut().zip(values) {
        *to = from as f32;
    }
    map
}

fn midpoints(values: &[f32; N_CODES]) -> [f32; N_CODES] {
    let next = |i: usize| values.get(i + 1).unwrap_or(&f32::INFINITY);
    std::array::from_fn(|i| (values[i] + next(i)) / 2.0)
}

/// Largest magnitude; in lanes, so that the loop vectorises.
#[inline(always)]
fn largest<T: Real>(numbers: &[T]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let (chunks, rest) = numbers.as_chunks::<16>();
    for chunk in chunks.iter().map(<[T; 16]>::as_slice).chain([rest]) {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            let x = x.single().abs();
            *lane = if x > *lane { x } else { *lane };
        }
    }
    lanes.into_iter().fold(0.0, f32::max)
}

impl Map {
    /// From -1 (its nearest is -0.993) to 1, for first moments.
    pub fn signed() -> &'static Self {
        &SIGNED
    }

    /// From 0 to 1 in twice as fine steps, for second moments.
    pub fn unsigned() -> &'static Self {
        &UNSIGNED
    }

    /// The shares, by code.
    pub fn values(&self) -> &[f32; N_CODES] {
        &self.values
    }

    /// The code nearest to a share: bisection without branches, which numbers of optimizers would mislead.
    #[inline(always)]
    fn code(&self, share: f32) -> u8 {
        let mut code = 0;
        for half in [128, 64, 32, 16, 8, 4, 2, 1] {
            code += half * usize::from(self.bounds[(code + half - 1) & 0xff] < share);
        }
        code as u8
    }

    /// The numbers of one block.
    #[inline(always)]
    pub fn decode<T: Real>(&self, codes: &[u8], scale: f32, to: &mut [T]) {
        for (to, &code) in to.iter_mut().zip(codes) {
            *to = T::number(f64::from(self.values[usize::from(code)] * scale));
        }
    }

    /// Writes the codes of one block and returns its scale.
    #[inline(always)]
    pub fn encode<T: Real>(&self, numbers: &[T], codes: &mut [u8]) -> f32 {
        let scale = largest(numbers);
        // A block of zeros keeps the code of 0.
        let divisor = if scale > 0.0 { scale } else { 1.0 };
        for (code, number) in codes.iter_mut().zip(numbers) {
            *code = self.code(number.single() / divisor);
        }
        scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn maps_are_symmetric_or_positive_and_hold_zero_and_one() {
        for (map, least) in [(Map::signed(), -0.992_968_75), (Map::unsigned(), 0.0)] {
            let values = map.values();
            assert!(values.windows(2).all(|pair| pair[0] < pair[1]));
            assert_eq!((values[0], values[255]), (least, 1.0));
            assert!(values.contains(&0.0));
        }
        // Every code but those of 0 and 1 has its opposite.
        let signed = Map::signed().values();
        assert!((0..127).all(|i| signed[i] == -signed[254 - i]));
    }

    #[test]
    fn what_a_code_stands_for_has_that_code() {
        for map in [Map::signed(), Map::unsigned()] {
            for (code, &share) in map.values().iter().enumerate() {
                assert_eq!(usize::from(map.code(share)), code);
            }
        }
        assert_eq!(Map::unsigned().code(1e-30), 1);
        assert_eq!(Map::unsigned().code(0.0), 0);
        assert_eq!(
            Map::signed().values()[usize::from(Map::signed().code(1e-9))],
            0.0
        );
    }

    /// Largest error as a share of the block's largest magnitude: half of the widest step.
    const BOUNDS: [(bool, f32); 2] = [(true, 0.007_04), (false, 0.003_52)];

    proptest! {
        #[test]
        fn errors_are_at_most_half_a_step(
            numbers in prop::collection::vec(-1.0_f32..1.0, 1..=BLOCK),
            exponents in prop::collection::vec(-30_i32..10, BLOCK),
        ) {
            for (signed, bound) in BOUNDS {
                let map = if signed { Map::signed() } else { Map::unsigned() };
                let numbers: Vec<f32> = numbers
                    .iter()
                    .zip(&exponents)
                    .map(|(x, &e)| x * 2_f32.powi(e))
                    .map(|x| if signed { x } else { x.abs() })
                    .collect();
                let (mut codes, mut back) = (vec![0; numbers.len()], vec![0.0_f32; numbers.len()]);
                let scale = map.encode(&numbers, &mut codes);
                map.decode(&codes, scale, &mut back);
                for (&x, &y) in numbers.iter().zip(&back) {
                    prop_assert!((x - y).abs() <= bound * scale, "{x} {y} of {scale}");
                    // Fractions shrink with the exponent, down to two steps in the last decade but one.
                    let share = x.abs() / scale;
                    prop_assert!(share < 1e-6 || (x - y).abs() <= 0.75 * x.abs(), "{x} {y}");
                    prop_assert!(share < 0.1 || (x - y).abs() <= 0.071 * x.abs(), "{x} {y}");
                    prop_assert!(signed || (x == 0.0) == (y == 0.0), "{x} {y}");
                }
                // The largest is kept, but for a negative one, whose code stands for 0.993.
                let (again, n) = (&mut vec![0; codes.len()], back.len());
                let largest = map.encode(&back[..n], again);
                prop_assert!(largest <= scale && largest >= 0.992 * scale);
            }
        }
    }
}

//! The AVX-512 tile of [`super::blocked`]: 14 x 32 elements of the result in registers.
//!
//! Twenty-eight of the thirty-two vector registers hold the tile, two a row of the right operand, one an element of the left one.

use super::pack::{Lines, pack};
use super::tile::Tile;
use std::arch::x86_64::*;

const MR: usize = 14;
const NV: usize = NR / 16;
const NR: usize = 32;

/// How far ahead of its turn a line is asked for, in elements.
const AHEAD: usize = 64;

/// The tile.
#[derive(Debug, Clone, Copy)]
pub struct Avx512;

impl Tile for Avx512 {
    const MR: usize = MR;
    const NR: usize = NR;
    const N_BLOCK: usize = 512;

    fn is_here() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
    }

    unsafe fn multiply(
        k: usize,
        a: *const f32,
        b: *const f32,
        c: (*mut f32, usize),
        accumulate: bool,
        scale: f32,
    ) {
        // SAFETY: as promised by the caller.
        unsafe { multiply(k, a, b, c.0, c.1, accumulate, scale) }
    }

    unsafe fn pack_left(to: *mut f32, from: Lines, n: usize, k: usize) {
        // SAFETY: as promised by the caller.
        unsafe { turn_or_pack::<MR>(to, from, n, k) }
    }

    unsafe fn pack_right(to: *mut f32, from: Lines, n: usize, k: usize) {
        // SAFETY: as promised by the caller.
        unsafe { turn_or_pack::<NR>(to, from, n, k) }
    }
}

/// # Safety
/// As [`Tile::multiply`].
#[target_feature(enable = "avx512f")]
unsafe fn multiply(
    k: usize,
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    c_stride: usize,
    accumulate: bool,
    scale: f32,
) {
    let mut sums = [[_mm512_setzero_ps(); NV]; MR];
    let (mut a, mut b) = (a, b);
    // SAFETY: all addresses are inside the operands as promised; prefetches touch nothing.
    unsafe {
        for i in 0..MR {
            _mm_prefetch::<_MM_HINT_T0>(c.wrapping_add(i * c_stride).cast());
            _mm_prefetch::<_MM_HINT_T0>(c.wrapping_add(i * c_stride + NR - 1).cast());
        }
        // Not unrolled: with more than one step in sight the compiler loads ahead and runs out of registers.
        for _ in 0..k {
            outer_product(&mut sums, a, b);
            (a, b) = (a.add(MR), b.add(NR));
        }
        let scale = _mm512_set1_ps(scale);
        for (i, row) in sums.iter().enumerate() {
            for (j, &sum) in row.iter().enumerate() {
                let at = c.add(i * c_stride + 16 * j);
                let value = _mm512_mul_ps(sum, scale);
                let value = match accumulate {
                    true => _mm512_add_ps(value, _mm512_loadu_ps(at)),
                    false => value,
                };
                _mm512_storeu_ps(at, value);
            }
        }
    }
}

/// Adds the product of 14 elements and 32 to the sums.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn outer_product(sums: &mut [[__m512; NV]; MR], a: *const f32, b: *const f32) {
    // SAFETY: 14 and 32 elements are readable, as promised to `multiply`.
    unsafe {
        let mut row = [_mm512_setzero_ps(); NV];
        for (j, row) in row.iter_mut().enumerate() {
            *row = _mm512_load_ps(b.add(16 * j));
        }
        for (i, sums) in sums.iter_mut().enumerate() {
            let a = _mm512_set1_ps(*a.add(i));
            for (sum, &b) in sums.iter_mut().zip(&row) {
                *sum = _mm512_fmadd_ps(a, b, *sum);
            }
        }
    }
}

/// [`pack`]; lines whose elements are adjacent are read by the cache line, sixteen elements at a time: lines lie whole pages apart, where a
/// cache has no room to keep them for a second visit.
///
/// # Safety
/// As [`pack`], and AVX-512.
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn turn_or_pack<const W: usize>(to: *mut f32, from: Lines, n: usize, k: usize) {
    let whole = if from.step == 1 { k / 16 * 16 } else { 0 };
    // SAFETY: as promised by the caller.
    unsafe {
        for p in (0..whole).step_by(16) {
            for first in (0..W).step_by(16) {
                let mut lines = [_mm512_setzero_ps(); 16];
                let here = n.saturating_sub(first).min(16);
                for (i, values) in lines.iter_mut().enumerate().take(here) {
                    let at = from.start.add((first + i) * from.line + p);
                    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD).cast());
                    *values = _mm512_loadu_ps(at);
                }
                let mask = u16::MAX >> (16 - (W - first).min(16));
                for (i, values) in transpose(lines).into_iter().enumerate() {
                    _mm512_mask_storeu_ps(to.add((p + i) * W + first), mask, values);
                }
            }
        }
        if whole < k {
            let rest = Lines {
                start: from.start.wrapping_add(whole * from.step),
                ..from
            };
            pack::<W>(to.add(whole * W), rest, n, k - whole);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(r: [__m512; 16]) -> [__m512; 16] {
    // Four elements of four lines in each quarter: element 4 l + j of lines 4 q.. in quarter l of fours[q][j].
    let four = |q: usize| {
        let low = |i: usize| _mm512_unpacklo_ps(r[4 * q + i], r[4 * q + i + 1]);
        let high = |i: usize| _mm512_unpackhi_ps(r[4 * q + i], r[4 * q + i + 1]);
        [
            _mm512_shuffle_ps::<0x44>(low(0), low(2)),
            _mm512_shuffle_ps::<0xEE>(low(0), low(2)),
            _mm512_shuffle_ps::<0x44>(high(0), high(2)),
            _mm512_shuffle_ps::<0xEE>(high(0), high(2)),
        ]
    };
    let fours = [four(0), four(1), four(2), four(3)];
    let mut turned = r;
    for j in 0..4 {
        let even = |q: usize| _mm512_shuffle_f32x4::<0x88>(fours[q][j], fours[q + 1][j]);
        let odd = |q: usize| _mm512_shuffle_f32x4::<0xDD>(fours[q][j], fours[q + 1][j]);
        turned[j] = _mm512_shuffle_f32x4::<0x88>(even(0), even(2));
        turned[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd(0), odd(2));
        turned[8 + j] = _mm512_shuffle_f32x4::<0xDD>(even(0), even(2));
        turned[12 + j] = _mm512_shuffle_f32x4::<0xDD>(odd(0), odd(2));
    }
    turned
}

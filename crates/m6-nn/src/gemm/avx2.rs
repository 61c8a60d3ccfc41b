//! The AVX2 tile of [`super::blocked`]: 6 x 16 elements of the result in registers.
//!
//! Twelve of the sixteen vector registers hold the tile, two a row of the right operand, one an element of the left one: two fused
//! multiply-adds a cycle against three loads, which is what the cores of the last ten years can feed.

use super::pack::{Lines, pack};
use super::tile::Tile;
use std::arch::x86_64::*;

const MR: usize = 6;
const NR: usize = 16;

/// How far ahead of its use the left operand is asked for, in elements.
const AHEAD: usize = 64;

/// The tile.
#[derive(Debug, Clone, Copy)]
pub struct Avx2;

impl Tile for Avx2 {
    const MR: usize = MR;
    const NR: usize = NR;
    const N_BLOCK: usize = 128;

    fn is_here() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
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
        unsafe { pack::<MR>(to, from, n, k) }
    }

    unsafe fn pack_right(to: *mut f32, from: Lines, n: usize, k: usize) {
        // SAFETY: as promised by the caller.
        unsafe { pack::<NR>(to, from, n, k) }
    }
}

/// # Safety
/// As [`Tile::multiply`].
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply(
    k: usize,
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    c_stride: usize,
    accumulate: bool,
    scale: f32,
) {
    let mut sums = [[_mm256_setzero_ps(); 2]; MR];
    let (mut a, mut b) = (a, b);
    // SAFETY: all addresses are inside the operands as promised; prefetches touch nothing.
    unsafe {
        for i in 0..MR {
            _mm_prefetch::<_MM_HINT_T0>(c.add(i * c_stride).cast());
            _mm_prefetch::<_MM_HINT_T0>(c.add(i * c_stride + NR - 1).cast());
        }
        for _ in 0..k / 4 {
            _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(AHEAD).cast());
            _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(AHEAD + 16).cast());
            for p in 0..4 {
                outer_product(&mut sums, a.add(p * MR), b.add(p * NR));
            }
            (a, b) = (a.add(4 * MR), b.add(4 * NR));
        }
        for _ in 0..k % 4 {
            outer_product(&mut sums, a, b);
            (a, b) = (a.add(MR), b.add(NR));
        }
        let scale = _mm256_set1_ps(scale);
        for (i, row) in sums.iter().enumerate() {
            for (j, &sum) in row.iter().enumerate() {
                let at = c.add(i * c_stride + 8 * j);
                let value = _mm256_mul_ps(sum, scale);
                let value = match accumulate {
                    true => _mm256_add_ps(value, _mm256_loadu_ps(at)),
                    false => value,
                };
                _mm256_storeu_ps(at, value);
            }
        }
    }
}

/// Adds the product of 6 elements and 16 to the sums.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn outer_product(sums: &mut [[__m256; 2]; MR], a: *const f32, b: *const f32) {
    // SAFETY: 6 and 16 elements are readable, as promised to `multiply`.
    unsafe {
        let (b0, b1) = (_mm256_load_ps(b), _mm256_load_ps(b.add(8)));
        for (i, sums) in sums.iter_mut().enumerate() {
            let a = _mm256_broadcast_ss(&*a.add(i));
            sums[0] = _mm256_fmadd_ps(a, b0, sums[0]);
            sums[1] = _mm256_fmadd_ps(a, b1, sums[1]);
        }
    }
}

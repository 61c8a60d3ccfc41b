//! The AVX2 inner loops of [`super::blocked`]: a 6 x 16 tile of the result in registers, and the copies that put operands in its order.
//!
//! Twelve of the sixteen vector registers hold the tile, two a row of the right operand, one an element of the left one: two fused
//! multiply-adds a cycle against three loads, which is what the cores of the last ten years can feed.

use std::arch::x86_64::*;

/// Rows of a tile.
pub const MR: usize = 6;
/// Columns of a tile: two vectors.
pub const NR: usize = 16;

/// How far ahead of its use the left operand is asked for, in elements.
const AHEAD: usize = 64;

/// True where the instructions exist and the `gemm` crate has no wider ones.
pub fn is_best() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && !is_x86_feature_detected!("avx512f")
}

/// `c = scale * a b`, or `c += scale * a b` with `accumulate`: `a` is `[k, 6]`, `b` is `[k, 16]`, `c` has 6 rows of 16, `c_stride` apart.
///
/// # Safety
/// AVX2 and FMA; `a` and `b` readable for these sizes, `b` on a multiple of 32 bytes, `c` writable.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn tile(
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
    // SAFETY: 6 and 16 elements are readable, as promised to `tile`.
    unsafe {
        let (b0, b1) = (_mm256_load_ps(b), _mm256_load_ps(b.add(8)));
        for (i, sums) in sums.iter_mut().enumerate() {
            let a = _mm256_broadcast_ss(&*a.add(i));
            sums[0] = _mm256_fmadd_ps(a, b0, sums[0]);
            sums[1] = _mm256_fmadd_ps(a, b1, sums[1]);
        }
    }
}

/// Where the lines of an operand are: element `p` of line `i` is at `start[i * line + p * step]`. A line is a row of the left operand
/// or a column of the right one.
#[derive(Clone, Copy)]
pub struct Lines {
    /// The first element.
    pub start: *const f32,
    /// From a line to the next.
    pub line: usize,
    /// From an element to the next.
    pub step: usize,
}

/// Copies `n` (at most `W`) lines of `k` elements to `to [k, W]`, with zeros for missing lines.
///
/// # Safety
/// AVX2; the elements are readable, `to` is writable and on a multiple of 32 bytes if `W` is 16.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn pack<const W: usize>(to: *mut f32, from: Lines, n: usize, k: usize) {
    let Lines { start, line, step } = from;
    // SAFETY: all addresses are inside the two operands as promised.
    unsafe {
        if n == W && line == 1 {
            for p in 0..k {
                copy_across::<W>(to.add(p * W), start.add(p * step));
            }
            return;
        }
        let mut done = 0;
        if n == W && step == 1 {
            while done + 8 <= k {
                turn::<W>(to.add(done * W), start.add(done), line);
                done += 8;
            }
        }
        for p in done..k {
            for i in 0..W {
                *to.add(p * W + i) = match i < n {
                    true => *start.add(i * line + p * step),
                    false => 0.0,
                };
            }
        }
    }
}

/// `W` adjacent elements.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn copy_across<const W: usize>(to: *mut f32, from: *const f32) {
    // SAFETY: W elements on both sides, as promised to `pack`.
    unsafe {
        if W == NR {
            _mm256_store_ps(to, _mm256_loadu_ps(from));
            _mm256_store_ps(to.add(8), _mm256_loadu_ps(from.add(8)));
        } else {
            std::ptr::copy_nonoverlapping(from, to, W);
        }
    }
}

/// Eight elements of each of `W` lines to `[8, W]`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn turn<const W: usize>(to: *mut f32, from: *const f32, line: usize) {
    // SAFETY: eight elements of W lines on both sides, as promised to `pack`.
    unsafe {
        for first in (0..W).step_by(8) {
            let n = (W - first).min(8);
            let mut lines = [_mm256_setzero_ps(); 8];
            for (i, values) in lines.iter_mut().enumerate().take(n) {
                *values = _mm256_loadu_ps(from.add((first + i) * line));
            }
            for (p, values) in transpose(lines).into_iter().enumerate() {
                let to = to.add(p * W + first);
                if n == 8 {
                    _mm256_storeu_ps(to, values);
                } else {
                    _mm_storeu_ps(to, _mm256_castps256_ps128(values));
                    let rest = _mm_castps_si128(_mm256_extractf128_ps::<1>(values));
                    _mm_storel_epi64(to.add(4).cast(), rest);
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn transpose(r: [__m256; 8]) -> [__m256; 8] {
    let pair = |i: usize| {
        (
            _mm256_unpacklo_ps(r[i], r[i + 1]),
            _mm256_unpackhi_ps(r[i], r[i + 1]),
        )
    };
    let quad = |i: usize| {
        let ((a, b), (c, d)) = (pair(i), pair(i + 2));
        [
            _mm256_shuffle_ps::<0x44>(a, c),
            _mm256_shuffle_ps::<0xEE>(a, c),
            _mm256_shuffle_ps::<0x44>(b, d),
            _mm256_shuffle_ps::<0xEE>(b, d),
        ]
    };
    let (low, high) = (quad(0), quad(4));
    std::array::from_fn(|i| match i < 4 {
        true => _mm256_permute2f128_ps::<0x20>(low[i], high[i]),
        false => _mm256_permute2f128_ps::<0x31>(low[i - 4], high[i - 4]),
    })
}

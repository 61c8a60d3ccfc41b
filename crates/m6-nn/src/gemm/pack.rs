//! The copies that put operands of [`super::blocked`] into the order of its tiles, with AVX2 whatever the tile.

use std::arch::x86_64::*;

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
/// AVX2 and FMA; the elements are readable, `to` is writable.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn pack<const W: usize>(to: *mut f32, from: Lines, n: usize, k: usize) {
    let Lines { start, line, step } = from;
    // SAFETY: all addresses are inside the two operands as promised.
    unsafe {
        if n == W && line == 1 {
            for p in 0..k {
                std::ptr::copy_nonoverlapping(start.add(p * step), to.add(p * W), W);
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

/// Eight elements of each of `W` lines to `[8, W]`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn turn<const W: usize>(to: *mut f32, from: *const f32, line: usize) {
    const {
        assert!(
            W.is_multiple_of(8) || W % 8 == 6,
            "the last lines of a tile are written as eight or six"
        )
    };
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
                    // Tiles have a multiple of eight lines, or six more.
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

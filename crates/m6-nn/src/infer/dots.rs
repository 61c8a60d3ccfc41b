//! Inner products whose order of summation is fixed, whoever asks for them: sixteen running sums, then halves added to halves.

use crate::real::{Real, prefetch};

/// Accumulators per inner product.
const N_LANES: usize = 16;
/// How far ahead a single row asks for weights, in elements. The hardware stops at the end of each 4 KB page; asked for in time, weights
/// come at 37 GB/s instead of 28 (two threads of the machine in docs/benchmarks.md).
const AHEAD: usize = 2048;

/// One inner product of two short vectors of one length.
#[inline(always)]
pub(super) fn inner(x: &[f32], y: &[f32]) -> f32 {
    let (x_parts, y_parts) = (x.as_chunks::<N_LANES>(), y.as_chunks::<N_LANES>());
    let mut lanes = Lanes([0.0; N_LANES]);
    for (x, y) in x_parts.0.iter().zip(y_parts.0) {
        lanes = lanes.fma(x, y);
    }
    let rest = x_parts.1.iter().zip(y_parts.1);
    rest.fold(join(&lanes.0), |sum, (&x, &y)| x.fma(y, sum))
}

/// Running sums of one inner product. A value, not a place: that is what keeps it in vector registers.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Lanes([f32; N_LANES]);

impl Lanes {
    #[inline(always)]
    fn fma(self, x: &[f32; N_LANES], w: &[f32; N_LANES]) -> Self {
        let mut sums = [0.0; N_LANES];
        for l in 0..N_LANES {
            sums[l] = x[l].fma(w[l], self.0[l]);
        }
        Self(sums)
    }
}

/// Sum of the lanes, halving: a fixed order.
#[inline(always)]
fn join(lanes: &[f32; N_LANES]) -> f32 {
    let mut lanes = *lanes;
    let mut half = N_LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// One inner product, bit for bit as [`dots`] makes it.
#[inline(never)]
pub(super) fn dot(x: &[f32], w: &[f32]) -> f32 {
    let (x_parts, w_parts) = (x.as_chunks::<N_LANES>(), w.as_chunks::<N_LANES>());
    let mut lanes = Lanes([0.0; N_LANES]);
    for (i, (x, lane)) in x_parts.0.iter().zip(w_parts.0).enumerate() {
        prefetch(w, i * N_LANES + AHEAD);
        lanes = lanes.fma(x, lane);
    }
    let rest = x_parts.1.iter().zip(w_parts.1);
    rest.fold(join(&lanes.0), |sum, (&x, &w)| x.fma(w, sum))
}

/// Rows and weight rows whose products are best made together: as many sums as the registers hold.
#[cfg(all(target_arch = "x86_64", target_feature = "avx512f"))]
pub(super) const TILE: [usize; 2] = [4, 4];
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx512f")))]
pub(super) const TILE: [usize; 2] = [2, 3];

/// [`dots`] of row `r` into the first `O` places of `out[r]`. Written here and not by the caller: handed back, they would be stored one by
/// one and loaded together, for which a processor waits.
#[inline(never)]
pub(super) fn dots_into<const R: usize, const O: usize, const P: usize, const FETCH: bool>(
    xs: [&[f32]; R],
    ws: [&[f32]; O],
    out: [&mut [f32]; R],
) {
    let totals = dots::<R, O, P, FETCH>(xs, ws);
    for (out, totals) in out.into_iter().zip(totals.chunks_exact(O)) {
        for (out, total) in out[..O].iter_mut().zip(totals) {
            *out = *total;
        }
    }
}

/// The `P = R * O` inner products of `R` rows with `O` weight rows, all of one length, row by row.
///
/// With `FETCH` the weight rows behind these are asked for, so that they are there when their turn comes.
#[inline(always)]
pub(super) fn dots<const R: usize, const O: usize, const P: usize, const FETCH: bool>(
    xs: [&[f32]; R],
    ws: [&[f32]; O],
) -> [f32; P] {
    assert_eq!(R * O, P, "P is the number of products");
    let k = xs[0].len();
    assert!(xs.iter().chain(&ws).all(|v| v.len() == k), "lengths differ");
    let mut totals = match (R, O) {
        #[cfg(all(target_arch = "x86_64", target_feature = "avx512f"))]
        (4, 4) => {
            let (xs, ws) = (
                std::array::from_fn(|r| xs[r]),
                std::array::from_fn(|c| ws[c]),
            );
            let mut totals = [0.0; P];
            totals.copy_from_slice(&sixteen::<FETCH>(xs, ws));
            totals
        }
        _ => whole_lanes::<R, O, P, FETCH>(xs, ws),
    };
    let whole = k / N_LANES * N_LANES;
    for r in 0..R {
        for c in 0..O {
            for (&x, &w) in xs[r][whole..].iter().zip(&ws[c][whole..]) {
                totals[r * O + c] = x.fma(w, totals[r * O + c]);
            }
        }
    }
    totals
}

/// [`dots`] without what is left over behind the last whole sixteen.
#[cfg(not(all(
    target_arch = "x86_64",
    target_feature = "avx2",
    target_feature = "fma",
    not(target_feature = "avx512f")
)))]
#[inline(always)]
fn whole_lanes<const R: usize, const O: usize, const P: usize, const FETCH: bool>(
    xs: [&[f32]; R],
    ws: [&[f32]; O],
) -> [f32; P] {
    let mut lanes = [Lanes([0.0; N_LANES]); P];
    let (x_parts, w_parts) = (
        xs.map(|x| x.as_chunks::<N_LANES>().0),
        ws.map(|w| w.as_chunks::<N_LANES>().0),
    );
    let n = x_parts[0].len();
    // Slices of a length known to be `n` spare the bounds checks below.
    let (x_lanes, w_lanes) = (x_parts.map(|x| &x[..n]), w_parts.map(|w| &w[..n]));
    for i in 0..n {
        if FETCH {
            ws.iter()
                .for_each(|w| prefetch(w, i * N_LANES + O * w.len()));
        }
        for r in 0..R {
            for c in 0..O {
                lanes[r * O + c] = lanes[r * O + c].fma(&x_lanes[r][i], &w_lanes[c][i]);
            }
        }
    }
    lanes.map(|lanes| join(&lanes.0))
}

/// The same in AVX2, with its order of loads: two rows and three weight rows take twelve of the sixteen registers, and five loads feed six
/// multiply-adds. Left to itself the compiler loads the weights once for each row, and adds each product's lanes up on their own.
#[cfg(all(
    target_arch = "x86_64",
    target_feature = "avx2",
    target_feature = "fma",
    not(target_feature = "avx512f")
))]
#[inline(always)]
fn whole_lanes<const R: usize, const O: usize, const P: usize, const FETCH: bool>(
    xs: [&[f32]; R],
    ws: [&[f32]; O],
) -> [f32; P] {
    use std::arch::x86_64::*;
    let mut totals = [0.0; P];
    let k = xs[0].len();
    // SAFETY: the build has AVX2 and FMA; every load is of eight elements inside the first `k / 16 * 16` of a slice of `k`, and the
    // store is of four of the `P` totals.
    unsafe {
        let mut sums = [[[_mm256_setzero_ps(); O]; R]; 2];
        for at in (0..k / N_LANES * N_LANES).step_by(N_LANES) {
            if FETCH {
                ws.iter().for_each(|w| prefetch(w, at + O * k));
            }
            for (half, sums) in sums.iter_mut().enumerate() {
                let at = at + half * 8;
                let x = xs.map(|x| _mm256_loadu_ps(x.as_ptr().add(at)));
                for c in 0..O {
                    let w = _mm256_loadu_ps(ws[c].as_ptr().add(at));
                    for r in 0..R {
                        sums[r][c] = _mm256_fmadd_ps(x[r], w, sums[r][c]);
                    }
                }
            }
        }
        // 16 lanes to 8 to 4.
        let quarter = |p: usize| {
            let sum = _mm256_add_ps(sums[0][p / O][p % O], sums[1][p / O][p % O]);
            _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1))
        };
        // 4 to 2 to 1, four products at once.
        for p in (0..P / 4 * 4).step_by(4) {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| quarter(p + i));
            let ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
            let cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
            let four = _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
            _mm_storeu_ps(totals.as_mut_ptr().add(p), four);
        }
        for (p, total) in totals.iter_mut().enumerate().skip(P / 4 * 4) {
            let q = quarter(p);
            let q = _mm_add_ps(q, _mm_movehl_ps(q, q));
            *total = _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
        }
    }
    totals
}

/// The sixteen products of four rows with four weight rows, row by row, without what is left over behind the last whole sixteen elements:
/// sixteen registers of sums, whose lanes are added up all at once.
#[cfg(all(target_arch = "x86_64", target_feature = "avx512f"))]
#[inline(always)]
fn sixteen<const FETCH: bool>(xs: [&[f32]; 4], ws: [&[f32]; 4]) -> [f32; 16] {
    use std::arch::x86_64::*;
    let k = xs[0].len();
    let mut totals = [0.0; 16];
    // SAFETY: the build has AVX-512F; every load is of sixteen elements inside the first `k / 16 * 16` of a slice of `k` (the caller has
    // compared their lengths), and the store is of all sixteen totals.
    unsafe {
        // Sums of row r and weight row c stand at 4 c + r, where halving brings them to place 4 r + c.
        let mut sums = [_mm512_setzero_ps(); 16];
        for at in (0..k / N_LANES * N_LANES).step_by(N_LANES) {
            if FETCH {
                ws.iter().for_each(|w| prefetch(w, at + 4 * k));
            }
            let x = xs.map(|x| _mm512_loadu_ps(x.as_ptr().add(at)));
            for c in 0..4 {
                let w = _mm512_loadu_ps(ws[c].as_ptr().add(at));
                for r in 0..4 {
                    sums[4 * c + r] = _mm512_fmadd_ps(x[r], w, sums[4 * c + r]);
                }
            }
        }
        // Sixteen lanes to eight, four, two, one; each step joins two registers, and each sum is that of `join`.
        let eights: [__m512; 8] = std::array::from_fn(|i| {
            let (a, b) = (sums[2 * i], sums[2 * i + 1]);
            let (low, high) = (
                _mm512_shuffle_f32x4::<0x44>(a, b),
                _mm512_shuffle_f32x4::<0xEE>(a, b),
            );
            _mm512_add_ps(low, high)
        });
        let fours: [__m512; 4] = std::array::from_fn(|i| {
            let (a, b) = (eights[2 * i], eights[2 * i + 1]);
            let (low, high) = (
                _mm512_shuffle_f32x4::<0x88>(a, b),
                _mm512_shuffle_f32x4::<0xDD>(a, b),
            );
            _mm512_add_ps(low, high)
        });
        let twos: [__m512; 2] = std::array::from_fn(|i| {
            let (a, b) = (fours[2 * i], fours[2 * i + 1]);
            _mm512_add_ps(
                _mm512_shuffle_ps::<0x44>(a, b),
                _mm512_shuffle_ps::<0xEE>(a, b),
            )
        });
        let [a, b] = twos;
        let ones = _mm512_add_ps(
            _mm512_shuffle_ps::<0x88>(a, b),
            _mm512_shuffle_ps::<0xDD>(a, b),
        );
        _mm512_storeu_ps(totals.as_mut_ptr(), ones);
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixteen sums, then halves added to halves, as the module says.
    fn in_order(x: &[f32], w: &[f32]) -> f32 {
        let whole = x.len() / 16 * 16;
        let mut sums = [0.0f32; 16];
        for i in 0..whole {
            sums[i % 16] = x[i].fma(w[i], sums[i % 16]);
        }
        for half in [8, 4, 2, 1] {
            (0..half).for_each(|l| sums[l] += sums[l + half]);
        }
        (whole..x.len()).fold(sums[0], |sum, i| x[i].fma(w[i], sum))
    }

    #[test]
    fn every_form_sums_in_the_one_order() {
        for k in [0, 1, 15, 16, 17, 40, 64, 515] {
            let row = |seed: usize| -> Vec<f32> {
                (0..k)
                    .map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0)
                    .collect()
            };
            let (x, w): (Vec<_>, Vec<_>) = ((0..2).map(row).collect(), (2..5).map(row).collect());
            let (xs, ws) = ([&x[0][..], &x[1]], [&w[0][..], &w[1], &w[2]]);
            let want = xs.map(|x| ws.map(|w| in_order(x, w)));
            assert_eq!(dots::<2, 3, 6, true>(xs, ws), *want.as_flattened(), "{k}");
            assert_eq!(dots::<1, 3, 3, false>([xs[1]], ws), want[1], "{k}");
            assert_eq!(dots::<2, 1, 2, false>(xs, [ws[2]]), want.map(|w| w[2]));
            let four: Vec<Vec<f32>> = (0..8).map(row).collect();
            let xs_4 = std::array::from_fn(|r| &four[r][..]);
            let ws_4 = std::array::from_fn(|c| &four[4 + c][..]);
            let want_4 = xs_4.map(|x| ws_4.map(|w| in_order(x, w)));
            assert_eq!(dots::<4, 4, 16, true>(xs_4, ws_4), *want_4.as_flattened());
            let mut out = [[0.0; 5]; 4];
            let places = out.each_mut().map(|row| &mut row[..]);
            dots_into::<4, 4, 16, false>(xs_4, ws_4, places);
            let want_5 = want_4.map(|[a, b, c, d]| [a, b, c, d, 0.0]);
            assert_eq!(out, want_5, "{k}");
            assert_eq!(dot(xs[1], ws[0]), want[1][0], "{k}");
            assert_eq!(inner(xs[1], ws[0]), want[1][0], "{k}");
        }
    }
}

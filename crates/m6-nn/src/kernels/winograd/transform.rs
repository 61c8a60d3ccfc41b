//! The transforms of F(2x2, 3x3): `y = A'[(G g G') * (B' d B)]A` with
//! `B' = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1]`, `G = [1 0 0; .5 .5 .5; .5 -.5 .5; 0 0 1]`, `A' = [1 1 1 0; 0 1 -1 -1]`.
//!
//! Along a row the even and odd pixels are taken apart first, so that all arithmetic runs over adjacent tiles.

use super::grown;
use crate::real::{Real, prefetch};
use std::ops::Range;

/// Points of a transformed tile.
pub(super) const N_POINTS: usize = 16;

/// `G g G'` of one 3x3 kernel.
pub(super) fn kernel<T: Real>(g: &[T; 9]) -> [T; N_POINTS] {
    let half = T::number(0.5);
    let line = |a: T, b: T, c: T| [a, half * (a + b + c), half * (a - b + c), c];
    let rows: [[T; 4]; 3] = std::array::from_fn(|r| line(g[3 * r], g[3 * r + 1], g[3 * r + 2]));
    let columns: [[T; 4]; 4] = std::array::from_fn(|j| line(rows[0][j], rows[1][j], rows[2][j]));
    std::array::from_fn(|point| columns[point % 4][point / 4])
}

/// `G' d G`: the gradient of a kernel from that of its transform.
pub(super) fn kernel_gradient<T: Real>(d: &[T; N_POINTS]) -> [T; 9] {
    let half = T::number(0.5);
    let line = |a: T, b: T, c: T, d: T| [a + half * (b + c), half * (b - c), half * (b + c) + d];
    let columns: [[T; 3]; 4] = std::array::from_fn(|j| line(d[j], d[4 + j], d[8 + j], d[12 + j]));
    let rows: [[T; 3]; 3] =
        std::array::from_fn(|r| line(columns[0][r], columns[1][r], columns[2][r], columns[3][r]));
    std::array::from_fn(|i| rows[i / 3][i % 3])
}

/// Bytes that come from memory together.
const CACHE_LINE: usize = 64;

/// Elements per step of the vectorised loops.
const LANES: usize = 8;

/// `to[i] = f(a[i], b[i])`, in steps that read everything before they write: the compiler then needs no proof that the slices do
/// not overlap, and short rows vectorise too.
#[inline(always)]
fn combine<T: Real>(to: &mut [T], a: &[T], b: &[T], f: impl Fn(T, T) -> T) {
    let (to, to_rest) = to.as_chunks_mut::<LANES>();
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for ((to, a), b) in to.iter_mut().zip(a).zip(b) {
        let (a, b) = (*a, *b);
        *to = std::array::from_fn(|i| f(a[i], b[i]));
    }
    for ((to, a), b) in to_rest.iter_mut().zip(a_rest).zip(b_rest) {
        *to = f(*a, *b);
    }
}

/// `to[i] = f(to[i], b[i])`, in the manner of [`combine`].
#[inline(always)]
fn update<T: Real>(to: &mut [T], b: &[T], f: impl Fn(T, T) -> T) {
    let (to, to_rest) = to.as_chunks_mut::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (to, b) in to.iter_mut().zip(b) {
        let (a, b) = (*to, *b);
        *to = std::array::from_fn(|i| f(a[i], b[i]));
    }
    for (to, b) in to_rest.iter_mut().zip(b_rest) {
        *to = f(*to, *b);
    }
}

/// A plane of pixels and its grid of 2x2 tiles; the last row or column of tiles may reach past the edge.
#[derive(Clone, Copy)]
pub(super) struct Plane {
    /// Height in pixels.
    pub h: usize,
    /// Width in pixels.
    pub w: usize,
}

impl Plane {
    pub(super) fn size(&self) -> usize {
        self.h * self.w
    }

    pub(super) fn tile_rows(&self) -> usize {
        self.h.div_ceil(2)
    }

    pub(super) fn tile_columns(&self) -> usize {
        self.w.div_ceil(2)
    }

    /// Rows of pixels under rows of tiles.
    pub(super) fn pixel_rows(&self, tiles: &Range<usize>) -> Range<usize> {
        2 * tiles.start..(2 * tiles.end).min(self.h)
    }

    /// Asks for the row of the next plane that lies where `row` lies in this one: it comes next, and a plane away no prefetcher of the
    /// machine expects it.
    fn ask_for_next<T: Real>(&self, row: &[T]) {
        for ahead in (0..self.w).step_by(CACHE_LINE / size_of::<T>()) {
            prefetch(row, self.size() + ahead);
        }
    }

    /// Takes row `y` apart into its even and odd pixels, `tile_columns` each; zeros beyond the edges.
    fn take_apart<T: Real>(&self, pixels: &[T], y: Option<usize>, even: &mut [T], odd: &mut [T]) {
        let Some(row) = y
            .filter(|y| *y < self.h)
            .map(|y| &pixels[y * self.w..][..self.w])
        else {
            even.fill(T::zero());
            odd.fill(T::zero());
            return;
        };
        self.ask_for_next(row);
        let (even, odd) = (
            &mut even[..self.tile_columns()],
            &mut odd[..self.tile_columns()],
        );
        if self.w % 2 == 1 {
            even[self.w / 2] = row[self.w - 1];
            odd[self.w / 2] = T::zero();
        }
        let n_pairs = self.w / 2;
        let (even, even_rest) = even[..n_pairs].as_chunks_mut::<LANES>();
        let (odd, odd_rest) = odd[..n_pairs].as_chunks_mut::<LANES>();
        let (blocks, rest) = row.as_chunks::<{ 2 * LANES }>();
        for ((even, odd), block) in even.iter_mut().zip(odd).zip(blocks) {
            let block = *block;
            *even = std::array::from_fn(|i| block[2 * i]);
            *odd = std::array::from_fn(|i| block[2 * i + 1]);
        }
        for ((even, odd), pair) in even_rest.iter_mut().zip(odd_rest).zip(rest.chunks_exact(2)) {
            (*even, *odd) = (pair[0], pair[1]);
        }
    }

    /// `B' d B` of the tiles in rows `tiles`: point `p` of the `i`-th tile goes to `out[p * stride + i]`.
    pub(super) fn input<T: Real>(
        &self,
        pixels: &[T],
        tiles: Range<usize>,
        scratch: &mut Vec<T>,
        out: &mut [T],
        stride: usize,
    ) {
        let n = self.tile_columns();
        let n_rows = 2 * tiles.len() + 2;
        let (apart, rows) = grown(scratch, 2 * (n + 1) + n_rows * 4 * n).split_at_mut(2 * (n + 1));
        // odd[0] is the pixel left of the plane, even[n] the one right of it: both zero.
        let (even, odd) = apart.split_at_mut(n + 1);
        even[n] = T::zero();
        odd[0] = T::zero();
        for (r, row) in rows.chunks_exact_mut(4 * n).enumerate() {
            self.take_apart(
                pixels,
                (2 * tiles.start + r).checked_sub(1),
                &mut even[..n],
                &mut odd[1..],
            );
            let [p0, p1, p2, p3] = quarters_mut(row);
            combine(p0, &odd[..n], &odd[1..], |a, b| a - b);
            combine(p1, &even[..n], &odd[1..], |a, b| a + b);
            combine(p2, &odd[1..], &even[..n], |a, b| a - b);
            combine(p3, &even[..n], &even[1..], |a, b| a - b);
        }
        for (i, from) in (0..tiles.len()).map(|i| (i, &rows[8 * i * n..][..16 * n])) {
            for j in 0..4 {
                let row = |r: usize| &from[(4 * r + j) * n..][..n];
                let (r0, r1, r2, r3) = (row(0), row(1), row(2), row(3));
                let place = |p: usize| (4 * p + j) * stride + i * n;
                combine(&mut out[place(0)..][..n], r0, r2, |a, b| a - b);
                combine(&mut out[place(1)..][..n], r1, r2, |a, b| a + b);
                combine(&mut out[place(2)..][..n], r2, r1, |a, b| a - b);
                combine(&mut out[place(3)..][..n], r1, r3, |a, b| a - b);
            }
        }
    }

    /// `A dy A'` of the tiles in rows `tiles`, the transpose of [`Plane::output`]; places as in [`Plane::input`].
    pub(super) fn output_gradient<T: Real>(
        &self,
        pixels: &[T],
        tiles: Range<usize>,
        scratch: &mut Vec<T>,
        out: &mut [T],
        stride: usize,
    ) {
        let n = self.tile_columns();
        let (apart, rows) = grown(scratch, 2 * n + 2 * tiles.len() * 4 * n).split_at_mut(2 * n);
        let (even, odd) = apart.split_at_mut(n);
        for (r, row) in rows.chunks_exact_mut(4 * n).enumerate() {
            self.take_apart(pixels, Some(2 * tiles.start + r), even, odd);
            let [p0, p1, p2, p3] = quarters_mut(row);
            p0.copy_from_slice(even);
            combine(p1, even, odd, |a, b| a + b);
            combine(p2, even, odd, |a, b| a - b);
            combine(p3, odd, odd, |a, _| -a);
        }
        for (i, pair) in rows.chunks_exact(8 * n).enumerate() {
            for j in 0..4 {
                let (upper, lower) = (&pair[j * n..][..n], &pair[(4 + j) * n..][..n]);
                let place = |p: usize| (4 * p + j) * stride + i * n;
                out[place(0)..][..n].copy_from_slice(upper);
                combine(&mut out[place(1)..][..n], upper, lower, |a, b| a + b);
                combine(&mut out[place(2)..][..n], upper, lower, |a, b| a - b);
                combine(&mut out[place(3)..][..n], lower, lower, |_, b| -b);
            }
        }
    }

    /// `A' m A` of the tiles in rows `tiles` plus `bias`, into the rows of pixels under them; `m` as written by [`Plane::input`].
    pub(super) fn output<T: Real>(
        &self,
        m: &[T],
        stride: usize,
        tiles: Range<usize>,
        bias: T,
        scratch: &mut Vec<T>,
        pixels: &mut [T],
    ) {
        let n = self.tile_columns();
        let rows = grown(scratch, 8 * n);
        for i in 0..tiles.len() {
            let point = |p: usize, j: usize| &m[(4 * p + j) * stride + i * n..][..n];
            let (upper, lower) = rows.split_at_mut(4 * n);
            for j in 0..4 {
                let (upper, lower) = (&mut upper[j * n..][..n], &mut lower[j * n..][..n]);
                combine(upper, point(1, j), point(2, j), |a, b| a + b);
                combine(lower, point(1, j), point(2, j), |a, b| a - b);
                update(upper, point(0, j), |a, b| a + b);
                update(lower, point(3, j), |a, b| a - b);
            }
            let row_pairs = pixels[2 * i * self.w..].chunks_mut(self.w);
            for (to, from) in row_pairs.zip([upper, lower]) {
                self.ask_for_next(to);
                put_together(from, bias, to);
            }
        }
    }
}

/// The last step of [`Plane::output`]: four columns of points (overwritten) to the pixels of one row.
fn put_together<T: Real>(columns: &mut [T], bias: T, to: &mut [T]) {
    let [even, c1, c2, odd] = quarters_mut(columns);
    // even = c0 + c1 + c2, odd = c1 - c2 - c3
    update(even, c1, |a, b| a + b);
    update(even, c2, |a, b| a + b + bias);
    update(odd, c1, |a, b| b - a);
    update(odd, c2, |a, b| a - b + bias);
    let n_pairs = to.len() / 2;
    if to.len() % 2 == 1 {
        to[2 * n_pairs] = even[n_pairs];
    }
    let (even, even_rest) = even[..n_pairs].as_chunks::<LANES>();
    let (odd, odd_rest) = odd[..n_pairs].as_chunks::<LANES>();
    let (blocks, rest) = to.as_chunks_mut::<{ 2 * LANES }>();
    for ((block, even), odd) in blocks.iter_mut().zip(even).zip(odd) {
        let (even, odd) = (*even, *odd);
        *block = std::array::from_fn(|i| if i % 2 == 0 { even[i / 2] } else { odd[i / 2] });
    }
    for ((pair, even), odd) in rest.chunks_exact_mut(2).zip(even_rest).zip(odd_rest) {
        (pair[0], pair[1]) = (*even, *odd);
    }
}

fn quarters_mut<T>(row: &mut [T]) -> [&mut [T]; 4] {
    let n = row.len() / 4;
    let (left, right) = row.split_at_mut(2 * n);
    let ((a, b), (c, d)) = (left.split_at_mut(n), right.split_at_mut(n));
    [a, b, c, d]
}

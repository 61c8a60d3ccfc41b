//! Pooling, upsampling and transposition of feature maps `[n, c, h, w]`.

use crate::real::Real;
use rayon::prelude::*;

/// Shapes of a pooling window: square, the same stride and padding on both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Input height.
    pub h: usize,
    /// Input width.
    pub w: usize,
    /// Side of the window.
    pub k: usize,
    /// Step between windows.
    pub stride: usize,
    /// Pixels added on every side; they never win.
    pub pad: usize,
    /// Output height.
    pub h_out: usize,
    /// Output width.
    pub w_out: usize,
}

impl Window {
    /// The window over planes of `h` by `w`; `None` when `k` or `stride` is 0, the window exceeds the padded plane, or the padding
    /// is so wide (over `k / 2`) that a window could hold no pixel.
    pub fn new(h: usize, w: usize, k: usize, stride: usize, pad: usize) -> Option<Self> {
        if k == 0 || stride == 0 || pad > k / 2 || h + 2 * pad < k || w + 2 * pad < k {
            return None;
        }
        let side = |len: usize| (len + 2 * pad - k) / stride + 1;
        Some(Self {
            h,
            w,
            k,
            stride,
            pad,
            h_out: side(h),
            w_out: side(w),
        })
    }

    /// The largest pixel of the window at `(row, column)` and its place in the plane; the first one among equals, NaN above all.
    fn largest<T: Real>(&self, plane: &[T], row: usize, column: usize) -> (T, u32) {
        let span = |at: usize, len: usize| {
            let from = at * self.stride;
            from.saturating_sub(self.pad)..(from + self.k).saturating_sub(self.pad).min(len)
        };
        let (rows, columns) = (span(row, self.h), span(column, self.w));
        let mut place = rows.start * self.w + columns.start;
        let mut best = plane[place];
        for y in rows {
            for x in columns.clone() {
                let value = plane[y * self.w + x];
                if value > best || value.partial_cmp(&value).is_none() {
                    (best, place) = (value, y * self.w + x);
                }
            }
        }
        (best, place as u32)
    }
}

/// Maximum over each window: writes `y` and, for the backward pass, where in its plane each maximum was.
pub fn max_pool<T: Real>(x: &[T], window: &Window, y: &mut [T], places: &mut [u32]) {
    let (n_in, n_out) = (window.h * window.w, window.h_out * window.w_out);
    let planes = y
        .par_chunks_mut(n_out)
        .zip(places.par_chunks_mut(n_out))
        .zip(x.par_chunks(n_in));
    planes.for_each(|((y, places), x)| {
        for row in 0..window.h_out {
            for column in 0..window.w_out {
                let at = row * window.w_out + column;
                (y[at], places[at]) = window.largest(x, row, column);
            }
        }
    });
}

/// Gradient of [`max_pool`]: each output's gradient goes to the pixel that won. Overwrites `dx`.
pub fn max_pool_backward<T: Real>(dy: &[T], window: &Window, places: &[u32], dx: &mut [T]) {
    let (n_in, n_out) = (window.h * window.w, window.h_out * window.w_out);
    let planes = dx
        .par_chunks_mut(n_in)
        .zip(dy.par_chunks(n_out))
        .zip(places.par_chunks(n_out));
    planes.for_each(|((dx, dy), places)| {
        dx.fill(T::zero());
        for (dy, place) in dy.iter().zip(places) {
            dx[*place as usize] += *dy;
        }
    });
}

/// Nearest-neighbour upsampling by 2: every pixel becomes a square of four.
pub fn up2<T: Real>(x: &[T], w: usize, y: &mut [T]) {
    y.par_chunks_mut(4 * w)
        .zip(x.par_chunks(w))
        .with_min_len(MIN_ROWS)
        .for_each(|(y, x)| {
            let (upper, lower) = y.split_at_mut(2 * w);
            for (pair, x) in upper.chunks_exact_mut(2).zip(x) {
                pair.fill(*x);
            }
            lower.copy_from_slice(upper);
        });
}

/// Gradient of [`up2`]: the sum over each square. Overwrites `dx`.
pub fn up2_backward<T: Real>(dy: &[T], w: usize, dx: &mut [T]) {
    dx.par_chunks_mut(w)
        .zip(dy.par_chunks(4 * w))
        .with_min_len(MIN_ROWS)
        .for_each(|(dx, dy)| {
            let (upper, lower) = dy.split_at(2 * w);
            for ((dx, upper), lower) in dx
                .iter_mut()
                .zip(upper.chunks_exact(2))
                .zip(lower.chunks_exact(2))
            {
                *dx = (upper[0] + upper[1]) + (lower[0] + lower[1]);
            }
        });
}

/// Rows of pixels a thread takes at least, so that splitting the work costs little beside the work.
const MIN_ROWS: usize = 64;

/// Transposes each of the stacked matrices `x` `[_, rows, columns]` into `y` `[_, columns, rows]`.
pub fn transpose_each<T: Real>(x: &[T], rows: usize, columns: usize, y: &mut [T]) {
    let size = rows * columns;
    y.par_chunks_mut(size)
        .zip(x.par_chunks(size))
        .for_each(|(y, x)| transpose(x, rows, columns, y));
}

/// Transposes `x` `[rows, columns]` into `y`, in tiles that stay in the cache.
fn transpose<T: Real>(x: &[T], rows: usize, columns: usize, y: &mut [T]) {
    const TILE: usize = 16;
    for row in (0..rows).step_by(TILE) {
        for column in (0..columns).step_by(TILE) {
            for i in row..(row + TILE).min(rows) {
                for j in column..(column + TILE).min(columns) {
                    y[j * rows + i] = x[i * columns + j];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_without_a_pixel_are_refused() {
        assert!(Window::new(4, 4, 0, 1, 0).is_none());
        assert!(Window::new(4, 4, 2, 0, 0).is_none());
        assert!(Window::new(4, 4, 3, 1, 2).is_none());
        assert!(Window::new(2, 9, 3, 1, 0).is_none());
        assert!(Window::new(1, 1, 3, 2, 1).is_some());
    }

    #[test]
    fn the_first_of_equal_pixels_gets_the_gradient() {
        let window = Window::new(2, 2, 2, 2, 0).unwrap();
        let (mut y, mut places) = ([0.0f32], [9]);
        max_pool(&[1.0, 3.0, 3.0, 2.0], &window, &mut y, &mut places);
        assert_eq!((y, places), ([3.0], [1]));
        let mut dx = [7.0; 4];
        max_pool_backward(&[5.0], &window, &places, &mut dx);
        assert_eq!(dx, [0.0, 5.0, 0.0, 0.0]);
    }

    #[test]
    fn negative_pixels_beat_the_padding_and_nan_is_not_lost() {
        let window = Window::new(2, 2, 3, 2, 1).unwrap();
        let (mut y, mut places) = ([0.0f32], [9]);
        max_pool(&[-4.0, -2.0, -3.0, -5.0], &window, &mut y, &mut places);
        assert_eq!((y, places), ([-2.0], [1]));
        max_pool(&[1.0, f32::NAN, 2.0, 3.0], &window, &mut y, &mut places);
        assert!(y[0].is_nan());
    }

    #[test]
    fn transposing_twice_changes_nothing() {
        let x: Vec<f32> = (0..2 * 19 * 35).map(|i| i as f32).collect();
        let (mut y, mut z) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        transpose_each(&x, 19, 35, &mut y);
        assert_eq!(y[1], 35.0);
        transpose_each(&y, 35, 19, &mut z);
        assert_eq!(x, z);
    }
}

//! Geometry of a convolution and the rearrangement of pixels into matrix columns (im2col) and back.

use crate::error::{Error, Result};
use crate::real::Real;
use std::ops::Range;

/// Shapes of one convolution: the same stride on both axes, no dilation, no groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Pictures in the batch.
    pub n: usize,
    /// Input channels.
    pub c_in: usize,
    /// Input height.
    pub h: usize,
    /// Input width.
    pub w: usize,
    /// Output channels.
    pub c_out: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Step between output pixels.
    pub stride: usize,
    /// Zero pixels added above and below, and left and right.
    pub pad: [usize; 2],
    /// Output height.
    pub h_out: usize,
    /// Output width.
    pub w_out: usize,
}

impl Geometry {
    /// Geometry of `x` `[n, c_in, h, w]` convolved with `weight` `[c_out, c_in, k_h, k_w]`, padded by `pad` rows and columns.
    ///
    /// # Errors
    /// When the shapes do not have four dimensions, the channels differ, the kernel or the stride is 0, or the kernel is larger
    /// than the padded picture.
    pub fn new(x: &[usize], weight: &[usize], stride: usize, pad: [usize; 2]) -> Result<Self> {
        let bad = |why: &str| {
            let what =
                format!("x {x:?} with weight {weight:?}, stride {stride}, pad {pad:?}: {why}");
            Error::Value { op: "conv2d", what }
        };
        let (&[n, c_in, h, w], &[c_out, c_weight, k_h, k_w]) = (x, weight) else {
            return Err(bad("both need four dimensions"));
        };
        if c_in == 0 || c_out == 0 {
            return Err(bad("there are no channels"));
        }
        if c_in != c_weight {
            return Err(bad("input channels differ"));
        }
        if k_h * k_w == 0 {
            return Err(bad("the kernel is empty"));
        }
        if stride == 0 {
            return Err(bad("stride is 0"));
        }
        if h + 2 * pad[0] < k_h || w + 2 * pad[1] < k_w {
            return Err(bad("the kernel is larger than the padded picture"));
        }
        let side = |len: usize, pad: usize, k: usize| (len + 2 * pad - k) / stride + 1;
        Ok(Self {
            n,
            c_in,
            h,
            w,
            c_out,
            kernel: [k_h, k_w],
            stride,
            pad,
            h_out: side(h, pad[0], k_h),
            w_out: side(w, pad[1], k_w),
        })
    }

    /// Elements of one input picture.
    pub fn picture_in(&self) -> usize {
        self.c_in * self.h * self.w
    }

    /// Elements of one output picture.
    pub fn picture_out(&self) -> usize {
        self.c_out * self.h_out * self.w_out
    }

    /// Output pixels of one picture.
    pub fn pixels_out(&self) -> usize {
        self.h_out * self.w_out
    }

    /// Rows of the im2col matrix: one per input channel and kernel position.
    pub fn taps(&self) -> usize {
        self.c_in * self.kernel[0] * self.kernel[1]
    }

    /// Whether the input itself already is the im2col matrix.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == 1 && self.pad == [0, 0]
    }

    /// Output columns whose tap at kernel column `kx` falls inside the picture.
    fn inside(&self, kx: usize) -> Range<usize> {
        let from = self.pad[1]
            .saturating_sub(kx)
            .div_ceil(self.stride)
            .min(self.w_out);
        let reach = self.w + self.pad[1];
        let to = if reach > kx {
            ((reach - kx - 1) / self.stride + 1).min(self.w_out)
        } else {
            0
        };
        from..to.max(from)
    }

    /// Calls `f(tap, output row counted from rows.start, input row or None where it is padding, kernel column)` for every tap and
    /// output row.
    #[inline(always)]
    fn each_row(&self, rows: &Range<usize>, mut f: impl FnMut(usize, usize, Option<usize>, usize)) {
        for c in 0..self.c_in {
            for ky in 0..self.kernel[0] {
                for kx in 0..self.kernel[1] {
                    let tap = (c * self.kernel[0] + ky) * self.kernel[1] + kx;
                    for (j, row) in rows.clone().enumerate() {
                        let y = row * self.stride + ky;
                        let input = (y >= self.pad[0] && y - self.pad[0] < self.h)
                            .then(|| c * self.h + y - self.pad[0]);
                        f(tap, j, input, kx);
                    }
                }
            }
        }
    }

    /// Writes output rows `rows` of one picture as columns `at..` of the im2col matrix `col` `[taps, n_cols]`.
    pub fn im2col<T: Real>(
        &self,
        picture: &[T],
        rows: Range<usize>,
        col: &mut [T],
        at: usize,
        n_cols: usize,
    ) {
        let (w_out, stride) = (self.w_out, self.stride);
        self.each_row(&rows, |tap, j, input, kx| {
            let to = &mut col[tap * n_cols + at + j * w_out..][..w_out];
            let inside = self.inside(kx);
            let Some(input) = input.filter(|_| !inside.is_empty()) else {
                to.fill(T::zero());
                return;
            };
            to[..inside.start].fill(T::zero());
            to[inside.end..].fill(T::zero());
            let from = &picture
                [input * self.w + inside.start * stride + kx - self.pad[1]..(input + 1) * self.w];
            let to = &mut to[inside];
            if stride == 1 {
                to.copy_from_slice(&from[..to.len()]);
            } else {
                for (to, from) in to.iter_mut().zip(from.iter().step_by(stride)) {
                    *to = *from;
                }
            }
        });
    }

    /// Adds columns `at..` of `col` `[taps, n_cols]` back to the pixels they came from: the transpose of [`Geometry::im2col`].
    pub fn col2im<T: Real>(
        &self,
        col: &[T],
        rows: Range<usize>,
        picture: &mut [T],
        at: usize,
        n_cols: usize,
    ) {
        let (w_out, stride) = (self.w_out, self.stride);
        self.each_row(&rows, |tap, j, input, kx| {
            let inside = self.inside(kx);
            let Some(input) = input.filter(|_| !inside.is_empty()) else {
                return;
            };
            let from = &col[tap * n_cols + at + j * w_out..][..w_out][inside.clone()];
            let to = &mut picture
                [input * self.w + inside.start * stride + kx - self.pad[1]..(input + 1) * self.w];
            if stride == 1 {
                for (to, from) in to.iter_mut().zip(from) {
                    *to += *from;
                }
            } else {
                for (to, from) in to.iter_mut().step_by(stride).zip(from) {
                    *to += *from;
                }
            }
        });
    }
}

/// A run of output rows inside one picture, and the first column of the strip matrix it fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index of the picture.
    pub picture: usize,
    /// Output rows.
    pub rows: Range<usize>,
    /// First column in the strip.
    pub at: usize,
}

/// Consecutive output rows, of one picture or of several small ones, that are multiplied at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    /// The pieces, one per picture, in order.
    pub segments: Vec<Segment>,
    /// Columns of the strip's matrices: output pixels over all pieces.
    pub n_cols: usize,
}

/// Cuts the rows of `pictures`, each `h` by `w`, into strips of about `target` pixels. Small pictures are taken together.
pub fn strips(h: usize, w: usize, pictures: Range<usize>, target: usize) -> Vec<Strip> {
    let rows_per_strip = (target / w).max(1);
    let (first, last) = (pictures.start * h, pictures.end * h);
    // A picture taller than a strip is cut evenly and never shares a strip, so that results can be written in place.
    let rows_per_strip = match rows_per_strip < h {
        true => h.div_ceil(h.div_ceil(rows_per_strip)),
        false => rows_per_strip / h * h,
    };
    let mut strips = Vec::new();
    let mut row = first;
    while row < last {
        let end = if rows_per_strip < h {
            (row + rows_per_strip).min((row / h + 1) * h)
        } else {
            row + rows_per_strip
        };
        let end = end.min(last);
        let mut segments = Vec::new();
        let mut at = 0;
        while row < end {
            let picture = row / h;
            let to = end.min((picture + 1) * h);
            segments.push(Segment {
                picture,
                rows: row - picture * h..to - picture * h,
                at,
            });
            at += (to - row) * w;
            row = to;
        }
        strips.push(Strip {
            segments,
            n_cols: at,
        });
    }
    strips
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_shapes_are_refused_with_both_shapes() {
        let cases = [
            (vec![1, 3, 8], vec![4, 3, 3, 3], 1, "four dimensions"),
            (vec![1, 3, 8, 8], vec![4, 2, 3, 3], 1, "channels differ"),
            (vec![1, 3, 8, 8], vec![4, 3, 3, 0], 1, "the kernel is empty"),
            (vec![1, 3, 8, 8], vec![4, 3, 3, 3], 0, "stride is 0"),
            (
                vec![1, 3, 2, 2],
                vec![4, 3, 7, 7],
                1,
                "larger than the padded",
            ),
        ];
        for (x, w, stride, want) in cases {
            let message = Geometry::new(&x, &w, stride, [1, 1])
                .unwrap_err()
                .to_string();
            assert!(message.contains(want), "{message}");
        }
    }

    #[test]
    fn strips_cover_every_row_once_in_order() {
        for (n, side, target) in [(3, 8, 16), (5, 2, 16), (7, 1, 128), (2, 64, 128), (2, 5, 1)] {
            let mut rows = Vec::new();
            for strip in strips(side, side, 0..n, target) {
                let mut at = 0;
                for segment in &strip.segments {
                    assert_eq!(segment.at, at);
                    at += segment.rows.len() * side;
                    rows.extend(segment.rows.clone().map(|row| segment.picture * side + row));
                }
                assert_eq!(strip.n_cols, at);
                assert!(
                    at <= target.max(side),
                    "{at} columns for a target of {target}"
                );
            }
            assert_eq!(rows, (0..n * side).collect::<Vec<_>>());
        }
    }

    #[test]
    fn col2im_is_the_transpose_of_im2col() {
        // <im2col(x), c> == <x, col2im(c)> for all x and c; integers keep both sides exact.
        for (k, stride, pad) in [
            ([3, 3], 1, [1, 1]),
            ([3, 3], 2, [1, 1]),
            ([7, 7], 2, [3, 3]),
            ([1, 1], 2, [0, 0]),
            ([2, 2], 2, [0, 0]),
            ([3, 3], 3, [2, 2]),
            ([1, 7], 1, [0, 3]),
            ([5, 2], 2, [3, 0]),
        ] {
            let weight = [1, 2, k[0], k[1]];
            let geometry = Geometry::new(&[1, 2, 7, 6], &weight, stride, pad).unwrap();
            let number = |i: usize| ((i * 37 + 11) % 17) as f64 - 8.0;
            let x: Vec<f64> = (0..geometry.picture_in()).map(number).collect();
            let n_cols = geometry.pixels_out();
            let c: Vec<f64> = (0..geometry.taps() * n_cols)
                .map(|i| number(i * 5 + 3))
                .collect();
            let mut col = vec![f64::NAN; c.len()];
            geometry.im2col(&x, 0..geometry.h_out, &mut col, 0, n_cols);
            let mut back = vec![0.0; x.len()];
            geometry.col2im(&c, 0..geometry.h_out, &mut back, 0, n_cols);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            assert_eq!(
                dot(&col, &c),
                dot(&x, &back),
                "kernel {k:?} stride {stride} pad {pad:?}"
            );
        }
    }
}

//! Two-dimensional convolution by strips of im2col and gemm.
//!
//! A strip is about 128 output pixels of one picture, or of several small ones, so that its matrix stays in the second-level
//! cache. Every product is laid out such that the gemm crate reads its operands in place instead of packing them: the long operand
//! always has adjacent pixels, and the weight gradient is accumulated transposed.

use crate::gemm::{Mat, MatMut, Threads, gemm};
use crate::glue::uninit;
use crate::kernels::im2col::{Geometry, Strip, strips};
use crate::kernels::shared::Shared;
use crate::kernels::winograd;
use crate::real::{Real, add_into, add_parts, sum};
use rayon::prelude::*;
use std::ops::Range;

/// Output pixels of a strip.
const STRIP: usize = 128;

/// Buffers of one thread, grown on demand.
#[derive(Default)]
struct Scratch<T> {
    columns: Vec<T>,
    outputs: Vec<T>,
}

/// The first `n` elements of a buffer that grows when it has to; their contents are arbitrary.
pub(super) fn grown<T: Real>(buffer: &mut Vec<T>, n: usize) -> &mut [T] {
    if buffer.len() < n {
        *buffer = uninit(n);
    }
    &mut buffer[..n]
}

/// The im2col matrix `[taps, n_cols]` of a strip; for a 1x1 kernel the picture itself.
fn columns<'a, T: Real>(
    geometry: &Geometry,
    x: &'a [T],
    strip: &Strip,
    buffer: &'a mut Vec<T>,
) -> Mat<'a, T> {
    let size = geometry.picture_in();
    if let ([only], true) = (&strip.segments[..], geometry.is_pointwise()) {
        let from = only.picture * size + only.rows.start * geometry.w;
        return Mat::strided(
            &x[from..(only.picture + 1) * size],
            geometry.c_in,
            strip.n_cols,
            geometry.h * geometry.w,
        );
    }
    let col = grown(buffer, geometry.taps() * strip.n_cols);
    for segment in &strip.segments {
        let picture = &x[segment.picture * size..][..size];
        geometry.im2col(picture, segment.rows.clone(), col, segment.at, strip.n_cols);
    }
    Mat::new(col, geometry.taps(), strip.n_cols)
}

/// `y = conv2d(x, w) + b` for `x` `[n, c_in, h, w]`, `w` `[c_out, c_in, k, k]`, `b` `[c_out]`. Panics when the sizes do not fit.
pub fn conv2d<T: Real>(geometry: &Geometry, x: &[T], w: &[T], b: Option<&[T]>, y: &mut [T]) {
    check_sizes(geometry, x, w, y);
    if winograd::fits(geometry) {
        return winograd::conv2d(geometry, x, w, b, y);
    }
    let y = Shared::new(y);
    let (c_out, pixels) = (geometry.c_out, geometry.pixels_out());
    strips(geometry.h_out, geometry.w_out, 0..geometry.n, STRIP)
        .par_iter()
        .for_each_init(Scratch::default, |scratch, strip| {
            let n_cols = strip.n_cols;
            let out = grown(&mut scratch.outputs, c_out * n_cols);
            let columns = columns(geometry, x, strip, &mut scratch.columns);
            let dst = MatMut::new(out, c_out, n_cols);
            gemm(
                Threads::One,
                dst,
                false,
                T::one(),
                Mat::new(w, c_out, geometry.taps()),
                columns,
            );
            for segment in &strip.segments {
                let n = segment.rows.len() * geometry.w_out;
                for (c, out) in out.chunks_exact(n_cols).enumerate() {
                    let at = (segment.picture * c_out + c) * pixels
                        + segment.rows.start * geometry.w_out;
                    // SAFETY: strips cover every output row once, so these pixels are this task's alone.
                    let y = unsafe { y.slice(at, n) };
                    let bias = b.map_or(T::zero(), |b| b[c]);
                    for (y, out) in y.iter_mut().zip(&out[segment.at..]) {
                        *y = *out + bias;
                    }
                }
            }
        });
}

fn check_sizes<T>(geometry: &Geometry, x: &[T], w: &[T], y: &[T]) {
    let want = (
        geometry.n * geometry.picture_in(),
        geometry.c_out * geometry.taps(),
        geometry.n * geometry.picture_out(),
    );
    assert_eq!((x.len(), w.len(), y.len()), want, "elements of x, w and y");
}

/// Which gradients of a convolution are wanted; the unwanted cost nothing.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Gradient of the input.
    pub dx: bool,
    /// Gradient of the weight.
    pub dw: bool,
    /// Gradient of the bias.
    pub db: bool,
}

/// Gradients of a convolution; empty where not wanted.
pub struct ConvGradients<T> {
    /// Gradient of the input, `[n, c_in, h, w]`.
    pub dx: Vec<T>,
    /// Gradient of the weight, `[c_out, c_in, k, k]`.
    pub dw: Vec<T>,
    /// Gradient of the bias, `[c_out]`.
    pub db: Vec<T>,
}

/// Runs of pictures whose weight gradients are summed before they are added in order. Their number does not depend on the number
/// of threads; it is smaller for large weights, whose partial gradients take memory.
pub(super) fn picture_runs(geometry: &Geometry) -> Vec<Range<usize>> {
    let n_runs = ((1 << 24) / (geometry.c_out * geometry.taps()).max(1))
        .clamp(8, 64)
        .min(geometry.n)
        .max(1);
    let len = geometry.n.div_ceil(n_runs).max(1);
    (0..geometry.n)
        .step_by(len)
        .map(|from| from..(from + len).min(geometry.n))
        .collect()
}

/// Gradients of [`conv2d`] from that of its result, `dy` `[n, c_out, h_out, w_out]`. Panics when the sizes do not fit.
pub fn conv2d_backward<T: Real>(
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    dy: &[T],
    wanted: Wanted,
) -> ConvGradients<T> {
    check_sizes(geometry, x, w, dy);
    let db = if wanted.db {
        bias_gradient(geometry, dy)
    } else {
        Vec::new()
    };
    if winograd::fits(geometry) {
        let (dx, dw) = winograd::conv2d_backward(geometry, x, w, dy, wanted);
        return ConvGradients { dx, dw, db };
    }
    let (c_out, taps) = (geometry.c_out, geometry.taps());
    let mut dx = if wanted.dx {
        uninit(x.len())
    } else {
        Vec::new()
    };
    let w_t = transposed(w, c_out, taps);
    let shared = Shared::new(&mut dx);
    let parts: Vec<Vec<T>> = picture_runs(geometry)
        .into_par_iter()
        .with_max_len(1)
        .map_init(Scratch::default, |scratch, pictures| {
            let size = geometry.picture_in();
            let (at, len) = if wanted.dx {
                (pictures.start * size, pictures.len() * size)
            } else {
                (0, 0)
            };
            // SAFETY: runs of pictures do not overlap.
            let dx = unsafe { shared.slice(at, len) };
            backward_run(geometry, x, &w_t, dy, pictures, wanted, scratch, dx)
        })
        .collect();
    let dw = add_parts(parts).map_or_else(Vec::new, |dw_t| transposed(&dw_t, taps, c_out));
    ConvGradients {
        dx,
        dw: if wanted.dw { dw } else { Vec::new() },
        db,
    }
}

/// Writes `dx` of a run of pictures and returns their part of the weight gradient, transposed: `[taps, c_out]`.
fn backward_run<T: Real>(
    geometry: &Geometry,
    x: &[T],
    w_t: &[T],
    dy: &[T],
    pictures: Range<usize>,
    wanted: Wanted,
    scratch: &mut Scratch<T>,
    dx: &mut [T],
) -> Vec<T> {
    let (c_out, taps, size) = (geometry.c_out, geometry.taps(), geometry.picture_in());
    let mut dw_t = vec![T::zero(); if wanted.dw { taps * c_out } else { 0 }];
    dx.fill(T::zero());
    for strip in strips(geometry.h_out, geometry.w_out, pictures.clone(), STRIP) {
        let n_cols = strip.n_cols;
        let d_out = grown(&mut scratch.outputs, c_out * n_cols);
        gather(geometry, dy, &strip, d_out);
        let d_out = &*d_out;
        if wanted.dw {
            let columns = columns(geometry, x, &strip, &mut scratch.columns);
            let dst = MatMut::new(&mut dw_t, taps, c_out);
            gemm(
                Threads::One,
                dst,
                true,
                T::one(),
                columns,
                Mat::new(d_out, c_out, n_cols).t(),
            );
        }
        if wanted.dx {
            let d_col = grown(&mut scratch.columns, taps * n_cols);
            let dst = MatMut::new(d_col, taps, n_cols);
            gemm(
                Threads::One,
                dst,
                false,
                T::one(),
                Mat::new(w_t, taps, c_out),
                Mat::new(d_out, c_out, n_cols),
            );
            for segment in &strip.segments {
                let picture = &mut dx[(segment.picture - pictures.start) * size..][..size];
                geometry.col2im(d_col, segment.rows.clone(), picture, segment.at, n_cols);
            }
        }
    }
    dw_t
}

/// Copies a strip's pixels of `y` `[n, c_out, h_out, w_out]` into `out` `[c_out, n_cols]`.
fn gather<T: Real>(geometry: &Geometry, y: &[T], strip: &Strip, out: &mut [T]) {
    for segment in &strip.segments {
        let n = segment.rows.len() * geometry.w_out;
        for (c, out) in out.chunks_exact_mut(strip.n_cols).enumerate() {
            let at = (segment.picture * geometry.c_out + c) * geometry.pixels_out()
                + segment.rows.start * geometry.w_out;
            out[segment.at..][..n].copy_from_slice(&y[at..at + n]);
        }
    }
}

fn transposed<T: Real>(x: &[T], rows: usize, columns: usize) -> Vec<T> {
    let mut y = uninit(x.len());
    super::pool::transpose_each(x, rows, columns, &mut y);
    y
}

/// Sum of `dy` over pictures and pixels, per channel; pictures in order.
fn bias_gradient<T: Real>(geometry: &Geometry, dy: &[T]) -> Vec<T> {
    let sums: Vec<T> = dy.par_chunks(geometry.pixels_out()).map(sum).collect();
    let mut db = vec![T::zero(); geometry.c_out];
    for picture in sums.chunks_exact(geometry.c_out) {
        add_into(&mut db, picture);
    }
    db
}

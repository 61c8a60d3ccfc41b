//! 3x3 convolution with stride 1 and padding 1 by Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray 2016).
//!
//! Tiles of 2x2 outputs are computed from transformed 4x4 inputs with 16 multiplications per channel pair instead of 36. The
//! transforms only add, subtract and halve, so the error stays that of a plain sum. Per strip of tiles: transform the inputs of all
//! channels, 16 products of `[c_out, c_in]` with `[c_in, n_tiles]`, transform back. The gradient of the input is the same
//! computation with the kernel turned round; that of the weight uses the transposed transforms.

mod transform;

use crate::gemm::{Mat, MatMut, Threads, gemm};
use crate::glue::uninit;
use crate::kernels::conv::{Wanted, grown, picture_runs};
use crate::kernels::im2col::{Geometry, Strip, strips};
use crate::kernels::shared::Shared;
use crate::real::{Real, add_parts};
use rayon::prelude::*;
use std::ops::Range;
use transform::{N_POINTS, Plane};

/// Tiles of a strip: what the transformed inputs and outputs of 64 channels keep in the second-level cache.
const STRIP: usize = 64;

/// Elements between the 16 matrices of a stack beyond their size: keeps them from competing for the same cache lines.
const GAP: usize = 16;

/// Whether the convolution has the shape this module computes, and is large enough to gain from it.
pub fn fits(geometry: &Geometry) -> bool {
    let shape = (geometry.kernel, geometry.stride, geometry.pad) == ([3, 3], 1, [1, 1]);
    shape && geometry.c_in.min(geometry.c_out) >= 16 && geometry.h.min(geometry.w) >= 4
}

/// Sixteen matrices `[n_rows, n_cols]`, one per point of the transformed tile.
struct Stack<'a, T> {
    data: &'a mut [T],
    n_rows: usize,
    n_cols: usize,
}

impl<'a, T: Real> Stack<'a, T> {
    fn new(buffer: &'a mut Vec<T>, n_rows: usize, n_cols: usize) -> Self {
        Self {
            data: grown(buffer, N_POINTS * (n_rows * n_cols + GAP)),
            n_rows,
            n_cols,
        }
    }

    /// Elements from one matrix to the next.
    fn stride(&self) -> usize {
        self.n_rows * self.n_cols + GAP
    }

    fn matrix(&self, point: usize) -> Mat<'_, T> {
        Mat::new(
            &self.data[point * self.stride()..],
            self.n_rows,
            self.n_cols,
        )
    }

    fn matrix_mut(&mut self, point: usize) -> MatMut<'_, T> {
        let from = point * self.stride();
        MatMut::new(&mut self.data[from..], self.n_rows, self.n_cols)
    }

    /// The stack from element `(row, col)` of its first matrix on.
    fn from(&mut self, row: usize, col: usize) -> &mut [T] {
        &mut self.data[row * self.n_cols + col..]
    }
}

/// Transformed kernels, 16 matrices `[c_out, c_in]` without gaps.
struct Kernels<T> {
    points: Vec<T>,
    c_out: usize,
    c_in: usize,
}

impl<T: Real> Kernels<T> {
    /// Kernels of the convolution itself, from `w` `[c_out, c_in, 3, 3]`.
    fn forward(w: &[T], c_out: usize, c_in: usize) -> Self {
        Self::new(w, c_out, c_in, |c_out_at, c_in_at| {
            (c_out_at * c_in + c_in_at, false)
        })
    }

    /// Kernels of the convolution that takes the output's gradient to the input's: channels exchanged, kernels turned round.
    fn backward(w: &[T], c_out: usize, c_in: usize) -> Self {
        Self::new(w, c_in, c_out, |c_in_at, c_out_at| {
            (c_out_at * c_in + c_in_at, true)
        })
    }

    fn new(
        w: &[T],
        c_out: usize,
        c_in: usize,
        place: impl Fn(usize, usize) -> (usize, bool) + Sync,
    ) -> Self {
        let size = c_out * c_in;
        let mut points = uninit(N_POINTS * size);
        let shared = Shared::new(&mut points);
        (0..c_out).into_par_iter().with_min_len(8).for_each(|row| {
            for column in 0..c_in {
                let (at, turned) = place(row, column);
                let mut kernel: [T; 9] = w[at * 9..][..9].try_into().expect("nine elements");
                if turned {
                    kernel.reverse();
                }
                for (point, value) in transform::kernel(&kernel).into_iter().enumerate() {
                    // SAFETY: this row of every matrix is this task's alone.
                    unsafe { *shared.at(point * size + row * c_in + column) = value };
                }
            }
        });
        Self {
            points,
            c_out,
            c_in,
        }
    }

    fn matrix(&self, point: usize) -> Mat<'_, T> {
        let size = self.c_out * self.c_in;
        Mat::new(&self.points[point * size..][..size], self.c_out, self.c_in)
    }
}

/// Buffers of one thread, grown on demand.
#[derive(Default)]
struct Scratch<T> {
    inputs: Vec<T>,
    outputs: Vec<T>,
    rows: Vec<T>,
}

/// [`super::conv::conv2d`] for shapes that [`fits`]. Panics when the sizes do not fit.
pub fn conv2d<T: Real>(geometry: &Geometry, x: &[T], w: &[T], b: Option<&[T]>, y: &mut [T]) {
    let kernels = Kernels::forward(w, geometry.c_out, geometry.c_in);
    convolve(geometry, x, &kernels, b, y);
}

fn plane(geometry: &Geometry) -> Plane {
    Plane {
        h: geometry.h,
        w: geometry.w,
    }
}

/// Convolves `x` `[n, kernels.c_in, h, w]` into `y` `[n, kernels.c_out, h, w]`, parallel over strips.
fn convolve<T: Real>(
    geometry: &Geometry,
    x: &[T],
    kernels: &Kernels<T>,
    b: Option<&[T]>,
    y: &mut [T],
) {
    let plane = plane(geometry);
    let y = Shared::new(y);
    let strips = strips(
        plane.tile_rows(),
        plane.tile_columns(),
        0..geometry.n,
        STRIP,
    );
    strips
        .par_iter()
        .for_each_init(Scratch::default, |scratch, strip| {
            let mut inputs = Stack::new(&mut scratch.inputs, kernels.c_in, strip.n_cols);
            each_plane(strip, kernels.c_in, |segment, c, picture_plane| {
                let pixels = &x[picture_plane * plane.size()..][..plane.size()];
                let stride = inputs.stride();
                plane.input(
                    pixels,
                    segment.rows.clone(),
                    &mut scratch.rows,
                    inputs.from(c, segment.at),
                    stride,
                );
            });
            let mut outputs = Stack::new(&mut scratch.outputs, kernels.c_out, strip.n_cols);
            for point in 0..N_POINTS {
                let dst = outputs.matrix_mut(point);
                gemm(
                    Threads::One,
                    dst,
                    false,
                    T::one(),
                    kernels.matrix(point),
                    inputs.matrix(point),
                );
            }
            each_plane(strip, kernels.c_out, |segment, c, picture_plane| {
                let rows = plane.pixel_rows(&segment.rows);
                // SAFETY: strips cover every tile once, so these rows of the plane are this task's alone.
                let pixels = unsafe {
                    y.slice(
                        picture_plane * plane.size() + rows.start * plane.w,
                        rows.len() * plane.w,
                    )
                };
                let stride = outputs.stride();
                let bias = b.map_or(T::zero(), |b| b[c]);
                plane.output(
                    outputs.from(c, segment.at),
                    stride,
                    segment.rows.clone(),
                    bias,
                    &mut scratch.rows,
                    pixels,
                );
            });
        });
}

/// Calls `f(segment, channel, index of the plane in the batch)` for every plane of `n_channels` that a strip touches.
fn each_plane(
    strip: &Strip,
    n_channels: usize,
    mut f: impl FnMut(&crate::kernels::im2col::Segment, usize, usize),
) {
    for segment in &strip.segments {
        for c in 0..n_channels {
            f(segment, c, segment.picture * n_channels + c);
        }
    }
}

/// Gradients of [`conv2d`] of input and weight, from that of its result; empty where not wanted.
pub fn conv2d_backward<T: Real>(
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    dy: &[T],
    wanted: Wanted,
) -> (Vec<T>, Vec<T>) {
    let mut dx = Vec::new();
    if wanted.dx {
        dx = uninit(x.len());
        let kernels = Kernels::backward(w, geometry.c_out, geometry.c_in);
        convolve(geometry, dy, &kernels, None, &mut dx);
    }
    let dw = if wanted.dw {
        weight_gradient(geometry, x, dy)
    } else {
        Vec::new()
    };
    (dx, dw)
}

/// Gradient of the weight, `[c_out, c_in, 3, 3]`: runs of pictures in parallel, added in order.
fn weight_gradient<T: Real>(geometry: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let runs = picture_runs(geometry).into_par_iter().with_max_len(1);
    let parts: Vec<Vec<T>> = runs
        .map_init(Scratch::default, |scratch, run| {
            weight_gradient_run(geometry, x, dy, run, scratch)
        })
        .collect();
    let size = geometry.c_in * geometry.c_out;
    let points = add_parts(parts).unwrap_or_else(|| vec![T::zero(); N_POINTS * size]);
    let mut dw = uninit(9 * size);
    dw.par_chunks_mut(9 * geometry.c_in)
        .enumerate()
        .for_each(|(c_out, dw)| {
            for (c_in, dw) in dw.chunks_exact_mut(9).enumerate() {
                let at = c_in * geometry.c_out + c_out;
                dw.copy_from_slice(&transform::kernel_gradient(&std::array::from_fn(|point| {
                    points[point * size + at]
                })));
            }
        });
    dw
}

/// One run's part of the gradient of the transformed kernels, 16 matrices `[c_in, c_out]`.
fn weight_gradient_run<T: Real>(
    geometry: &Geometry,
    x: &[T],
    dy: &[T],
    pictures: Range<usize>,
    scratch: &mut Scratch<T>,
) -> Vec<T> {
    let (plane, c_in, c_out) = (plane(geometry), geometry.c_in, geometry.c_out);
    let mut sums = vec![T::zero(); N_POINTS * c_in * c_out];
    for strip in strips(plane.tile_rows(), plane.tile_columns(), pictures, STRIP) {
        let mut inputs = Stack::new(&mut scratch.inputs, c_in, strip.n_cols);
        each_plane(&strip, c_in, |segment, c, picture_plane| {
            let pixels = &x[picture_plane * plane.size()..][..plane.size()];
            let stride = inputs.stride();
            plane.input(
                pixels,
                segment.rows.clone(),
                &mut scratch.rows,
                inputs.from(c, segment.at),
                stride,
            );
        });
        let mut outputs = Stack::new(&mut scratch.outputs, c_out, strip.n_cols);
        each_plane(&strip, c_out, |segment, c, picture_plane| {
            let pixels = &dy[picture_plane * plane.size()..][..plane.size()];
            let stride = outputs.stride();
            plane.output_gradient(
                pixels,
                segment.rows.clone(),
                &mut scratch.rows,
                outputs.from(c, segment.at),
                stride,
            );
        });
        for (point, sums) in sums.chunks_exact_mut(c_in * c_out).enumerate() {
            let dst = MatMut::new(sums, c_in, c_out);
            gemm(
                Threads::One,
                dst,
                true,
                T::one(),
                inputs.matrix(point),
                outputs.matrix(point).t(),
            );
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: u64) -> Vec<f64> {
        let mut stream = m6_store::rng::Key::new(seed).stream();
        (0..n).map(|_| stream.normal()).collect()
    }

    /// `y` and, from an upstream gradient, `dx` and `dw`, straight from the definition.
    fn direct(g: &Geometry, x: &[f64], w: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let (mut y, mut dx, mut dw) = (vec![0.0; dy.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
        for (n, o, i) in (0..g.n * g.c_out * g.c_in)
            .map(|e| (e / g.c_in / g.c_out, e / g.c_in % g.c_out, e % g.c_in))
        {
            for (at, tap) in (0..g.h * g.w).flat_map(|at| (0..9).map(move |tap| (at, tap))) {
                let (row, column) = (at / g.w + tap / 3, at % g.w + tap % 3);
                if (1..=g.h).contains(&row) && (1..=g.w).contains(&column) {
                    let from = ((n * g.c_in + i) * g.h + row - 1) * g.w + column - 1;
                    let (to, weight) = (
                        (n * g.c_out + o) * g.h * g.w + at,
                        (o * g.c_in + i) * 9 + tap,
                    );
                    y[to] += w[weight] * x[from];
                    dx[from] += w[weight] * dy[to];
                    dw[weight] += x[from] * dy[to];
                }
            }
        }
        (y, dx, dw)
    }

    #[test]
    fn equals_the_definition_for_even_odd_and_tiny_planes() {
        for (n, h, w) in [(2, 8, 6), (1, 5, 7), (3, 4, 4), (2, 9, 34)] {
            let g = Geometry::new(&[n, 17, h, w], &[16, 17, 3, 3], 1, [1, 1]).unwrap();
            assert!(fits(&g));
            let x = numbers(n * g.picture_in(), 1);
            let weight = numbers(16 * g.taps(), 2);
            let dy = numbers(n * g.picture_out(), 3);
            let mut y = vec![f64::NAN; dy.len()];
            conv2d(&g, &x, &weight, None, &mut y);
            let (dx, dw) = conv2d_backward(
                &g,
                &x,
                &weight,
                &dy,
                Wanted {
                    dx: true,
                    dw: true,
                    db: false,
                },
            );
            let want = direct(&g, &x, &weight, &dy);
            for (what, got, want) in [("y", y, want.0), ("dx", dx, want.1), ("dw", dw, want.2)] {
                let worst = got
                    .iter()
                    .zip(&want)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f64::max);
                assert!(
                    worst < 1e-11,
                    "{what} of {n} pictures {h}x{w} is off by {worst:e}"
                );
            }
        }
    }
}

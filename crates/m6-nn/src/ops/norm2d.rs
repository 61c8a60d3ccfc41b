//! Normalisation, pooling and rearrangement of feature maps.

use super::composed2d;
use crate::by_dtype;
use crate::error::{Error, Result};
use crate::glue::{self, CHUNK, expect_dtype, expect_shape, is_fused, uninit, view};
use crate::kernels::group_norm::{
    Groups, group_norm as norm_forward, group_norm_backward as norm_backward,
};
use crate::kernels::pool::{self, Window};
use crate::ops::tape;
use crate::param::Param;
use crate::real::{Real, sum};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};
use rayon::prelude::*;
use std::marker::PhantomData;

/// `silu(group_norm(x) * w + b)` for `x` `[n, c, h, w]` and `w`, `b` `[c]`, with `n_groups` groups of adjacent channels.
///
/// # Errors
/// When the shapes do not fit or `c` is no multiple of `n_groups`.
pub fn group_norm_silu(
    x: &Tensor,
    w: &Param,
    b: &Param,
    n_groups: usize,
    eps: f64,
) -> Result<Tensor> {
    normalise("group_norm_silu", x, [w, b], n_groups, eps, true)
}

/// [`group_norm_silu`] without the SiLU, as stands before attention over a feature map.
///
/// # Errors
/// As [`group_norm_silu`].
pub fn group_norm(x: &Tensor, w: &Param, b: &Param, n_groups: usize, eps: f64) -> Result<Tensor> {
    normalise("group_norm", x, [w, b], n_groups, eps, false)
}

fn normalise(
    op: &'static str,
    x: &Tensor,
    [w, b]: [&Param; 2],
    n_groups: usize,
    eps: f64,
    silu: bool,
) -> Result<Tensor> {
    let [_, c, height, width] = dims4(op, x)?;
    if n_groups == 0 || !c.is_multiple_of(n_groups) {
        let what = format!("{c} channels do not divide into {n_groups} groups");
        return Err(Error::Value { op, what });
    }
    for param in [w, b] {
        expect_shape(op, param.name(), param.var(), &[c])?;
        expect_dtype(param.name(), param.var(), x)?;
    }
    if !is_fused(x) {
        return composed2d::group_norm(x, &w.tensor(), &b.tensor(), n_groups, eps, silu);
    }
    let groups = Groups {
        c,
        n_pixels: height * width,
        n_groups,
        eps,
        silu,
    };
    let x = x.contiguous()?;
    by_dtype!(x.dtype(), T => {
        let op = GroupNorm::<T> { groups, w: w.clone(), b: b.clone(), kind: PhantomData };
        tape::apply(&x, &[w, b], op)
    })
}

/// `max(x, 0)`, any shape.
///
/// # Errors
/// When the backend refuses.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    apply(x, Map::Relu, composed2d::relu)
}

/// Maximum over windows of side `k`; the padding never wins. `x` `[n, c, h, w]` gives `[n, c, h', w']`.
///
/// # Errors
/// When `x` does not have four dimensions, `k` or `stride` is 0, `pad` exceeds `k / 2`, or the window exceeds the padded picture.
pub fn max_pool2d(x: &Tensor, k: usize, stride: usize, pad: usize) -> Result<Tensor> {
    let [_, _, h, w] = dims4("max_pool2d", x)?;
    let Some(window) = Window::new(h, w, k, stride, pad) else {
        let what =
            format!("window {k}, stride {stride}, padding {pad} do not fit pictures of {h} x {w}");
        return Err(Error::Value {
            op: "max_pool2d",
            what,
        });
    };
    if !is_fused(x) {
        return composed2d::max_pool2d(x, k, stride, pad);
    }
    let x = x.contiguous()?;
    by_dtype!(x.dtype(), T => {
        Ok(x.apply_op1(MaxPool::<T> { window, places: tape::Saved::empty(), kind: PhantomData })?)
    })
}

/// Mean over the pixels of each channel: `[n, c, h, w]` to `[n, c]`.
///
/// # Errors
/// When `x` does not have four dimensions.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    dims4("global_avg_pool", x)?;
    apply(x, Map::GlobalAvgPool, composed2d::global_avg_pool)
}

/// Pixels as rows: `[n, c, h, w]` to `[n * h * w, c]`.
///
/// # Errors
/// When `x` does not have four dimensions.
pub fn nchw_to_rows(x: &Tensor) -> Result<Tensor> {
    dims4("nchw_to_rows", x)?;
    apply(x, Map::NchwToRows, composed2d::nchw_to_rows)
}

/// Nearest-neighbour upsampling by 2: `[n, c, h, w]` to `[n, c, 2 h, 2 w]`.
///
/// # Errors
/// When `x` does not have four dimensions.
pub fn up2(x: &Tensor) -> Result<Tensor> {
    dims4("up2", x)?;
    apply(x, Map::Up2, composed2d::up2)
}

fn dims4(op: &'static str, x: &Tensor) -> Result<[usize; 4]> {
    match *x.dims() {
        [n, c, h, w] if c * h * w > 0 => Ok([n, c, h, w]),
        _ => Err(Error::Shape {
            op,
            what: "x".into(),
            got: x.dims().to_vec(),
            expected: "[n, c, h, w] without zeros".into(),
        }),
    }
}

fn apply(x: &Tensor, map: Map, composed: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if !is_fused(x) {
        return composed(x);
    }
    let x = x.contiguous()?;
    by_dtype!(x.dtype(), T => Ok(x.apply_op1(Mapped::<T> { map, kind: PhantomData })?))
}

struct GroupNorm<T> {
    groups: Groups,
    w: Param,
    b: Param,
    kind: PhantomData<T>,
}

impl<T: Real> GroupNorm<T> {
    fn backward(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let dy = dy.contiguous()?;
        let (x_view, w, b) = (
            view::<T>(x)?,
            view::<T>(self.w.var())?,
            view::<T>(self.b.var())?,
        );
        let mut dx = uninit(x_view.len());
        let (dw, db) = norm_backward(&x_view, &w, &b, &view::<T>(&dy)?, &self.groups, &mut dx);
        for (param, gradient) in [(&self.w, dw), (&self.b, db)] {
            if param.is_trainable() {
                param.add_grad(&gradient)?;
            }
        }
        glue::tensor(dx, x.shape())
    }
}

impl<T: Real> CustomOp2 for GroupNorm<T> {
    fn name(&self) -> &'static str {
        "group_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = glue::slice::<T>(x, layout)?;
        let mut y = uninit(x.len());
        norm_forward(
            x,
            &view::<T>(self.w.var())?,
            &view::<T>(self.b.var())?,
            &self.groups,
            &mut y,
        );
        Ok(glue::storage(y, layout.shape()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = self.backward(x, dy)?;
        Ok((x.track_op().then_some(dx), None))
    }
}

struct MaxPool<T> {
    window: Window,
    /// Where in its plane each maximum was.
    places: tape::Saved<Vec<u32>>,
    kind: PhantomData<T>,
}

impl<T: Real> CustomOp1 for MaxPool<T> {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = glue::slice::<T>(x, layout)?;
        let shape = (
            layout.dims()[0],
            layout.dims()[1],
            self.window.h_out,
            self.window.w_out,
        );
        let n = shape.0 * shape.1 * shape.2 * shape.3;
        let (mut y, mut places) = (uninit(n), vec![0; n]);
        pool::max_pool(x, &self.window, &mut y, &mut places);
        self.places.put(places);
        Ok(glue::storage(y, shape))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let mut dx = uninit(x.elem_count());
        let places = self.places.take("max_pool2d")?;
        pool::max_pool_backward(&view::<T>(&dy)?, &self.window, &places, &mut dx);
        Ok(Some(glue::tensor(dx, x.shape())?))
    }
}

/// Operators of one argument that need nothing but its shape.
#[derive(Clone, Copy)]
enum Map {
    Relu,
    GlobalAvgPool,
    NchwToRows,
    Up2,
}

impl Map {
    fn out_shape(self, x: &[usize]) -> Shape {
        match (self, x) {
            (Map::GlobalAvgPool, [n, c, ..]) => Shape::from((*n, *c)),
            (Map::NchwToRows, [n, c, h, w]) => Shape::from((n * h * w, *c)),
            (Map::Up2, [n, c, h, w]) => Shape::from((*n, *c, 2 * h, 2 * w)),
            _ => Shape::from(x),
        }
    }

    fn forward<T: Real>(self, dims: &[usize], x: &[T], y: &mut [T]) {
        match (self, dims) {
            (Map::GlobalAvgPool, [_, _, h, w]) => {
                let share = T::one() / T::number((h * w) as f64);
                y.par_iter_mut()
                    .zip(x.par_chunks(h * w))
                    .for_each(|(y, x)| *y = sum(x) * share);
            }
            (Map::NchwToRows, [_, c, h, w]) => pool::transpose_each(x, *c, h * w, y),
            (Map::Up2, [_, _, _, w]) => pool::up2(x, *w, y),
            _ => y
                .par_chunks_mut(CHUNK)
                .zip(x.par_chunks(CHUNK))
                .for_each(|(y, x)| {
                    for (y, x) in y.iter_mut().zip(x) {
                        // Written so that NaN stays NaN.
                        *y = if *x < T::zero() { T::zero() } else { *x };
                    }
                }),
        }
    }

    fn backward<T: Real>(self, dims: &[usize], x: &[T], dy: &[T], dx: &mut [T]) {
        match (self, dims) {
            (Map::GlobalAvgPool, [_, _, h, w]) => {
                let share = T::one() / T::number((h * w) as f64);
                dx.par_chunks_mut(h * w)
                    .zip(dy)
                    .for_each(|(dx, dy)| dx.fill(*dy * share));
            }
            (Map::NchwToRows, [_, c, h, w]) => pool::transpose_each(dy, h * w, *c, dx),
            (Map::Up2, [_, _, _, w]) => pool::up2_backward(dy, *w, dx),
            _ => dx
                .par_chunks_mut(CHUNK)
                .zip(x.par_chunks(CHUNK))
                .zip(dy.par_chunks(CHUNK))
                .for_each(|((dx, x), dy)| {
                    for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                        *dx = if *x > T::zero() { *dy } else { T::zero() };
                    }
                }),
        }
    }
}

struct Mapped<T> {
    map: Map,
    kind: PhantomData<T>,
}

impl<T: Real> CustomOp1 for Mapped<T> {
    fn name(&self) -> &'static str {
        match self.map {
            Map::Relu => "relu",
            Map::GlobalAvgPool => "global_avg_pool",
            Map::NchwToRows => "nchw_to_rows",
            Map::Up2 => "up2",
        }
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let shape = self.map.out_shape(layout.dims());
        let mut y = uninit::<T>(shape.elem_count());
        self.map
            .forward(layout.dims(), glue::slice(x, layout)?, &mut y);
        Ok(glue::storage(y, shape))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let mut dx = uninit::<T>(x.elem_count());
        self.map.backward(x.dims(), &view(x)?, &view(&dy)?, &mut dx);
        Ok(Some(glue::tensor(dx, x.shape())?))
    }
}

//! Two-dimensional convolution as an operator on tensors.

use super::composed2d;
use crate::by_dtype;
use crate::error::Result;
use crate::glue::{self, expect_dtype, expect_shape, is_fused, uninit, view};
use crate::kernels::conv::{ConvGradients, Wanted, conv2d as forward, conv2d_backward};
use crate::kernels::im2col::Geometry;
use crate::param::Param;
use crate::real::Real;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};
use std::marker::PhantomData;

/// Convolution of `x` `[n, c_in, h, w]` with `w` `[c_out, c_in, k_h, k_w]` plus `b` `[c_out]`, to `[n, c_out, h', w']` with
/// `h' = (h + 2 pad - k_h) / stride + 1`. Gradients of `w` and `b` go to their own buffers.
///
/// # Errors
/// When shapes or number types do not fit, the stride is 0, or the kernel is larger than the padded picture.
pub fn conv2d(
    x: &Tensor,
    w: &Param,
    b: Option<&Param>,
    stride: usize,
    pad: usize,
) -> Result<Tensor> {
    let weight = w.tensor();
    let pad = [pad, pad];
    let geometry = check(x, &weight, stride, pad)?;
    let bias = b.map(Param::tensor);
    if let Some(bias) = &bias {
        expect_shape("conv2d", "bias", bias, &[geometry.c_out])?;
        expect_dtype("bias of conv2d", bias, x)?;
    }
    if !is_fused(x) {
        return composed2d::conv2d(x, &weight, bias.as_ref(), stride, pad);
    }
    run(
        x,
        &weight,
        bias.as_ref(),
        geometry,
        Some((w.clone(), b.cloned())),
    )
}

/// [`conv2d`] with a weight and a bias that are themselves computed (batch normalisation folded in), their gradients going on through
/// the tape, and with `pad` zeros above and below, and left and right.
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_t(
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    stride: usize,
    pad: [usize; 2],
) -> Result<Tensor> {
    let geometry = check(x, w, stride, pad)?;
    if let Some(b) = b {
        expect_shape("conv2d", "bias", b, &[geometry.c_out])?;
        expect_dtype("bias of conv2d", b, x)?;
    }
    if !is_fused(x) {
        return composed2d::conv2d(x, w, b, stride, pad);
    }
    run(x, w, b, geometry, None)
}

fn check(x: &Tensor, w: &Tensor, stride: usize, pad: [usize; 2]) -> Result<Geometry> {
    expect_dtype("weight of conv2d", w, x)?;
    Geometry::new(x.dims(), w.dims(), stride, pad)
}

/// Parameters of weight and bias that take the gradients.
type Sinks = (Param, Option<Param>);

fn run(
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    geometry: Geometry,
    sinks: Option<Sinks>,
) -> Result<Tensor> {
    let (x, w) = (x.contiguous()?, w.contiguous()?);
    by_dtype!(x.dtype(), T => {
        let op = Conv::<T> { geometry, sinks, kind: PhantomData };
        match b {
            Some(b) => Ok(x.apply_op3(&w, &b.contiguous()?, op)?),
            None => Ok(x.apply_op2(&w, op)?),
        }
    })
}

struct Conv<T> {
    geometry: Geometry,
    /// Where the gradients of weight and bias go; `None` sends them through the tape.
    sinks: Option<Sinks>,
    kind: PhantomData<T>,
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl<T: Real> Conv<T> {
    fn forward(&self, x: &[T], w: &[T], b: Option<&[T]>) -> (CpuStorage, Shape) {
        let g = &self.geometry;
        let mut y = uninit(g.n * g.picture_out());
        forward(g, x, w, b, &mut y);
        glue::storage(y, (g.n, g.c_out, g.h_out, g.w_out))
    }

    fn backward(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<Gradients> {
        let dy = dy.contiguous()?;
        let b = b.filter(|b| b.track_op());
        let wanted = Wanted {
            dx: x.track_op(),
            dw: w.track_op(),
            db: b.is_some(),
        };
        let (x_view, w_view, dy_view) = (view::<T>(x)?, view::<T>(w)?, view::<T>(&dy)?);
        let ConvGradients { dx, dw, db } =
            conv2d_backward(&self.geometry, &x_view, &w_view, &dy_view, wanted);
        let on_tape = |values: Vec<T>, like: &Tensor, wanted: bool| {
            wanted
                .then(|| glue::tensor(values, like.shape()))
                .transpose()
        };
        let dx = on_tape(dx, x, wanted.dx)?;
        let Some((w_param, b_param)) = &self.sinks else {
            let db = b.map(|b| glue::tensor(db, b.shape())).transpose()?;
            return Ok((dx, on_tape(dw, w, wanted.dw)?, db));
        };
        if wanted.dw {
            w_param.add_grad(&dw)?;
        }
        if let (Some(param), true) = (b_param, wanted.db) {
            param.add_grad(&db)?;
        }
        Ok((dx, None, None))
    }
}

impl<T: Real> CustomOp2 for Conv<T> {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(self.forward(glue::slice(x, x_layout)?, glue::slice(w, w_layout)?, None))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dw, _) = self.backward(x, w, None, dy)?;
        Ok((dx, dw))
    }
}

impl<T: Real> CustomOp3 for Conv<T> {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let bias = glue::slice(b, b_layout)?;
        Ok(self.forward(
            glue::slice(x, x_layout)?,
            glue::slice(w, w_layout)?,
            Some(bias),
        ))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<Gradients> {
        Ok(self.backward(x, w, Some(b), dy)?)
    }
}

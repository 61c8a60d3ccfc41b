//! Linear map with bias and activation.

pub use crate::kernels::linear::Act;

use super::composed;
use super::tape::{Saved, apply, wants_grad};
use crate::by_dtype;
use crate::error::{Error, Result};
use crate::gemm::{Mat, matmul};
use crate::glue::{self, View, is_fused, uninit, view};
use crate::kernels::linear as kernel;
use crate::param::Param;
use crate::real::Real;
use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

/// `act(x w^T + b)`: `x [.., k]`, `w [o, k]`, `b [o]` give `[.., o]`. Of weights held in part, sizes are those of the part.
///
/// Errors if the shapes do not fit or the number types differ.
pub fn linear(x: &Tensor, w: &Param, b: Option<&Param>, act: Act) -> Result<Tensor> {
    check(x, w, b)?;
    if !is_fused(x) {
        return composed::linear(x, w, b, act);
    }
    let x = x.contiguous()?;
    by_dtype!(x.dtype(), T => run::<T>(&x, w, b, act))
}

fn check(x: &Tensor, w: &Param, b: Option<&Param>) -> Result<()> {
    let (_, k) = glue::rows_of("linear", "x", x)?;
    let held = w.held();
    let &[o, w_k] = held.shape() else {
        return Err(shape_error(w.name(), held.shape(), "[o, k]".into()));
    };
    if w_k != k {
        return Err(shape_error(
            w.name(),
            held.shape(),
            format!("[o, {k}], as x is {:?}", x.dims()),
        ));
    }
    glue::expect_dtype(w.name(), w.var(), x)?;
    if let Some(b) = b {
        let held = b.held();
        if held.shape() != [o] {
            return Err(shape_error(b.name(), held.shape(), format!("[{o}]")));
        }
        glue::expect_dtype(b.name(), b.var(), x)?;
    }
    Ok(())
}

/// Rows and columns of the weights that are here.
fn sizes(w: &Param) -> Result<(usize, usize)> {
    match *w.held().shape() {
        [o, k] => Ok((o, k)),
        ref other => Err(shape_error(w.name(), other, "[o, k]".into())),
    }
}

fn shape_error(what: &str, got: &[usize], expected: String) -> Error {
    Error::Shape {
        op: "linear",
        what: what.into(),
        got: got.to_vec(),
        expected,
    }
}

fn run<T: Real>(x: &Tensor, w: &Param, b: Option<&Param>, act: Act) -> Result<Tensor> {
    let params: Vec<&Param> = std::iter::once(w).chain(b).collect();
    let op = Linear::<T> {
        w: w.clone(),
        b: b.cloned(),
        act,
        save: wants_grad(x, &params),
        pre_activation: Saved::empty(),
    };
    apply(x, &params, op)
}

struct Linear<T> {
    w: Param,
    b: Option<Param>,
    act: Act,
    save: bool,
    /// Only for GELU, whose slope cannot be told from its result.
    pre_activation: Saved<Vec<T>>,
}

impl<T: Real> Linear<T> {
    fn forward(&self, x: &[T], n: usize, k: usize, o: usize) -> Result<Vec<T>> {
        let w = self.w.view::<T>()?;
        let b: Option<View<'_, T>> = self.b.as_ref().map(Param::view).transpose()?;
        if self.act == Act::Gelu && self.save {
            let mut u = kernel::affine(x, &w, None, n, k, o);
            let y = kernel::bias_gelu(&mut u, b.as_deref(), o);
            self.pre_activation.put(u);
            return Ok(y);
        }
        let mut y = kernel::affine(x, &w, b.as_deref(), n, k, o);
        kernel::activate_in_place(self.act, &mut y);
        Ok(y)
    }

    /// Adds the weight gradients to their parameters; returns that of `x` if it is wanted.
    fn backward(&self, x: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let grad = view::<T>(&grad)?;
        let du;
        let du: &[T] = match self.act {
            Act::None => &grad,
            Act::Relu => {
                du = kernel::relu_grad(&view::<T>(y)?, &grad);
                &du
            }
            Act::Gelu => {
                let mut u = self.pre_activation.take("linear")?;
                kernel::gelu_grad_in_place(&mut u, &grad);
                du = u;
                &du
            }
        };
        let (o, k) = sizes(&self.w)?;
        let (n, _) = glue::rows_of("linear", "x", x)?;
        if self.w.is_trainable() {
            let x = view::<T>(x)?;
            let (du, x) = (Mat::new(du, n, o), Mat::new(&x, n, k));
            self.w
                .accumulate(|dw: &mut [T], filled| matmul(dw, filled, du.t(), x))?;
        }
        if let Some(b) = self.b.as_ref().filter(|b| b.is_trainable()) {
            b.add_grad(&kernel::column_sums(du, o))?;
        }
        if !x.track_op() {
            return Ok(None);
        }
        let w = self.w.view::<T>()?;
        let mut dx = uninit(n * k);
        matmul(&mut dx, false, Mat::new(du, n, o), Mat::new(&w, o, k));
        Ok(Some(glue::tensor(dx, x.shape())?))
    }
}

impl<T: Real> CustomOp2 for Linear<T> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (o, k) = sizes(&self.w)?;
        let x = glue::slice::<T>(x, layout)?;
        let mut dims = layout.dims().to_vec();
        let n = dims[..dims.len() - 1].iter().product();
        *dims.last_mut().expect("checked to have a dimension") = o;
        Ok(glue::storage(self.forward(x, n, k, o)?, dims))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((self.backward(x, y, grad)?, None))
    }
}

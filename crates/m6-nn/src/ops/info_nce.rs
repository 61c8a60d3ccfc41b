//! The contrastive loss of pairs as an operator.

use super::composed;
use super::tape::{Saved, anchor};
use crate::by_dtype;
use crate::error::{Error, Result};
use crate::glue::{self, is_fused, view};
use crate::kernels::info_nce as kernel;
use crate::param::Param;
use crate::real::Real;
use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};
use rayon::prelude::*;

/// InfoNCE in both directions (CLIP's loss) of `p [k, e]` and `t [k, e]`, whose equal rows belong together.
///
/// Rows are normalised, cosines are multiplied by `exp(log_scale)` (`[1]`, cut at 100), and each row tells its partner among all rows of
/// the other side, except other rows of its own group (`groups [k]`). Gives the scalar `sum_i weights[i] * nll[i]` and `nll [2 k]`, in
/// nats: rows of `p` first, then rows of `t`.
///
/// # Errors
/// Shapes or lengths that do not fit.
pub fn info_nce(
    p: &Tensor,
    t: &Tensor,
    log_scale: &Param,
    groups: &[u32],
    weights: &[f32],
) -> Result<(Tensor, Vec<f32>)> {
    let (k, _) = p.dims2()?;
    glue::expect_shape("info_nce", "t", t, p.dims())?;
    glue::expect_dtype("t", t, p)?;
    glue::expect_shape("info_nce", log_scale.name(), log_scale.var(), &[1])?;
    glue::expect_dtype(log_scale.name(), log_scale.var(), p)?;
    if groups.len() != k || weights.len() != 2 * k || k == 0 {
        let what = format!(
            "{k} pairs with {} groups and {} weights; expected at least one pair, as many groups and twice as many weights",
            groups.len(),
            weights.len()
        );
        return Err(Error::Value {
            op: "info_nce",
            what,
        });
    }
    if !is_fused(p) {
        return composed::info_nce(p, t, log_scale, groups, weights);
    }
    let (p, t) = (p.contiguous()?, t.contiguous()?);
    by_dtype!(p.dtype(), T => run::<T>(&p, &t, log_scale, groups, weights))
}

fn run<T: Real>(
    p: &Tensor,
    t: &Tensor,
    log_scale: &Param,
    groups: &[u32],
    weights: &[f32],
) -> Result<(Tensor, Vec<f32>)> {
    let (_, e) = p.dims2()?;
    let result = {
        let (p, t) = (view::<T>(p)?, view::<T>(t)?);
        let log_scale = view::<T>(log_scale.var())?[0];
        let problem = kernel::InfoNce {
            p: &p,
            t: &t,
            log_scale,
            groups,
            weights,
            e,
        };
        problem.run()
    };
    let nll = result.nll.clone();
    let op = InfoNce {
        log_scale: log_scale.clone(),
        loss: result.loss,
        grads: Saved::new(result),
    };
    Ok((p.apply_op3(t, &anchor(&[log_scale]), op)?, nll))
}

struct InfoNce<T> {
    log_scale: Param,
    loss: T,
    grads: Saved<kernel::InfoNceResult<T>>,
}

impl<T: Real> InfoNce<T> {
    fn backward(
        &self,
        p: &Tensor,
        t: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let scale = view::<T>(grad)?[0];
        let grads = self.grads.take("info_nce")?;
        if self.log_scale.is_trainable() {
            self.log_scale.give_grad(vec![grads.dlog_scale], scale)?;
        }
        let side = |x: &Tensor, mut dx: Vec<T>| -> Result<Option<Tensor>> {
            if !x.track_op() {
                return Ok(None);
            }
            dx.par_chunks_mut(glue::CHUNK)
                .for_each(|chunk| chunk.iter_mut().for_each(|v| *v *= scale));
            Ok(Some(glue::tensor(dx, x.shape())?))
        };
        Ok((side(p, grads.dp)?, side(t, grads.dt)?))
    }
}

impl<T: Real> CustomOp3 for InfoNce<T> {
    fn name(&self) -> &'static str {
        "info_nce"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(glue::storage(vec![self.loss], ()))
    }

    fn bwd(
        &self,
        p: &Tensor,
        t: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dp, dt) = self.backward(p, t, grad)?;
        Ok((dp, dt, None))
    }
}

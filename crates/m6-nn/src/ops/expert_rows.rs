//! The two layers of experts over rows that are sorted by expert, and their gradients: what one process does for its own rows, and a rank for
//! the rows of all.

use crate::error::Result;
use crate::glue::View;
use crate::kernels::experts::{self as kernel, Offsets, Stack};
use crate::kernels::linear::{activate_in_place, gelu_grad_in_place};
use crate::ops::{Act, ExpertWeights};
use crate::param::Param;
use crate::real::{Real, add_into};
use std::ops::Range;

/// What the backward pass needs: before and after the activation, `[r, f]`.
pub(crate) struct Hidden<T> {
    u_rf: Vec<T>,
    a_rf: Vec<T>,
}

/// The four weights of the experts that this process has, as slices.
struct Views<'a, T> {
    up: View<'a, T>,
    up_bias: View<'a, T>,
    down: View<'a, T>,
    down_bias: View<'a, T>,
    held: Held,
}

/// Sizes of a layer, and the experts of it that this process has.
#[derive(Clone)]
pub(crate) struct Held {
    /// Width of the model.
    pub d: usize,
    /// Width inside.
    pub f: usize,
    /// The experts.
    pub experts: Range<usize>,
}

/// Of biases `[e, o]`, those of the experts that are held.
fn own<'a, T>(b_eo: &'a [T], experts: &Range<usize>, o: usize) -> &'a [T] {
    match b_eo.len() == experts.len() * o {
        true => b_eo,
        false => &b_eo[experts.start * o..experts.end * o],
    }
}

impl<T: Real> Views<'_, T> {
    fn up(&self) -> Stack<'_, T> {
        let Held { d, f, experts } = &self.held;
        Stack {
            w_eok: &self.up,
            b_eo: own(&self.up_bias, experts, *f),
            o: *f,
            k: *d,
        }
    }

    fn down(&self) -> Stack<'_, T> {
        let Held { d, f, experts } = &self.held;
        Stack {
            w_eok: &self.down,
            b_eo: own(&self.down_bias, experts, *d),
            o: *d,
            k: *f,
        }
    }
}

impl ExpertWeights {
    /// What this process has of the layer. Of matrices held in part the biases may be held so, too, or whole.
    pub(crate) fn held(&self) -> Result<Held> {
        let (_, f, d) = self.up_efd.var().dims3()?;
        let held = self.up_efd.held();
        let each = (f * d).max(1);
        let first = held.first() / each;
        Ok(Held {
            d,
            f,
            experts: first..first + held.n_elements() / each,
        })
    }

    fn views<T: Real>(&self) -> Result<Views<'_, T>> {
        Ok(Views {
            up: self.up_efd.view()?,
            up_bias: self.up_bias_ef.view()?,
            down: self.down_edf.view()?,
            down_bias: self.down_bias_ed.view()?,
            held: self.held()?,
        })
    }

    /// `W2 gelu(W1 x + b1) + b2` of every row `[r, d]`, sorted by the experts that are held; with `save`, what the backward pass needs.
    pub(crate) fn rows_forward<T: Real>(
        &self,
        x_rd: &[T],
        offsets: &Offsets,
        save: bool,
    ) -> Result<(Vec<T>, Option<Hidden<T>>)> {
        let weights = self.views()?;
        let mut u_rf = kernel::affine(x_rd, weights.up(), offsets);
        if !save {
            activate_in_place(Act::Gelu, &mut u_rf);
            return Ok((kernel::affine(&u_rf, weights.down(), offsets), None));
        }
        let a_rf = kernel::gelu(&u_rf);
        let y_rd = kernel::affine(&a_rf, weights.down(), offsets);
        Ok((y_rd, Some(Hidden { u_rf, a_rf })))
    }

    /// Adds the weight gradients to their parameters; returns that of the rows where `wants_dx`. `x_rd` makes what was read.
    pub(crate) fn rows_backward<T: Real>(
        &self,
        hidden: Hidden<T>,
        dy_rd: Vec<T>,
        x_rd: impl FnOnce() -> Result<Vec<T>>,
        offsets: &Offsets,
        wants_dx: bool,
    ) -> Result<Option<Vec<T>>> {
        let weights = self.views()?;
        let Held { d, f, experts } = weights.held.clone();
        let Hidden { mut u_rf, a_rf } = hidden;
        let down = (&self.down_edf, &self.down_bias_ed);
        grads(down, &dy_rd, &a_rf, offsets, (&experts, d, f))?;
        let da_rf = kernel::affine_grad(&dy_rd, weights.down(), offsets);
        drop((a_rf, dy_rd));
        gelu_grad_in_place(&mut u_rf, &da_rf);
        drop(da_rf);
        let up = (&self.up_efd, &self.up_bias_ef);
        grads(up, &u_rf, &x_rd()?, offsets, (&experts, f, d))?;
        Ok(wants_dx.then(|| kernel::affine_grad(&u_rf, weights.up(), offsets)))
    }
}

/// Gradients of one layer, where it learns.
fn grads<T: Real>(
    (weight, bias): (&Param, &Param),
    dy_ro: &[T],
    x_rk: &[T],
    offsets: &Offsets,
    (experts, o, k): (&Range<usize>, usize, usize),
) -> Result<()> {
    if weight.is_trainable() {
        weight.accumulate(|dw: &mut [T], filled| {
            kernel::weight_grad(dw, filled, dy_ro, x_rk, offsets, (o, k));
        })?;
    }
    if bias.is_trainable() {
        let own = kernel::bias_grad(dy_ro, offsets, o);
        if own.len() == bias.n_held() {
            return bias.add_grad(&own);
        }
        bias.accumulate(|db: &mut [T], filled| {
            if !filled {
                db.fill(T::zero());
            }
            add_into(&mut db[experts.start * o..experts.end * o], &own);
        })?;
    }
    Ok(())
}

//! Gradients against central finite differences, in `f64`, on the very kernels that training uses.

use crate::error::{Error, Result};
use crate::param::{Param, Params, backward, no_grad};
use crate::tolerance;
use candle_core::{Device, Tensor};
use m6_store::rng::Key;

/// Elements of one parameter that are checked at most; of a longer one a keyed selection is.
const N_CHECKED: usize = 64;
/// Half the distance of the two evaluations, for values of order one.
const STEP: f64 = 1e-5;

/// An `f64` parameter with keyed values, normal with deviation `scale`.
pub fn normal_param(name: &str, shape: &[usize], scale: f64) -> Result<Param> {
    let mut stream = Key::new(17).child(name).stream();
    let n = shape.iter().product();
    let values: Vec<f64> = (0..n).map(|_| scale * stream.normal()).collect();
    Param::new(name, &Tensor::from_vec(values, shape, &Device::Cpu)?, true)
}

/// A scalar that depends on every element of `y` in its own way: the sum of `y` times keyed numbers.
pub fn probe(y: &Tensor) -> Result<Tensor> {
    let mut stream = Key::new(23).stream();
    let factors: Vec<f64> = (0..y.elem_count()).map(|_| stream.normal()).collect();
    let factors = Tensor::from_vec(factors, y.shape(), y.device())?.to_dtype(y.dtype())?;
    Ok((y * factors)?.sum_all()?)
}

/// Compares the gradients of `probe(f())` with finite differences, for every trainable parameter (inputs are parameters as well).
///
/// Returns the worst error in the sense of [`tolerance::relative_error`] and the name of the parameter that has it.
pub fn gradcheck(params: &Params, f: impl Fn() -> Result<Tensor>) -> Result<(f64, String)> {
    params.zero_grads();
    backward(&probe(&f()?)?, params)?;
    let mut worst = (0.0, String::new());
    for param in params.iter().filter(|p| p.is_trainable()) {
        let n = param.n_elements();
        let grad = param.grad_f64().unwrap_or_else(|| vec![0.0; n]);
        let picked: Vec<usize> = if n <= N_CHECKED {
            (0..n).collect()
        } else {
            let mut stream = Key::new(29).child(param.name()).stream();
            (0..N_CHECKED)
                .map(|_| stream.below(n as u64) as usize)
                .collect()
        };
        let mut slopes = Vec::with_capacity(picked.len());
        for &i in &picked {
            slopes.push(slope(param, i, &f)?);
        }
        let analytic: Vec<f64> = picked.iter().map(|&i| grad[i]).collect();
        let error = tolerance::relative_error(&analytic, &slopes);
        if error >= worst.0 {
            worst = (error, param.name().to_owned());
        }
    }
    Ok(worst)
}

/// [`gradcheck`] against the table's tolerance; an error says which parameter fails.
pub fn check(params: &Params, f: impl Fn() -> Result<Tensor>) -> Result<()> {
    let (error, name) = gradcheck(params, f)?;
    if error <= tolerance::FINITE_DIFFERENCE_F64 {
        return Ok(());
    }
    let what = format!("gradient of {name} is off by {error:e} of its largest element");
    Err(Error::Value {
        op: "gradcheck",
        what,
    })
}

/// Central difference of `probe(f())` along one element, which keeps its value.
fn slope(param: &Param, index: usize, f: &impl Fn() -> Result<Tensor>) -> Result<f64> {
    let values: Vec<f64> = param.var().flatten_all()?.to_vec1()?;
    let set = |values: &[f64]| -> Result<()> {
        Ok(param
            .var()
            .set(&Tensor::from_slice(values, param.shape(), &Device::Cpu)?)?)
    };
    let at = |x: f64| -> Result<f64> {
        let mut moved = values.clone();
        moved[index] = x;
        set(&moved)?;
        Ok(no_grad(|| probe(&f()?))?.to_scalar()?)
    };
    let (x, h) = (values[index], STEP);
    let difference = at(x + h)? - at(x - h)?;
    set(&values)?;
    Ok(difference / (2.0 * h))
}

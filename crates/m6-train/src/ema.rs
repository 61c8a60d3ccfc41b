//! A moving average of the weights. Ours; off by default.

use crate::error::Result;
use m6_nn::{Param, Params, Tensor};

/// The average of every parameter, in the order of the model.
pub struct Ema {
    decay: f64,
    average: Vec<Vec<f32>>,
}

impl Ema {
    /// Starts the average at the present weights; `decay` is from 0 to below 1.
    ///
    /// # Errors
    /// A parameter cannot be read.
    pub fn new(params: &Params, decay: f64) -> Result<Self> {
        let average = params.iter().map(values).collect::<Result<_>>()?;
        Ok(Self { decay, average })
    }

    /// Takes the weights after update `step` (from 1) into the average. The decay rises with the step, so that the
    /// average forgets the random start: `min(decay, (1 + step) / (10 + step))`.
    ///
    /// # Errors
    /// A parameter cannot be read.
    pub fn update(&mut self, params: &Params, step: u64) -> Result<()> {
        let step = step as f64;
        let keep = self.decay.min((1.0 + step) / (10.0 + step));
        let take = (1.0 - keep) as f32;
        for (param, average) in params.iter().zip(&mut self.average) {
            for (a, w) in average.iter_mut().zip(values(param)?) {
                *a += take * (w - *a);
            }
        }
        Ok(())
    }

    /// Runs `f` while the parameters hold the average, and puts the weights back, also when `f` fails.
    ///
    /// # Errors
    /// Those of `f`, or a parameter that cannot be written.
    pub fn with_average<R>(&mut self, params: &Params, f: impl FnOnce() -> Result<R>) -> Result<R> {
        let weights: Vec<Vec<f32>> = params.iter().map(values).collect::<Result<_>>()?;
        let out = set_all(params, &self.average).and_then(|()| f());
        set_all(params, &weights)?;
        out
    }
}

fn set_all(params: &Params, all: &[Vec<f32>]) -> Result<()> {
    for (param, values) in params.iter().zip(all) {
        set_values(param, values)?;
    }
    Ok(())
}

/// The values of a parameter, row-major.
pub(crate) fn values(param: &Param) -> Result<Vec<f32>> {
    let tensor = param
        .var()
        .as_tensor()
        .flatten_all()
        .map_err(m6_nn::Error::from)?;
    Ok(tensor.to_vec1().map_err(m6_nn::Error::from)?)
}

/// Overwrites a parameter, row-major.
pub(crate) fn set_values(param: &Param, values: &[f32]) -> Result<()> {
    let var = param.var();
    let tensor =
        Tensor::from_slice(values, var.shape(), var.device()).map_err(m6_nn::Error::from)?;
    var.set(&tensor).map_err(m6_nn::Error::from)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use m6_nn::Device;

    fn one_param(start: f32) -> Params {
        let mut params = Params::default();
        let tensor = Tensor::from_slice(&[start; 3], 3, &Device::Cpu).unwrap();
        params
            .insert(Param::new("w", &tensor, true).unwrap())
            .unwrap();
        params
    }

    fn first(params: &Params) -> f32 {
        values(params.iter().next().unwrap()).unwrap()[0]
    }

    #[test]
    fn the_average_follows_and_the_weights_come_back() {
        let params = one_param(0.0);
        let mut ema = Ema::new(&params, 0.5).unwrap();
        set_values(params.iter().next().unwrap(), &[1.0; 3]).unwrap();
        ema.update(&params, 1000).unwrap();
        ema.update(&params, 1001).unwrap();
        let seen = ema.with_average(&params, || Ok(first(&params))).unwrap();
        assert_eq!((seen, first(&params)), (0.75, 1.0));
    }

    #[test]
    fn the_weights_come_back_after_an_error() {
        let params = one_param(2.0);
        let mut ema = Ema::new(&params, 0.9).unwrap();
        set_values(params.iter().next().unwrap(), &[5.0; 3]).unwrap();
        let failed: Result<()> =
            ema.with_average(&params, || Err(crate::Error::EmptyBatch { step: 1 }));
        assert!(failed.is_err());
        assert_eq!(first(&params), 5.0);
    }

    #[test]
    fn early_updates_forget_the_start() {
        let params = one_param(0.0);
        let mut ema = Ema::new(&params, 0.999).unwrap();
        set_values(params.iter().next().unwrap(), &[1.0; 3]).unwrap();
        ema.update(&params, 1).unwrap();
        let seen = ema.with_average(&params, || Ok(first(&params))).unwrap();
        assert!((seen - 9.0 / 11.0).abs() < 1e-6, "{seen}");
    }
}

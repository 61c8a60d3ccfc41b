//! Building the parameters of a model and finding them again by name.

use crate::config::ModelConfig;
use crate::spec::{Init, Spec, specs};
use m6_nn::ops::{self, Act};
use m6_nn::{Device, Param, Params, Result, Tensor};
use m6_store::rng::Key;
use rayon::prelude::*;

/// Values drawn from one stream; parallel, yet the same for any number of threads.
const CHUNK: usize = 1 << 14;

/// Draws every parameter of `cfg`; a value depends only on the seed, the name and the place inside the tensor.
pub(crate) fn build(cfg: &ModelConfig, seed: u64) -> Result<Params> {
    let key = Key::new(seed).child("init");
    let mut params = Params::new();
    for spec in specs(cfg) {
        params.insert(draw(&spec, key)?)?;
    }
    Ok(params)
}

pub(crate) fn draw(spec: &Spec, key: Key) -> Result<Param> {
    let key = key.child(&spec.name);
    let mut values = vec![0.0f32; spec.n_elements() as usize];
    match spec.init {
        Init::Constant(c) => values.fill(c),
        Init::Normal(std) => values
            .par_chunks_mut(CHUNK)
            .enumerate()
            .for_each(|(i, out)| {
                let mut stream = key.at(i as u64).stream();
                for v in out {
                    *v = (stream.normal() * std) as f32;
                }
            }),
    }
    let tensor = Tensor::from_vec(values, spec.shape.as_slice(), &Device::Cpu)?;
    let param = Param::new(&spec.name, &tensor, spec.decay)?;
    param.set_trainable(spec.trained);
    Ok(param)
}

/// Weight and bias of one layer.
#[derive(Clone)]
pub(crate) struct Pair {
    pub weight: Param,
    pub bias: Param,
}

/// A linear layer `[n, in] -> [n, out]`.
#[derive(Clone)]
pub(crate) struct Linear(pub Pair);

impl Linear {
    pub fn forward(&self, x: &Tensor, act: Act) -> Result<Tensor> {
        ops::linear(x, &self.0.weight, Some(&self.0.bias), act)
    }
}

/// A layer norm over the last dimension.
#[derive(Clone)]
pub(crate) struct Norm {
    pub pair: Pair,
    pub eps: f64,
}

impl Norm {
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::layer_norm(x, &self.pair.weight, &self.pair.bias, self.eps)
    }
}

/// Finds parameters by name.
pub(crate) struct Lookup<'a> {
    pub params: &'a Params,
    pub ln_eps: f64,
}

impl Lookup<'_> {
    pub fn get(&self, name: &str) -> Result<Param> {
        // Only a spec list and a constructor that disagree can fail here.
        let missing = || m6_nn::Error::Value {
            op: "model",
            what: format!("there is no parameter {name}"),
        };
        self.params.get(name).cloned().ok_or_else(missing)
    }

    pub fn pair(&self, prefix: &str) -> Result<Pair> {
        Ok(Pair {
            weight: self.get(&format!("{prefix}.weight"))?,
            bias: self.get(&format!("{prefix}.bias"))?,
        })
    }

    pub fn linear(&self, prefix: &str) -> Result<Linear> {
        Ok(Linear(self.pair(prefix)?))
    }

    pub fn norm(&self, prefix: &str) -> Result<Norm> {
        Ok(Norm {
            pair: self.pair(prefix)?,
            eps: self.ln_eps,
        })
    }
}

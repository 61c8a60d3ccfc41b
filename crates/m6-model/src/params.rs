//! Building the parameters of a model and finding them again by name.

use crate::config::ModelConfig;
use crate::spec::{Init, Spec, specs};
use m6_nn::ops::{self, Act, Peers};
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

/// `A`, `B` and what `B A x` is multiplied by.
#[derive(Clone)]
pub(crate) struct Adapter {
    pub a: Param,
    pub b: Param,
    pub scale: f32,
}

/// A linear layer `[n, in] -> [n, out]`, perhaps with an adapter.
#[derive(Clone)]
pub(crate) struct Linear(pub Pair, pub Option<Adapter>);

impl Linear {
    pub fn forward(&self, x: &Tensor, act: Act) -> Result<Tensor> {
        let Self(pair, adapter) = self;
        let Some(adapter) = adapter else {
            return ops::linear(x, &pair.weight, Some(&pair.bias), act);
        };
        let y = ops::linear(x, &pair.weight, Some(&pair.bias), Act::None)?;
        let h_nr = ops::linear(x, &adapter.a, None, Act::None)?;
        let factors = vec![adapter.scale; h_nr.dims2()?.0];
        let h_nr = ops::scale_rows(&h_nr, factors.into())?;
        let y = ops::add(&y, &ops::linear(&h_nr, &adapter.b, None, Act::None)?)?;
        Ok(match act {
            Act::None => y,
            Act::Gelu => ops::gelu(&y)?,
            Act::Relu => y.relu()?,
        })
    }

    /// Without an activation; of a matrix split by its columns among `peers`, the sum of what all ranks make. Matrices with
    /// adapters are not split.
    pub fn forward_summed(&self, x: &Tensor, peers: Option<&Peers>) -> Result<Tensor> {
        let Some(peers) = peers else {
            return self.forward(x, Act::None);
        };
        let y = ops::linear(x, &self.0.weight, None, Act::None)?;
        ops::summed(&y, Some(&self.0.bias), peers)
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
    /// What adapters are multiplied by, where there are some.
    pub adapter_scale: f32,
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
        let of = |name: &str| self.params.get(&format!("{prefix}.{name}")).cloned();
        let adapter = of("lora_a").zip(of("lora_b")).map(|(a, b)| Adapter {
            a,
            b,
            scale: self.adapter_scale,
        });
        Ok(Linear(self.pair(prefix)?, adapter))
    }

    pub fn norm(&self, prefix: &str) -> Result<Norm> {
        Ok(Norm {
            pair: self.pair(prefix)?,
            eps: self.ln_eps,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use m6_nn::gradcheck::{check, normal_param};

    #[test]
    fn gradients_through_an_adapter_agree_with_finite_differences() {
        for act in [Act::None, Act::Gelu, Act::Relu] {
            let shapes: [(&str, &[usize]); 5] = [
                ("x", &[4, 5]),
                ("w", &[6, 5]),
                ("bias", &[6]),
                ("a", &[2, 5]),
                ("b", &[6, 2]),
            ];
            let mut params = Params::new();
            for (name, shape) in shapes {
                params
                    .insert(normal_param(name, shape, 1.0).unwrap())
                    .unwrap();
            }
            let of = |name: &str| params.get(name).unwrap().clone();
            of("w").set_trainable(false);
            let pair = Pair {
                weight: of("w"),
                bias: of("bias"),
            };
            let adapter = Adapter {
                a: of("a"),
                b: of("b"),
                scale: 0.5,
            };
            let layer = Linear(pair, Some(adapter));
            check(&params, || layer.forward(&of("x").tensor(), act)).unwrap();
        }
    }
}

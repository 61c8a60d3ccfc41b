//! Adapters taken into the weights they stand beside, and taken off again.

use crate::config::{LoraConfig, ModelConfig};
use crate::error::Result;
use crate::model::Model;
use m6_nn::gemm::{Mat, matmul};
use m6_nn::glue::view;
use m6_nn::{Device, Param, Params, Tensor};

impl Model {
    /// A model without adapters that computes the same: `W + alpha / rank * B A` in place of each adapted `W`, rounded once per element
    /// after the product. Its logits are those of this model up to the rounding of `f32`. Without adapters, a copy.
    ///
    /// # Errors
    /// Errors of the tensor library.
    pub fn merged(&self) -> Result<Self> {
        self.without_adapters(true)
    }

    /// The model as it was before it had adapters, to the last bit: they stand beside the weights, which never change.
    ///
    /// # Errors
    /// Errors of the tensor library.
    pub fn unmerged(&self) -> Result<Self> {
        self.without_adapters(false)
    }

    fn without_adapters(&self, merge: bool) -> Result<Self> {
        let cfg = ModelConfig {
            lora: LoraConfig::default(),
            ..self.config().clone()
        };
        let mut params = Params::new();
        for param in self.params().iter().filter(|p| !is_adapter(p.name())) {
            let value = match merge {
                true => self.merged_weight(param)?,
                false => None,
            };
            let value = match value {
                Some(value) => value,
                None => param.var().as_tensor().copy().map_err(m6_nn::Error::from)?,
            };
            params.insert(Param::new(param.name(), &value, param.decay())?)?;
        }
        Ok(Self::assemble(&cfg, params)?)
    }

    /// `W + scale * B A`, or nothing where there is no adapter.
    fn merged_weight(&self, param: &Param) -> Result<Option<Tensor>> {
        let of = |name: &str| {
            let prefix = param.name().strip_suffix(".weight")?;
            self.params().get(&format!("{prefix}.{name}"))
        };
        let (Some(a), Some(b)) = (of("lora_a"), of("lora_b")) else {
            return Ok(None);
        };
        let &[n_out, n_in] = param.shape() else {
            return Ok(None);
        };
        let rank = self.config().lora.rank;
        let scale = self.config().lora.scale();
        let mut merged = vec![0.0f32; n_out * n_in];
        let (a, b) = (view::<f32>(a.var())?, view::<f32>(b.var())?);
        let (b, a) = (Mat::new(&b, n_out, rank), Mat::new(&a, rank, n_in));
        matmul(&mut merged, false, b, a);
        for (value, &weight) in merged.iter_mut().zip(view::<f32>(param.var())?.iter()) {
            *value = weight + scale * *value;
        }
        let merged = Tensor::from_vec(merged, (n_out, n_in), &Device::Cpu);
        Ok(Some(merged.map_err(m6_nn::Error::from)?))
    }
}

fn is_adapter(name: &str) -> bool {
    name.ends_with(".lora_a") || name.ends_with(".lora_b")
}

//! The workloads that the benchmark times: the same shapes, weights and arithmetic as `bench/` runs in other frameworks.
//!
//! Weights come from the safetensors files that the benchmark's generator writes (`lm.safetensors`, `conv.safetensors`), so that
//! losses can be compared digit by digit, or are drawn from a key with the same distributions.

mod comm;
mod conv;
mod decode;
mod lm;
mod moe;

pub use comm::{Exchanges, exchanges};
pub use conv::conv;
pub use decode::decode;
pub use lm::train;
pub use moe::{MoeLayer, moe};

use crate::error::{Error, Result};
use crate::threads::on_pool;
use candle_core::{Device, Tensor};
use m6_store::rng::Key;
use std::collections::HashMap;
use std::path::PathBuf;

/// Where a workload's weights and inputs come from.
#[derive(Clone, Debug)]
pub enum Weights {
    /// A folder with the generator's safetensors files.
    Folder(PathBuf),
    /// Drawn from a key made of this seed.
    Seed(u64),
}

/// What one workload measured.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Wall milliseconds of each iteration, in order; the first ones also pay for fresh memory.
    pub ms: Vec<f64>,
    /// Loss of each iteration (`train`, `conv`); the sum of all token ids (`decode`).
    pub loss: Vec<f64>,
    /// Peak resident memory of the process in MB, 0 where the system does not tell.
    pub rss_mb: f64,
}

/// Named tensors, either read or drawn; each is taken once.
enum Store {
    Read(HashMap<String, Tensor>, PathBuf),
    Drawn(Key),
}

impl Store {
    fn open(weights: &Weights, file: &str) -> Result<Self> {
        match weights {
            Weights::Folder(folder) => {
                let path = folder.join(file);
                if !path.is_file() {
                    let problem = format!(
                        "{} is not there; write it with the benchmark's generator",
                        path.display()
                    );
                    return Err(Error::Load {
                        what: "benchmark weights",
                        problem,
                    });
                }
                Ok(Self::Read(
                    candle_core::safetensors::load(&path, &Device::Cpu)?,
                    path,
                ))
            }
            Weights::Seed(seed) => Ok(Self::Drawn(Key::new(*seed).child(file))),
        }
    }

    /// The tensor `name`, whose shape must be `shape`; drawn ones are `mean + std * normal`.
    fn take(&mut self, name: &str, shape: &[usize], mean: f64, std: f64) -> Result<Tensor> {
        match self {
            Self::Read(tensors, path) => {
                let wrong = |found: String| Error::Load {
                    what: "benchmark weights",
                    problem: format!(
                        "{} has {found} for {name}, expected {shape:?}",
                        path.display()
                    ),
                };
                let tensor = tensors
                    .remove(name)
                    .ok_or_else(|| wrong("nothing".into()))?;
                if tensor.dims() != shape {
                    return Err(wrong(format!("{:?}", tensor.dims())));
                }
                Ok(tensor)
            }
            Self::Drawn(key) => {
                let mut stream = key.child(name).stream();
                let n = shape.iter().product();
                let values: Vec<f32> = (0..n)
                    .map(|_| (mean + std * stream.normal()) as f32)
                    .collect();
                Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
            }
        }
    }

    /// Token ids below `n_ids`, `[rows, len]`, flat.
    fn tokens(&mut self, n_ids: u32, rows: usize, len: usize) -> Result<Vec<u32>> {
        if let Self::Drawn(key) = self {
            let mut stream = key.child("tokens").stream();
            return Ok((0..rows * len)
                .map(|_| stream.below(u64::from(n_ids)) as u32)
                .collect());
        }
        let tokens = self.take("tokens", &[rows, len], 0.0, 0.0)?;
        Ok(tokens
            .to_dtype(candle_core::DType::U32)?
            .flatten_all()?
            .to_vec1()?)
    }
}

/// Runs `step` `n` times and collects wall time and loss of each.
fn timed(n: usize, mut step: impl FnMut() -> Result<f64> + Send) -> Result<Timing> {
    let (mut ms, mut loss) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for _ in 0..n {
        let start = std::time::Instant::now();
        loss.push(on_pool(&mut step)?);
        ms.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Timing {
        ms,
        loss,
        rss_mb: m6_store::mem::peak_rss_mb(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named() {
        let weights = Weights::Folder("/nowhere".into());
        let message = conv(&weights, 1).unwrap_err().to_string();
        assert!(message.contains("/nowhere/conv.safetensors"), "{message}");
    }

    #[test]
    fn a_file_without_the_weights_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let tensor = Tensor::zeros((2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let path = folder.path().join("conv.safetensors");
        candle_core::safetensors::save(&HashMap::from([("img", tensor)]), &path).unwrap();
        let message = conv(&Weights::Folder(folder.path().into()), 1)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("[2, 2] for img, expected [8, 3, 64, 64]"),
            "{message}"
        );
    }
}

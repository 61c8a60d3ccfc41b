//! The codebook: which code stands for a vector, and how the codes follow the vectors.
//!
//! Shapes: r vectors, k codes, d length of a vector.

use super::config::{CodebookUpdate, VqganConfig};
use super::layers::{Builder, unit};
use crate::spec::Init;
use m6_nn::glue::view;
use m6_nn::{Device, Param, Tensor, ops};
use m6_store::rng::Key;
use rayon::prelude::*;
use std::sync::Arc;

/// Vectors a parallel task looks up; fixed, though nothing depends on it.
const ROWS: usize = 64;

/// Added to every code's count before the running average is divided by it.
const SMOOTHING: f32 = 1e-5;

/// A codebook with the state of its upkeep.
pub(super) struct Quantizer {
    codebook: Param,
    /// Running number of vectors and sum of vectors of each code, with `ema`.
    average: Option<(Param, Param)>,
    /// Updates since a code was last chosen.
    unused: Param,
    cfg: VqganConfig,
}

/// What quantising a batch gives.
pub(super) struct Quantized {
    /// Codebook vectors through which gradients pass to the vectors themselves, `[r, d]`.
    pub rows: Tensor,
    /// Chosen codes, `[r]`.
    pub codes: Vec<u32>,
    /// Commitment and codebook loss, weighted; a scalar.
    pub loss: Tensor,
    /// The vectors, on the unit sphere where codes are compared by direction, `[r, d]` without tape.
    pub vectors: Vec<f32>,
}

impl Quantizer {
    pub fn new(b: &mut Builder, cfg: &VqganConfig) -> m6_nn::Result<Self> {
        let (k, d) = (cfg.codebook_size, cfg.code_dim);
        // Directions need no scale of their own; distances start small, as in taming-transformers.
        let std = match cfg.l2_norm {
            true => 1.0 / (d as f64).sqrt(),
            false => 1.0 / (3f64.sqrt() * k as f64),
        };
        let by_loss = cfg.codebook_update == CodebookUpdate::Loss;
        let name = "quantize.embedding.weight".to_owned();
        let codebook = b.add(name, &[k, d], Init::Normal(std), by_loss)?;
        let mut state = |name: &str, shape: &[usize]| {
            let name = format!("quantize.{name}");
            b.add(name, shape, Init::Constant(0.0), false)
        };
        let unused = state("unused", &[k])?;
        let average = match by_loss {
            true => None,
            false => Some((state("ema_count", &[k])?, state("ema_sum", &[k, d])?)),
        };
        Ok(Self {
            codebook,
            average,
            unused,
            cfg: cfg.clone(),
        })
    }

    /// The codebook as it is compared and read, `[k, d]`.
    fn table(&self) -> m6_nn::Result<Tensor> {
        match self.cfg.l2_norm {
            true => unit(&self.codebook.var().as_detached_tensor()),
            false => Ok(self.codebook.var().as_detached_tensor()),
        }
    }

    /// The nearest code of every vector, the lowest among equals.
    fn nearest(&self, vectors: &[f32]) -> m6_nn::Result<Vec<u32>> {
        let table = self.table()?;
        let table = view::<f32>(&table)?;
        let d = self.cfg.code_dim;
        // |z - e|^2 = |z|^2 + |e|^2 - 2 z e: the first term is the same for every code.
        let halves: Vec<f32> = table.chunks_exact(d).map(|e| dot(e, e) / 2.0).collect();
        let mut codes = vec![0; vectors.len() / d];
        let tasks = codes.par_chunks_mut(ROWS).zip(vectors.par_chunks(ROWS * d));
        tasks.for_each(|(codes, vectors)| {
            for (code, z) in codes.iter_mut().zip(vectors.chunks_exact(d)) {
                let mut best = f32::NEG_INFINITY;
                for (i, (e, half)) in table.chunks_exact(d).zip(&halves).enumerate() {
                    let score = dot(z, e) - half;
                    if score > best {
                        (best, *code) = (score, i as u32);
                    }
                }
            }
        });
        Ok(codes)
    }

    /// Codes of the vectors `[r, d]`.
    pub fn codes(&self, rows_rd: &Tensor) -> m6_nn::Result<Vec<u32>> {
        let rows = match self.cfg.l2_norm {
            true => unit(&rows_rd.detach())?,
            false => rows_rd.detach(),
        };
        self.nearest(&view::<f32>(&rows.contiguous()?)?)
    }

    /// Vectors of the codes, `[r, d]`, without tape.
    pub fn lookup(&self, codes: &[u32]) -> m6_nn::Result<Tensor> {
        ops::select_rows(&self.table()?, codes.into())
    }

    /// Codes of the vectors, with the straight-through gradient and the losses.
    pub fn quantize(&self, rows_rd: &Tensor) -> m6_nn::Result<Quantized> {
        let z = match self.cfg.l2_norm {
            true => unit(rows_rd)?,
            false => rows_rd.clone(),
        };
        let vectors = view::<f32>(&z.detach().contiguous()?)?.to_vec();
        let codes = self.nearest(&vectors)?;
        let e = self.lookup(&codes)?;
        let mut loss = ((&z - &e)?.sqr()?.mean_all()? * self.cfg.commit_weight)?;
        if self.codebook.wants_grad() {
            let ids: Arc<[u32]> = codes.as_slice().into();
            let learned = ops::embed(&[(&self.codebook, ids)])?;
            let learned = match self.cfg.l2_norm {
                true => unit(&learned)?,
                false => learned,
            };
            let pull = (learned - z.detach())?.sqr()?.mean_all()?;
            loss = (loss + (pull * self.cfg.codebook_weight)?)?;
        }
        let rows = (&z + (e - &z)?.detach())?;
        Ok(Quantized {
            rows,
            codes,
            loss,
            vectors,
        })
    }

    /// Moves the codebook after an update: running averages, and codes long unused set to vectors of the batch. Gives how many were.
    pub fn follow(&self, codes: &[u32], vectors: &[f32], key: Key) -> m6_nn::Result<usize> {
        let (k, d) = (self.cfg.codebook_size, self.cfg.code_dim);
        let mut counts = vec![0.0f32; k];
        let mut sums = vec![0.0f32; k * d];
        for (&code, z) in codes.iter().zip(vectors.chunks_exact(d)) {
            let code = code as usize;
            counts[code] += 1.0;
            for (sum, z) in sums[code * d..][..d].iter_mut().zip(z) {
                *sum += z;
            }
        }
        let mut table = values(&self.codebook)?;
        let mut unused = values(&self.unused)?;
        for (unused, count) in unused.iter_mut().zip(&counts) {
            *unused = if *count > 0.0 { 0.0 } else { *unused + 1.0 };
        }
        let dead: Vec<usize> = (0..k)
            .filter(|&i| self.cfg.restart_after > 0 && unused[i] as u64 >= self.cfg.restart_after)
            .collect();
        if let Some((count_param, sum_param)) = &self.average {
            let (mut mean_count, mut mean_sum) = (values(count_param)?, values(sum_param)?);
            self.average_in(&counts, &sums, &mut mean_count, &mut mean_sum, &mut table);
            for &i in &dead {
                mean_count[i] = 1.0;
                mean_sum[i * d..][..d].copy_from_slice(drawn(vectors, d, key, i));
            }
            set(count_param, mean_count)?;
            set(sum_param, mean_sum)?;
        }
        for &i in &dead {
            table[i * d..][..d].copy_from_slice(drawn(vectors, d, key, i));
            unused[i] = 0.0;
        }
        if self.average.is_some() || !dead.is_empty() {
            set(&self.codebook, table)?;
        }
        set(&self.unused, unused)?;
        Ok(dead.len())
    }

    /// The running averages one batch on, and the codes that were ever chosen moved to them.
    fn average_in(
        &self,
        counts: &[f32],
        sums: &[f32],
        mean_count: &mut [f32],
        mean_sum: &mut [f32],
        table: &mut [f32],
    ) {
        let (keep, d) = (self.cfg.ema_decay as f32, self.cfg.code_dim);
        for (mean, new) in mean_count.iter_mut().zip(counts) {
            *mean = keep * *mean + (1.0 - keep) * new;
        }
        for (mean, new) in mean_sum.iter_mut().zip(sums) {
            *mean = keep * *mean + (1.0 - keep) * new;
        }
        for (i, count) in mean_count.iter().enumerate().filter(|(_, c)| **c > 0.0) {
            for (e, sum) in table[i * d..][..d].iter_mut().zip(&mean_sum[i * d..][..d]) {
                *e = sum / (count + SMOOTHING);
            }
        }
    }
}

/// A vector of the batch for a code that is restarted.
fn drawn(vectors: &[f32], d: usize, key: Key, code: usize) -> &[f32] {
    let n = (vectors.len() / d) as u64;
    let row = key.at(code as u64).stream().below(n) as usize;
    &vectors[row * d..][..d]
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = (a8.remainder().iter().zip(b8.remainder()))
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in a8.zip(b8) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

fn values(param: &Param) -> m6_nn::Result<Vec<f32>> {
    Ok(view::<f32>(&param.var().as_detached_tensor())?.to_vec())
}

fn set(param: &Param, values: Vec<f32>) -> m6_nn::Result<()> {
    let tensor = Tensor::from_vec(values, param.shape(), &Device::Cpu)?;
    Ok(param.var().set(&tensor)?)
}

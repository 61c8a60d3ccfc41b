//! Exchanges between ranks, as training makes them.

use crate::dist::{Communicator, GradSum, Shards};
use crate::error::Result;
use crate::param::Param;
use candle_core::{DType, Device, Tensor};
use std::sync::Arc;
use std::time::Instant;

/// Medians of the slowest rank, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Exchanges {
    /// Each rank sends an equal part of its numbers to each.
    pub all_to_all_ms: f64,
    /// Each rank gives an equal part of the numbers to all.
    pub all_gather_ms: f64,
    /// The gradients of all ranks summed in their order, on all: copies, all-to-all, sums, all-gather.
    pub all_reduce_ms: f64,
}

/// Times exchanges of `n` numbers a rank, `n_times` each after one that is not timed.
///
/// # Errors
/// The transport failed.
pub fn exchanges(comm: &Arc<dyn Communicator>, n: usize, n_times: usize) -> Result<Exchanges> {
    let (rank, n_ranks) = (comm.rank(), comm.size());
    let part = n / n_ranks;
    let counts = vec![part; n_ranks];
    let all_to_all_ms = median(comm, n_times, || {
        let send = vec![rank as f32; part * n_ranks];
        let started = Instant::now();
        comm.start_all_to_all(send, &counts, &counts)?.wait()?;
        Ok(started)
    })?;
    let all_gather_ms = median(comm, n_times, || {
        let mine = vec![rank as f32; part];
        let started = Instant::now();
        comm.start_all_gather(mine, &counts)?.wait()?;
        Ok(started)
    })?;
    let param = Param::new("p", &Tensor::zeros(n, DType::F32, &Device::Cpu)?, false)?;
    let shards = Shards::plan(&[(n, false)], n_ranks);
    let params = vec![param.clone()];
    let sum = GradSum::new(Arc::clone(comm), params, &[vec![0]], shards, false);
    let gradient = vec![1.0_f32; n];
    let all_reduce_ms = median(comm, n_times, || {
        param.zero_grad();
        param.add_grad(&gradient)?;
        sum.clear();
        let started = Instant::now();
        sum.begin();
        sum.finish()?;
        sum.share()?;
        Ok(started)
    })?;
    Ok(Exchanges {
        all_to_all_ms,
        all_gather_ms,
        all_reduce_ms,
    })
}

/// The median over the times of what `run` does after the moment that it gives, each being that of the slowest rank.
fn median(
    comm: &Arc<dyn Communicator>,
    n_times: usize,
    mut run: impl FnMut() -> Result<Instant>,
) -> Result<f64> {
    let mut times = Vec::with_capacity(n_times);
    for i in 0..=n_times {
        comm.barrier()?;
        let mine = run()?.elapsed().as_secs_f64() * 1e3;
        let all = comm.all_gather(&mine.to_le_bytes())?;
        let all = all.iter().filter_map(|b| b.as_slice().try_into().ok());
        let slowest = all.map(f64::from_le_bytes).fold(0.0, f64::max);
        if i > 0 {
            times.push(slowest);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

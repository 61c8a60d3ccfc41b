//! Ranks that have matrices among them.

use super::{Communicator, gather_in_pieces};
use crate::error::Result;
use crate::ops::SplitPeers;
use crate::param::{Param, Part};
use crate::real::add_into;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A group of ranks that compute the same batch with parts of the same matrices.
pub struct TensorRanks {
    comm: Arc<dyn Communicator>,
    waited: Mutex<f64>,
}

impl TensorRanks {
    /// The ranks of `comm`.
    pub fn new(comm: Arc<dyn Communicator>) -> Self {
        Self {
            comm,
            waited: Mutex::default(),
        }
    }

    /// Number of the ranks.
    pub fn n_ranks(&self) -> usize {
        self.comm.size()
    }

    /// This one's place among them.
    pub fn place(&self) -> usize {
        self.comm.rank()
    }

    /// Seconds spent on exchanges since the last call.
    pub fn take_waited(&self) -> f64 {
        std::mem::take(&mut *self.waited.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn timed<R>(&self, f: impl FnOnce() -> Result<R>) -> Result<R> {
        let started = Instant::now();
        let out = f();
        *self.waited.lock().unwrap_or_else(PoisonError::into_inner) +=
            started.elapsed().as_secs_f64();
        out
    }

    /// A parameter of which each rank has the part that `part` says of its place, put together on every rank; `mine` is what is here.
    ///
    /// # Errors
    /// The transport failed.
    pub fn whole(
        &self,
        param: &Param,
        mine: &[f32],
        part: impl Fn(usize) -> Part,
    ) -> Result<Vec<f32>> {
        let parts: Vec<Part> = (0..self.n_ranks()).map(part).collect();
        let n: Vec<usize> = parts.iter().map(Part::n_elements).collect();
        let mut found: Vec<Vec<f32>> = n.iter().map(|&n| Vec::with_capacity(n)).collect();
        let put = |rank: usize, _, theirs: &[f32]| found[rank].extend_from_slice(theirs);
        gather_in_pieces(self.comm.as_ref(), mine, &n, put)?;
        let mut whole = vec![0.0; param.n_elements()];
        for (part, numbers) in parts.iter().zip(&found) {
            part.put(numbers, &mut whole);
        }
        Ok(whole)
    }
}

impl SplitPeers for TensorRanks {
    fn sum(&self, mine: Vec<f32>) -> Result<Vec<f32>> {
        self.timed(|| {
            // Each rank sums a part, so that a number travels twice, however many ranks there are.
            let (rank, n_ranks, n) = (self.comm.rank(), self.comm.size(), mine.len());
            let counts: Vec<usize> = (0..n_ranks)
                .map(|r| n * (r + 1) / n_ranks - n * r / n_ranks)
                .collect();
            let own = counts[rank];
            let received = self
                .comm
                .start_all_to_all(mine, &counts, &vec![own; n_ranks])?
                .wait()?;
            let mut parts = received.chunks_exact(own.max(1));
            let mut sum = parts.next().map(<[f32]>::to_vec).unwrap_or_default();
            parts.for_each(|part| add_into(&mut sum, part));
            self.comm.start_all_gather(sum, &counts)?.wait()
        })
    }

    fn join(&self, mine: Vec<f32>) -> Result<Vec<f32>> {
        let counts = vec![mine.len(); self.comm.size()];
        self.timed(|| self.comm.start_all_gather(mine, &counts)?.wait())
    }
}

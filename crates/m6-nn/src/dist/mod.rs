//! Many processes that train one model: who they are, how they exchange numbers, and who owns which part of the state.
//!
//! A process is a rank. [`Communicator`] is all that the rest of the project knows of the others: [`Solo`] is the only process there is,
//! [`threads::group`] makes ranks of threads (tests), and `mpi` (a feature) speaks to processes started by `mpirun` or `srun`. Numbers
//! are exchanged, never summed, by a communicator: whoever receives them sums in the order of the ranks, so that a result is a
//! function of the number of ranks and not of who was first. [`Shards`] says who owns what (ZeRO, Rajbhandari and others 2020),
//! [`GradSum`] brings gradients to their owners, [`Weights`] brings parameters back.

mod buckets;
mod experts;
#[cfg(feature = "mpi")]
pub mod mpi;
mod shards;
mod sums;
mod tensor;
pub mod threads;
mod weights;

pub use buckets::{BUCKET, Bucket, Piece, buckets};
pub use experts::{ExpertRanks, RowExchange};
pub use shards::{Shards, norm_in_order};
pub use sums::GradSum;
pub use tensor::TensorRanks;
pub use weights::Weights;

use crate::error::{Error, Result};
use std::sync::Arc;

/// The ranks that a process works with. Every call but [`Communicator::rank`], [`Communicator::size`] and [`Communicator::abort`] is
/// collective: all ranks make the same calls in the same order, or all wait.
pub trait Communicator: Send + Sync {
    /// This process, from 0.
    fn rank(&self) -> usize;

    /// How many there are, at least 1.
    fn size(&self) -> usize;

    /// The bytes of every rank, in their order; lengths may differ. For small things: everybody gets everything.
    ///
    /// # Errors
    /// The transport failed.
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Sends `send_counts[r]` numbers to each rank `r`, from `send` in their order, and receives `recv_counts[r]` from each, in theirs.
    ///
    /// # Errors
    /// Counts that do not add up to the numbers, more than `i32::MAX` of them, or the transport failed.
    fn start_all_to_all(
        &self,
        send: Vec<f32>,
        send_counts: &[usize],
        recv_counts: &[usize],
    ) -> Result<Pending>;

    /// Gives the numbers of every rank to every rank, in their order: `counts[r]` of rank `r`, `mine` being this one's.
    ///
    /// # Errors
    /// As [`Communicator::start_all_to_all`].
    fn start_all_gather(&self, mine: Vec<f32>, counts: &[usize]) -> Result<Pending>;

    /// The ranks that give the same `color`, ordered by `key` and then by rank.
    ///
    /// # Errors
    /// The transport failed.
    fn split(&self, color: usize, key: usize) -> Result<Arc<dyn Communicator>>;

    /// Ends every process of the job, as far as the transport can, with this exit code. Not collective; any thread may call it.
    fn abort(&self, code: i32);

    /// Waits for everybody.
    ///
    /// # Errors
    /// The transport failed.
    fn barrier(&self) -> Result<()> {
        self.all_gather(&[]).map(drop)
    }

    /// The bytes of `root`, on every rank; what the others give is not looked at.
    ///
    /// # Errors
    /// The transport failed, or there is no such rank.
    fn broadcast(&self, root: usize, bytes: &[u8]) -> Result<Vec<u8>> {
        let mine = match self.rank() == root {
            true => bytes,
            false => &[],
        };
        let mut all = self.all_gather(mine)?;
        match root < all.len() {
            true => Ok(all.swap_remove(root)),
            false => Err(transport(format!("there is no rank {root}"))),
        }
    }
}

/// An exchange under way; its numbers come with [`Pending::wait`]. Dropped without that, it waits and forgets them.
pub struct Pending(Option<Box<dyn Transfer>>);

/// What a transport knows of an exchange under way.
pub trait Transfer: Send {
    /// Looks after the exchange; true when its numbers are there.
    ///
    /// # Errors
    /// The transport failed.
    fn is_done(&mut self) -> Result<bool>;

    /// Waits for the numbers.
    ///
    /// # Errors
    /// The transport failed.
    fn finish(&mut self) -> Result<Vec<f32>>;
}

impl Pending {
    /// An exchange that a transport looks after.
    pub fn new(transfer: impl Transfer + 'static) -> Self {
        Self(Some(Box::new(transfer)))
    }

    /// Looks after the exchange; true when [`Pending::wait`] would not wait.
    ///
    /// # Errors
    /// The transport failed.
    pub fn is_done(&mut self) -> Result<bool> {
        self.0
            .as_mut()
            .map_or(Ok(true), |transfer| transfer.is_done())
    }

    /// The numbers received.
    ///
    /// # Errors
    /// The transport failed.
    pub fn wait(mut self) -> Result<Vec<f32>> {
        match self.0.take() {
            Some(mut transfer) => transfer.finish(),
            None => Ok(Vec::new()),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // The transport may still write to memory that the exchange owns.
        if let Some(mut transfer) = self.0.take() {
            let _ = transfer.finish();
        }
    }
}

/// Numbers that are there already.
struct Ready(Vec<f32>);

impl Transfer for Ready {
    fn is_done(&mut self) -> Result<bool> {
        Ok(true)
    }

    fn finish(&mut self) -> Result<Vec<f32>> {
        Ok(std::mem::take(&mut self.0))
    }
}

/// The only process there is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Solo;

impl Communicator for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![mine.to_vec()])
    }

    fn start_all_to_all(
        &self,
        send: Vec<f32>,
        send_counts: &[usize],
        recv_counts: &[usize],
    ) -> Result<Pending> {
        check_counts(self, &send, send_counts, Some(recv_counts))?;
        Ok(Pending::new(Ready(send)))
    }

    fn start_all_gather(&self, mine: Vec<f32>, counts: &[usize]) -> Result<Pending> {
        check_counts(self, &mine, counts, None)?;
        Ok(Pending::new(Ready(mine)))
    }

    fn split(&self, _: usize, _: usize) -> Result<Arc<dyn Communicator>> {
        Ok(Arc::new(Solo))
    }

    fn abort(&self, code: i32) {
        std::process::exit(code);
    }
}

/// Gives the numbers of every rank to every rank, `lengths[r]` of rank `r`, in messages of a bounded size: `put` gets a rank, where among its
/// numbers these begin, and the numbers.
pub(crate) fn gather_in_pieces(
    comm: &dyn Communicator,
    mine: &[f32],
    lengths: &[usize],
    mut put: impl FnMut(usize, usize, &[f32]),
) -> Result<()> {
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let step = (BUCKET / comm.size()).max(1);
    for from in (0..longest).step_by(step) {
        let range = |n: usize| from.min(n)..(from + step).min(n);
        let counts: Vec<usize> = lengths.iter().map(|&n| range(n).len()).collect();
        let piece = mine[range(mine.len())].to_vec();
        let all = comm.start_all_gather(piece, &counts)?.wait()?;
        let mut rest = all.as_slice();
        for (rank, n) in counts.into_iter().enumerate() {
            let (theirs, more) = rest.split_at(n);
            put(rank, from, theirs);
            rest = more;
        }
    }
    Ok(())
}

/// Refuses counts that do not fit the ranks and the numbers: without `received`, `counts` are those of an all-gather.
pub(crate) fn check_counts(
    comm: &dyn Communicator,
    send: &[f32],
    counts: &[usize],
    received: Option<&[usize]>,
) -> Result<()> {
    let n_ranks = comm.size();
    let own = match received {
        Some(_) => counts.iter().sum(),
        None => counts.get(comm.rank()).copied().unwrap_or(usize::MAX),
    };
    let fits = counts.len() == n_ranks
        && own == send.len()
        && received.is_none_or(|received| received.len() == n_ranks);
    if !fits {
        return Err(transport(format!(
            "{} numbers with the counts {counts:?} (received: {received:?}) among {n_ranks} ranks",
            send.len()
        )));
    }
    let longest = send.len().max(received.unwrap_or(counts).iter().sum());
    if i32::try_from(longest).is_err() {
        return Err(transport(format!(
            "{longest} numbers at once, expected at most {}; send them in pieces",
            i32::MAX
        )));
    }
    Ok(())
}

/// What the exchange failed of.
pub(crate) fn transport(what: String) -> Error {
    Error::Value {
        op: "exchange between ranks",
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_everything_comes_back() {
        assert_eq!(Solo.all_gather(b"x").unwrap(), [b"x".to_vec()]);
        assert_eq!(Solo.broadcast(0, b"y").unwrap(), b"y");
        assert!(Solo.broadcast(1, b"y").is_err());
        let sent = Solo.start_all_to_all(vec![1.0, 2.0], &[2], &[2]).unwrap();
        assert_eq!(sent.wait().unwrap(), [1.0, 2.0]);
        let gathered = Solo.start_all_gather(vec![3.0], &[1]).unwrap();
        assert_eq!(gathered.wait().unwrap(), [3.0]);
        assert!(Solo.split(3, 0).is_ok_and(|comm| comm.size() == 1));
    }

    #[test]
    fn counts_that_do_not_add_up_are_refused() {
        let error = Solo.start_all_to_all(vec![1.0], &[2], &[1]).err().unwrap();
        assert!(error.to_string().contains("counts [2]"), "{error}");
        assert!(Solo.start_all_gather(vec![1.0], &[1, 1]).is_err());
    }
}

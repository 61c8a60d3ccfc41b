//! Ranks that are processes, over MPI. Every exchange is one that does not block, looked after until it is done, so that a rank which waits
//! gives its core away where there are more ranks than cores.

use super::{Communicator, Pending, Transfer, check_counts, transport};
use crate::error::Result;
use mpi::environment::Universe;
use mpi::ffi;
use mpi::raw::AsRaw;
use mpi::topology::{Communicator as _, SimpleCommunicator};
use mpi::{Threading, initialize_with_threading};
use std::os::raw::{c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Looks at an exchange this often before the core is offered to others, and then before the rank sleeps.
const N_SPINS: u32 = 200;
const N_YIELDS: u32 = 2000;
const NAP: Duration = Duration::from_micros(50);

/// The ranks of an MPI communicator.
pub struct Mpi {
    comm: SimpleCommunicator,
    rank: usize,
    size: usize,
    /// MPI is called by one thread at a time.
    calls: Arc<Mutex<()>>,
    /// Ends MPI with the last communicator.
    _universe: Arc<Universe>,
}

// SAFETY: a communicator is a handle that any thread may use when MPI was initialised with at least `Serialized`, which `world` checks,
// as long as calls do not overlap, which `calls` sees to.
unsafe impl Send for Mpi {}
// SAFETY: as above.
unsafe impl Sync for Mpi {}

/// All processes of the job; to be called once, at the start.
///
/// # Errors
/// MPI has been initialised before, or cannot be called by changing threads.
pub fn world() -> Result<Arc<dyn Communicator>> {
    let Some((universe, threading)) = initialize_with_threading(Threading::Multiple) else {
        return Err(transport("MPI has been initialised before".into()));
    };
    if threading < Threading::Serialized {
        return Err(transport(format!(
            "this MPI allows {threading:?} threading, expected at least Serialized"
        )));
    }
    let comm = universe.world();
    Ok(Arc::new(Mpi::new(
        comm,
        Arc::default(),
        Arc::new(universe),
    )?))
}

impl Mpi {
    fn new(
        comm: SimpleCommunicator,
        calls: Arc<Mutex<()>>,
        universe: Arc<Universe>,
    ) -> Result<Self> {
        let number = |n: c_int| usize::try_from(n).map_err(|e| transport(e.to_string()));
        Ok(Self {
            rank: number(comm.rank())?,
            size: number(comm.size())?,
            comm,
            calls,
            _universe: universe,
        })
    }

    /// Starts an exchange of `T` numbers: `call` is given the pointers to the numbers, counts and places, and the request to fill.
    fn start<T: Clone + Default>(
        &self,
        mut exchange: Box<Exchange<T>>,
        call: impl FnOnce(&mut Exchange<T>, ffi::MPI_Comm) -> c_int,
    ) -> Result<Box<Exchange<T>>> {
        let _alone = lock(&self.calls);
        let code = call(&mut exchange, self.comm.as_raw());
        check(code)?;
        exchange.is_open = true;
        Ok(exchange)
    }

    fn exchange<T: Clone + Default>(
        &self,
        send: Vec<T>,
        send_counts: &[usize],
        recv_counts: &[usize],
    ) -> Result<Box<Exchange<T>>> {
        let (send_counts, send_places) = places(send_counts)?;
        let (recv_counts, recv_places) = places(recv_counts)?;
        let n: c_int = recv_counts.iter().sum();
        Ok(Box::new(Exchange {
            send,
            send_counts,
            send_places,
            recv: vec![T::default(); usize::try_from(n).unwrap_or(0)],
            recv_counts,
            recv_places,
            // SAFETY: a constant of the library.
            request: unsafe { ffi::RSMPI_REQUEST_NULL },
            is_open: false,
            calls: Arc::clone(&self.calls),
        }))
    }

    /// The numbers of every rank, in their order.
    fn gather<T: Clone + Default>(
        &self,
        mine: Vec<T>,
        counts: &[usize],
        kind: ffi::MPI_Datatype,
    ) -> Result<Box<Exchange<T>>> {
        let exchange = self.exchange(mine, &[], counts)?;
        self.start(exchange, |e, comm| {
            // SAFETY: the buffers, counts and places live in the box until the request is done, are of `size` ranks, and `kind` is the
            // type of their numbers.
            unsafe {
                ffi::MPI_Iallgatherv(
                    pointer(&e.send),
                    e.send.len() as c_int,
                    kind,
                    pointer_mut(&mut e.recv),
                    e.recv_counts.as_ptr(),
                    e.recv_places.as_ptr(),
                    kind,
                    comm,
                    &mut e.request,
                )
            }
        })
    }
}

/// Counts as MPI takes them, and where the part of each rank begins.
fn places(counts: &[usize]) -> Result<(Vec<c_int>, Vec<c_int>)> {
    let mut at: c_int = 0;
    let mut places = Vec::with_capacity(counts.len());
    let mut lengths = Vec::with_capacity(counts.len());
    for &n in counts {
        let n = c_int::try_from(n).map_err(|_| transport(format!("{n} numbers at once")))?;
        places.push(at);
        lengths.push(n);
        let end = at.checked_add(n);
        at = end.ok_or_else(|| transport(format!("more than {} numbers at once", i32::MAX)))?;
    }
    Ok((lengths, places))
}

/// Where numbers begin. An empty vector points to a number that MPI may take for one of its constants.
fn pointer<T>(values: &[T]) -> *const c_void {
    match values.is_empty() {
        true => std::ptr::null(),
        false => values.as_ptr().cast(),
    }
}

fn pointer_mut<T>(values: &mut [T]) -> *mut c_void {
    match values.is_empty() {
        true => std::ptr::null_mut(),
        false => values.as_mut_ptr().cast(),
    }
}

fn lock(calls: &Mutex<()>) -> std::sync::MutexGuard<'_, ()> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check(code: c_int) -> Result<()> {
    match u32::try_from(code) {
        Ok(ffi::MPI_SUCCESS) => Ok(()),
        _ => Err(transport(format!("MPI answered with error {code}"))),
    }
}

/// An exchange under way, with everything that MPI reads and writes meanwhile.
struct Exchange<T> {
    send: Vec<T>,
    send_counts: Vec<c_int>,
    send_places: Vec<c_int>,
    recv: Vec<T>,
    recv_counts: Vec<c_int>,
    recv_places: Vec<c_int>,
    request: ffi::MPI_Request,
    is_open: bool,
    calls: Arc<Mutex<()>>,
}

// SAFETY: the request is a handle; see `Mpi`.
unsafe impl<T: Send> Send for Exchange<T> {}

impl<T> Exchange<T> {
    fn test(&mut self) -> Result<bool> {
        if !self.is_open {
            return Ok(true);
        }
        let mut flag: c_int = 0;
        let _alone = lock(&self.calls);
        // SAFETY: the request was filled by the call that began the exchange.
        let code = unsafe { ffi::MPI_Test(&mut self.request, &mut flag, ffi::RSMPI_STATUS_IGNORE) };
        check(code)?;
        self.is_open = flag == 0;
        Ok(!self.is_open)
    }

    fn complete(&mut self) -> Result<Vec<T>> {
        let mut n_looks = 0_u32;
        while !self.test()? {
            n_looks = n_looks.saturating_add(1);
            match n_looks {
                0..N_SPINS => std::hint::spin_loop(),
                N_SPINS..N_YIELDS => std::thread::yield_now(),
                _ => std::thread::sleep(NAP),
            }
        }
        Ok(std::mem::take(&mut self.recv))
    }
}

impl Transfer for Box<Exchange<f32>> {
    fn is_done(&mut self) -> Result<bool> {
        self.test()
    }

    fn finish(&mut self) -> Result<Vec<f32>> {
        self.complete()
    }
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        // SAFETY: constants of the library.
        let (word, byte) = unsafe { (ffi::RSMPI_UINT64_T, ffi::RSMPI_UINT8_T) };
        let ones = vec![1; self.size];
        let lengths = self
            .gather(vec![mine.len() as u64], &ones, word)?
            .complete()?;
        let lengths: Vec<usize> = lengths.iter().map(|&n| n as usize).collect();
        let all = self.gather(mine.to_vec(), &lengths, byte)?.complete()?;
        let mut rest = all.as_slice();
        let mut parts = Vec::with_capacity(self.size);
        for n in lengths {
            let (part, more) = rest.split_at(n);
            parts.push(part.to_vec());
            rest = more;
        }
        Ok(parts)
    }

    fn start_all_to_all(
        &self,
        send: Vec<f32>,
        send_counts: &[usize],
        recv_counts: &[usize],
    ) -> Result<Pending> {
        check_counts(self, &send, send_counts, Some(recv_counts))?;
        let exchange = self.exchange(send, send_counts, recv_counts)?;
        let started = self.start(exchange, |e, comm| {
            // SAFETY: as in `gather`.
            unsafe {
                ffi::MPI_Ialltoallv(
                    pointer(&e.send),
                    e.send_counts.as_ptr(),
                    e.send_places.as_ptr(),
                    ffi::RSMPI_FLOAT,
                    pointer_mut(&mut e.recv),
                    e.recv_counts.as_ptr(),
                    e.recv_places.as_ptr(),
                    ffi::RSMPI_FLOAT,
                    comm,
                    &mut e.request,
                )
            }
        })?;
        Ok(Pending::new(started))
    }

    fn start_all_gather(&self, mine: Vec<f32>, counts: &[usize]) -> Result<Pending> {
        check_counts(self, &mine, counts, None)?;
        // SAFETY: a constant of the library.
        let kind = unsafe { ffi::RSMPI_FLOAT };
        Ok(Pending::new(self.gather(mine, counts, kind)?))
    }

    fn split(&self, color: usize, key: usize) -> Result<Arc<dyn Communicator>> {
        let number = |n: usize| {
            c_int::try_from(n).map_err(|_| transport(format!("{n} is no colour or key of MPI")))
        };
        let color = mpi::topology::Color::with_value(number(color)?);
        let key = number(key)?;
        let part = {
            let _alone = lock(&self.calls);
            self.comm.split_by_color_with_key(color, key)
        };
        let part = part.ok_or_else(|| transport("MPI made no group of this colour".into()))?;
        Ok(Arc::new(Mpi::new(
            part,
            Arc::clone(&self.calls),
            Arc::clone(&self._universe),
        )?))
    }

    fn abort(&self, code: i32) {
        // Not behind the lock: the thread that waits in an exchange is not the one that gave up on it.
        // SAFETY: allowed at any time between initialisation and end.
        unsafe { ffi::MPI_Abort(self.comm.as_raw(), code) };
        std::process::exit(code);
    }
}

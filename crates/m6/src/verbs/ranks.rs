//! Processes that `mpirun` or `srun` started together: who is there, who speaks, and how they end.

use crate::error::{Code, Failure, Result};
use crate::out::Terminal;
use m6_nn::dist::{Communicator, Solo};
use m6_train::ParallelConfig;
use std::sync::Arc;

/// The processes that work together.
pub type Comm = Arc<dyn Communicator>;

/// Variables in which a launcher says how many processes it has started: Open MPI, MPICH and Intel MPI, Slurm.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];
/// The same for those on this machine.
const LOCAL_SIZES: [&str; 3] = [
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "SLURM_NTASKS_PER_NODE",
];

/// No other process: for verbs that train a small model of their own.
pub fn alone() -> Comm {
    Arc::new(Solo)
}

fn first_number(names: &[&str]) -> Option<usize> {
    let value = |name: &&str| std::env::var(name).ok()?.parse().ok();
    names.iter().find_map(value)
}

/// Processes that the launcher has started.
pub fn n_started() -> usize {
    first_number(&SIZES).unwrap_or(1).max(1)
}

/// Threads of this process where others share the machine with it: an equal part, and no more than it is bound to.
pub fn threads() -> Option<usize> {
    let n_local = first_number(&LOCAL_SIZES).filter(|&n| n > 1)?;
    let bound = std::thread::available_parallelism().ok()?.get();
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let is_core = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
    let cores = stat.lines().filter(is_core).count().max(bound);
    Some((cores / n_local).clamp(1, bound))
}

/// The processes that were started with this one, as many as `parallel` asks for.
#[cfg(feature = "mpi")]
pub fn join(_parallel: &ParallelConfig) -> Result<Comm> {
    // Too few or too many are told with everything else that keeps the run from beginning.
    match first_number(&SIZES) {
        None | Some(1) => Ok(Arc::new(Solo)),
        Some(_) => m6_nn::dist::mpi::world().map_err(|error| Failure::usage(&error)),
    }
}

/// The only process that a build without MPI knows.
#[cfg(not(feature = "mpi"))]
pub fn join(parallel: &ParallelConfig) -> Result<Comm> {
    let n_started = first_number(&SIZES).unwrap_or(1);
    if n_started > 1 || parallel.data > 1 || parallel.tensor > 1 {
        return Err(Failure::usage(format!(
            "this build of m6 trains with one process (started: {n_started}, parallel.data: {}, parallel.tensor: {})",
            parallel.data, parallel.tensor
        ))
        .hint("build it with `cargo build --release --features mpi` (needs libopenmpi-dev and libclang-dev) and start it with mpirun -n N"));
    }
    Ok(Arc::new(Solo))
}

/// Runs `f`, whose talk only the first process shows, and sees to it that a failure of one is the end of all and is said once.
pub fn together(
    comm: &Comm,
    terminal: &Terminal,
    f: impl FnOnce(&Terminal) -> Result<()>,
) -> Result<()> {
    let rank = comm.rank();
    if comm.size() == 1 {
        return f(terminal);
    }
    let muted = terminal.muted();
    let terminal = if rank == 0 { terminal } else { &muted };
    let Err(mut failure) = f(terminal) else {
        return Ok(());
    };
    // Settings and numbers are the same on every rank, and so is what is wrong with them: one says it and all end in order. What
    // befell one alone it says itself, and ends the others.
    let is_common = failure.code != Code::Data || failure.chain.is_empty();
    if is_common && rank > 0 {
        return Err(failure.said());
    }
    if rank > 0 || !is_common {
        let first = failure.chain.first_mut();
        first
            .into_iter()
            .for_each(|text| *text = format!("rank {rank}: {text}"));
    }
    // Before the end of MPI, which all ranks reach together: afterwards the launcher may stop this one at any moment.
    terminal.error(&failure);
    if !is_common {
        comm.abort(failure.code as i32);
    }
    Err(failure.said())
}

//! How a run is begun by several ranks: one holds the folder, all go on from the same checkpoint.

use super::exchange;
use super::heartbeat::Heartbeat;
use crate::checkpoint::read_state;
use crate::error::{Error, Result};
use crate::resume::{OpenMode, Resumed, RunFolder};
use m6_nn::dist::Communicator;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The run folder, of the first rank alone, and the checkpoint that all go on from.
///
/// # Errors
/// The folder cannot be used or read; a rank failed.
pub(crate) fn open_folder(
    comm: &dyn Communicator,
    run_dir: &Path,
    mode: OpenMode,
) -> Result<(Option<RunFolder>, Option<Resumed>)> {
    if comm.rank() > 0 {
        let told: Vec<Option<PathBuf>> = exchange(comm, Ok(None))?;
        let path = told.into_iter().next().flatten();
        let resumed = path.map(|path| {
            let state = read_state(&path)?;
            Ok::<_, Error>(Resumed { path, state })
        });
        return Ok((None, resumed.transpose()?));
    }
    let opened = RunFolder::open(run_dir, mode).and_then(|folder| {
        let newest = folder.newest()?;
        Ok((folder, newest))
    });
    let (told, kept) = match opened {
        Ok((folder, newest)) => {
            let path = newest.as_ref().map(|resumed| resumed.path.clone());
            (Ok(path), (Some(folder), newest))
        }
        Err(error) => (Err(error), (None, None)),
    };
    exchange::<Option<PathBuf>>(comm, told)?;
    Ok(kept)
}

/// What this rank has, when every rank has its own.
///
/// # Errors
/// This rank's own; a rank failed.
pub(crate) fn share<T>(comm: &dyn Communicator, mine: Result<T>) -> Result<T> {
    let (told, kept) = match mine {
        Ok(value) => (Ok(()), Some(value)),
        Err(error) => (Err(error), None),
    };
    exchange(comm, told)?;
    kept.ok_or(Error::Peer {
        rank: comm.rank(),
        reason: "it has nothing to go on with".into(),
    })
}

/// Signs of life, where there are others to see them.
///
/// # Errors
/// The signs cannot be given; a rank failed.
pub(crate) fn start_heartbeat(
    comm: &Arc<dyn Communicator>,
    run_dir: &Path,
    resumed: Option<&Resumed>,
) -> Result<Option<Heartbeat>> {
    if comm.size() == 1 {
        return Ok(None);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_nanos() as u64);
    let lives = exchange(comm.as_ref(), Ok(now))?;
    let heartbeat = Heartbeat::start(run_dir, comm, lives[0])?;
    if let Some(resumed) = resumed {
        heartbeat.committed(&resumed.path);
    }
    Ok(Some(heartbeat))
}

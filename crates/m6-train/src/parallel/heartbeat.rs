//! Signs of life: a rank that hangs must not hold up the others for ever, and one that is only slow must not be taken for one that hangs.
//!
//! Every rank counts in a file of the run folder, from a thread of its own that goes on while the rank computes or waits; each watches some of
//! the others. A process that is stopped or dead does not count. Whoever sees a count stand still says so and ends the job. Files
//! rather than messages: a rank that hangs inside an exchange cannot answer one.

use crate::error::{Error, Result};
use m6_nn::dist::Communicator;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The folder of the signs, inside the run folder.
pub(crate) const RANKS_DIR: &str = "ranks";
const BEAT: Duration = Duration::from_secs(1);
/// A count that stands still this long is that of a rank which hangs.
const PATIENCE: Duration = Duration::from_secs(15);
/// Before its first sign a rank may take longer: a file system that is shared shows new files late.
const FIRST_PATIENCE: Duration = Duration::from_secs(60);
/// Ranks that each rank watches at most, those behind it in a ring.
const MAX_WATCHED: usize = 8;
/// Exit code of a job that is ended for a rank that hangs (damaged data and system, as of the binary).
const EXIT_CODE: i32 = 3;

/// The sign of life of this rank, until dropped.
pub(crate) struct Heartbeat {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    dir: PathBuf,
    is_first: bool,
    /// The newest checkpoint, for the message of a job that ends.
    last_good: Arc<Mutex<Option<PathBuf>>>,
}

impl Heartbeat {
    /// Begins to give signs in `run_dir` and to watch for those of the others; `life` tells this job from an earlier one in the same
    /// folder and is the same on every rank.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn start(run_dir: &Path, comm: &Arc<dyn Communicator>, life: u64) -> Result<Self> {
        let dir = run_dir.join(RANKS_DIR);
        std::fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
        let (rank, n_ranks) = (comm.rank(), comm.size());
        let path = file_of(&dir, rank);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(Error::io(&path))?;
        let stop = Arc::new(AtomicBool::new(false));
        let last_good = Arc::new(Mutex::new(None));
        let watched = (1..n_ranks.min(MAX_WATCHED + 1)).map(|i| (rank + i) % n_ranks);
        let watched = watched.map(|rank| Watched::new(&dir, rank, life)).collect();
        let beat = Beat {
            file,
            life,
            n_beats: 0,
            watched,
            stop: Arc::clone(&stop),
            last_good: Arc::clone(&last_good),
            comm: Arc::clone(comm),
        };
        let thread = std::thread::Builder::new()
            .name("heartbeat".into())
            .spawn(move || beat.run())
            .map_err(Error::io(&path))?;
        Ok(Self {
            stop,
            thread: Some(thread),
            dir,
            is_first: rank == 0,
            last_good,
        })
    }

    /// Names the newest checkpoint in the message of a job that ends.
    pub fn committed(&self, path: &Path) {
        *self
            .last_good
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(path.to_path_buf());
    }

    /// Ends the signs of a run in which every rank has come to its end.
    pub fn finish(self) {
        let (dir, is_first) = (self.dir.clone(), self.is_first);
        drop(self);
        if is_first {
            // Only signs; what cannot be removed is written over by the next job.
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn file_of(dir: &Path, rank: usize) -> PathBuf {
    dir.join(format!("rank-{rank:05}"))
}

struct Beat {
    file: File,
    life: u64,
    n_beats: u64,
    watched: Vec<Watched>,
    stop: Arc<AtomicBool>,
    last_good: Arc<Mutex<Option<PathBuf>>>,
    comm: Arc<dyn Communicator>,
}

impl Beat {
    fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            self.sign();
            let before = Instant::now();
            std::thread::park_timeout(BEAT);
            // A rank that was itself stopped for a while has not been watching: the others' counts are old only to it.
            if before.elapsed() > 3 * BEAT {
                self.watched.iter_mut().for_each(Watched::look_anew);
                continue;
            }
            let silent = self.watched.iter_mut().find_map(Watched::silence);
            if let Some(message) = silent
                && !self.stop.load(Ordering::Relaxed)
            {
                self.end(&message);
            }
        }
    }

    /// The life, the count, and the process for whoever looks for it.
    fn sign(&mut self) {
        self.n_beats += 1;
        let text = format!("{} {} {}\n", self.life, self.n_beats, std::process::id());
        // A sign that cannot be given is missed by the others, who say so.
        let written = self
            .file
            .rewind()
            .and_then(|()| self.file.write_all(text.as_bytes()));
        if let Err(error) = written {
            tracing::warn!("no sign of life of rank {}: {error}", self.comm.rank());
        }
    }

    fn end(&self, message: &str) {
        let last_good = self
            .last_good
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last_good = match last_good.as_deref() {
            Some(path) => path.display().to_string(),
            None => "none yet".into(),
        };
        tracing::error!(
            "{message}; the job is ended; last good checkpoint: {last_good}; --resume goes on from there, on any number of ranks"
        );
        self.comm.abort(EXIT_CODE);
    }
}

/// Another rank, as its file shows it.
struct Watched {
    rank: usize,
    path: PathBuf,
    life: u64,
    seen: Option<(u64, String)>,
    since: Instant,
}

impl Watched {
    fn new(dir: &Path, rank: usize, life: u64) -> Self {
        Self {
            rank,
            path: file_of(dir, rank),
            life,
            seen: None,
            since: Instant::now(),
        }
    }

    fn look_anew(&mut self) {
        self.since = Instant::now();
    }

    /// What to say when the rank has been silent too long.
    fn silence(&mut self) -> Option<String> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let mut words = text.split_whitespace();
        let life = words.next().and_then(|word| word.parse::<u64>().ok());
        let count = words.next().and_then(|word| word.parse::<u64>().ok());
        if let (Some(life), Some(count)) = (life, count)
            && life == self.life
            && self.seen.as_ref().is_none_or(|(seen, _)| *seen != count)
        {
            self.seen = Some((count, words.next().unwrap_or("unknown").to_string()));
            self.since = Instant::now();
        }
        let (patience, process) = match &self.seen {
            Some((_, process)) => (PATIENCE, process.as_str()),
            None => (FIRST_PATIENCE, "unknown"),
        };
        let silent = self.since.elapsed();
        (silent > patience).then(|| {
            format!(
                "rank {} (process {process}) has given no sign of life for {:.0} s: it hangs, was stopped, or is dead",
                self.rank,
                silent.as_secs_f64()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_moves_is_life_and_one_that_stands_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let put = |text: &str| {
            m6_store::atomic::write_file(&file_of(dir.path(), 4), text.as_bytes()).unwrap();
        };
        let mut watched = Watched::new(dir.path(), 4, 9);
        let age = |watched: &mut Watched, by: Duration| {
            watched.since = Instant::now().checked_sub(by).unwrap();
        };
        // The count of an earlier job is none.
        put("8 100 77\n");
        age(&mut watched, PATIENCE + BEAT);
        assert_eq!(watched.silence(), None);
        age(&mut watched, FIRST_PATIENCE + BEAT);
        assert!(
            watched
                .silence()
                .unwrap()
                .contains("rank 4 (process unknown)")
        );
        put("9 1 77\n");
        assert_eq!(watched.silence(), None);
        age(&mut watched, PATIENCE + BEAT);
        put("9 2 77\n");
        assert_eq!(watched.silence(), None);
        age(&mut watched, PATIENCE + BEAT);
        let message = watched.silence().unwrap();
        assert!(message.contains("rank 4 (process 77)"), "{message}");
        // A file that is being written is no proof of death by itself.
        put("");
        watched.look_anew();
        assert_eq!(watched.silence(), None);
    }
}

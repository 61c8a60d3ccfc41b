//! How many threads compute.

use crate::error::{Error, Result};

/// Makes the global rayon pool with `n` threads (all cores with `None`) and confines the backend's own pool, which would otherwise
/// spin beside it, to one. Returns the number of threads. No result of this crate depends on it.
///
/// To be called once, at the start of `main`, before other threads exist. Errors if the pool exists already.
pub fn init(n: Option<usize>) -> Result<usize> {
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: at the start of `main` no other thread reads the environment.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(n.unwrap_or(0))
        .build_global();
    pool.map_err(|error| Error::Value {
        op: "threads",
        what: error.to_string(),
    })?;
    Ok(rayon::current_num_threads())
}

/// Runs `f` on a thread of the pool. Each parallel loop that starts elsewhere hands itself over and sleeps until it is done, twice a
/// change of threads; inside, a loop starts where it stands. For work made of many short loops.
///
/// `f` must not wait for another thread that uses the pool: with one thread there would be none left.
pub fn on_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| f())
}

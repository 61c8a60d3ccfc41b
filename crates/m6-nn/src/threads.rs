//! How many threads compute.

use crate::error::{Error, Result};
use crate::param::{grads_enabled, with_no_grad};

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
/// Inside, gradients are on or off ([`no_grad`](crate::no_grad)) as where it was called: a thread of the pool that waits within somebody's `no_grad`
/// takes up other work, and that may be `f`.
///
/// `f` must not wait for another thread that uses the pool: with one thread there would be none left.
pub fn on_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    let off = !grads_enabled();
    rayon::scope(|_| with_no_grad(off, f))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::no_grad;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn work_that_is_taken_up_within_somebodys_no_grad_has_gradients() {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Every thread of the pool waits without gradients, and takes up what comes meanwhile.
            scope.spawn(|| {
                rayon::broadcast(|_| {
                    no_grad(|| {
                        while !done.load(Ordering::Relaxed) {
                            rayon::yield_now();
                        }
                    });
                })
            });
            std::thread::sleep(std::time::Duration::from_millis(20));
            let inside = on_pool(grads_enabled);
            let inside_off = no_grad(|| on_pool(grads_enabled));
            done.store(true, Ordering::Relaxed);
            assert_eq!((inside, inside_off), (true, false));
        });
    }
}

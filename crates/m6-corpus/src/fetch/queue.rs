//! Many addresses: hosts side by side, one host's addresses behind each other, failures again later.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use m6_store::rng::Key;

use super::config::{Config, seconds};
use super::fetcher::{Fetcher, Stop};
use super::hosts::lock;
use super::outcome::{Outcome, Refusal, Rule, Summary};
use super::target;
use crate::Result;

/// How often a waiting thread looks whether the run was stopped.
const STOP_CHECK: Duration = Duration::from_millis(200);

/// One address that waits: when it may be tried, its place in the list, the tries so far.
type Waiting = Reverse<(Instant, usize, u32)>;

/// One host's addresses.
#[derive(Default)]
struct Lane {
    waiting: BinaryHeap<Waiting>,
    n_active: usize,
    /// Failures since the last success.
    n_failures: u32,
}

/// A try to be made.
struct Task {
    lane: usize,
    at: usize,
    n_tries: u32,
    /// The host was given up before.
    is_hopeless: bool,
}

/// What a thread does next.
enum Next {
    Try(Task),
    WaitUntil(Instant),
    /// Other threads hold all that is left.
    Wait,
    Done,
}

struct State {
    lanes: Vec<Lane>,
    /// Lanes by the moment their first address may be tried; an entry may be out of date, never missing.
    ready: BinaryHeap<Reverse<(Instant, usize)>>,
    n_open: usize,
    summary: Summary,
    failed: Option<crate::Error>,
}

impl State {
    fn new(urls: &[String]) -> Self {
        let now = Instant::now();
        let mut lanes: Vec<Lane> = Vec::new();
        let mut places = HashMap::new();
        for (at, url) in urls.iter().enumerate() {
            let lane = *places.entry(target::host_of(url)).or_insert_with(|| {
                lanes.push(Lane::default());
                lanes.len() - 1
            });
            lanes[lane].waiting.push(Reverse((now, at, 0)));
        }
        Self {
            ready: (0..lanes.len()).map(|lane| Reverse((now, lane))).collect(),
            lanes,
            n_open: urls.len(),
            summary: Summary::default(),
            failed: None,
        }
    }

    fn next(&mut self, now: Instant, config: &Config) -> Next {
        if self.n_open == 0 || self.failed.is_some() {
            return Next::Done;
        }
        while let Some(&Reverse((at, number))) = self.ready.peek() {
            if at > now {
                return Next::WaitUntil(at);
            }
            self.ready.pop();
            let lane = &mut self.lanes[number];
            // A full lane comes back when one of its tries ends.
            if lane.n_active >= config.per_host {
                continue;
            }
            match lane.waiting.peek() {
                Some(&Reverse((first, ..))) if first > now => {
                    self.ready.push(Reverse((first, number)));
                }
                Some(&Reverse((_, at, n_tries))) => {
                    lane.waiting.pop();
                    lane.n_active += 1;
                    self.offer(number);
                    return Next::Try(Task {
                        lane: number,
                        at,
                        n_tries: n_tries + 1,
                        is_hopeless: self.lanes[number].n_failures >= config.max_host_failures,
                    });
                }
                None => {}
            }
        }
        Next::Wait
    }

    /// Puts a lane with waiting addresses in line.
    fn offer(&mut self, number: usize) {
        if let Some(&Reverse((first, ..))) = self.lanes[number].waiting.peek() {
            self.ready.push(Reverse((first, number)));
        }
    }

    /// Notes how a try ended; the outcome, unless the address is tried again.
    fn end(&mut self, task: &Task, result: Outcome, url: &str, config: &Config) -> Option<Outcome> {
        let lane = &mut self.lanes[task.lane];
        lane.n_active -= 1;
        match &result {
            Err(refusal) if refusal.is_temporary => lane.n_failures += 1,
            // The host answered, whatever it said; a stop is not its doing.
            Err(refusal) if matches!(refusal.rule, Rule::Host | Rule::Stopped) => {}
            _ => lane.n_failures = 0,
        }
        let wait = match &result {
            Err(refusal) if task.n_tries < config.n_tries => {
                pause(refusal, task.n_tries, url, config)
            }
            _ => None,
        };
        if let Some(wait) = wait {
            lane.waiting
                .push(Reverse((Instant::now() + wait, task.at, task.n_tries)));
            self.summary.n_retries += 1;
            self.offer(task.lane);
            return None;
        }
        self.offer(task.lane);
        self.n_open -= 1;
        match &result {
            Ok(fetched) => {
                self.summary.n_fetched += 1;
                self.summary.n_cached += u64::from(fetched.from_cache);
                self.summary.n_bytes += fetched.body.len() as u64;
            }
            Err(_) => self.summary.n_refused += 1,
        }
        Some(result)
    }
}

/// How long to wait before the next try; `None` when there is none.
fn pause(refusal: &Refusal, n_tries: u32, url: &str, config: &Config) -> Option<Duration> {
    let longest = seconds(config.max_backoff);
    let asked = refusal.retry_after.unwrap_or_default();
    if !refusal.is_temporary || asked > longest {
        return None;
    }
    let doubled = config.backoff * f64::from(2u32.saturating_pow(n_tries.saturating_sub(1)));
    // Jitter, so that addresses that failed together do not come back together; keyed, so that a run can be repeated.
    let key = Key::new(config.seed).child("fetch-backoff").child(url);
    let share = 0.5 + 0.5 * key.at(u64::from(n_tries)).stream().f64();
    Some(seconds(doubled).min(longest).mul_f64(share).max(asked))
}

impl Fetcher {
    /// Fetches all addresses with the configured number of threads; `sink` gets the place in `urls` and the outcome of each,
    /// once, from any thread and in any order.
    ///
    /// When `stop` becomes true, what is under way ends and the rest is refused with [`Rule::Stopped`].
    ///
    /// # Errors
    /// [`crate::Error::Store`] when the cache cannot be written: the run ends, and what the sink got stays valid.
    pub fn fetch_all(
        &self,
        urls: &[String],
        stop: &AtomicBool,
        sink: &(dyn Fn(usize, Outcome) + Sync),
    ) -> Result<Summary> {
        let state = Mutex::new(State::new(urls));
        let changed = Condvar::new();
        let n_workers = self.config.n_workers.min(urls.len());
        std::thread::scope(|scope| {
            for _ in 0..n_workers {
                scope.spawn(|| self.work(urls, stop, sink, &state, &changed));
            }
        });
        let state = state
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match state.failed {
            Some(error) => Err(error),
            None => Ok(state.summary),
        }
    }

    /// One thread: takes tries until nothing is left.
    fn work(
        &self,
        urls: &[String],
        stop: &AtomicBool,
        sink: &(dyn Fn(usize, Outcome) + Sync),
        state: &Mutex<State>,
        changed: &Condvar,
    ) {
        while let Some(task) = self.next_task(stop, state, changed) {
            let url = &urls[task.at];
            let result = match self.attempt(url, &task, stop) {
                Ok(fetched) => Ok(fetched),
                Err(Stop::Refused(refusal)) => Err(refusal),
                Err(Stop::Failed(error)) => {
                    lock(state).failed.get_or_insert(error);
                    changed.notify_all();
                    return;
                }
            };
            let outcome = lock(state).end(&task, result, url, &self.config);
            changed.notify_all();
            if let Some(outcome) = outcome {
                sink(task.at, outcome);
            }
        }
    }

    fn attempt(
        &self,
        url: &str,
        task: &Task,
        stop: &AtomicBool,
    ) -> std::result::Result<super::Fetched, Stop> {
        if stop.load(Ordering::Relaxed) {
            return Err(Refusal::lasting(Rule::Stopped, "the run was stopped").into());
        }
        if task.is_hopeless {
            let detail = format!("given up after {} failures", self.config.max_host_failures);
            return Err(Refusal::lasting(Rule::Host, detail).into());
        }
        self.once(url)
    }

    /// Waits for a try that may be made now; `None` when all is done.
    fn next_task(
        &self,
        stop: &AtomicBool,
        state: &Mutex<State>,
        changed: &Condvar,
    ) -> Option<Task> {
        let mut held = lock(state);
        loop {
            let now = Instant::now();
            // A stopped run waits for nothing: what is left is handed out at once and refused.
            let moment = match stop.load(Ordering::Relaxed) {
                true => now + seconds(f64::INFINITY),
                false => now,
            };
            let wait = match held.next(moment, &self.config) {
                Next::Try(task) => return Some(task),
                Next::Done => return None,
                Next::WaitUntil(at) => at.saturating_duration_since(now).min(STOP_CHECK),
                Next::Wait => STOP_CHECK,
            };
            let waited = changed.wait_timeout(held, wait);
            held = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(is_temporary: bool, retry_after: Option<u64>) -> Refusal {
        Refusal {
            is_temporary,
            retry_after: retry_after.map(Duration::from_secs),
            ..Refusal::lasting(Rule::Status, "status 503")
        }
    }

    #[test]
    fn pauses_double_within_their_bounds_and_heed_the_server() {
        let config = Config::default();
        let check = |refusal: &Refusal, n_tries, expected: Option<(f64, f64)>| {
            let got = pause(refusal, n_tries, "http://a.example/", &config);
            let got = got.map(|wait| wait.as_secs_f64());
            let is_inside = match (got, expected) {
                (None, None) => true,
                (Some(got), Some((least, most))) => (least..=most).contains(&got),
                _ => false,
            };
            assert!(is_inside, "{got:?} after {n_tries} tries, not {expected:?}");
        };
        check(&refusal(true, None), 1, Some((1.0, 2.0)));
        check(&refusal(true, None), 2, Some((2.0, 4.0)));
        check(&refusal(true, None), 5, Some((16.0, 32.0)));
        check(&refusal(true, None), 90, Some((150.0, 300.0)));
        check(&refusal(true, Some(100)), 1, Some((100.0, 100.0)));
        check(&refusal(true, Some(301)), 1, None);
        check(&refusal(false, None), 1, None);
        let again = |url| pause(&refusal(true, None), 1, url, &config);
        assert_eq!(again("http://a.example/"), again("http://a.example/"));
        assert_ne!(again("http://a.example/"), again("http://a.example/b"));
    }

    #[test]
    fn one_host_never_has_more_tries_under_way_than_allowed() {
        let config = Config {
            per_host: 2,
            ..Config::default()
        };
        let urls: Vec<String> = (0..6).map(|at| format!("http://a.example/{at}")).collect();
        let mut state = State::new(&urls);
        let now = Instant::now();
        let mut taken = Vec::new();
        for _ in 0..4 {
            if let Next::Try(task) = state.next(now + Duration::from_secs(1), &config) {
                taken.push(task);
            }
        }
        assert_eq!(taken.iter().map(|task| task.at).collect::<Vec<_>>(), [0, 1]);
        // One ends: the next comes.
        let refused = Err(refusal(false, None));
        assert!(state.end(&taken[0], refused, &urls[0], &config).is_some());
        let next = state.next(now + Duration::from_secs(2), &config);
        assert!(matches!(
            next,
            Next::Try(Task {
                at: 2,
                n_tries: 1,
                ..
            })
        ));
        assert!(matches!(
            state.next(now + Duration::from_secs(2), &config),
            Next::Wait
        ));
    }
}

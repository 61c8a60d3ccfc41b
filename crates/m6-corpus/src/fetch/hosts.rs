//! What is known of each host: when it may be asked next, and what its robots.txt says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use url::Url;

use super::client::Client;
use super::config::{Config, seconds};
use super::outcome::{Refusal, Rule};
use super::robots::{self, Robots};
use super::target;

/// RFC 9309: a robots.txt is not used for more than a day.
const ROBOTS_FRESH: Duration = Duration::from_secs(86_400);
/// RFC 9309: at least five redirects of robots.txt are followed.
const ROBOTS_REDIRECTS: usize = 5;
/// Hosts remembered; when there are more, all are forgotten at once (a crawl of pictures has far fewer).
const MAX_HOSTS: usize = 1 << 20;

/// What a robots.txt came to.
#[derive(Clone)]
enum Verdict {
    Rules(Arc<Robots>),
    /// Server errors and silence mean: nothing may be fetched for now (RFC 9309, 2.3.1.4).
    Unreachable(Refusal),
}

/// When a verdict was reached; none yet at first.
type Known = Arc<Mutex<Option<(Instant, Verdict)>>>;

/// All hosts of a run.
#[derive(Default)]
pub(super) struct Hosts {
    /// By scheme, host and port.
    robots: Mutex<HashMap<String, Known>>,
    /// By host: when it may be asked next.
    turns: Mutex<HashMap<String, Instant>>,
}

/// A lock that a panicking thread left behind is as good as before: every entry is whole at any moment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hosts {
    /// Waits until an address may be asked for: its robots.txt allows it and its host's turn has come.
    pub(super) fn admit(&self, url: &Url, client: &Client, config: &Config) -> Result<(), Refusal> {
        let mut delay = seconds(config.delay);
        if config.obey_robots {
            let robots = self.robots(url, client, config)?;
            let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
            if !robots.allows(path) {
                return Err(Refusal::lasting(
                    Rule::Robots,
                    format!("robots.txt forbids {path}"),
                ));
            }
            delay = delay.max(robots.crawl_delay().unwrap_or_default());
        }
        self.wait_turn(url, delay, config)
    }

    /// The rules for an address, read once a day.
    fn robots(&self, url: &Url, client: &Client, config: &Config) -> Result<Arc<Robots>, Refusal> {
        let known = {
            let mut all = lock(&self.robots);
            if all.len() >= MAX_HOSTS {
                all.clear();
            }
            all.entry(target::origin_of(url)).or_default().clone()
        };
        // Held while asking, so that a host is asked once however many threads wait for it.
        let mut known = lock(&known);
        let keep = |verdict: &Verdict| match verdict {
            Verdict::Rules(_) => ROBOTS_FRESH,
            // Half of the back-off: the earliest moment at which an address is tried again.
            Verdict::Unreachable(_) => seconds(config.backoff / 2.0),
        };
        let verdict = match &*known {
            Some((at, verdict)) if at.elapsed() < keep(verdict) => verdict.clone(),
            _ => {
                let verdict = self.ask_robots(url, client, config);
                *known = Some((Instant::now(), verdict.clone()));
                verdict
            }
        };
        match verdict {
            Verdict::Rules(robots) => Ok(robots),
            Verdict::Unreachable(refusal) => Err(refusal),
        }
    }

    fn ask_robots(&self, url: &Url, client: &Client, config: &Config) -> Verdict {
        let answer = target::join(url, "/robots.txt", config)
            .and_then(|url| self.follow_robots(url, client, config));
        match answer {
            Ok(robots) => Verdict::Rules(Arc::new(robots)),
            // An address that must not be dialled stays one; everything else may pass.
            Err(refusal) if refusal.rule == Rule::Address => Verdict::Unreachable(refusal),
            Err(refusal) => {
                let why = format!("robots.txt: {refusal}");
                Verdict::Unreachable(Refusal::temporary(Rule::Robots, why))
            }
        }
    }

    /// Asks for a robots.txt and follows its redirects.
    fn follow_robots(
        &self,
        mut url: Url,
        client: &Client,
        config: &Config,
    ) -> Result<Robots, Refusal> {
        for _ in 0..=ROBOTS_REDIRECTS {
            self.wait_turn(&url, seconds(config.delay), config)?;
            let reply = client.get(&url, &[])?;
            match reply.status {
                200..=299 => {
                    let bytes = reply.into_prefix(robots::MAX_BYTES)?;
                    return Ok(Robots::parse(&bytes, config.token()));
                }
                301 | 302 | 303 | 307 | 308 => {
                    let location = reply.header("location").unwrap_or_default();
                    url = target::join(&url, location, config)?;
                }
                // "Too many requests" says nothing of a missing file.
                429 | 500..=599 => {
                    let detail = format!("status {}", reply.status);
                    return Err(Refusal::temporary(Rule::Status, detail));
                }
                _ => return Ok(Robots::default()),
            }
        }
        // More redirects than are followed count as a missing file (RFC 9309, 2.3.1.2).
        Ok(Robots::default())
    }

    /// Takes the next turn of the host and waits for it.
    fn wait_turn(&self, url: &Url, delay: Duration, config: &Config) -> Result<(), Refusal> {
        let longest = seconds(config.max_delay);
        if delay > longest {
            let detail = format!(
                "the host asks for {} s between requests",
                delay.as_secs_f64()
            );
            return Err(Refusal::lasting(Rule::Host, detail));
        }
        let host = url.host_str().unwrap_or_default();
        let now = Instant::now();
        let turn = {
            let mut turns = lock(&self.turns);
            if turns.len() >= MAX_HOSTS {
                turns.retain(|_, next| *next > now);
            }
            let next = turns.entry(host.to_owned()).or_insert(now);
            let turn = (*next).max(now);
            *next = turn + delay;
            turn
        };
        std::thread::sleep(turn.saturating_duration_since(now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_a_host_are_a_delay_apart_and_hosts_do_not_wait_for_each_other() {
        let (hosts, config) = (Hosts::default(), Config::default());
        let url = |text: &str| Url::parse(text).unwrap();
        let delay = Duration::from_millis(60);
        let start = Instant::now();
        for _ in 0..3 {
            hosts
                .wait_turn(&url("http://a.example/x"), delay, &config)
                .unwrap();
        }
        assert!(start.elapsed() >= 2 * delay);
        // The host's next turn is far away, another host's is now.
        hosts
            .wait_turn(&url("http://a.example/y"), Duration::from_secs(20), &config)
            .unwrap();
        let start = Instant::now();
        hosts
            .wait_turn(&url("http://b.example/x"), delay, &config)
            .unwrap();
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_host_that_wants_too_long_a_delay_is_not_asked() {
        let (hosts, config) = (Hosts::default(), Config::default());
        let url = Url::parse("http://a.example/").unwrap();
        let check = |delay: u64, expected: Option<Rule>| {
            let got = hosts.wait_turn(&url, Duration::from_secs(delay), &config);
            assert_eq!(got.err().map(|refusal| refusal.rule), expected, "{delay} s");
        };
        check(31, Some(Rule::Host));
        check(30, None);
    }
}

//! How the web is asked, and how much of it at most.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which addresses may be dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Public addresses only; loopback, private, link-local and other special ones are refused.
    #[default]
    Public,
    /// The test switch: loopback addresses only, at any port. Nothing outside this machine can be reached.
    LoopbackOnly,
}

/// Settings of a [`super::Fetcher`]; times in seconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who asks: the first word up to `/` is the name that robots.txt is read for; say also where to complain.
    pub user_agent: String,
    /// Which addresses may be dialled; no setting of a file, so that no file can open the inside.
    #[serde(skip)]
    pub network: Network,
    /// Ports that may be dialled in the public network.
    pub ports: Vec<u16>,
    /// Threads that fetch.
    pub n_workers: usize,
    /// Requests to one host at a time.
    pub per_host: usize,
    /// Least seconds from one request to the next to the same host; a larger `Crawl-delay` counts.
    pub delay: f64,
    /// A host that wants more seconds between requests is not asked.
    pub max_delay: f64,
    /// Seconds to resolve a name and connect.
    pub connect_timeout: f64,
    /// Seconds for one request with its whole body.
    pub timeout: f64,
    /// Most bytes of a body.
    pub max_bytes: u64,
    /// Most bytes of a reply's head.
    pub max_head_bytes: usize,
    /// Most redirects in a row.
    pub max_redirects: usize,
    /// How often one address is tried.
    pub n_tries: u32,
    /// Seconds before the second try; doubled for each further one, drawn from the upper half.
    pub backoff: f64,
    /// Most seconds between tries; a host that asks for more (`Retry-After`) is not tried again.
    pub max_backoff: f64,
    /// A host that fails this often in a row is given up.
    pub max_host_failures: u32,
    /// Types that are wanted, as prefixes (`image/`); empty: all.
    pub types: Vec<String>,
    /// Whether robots.txt is obeyed.
    pub obey_robots: bool,
    /// Whether opt-out headers (`X-Robots-Tag: noai` and the like, `TDM-Reservation: 1`) are obeyed.
    pub obey_opt_out: bool,
    /// Folder of the cache; none: nothing is kept.
    pub cache: Option<PathBuf>,
    /// Seconds a cached body is used without asking; after that the server is asked whether it changed.
    pub cache_fresh: f64,
    /// Seed of the back-off's jitter.
    pub seed: u64,
}

impl Default for Config {
    /// Polite ones: a second between requests to a host, two at a time, 10 MiB, 30 seconds, three tries.
    fn default() -> Self {
        Self {
            user_agent: "m6-corpus/0.1".to_owned(),
            network: Network::Public,
            ports: vec![80, 443, 8080, 8443],
            n_workers: 16,
            per_host: 2,
            delay: 1.0,
            max_delay: 30.0,
            connect_timeout: 10.0,
            timeout: 30.0,
            max_bytes: 10 << 20,
            max_head_bytes: 64 << 10,
            max_redirects: 5,
            n_tries: 3,
            backoff: 2.0,
            max_backoff: 300.0,
            max_host_failures: 20,
            types: Vec::new(),
            obey_robots: true,
            obey_opt_out: true,
            cache: None,
            cache_fresh: 7.0 * 86_400.0,
            seed: 0,
        }
    }
}

/// The longest time a setting may name: a year.
const MAX_SECONDS: f64 = 366.0 * 86_400.0;
/// The most threads.
const MAX_WORKERS: usize = 1024;

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first setting that cannot be followed and what is expected.
    pub fn validate(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::Config(format!("fetch: {what}")));
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !self.token().bytes().all(is_word) || self.token().is_empty() {
            return wrong(format!(
                "user_agent starts with a name of letters, digits, '-' and '_' (as \"my-crawler/1.0 (+https://...)\"), got \"{}\"",
                self.user_agent.escape_debug()
            ));
        }
        if !self
            .user_agent
            .bytes()
            .all(|byte| (0x20..0x7F).contains(&byte))
        {
            return wrong("user_agent is printable ASCII".to_owned());
        }
        let seconds = [
            ("delay", self.delay),
            ("max_delay", self.max_delay),
            ("connect_timeout", self.connect_timeout),
            ("timeout", self.timeout),
            ("backoff", self.backoff),
            ("max_backoff", self.max_backoff),
            ("cache_fresh", self.cache_fresh),
        ];
        for (name, value) in seconds {
            if !(0.0..=MAX_SECONDS).contains(&value) {
                return wrong(format!("{name} is 0 to {MAX_SECONDS} seconds, got {value}"));
            }
        }
        let counts = [
            ("n_workers", self.n_workers as u64, MAX_WORKERS as u64),
            ("per_host", self.per_host as u64, MAX_WORKERS as u64),
            ("n_tries", u64::from(self.n_tries), 100),
            (
                "max_host_failures",
                u64::from(self.max_host_failures),
                u64::from(u32::MAX),
            ),
            ("max_bytes", self.max_bytes, 1 << 32),
            ("max_head_bytes", self.max_head_bytes as u64, 1 << 20),
        ];
        for (name, value, most) in counts {
            if !(1..=most).contains(&value) {
                return wrong(format!("{name} is 1 to {most}, got {value}"));
            }
        }
        if self.timeout == 0.0 || self.connect_timeout == 0.0 {
            return wrong("timeout and connect_timeout are more than 0 seconds".to_owned());
        }
        Ok(())
    }

    /// The name that robots.txt and `X-Robots-Tag` are read for: the user agent up to the first `/` or blank.
    pub fn token(&self) -> &str {
        let end = self.user_agent.find(['/', ' ']);
        &self.user_agent[..end.unwrap_or(self.user_agent.len())]
    }
}

/// Seconds of a setting as a time; what is not between 0 and a year is cut to it.
pub(super) fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(value.clamp(0.0, MAX_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_are_named() {
        let check = |change: &dyn Fn(&mut Config), expected: Option<&str>| {
            let mut config = Config::default();
            change(&mut config);
            match (config.validate(), expected) {
                (Ok(()), None) => {}
                (Err(error), Some(name)) => assert!(error.to_string().contains(name), "{error}"),
                (got, expected) => panic!("{got:?}, not {expected:?}"),
            }
        };
        check(&|_| {}, None);
        check(
            &|c| c.user_agent = "my_bot-x/2 (+https://example.org/bot)".to_owned(),
            None,
        );
        check(&|c| c.user_agent = String::new(), Some("user_agent"));
        check(
            &|c| c.user_agent = "机器人/1".to_owned(),
            Some("user_agent"),
        );
        check(
            &|c| c.user_agent = "bot/1\r\nX: y".to_owned(),
            Some("user_agent"),
        );
        check(&|c| c.delay = -1.0, Some("delay"));
        check(&|c| c.timeout = f64::NAN, Some("timeout"));
        check(&|c| c.timeout = 0.0, Some("timeout"));
        check(&|c| c.n_workers = 0, Some("n_workers"));
        check(&|c| c.max_bytes = 0, Some("max_bytes"));
        check(&|c| c.max_redirects = 0, None);
    }

    #[test]
    fn a_file_cannot_open_the_inside() {
        let open = r#"{"network": "LoopbackOnly"}"#;
        assert!(serde_json::from_str::<Config>(open).is_err());
        let config: Config = serde_json::from_str(r#"{"delay": 2}"#).unwrap();
        assert_eq!((config.delay, config.network), (2.0, Network::Public));
        assert_eq!(config.token(), "m6-corpus");
    }
}

//! One address from start to end: redirects, robots, opt-out, type, length, cache.

use std::time::{SystemTime, UNIX_EPOCH};

use url::Url;

use super::cache::{Cache, Held, Validators};
use super::client::{Client, Reply};
use super::config::{Config, Network};
use super::hosts::Hosts;
use super::optout;
use super::outcome::{Fetched, Refusal, Rule};
use super::target;
use crate::Result;

/// Fetches addresses under one configuration; shared by all threads of a run.
pub struct Fetcher {
    pub(super) config: Config,
    client: Client,
    hosts: Hosts,
    cache: Option<Cache>,
}

/// A try that ended the run instead of the address: the cache could not be written.
pub(super) enum Stop {
    Refused(Refusal),
    Failed(crate::Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl From<crate::Error> for Stop {
    fn from(error: crate::Error) -> Self {
        Stop::Failed(error)
    }
}

impl Fetcher {
    /// A fetcher for these settings.
    ///
    /// # Errors
    /// [`crate::Error::Config`] when a setting cannot be followed.
    pub fn new(config: Config) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            client: Client::new(&config),
            hosts: Hosts::default(),
            cache: config.cache.as_deref().map(Cache::new),
            config,
        })
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the cache holds of an address, fresh or not; nothing is asked.
    pub fn cached(&self, address: &str) -> Option<Fetched> {
        let held = self.cache.as_ref()?.get(address, self.config.max_bytes)?;
        Some(held.into_fetched())
    }

    /// Tries one address once, waiting for its host's turn.
    pub(super) fn once(&self, address: &str) -> std::result::Result<Fetched, Stop> {
        let mut url = target::parse(address, &self.config)?;
        let now = now();
        let cache = self.cache.as_ref();
        let held = cache.and_then(|cache| cache.get(address, self.config.max_bytes));
        let held = match held {
            Some(held) if held.is_fresh(now, self.config.cache_fresh) => {
                let fetched = held.into_fetched();
                self.check_type(fetched.mime.as_deref())?;
                return Ok(fetched);
            }
            held => held,
        };
        for _ in 0..=self.config.max_redirects {
            self.hosts.admit(&url, &self.client, &self.config)?;
            let known = held
                .as_ref()
                .filter(|held| held.head.final_url == url.as_str());
            let reply = self.client.get(&url, &conditions(known))?;
            match (reply.status, known) {
                (301 | 302 | 303 | 307 | 308, _) => url = self.redirect(&url, &reply)?,
                (304, Some(known)) => {
                    self.check_consent(&reply)?;
                    if let Some(cache) = cache {
                        cache.confirm(known, now)?;
                    }
                    return Ok(known.clone().into_fetched());
                }
                (200, _) => return self.take(address, &url, reply, now),
                _ => return Err(failed_status(&reply).into()),
            }
        }
        let detail = format!("more than {} redirects", self.config.max_redirects);
        Err(Refusal::lasting(Rule::Redirects, detail).into())
    }

    fn redirect(&self, url: &Url, reply: &Reply) -> std::result::Result<Url, Refusal> {
        match reply.header("location") {
            Some(location) => target::join(url, location, &self.config),
            None => Err(Refusal::lasting(
                Rule::Redirects,
                "a redirect without an address",
            )),
        }
    }

    /// A 200: checks what the head says, then reads the body.
    fn take(
        &self,
        address: &str,
        url: &Url,
        reply: Reply,
        now: u64,
    ) -> std::result::Result<Fetched, Stop> {
        self.check_consent(&reply)?;
        let (mime, charset) = content_type(reply.header("content-type").unwrap_or_default());
        self.check_type(mime.as_deref())?;
        let text = |name| reply.header(name).map(str::to_owned);
        let validators = Validators {
            etag: text("etag"),
            last_modified: text("last-modified"),
        };
        let fetched = Fetched {
            url: url.as_str().to_owned(),
            mime,
            charset,
            body: reply.into_body(self.config.max_bytes)?,
            from_cache: false,
        };
        if let Some(cache) = &self.cache {
            cache.put(address, &fetched, validators, now)?;
        }
        Ok(fetched)
    }

    /// Whether a type is among the wanted ones; a server that names none may still send a picture.
    fn check_type(&self, mime: Option<&str>) -> std::result::Result<(), Refusal> {
        let types = &self.config.types;
        match mime {
            Some(mime)
                if !types.is_empty() && !types.iter().any(|t| mime.starts_with(t.as_str())) =>
            {
                Err(Refusal::lasting(Rule::Type, mime))
            }
            _ => Ok(()),
        }
    }

    /// Whether the owner's headers leave the work to us.
    fn check_consent(&self, reply: &Reply) -> std::result::Result<(), Refusal> {
        if !self.config.obey_opt_out {
            return Ok(());
        }
        for value in reply.headers.get_all("x-robots-tag") {
            // Bytes that are no text may hide a no.
            let Ok(value) = value.to_str() else {
                return Err(Refusal::lasting(
                    Rule::OptOut,
                    "x-robots-tag that is no text",
                ));
            };
            if let Some(directive) = optout::forbids(value, self.config.token()) {
                let detail = format!("x-robots-tag: {directive}");
                return Err(Refusal::lasting(Rule::OptOut, detail));
            }
        }
        let is_reserved = reply
            .header("tdm-reservation")
            .is_some_and(optout::reserves);
        match is_reserved {
            true => Err(Refusal::lasting(Rule::OptOut, "tdm-reservation: 1")),
            false => Ok(()),
        }
    }

    /// Whether anything but loopback can be reached.
    pub fn is_public(&self) -> bool {
        self.config.network == Network::Public
    }
}

/// Headers that ask for a body only if it changed.
fn conditions(held: Option<&Held>) -> Vec<(&str, &str)> {
    let Some(held) = held else {
        return Vec::new();
    };
    let etag = held
        .head
        .etag
        .as_deref()
        .map(|etag| ("if-none-match", etag));
    let date = held
        .head
        .last_modified
        .as_deref()
        .map(|date| ("if-modified-since", date));
    etag.into_iter().chain(date).collect()
}

/// Anything but a body, a redirect or "not modified".
fn failed_status(reply: &Reply) -> Refusal {
    let detail = format!("status {}", reply.status);
    match reply.status {
        408 | 425 | 429 | 500..=599 => Refusal {
            retry_after: reply.retry_after(),
            ..Refusal::temporary(Rule::Status, detail)
        },
        _ => Refusal::lasting(Rule::Status, detail),
    }
}

/// Type and charset of a `Content-Type`, in lower case; `None` for what is not there.
fn content_type(value: &str) -> (Option<String>, Option<String>) {
    let mut parts = value.split(';');
    let clean = |text: &str| {
        let text = text.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
        (!text.is_empty()).then_some(text)
    };
    let mime = parts.next().and_then(clean);
    let charset = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .and_then(|(_, charset)| clean(charset));
    (mime, charset)
}

/// Seconds since 1970; 0 on a machine whose clock is before it.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_charsets() {
        let check = |value: &str, mime: Option<&str>, charset: Option<&str>| {
            let got = content_type(value);
            assert_eq!(
                (got.0.as_deref(), got.1.as_deref()),
                (mime, charset),
                "{value}"
            );
        };
        check("", None, None);
        check("Image/JPEG", Some("image/jpeg"), None);
        check(
            "text/html; Charset=\"GB18030\"; x=y",
            Some("text/html"),
            Some("gb18030"),
        );
        check("text/html;charset=", Some("text/html"), None);
        check(";;charset=big5", None, Some("big5"));
    }
}

//! One request to one checked address. No redirect is followed here, no proxy is used, no cookie is kept.

use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use ureq::http::{HeaderMap, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};
use url::Url;

use super::address;
use super::config::{Config, Network, seconds};
use super::outcome::{Refusal, Rule};

/// Resolves names and lets no address through that must not be dialled: what is checked here is what is dialled.
#[derive(Debug)]
struct CheckedResolver {
    inner: DefaultResolver,
    network: Network,
}

/// A name that leads to an address that must not be dialled.
#[derive(Debug)]
struct Forbidden {
    address: SocketAddr,
    why: &'static str,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.address.ip(), self.why)
    }
}

impl std::error::Error for Forbidden {}

impl Resolver for CheckedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let addresses = self.inner.resolve(uri, config, timeout)?;
        // One address of the inside among public ones is an attack or a mistake: the name is refused whole.
        for &address in &addresses {
            if let Some(why) = address::refuse(address.ip(), self.network) {
                return Err(ureq::Error::Other(Box::new(Forbidden { address, why })));
            }
        }
        Ok(addresses)
    }
}

/// What a server says before the body.
pub(super) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    body: Body,
}

/// Makes requests under the limits of a configuration.
pub(super) struct Client {
    agent: Agent,
}

impl Client {
    pub(super) fn new(config: &Config) -> Self {
        let settings = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(&config.user_agent)
            .timeout_global(Some(seconds(config.timeout)))
            .timeout_resolve(Some(seconds(config.connect_timeout)))
            .timeout_connect(Some(seconds(config.connect_timeout)))
            .max_response_header_size(config.max_head_bytes)
            .max_idle_connections(config.n_workers)
            .max_idle_connections_per_host(config.per_host)
            .build();
        let resolver = CheckedResolver {
            inner: DefaultResolver::default(),
            network: config.network,
        };
        Self {
            agent: Agent::with_parts(settings, DefaultConnector::new(), resolver),
        }
    }

    /// Asks for an address, with extra headers; the body is left unread.
    pub(super) fn get(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Reply, Refusal> {
        // The HTTP client decodes nothing: for objects of stores the same client must give bytes as they are stored.
        let request = self.agent.get(url.as_str());
        let mut request = request.header("accept-encoding", "gzip");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.call().map_err(refusal)?;
        let (parts, body) = response.into_parts();
        Ok(Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    }
}

impl Reply {
    /// A header as text, when it is there and is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The seconds of `Retry-After`; a date counts as an hour.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let value = self.header("retry-after")?.trim();
        let seconds = value.parse::<u32>().unwrap_or(3600);
        Some(Duration::from_secs(u64::from(seconds)))
    }

    /// The body, when it has at most `max_bytes` decoded bytes.
    pub(super) fn into_body(self, max_bytes: u64) -> Result<Vec<u8>, Refusal> {
        let declared = self.body.content_length();
        if let Some(n_bytes) = declared.filter(|&n_bytes| n_bytes > max_bytes) {
            let detail = format!("{n_bytes} bytes declared, at most {max_bytes} are fetched");
            return Err(Refusal::lasting(Rule::Bytes, detail));
        }
        let bytes = self.into_prefix(max_bytes.saturating_add(1))?;
        match bytes.len() as u64 > max_bytes {
            true => Err(refusal(ureq::Error::BodyExceedsLimit(max_bytes))),
            false => Ok(bytes),
        }
    }

    /// The body as far as `max_bytes` of it, decoded.
    pub(super) fn into_prefix(mut self, max_bytes: u64) -> Result<Vec<u8>, Refusal> {
        let is_packed = self.header("content-encoding").is_some_and(|encoding| {
            let encoding = encoding.trim();
            encoding.eq_ignore_ascii_case("gzip") || encoding.eq_ignore_ascii_case("x-gzip")
        });
        let body = self.body.as_reader();
        let (mut plain, mut packed);
        let reader: &mut dyn Read = match is_packed {
            true => {
                packed = MultiGzDecoder::new(body);
                &mut packed
            }
            false => {
                plain = body;
                &mut plain
            }
        };
        let mut bytes = Vec::new();
        match reader.take(max_bytes).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) if is_packed && is_corrupt(&error) => {
                Err(Refusal::lasting(Rule::Network, error.to_string()))
            }
            Err(error) => Err(refusal(error.into())),
        }
    }
}

/// Whether an error is the decoder's, not the connection's.
fn is_corrupt(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    matches!(error.kind(), InvalidData | InvalidInput)
}

/// What the client's errors mean for an address.
fn refusal(error: ureq::Error) -> Refusal {
    use ureq::Error;
    let detail = error.to_string();
    match error {
        Error::Other(inner) if inner.is::<Forbidden>() => {
            Refusal::lasting(Rule::Address, inner.to_string())
        }
        Error::BodyExceedsLimit(limit) => {
            Refusal::lasting(Rule::Bytes, format!("more than {limit} bytes"))
        }
        Error::LargeResponseHeader(..) => Refusal::lasting(Rule::Bytes, detail),
        Error::Timeout(_) => Refusal::temporary(Rule::Time, detail),
        Error::BadUri(_) | Error::Http(_) => Refusal::lasting(Rule::Url, detail),
        Error::Tls(_) | Error::Rustls(_) | Error::TlsRequired => {
            Refusal::lasting(Rule::Network, detail)
        }
        _ => Refusal::temporary(Rule::Network, detail),
    }
}

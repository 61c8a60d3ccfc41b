//! What comes of an address.

use std::time::Duration;

use serde::Serialize;

/// A body that was fetched or was in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The address after all redirects.
    pub url: String,
    /// `Content-Type` as sent, without parameters, in lower case; may lie.
    pub mime: Option<String>,
    /// The charset parameter of `Content-Type`, in lower case.
    pub charset: Option<String>,
    /// The body, decoded from transfer and content encodings.
    pub body: Vec<u8>,
    /// Whether the body is the cache's, fresh or confirmed by the server.
    pub from_cache: bool,
}

/// Which rule kept an address from being fetched; the stable word in the ledger is its snake_case name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Not an address, or one of no use (other scheme, credentials in it, too long).
    Url,
    /// A port that is not among the allowed ones.
    Port,
    /// It leads to an address that is not public.
    Address,
    /// robots.txt forbids it, or cannot be had.
    Robots,
    /// The owner opted out by a header.
    OptOut,
    /// Too many redirects, or one without an address.
    Redirects,
    /// The server said no.
    Status,
    /// Not one of the wanted types.
    Type,
    /// More bytes than wanted.
    Bytes,
    /// No answer in time.
    Time,
    /// The name is unknown, the connection failed or broke, or the answer is no HTTP.
    Network,
    /// The host wants to be asked less often than we are willing to wait, or failed too often.
    Host,
    /// The run was stopped first.
    Stopped,
}

impl Rule {
    /// The stable word.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Url => "url",
            Rule::Port => "port",
            Rule::Address => "address",
            Rule::Robots => "robots",
            Rule::OptOut => "opt_out",
            Rule::Redirects => "redirects",
            Rule::Status => "status",
            Rule::Type => "type",
            Rule::Bytes => "bytes",
            Rule::Time => "time",
            Rule::Network => "network",
            Rule::Host => "host",
            Rule::Stopped => "stopped",
        }
    }
}

/// Why an address gave nothing: one row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}: {detail}", rule.name())]
pub struct Refusal {
    /// The rule.
    pub rule: Rule,
    /// What was found.
    pub detail: String,
    /// Whether it may be different later; such an address is tried again.
    pub is_temporary: bool,
    /// How long the server asked us to wait.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// One that will not change.
    pub(super) fn lasting(rule: Rule, detail: impl Into<String>) -> Self {
        Self {
            rule,
            detail: detail.into(),
            is_temporary: false,
            retry_after: None,
        }
    }

    /// One that may change.
    pub(super) fn temporary(rule: Rule, detail: impl Into<String>) -> Self {
        Self {
            is_temporary: true,
            ..Self::lasting(rule, detail)
        }
    }
}

/// What became of one address.
pub type Outcome = std::result::Result<Fetched, Refusal>;

/// Counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Addresses that gave a body.
    pub n_fetched: u64,
    /// Of these, from the cache.
    pub n_cached: u64,
    /// Addresses that gave nothing.
    pub n_refused: u64,
    /// Second and further tries.
    pub n_retries: u64,
    /// Bytes of all bodies.
    pub n_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_by_their_names() {
        let rules = [
            Rule::Url,
            Rule::Port,
            Rule::Address,
            Rule::Robots,
            Rule::OptOut,
            Rule::Redirects,
            Rule::Status,
            Rule::Type,
            Rule::Bytes,
            Rule::Time,
            Rule::Network,
            Rule::Host,
            Rule::Stopped,
        ];
        for rule in rules {
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.name());
        }
        let refusal = Refusal::lasting(Rule::OptOut, "x-robots-tag: noai");
        assert_eq!(refusal.to_string(), "opt_out: x-robots-tag: noai");
    }
}

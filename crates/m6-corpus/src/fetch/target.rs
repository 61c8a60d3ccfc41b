//! Addresses before anything is dialled.

use std::net::IpAddr;

use url::{Host, Url};

use super::address;
use super::config::{Config, Network};
use super::outcome::{Refusal, Rule};

/// Longest address that is followed, in bytes.
const MAX_URL: usize = 8192;

/// An address that may be asked for, without its fragment.
pub(super) fn parse(text: &str, config: &Config) -> Result<Url, Refusal> {
    if text.len() > MAX_URL {
        let detail = format!(
            "an address of {} bytes, at most {MAX_URL} are followed",
            text.len()
        );
        return Err(Refusal::lasting(Rule::Url, detail));
    }
    let url = Url::parse(text).map_err(|error| Refusal::lasting(Rule::Url, error.to_string()))?;
    check(url, config)
}

/// Where a redirect leads, checked like any other address.
pub(super) fn join(base: &Url, location: &str, config: &Config) -> Result<Url, Refusal> {
    if location.len() > MAX_URL {
        return Err(Refusal::lasting(
            Rule::Redirects,
            "a redirect to a very long address",
        ));
    }
    let url = base
        .join(location)
        .map_err(|error| Refusal::lasting(Rule::Redirects, error.to_string()))?;
    check(url, config)
}

fn check(mut url: Url, config: &Config) -> Result<Url, Refusal> {
    if !matches!(url.scheme(), "http" | "https") {
        let detail = format!("scheme {}, only http and https are fetched", url.scheme());
        return Err(Refusal::lasting(Rule::Url, detail));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::lasting(Rule::Url, "credentials in the address"));
    }
    let port = url.port_or_known_default().unwrap_or(0);
    if config.network == Network::Public && !config.ports.contains(&port) {
        return Err(Refusal::lasting(Rule::Port, format!("port {port}")));
    }
    // A literal address needs no resolver; the resolver checks again what is dialled.
    let literal = match url.host() {
        Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        Some(Host::Domain(_)) => None,
        None => return Err(Refusal::lasting(Rule::Url, "no host in the address")),
    };
    if let Some(why) = literal.and_then(|literal| address::refuse(literal, config.network)) {
        let detail = format!("{} is {why}", url.host_str().unwrap_or_default());
        return Err(Refusal::lasting(Rule::Address, detail));
    }
    url.set_fragment(None);
    Ok(url)
}

/// The host whose turns an address takes; empty when it has none.
pub(super) fn host_of(text: &str) -> String {
    let url = Url::parse(text).ok();
    let host = url.as_ref().and_then(Url::host_str);
    host.unwrap_or_default().to_owned()
}

/// Scheme, host and port: what one robots.txt is for.
pub(super) fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, Rule>) {
        let got = parse(text, &Config::default());
        match (&got, expected) {
            (Ok(url), Ok(expected)) => assert_eq!(url.as_str(), expected),
            (Err(refusal), Err(rule)) => assert_eq!(refusal.rule, rule, "{text}: {refusal}"),
            _ => panic!("{text}: {got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn addresses_are_normalised_and_others_refused() {
        check(
            "HTTP://Example.ORG:80/a b?x=1#frag",
            Ok("http://example.org/a%20b?x=1"),
        );
        check(
            "https://例子.测试/图.jpg",
            Ok("https://xn--fsqu00a.xn--0zwm56d/%E5%9B%BE.jpg"),
        );
        check("https://example.org:8443", Ok("https://example.org:8443/"));
        check("ftp://example.org/", Err(Rule::Url));
        check("file:///etc/passwd", Err(Rule::Url));
        check("data:image/png;base64,AAAA", Err(Rule::Url));
        check("//example.org/a", Err(Rule::Url));
        check("", Err(Rule::Url));
        check("http://", Err(Rule::Url));
        check("http://user:pw@example.org/", Err(Rule::Url));
        check("http://example.org:22/", Err(Rule::Port));
        check(
            &format!("http://example.org/{}", "a".repeat(9000)),
            Err(Rule::Url),
        );
    }

    #[test]
    fn literal_addresses_of_the_inside_are_refused_however_written() {
        for text in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::a00:1]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://１２７.0.0.1/",
        ] {
            check(text, Err(Rule::Address));
        }
        check("http://8.8.8.8/", Ok("http://8.8.8.8/"));
    }

    #[test]
    fn redirects_are_checked_like_addresses() {
        let base = parse("https://example.org/a/b?c", &Config::default()).unwrap();
        let check = |location: &str, expected: Result<&str, Rule>| {
            let got = join(&base, location, &Config::default());
            assert_eq!(
                got.as_ref().map(Url::as_str).map_err(|r| r.rule),
                expected,
                "{location}"
            );
        };
        check("../x.png", Ok("https://example.org/x.png"));
        check("//other.example/y", Ok("https://other.example/y"));
        check("http://10.0.0.1/", Err(Rule::Address));
        check("http://example.org:25/", Err(Rule::Port));
        check("javascript:alert(1)", Err(Rule::Url));
        check("http://[", Err(Rule::Redirects));
    }

    #[test]
    fn hosts_and_origins() {
        assert_eq!(host_of("https://Example.org:8443/x"), "example.org");
        assert_eq!(host_of("nonsense"), "");
        let url = parse("https://example.org:8443/x", &Config::default()).unwrap();
        assert_eq!(origin_of(&url), "https://example.org:8443");
    }
}

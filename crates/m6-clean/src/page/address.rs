//! Addresses of pictures made absolute (RFC 3986 section 5), as far as web pages need it.
//!
//! Ours, because `url` brings some 25 packages for names that are never looked up here; `fetch` checks an address fully
//! before anything is dialled.

/// Longest address that is kept; longer ones are `data:`-like or damage.
const LONGEST: usize = 4096;

/// An address split at its delimiters.
struct Parts<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Self {
        let text = text.split('#').next().unwrap_or(text);
        let (scheme, rest) = match text.find([':', '/', '?']) {
            Some(at) if text[at..].starts_with(':') && is_scheme(&text[..at]) => {
                (Some(&text[..at]), &text[at + 1..])
            }
            _ => (None, text),
        };
        let (authority, rest) = match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, rest),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        Self {
            scheme,
            authority,
            path,
            query,
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// `reference` as seen from `base`, without its fragment; `None` where it is empty, too long or not of the web. Without a base
/// a relative address stays as it is.
pub(crate) fn join(base: Option<&str>, reference: &str) -> Option<String> {
    let cleaned: String = reference
        .trim_matches(|c: char| c.is_whitespace() || c.is_control())
        .chars()
        .filter(|c| !matches!(c, '\t' | '\n' | '\r'))
        .map(|c| if c == '\\' { '/' } else { c })
        .collect();
    if cleaned.is_empty() || cleaned.len() > LONGEST {
        return None;
    }
    let parts = Parts::of(&cleaned);
    if let Some(scheme) = parts.scheme {
        let web = ["http", "https", "file"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        return (web && parts.authority.is_some()).then(|| write(scheme, &parts, parts.path));
    }
    let Some(base) = base.map(Parts::of) else {
        return Some(cleaned.split('#').next().unwrap_or_default().to_string())
            .filter(|text| !text.is_empty());
    };
    let Some(scheme) = base.scheme else {
        return Some(cleaned.clone());
    };
    if parts.authority.is_some() {
        return Some(write(scheme, &parts, parts.path));
    }
    let path = if parts.path.is_empty() {
        base.path.to_string()
    } else if parts.path.starts_with('/') {
        parts.path.to_string()
    } else {
        let folder = base.path.rfind('/').map_or("/", |at| &base.path[..=at]);
        format!("{folder}{}", parts.path)
    };
    let keeps_query = parts.path.is_empty() && parts.query.is_none();
    let target = Parts {
        scheme: None,
        authority: base.authority,
        path: "",
        query: if keeps_query { base.query } else { parts.query },
    };
    Some(write(scheme, &target, &path))
}

fn write(scheme: &str, parts: &Parts<'_>, path: &str) -> String {
    let mut out = scheme.to_ascii_lowercase();
    out.push(':');
    if let Some(authority) = parts.authority {
        out.push_str("//");
        out.push_str(authority);
    }
    out.push_str(&without_dots(path).replace(' ', "%20"));
    if let Some(query) = parts.query {
        out.push('?');
        out.push_str(query);
    }
    out
}

/// A path without its `.` and `..` steps.
fn without_dots(path: &str) -> String {
    if !path.contains("/.") && !path.starts_with('.') {
        return path.to_string();
    }
    let mut steps: Vec<&str> = Vec::new();
    let last = path.rsplit('/').next().unwrap_or_default();
    for step in path.trim_start_matches('/').split('/') {
        match step {
            "." => {}
            ".." => {
                steps.pop();
            }
            _ => steps.push(step),
        }
    }
    let mut out = format!("/{}", steps.join("/"));
    if matches!(last, "." | "..") && !out.ends_with('/') {
        out.push('/');
    }
    out
}

/// The host of an address in lower case, without its port; empty where there is none.
///
/// Ours; line rules and caps per host use it.
pub fn host(url: &str) -> String {
    let authority = Parts::of(url).authority.unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let end = match host.find(']') {
        Some(at) => at + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    host[..end].to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986 section 5.4.
    const BASE: &str = "http://a/b/c/d;p?q";

    #[track_caller]
    fn check(reference: &str, expected: Option<&str>) {
        assert_eq!(
            join(Some(BASE), reference).as_deref(),
            expected,
            "{reference}"
        );
    }

    #[test]
    fn references_of_the_rfc() {
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
        ] {
            check(reference, Some(expected));
        }
    }

    #[test]
    fn what_pages_write() {
        check(" https://X.cn/a b.jpg \n", Some("https://X.cn/a%20b.jpg"));
        check("\\img\\a.jpg", Some("http://a/img/a.jpg"));
        check("", None);
        check("javascript:void(0)", None);
        check("data:image/gif;base64,R0l", None);
        check("about:blank", None);
        check(&"x".repeat(LONGEST + 1), None);
        assert_eq!(join(None, "../a.jpg#x").as_deref(), Some("../a.jpg"));
        assert_eq!(
            join(None, "//cdn.cn/a.jpg").as_deref(),
            Some("//cdn.cn/a.jpg")
        );
        assert_eq!(
            join(Some("https://a.cn"), "x.jpg").as_deref(),
            Some("https://a.cn/x.jpg")
        );
    }

    #[test]
    fn hosts() {
        assert_eq!(host("https://U:p@WWW.a.cn:80/x"), "www.a.cn");
        assert_eq!(host("http://[::1]:8/"), "[::1]");
        assert_eq!(host("a/b"), "");
    }
}

//! robots.txt (RFC 9309): groups by user agent, the longest matching rule wins, `*` and `$` in patterns.

use std::time::Duration;

/// What is read of a file: the RFC asks for at least 500 KiB.
pub(super) const MAX_BYTES: u64 = 512 << 10;
/// Rules kept of a file.
const MAX_RULES: usize = 20_000;
/// Longest pattern kept, in bytes; a longer one is cut and matched as a prefix, which forbids more, never less.
const MAX_PATTERN: usize = 2048;
/// Most wildcards in a pattern; from the next one on it is cut, as above.
const MAX_STARS: usize = 32;

/// One `Allow` or `Disallow` line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    allows: bool,
    /// Normalised: percent codes decoded where they need none, `*` and `$` kept.
    pattern: Vec<u8>,
}

/// The rules of one file for one crawler.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Robots {
    lines: Vec<Line>,
    crawl_delay: Option<Duration>,
}

/// One group while reading: names, then rules.
#[derive(Default)]
struct Group {
    is_ours: bool,
    is_anyones: bool,
    has_rules: bool,
}

impl Robots {
    /// Reads a file for the crawler whose product token is `token`; lines that say nothing known are passed over.
    ///
    /// Groups for the same crawler are put together; the group for `*` counts when there is none for it.
    pub fn parse(bytes: &[u8], token: &str) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let (mut ours, mut anyones) = (Self::default(), Self::default());
        let mut has_ours = false;
        let mut group = Group::default();
        for line in text.split(['\n', '\r']) {
            let line = line.split('#').next().unwrap_or_default();
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            if key == "user-agent" {
                if group.has_rules {
                    group = Group::default();
                }
                group.is_ours |= product(value).eq_ignore_ascii_case(token);
                group.is_anyones |= value == "*";
                has_ours |= group.is_ours;
                continue;
            }
            if matches!(key.as_str(), "allow" | "disallow" | "crawl-delay") {
                group.has_rules = true;
            }
            if group.is_ours {
                ours.take(&key, value);
            }
            if group.is_anyones {
                anyones.take(&key, value);
            }
        }
        if has_ours { ours } else { anyones }
    }

    fn take(&mut self, key: &str, value: &str) {
        match key {
            "allow" | "disallow" if !value.is_empty() && self.lines.len() < MAX_RULES => {
                self.lines.push(Line {
                    allows: key == "allow",
                    pattern: cut(normalize(value.as_bytes())),
                });
            }
            "crawl-delay" => {
                let seconds = value.parse::<f64>().ok();
                let delay = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                self.crawl_delay = self.crawl_delay.max(delay);
            }
            _ => {}
        }
    }

    /// Whether a path with its query (`/a/b?c`) may be fetched; of equally long rules `Allow` wins, `/robots.txt` always may.
    pub fn allows(&self, path_and_query: &str) -> bool {
        if path_and_query == "/robots.txt" {
            return true;
        }
        let path = normalize(path_and_query.as_bytes());
        let matching = self
            .lines
            .iter()
            .filter(|line| matches(&line.pattern, &path));
        matching
            .max_by_key(|line| (line.pattern.len(), line.allows))
            .is_none_or(|line| line.allows)
    }

    /// The `Crawl-delay` for this crawler (no part of the RFC, but meant as said).
    pub fn crawl_delay(&self) -> Option<Duration> {
        self.crawl_delay
    }
}

/// The product token of a `User-agent` value: `m6-corpus` of `m6-corpus/1.0`.
///
/// The RFC knows no digits in it, but many crawlers have some (`MJ12bot`), and files name them so.
fn product(value: &str) -> &str {
    let end = value.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
    &value[..end.unwrap_or(value.len())]
}

/// Bytes in one spelling: percent codes of letters, digits and `-._~` decoded, other codes in capitals, the rest of
/// what is not printable ASCII encoded (RFC 9309, 2.2.2).
fn normalize(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        let code = match path.get(at..at + 3) {
            Some(&[b'%', high, low]) => hex(high).zip(hex(low)).map(|(h, l)| 16 * h + l),
            _ => None,
        };
        at += if code.is_some() { 3 } else { 1 };
        match code {
            Some(code) if code.is_ascii_alphanumeric() || b"-._~".contains(&code) => out.push(code),
            Some(code) => encode(code, &mut out),
            None if byte.is_ascii_graphic() => out.push(byte),
            None => encode(byte, &mut out),
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

fn encode(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    out.extend([
        b'%',
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]);
}

/// A pattern within the limits: what is beyond is left out, so that it matches more.
fn cut(mut pattern: Vec<u8>) -> Vec<u8> {
    pattern.truncate(MAX_PATTERN);
    let stars = (0..pattern.len()).filter(|&at| pattern[at] == b'*');
    if let Some(at) = { stars }.nth(MAX_STARS) {
        pattern.truncate(at);
    }
    pattern
}

/// Whether a pattern matches from the start of a path: `*` is anything, a last `$` is the end.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let (pattern, to_end) = match pattern.strip_suffix(b"$") {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut pieces = pattern.split(|&byte| byte == b'*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = path.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<&[u8]> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return !to_end || rest.is_empty();
    };
    // The first place of each piece is as good as any later one, as only `*` follows.
    for piece in middle {
        let Some(at) = find(rest, piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    match to_end {
        true => rest.ends_with(last),
        false => find(rest, last).is_some(),
    }
}

fn find(text: &[u8], piece: &[u8]) -> Option<usize> {
    if piece.is_empty() {
        return Some(0);
    }
    text.windows(piece.len()).position(|window| window == piece)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(file: &str, path: &str, expected: bool) {
        let robots = Robots::parse(file.as_bytes(), "m6-corpus");
        assert_eq!(robots.allows(path), expected, "{path} under\n{file}");
    }

    #[test]
    fn groups_are_chosen_by_name() {
        let file =
            "User-agent: *\nDisallow: /\n\nUser-agent: M6-Corpus/2.0 (x)\nDisallow: /private\n";
        check(file, "/", true);
        check(file, "/private/x", false);
        check("User-agent: other\nDisallow: /\n", "/", true);
        check("User-agent: m6\nDisallow: /\n", "/", true);
        check(
            "User-agent: other\nUser-agent: m6-corpus\nDisallow: /a\n",
            "/a",
            false,
        );
        // Two groups of the same crawler are one; a rule outside any group is nobody's.
        let file = "Disallow: /x\nUser-agent: m6-corpus\nDisallow: /a\nUser-agent: b\nDisallow: /\nUser-agent: m6-corpus\nDisallow: /c";
        check(file, "/x", true);
        check(file, "/a", false);
        check(file, "/c", false);
        check(file, "/d", true);
        // A group of ours without rules allows everything.
        check(
            "User-agent: *\nDisallow: /\nUser-agent: m6-corpus\nDisallow:\n",
            "/a",
            true,
        );
        // Other lines do not end a list of names.
        check(
            "User-agent: m6-corpus\nSitemap: /s.xml\nUser-agent: b\nDisallow: /a",
            "/a",
            false,
        );
    }

    #[test]
    fn the_longest_rule_wins_and_allow_at_a_tie() {
        let file = "user-agent:*\nallow: /example/page/\ndisallow: /example/page/disallowed.gif\ndisallow: /example\n";
        check(file, "/example/page/a", true);
        check(file, "/example/page/disallowed.gif", false);
        check(file, "/example/other", false);
        check("user-agent: *\ndisallow: /a\nallow: /a", "/a", true);
        check("user-agent: *\nallow: /a\ndisallow: /a", "/ab", true);
        check("user-agent: *\ndisallow: /", "/robots.txt", true);
        check("user-agent: *\ndisallow: /", "/", false);
    }

    #[test]
    fn wildcards() {
        let rule = |pattern: &str, path: &str, expected: bool| {
            check(
                &format!("User-Agent: *\nDisallow: {pattern}\n"),
                path,
                !expected,
            );
        };
        rule("/*.gif$", "/a/b.gif", true);
        rule("/*.gif$", "/a/b.gif?x", false);
        rule("/*.gif", "/a/b.gif?x", true);
        rule("/a*c*e", "/abcde", true);
        rule("/a*c*e", "/aec", false);
        rule("/fish$", "/fish", true);
        rule("/fish$", "/fishes", false);
        rule("/fish*", "/fishes", true);
        rule("*", "/anything", true);
        rule("/*$", "/anything", true);
        rule("/$", "/", true);
        rule("/$", "/a", false);
        rule("/a$b", "/a$b", true);
        rule("/ab*ab$", "/ab", false);
        rule("/ab*ab$", "/abab", true);
    }

    #[test]
    fn spellings_are_one() {
        let rule = |pattern: &str, path: &str| {
            check(
                &format!("User-Agent: *\nDisallow: {pattern}\n"),
                path,
                false,
            );
        };
        rule("/图片", "/%E5%9B%BE%E7%89%87/1.jpg");
        rule("/%e5%9b%be", "/%E5%9B%BE");
        rule("/%61bc", "/abc");
        rule("/a%7Eb", "/a~b");
        rule("/a b", "/a%20b");
        check("User-Agent: *\nDisallow: /a%2Fb", "/a/b", true);
        check("User-Agent: *\nDisallow: /%zz", "/%zz", false);
    }

    #[test]
    fn comments_ends_of_lines_and_delays() {
        let file = "\u{feff}# for all\r\nUser-agent: * # everyone\r\nCrawl-delay: 2.5\r\nDisallow: /a # not this\r\nCrawl-delay: x\rDisallow: /b";
        check(file, "/a", false);
        check(file, "/b", false);
        let robots = Robots::parse(file.as_bytes(), "m6-corpus");
        assert_eq!(robots.crawl_delay(), Some(Duration::from_millis(2500)));
        assert_eq!(
            Robots::parse(b"User-agent: *\nCrawl-delay: -1", "x").crawl_delay(),
            None
        );
        assert_eq!(Robots::parse(b"", "x"), Robots::default());
    }

    #[test]
    fn limits_forbid_more_never_less() {
        let stars = "/a".to_owned() + &"*b".repeat(40);
        check(
            &format!("User-agent: *\nDisallow: {stars}"),
            &format!("/a{}", "b".repeat(32)),
            false,
        );
        let long = "/".to_owned() + &"x".repeat(5000);
        check(
            &format!("User-agent: *\nDisallow: {long}"),
            &long[..3000],
            false,
        );
        let many = "User-agent: *\n".to_owned() + &"Disallow: /x\n".repeat(30_000);
        assert_eq!(Robots::parse(many.as_bytes(), "m").lines.len(), MAX_RULES);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), path in ".{0,40}") {
            let text = [b"User-agent: *\nDisallow: ".as_slice(), &bytes].concat();
            let _ = Robots::parse(&text, "m6-corpus").allows(&path);
        }

        #[test]
        fn globs_match_as_a_slow_matcher_does(pattern in "[ab*]{0,8}\\$?", path in "[ab]{0,10}") {
            fn slow(pattern: &[u8], path: &[u8]) -> bool {
                match pattern.split_first() {
                    None => true,
                    Some((b'$', [])) => path.is_empty(),
                    Some((b'*', rest)) => (0..=path.len()).any(|at| slow(rest, &path[at..])),
                    Some((byte, rest)) => path.split_first().is_some_and(|(first, path)| first == byte && slow(rest, path)),
                }
            }
            prop_assert_eq!(matches(pattern.as_bytes(), path.as_bytes()), slow(pattern.as_bytes(), path.as_bytes()));
        }
    }
}

//! E-mail addresses, and the QQ and WeChat names that stand after a word for either.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::{Kind, Span};

/// The longest local part and domain of an address (RFC 5321).
const MAX_LOCAL_BYTES: usize = 64;
const MAX_DOMAIN_BYTES: usize = 253;
/// Characters between the word and the name, at most.
const MAX_JOINERS: usize = 6;

/// Words before a QQ number.
const QQ_WORDS: &[&str] = &[
    "qq",
    "qq号",
    "qq号码",
    "qq群",
    "qq群号",
    "扣扣",
    "扣扣号",
    "企鹅号",
    "q群",
    "扣群",
    "加q",
    "ｑｑ",
    "球球号",
];
/// Words before a WeChat name.
const WECHAT_WORDS: &[&str] = &[
    "微信",
    "微信号",
    "微信号码",
    "加微信",
    "薇信",
    "维信",
    "加微",
    "加v",
    "v信",
    "vx",
    "wx",
    "wechat",
    "weixin",
    "微信id",
];
/// Words that invite to add somebody: a name may follow them directly.
const INVITATIONS: &[&str] = &["加微信", "加微", "加v", "v信", "vx", "wx", "薇信", "维信"];
/// What may stand between word and name.
const JOINERS: &str = ":：号码是为加=＝ \u{3000}-—→>()（）【】[]";
/// Joiners that make plain that a name follows.
const CLEAR_JOINERS: &str = ":：号是为=＝";

static WORDS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        // All matches, since words contain one another: 加VX is 加V and VX.
        .match_kind(MatchKind::Standard)
        .build(QQ_WORDS.iter().chain(WECHAT_WORDS))
        .ok()
});

/// True when a word for QQ or WeChat stands in the text.
pub(super) fn has_keyword(text: &str) -> bool {
    WORDS.as_ref().is_some_and(|words| words.is_match(text))
}

/// Finds e-mail addresses and names after keywords and adds them to `spans`.
pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let mut free = 0;
    for (at, _) in text.match_indices('@') {
        if let Some(span) = email(text.as_bytes(), at, free) {
            free = span.end;
            spans.push(span);
        }
    }
    let Some(words) = WORDS.as_ref() else { return };
    for hit in words.find_overlapping_iter(text) {
        let before = hit
            .start()
            .checked_sub(1)
            .and_then(|index| text.as_bytes().get(index))
            .copied()
            .unwrap_or(b' ');
        let word = &text[hit.range()];
        if word.starts_with(|c: char| c.is_ascii_alphabetic()) && before.is_ascii_alphanumeric() {
            continue;
        }
        let is_qq = hit.pattern().as_usize() < QQ_WORDS.len();
        spans.extend(if is_qq {
            qq(text, hit.end())
        } else {
            wechat(text, word, hit.end())
        });
    }
}

fn email(bytes: &[u8], at: usize, free: usize) -> Option<Span> {
    let is_local = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-')
    };
    let n_local = bytes
        .get(free..at)?
        .iter()
        .rev()
        .take(MAX_LOCAL_BYTES + 1)
        .take_while(|byte| is_local(byte))
        .count();
    let n_dots = bytes
        .get(at - n_local..at)?
        .iter()
        .take_while(|byte| !byte.is_ascii_alphanumeric())
        .count();
    let start = at - n_local + n_dots;
    if start == at || n_local > MAX_LOCAL_BYTES {
        return None;
    }
    let tail = bytes.get(at + 1..)?;
    let is_domain = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let n_domain = tail
        .iter()
        .take(MAX_DOMAIN_BYTES)
        .take_while(is_domain)
        .count();
    let mut domain = tail.get(..n_domain)?;
    while let [rest @ .., b'.' | b'-'] = domain {
        domain = rest;
    }
    let labels: Vec<&[u8]> = domain.split(|byte| *byte == b'.').collect();
    let (top, rest) = labels.split_last()?;
    let is_name = |label: &&[u8]| label.first().is_some_and(u8::is_ascii_alphanumeric);
    let is_top = (2..=24).contains(&top.len()) && top.iter().all(u8::is_ascii_alphabetic);
    let is_right = is_top && !rest.is_empty() && rest.iter().all(is_name);
    is_right.then_some(Span {
        kind: Kind::Email,
        start,
        end: at + 1 + domain.len(),
    })
}

/// Where the name begins behind the joiners, and the joiners.
fn after_joiners(text: &str, at: usize) -> (usize, &str) {
    let rest = &text[at..];
    let n_bytes: usize = rest
        .chars()
        .take(MAX_JOINERS)
        .take_while(|c| JOINERS.contains(*c))
        .map(char::len_utf8)
        .sum();
    (at + n_bytes, &rest[..n_bytes])
}

fn name(text: &str, at: usize, is_part: fn(u8) -> bool) -> &str {
    let n_bytes = text.as_bytes()[at..]
        .iter()
        .take_while(|byte| is_part(**byte))
        .count();
    &text[at..at + n_bytes]
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Five to eleven digits that do not begin with 0.
fn is_qq_number(name: &str) -> bool {
    (5..=11).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_digit())
        && !name.starts_with('0')
}

fn qq(text: &str, at: usize) -> Option<Span> {
    let (start, _) = after_joiners(text, at);
    let name = name(text, start, is_name_byte);
    // A mailbox at qq.com is an e-mail address.
    let is_mail = text[start + name.len()..].starts_with('@');
    (is_qq_number(name) && !is_mail).then_some(Span {
        kind: Kind::Qq,
        start,
        end: start + name.len(),
    })
}

/// A WeChat name: 6 to 20 letters, digits, `_` and `-` beginning with a letter, or a number.
fn wechat(text: &str, word: &str, at: usize) -> Option<Span> {
    let (start, joiners) = after_joiners(text, at);
    let name = name(text, start, is_name_byte);
    let is_named =
        (6..=20).contains(&name.len()) && name.starts_with(|c: char| c.is_ascii_alphabetic());
    let has_digit = name.bytes().any(|byte| byte.is_ascii_digit());
    // "微信 Android" names nobody, "微信号：abcdef" does, and so does "加V abc123".
    let is_clear =
        joiners.contains(|c: char| CLEAR_JOINERS.contains(c)) || word.ends_with(['号', '码']);
    let is_invited = INVITATIONS.contains(&word.to_lowercase().as_str()) && has_digit;
    let is_mail = text[start + name.len()..].starts_with('@');
    let is_person = (is_named || is_qq_number(name)) && (is_clear || is_invited);
    (is_person && !is_mail).then_some(Span {
        kind: Kind::Wechat,
        start,
        end: start + name.len(),
    })
}

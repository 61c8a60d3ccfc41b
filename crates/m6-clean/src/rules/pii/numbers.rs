//! Personal data made of digits: cards, mobiles, addresses, plates.

use super::checks::{is_bank_card, is_id_card, is_mobile, public_ip};
use super::{Kind, Span};

/// Most digit groups looked at together; no number here is written in more.
const MAX_GROUPS: usize = 6;
/// The longest run of hexadecimal digits, colons and dots tried as an address: 39 bytes suffice for IPv6.
const MAX_IP_BYTES: usize = 45;

/// First characters of licence plates: the provinces.
const PROVINCES: &str = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼";
/// Last characters of special plates.
const PLATE_ENDS: &str = "挂学警港澳领试超";
/// What may stand between the letter and the number of a plate.
const PLATE_DOTS: &str = "·•. -";

/// Whether something may begin with a byte: digits, capitals, and the small letters of hexadecimal numbers.
fn may_begin(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'f')
}

/// Finds everything made of digits and adds it to `spans`.
pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(skipped) = bytes
        .get(at..)
        .and_then(|rest| rest.iter().position(may_begin))
    {
        at += skipped;
        let byte = bytes[at];
        let before = at
            .checked_sub(1)
            .and_then(|index| bytes.get(index))
            .copied()
            .unwrap_or(b' ');
        let starts_word = !before.is_ascii_alphanumeric() && before != b'_';
        let found = match byte {
            b'0'..=b'9' if starts_word => address(text, at).or_else(|| number(bytes, at)),
            b'a'..=b'f' | b'A'..=b'F' if starts_word && before != b':' => {
                address(text, at).or_else(|| plate(text, at))
            }
            b'A'..=b'Z' => plate(text, at),
            _ => None,
        };
        match found {
            Some(span) => {
                at = span.end.max(at + 1);
                spans.push(span);
            }
            None if byte.is_ascii_digit() => at = run_end(bytes, at),
            None => at += 1,
        }
    }
}

fn run_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .map_or(bytes.len(), |n| at + n)
}

/// True when a word could not go on at `at`.
fn ends_word(bytes: &[u8], at: usize) -> bool {
    bytes
        .get(at)
        .is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
}

/// Groups of digits separated by single blanks or hyphens, from `at` on.
fn groups(bytes: &[u8], at: usize) -> Vec<(usize, usize)> {
    let mut groups = vec![(at, run_end(bytes, at))];
    while let Some(&(_, end)) = groups.last().filter(|_| groups.len() < MAX_GROUPS) {
        let is_joined = matches!(bytes.get(end), Some(b' ' | b'-'))
            && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !is_joined {
            break;
        }
        groups.push((end + 1, run_end(bytes, end + 1)));
    }
    groups
}

/// A card or a mobile that begins at `at`.
fn number(bytes: &[u8], at: usize) -> Option<Span> {
    // A fraction such as 0.13812345678 is no number of anybody.
    let is_fraction = at >= 2 && bytes[at - 1] == b'.' && bytes[at - 2].is_ascii_digit();
    if is_fraction {
        return None;
    }
    let groups = groups(bytes, at);
    let lens: Vec<usize> = groups.iter().map(|(start, end)| end - start).collect();
    let span = |kind: Kind, n_groups: usize, n_more: usize| {
        let end = groups.get(n_groups - 1)?.1 + n_more;
        let digits: Vec<u8> = bytes
            .get(at..end)?
            .iter()
            .copied()
            .filter(u8::is_ascii_alphanumeric)
            .collect();
        let is_right = match kind {
            Kind::IdCard => is_id_card(&digits),
            Kind::BankCard => is_bank_card(&digits),
            _ => is_mobile(digits.get(digits.len().checked_sub(11)?..)?),
        };
        (is_right && ends_word(bytes, end)).then_some(Span {
            kind,
            start: at,
            end,
        })
    };
    match *lens.as_slice() {
        [17, ..] => span(Kind::IdCard, 1, 1).or_else(|| span(Kind::BankCard, 1, 0)),
        [18, ..] => span(Kind::IdCard, 1, 0).or_else(|| span(Kind::BankCard, 1, 0)),
        [16 | 19, ..] => span(Kind::BankCard, 1, 0),
        [6, 8, 3, ..] => span(Kind::IdCard, 3, 1),
        [6, 8, 4, ..] => span(Kind::IdCard, 3, 0),
        [4, 4, 4, 4, 1..=3, ..] => {
            span(Kind::BankCard, 5, 0).or_else(|| span(Kind::BankCard, 4, 0))
        }
        [4, 4, 4, 4, ..] => span(Kind::BankCard, 4, 0),
        [11, ..] => span(Kind::Mobile, 1, 0),
        [13, ..] if bytes[at..].starts_with(b"86") => span(Kind::Mobile, 1, 0),
        [15, ..] if bytes[at..].starts_with(b"0086") => span(Kind::Mobile, 1, 0),
        [3, 4, 4, ..] => span(Kind::Mobile, 3, 0),
        [2, 11, ..] if bytes[at..].starts_with(b"86") => span(Kind::Mobile, 2, 0),
        [4, 11, ..] if bytes[at..].starts_with(b"0086") => span(Kind::Mobile, 2, 0),
        [2, 3, 4, 4, ..] if bytes[at..].starts_with(b"86") => span(Kind::Mobile, 4, 0),
        _ => None,
    }
}

/// A public address that begins at `at`.
fn address(text: &str, at: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let n_bytes = bytes[at..]
        .iter()
        .take(MAX_IP_BYTES + 1)
        .take_while(is_part)
        .count();
    let end = at + n_bytes;
    // A full stop may close the sentence that the address stands in.
    let token = text.get(at..end)?.trim_end_matches(['.', ':']);
    let n_dots = token.bytes().filter(|byte| *byte == b'.').count();
    let n_colons = token.bytes().filter(|byte| *byte == b':').count();
    let candidate = match (n_dots, n_colons) {
        (3, 0) | (0, 2..) => token,
        // A port behind the address.
        (3, 1) => token.split(':').next()?,
        _ => return None,
    };
    if n_bytes > MAX_IP_BYTES
        || !ends_word(bytes, at + token.len())
        || (at > 0 && bytes[at - 1] == b'.')
    {
        return None;
    }
    public_ip(candidate).map(|_| Span {
        kind: Kind::Ip,
        start: at,
        end: at + candidate.len(),
    })
}

/// A licence plate whose letter stands at `at`: province, letter, then five or six letters and digits without I and O.
fn plate(text: &str, at: usize) -> Option<Span> {
    let province = text[..at]
        .chars()
        .next_back()
        .filter(|c| PROVINCES.contains(*c))?;
    if !is_plate_char(*text.as_bytes().get(at)?) {
        return None;
    }
    let rest = &text[at + 1..];
    let dot = rest
        .chars()
        .next()
        .filter(|c| PLATE_DOTS.contains(*c))
        .map_or(0, char::len_utf8);
    let body = &rest[dot..];
    let n_body = body.bytes().take_while(|byte| is_plate_char(*byte)).count();
    let n_digits = body.bytes().take(n_body).filter(u8::is_ascii_digit).count();
    let end_char = body[n_body..]
        .chars()
        .next()
        .filter(|c| PLATE_ENDS.contains(*c));
    let n_end = match (n_body, end_char) {
        (4, Some(c)) => c.len_utf8(),
        (5 | 6, _) => 0,
        _ => return None,
    };
    let end = at + 1 + dot + n_body + n_end;
    let is_plate = n_digits >= 2 && ends_word(text.as_bytes(), end);
    is_plate.then_some(Span {
        kind: Kind::Plate,
        start: at - province.len_utf8(),
        end,
    })
}

fn is_plate_char(byte: u8) -> bool {
    byte.is_ascii_digit() || (byte.is_ascii_uppercase() && byte != b'I' && byte != b'O')
}

//! Character references (`&amp;`, `&#x4e2d;`), as the HTML standard reads them.

use encoding_rs::WINDOWS_1252;
use html_escape::NAMED_ENTITIES;
use std::borrow::Cow;

/// Longest name of a reference that is looked up; the longest of the standard has 31 letters.
const LONGEST_NAME: usize = 32;

/// Names that older pages write without the semicolon, which the standard still reads. Sorted.
const WITHOUT_SEMICOLON: [&str; 106] = [
    "AElig", "AMP", "Aacute", "Acirc", "Agrave", "Aring", "Atilde", "Auml", "COPY", "Ccedil",
    "ETH", "Eacute", "Ecirc", "Egrave", "Euml", "GT", "Iacute", "Icirc", "Igrave", "Iuml", "LT",
    "Ntilde", "Oacute", "Ocirc", "Ograve", "Oslash", "Otilde", "Ouml", "QUOT", "REG", "THORN",
    "Uacute", "Ucirc", "Ugrave", "Uuml", "Yacute", "aacute", "acirc", "acute", "aelig", "agrave",
    "amp", "aring", "atilde", "auml", "brvbar", "ccedil", "cedil", "cent", "copy", "curren", "deg",
    "divide", "eacute", "ecirc", "egrave", "eth", "euml", "frac12", "frac14", "frac34", "gt",
    "iacute", "icirc", "iexcl", "igrave", "iquest", "iuml", "laquo", "lt", "macr", "micro",
    "middot", "nbsp", "not", "ntilde", "oacute", "ocirc", "ograve", "ordf", "ordm", "oslash",
    "otilde", "ouml", "para", "plusmn", "pound", "quot", "raquo", "reg", "sect", "shy", "sup1",
    "sup2", "sup3", "szlig", "thorn", "times", "uacute", "ucirc", "ugrave", "uml", "uuml",
    "yacute", "yen", "yuml",
];

/// The text with its character references replaced; `in_attribute` leaves `&copy=1` of an address alone.
pub(crate) fn decode(raw: &str, in_attribute: bool) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'&', raw.as_bytes()) else {
        return Cow::Borrowed(raw);
    };
    let mut out = String::with_capacity(raw.len());
    out.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    loop {
        match reference(rest, in_attribute) {
            Some((n, text)) => {
                text.push_to(&mut out);
                rest = &rest[n..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
        let Some(next) = memchr::memchr(b'&', rest.as_bytes()) else {
            out.push_str(rest);
            return Cow::Owned(out);
        };
        out.push_str(&rest[..next]);
        rest = &rest[next..];
    }
}

/// What a reference stands for.
enum Meaning {
    One(char),
    Named(&'static str),
}

impl Meaning {
    fn push_to(&self, out: &mut String) {
        match self {
            Self::One(c) => out.push(*c),
            Self::Named(text) => out.push_str(text),
        }
    }
}

/// The reference at the start of `text`, which begins with `&`: how many bytes it takes, and its meaning.
fn reference(text: &str, in_attribute: bool) -> Option<(usize, Meaning)> {
    let bytes = text.as_bytes();
    match bytes.get(1)? {
        b'#' => number(bytes),
        c if c.is_ascii_alphanumeric() => name(text, in_attribute),
        _ => None,
    }
}

fn number(bytes: &[u8]) -> Option<(usize, Meaning)> {
    let hex = matches!(bytes.get(2), Some(b'x' | b'X'));
    let (start, radix) = if hex { (3, 16) } else { (2, 10) };
    let mut at = start;
    let mut value = 0u32;
    while let Some(digit) = bytes.get(at).and_then(|b| char::from(*b).to_digit(radix)) {
        value = value.saturating_mul(radix).saturating_add(digit);
        at += 1;
    }
    if at == start {
        return None;
    }
    let n = at + usize::from(bytes.get(at) == Some(&b';'));
    // Pages wrote Windows-1252 in 0x80 to 0x9F, and the standard gave in.
    let c = match u8::try_from(value) {
        Ok(byte @ 0x80..=0x9F) => {
            let byte = [byte];
            let (text, _) = WINDOWS_1252.decode_without_bom_handling(&byte);
            text.chars().next()
        }
        _ => char::from_u32(value).filter(|c| *c != '\0'),
    };
    Some((n, Meaning::One(c.unwrap_or(char::REPLACEMENT_CHARACTER))))
}

fn name(text: &str, in_attribute: bool) -> Option<(usize, Meaning)> {
    let bytes = &text.as_bytes()[1..];
    let n = bytes
        .iter()
        .take(LONGEST_NAME)
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    if bytes.get(n) == Some(&b';')
        && let Some(meaning) = look_up(&bytes[..n])
    {
        return Some((n + 2, Meaning::Named(meaning)));
    }
    // The longest known beginning of a word counts: `&notit;` is `¬it;`.
    for end in (2..=n).rev() {
        let known = WITHOUT_SEMICOLON.binary_search_by(|known| known.as_bytes().cmp(&bytes[..end]));
        if known.is_err() {
            continue;
        }
        let next = bytes.get(end);
        if in_attribute && next.is_some_and(|b| *b == b'=' || b.is_ascii_alphanumeric()) {
            return None;
        }
        return look_up(&bytes[..end]).map(|meaning| (end + 1, Meaning::Named(meaning)));
    }
    None
}

fn look_up(name: &[u8]) -> Option<&'static str> {
    let at = NAMED_ENTITIES
        .binary_search_by(|(known, _)| (*known).cmp(name))
        .ok()?;
    NAMED_ENTITIES.get(at).map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, in_text: &str, in_attribute: &str) {
        assert_eq!(decode(raw, false), in_text, "in text: {raw}");
        assert_eq!(decode(raw, true), in_attribute, "in an attribute: {raw}");
    }

    #[test]
    fn names() {
        check("a &lt; b", "a < b", "a < b");
        check("&nbsp;", "\u{a0}", "\u{a0}");
        check("&copy;2024", "©2024", "©2024");
        check("&copy 2024", "© 2024", "© 2024");
        check("?a=1&copy=2", "?a=1©=2", "?a=1&copy=2");
        check("&notit;", "¬it;", "&notit;");
        check("&notin;", "∉", "∉");
        check("&CounterClockwiseContourIntegral;", "∳", "∳");
        check("&nothing", "¬hing", "&nothing");
        check("&unknown;", "&unknown;", "&unknown;");
        check("&中;& &&amp;", "&中;& &&", "&中;& &&");
        check("&", "&", "&");
    }

    #[test]
    fn numbers() {
        check("&#20013;&#x6587;&#X6587", "中文文", "中文文");
        check(
            "&#150;&#0;&#xD800;&#x110000;",
            "–\u{fffd}\u{fffd}\u{fffd}",
            "–\u{fffd}\u{fffd}\u{fffd}",
        );
        check("&#99999999999999999999;", "\u{fffd}", "\u{fffd}");
        check("&#;&#x;&#", "&#;&#x;&#", "&#;&#x;&#");
    }

    #[test]
    fn the_names_are_sorted_and_known() {
        assert!(WITHOUT_SEMICOLON.is_sorted());
        for name in WITHOUT_SEMICOLON {
            assert!(look_up(name.as_bytes()).is_some(), "{name}");
        }
    }
}

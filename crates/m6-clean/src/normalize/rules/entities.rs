//! HTML entities that were left in a text.

use encoding_rs::WINDOWS_1252;
use html_escape::NAMED_ENTITIES;

/// Longest entity that is looked for, in bytes; HTML's longest name has 33 with its semicolon.
const MAX_BYTES: usize = 40;

/// The entity that a text ends with: its first byte and its character.
pub(super) fn at_end(text: &str) -> Option<(usize, char)> {
    let bytes = text.strip_suffix(';')?.as_bytes();
    let window = bytes.len().saturating_sub(MAX_BYTES);
    let start = window + bytes.get(window..)?.iter().rposition(|b| *b == b'&')?;
    let name = text.get(start + 1..bytes.len())?;
    let meant = match name.strip_prefix('#') {
        Some(number) => numbered(number)?,
        None => named(name)?,
    };
    Some((start, meant))
}

/// A named one, without its marks.
fn named(name: &str) -> Option<char> {
    let at = NAMED_ENTITIES
        .binary_search_by(|(known, _)| (*known).cmp(name.as_bytes()))
        .ok()?;
    NAMED_ENTITIES.get(at)?.1.chars().next()
}

/// A numeric one, decimal or hexadecimal; numbers of Windows-1252 mean its characters, as in browsers.
fn numbered(number: &str) -> Option<char> {
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    if digits.starts_with('+') {
        return None;
    }
    let code = u32::from_str_radix(digits, radix).ok()?;
    let byte = u8::try_from(code)
        .ok()
        .filter(|byte| (0x80..=0x9f).contains(byte));
    let meant = match byte {
        Some(byte) => WINDOWS_1252
            .decode_without_bom_handling(&[byte])
            .0
            .chars()
            .next(),
        None => char::from_u32(code),
    };
    meant.filter(|c| *c != '\0' && !('\u{80}'..='\u{9f}').contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(usize, char)>) {
        assert_eq!(at_end(text), expected, "{text}");
    }

    #[test]
    fn names_and_numbers() {
        check("a&amp;", Some((1, '&')));
        check("中&nbsp;", Some((3, '\u{a0}')));
        check("&#20013;", Some((0, '中')));
        check("&#x4E2d;", Some((0, '中')));
        check("&#X4e2d;", Some((0, '中')));
        check("&#146;", Some((0, '’')));
        check("&&lt;", Some((1, '<')));
        check("&CounterClockwiseContourIntegral;", Some((0, '∳')));
    }

    #[test]
    fn what_is_none_stays() {
        let none = [
            "",
            ";",
            "&;",
            "a;",
            "&am;",
            "&amp",
            "&nosuch;",
            "&#;",
            "&#x;",
            "&#+1;",
            "&#0;",
            "&#xd800;",
            "&#x110000;",
            "&#99999999999999;",
            "&#129;",
            "& amp;",
        ];
        for text in none {
            check(text, None);
        }
    }
}

//! Ideographic description sequences (`⿰木干`): a drawing of one character, whose parts are not to be converted.

/// First operator.
pub(super) const FIRST: u32 = 0x2ff0;
/// Last operator.
pub(super) const LAST: u32 = 0x2fff;
/// Deepest nesting that is taken as a sequence, as in OpenCC.
const MAX_DEPTH: usize = 16;
/// Most characters of a sequence, as in OpenCC.
const MAX_CHARS: usize = 64;

/// How many parts follow an operator; 0 for every other character.
fn arity(c: char) -> usize {
    match u32::from(c) {
        0x2ff2 | 0x2ff3 => 3,
        0x2ffe | 0x2fff => 1,
        FIRST..=LAST => 2,
        _ => 0,
    }
}

/// Bytes of the complete sequence that `text` begins with, if it does.
///
/// A sequence ends with its line (ours), so that converting a text equals converting its lines.
pub(super) fn length(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    if arity(first) == 0 {
        return None;
    }
    // How many parts each open operator still waits for.
    let mut open: Vec<usize> = Vec::with_capacity(MAX_DEPTH);
    for (n_chars, (at, c)) in text.char_indices().enumerate() {
        if n_chars == MAX_CHARS || open.len() == MAX_DEPTH || c == '\n' {
            return None;
        }
        let parts = arity(c);
        if parts > 0 {
            open.push(parts);
            continue;
        }
        while let Some(waiting) = open.last_mut() {
            *waiting -= 1;
            if *waiting > 0 {
                break;
            }
            open.pop();
        }
        if open.is_empty() {
            return Some(at + c.len_utf8());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(length(text), expected.map(str::len), "{text}");
    }

    #[test]
    fn complete_sequences_only() {
        check("⿰木干后", Some("⿰木干"));
        check("⿱艹⿰木干后", Some("⿱艹⿰木干"));
        check("⿲木木木木", Some("⿲木木木"));
        check("⿾木木", Some("⿾木"));
        check("⿰木", None);
        check("⿰木\n干", None);
        check("木", None);
        check("", None);
        let (deep, shallow) = ("⿾".repeat(16) + "木", "⿾".repeat(15) + "木");
        check(&deep, None);
        check(&shallow, Some(&shallow));
    }
}

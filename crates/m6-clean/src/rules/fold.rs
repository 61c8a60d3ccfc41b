//! The characters as the models see them (ours): blanks gone, widths and cases one, digits alike.

use super::chars::{Class, class};

/// The one form that stands for a character in a model; `None` for blanks and control characters.
///
/// Full-width ASCII becomes half-width, capitals become small, every digit becomes `0`: neither a width nor a date is a
/// matter of style.
#[inline]
pub(crate) fn fold(c: char) -> Option<char> {
    if ('\u{4E00}'..='\u{9FFF}').contains(&c) {
        return Some(c);
    }
    let narrow = match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(c as u32 - 0xFEE0).unwrap_or(c),
        _ => c,
    };
    match class(narrow) {
        Class::Space | Class::Control => None,
        Class::Digit => Some('0'),
        _ => Some(narrow.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_drops_blanks_and_unites_forms() {
        let check = |text: &str, expected: &str| {
            let folded: String = text.chars().filter_map(fold).collect();
            assert_eq!(folded, expected);
            let again: String = folded.chars().filter_map(fold).collect();
            assert_eq!(again, folded, "folding twice changes nothing");
        };
        check("中 文\n\u{3000}ABC１２3\0", "中文abc000");
        check("Ａ！，。ｚ", "a!,。z");
        check("é𠀀😀", "é𠀀😀");
    }
}

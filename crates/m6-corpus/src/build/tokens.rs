//! How long a text is in the table of the corpus (paper section 1.1).

use m6_clean::rules::chars::{Class, class};

/// Tokens of a text: a Chinese character is one, so is a mark or a sign, so is a run of other letters or of digits.
///
/// What a WordPiece vocabulary makes of Chinese text is about that (paper section 2.1); no vocabulary is needed to count it.
pub fn count_tokens(text: &str) -> u64 {
    let (mut n_tokens, mut run) = (0, None);
    for c in text.chars() {
        let class = class(c);
        let runs = matches!(class, Class::Latin | Class::Digit | Class::Letter);
        let is_silent = matches!(class, Class::Space | Class::Control);
        if !(is_silent || runs && run == Some(class)) {
            n_tokens += 1;
        }
        run = runs.then_some(class);
    }
    n_tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_characters_marks_and_runs() {
        for (text, expected) in [
            ("", 0),
            (" \n\u{3000}", 0),
            ("猫在树上。", 5),
            ("iPhone 12 很好", 4),
            ("iPhone12", 2),
            ("3.5%", 4),
            ("привет мир", 2),
            ("😀", 1),
        ] {
            assert_eq!(count_tokens(text), expected, "{text:?}");
        }
    }
}

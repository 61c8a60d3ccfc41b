//! Tells text that no rule would change, at one look a character: most lines of a corpus (ours).

use super::chars::{is_ideograph, is_punctuation, usual_width};
use super::mojibake::may_begin_gbk;
use std::sync::OnceLock;
use unicode_normalization::{IsNormalized, is_nfc_quick};

/// What a character means for the question; anything that a rule might change is [`CLOSER`].
type Kind = u8;
/// Some rule has to look.
const CLOSER: Kind = 0;
/// May stand anywhere, any number of times.
const FREE: Kind = 1;
/// Stays unless it is repeated.
const MARK: Kind = 2;
/// Stays unless a mark of emphasis stands before it.
const EMPHASIS: Kind = 3;
/// A space: stays between two characters that are none.
const BLANK: Kind = 4;
/// A line feed: stays unless repeated or beside a space.
const END: Kind = 5;

const BMP: usize = 1 << 16;

/// Whether every rule leaves the text as it is. `false` only says that the rules must be asked.
pub(super) fn is_clean(text: &str) -> bool {
    let kinds = kinds();
    let mut before = (END, '\0');
    for c in text.chars() {
        let kind = kinds.get(c as usize).copied().unwrap_or(CLOSER);
        let stays = match kind {
            FREE => true,
            MARK => before.1 != c,
            EMPHASIS => before.0 != EMPHASIS,
            BLANK => before.0 != BLANK && before.0 != END,
            END => before.0 != BLANK && before.1 != c,
            _ => false,
        };
        if !stays {
            return false;
        }
        before = (kind, c);
    }
    before.0 != BLANK
}

fn kinds() -> &'static [Kind] {
    static KINDS: OnceLock<Vec<Kind>> = OnceLock::new();
    KINDS.get_or_init(|| {
        let of = |code: usize| char::from_u32(code as u32).map_or(CLOSER, kind);
        (0..BMP).map(of).collect()
    })
}

fn kind(c: char) -> Kind {
    match c {
        '\n' => END,
        ' ' => BLANK,
        // It may begin an entity.
        '&' => CLOSER,
        '!' | '?' | '！' | '？' => EMPHASIS,
        _ if c.is_ascii_alphanumeric() => FREE,
        _ if c.is_ascii_punctuation() => MARK,
        _ if is_nfc_quick(std::iter::once(c)) != IsNormalized::Yes => CLOSER,
        _ if is_ideograph(c) && !may_begin_gbk(c) => FREE,
        // The width of some depends on what stands before.
        _ if is_punctuation(c)
            && [None, Some('1'), Some('カ')]
                .iter()
                .all(|b| usual_width(c, *b) == c) =>
        {
            MARK
        }
        _ => CLOSER,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Rules;
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: bool) {
        assert_eq!(is_clean(text), expected, "{text:?}");
    }

    #[test]
    fn ordinary_text_needs_no_closer_look() {
        for text in [
            "",
            "这是一段干净的文字，没有什么要改。M6 has 10 billion parameters.",
            "“引号”（括号）《书名》、一行\n又一行",
        ] {
            check(text, true);
        }
        for text in [
            "好！！",
            "好?！",
            "好。。",
            " 好",
            "好 ",
            "好  好",
            "好 \n好",
            "好\n 好",
            "好\n\n好",
            "a&amp;",
            "Ａ",
            "好\t",
            "１",
            "\0",
            "é",
            "\u{2f800}",
            "涓枃",
            "50％",
            "ｶ",
            "😀",
            "\u{f900}",
        ] {
            check(text, false);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn what_is_called_clean_is_changed_by_no_rule(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "Z", "9", " ", "\n", "中", "文", "涓", "枃", "。", "，", "！", "?", ".", "-", "…", "—", "“", ";", "amp;", "#", "·",
                    "％", "．", "ｶ", "〇", "々", "「", "～", "\u{2019}", "\u{3001}",
                ]),
                0..12,
            ),
            any in "\\PC{0,12}",
        ) {
            for text in [parts.concat(), any] {
                if is_clean(&text) {
                    let rules = Rules { whitelist: true, ..Rules::default() };
                    prop_assert_eq!(rules.round(&text), text);
                }
            }
        }
    }
}

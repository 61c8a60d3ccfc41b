//! What kind of character this is: one table look-up for the Basic Multilingual Plane (Unicode general categories, grouped by us).

use std::sync::LazyLock;

use unicode_general_category::{GeneralCategory, get_general_category};

/// Kinds of characters that the ratios are taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Chinese characters, with 々 and 〇.
    Han,
    /// Latin letters, half or full width.
    Latin,
    /// Decimal digits, half or full width.
    Digit,
    /// Punctuation of any script; every printable ASCII sign, and its full-width form, counts here.
    Punctuation,
    /// White space and line ends.
    Space,
    /// Signs, arrows, boxes, emoji, circled numbers.
    Symbol,
    /// Letters and marks of other scripts.
    Letter,
    /// Control and format characters that are not white space.
    Control,
    /// Replacement characters, private use and unassigned code points: what wrong decoding leaves behind.
    Broken,
}

/// Number of classes.
pub const N_CLASSES: usize = 9;

const CLASSES: [Class; N_CLASSES] = [
    Class::Han,
    Class::Latin,
    Class::Digit,
    Class::Punctuation,
    Class::Space,
    Class::Symbol,
    Class::Letter,
    Class::Control,
    Class::Broken,
];

/// Set in a table entry when only traditional writing uses the character.
const TRADITIONAL: u8 = 0x80;
const CLASS_BITS: u8 = 0x0f;
const BMP: usize = 0x1_0000;

/// Characters of traditional writing, from OpenCC's tables (see the file's head for source and licence).
const TRADITIONAL_CHARS: &str = include_str!("data/traditional.txt");

static TABLE: LazyLock<Box<[u8]>> = LazyLock::new(|| {
    let mut table: Box<[u8]> = (0..BMP as u32)
        .map(|code| char::from_u32(code).map_or(Class::Broken, classify) as u8)
        .collect();
    let lines = TRADITIONAL_CHARS
        .lines()
        .filter(|line| !line.starts_with('#'));
    for c in lines.flat_map(str::chars) {
        if let Some(entry) = table.get_mut(c as usize) {
            *entry |= TRADITIONAL;
        }
    }
    table
});

/// The class of a character.
#[inline]
pub fn class(c: char) -> Class {
    CLASSES[usize::from(entry(c) & CLASS_BITS)]
}

/// True for characters that only traditional Chinese writing uses (OpenCC's tables, inside the Basic Multilingual Plane).
#[inline]
pub fn is_traditional(c: char) -> bool {
    entry(c) & TRADITIONAL != 0
}

/// Class and traditional mark in one look-up.
#[inline]
pub(crate) fn look(c: char) -> (Class, bool) {
    let entry = entry(c);
    (
        CLASSES[usize::from(entry & CLASS_BITS)],
        entry & TRADITIONAL != 0,
    )
}

#[inline]
fn entry(c: char) -> u8 {
    match TABLE.get(c as usize) {
        Some(entry) => *entry,
        None => classify(c) as u8,
    }
}

fn is_han(c: char) -> bool {
    matches!(c,
        '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFD}' | '々' | '〇')
}

fn is_latin(c: char) -> bool {
    matches!(c,
        'a'..='z' | 'A'..='Z' | '\u{C0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}'
        | 'ａ'..='ｚ' | 'Ａ'..='Ｚ')
}

fn classify(c: char) -> Class {
    use GeneralCategory as G;
    let is_ascii_sign =
        c.is_ascii_punctuation() || matches!(c, '\u{FF01}'..='\u{FF5E}' if !is_latin(c));
    match get_general_category(c) {
        _ if c.is_whitespace() => Class::Space,
        _ if c == char::REPLACEMENT_CHARACTER => Class::Broken,
        G::PrivateUse | G::Unassigned | G::Surrogate => Class::Broken,
        G::DecimalNumber if c.is_ascii_digit() || matches!(c, '０'..='９') => Class::Digit,
        _ if is_ascii_sign => Class::Punctuation,
        _ if is_han(c) => Class::Han,
        G::UppercaseLetter | G::LowercaseLetter | G::TitlecaseLetter if is_latin(c) => Class::Latin,
        G::ConnectorPunctuation
        | G::DashPunctuation
        | G::OpenPunctuation
        | G::ClosePunctuation
        | G::InitialPunctuation
        | G::FinalPunctuation
        | G::OtherPunctuation => Class::Punctuation,
        G::MathSymbol | G::CurrencySymbol | G::ModifierSymbol | G::OtherSymbol => Class::Symbol,
        G::OtherNumber | G::LetterNumber => Class::Symbol,
        G::Control | G::Format => Class::Control,
        _ => Class::Letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Class) {
        for c in text.chars() {
            assert_eq!(class(c), expected, "{c:?} U+{:04X}", c as u32);
        }
    }

    #[test]
    fn characters_fall_into_their_classes() {
        check("中国學〇々㐀鿿豈𠀀", Class::Han);
        check("azAZéŁａＺ", Class::Latin);
        check("0189０９", Class::Digit);
        check(
            "。，、！？；：“”‘’（）《》【】…—·.,!?$+<=>^`|~～＋＄",
            Class::Punctuation,
        );
        check(" \t\n\r\u{3000}\u{A0}\u{2028}", Class::Space);
        check("★●■→①Ⅳ℃€😀♥", Class::Symbol);
        check("あアひかЖαب한", Class::Letter);
        check("\0\u{7}\u{200B}\u{FEFF}\u{200D}", Class::Control);
        check("\u{FFFD}\u{E000}\u{F8FF}\u{FFFF}", Class::Broken);
    }

    #[test]
    fn traditional_only_characters_are_known() {
        for c in "國學說還這個們來時為會對發經過後開關門書車東馬魚鳥龍".chars()
        {
            assert!(is_traditional(c), "{c}");
        }
        // Shared or simplified characters, and those that both writings keep (乾坤, 瞭望, 著名).
        for c in "国学说还中文人大小山水乾瞭著藉于里面台a1。".chars() {
            assert!(!is_traditional(c), "{c}");
        }
    }

    #[test]
    fn the_table_agrees_with_the_rule_it_was_made_from() {
        for code in (0..0x3_0000u32).step_by(7) {
            if let Some(c) = char::from_u32(code) {
                assert_eq!(class(c), classify(c), "U+{code:04X}");
            }
        }
    }
}

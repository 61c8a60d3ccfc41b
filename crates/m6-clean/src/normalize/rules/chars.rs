//! What each character is to the rules.

/// Whether a character carries no text: controls but tab and line feed, zero-width and direction marks, noncharacters.
///
/// The joiners U+200C and U+200D stay: scripts and emoji sequences need them.
pub(super) fn is_control(c: char) -> bool {
    match c {
        ' '..='~' | '\u{4e00}'..='\u{9fff}' | '\t' | '\n' => false,
        // These separate, as blanks do.
        '\u{b}' | '\u{c}' | '\r' | '\u{85}' => false,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        '\u{fff9}'..='\u{fffb}' | '\u{fdd0}'..='\u{fdef}' => true,
        '\u{e0000}'..='\u{e007f}' => true,
        _ => c.is_control() || u32::from(c) & 0xfffe == 0xfffe,
    }
}

/// Whether a character separates words and shows nothing; a line feed is not a blank.
pub(super) fn is_blank(c: char) -> bool {
    c != '\n' && c.is_whitespace()
}

/// Every character of the other width is at least this.
pub(super) const FIRST_OF_ODD_WIDTH: char = '\u{ff01}';

/// The width a character usually has in Chinese text: letters and digits half, Chinese marks and katakana full.
/// Full-width point and percent sign become ASCII only after a digit.
pub(super) fn usual_width(c: char, before: Option<char>) -> char {
    let shifted = |by: u32| char::from_u32(u32::from(c) - by).unwrap_or(c);
    match c {
        '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' => shifted(0xfee0),
        '％' if before.is_some_and(|b| b.is_ascii_digit()) => '%',
        '．' if before.is_some_and(|b| b.is_ascii_digit()) => '.',
        '｡' => '。',
        '｢' => '「',
        '｣' => '」',
        '､' => '、',
        '･' => '・',
        // Composition then joins the sound marks with their syllable.
        'ﾞ' if before.is_some_and(is_katakana) => '\u{3099}',
        'ﾟ' if before.is_some_and(is_katakana) => '\u{309a}',
        'ｦ'..='ﾝ' => KATAKANA
            .get((u32::from(c) - 0xff66) as usize)
            .copied()
            .unwrap_or(c),
        _ => c,
    }
}

fn is_katakana(c: char) -> bool {
    ('ァ'..='ヺ').contains(&c)
}

/// Full-width katakana of U+FF66 to U+FF9D.
const KATAKANA: [char; 56] = [
    'ヲ', 'ァ', 'ィ', 'ゥ', 'ェ', 'ォ', 'ャ', 'ュ', 'ョ', 'ッ', 'ー', 'ア', 'イ', 'ウ', 'エ', 'オ',
    'カ', 'キ', 'ク', 'ケ', 'コ', 'サ', 'シ', 'ス', 'セ', 'ソ', 'タ', 'チ', 'ツ', 'テ', 'ト', 'ナ',
    'ニ', 'ヌ', 'ネ', 'ノ', 'ハ', 'ヒ', 'フ', 'ヘ', 'ホ', 'マ', 'ミ', 'ム', 'メ', 'モ', 'ヤ', 'ユ',
    'ヨ', 'ラ', 'リ', 'ル', 'レ', 'ロ', 'ワ', 'ン',
];

/// Whether a character is a Chinese one: the unified and compatibility ideographs, and 々〇.
pub(super) fn is_ideograph(c: char) -> bool {
    matches!(c,
        '\u{4e00}'..='\u{9fff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}'
        | '々' | '〇')
}

/// Whether a mark belongs to Chinese or English writing, ASCII apart.
pub(super) fn is_punctuation(c: char) -> bool {
    matches!(c,
        '\u{3001}'..='\u{3003}'
        | '\u{3008}'..='\u{3011}'
        | '\u{3014}'..='\u{301f}'
        | '\u{2010}'..='\u{2027}'
        | '\u{2030}'
        | '\u{2032}' | '\u{2033}'
        | '\u{2039}' | '\u{203a}'
        | '«' | '»' | '·' | '・'
        | '\u{fe30}'..='\u{fe4f}'
        | '\u{ff01}'..='\u{ff0f}'
        | '\u{ff1a}'..='\u{ff20}'
        | '\u{ff3b}'..='\u{ff40}'
        | '\u{ff5b}'..='\u{ff65}'
        | '￥')
}

/// Whether a character passes M6's whitelist: Chinese and English characters and punctuation (paper section 1.2), with
/// digits and blanks (ours: the paper is silent, and products need their numbers).
pub fn is_whitelisted(c: char) -> bool {
    let full_width = matches!(c, '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ');
    matches!(c, ' '..='~' | '\t' | '\n' | '\u{3000}')
        || is_ideograph(c)
        || is_punctuation(c)
        || full_width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths() {
        let check = |c, before, expected| assert_eq!(usual_width(c, before), expected, "{c}");
        check('Ａ', None, 'A');
        check('ｚ', None, 'z');
        check('９', None, '9');
        check('，', None, '，');
        check('．', Some('1'), '.');
        check('．', Some('中'), '．');
        check('％', Some('5'), '%');
        check('％', None, '％');
        check('ｦ', None, 'ヲ');
        check('ﾝ', None, 'ン');
        check('ﾞ', None, 'ﾞ');
        check('ﾞ', Some('カ'), '\u{3099}');
        check('｡', None, '。');
    }

    #[test]
    fn controls() {
        let check = |text: &str, expected: &str| {
            let kept: String = text.chars().filter(|c| !is_control(*c)).collect();
            assert_eq!(kept, expected);
        };
        check("a\0b\u{1}\u{7f}\u{80}\u{9f}c", "abc");
        check("\u{feff}中\u{200b}文\u{ad}\u{2028}", "中文\u{2028}");
        check("\u{202e}x\u{2066}\u{fdd0}\u{1fffe}\u{10ffff}", "x");
        check("\t\n\r\u{c}\u{fffd}\u{200d}", "\t\n\r\u{c}\u{fffd}\u{200d}");
    }

    #[test]
    fn whitelist() {
        let check = |text: &str, expected: &str| {
            let kept: String = text.chars().filter(|c| is_whitelisted(*c)).collect();
            assert_eq!(kept, expected);
        };
        check("M6预训练，100亿！😀", "M6预训练，100亿！");
        check("ひらカタ한글кириллицаé", "");
        check(
            "“引号”…—《书名》·「」『』【】～",
            "“引号”…—《书名》·「」『』【】～",
        );
        check("★☆①㎡℃©𠮷々〇", "𠮷々〇");
        check("a b\tc\u{a0}\u{3000}", "a b\tc\u{3000}");
    }
}

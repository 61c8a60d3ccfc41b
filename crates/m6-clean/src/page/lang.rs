//! The language of a text: by script where that settles it, else by `whichlang`'s n-grams.

/// Characters looked at.
const WINDOW: usize = 4000;
/// Letters below which a text has no language of its own.
const FEWEST_LETTERS: usize = 20;

/// Counts of letters by script.
#[derive(Default)]
struct Scripts {
    han: usize,
    kana: usize,
    hangul: usize,
    other: usize,
}

/// Language tag of a text (`zh`, `ja`, `en`, ...), or `None` where it is too short to say. Chinese in either script is `zh`; a
/// text is Chinese from one Han letter in ten on, because technical pages are full of code (ours).
pub fn detect(text: &str) -> Option<&'static str> {
    let mut scripts = Scripts::default();
    let mut end = text.len();
    for (n, (at, c)) in text.char_indices().enumerate() {
        if n == WINDOW {
            end = at;
            break;
        }
        match c {
            '\u{3041}'..='\u{30FF}' => scripts.kana += 1,
            '\u{AC00}'..='\u{D7AF}' => scripts.hangul += 1,
            _ if is_han(c) => scripts.han += 1,
            _ => scripts.other += usize::from(c.is_alphabetic()),
        }
    }
    let Scripts {
        han,
        kana,
        hangul,
        other,
    } = scripts;
    let all = han + kana + hangul + other;
    if all < FEWEST_LETTERS {
        return None;
    }
    if hangul > han + kana && hangul * 5 > all {
        return Some("ko");
    }
    if kana * 10 > han + kana && (han + kana) * 10 >= all {
        return Some("ja");
    }
    if han * 10 >= all {
        return Some("zh");
    }
    Some(tag(whichlang::detect_language(&text[..end])))
}

fn tag(lang: whichlang::Lang) -> &'static str {
    match lang.three_letter_code() {
        "ara" => "ar",
        "cmn" => "zh",
        "deu" => "de",
        "eng" => "en",
        "fra" => "fr",
        "hin" => "hi",
        "ita" => "it",
        "jpn" => "ja",
        "kor" => "ko",
        "nld" => "nl",
        "por" => "pt",
        "rus" => "ru",
        "spa" => "es",
        "swe" => "sv",
        "tur" => "tr",
        "vie" => "vi",
        _ => "und",
    }
}

/// Whether a character is a Han ideograph.
pub(crate) fn is_han(c: char) -> bool {
    matches!(c, '\u{4E00}'..='\u{9FFF}' | '\u{3400}'..='\u{4DBF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
        || c == '〇'
}

/// Whether a character is written without blanks around it: Han, kana, full-width forms and Chinese punctuation.
pub(crate) fn is_wide(c: char) -> bool {
    matches!(c, '\u{2E80}'..='\u{A4CF}' | '\u{F900}'..='\u{FAFF}' | '\u{FE30}'..='\u{FE4F}' | '\u{FF00}'..='\u{FFEF}' | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(detect(text), expected, "{text}");
    }

    #[test]
    fn scripts_and_words() {
        check("这是一个很普通的中文句子，用来检查语言的判断。", Some("zh"));
        check("這是一個很普通的中文句子，用來檢查語言的判斷。", Some("zh"));
        check(
            "これは普通の日本語の文章です。言語を判定します。",
            Some("ja"),
        );
        check(
            "이것은 언어 판별을 확인하기 위한 평범한 한국어 문장입니다.",
            Some("ko"),
        );
        check(
            "This is a plain English sentence that should be recognised.",
            Some("en"),
        );
        check(
            "Это обычное русское предложение для проверки языка.",
            Some("ru"),
        );
        check(
            "运行 cargo build --release 编译整个项目然后查看输出",
            Some("zh"),
        );
        check("短", None);
        check("", None);
    }
}

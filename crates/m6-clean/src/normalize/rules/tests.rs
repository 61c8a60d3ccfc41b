//! The rules together.

use super::*;
use proptest::prelude::*;

fn check(text: &str, expected: &str) {
    assert_eq!(Rules::default().apply(text), expected, "{text:?}");
}

#[test]
fn rules_together() {
    check("Ｍ６　模型\0，２０２１年！！！", "M6 模型，2021年！");
    check("&lt;p&gt;中&amp;nbsp;文&amp;amp;lt;", "<p>中 文<");
    check("e\u{301}te\u{301} \u{f900}", "été 豈");
    check("价格：１２．５０元，打９５％折", "价格：12.50元，打95%折");
    check("ｶﾞｷﾞ｡", "ガギ。");
    check("\u{feff}标\u{200b}题  \r", "标题");
    check("好吃😀！😀！", "好吃😀！😀！");
    check("&am\0p;&#65;&#xff21;", "&AA");
    check("第一段\n\n\n\n第二段", "第一段\n\n第二段");
}

#[test]
fn clean_text_is_borrowed() {
    let text = "这是一段干净的文字，没有什么要改。M6 has 10 billion parameters.";
    assert!(matches!(Rules::default().apply(text), Cow::Borrowed(_)));
    assert!(matches!(Rules::NONE.apply("a  b\0"), Cow::Borrowed(_)));
}

#[test]
fn the_whitelist_is_a_switch() {
    let rules = Rules::named("m6").expect("is known");
    let check = |text, expected: &str| assert_eq!(rules.apply(text), expected);
    check("好吃😀！😀！M6 カ", "好吃！M6");
    check("Hello\u{a0}World★", "Hello World");
    check("&am★p;", "&");
}

#[test]
fn sets_have_names() {
    assert_eq!(Rules::named("default").ok(), Some(Rules::default()));
    assert_eq!(Rules::named("none").ok(), Some(Rules::NONE));
    let error = Rules::named("x").expect_err("unknown").to_string();
    assert!(error.contains("default m6 none"), "{error}");
    let read: Rules = serde_json::from_str("{\"nfc\":false}").expect("reads");
    assert_eq!(
        read,
        Rules {
            nfc: false,
            ..Rules::default()
        }
    );
    assert!(serde_json::from_str::<Rules>("{\"nfk\":false}").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Cleaning twice is cleaning once, for every set of rules and any text.
    #[test]
    fn cleaning_is_idempotent(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "&", "amp;", "#", "x26;", "lt", ";", "&#59;", "&semi;", "\u{37e}", "Ａ", "１", "．", "％", "！", "？", "!", "。", "…", ".",
                " ", "\u{3000}", "\t", "\n", "\r", "\0", "\u{200b}", "e", "\u{301}", "ｶ", "ﾞ", "中", "文", "ä¸\u{ad}", "æ–‡", "涓", "枃",
                "鏂", "囩", "珷", "😀", "\u{200d}", "\u{feff}", "\u{85}",
            ]),
            0..24,
        ),
        other in any::<String>(),
        switches in any::<u8>(),
    ) {
        let rules = Rules {
            mojibake: switches & 1 != 0,
            control: switches & 2 != 0,
            width: switches & 4 != 0,
            entities: switches & 8 != 0,
            nfc: switches & 16 != 0,
            whitelist: switches & 32 != 0,
            repeats: switches & 64 != 0,
            blanks: switches & 128 != 0,
        };
        for text in [parts.concat(), other] {
            let once = rules.apply(&text).into_owned();
            let twice = rules.apply(&once).into_owned();
            prop_assert_eq!(twice, once);
        }
    }
}

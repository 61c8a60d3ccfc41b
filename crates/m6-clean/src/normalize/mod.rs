//! Text made uniform: cleaning rules and conversion between simplified and traditional Chinese (paper section 1.2 for
//! the whitelist and repeated punctuation; the rest is ours).

pub mod opencc;
pub mod rules;

pub use opencc::{Converter, Script, Tables};
pub use rules::Rules;

use std::borrow::Cow;

/// Most rounds of cleaning and a steady conversion for one text.
const MAX_ROUNDS: usize = 4;

/// Cleaning, then script conversion; either may be left out.
#[derive(Default)]
pub struct Normalizer {
    /// Cleaning rules.
    pub rules: Option<Rules>,
    /// Script conversion.
    pub converter: Option<Converter>,
}

impl Normalizer {
    /// Normalises a text; borrowed when nothing is asked for or cleaning finds nothing. With a steady conversion
    /// ([`Converter::steady`]) or none, normalising twice is normalising once.
    pub fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let clean = match &self.rules {
            Some(rules) => rules.apply(text),
            None => Cow::Borrowed(text),
        };
        let Some(converter) = &self.converter else {
            return clean;
        };
        let mut out = converter.convert(&clean);
        let Some(rules) = self.rules.filter(|_| converter.is_steady()) else {
            return Cow::Owned(out);
        };
        // What cleaning made of the text stands after conversion, too, but for rare neighbours that conversion joins.
        for _ in 1..MAX_ROUNDS {
            let next = match rules.apply(&out) {
                Cow::Borrowed(_) => break,
                Cow::Owned(clean) if clean == out => break,
                Cow::Owned(clean) => converter.convert(&clean),
            };
            out = next;
        }
        Cow::Owned(out)
    }

    /// Normalises a line and appends it to `out`; its ending is kept as it is whatever the rules say: `\n`, `\r\n` or none.
    pub fn push_line(&self, line: &str, out: &mut String) {
        let body = line.strip_suffix('\n').unwrap_or(line);
        let body = body.strip_suffix('\r').unwrap_or(body);
        match self.apply(body) {
            // A rule may give a line feed (from an entity): a line stays a line.
            Cow::Owned(text) if text.contains('\n') => {
                let parts = text.split('\n').filter(|part| !part.is_empty());
                out.push_str(&parts.collect::<Vec<_>>().join(" "));
            }
            text => out.push_str(&text),
        }
        out.push_str(&line[body.len()..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::OnceLock;

    #[test]
    fn rules_go_before_the_script() {
        let normalizer = Normalizer {
            rules: Some(Rules::default()),
            converter: Some(Converter::new(Script::T2s).expect("builds")),
        };
        assert_eq!(normalizer.apply("乾\0燥！！"), "干燥！");
        assert_eq!(Normalizer::default().apply("乾\0燥！！"), "乾\0燥！！");
    }

    fn steady(script: Script) -> Normalizer {
        Normalizer {
            rules: Some(Rules::default()),
            converter: Some(Converter::steady(script, &Tables::built_in()).expect("builds")),
        }
    }

    /// Names and words whose simplified writing OpenCC would change when it reads it.
    #[test]
    fn what_was_written_is_kept_when_it_is_read_again() {
        let normalizer = steady(Script::T2s);
        let plain = Converter::new(Script::T2s).expect("builds");
        for (text, expected) in [
            ("乾縣在陝西", "乾县在陕西"),
            ("宮商角徵羽，變徵之聲", "宫商角徵羽，变徵之声"),
            ("幺麼小丑", "幺麽小丑"),
            ("乾燥的頭髮！！", "干燥的头发！"),
            ("坐落於倫敦", "坐落於伦敦"),
        ] {
            assert_eq!(normalizer.apply(text), expected);
            assert_eq!(normalizer.apply(expected), expected);
            // OpenCC gives the same the first time.
            assert_eq!(plain.convert(text).replace("！！", "！"), expected);
        }
        assert!(!Converter::steady(Script::S2t, &Tables::built_in()).is_ok_and(|c| c.is_steady()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Of pieces of the dictionaries' own phrases, of marks that rules change, and of any text.
        #[test]
        fn normalising_twice_is_normalising_once(
            pieces in prop::collection::vec(0..PIECES.len(), 0..24),
            other in any::<String>(),
            place in 0usize..5,
        ) {
            static ALL: OnceLock<Vec<Normalizer>> = OnceLock::new();
            let all = ALL.get_or_init(|| {
                [Script::T2s, Script::Tw2s, Script::Hk2s, Script::Tw2sp, Script::Hk2sp].into_iter().map(steady).collect()
            });
            let text: String = pieces.iter().map(|i| PIECES[*i]).collect();
            for text in [text, other] {
                let once = all[place].apply(&text).into_owned();
                prop_assert_eq!(all[place].apply(&once), once.as_str(), "{:?}", text);
            }
        }
    }

    const PIECES: &[&str] = &[
        "乾",
        "縣",
        "县",
        "隆",
        "坤",
        "燥",
        "於",
        "倫",
        "伦",
        "潛",
        "潜",
        "戲",
        "戏",
        "麼",
        "麽",
        "么",
        "幺",
        "徵",
        "征",
        "變",
        "变",
        "宮",
        "宫",
        "氾",
        "勝",
        "胜",
        "之",
        "著",
        "着",
        "瞭",
        "了",
        "祕",
        "釐",
        "厘",
        "昇",
        "升",
        "發",
        "髮",
        "发",
        "後",
        "后",
        "裏",
        "裡",
        "里",
        "軟",
        "軟體",
        "软件",
        "程式",
        "程序",
        "資訊",
        "滑鼠",
        "記憶體",
        "說",
        "説",
        "為",
        "爲",
        "臺",
        "台",
        "灣",
        "湾",
        "藉",
        "借",
        "\u{f900}",
        "！",
        "!",
        "&",
        "amp;",
        "\u{3000}",
        "１",
        "．",
        "e",
        "\u{301}",
    ];

    #[test]
    fn lines_keep_their_endings() {
        let normalizer = Normalizer {
            rules: Some(Rules::default()),
            converter: None,
        };
        let check = |line: &str, expected: &str| {
            let mut out = String::from("-");
            normalizer.push_line(line, &mut out);
            assert_eq!(out, format!("-{expected}"));
        };
        check(" 好！！ \r\n", "好！\r\n");
        check("a&#10;b\n", "a b\n");
        check("好", "好");
        check("\n", "\n");
        check("", "");
    }
}

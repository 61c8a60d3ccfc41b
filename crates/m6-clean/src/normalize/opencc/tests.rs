//! The converter as a whole: small texts, hostile texts, and OpenCC's own cases.

use super::*;
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

fn check(script: Script, text: &str, expected: &str) {
    let converter = Converter::new(script).expect("builds");
    assert_eq!(converter.convert(text), expected, "{script}");
}

#[test]
fn phrases_go_before_characters() {
    check(Script::T2s, "乾隆乾燥，一目瞭然", "乾隆干燥，一目了然");
    check(Script::S2t, "干燥的头发，皇后以后", "乾燥的頭髮，皇后以後");
    check(Script::S2tw, "里面的面包", "裡面的麵包");
    check(Script::T2tw, "裏面", "裡面");
    check(Script::T2hk, "裏面說", "裏面説");
    check(
        Script::S2twp,
        "打印机和鼠标里的软件",
        "印表機和滑鼠裡的軟體",
    );
    check(
        Script::Tw2sp,
        "印表機和滑鼠裡的軟體",
        "打印机和鼠标里的软件",
    );
    check(
        Script::Tw2s,
        "著名作家拿著筆，剛才很有才華",
        "著名作家拿着笔，刚才很有才华",
    );
}

#[test]
fn what_has_no_entry_passes() {
    check(Script::T2s, "", "");
    check(
        Script::T2s,
        "abc é 😀 ⿰木幹 🈚\r\n\t",
        "abc é 😀 ⿰木幹 🈚\r\n\t",
    );
    check(Script::T2s, "漢\0字\0", "汉\0字\0");
    check(Script::S2tw, "汉\0字\0头发", "漢\0字\0頭髮");
    check(Script::Hk2s, "説\0話", "说\0话");
    check(Script::T2s, "\u{f900}\u{2f800}", "岂丽");
}

static T2S: LazyLock<Converter> = LazyLock::new(|| Converter::new(Script::T2s).expect("builds"));
static HK2S: LazyLock<Converter> = LazyLock::new(|| Converter::new(Script::Hk2s).expect("builds"));
/// The phrases, the rare characters, the others.
static T2S_GROUPS: LazyLock<[Vec<(String, String)>; 3]> = LazyLock::new(|| {
    let load = |name: &str, rare: bool| {
        let pairs = convert::with_table(&Tables::built_in(), name, |table| {
            let own = |(key, value): (&str, &str)| (key.to_string(), value.to_string());
            Ok(match rare {
                true => table.rare_pairs().map(own).collect(),
                false => table.pairs().map(own).collect(),
            })
        });
        pairs.expect("reads").expect("is carried")
    };
    [
        load("TSPhrases", false),
        load("TSCharacters", true),
        load("TSCharacters", false),
    ]
});

/// A plain reading of the rules, without tables made for speed: the stage `t2s` has.
fn slow_t2s(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let hit = T2S_GROUPS.iter().find_map(|group| {
            let fits = group
                .iter()
                .filter(|(key, _)| rest.starts_with(key.as_str()));
            fits.max_by_key(|(key, _)| key.len())
        });
        let (n_bytes, value) = hit.map_or((c.len_utf8(), &rest[..c.len_utf8()]), |(key, value)| {
            (key.len(), value.as_str())
        });
        out.push_str(value);
        rest = &rest[n_bytes..];
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any text: no panic, no loss of what has no entry, the same as the plain reading, the same by lines.
    #[test]
    fn any_text_is_converted_as_the_rules_say(
        parts in prop::collection::vec(
            prop::sample::select(vec!["乾", "燥", "隆", "一目瞭然", "瞭", "不", "解", "著", "\0", "a", "\n", "é", "𠮷", "麼", "么"]),
            0..40,
        ),
        other in "\\PC{0,8}",
    ) {
        let text = parts.concat() + &other;
        prop_assume!(!text.chars().any(|c| (0x2ff0..=0x2fff).contains(&u32::from(c))));
        let folded = compat::fold(&text).into_owned();
        prop_assert_eq!(T2S.convert(&text), slow_t2s(&folded));
        let by_lines: Vec<String> = text.split('\n').map(|line| HK2S.convert(line)).collect();
        prop_assert_eq!(HK2S.convert(&text), by_lines.join("\n"));
    }
}

#[allow(clippy::print_stderr)]
fn cases() -> Option<Vec<serde_json::Value>> {
    let root = std::env::var_os("M6_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = root.join("data/opencc/cases.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {} is absent (set M6_SHARED)", path.display());
        return None;
    };
    Some(
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect(),
    )
}

/// Cases of a conversion: how many there are, and which came out otherwise.
fn run_cases(script: Script, cases: &[serde_json::Value]) -> (usize, Vec<String>) {
    let converter = Converter::new(script).expect("builds");
    let mut n_cases = 0;
    let mut wrong = Vec::new();
    for case in cases {
        let Some(expected) = case["expected"][script.name()].as_str() else {
            continue;
        };
        n_cases += 1;
        let converted = converter.convert(case["input"].as_str().expect("a text"));
        if converted != expected {
            wrong.push(format!(
                "{script} {}: {converted} for {expected}",
                case["id"]
            ));
        }
    }
    (n_cases, wrong)
}

#[test]
fn all_of_openccs_cases_come_out() {
    let Some(cases) = cases() else { return };
    assert_eq!(cases.len(), 159);
    let mut wrong = Vec::new();
    for (name, script) in Script::ALL {
        let (n_cases, of_script) = run_cases(script, &cases);
        assert!(n_cases > 0, "{name} has no case");
        wrong.extend(of_script);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

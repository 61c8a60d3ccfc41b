//! Tests of the document's numbers as a whole.

use proptest::prelude::*;

use super::*;
use crate::rules::Row;
use crate::rules::lists::{Kind, Lists};
use crate::rules::testing::{self, list};

/// Checks one column of a text measured without assets.
fn check(text: &str, column: &str, expected: f64) {
    let signals = Signals::of(text, Some("标题"), None);
    let index = Signals::index_of(column).unwrap_or_else(|| panic!("no column {column}"));
    let value = signals
        .value(index)
        .unwrap_or_else(|| panic!("{column} is empty"));
    assert!(
        (value - expected).abs() < 1e-12,
        "{column} of {text:?}: {value}, expected {expected}"
    );
}

#[test]
fn columns_have_the_values_their_names_say() {
    check("", "n_chars", 0.0);
    check("中文 ab1。\n第二行", "n_chars", 9.0);
    check("中文 ab1。\n第二行", "n_cjk", 5.0);
    check("中文 ab1。\n第二行", "cjk_ratio", 5.0 / 9.0);
    check("中文 ab1。\n第二行", "latin_ratio", 2.0 / 9.0);
    check("中文 ab1。\n第二行", "digit_ratio", 1.0 / 9.0);
    check("中文 ab1。\n第二行", "punct_ratio", 1.0 / 9.0);
    check("中文 ab1。\n第二行", "space_ratio", 1.0 / 9.0);
    check("中文 ab1。\n第二行", "mean_line_chars", 4.5);
    check("中文 ab1。\n第二行", "max_line_chars", 6.0);
    check("中文 ab1。\n第二行", "sentence_end_ratio", 0.5);
    check("中文 ab1。\n第二行", "n_sentences", 2.0);
    check("中文", "n_bytes", 6.0);
    check("中文", "title_chars", 2.0);
    check("★a★b", "symbol_ratio", 0.5);
    check("あ中", "other_script_ratio", 0.5);
    check("\u{FFFD}中", "broken_ratio", 0.5);
    check("\0中", "control_ratio", 1.0);
    check("學习", "traditional_share", 0.5);
    check("甲乙丙丁", "char_entropy", 2.0);
    check("哈哈哈", "longest_run", 3.0);
    check("甲行\n乙行\n甲行\n甲行", "dup_line_share", 0.5);
    check("甲行\n乙行\n甲行\n甲行", "dup_line_char_share", 0.5);
    check("首页|新闻|体育|财经\n正文。", "menu_line_share", 0.5);
    check("甲\n\n乙\n\n甲", "dup_paragraph_share", 1.0 / 3.0);
    check("见http://a.cn。", "link_char_share", 11.0 / 13.0);
    check("下一篇：无", "boilerplate_hits", 1.0);
    check("下一篇：无", "boilerplate_density", 200.0);
    check("电话13812345678。", "n_mobiles", 1.0);
    check("电话13812345678。", "pii_density", 1000.0 / 14.0);
}

#[test]
fn lists_and_addresses_fill_their_columns() {
    let dir = tempfile::tempdir().unwrap();
    let mut hosts = list(dir.path(), "hosts", 1, "bad.cn");
    hosts.kind = Kind::Hosts;
    let sources = [
        list(dir.path(), "a", 1, "坏词"),
        list(dir.path(), "b", 2, "怪词"),
        list(dir.path(), "c", 3, "广告"),
        hosts,
    ];
    let assets = Assets {
        lists: Lists::load(&sources).unwrap(),
        ..Assets::default()
    };
    let signals = Signals::with(&assets, "坏词怪词广告广告", None, Some("http://x.bad.cn/"));
    assert_eq!(
        (
            signals.list_hits_1,
            signals.list_hits_2,
            signals.list_hits_3
        ),
        (1, 1, 2)
    );
    assert_eq!(
        (signals.list_density_1, signals.list_density_3),
        (125.0, 250.0)
    );
    assert_eq!(
        (signals.bad_host, signals.title_chars, signals.perplexity),
        (1, None, None)
    );
}

#[test]
fn the_row_survives_json() {
    let signals = Signals::of("一句话。\n另一句话！", Some("题目"), Some("http://a.cn"));
    let text = serde_json::to_string(&signals).unwrap();
    assert_eq!(serde_json::from_str::<Signals>(&text).unwrap(), signals);
    // Flat: every column is a key with a number or nothing.
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(keys, Signals::COLUMNS);
    assert!(
        value
            .as_object()
            .unwrap()
            .values()
            .all(|value| value.is_number() || value.is_null())
    );
}

#[test]
fn edited_encyclopedia_text_looks_clean() {
    let Some(shared) = testing::shared() else {
        return;
    };
    let texts = testing::texts(&shared, "qa/cmrc2018-dev.jsonl", "context", 200);
    assert_eq!(texts.len(), 200);
    for text in texts {
        let signals = Signals::of(&text, None, None);
        assert!(
            signals.cjk_ratio > 0.4 && signals.traditional_share < 0.1,
            "{signals:?}"
        );
        assert!(
            signals.broken_ratio == 0.0 && signals.rep_10gram_share < 0.4,
            "{signals:?}"
        );
    }
}

/// True for columns that are shares of a whole.
fn is_share(column: &str) -> bool {
    column.ends_with("_share")
        || (column.ends_with("_ratio") && !["control_ratio", "space_ratio"].contains(&column))
}

proptest! {
    #[test]
    fn any_text_gives_finite_numbers_in_their_range(text in "(?s).{0,200}|[好a1。\n ]{0,300}") {
        let signals = Signals::of(&text, Some(&text), Some(&text));
        for (index, column) in Signals::COLUMNS.iter().enumerate() {
            if let Some(value) = signals.value(index) {
                prop_assert!(value.is_finite() && value >= 0.0, "{} = {}", column, value);
                prop_assert!(!is_share(column) || value <= 1.0, "{} = {}", column, value);
            }
        }
        prop_assert_eq!(signals.clone(), Signals::of(&text, Some(&text), Some(&text)));
    }
}

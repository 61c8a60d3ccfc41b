//! Every rule of every pack, just under and just over its threshold; and the packs on real text.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::*;
use crate::rules::columns::Row;
use crate::rules::decide::{Calibration, Comparison, Failure, Judge, Rule, Stage};
use crate::rules::signals::{ImageSignals, PairSignals, PartSignals, Signals};
use crate::rules::testing;
use crate::rules::{Assets, LedgerRow};

fn judge(name: &str) -> Judge {
    Judge::new(&get(name).unwrap(), &Calibration::default()).unwrap()
}

/// A row with one column set, and the guard's column set so that the guard holds.
fn row<R: Row + DeserializeOwned>(rule: &Rule, value: &Value) -> R {
    let mut fields = Map::new();
    if let Some(guard) = &rule.when {
        fields.insert(guard.column.clone(), json!(guard.threshold as u64));
    }
    fields.insert(rule.column.clone(), value.clone());
    serde_json::from_value(Value::Object(fields)).unwrap()
}

/// Decides with this rule alone.
fn decide(rule: &Rule, value: &Value) -> Option<Failure> {
    let pack = Pack {
        name: "one".into(),
        description: String::new(),
        text: Default::default(),
        rules: vec![rule.clone()],
    };
    let judge = Judge::new(&pack, &Calibration::default()).unwrap();
    match rule.stage {
        Stage::Paragraph | Stage::Sentence => {
            judge.part(rule.stage, &row::<PartSignals>(rule, value))
        }
        Stage::Document => judge.document(&row::<Signals>(rule, value)),
        Stage::Image => judge.image(&row::<ImageSignals>(rule, value)),
        Stage::Pair => judge.pair(&row::<PairSignals>(rule, value)),
    }
}

/// True when the column holds whole numbers, which the default row's JSON shows.
fn is_count(rule: &Rule) -> bool {
    let default = match rule.stage {
        Stage::Paragraph | Stage::Sentence => serde_json::to_value(PartSignals::default()),
        Stage::Document => serde_json::to_value(Signals::default()),
        Stage::Image => serde_json::to_value(ImageSignals::default()),
        Stage::Pair => serde_json::to_value(PairSignals::default()),
    };
    let value = &default.unwrap()[&rule.column];
    value.is_u64()
        || (value.is_null() && ["title_chars", "image_is_qr"].contains(&rule.column.as_str()))
}

#[test]
fn every_threshold_holds_just_under_and_fails_just_over() {
    for name in names() {
        for rule in get(name).unwrap().rules {
            let Some(threshold) = rule.threshold else {
                continue;
            };
            let (at, less, more) = if is_count(&rule) {
                let at = threshold as u64;
                assert_eq!(
                    at as f64, threshold,
                    "{name}/{}: a count has a whole threshold",
                    rule.name
                );
                (
                    json!(at),
                    at.checked_sub(1).map(|less| json!(less)),
                    json!(at + 1),
                )
            } else {
                (
                    json!(threshold),
                    Some(json!(threshold - 1e-9)),
                    json!(threshold + 1e-9),
                )
            };
            let check = |value: &Value, is_kept: bool| {
                let failure = decide(&rule, value);
                assert_eq!(
                    failure.is_none(),
                    is_kept,
                    "{name}/{} at {value}",
                    rule.name
                );
                if let Some(failure) = failure {
                    assert_eq!(
                        (failure.rule.as_str(), failure.threshold),
                        (rule.name.as_str(), threshold)
                    );
                    assert_eq!(Some(failure.value), value.as_f64());
                }
            };
            let keeps_more = matches!(rule.keep, Comparison::AtLeast | Comparison::Above);
            check(
                &at,
                matches!(rule.keep, Comparison::AtLeast | Comparison::AtMost),
            );
            check(&more, keeps_more);
            if let Some(less) = less {
                check(&less, !keeps_more);
            }
        }
    }
}

#[test]
fn guards_keep_rules_from_small_texts() {
    for name in names() {
        for rule in get(name).unwrap().rules {
            let (Some(guard), Some(threshold)) = (&rule.when, rule.threshold) else {
                continue;
            };
            let failing = match rule.keep {
                Comparison::AtLeast | Comparison::Above => threshold - 0.01,
                Comparison::AtMost | Comparison::Below => threshold + 0.01,
            };
            assert!(
                decide(&rule, &json!(failing)).is_some(),
                "{name}/{}",
                rule.name
            );
            let mut small = rule.clone();
            small.when = Some(crate::rules::decide::Guard {
                threshold: guard.threshold + 1.0,
                ..guard.clone()
            });
            let judge = Judge::new(
                &Pack {
                    name: "one".into(),
                    description: String::new(),
                    text: Default::default(),
                    rules: vec![small],
                },
                &Calibration::default(),
            )
            .unwrap();
            assert_eq!(
                judge.document(&row::<Signals>(&rule, &json!(failing))),
                None,
                "{name}/{}",
                rule.name
            );
        }
    }
}

#[test]
fn the_papers_rules_have_the_papers_thresholds() {
    let judge = judge("m6");
    let check = |title: Option<&str>, text: &str, expected: Option<(&str, f64, f64)>| {
        let row = judge.ledger("r1", &Signals::of(text, title, None));
        let found = row
            .rule
            .as_deref()
            .map(|rule| (rule, row.value.unwrap(), row.threshold.unwrap()));
        assert_eq!(found, expected, "{title:?} {text:?}");
    };
    check(
        Some("四个字符"),
        "这是一段有十五个字符的正文内容",
        Some(("short-title", 4.0, 5.0)),
    );
    check(Some("有五个字符"), "这是一段有十五个字符的正文内容", None);
    check(None, "这是一段有十五个字符的正文内容", None);
    check(
        None,
        "这是一段有十四个字符的正文内",
        Some(("short-content", 14.0, 15.0)),
    );
    check(
        None,
        "这 是 一 段 有 十 四 个 字 符 的 正 文 内",
        Some(("short-content", 14.0, 15.0)),
    );
    assert!(judge.image(&ImageSignals::of(50, 100, 0)).is_none());
    let failure = judge.image(&ImageSignals::of(4999, 1, 0)).unwrap();
    assert_eq!(
        (failure.rule.as_str(), failure.value, failure.threshold),
        ("few-pixels", 4999.0, 5000.0)
    );
    assert_eq!(judge.resting(), ["perplexity"]);
}

#[test]
fn wukong_looks_at_picture_and_caption() {
    let judge = judge("wukong");
    let image = |width, height| {
        judge
            .image(&ImageSignals::of(width, height, 0))
            .map(|failure| failure.rule)
    };
    assert_eq!(image(200, 600), None);
    assert_eq!(image(199, 300).as_deref(), Some("small-side"));
    assert_eq!(image(200, 601).as_deref(), Some("long-shape"));
    let pair = |caption, repeats| {
        let row = PairSignals::with(&Assets::default(), caption, repeats);
        judge.pair(&row).map(|failure| failure.rule)
    };
    assert_eq!(pair("湖边的木屋", 10), None);
    assert_eq!(pair("湖边的木屋", 11).as_deref(), Some("frequent-caption"));
    assert_eq!(pair("a cabin", 1).as_deref(), Some("no-chinese"));
    assert_eq!(pair("图片12", 1).as_deref(), Some("file-name"));
}

#[test]
fn names_are_found_and_slips_are_hinted_at() {
    let found: Vec<&str> = names().collect();
    assert_eq!(found, ["default", "m6", "wudao", "wukong"]);
    for name in names() {
        assert_eq!(get(name).unwrap().name, name);
        assert_eq!(
            Pack::from_toml(&get(name).unwrap().to_toml().unwrap()).unwrap(),
            get(name).unwrap()
        );
        assert!(
            get(name)
                .unwrap()
                .rules
                .iter()
                .all(|rule| !rule.why.is_empty()),
            "{name}: every rule says why"
        );
    }
    let error = get("wukon").unwrap_err().to_string();
    assert!(error.contains("did you mean `wukong`"), "{error}");
    assert!(
        get("none/such.toml")
            .unwrap_err()
            .to_string()
            .contains("such.toml")
    );
    assert!(text("m6").unwrap().contains("5000") && text("x").is_none());
}

#[test]
fn missing_assets_are_named() {
    let unmet = get("wudao").unwrap().unmet(&Assets::default());
    let text = unmet.join("; ");
    for expected in ["listed-word", "tier 1", "a list of hosts", "a classifier"] {
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(unmet.len(), 3);
}

/// The share of texts that a pack keeps, and the rules that dropped the others.
fn kept_share(judge: &Judge, texts: &[String]) -> (f64, Vec<LedgerRow>) {
    let rows = texts.iter().enumerate().map(|(id, text)| {
        let judged = judge.text(&Assets::default(), text, None, None);
        judged.ledger(&id.to_string()).pop().unwrap()
    });
    let dropped: Vec<LedgerRow> = rows.filter(|row| row.rule.is_some()).collect();
    (1.0 - dropped.len() as f64 / texts.len() as f64, dropped)
}

#[test]
fn good_text_passes_and_bad_text_does_not() {
    let judge = judge("default");
    let bad = [
        "★".repeat(60),
        "买一送一快来看快来看，".repeat(30),
        "\u{FFFD}\u{FFFD}锟斤拷\u{FFFD}".repeat(10),
        "2020 3030 4040 5050 6060 7070 8080 一二三四".to_owned(),
        "This page is in English and has nothing to say to a Chinese corpus.".to_owned(),
        "首页\n上一页\n下一页\n返回顶部\n版权所有".to_owned(),
        "国内|国际|军事|社会\n股票|基金|债券|期货\n足球|篮球|网球|排球\n今天的新闻写在这里。\n明天的新闻还没有写。".to_owned(),
    ];
    let (share, _) = kept_share(&judge, &bad);
    assert_eq!(share, 0.0);
    let Some(shared) = testing::shared() else {
        return;
    };
    for (file, field, least) in [
        ("qa/cmrc2018-dev.jsonl", "context", 0.99),
        ("classical/parallel.jsonl", "modern", 0.75),
        ("ecommerce/reviews.jsonl", "review", 0.9),
        ("qa/drcd-dev-traditional.jsonl", "context", 0.99),
    ] {
        let texts: Vec<String> = testing::texts(&shared, file, field, 800)
            .into_iter()
            .filter(|text| text.chars().count() >= 20)
            .collect();
        let (share, dropped) = kept_share(&judge, &texts);
        assert!(
            share >= least,
            "{file}: {share} kept; {:?}",
            dropped.iter().take(8).collect::<Vec<_>>()
        );
    }
}

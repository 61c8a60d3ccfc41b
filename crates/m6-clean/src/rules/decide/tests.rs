//! Tests of packs, judges, ledger rows and the editing of texts.

use proptest::prelude::*;

use super::*;
use crate::rules::Assets;
use crate::rules::lists::Lists;
use crate::rules::lm;
use crate::rules::packs;
use crate::rules::signals::{PartSignals, Signals};
use crate::rules::testing::list;

const PACK: &str = r#"
name = "test"
[text]
mask_pii = true
cut_unfinished_end = true
[[rule]]
name = "listed"
stage = "sentence"
column = "list_hits_1"
keep = "<="
threshold = 0
[[rule]]
name = "short-line"
stage = "paragraph"
column = "n_chars"
keep = ">="
threshold = 3
[[rule]]
name = "short"
stage = "document"
column = "n_chars"
keep = ">="
threshold = 6
[[rule]]
name = "odd"
stage = "document"
column = "perplexity"
keep = "<="
quantile = 0.9
"#;

fn ready(toml: &str) -> Judge {
    Judge::new(&Pack::from_toml(toml).unwrap(), &Calibration::default()).unwrap()
}

fn assets() -> Assets {
    let dir = tempfile::tempdir().unwrap();
    Assets {
        lists: Lists::load(&[list(dir.path(), "bad", 1, "坏词")]).unwrap(),
        ..Assets::default()
    }
}

#[test]
fn parts_go_first_and_the_document_is_judged_on_the_rest() {
    let judge = ready(PACK);
    let judged = judge.text(
        &assets(),
        "第一句好。坏词在此。第三句好。\n短\n\n电话13812345678。未完",
        Some("题"),
        None,
    );
    assert_eq!(judged.text, "第一句好。第三句好。\n\n电话[手机号]。");
    let edits: Vec<(Stage, usize, &str)> = judged
        .edits
        .iter()
        .map(|edit| (edit.stage, edit.line, edit.failure.rule.as_str()))
        .collect();
    assert_eq!(
        edits,
        [
            (Stage::Sentence, 0, "listed"),
            (Stage::Paragraph, 1, "short-line")
        ]
    );
    assert_eq!(
        (
            judged.n_cut_chars,
            judged.n_masked,
            judged.signals.n_mobiles
        ),
        (2, 1, 1)
    );
    assert_eq!(judged.failure, None);
    let rows = judged.ledger("r7");
    let told: Vec<(&str, Verdict, Option<&str>)> = rows
        .iter()
        .map(|row| (row.stage.as_str(), row.verdict, row.rule.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            ("sentence", Verdict::Trimmed, Some("listed")),
            ("paragraph", Verdict::Trimmed, Some("short-line")),
            ("document", Verdict::Kept, None),
        ]
    );
    assert!(rows.iter().all(|row| row.record_id == "r7"));
}

#[test]
fn a_text_that_loses_too_much_is_dropped_with_its_value() {
    let judged = ready(PACK).text(&assets(), "坏词一句。坏词又一句。剩下这些", None, None);
    assert_eq!(judged.text, "剩下这些");
    assert_eq!(judged.ledger("a").len(), 2);
    let last = judged.ledger("a").pop().unwrap();
    assert_eq!(
        (last.verdict, last.rule.as_deref()),
        (Verdict::Dropped, Some("short"))
    );
    assert_eq!((last.value, last.threshold), (Some(4.0), Some(6.0)));
}

#[test]
fn rows_have_the_ledgers_fields() {
    let row = ready(PACK).ledger("id-1", &Signals::of("短", None, None));
    let expected = r#"{"record_id":"id-1","stage":"document","verdict":"dropped","rule":"short","value":1.0,"threshold":6.0}"#;
    assert_eq!(serde_json::to_string(&row).unwrap(), expected);
    assert_eq!(serde_json::from_str::<LedgerRow>(expected).unwrap(), row);
    let kept = serde_json::to_value(LedgerRow::kept("x", "dedup")).unwrap();
    assert_eq!(
        (kept["verdict"].as_str(), kept["rule"].is_null()),
        (Some("kept"), true)
    );
    for verdict in [
        Verdict::Kept,
        Verdict::Trimmed,
        Verdict::Dropped,
        Verdict::Quarantined,
    ] {
        assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.name());
    }
    for stage in Stage::ALL {
        assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
    }
}

#[test]
fn quantiles_become_thresholds_or_the_rule_rests() {
    let pack = Pack::from_toml(PACK).unwrap();
    assert_eq!(ready(PACK).resting(), ["odd"]);
    let mut sample = Calibration::for_pack(&pack);
    for value in 1..=10 {
        sample.add(
            Stage::Document,
            &Signals {
                perplexity: Some(f64::from(value)),
                ..Signals::default()
            },
        );
    }
    let judge = Judge::new(&pack, &sample).unwrap();
    assert!(
        judge.resting().is_empty()
            && judge.wants_perplexity(Stage::Document)
            && !judge.wants_perplexity(Stage::Sentence)
    );
    let with = |perplexity| Signals {
        perplexity,
        n_chars: 100,
        ..Signals::default()
    };
    assert_eq!(judge.document(&with(Some(9.0))), None);
    let failure = judge.document(&with(Some(9.5))).unwrap();
    assert_eq!((failure.rule.as_str(), failure.threshold), ("odd", 9.0));
    assert_eq!(
        judge.document(&with(None)),
        None,
        "what was not measured does not condemn"
    );
    assert!(
        judge.document(&with(Some(f64::NAN))).is_some(),
        "what is no number is not kept"
    );
}

#[test]
fn strange_sentences_go_by_a_quantile_of_their_source() {
    let lines = [
        "长江是中国最长的河流。",
        "黄河是中国第二长的河流。",
        "长江发源于青藏高原。",
        "黄河也发源于青藏高原。",
    ];
    let config = lm::Config {
        min_char_count: 1,
        ..lm::Config::default()
    };
    let assets = Assets {
        lm: Some(lm::train(lines, &config).unwrap().model),
        ..Assets::default()
    };
    let pack = packs::get("m6").unwrap();
    let mut sample = Calibration::for_pack(&pack);
    for line in lines {
        sample.add_text(&assets, line, None, None);
    }
    let judge = Judge::new(&pack, &sample).unwrap();
    assert!(judge.resting().is_empty());
    let judged = judge.text(
        &assets,
        "长江是中国最长的河流。乱码乱码乱码乱码乱码。长江发源于青藏高原。乱码。",
        None,
        None,
    );
    assert_eq!(
        judged.text,
        "长江是中国最长的河流。长江发源于青藏高原。乱码。"
    );
    let edit = &judged.edits[0];
    assert_eq!(
        (edit.failure.rule.as_str(), edit.n_chars),
        ("perplexity", 11)
    );
    assert!(edit.failure.value > edit.failure.threshold);
}

#[test]
fn wrong_packs_are_refused_with_every_problem() {
    let check = |rule: &str, expected: &[&str]| {
        let error = Pack::from_toml(&format!("name = 'x'\n[[rule]]\n{rule}"))
            .unwrap_err()
            .to_string();
        for expected in expected {
            assert!(error.contains(expected), "{error}");
        }
    };
    let rule = "name = 'a'\nstage = 'document'\nkeep = '>='\n";
    check(
        &format!("{rule}column = 'n_char'\nthreshold = 1"),
        &["`n_char`", "did you mean `n_chars`"],
    );
    check(
        &format!("{rule}column = 'n_chars'"),
        &["threshold or a quantile"],
    );
    check(
        &format!("{rule}column = 'n_chars'\nquantile = 1.5"),
        &["quantile"],
    );
    check(
        &format!("{rule}column = 'n_chars'\nthreshold = nan"),
        &["finite"],
    );
    check(&format!("{rule}column = 'zzz'"), &["`zzz`", "threshold or"]);
    check(
        &format!(
            "{rule}column = 'n_chars'\nthreshold = 1\nwhen = {{ column = 'q', is = '<', threshold = 1 }}"
        ),
        &["`q`"],
    );
    check(
        &format!("{rule}column = 'n_chars'\nthreshold = 1\nextra = 1"),
        &["extra"],
    );
    check("name = 'a'\nstage = 'page'", &["page"]);
    let twice = format!(
        "{rule}column = 'n_chars'\nthreshold = 1\n[[rule]]\n{rule}column = 'n_cjk'\nthreshold = 1"
    );
    check(&twice, &["twice"]);
    assert!(Pack::from_toml("name = 3").is_err());
}

#[test]
fn a_pack_file_is_read_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("own.toml");
    m6_store::atomic::write_file(&path, PACK.as_bytes()).unwrap();
    assert_eq!(packs::get(path.to_str().unwrap()).unwrap().name, "test");
    m6_store::atomic::write_file(&path, &vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(
        Pack::load(&path)
            .unwrap_err()
            .to_string()
            .contains("longer")
    );
}

#[test]
fn the_unfinished_end_is_cut() {
    for (text, expected) in [
        ("一。二", "一。"),
        ("一。二。", "一。二。"),
        ("一。\n二", "一。"),
        ("一。\n二。三", "一。\n二。"),
        ("没有句号", "没有句号"),
        ("甲\n乙\n丙", "甲\n乙"),
        ("“一。”二\n\n", "“一。”"),
        ("", ""),
    ] {
        assert_eq!(cut_unfinished_end(text), expected, "{text:?}");
    }
}

proptest! {
    #[test]
    fn judging_any_text_takes_parts_out_and_adds_nothing(text in "(?s).{0,120}|[好坏词。！\n 1a]{0,120}") {
        let toml = PACK.replace("mask_pii = true", "mask_pii = false");
        let (judge, assets) = (ready(&toml), assets());
        let judged = judge.text(&assets, &text, None, None);
        let mut rest = text.chars();
        prop_assert!(judged.text.chars().all(|c| rest.any(|other| other == c)), "{:?} of {:?}", judged.text, text);
        for line in judged.text.lines().filter(|line| !line.trim().is_empty()) {
            prop_assert_eq!(assets.lists.count(line)[0], 0);
            let row = PartSignals::with(&assets, line, false);
            prop_assert_eq!(row.list_hits_1, 0);
        }
        prop_assert_eq!(&judged, &judge.text(&assets, &text, None, None));
    }
}

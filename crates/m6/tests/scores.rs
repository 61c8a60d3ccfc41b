//! `m6 score` through the built binary: intervals, comparisons, the table, and what it says of bad files.

mod support;

use serde_json::{Value, json};
use support::{failed_with, keys, last_json, run, stdout_of, written};

const ANSWERS: &str = r#"{"id": "a", "answers": ["红色", "红"], "type": "color"}
{"id": "b", "answer": "3", "type": "number"}
{"id": "c", "answer": "狗", "type": "detection"}
"#;
const GIVEN: &str = r#"{"id": "c", "text": "狗"}
{"id": "a", "text": "红色。"}
{"id": "b", "text": "4"}
"#;
const OTHER: &str = r#"{"id": "a", "text": "绿"}
{"id": "b", "text": "4"}
{"id": "c", "text": "猫"}
"#;

/// The words of a command that scores two files.
fn score<'a>(metric: &'a str, references: &'a str, candidates: &'a str) -> [&'a str; 6] {
    [
        "score",
        metric,
        "--references",
        references,
        "--candidates",
        candidates,
    ]
}

/// A folder with the three files above and their paths.
fn files() -> (tempfile::TempDir, [String; 3]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let paths = [
        written(path, "r.jsonl", ANSWERS),
        written(path, "said.jsonl", GIVEN),
        written(path, "other.jsonl", OTHER),
    ];
    (folder, paths)
}

#[test]
fn intervals_and_comparisons_are_those_of_their_seed_for_any_number_of_threads() {
    let (_folder, [references, said, other]) = files();
    let with = |more: &[&str]| {
        let own = score("vqa", &references, &said);
        let args = [
            &own[..],
            &["--bootstrap", "200", "--against", &other, "--json"],
        ]
        .concat();
        last_json(&run(&[&args[..], more].concat()))
    };
    let row = with(&["--threads", "1"]);
    assert_eq!(row, with(&["--threads", "2"]));
    assert_ne!(row, with(&["--seed", "7"]), "other draws, other p");
    assert_eq!(row["scores"]["exact"], 2.0 / 3.0);
    let interval = &row["intervals"]["exact"];
    assert!(
        interval[0].as_f64() < Some(0.5) && interval[1] == 1.0,
        "{interval}"
    );
    let against = &row["against"];
    assert_eq!(
        (&against["draws"], &row["bootstrap"]),
        (&json!(200), &json!(200))
    );
    assert_eq!(against["scores"]["exact"], 0.0);
    let exact = &against["differences"]["exact"];
    assert_eq!(exact["difference"], 2.0 / 3.0);
    let p = exact["p"].as_f64().expect("a number");
    assert!(
        (0.3..0.7).contains(&p),
        "2 of 3 items differ, so half of the exchanges are as large: {p}"
    );
}

#[test]
fn the_table_shows_the_same_figures() {
    let (_folder, [references, said, other]) = files();
    let args = score("vqa", &references, &said);
    let table = stdout_of(&run(&args));
    assert!(table.starts_with("vqa, 3 items\n"), "{table}");
    let line = |start: &str| {
        let found = table
            .lines()
            .find(|line| line.trim_start().starts_with(start));
        found
            .unwrap_or_else(|| panic!("{start}: {table}"))
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(line("exact "), ["exact", "0.6667"]);
    assert_eq!(line("n/color"), ["n/color", "1"]);
    let compared = stdout_of(&run(&[&args[..], &["--against", &other]].concat()));
    assert!(
        compared.contains("+0.6667") && compared.contains("other.jsonl"),
        "{compared}"
    );
}

#[test]
fn items_come_one_a_line_and_exclude_intervals() {
    let (_folder, [references, said, _]) = files();
    let own = score("vqa", &references, &said);
    let args = [&own[..], &["--per-item"]].concat();
    let text = stdout_of(&run(&args));
    let rows: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(
        rows[0],
        json!({"id": "a", "type": "color", "exact": 1.0, "soft": 1.0 / 3.0})
    );
    failed_with(&run(&[&args[..], &["--bootstrap", "10"]].concat()), 2);
}

#[test]
fn captions_keep_their_keys_and_show_more_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let references = written(
        folder.path(),
        "r.jsonl",
        "{\"id\":1,\"captions\":[\"草地上的狗\",\"一只狗\"]}\n{\"id\":2,\"captions\":\"红色的花\"}\n",
    );
    let said = written(
        folder.path(),
        "c.jsonl",
        "{\"id\":2,\"text\":\"红色的花\"}\n{\"id\":1,\"text\":\"一只狗\",\"logprob\":-1.5}\n",
    );
    let own = score("caption", &references, &said);
    let args = [&own[..], &["--json"]].concat();
    let plain = last_json(&run(&args));
    assert_eq!(keys(&plain), ["bleu", "cider", "n", "rouge_l"]);
    let detail = last_json(&run(&[&args[..], &["--detail"]].concat()));
    for key in ["bleu", "cider", "n", "rouge_l"] {
        assert_eq!(plain[key], detail[key], "{key}");
    }
    assert_eq!(detail["scores"]["mean_length"], 3.5);
    assert_eq!(detail["scores"]["distinct_1"], 1.0);
    assert_eq!(detail["scores"]["bleu_4"], plain["bleu"][3]);
    let more = ["--shuffled", "--against", &said, "--bootstrap", "50"];
    let shuffled = last_json(&run(&[&args[..], &more].concat()));
    let lost = &shuffled["against"]["differences"]["rouge_l"]["difference"];
    assert!(lost.as_f64().expect("a number") < -0.5, "{shuffled}");
    let items = stdout_of(&run(&[&args[..6], &["--per-item"]].concat()));
    assert!(items.starts_with("{\"id\":\"1\",\"bleu\":["), "{items}");
}

/// Scores two files of these lines: an error with exit code 3 that says `expected`, and nothing on stdout.
fn refused(metric: &str, references: &str, candidates: &str, expected: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let r = written(folder.path(), "r.jsonl", references);
    let c = written(folder.path(), "said.jsonl", candidates);
    let output = run(&[&score(metric, &r, &c)[..], &["--json"]].concat());
    let message = failed_with(&output, 3);
    assert!(output.stdout.is_empty(), "{metric}");
    for part in expected {
        assert!(
            message.contains(part),
            "{metric}: {part:?} is not in {message}"
        );
    }
}

#[test]
fn bad_answers_are_named_with_the_line() {
    let vqa = "{\"id\":1,\"answer\":\"红\"}\n{\"id\":2,\"answer\":\"绿\"}";
    let one = "{\"id\":1,\"text\":\"红\"}";
    let given = "{\"id\":1,\"text\":\"红\"}\n{\"id\":2,\"text\":\"绿\"}";
    refused(
        "vqa",
        vqa,
        "{\"text\":\"红\"}",
        &["said.jsonl", "line 1", "\"id\""],
    );
    refused(
        "vqa",
        vqa,
        &format!("{given}\n\n{{\"id\":\"2\",\"text\":\"x\"}}"),
        &["said.jsonl", "line 4", "\"2\"", "more than once", "line 2"],
    );
    refused(
        "vqa",
        "{\"id\":1,\"answers\":[\"\"]}",
        one,
        &["r.jsonl", "line 1", "is empty"],
    );
    refused(
        "vqa",
        "{\"id\":1}",
        one,
        &["r.jsonl", "line 1", "\"answers\""],
    );
    refused(
        "vqa",
        vqa,
        "{\"id\":1,\"text\":\"红\"}",
        &["said.jsonl", "1 of 2", "\"2\""],
    );
    refused(
        "vqa",
        "{\"id\":1,\"answer\":\"红\"}",
        given,
        &["said.jsonl", "line 2", "\"2\"", "no references"],
    );
    refused(
        "vqa",
        vqa,
        "{\"id\":1,\"text\":\"红\"}\n[1]",
        &["said.jsonl", "line 2", "not an object"],
    );
    refused("vqa", vqa, "", &["said.jsonl", "no item"]);
    refused(
        "vqa",
        vqa,
        "\u{feff}{\"id\":1,\"txt\":\"红\"}",
        &["said.jsonl", "line 1", "unknown field \"txt\""],
    );
    refused(
        "qa",
        vqa,
        "{\"id\":1,\"text\":\"a\",\"logprob\":-1,\"n_tokens\":2}\n{\"id\":2,\"text\":\"b\"}",
        &["said.jsonl", "line 2", "n_tokens"],
    );
}

#[test]
fn bad_verdicts_rankings_and_labels_are_named_with_the_line() {
    refused(
        "match",
        "{\"id\":1,\"label\":\"yes\"}",
        "{\"id\":1,\"score\":1}",
        &["r.jsonl", "line 1", "0, 1, true or false"],
    );
    refused(
        "match",
        "{\"id\":1,\"label\":1}",
        "{\"id\":1,\"score\":\"high\"}",
        &["said.jsonl", "line 1", "\"score\""],
    );
    refused(
        "retrieval",
        "{\"id\":1,\"relevant\":[]}",
        "{\"id\":1,\"ranked\":[]}",
        &["r.jsonl", "line 1", "is empty"],
    );
    refused(
        "retrieval",
        "{\"id\":1,\"relevant\":[\"a\"]}",
        "{\"id\":1,\"ranked\":[\"a\",\"a\"]}",
        &["said.jsonl", "line 1", "ranked twice"],
    );
    refused(
        "classify",
        "{\"id\":1,\"label\":\"体育\"}",
        "{\"id\":1,\"label\":\"天气\"}",
        &["said.jsonl", "line 1", "天气", "no reference"],
    );
}

#[test]
fn bad_captions_are_named_with_the_line() {
    refused(
        "caption",
        "{\"id\":1,\"captions\":[]}",
        "{\"id\":1,\"text\":\"a\"}",
        &["r.jsonl", "line 1", "are empty"],
    );
    refused(
        "caption",
        "{\"id\":1,\"captions\":\"！\"}",
        "{\"id\":1,\"text\":\"a\"}",
        &["r.jsonl", "\"1\"", "empty"],
    );
    refused(
        "caption",
        "{\"id\":1,\"captions\":\"a\"}",
        "{\"id\":1,\"text\":\"a\"}\n{\"id\":1,\"text\":\"a\"}",
        &["said.jsonl", "line 2", "more than once"],
    );
    refused(
        "caption",
        "{\"id\":1,\"captions\":\"a\"}",
        "{\"id\":2,\"text\":\"a\"}",
        &["said.jsonl", "\"2\"", "no references"],
    );
    refused(
        "caption",
        "{\"id\":1,\"captions\":\"a\"}",
        "so it goes",
        &["said.jsonl", "line 1", "expected"],
    );
}

#[test]
fn bad_verse_other_systems_and_missing_files_are_named() {
    let (folder, [references, said, _]) = files();
    let poems = written(folder.path(), "p.jsonl", "{\"id\":1,\"lines\":[\"。\"]}");
    let good = written(
        folder.path(),
        "g.jsonl",
        "{\"id\":1,\"lines\":[\"床前明月光\"]}",
    );
    let broken = written(folder.path(), "t.jsonl", "{\"text\":\"a\"}\n{");
    let message = failed_with(&run(&["score", "poem", "--candidates", &poems]), 3);
    assert!(
        message.contains("p.jsonl") && message.contains("line 1"),
        "{message}"
    );
    let message = failed_with(
        &run(&[
            "score",
            "poem",
            "--candidates",
            &good,
            "--training",
            &broken,
        ]),
        3,
    );
    assert!(
        message.contains("t.jsonl") && message.contains("line 2"),
        "{message}"
    );
    let args = score("vqa", &references, &said);
    let message = failed_with(&run(&[&args[..], &["--against", &broken]].concat()), 3);
    assert!(
        message.contains("t.jsonl") && message.contains("line 1"),
        "{message}"
    );
    let message = failed_with(
        &run(&[&args[..], &["--against", "nowhere.jsonl"]].concat()),
        2,
    );
    assert!(message.contains("cannot read nowhere.jsonl"), "{message}");
    failed_with(&run(&[&args[..], &["--bootstrap", "0"]].concat()), 2);
}

#[test]
fn every_metric_tells_its_fields() {
    for (metric, fields) in [
        ("caption", vec!["captions", "text", "bleu", "cider"]),
        ("vqa", vec!["answers", "type", "text", "exact", "soft"]),
        (
            "qa",
            vec!["answers", "logprob", "n_tokens", "em", "f1", "perplexity"],
        ),
        ("match", vec!["label", "score", "auc"]),
        ("retrieval", vec!["relevant", "ranked", "scores", "r@1"]),
        (
            "poem",
            vec!["lines", "text_s", "constraint", "copied_lines"],
        ),
        ("classify", vec!["label", "macro_f1"]),
    ] {
        let help = stdout_of(&run(&["score", metric, "--help"]));
        for field in fields {
            assert!(help.contains(field), "{metric}: {field}");
        }
    }
}

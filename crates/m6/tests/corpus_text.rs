//! `m6 corpus normalize`, `train-lm` and `train-classifier` through the built binary.

mod support;

use serde_json::Value;
use support::{failed_with, last_json, real_data, run, run_with_input, stdout_of};

/// One thread keeps the order of speed out of the picture; the result does not depend on it.
fn normalize(options: &[&str], input: &str) -> String {
    let args = [&["corpus", "normalize"], options].concat();
    stdout_of(&run_with_input(&args, input.as_bytes()))
}

#[test]
fn all_of_openccs_cases_come_out_of_the_binary() {
    let Some(folder) = real_data("opencc") else {
        return;
    };
    let cases = std::fs::read_to_string(folder.join("cases.jsonl")).expect("readable");
    let cases: Vec<Value> = cases
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(cases.len(), 159);
    let mut n_expected = 0;
    for config in [
        "s2t", "t2s", "s2tw", "tw2s", "s2hk", "hk2s", "s2twp", "tw2sp", "s2hkp", "hk2sp", "t2tw",
        "tw2t", "t2hk", "hk2t", "t2jp", "jp2t",
    ] {
        let chosen: Vec<(&str, &str)> = cases
            .iter()
            .filter_map(|case| Some((case["input"].as_str()?, case["expected"][config].as_str()?)))
            .collect();
        n_expected += chosen.len();
        let column = |lines: Vec<&str>| lines.join("\n") + "\n";
        let input = column(chosen.iter().map(|(input, _)| *input).collect());
        let expected = column(chosen.iter().map(|(_, expected)| *expected).collect());
        assert_eq!(
            normalize(&["--opencc", config], &input),
            expected,
            "{config}"
        );
        if config == "t2s" {
            assert_eq!(normalize(&["--t2s"], &input), expected);
        }
    }
    let all = cases.iter().filter_map(|case| case["expected"].as_object());
    assert_eq!(n_expected, all.map(|row| row.len()).sum::<usize>());
}

#[test]
fn a_nul_loses_no_text() {
    let text = "汉\0字\0軟\0件\0\n\0\n裏\0面\0";
    for config in [
        "t2s", "s2t", "s2tw", "s2twp", "tw2s", "tw2sp", "s2hkp", "jp2t",
    ] {
        let out = normalize(&["--opencc", config], text);
        let count = |text: &str| text.chars().filter(|c| *c == '\0').count();
        assert_eq!(
            (out.chars().count(), count(&out)),
            (text.chars().count(), count(text)),
            "{config}"
        );
    }
    assert_eq!(
        normalize(&["--t2s"], text),
        "汉\0字\0软\0件\0\n\0\n里\0面\0"
    );
    assert_eq!(normalize(&["--rules", "default"], text), "汉字軟件\n\n裏面");
}

#[test]
fn cleaning_twice_is_cleaning_once_and_lines_stay() {
    let dirty =
        "Ｍ６　模型\0，２０２１年！！！\r\n&amp;lt;p&gt;  \n\n\u{feff}æ–‡ä»¶ \t x\n&#10;好。。。";
    let mut texts = vec![dirty.to_owned()];
    for file in [
        "qa/egret-forum.jsonl",
        "ecommerce/reviews.jsonl",
        "news/thucnews-titles.jsonl",
    ] {
        texts.extend(real_data(file).map(|path| std::fs::read_to_string(path).expect("readable")));
    }
    for text in texts {
        for rules in ["default", "m6"] {
            let once = normalize(&["--rules", rules], &text);
            assert_eq!(once.matches('\n').count(), text.matches('\n').count());
            assert!(
                normalize(&["--rules", rules], &once) == once,
                "{rules}: a second cleaning changes more"
            );
        }
    }
    failed_with(&run(&["corpus", "normalize", "--rules", "defautl"]), 2);
    failed_with(&run(&["corpus", "normalize", "--opencc", "t2x"]), 2);
}

#[test]
fn a_language_model_knows_text_from_shuffled_text() {
    let Some(clean) = real_data("classical/parallel.jsonl") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model.lm");
    let (clean, model) = (
        clean.to_str().expect("UTF-8"),
        model.to_str().expect("UTF-8"),
    );
    let args = [
        "corpus",
        "train-lm",
        "--text-field",
        "modern",
        "--input",
        clean,
        "--out",
        model,
        "--json",
    ];
    let row = last_json(&run(&args));
    let perplexity = |key: &str| row[key]["perplexity"].as_f64().expect("a number");
    assert!(perplexity("held_out") < 200.0, "{row}");
    assert!(
        perplexity("held_out_shuffled") > 4.0 * perplexity("held_out"),
        "{row}"
    );
    assert_eq!(
        last_json(&run(&args)),
        row,
        "the same text gives the same model"
    );
    failed_with(
        &run(&["corpus", "train-lm", "--input", clean, "--out", model]),
        3,
    );
    let order = [&args[..], &["--order", "9"]].concat();
    failed_with(&run(&order), 2);
}

#[test]
fn a_classifier_tells_modern_from_classical_chinese() {
    let Some(parallel) = real_data("classical/parallel.jsonl") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let rows = std::fs::read_to_string(parallel).expect("readable");
    let write = |field: &str| {
        let rows = rows
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let lines: Vec<String> = rows
            .filter_map(|row| Some(row[field].as_str()?.replace('\n', " ")))
            .collect();
        let path = folder.path().join(format!("{field}.txt"));
        m6_store::atomic::write_file(&path, lines.join("\n").as_bytes()).expect("written");
        path.display().to_string()
    };
    let (good, bad) = (write("modern"), write("classical"));
    let model = folder.path().join("model.clf").display().to_string();
    let args = [
        "corpus",
        "train-classifier",
        "--good",
        &good,
        "--bad",
        &bad,
        "--out",
        &model,
        "--json",
    ];
    let row = last_json(&run(&args));
    assert!(row["held_out"]["auc"].as_f64() > Some(0.95), "{row}");
    let control = row["controls"]["drawn_labels"]["auc"]
        .as_f64()
        .expect("a number");
    assert!((0.35..0.65).contains(&control), "{row}");
    assert_eq!(
        last_json(&run(&args)),
        row,
        "the same examples give the same model"
    );
}

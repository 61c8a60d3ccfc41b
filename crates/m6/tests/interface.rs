//! The stable interface: `--json` keys, the order of verbs, exit codes. Scripts rely on it; a change here is a breaking change.

mod support;

use serde_json::{Value, json};
use support::{
    failed_with, keys, last_json, m6, pretrain, real_data, run, run_with_input, sets, shared_data,
    stdout_of, written, written_png,
};

#[test]
fn help_lists_the_verbs_in_the_order_data_flows() {
    let help = stdout_of(&run(&["--help"]));
    let verbs = [
        "demo",
        "corpus",
        "tokenizer",
        "vqgan",
        "prepare",
        "pretrain",
        "finetune",
        "generate",
        "eval",
        "score",
        "plan",
        "preset",
        "inspect",
        "report",
        "export",
        "bench",
        "doctor",
        "completions",
    ];
    let at: Vec<usize> = verbs
        .iter()
        .map(|verb| {
            help.find(&format!("\n  {verb} "))
                .unwrap_or_else(|| panic!("{verb} is not in --help"))
        })
        .collect();
    assert!(at.is_sorted(), "{help}");
    for flag in [
        "--json",
        "--seed",
        "--threads",
        "--device",
        "--set",
        "--dry-run",
        "--quiet",
        "--verbose",
        "--no-progress",
    ] {
        assert!(help.contains(flag), "{flag} is not in --help");
    }
}

#[test]
fn every_command_of_the_readme_is_understood() {
    let readme = include_str!("../../../README.md");
    let mut n_commands = 0;
    for line in readme.lines().filter(|line| line.starts_with("m6 ")) {
        let words: Vec<&str> = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .collect();
        let output = m6()
            .args(&words)
            .arg("--help")
            .output()
            .expect("the binary starts");
        assert!(output.status.success(), "README: {line}");
        n_commands += 1;
    }
    assert!(n_commands >= 8, "{n_commands} commands found");
}

#[test]
fn encode_gives_ids_tokens_and_offsets_and_decode_the_reverse() {
    let folder = tempfile::tempdir().expect("a folder");
    let vocab = folder.path().join("vocab.txt");
    let text = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "你", "好", "he", "##llo", "，",
    ]
    .join("\n");
    std::fs::File::create(&vocab)
        .and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes()))
        .expect("written");
    let vocab = vocab.to_str().expect("UTF-8");
    let output = run_with_input(
        &[
            "tokenizer",
            "encode",
            "--vocab",
            vocab,
            "--special",
            "--json",
        ],
        "你好，Hello\n".as_bytes(),
    );
    let row = last_json(&output);
    assert_eq!(
        row,
        json!({"ids": [2, 5, 6, 9, 7, 8, 3], "tokens": ["[CLS]", "你", "好", "，", "he", "##llo", "[SEP]"],
               "offsets": [[0, 0], [0, 1], [1, 2], [2, 3], [3, 5], [5, 8], [0, 0]]})
    );
    let back = run_with_input(
        &["tokenizer", "decode", "--vocab", vocab],
        row.to_string().as_bytes(),
    );
    assert_eq!(stdout_of(&back), "你好，hello\n");
    let lines = run_with_input(
        &["tokenizer", "encode", "--vocab", vocab, "--json-lines"],
        b"\"\\u4f60\\n\\u597d\"\n",
    );
    assert_eq!(stdout_of(&lines), "5 6\n");
}

#[test]
fn all_published_wordpiece_cases_are_met_through_the_binary() {
    let Some(folder) = real_data("vocab") else {
        return;
    };
    let cases = std::fs::read_to_string(folder.join("wordpiece-cases.jsonl")).expect("readable");
    let cases: Vec<Value> = cases
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let input: String = cases
        .iter()
        .map(|case| format!("{}\n", case["text"]))
        .collect();
    let vocab = folder.join("bert-base-chinese-vocab.txt");
    let args = [
        "tokenizer",
        "encode",
        "--vocab",
        vocab.to_str().expect("UTF-8"),
        "--special",
        "--json",
        "--json-lines",
    ];
    let output = stdout_of(&run_with_input(&args, input.as_bytes()));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), cases.len());
    for (case, line) in cases.iter().zip(lines) {
        let row: Value = serde_json::from_str(line).expect("JSON");
        for key in ["ids", "tokens", "offsets"] {
            assert_eq!(row[key], case[key], "{key} of {}", case["text"]);
        }
    }
    assert_eq!(cases.len(), 608);
}

#[test]
fn pretraining_ends_with_its_outcome_and_leaves_its_metrics() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let row = last_json(&pretrain(&out, &[]));
    assert_eq!(
        keys(&row),
        [
            "checkpoint",
            "eval",
            "peak_rss_mb",
            "seconds",
            "steps",
            "tokens",
            "tokens_per_s"
        ]
    );
    let tasks = ["answer", "denoise", "image_to_text", "lm", "multimodal"];
    assert_eq!(keys(&row["eval"]), tasks);
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).expect("metrics");
    let rows: Vec<Value> = metrics
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(rows.len(), 8);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row["step"], json!(i + 1));
        for key in ["loss", "lr", "grad_norm", "tokens_per_s"] {
            assert!(row[key].is_number(), "{key} in {row}");
        }
        assert!(
            keys(row).iter().any(|key| key.starts_with("loss/")),
            "{row}"
        );
    }
    for name in [
        "config.toml",
        "config.resolved.toml",
        "run.json",
        "checkpoints/step-00000008/MANIFEST.json",
    ] {
        assert!(out.join(name).is_file(), "{name}");
    }
    generating_from(out.to_str().expect("UTF-8"), folder.path());
}

fn generating_from(model: &str, folder: &std::path::Path) {
    let text = run(&[
        "generate",
        "text",
        "--model",
        model,
        "--prompt",
        "圆形",
        "--max-tokens",
        "5",
        "--json",
    ]);
    assert_eq!(keys(&last_json(&text)), ["id", "logprob", "text"]);
    let picture = &written_png(folder, "a.png", 64, 200);
    let caption = last_json(&run(&[
        "generate", "caption", "--model", model, "--image", picture, "--json",
    ]));
    assert_eq!(keys(&caption), ["id", "logprob", "text"]);
    assert_eq!(caption["id"], "a");
    let answer = run(&[
        "generate",
        "answer",
        "--model",
        model,
        "--image",
        picture,
        "--question",
        "图里有几个圆形？",
        "--json",
    ]);
    assert_eq!(keys(&last_json(&answer)), ["id", "logprob", "text"]);
}

#[test]
fn scores_are_those_of_the_published_scorer() {
    let Some(folder) = real_data("caption-metrics") else {
        return;
    };
    let expected: Value = serde_json::from_str(
        &std::fs::read_to_string(folder.join("corpus-scores.json")).expect("readable"),
    )
    .expect("JSON");
    let cases = std::fs::read_to_string(folder.join("cases.jsonl")).expect("readable");
    let cases: Vec<Value> = cases
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let work = tempfile::tempdir().expect("a folder");
    for system in ["human_5th", "shuffled", "truncated"] {
        let (mut references, mut candidates) = (String::new(), String::new());
        for case in cases.iter().filter(|case| case["system"] == system) {
            references.push_str(&format!(
                "{}\n",
                json!({"id": case["id"], "captions": case["references"]})
            ));
            candidates.push_str(&format!(
                "{}\n",
                json!({"id": case["id"], "text": case["hypothesis"]})
            ));
        }
        let (r, c) = (work.path().join("r.jsonl"), work.path().join("c.jsonl"));
        m6_store::atomic::write_file(&r, references.as_bytes()).expect("written");
        m6_store::atomic::write_file(&c, candidates.as_bytes()).expect("written");
        let (r, c) = (r.to_str().expect("UTF-8"), c.to_str().expect("UTF-8"));
        let args = [
            "score",
            "caption",
            "--references",
            r,
            "--candidates",
            c,
            "--segment",
            "none",
            "--json",
        ];
        let row = last_json(&run(&args));
        assert_eq!(keys(&row), ["bleu", "cider", "n", "rouge_l"]);
        let close = |a: &Value, b: &Value| {
            (a.as_f64().expect("number") - b.as_f64().expect("number")).abs() < 1e-6
        };
        for i in 0..4 {
            assert!(
                close(&row["bleu"][i], &expected[system]["BLEU"][i]),
                "BLEU-{} of {system}",
                i + 1
            );
        }
        assert!(
            close(&row["rouge_l"], &expected[system]["ROUGE_L"]),
            "ROUGE-L of {system}"
        );
        assert!(
            close(&row["cider"], &expected[system]["CIDEr"]),
            "CIDEr of {system}"
        );
    }
}

#[test]
fn every_metric_prints_its_name_its_items_and_its_scores() {
    let work = tempfile::tempdir().expect("a folder");
    let check = |metric: &str, references: &str, candidates: &str, scores: &[&str]| {
        let candidates = written(work.path(), "c.jsonl", candidates);
        let mut args = vec!["score", metric, "--candidates", &candidates, "--json"];
        let references = written(work.path(), "r.jsonl", references);
        let file = if metric == "poem" {
            "--training"
        } else {
            "--references"
        };
        args.extend([file, references.as_str()]);
        let row = last_json(&run(&args));
        assert_eq!(keys(&row), ["metric", "n", "scores"], "{metric}");
        assert_eq!((&row["metric"], &row["n"]), (&json!(metric), &json!(1)));
        assert_eq!(keys(&row["scores"]), scores, "{metric}");
        args.extend(["--bootstrap", "9", "--against", &candidates]);
        let row = last_json(&run(&args));
        let all = ["against", "bootstrap", "intervals", "metric", "n", "scores"];
        assert_eq!(keys(&row), all, "{metric}");
        let other = ["candidates", "differences", "draws", "scores"];
        assert_eq!(keys(&row["against"]), other, "{metric}");
        let first = row["against"]["differences"]
            .as_object()
            .expect("an object");
        let first = first.values().next().expect("a figure");
        assert_eq!(keys(first), ["difference", "interval", "p"], "{metric}");
    };
    check(
        "vqa",
        r#"{"id": 1, "answers": ["红"], "type": "color"}"#,
        r#"{"id": "1", "text": "红"}"#,
        &["exact", "exact/color", "n/color", "soft", "soft/color"],
    );
    check(
        "qa",
        r#"{"id": 1, "answer": "北京"}"#,
        r#"{"id": 1, "text": "在北京"}"#,
        &["bleu_4", "em", "f1", "perplexity", "repetition", "rouge_l"],
    );
    check(
        "match",
        r#"{"id": 1, "label": true}"#,
        r#"{"id": 1, "score": 0.7}"#,
        &["accuracy", "auc", "best_threshold_accuracy"],
    );
    check(
        "retrieval",
        r#"{"id": 1, "relevant": ["a"]}"#,
        r#"{"id": 1, "ranked": ["b", "a"]}"#,
        &["mean_recall", "median_rank", "r@1", "r@10", "r@5"],
    );
    check(
        "poem",
        r#"{"text": "床前明月光"}"#,
        r#"{"id": 1, "lines": ["床前明月光", "疑是地上霜", "举头望明月", "低头思故乡"]}"#,
        &[
            "constraint",
            "copied_lines",
            "longest_shared_span",
            "rhyme",
            "shared_span",
            "tones",
        ],
    );
    check(
        "classify",
        r#"{"id": 1, "label": "体育"}"#,
        r#"{"id": 1, "label": "体育"}"#,
        &[
            "accuracy",
            "f1/体育",
            "macro_f1",
            "n/体育",
            "precision/体育",
            "recall/体育",
        ],
    );
}

#[test]
fn the_demo_ends_with_its_figures_and_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("demo");
    let mut args = vec![
        "demo",
        "--short",
        "--out",
        out.to_str().expect("UTF-8"),
        "--json",
        "-q",
    ];
    let tiny = [
        "train.steps=6",
        "train.warmup_steps=2",
        "train.eval_every=6",
        "data.sources.world.n=150",
        "model.n_layers=1",
    ];
    args.extend(sets(&tiny));
    let row = last_json(&run(&args));
    assert_eq!(
        keys(&row),
        [
            "caption",
            "image",
            "loss",
            "model",
            "peak_rss_mb",
            "report",
            "seconds",
            "vqa"
        ]
    );
    assert_eq!(keys(&row["loss"]), ["end", "start"]);
    for key in [
        "detection",
        "relation",
        "color",
        "number",
        "overall",
        "blind",
    ] {
        assert!(row["vqa"][key].is_number(), "{key} in {row}");
    }
    for key in ["color", "shape", "count", "position"] {
        let image = &row["image"];
        assert!(image[key].is_number(), "{key} in {row}");
        assert!(image["chance"][key].is_number(), "{key} in {row}");
    }
    for key in ["cider", "cider_shuffled"] {
        assert!(row["caption"][key].is_number(), "{key} in {row}");
    }
    let page = std::fs::read_to_string(out.join("report.html")).expect("the page");
    assert!(
        page.contains("<svg")
            && page.contains("data:image/png;base64,")
            && !page.contains("http://")
    );
    assert!(
        !page.contains("<script") && !page.contains("https://"),
        "the page is self-contained"
    );
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let data = shared_data().to_str().expect("UTF-8");
    let output = run(&[
        "pretrain",
        "m6-nano",
        "--data",
        data,
        "--out",
        out.to_str().expect("UTF-8"),
        "--dry-run",
    ]);
    assert!(output.status.success() && !out.exists());
}

#[test]
fn a_dry_run_gives_every_ranks_share() {
    let data = shared_data().to_str().expect("UTF-8");
    let ranks = |sets: &[&str]| {
        let mut words = vec![
            "pretrain",
            "m6-nano",
            "--data",
            data,
            "--out",
            "no-such-run",
        ];
        words.extend(["--dry-run", "--json"]);
        words.extend(sets.iter().flat_map(|set| ["--set", set]));
        let row = last_json(&run(&words));
        row["ranks"].as_array().expect("a list").clone()
    };
    let sum = |ranks: &[Value], key: &str| -> u64 {
        ranks
            .iter()
            .map(|rank| rank[key].as_u64().expect("bytes"))
            .sum()
    };
    let one = ranks(&["train.optimizer=adamw"]);
    assert_eq!(one.len(), 1);
    let four = ranks(&[
        "train.optimizer=adamw",
        "train.accum=4",
        "parallel.data=4",
        "parallel.zero=3",
    ]);
    assert_eq!(four.len(), 4);
    for key in ["updated", "gradients", "moments"] {
        assert_eq!(sum(&four, key), sum(&one, key), "{key}");
    }
    let block = ranks(&["train.optimizer=adafactor", "train.blockwise=true"]);
    assert!(sum(&block, "gradients") < sum(&one, "gradients"));
    assert!(sum(&block, "moments") * 50 < sum(&one, "moments"));
}

#[test]
fn a_wrong_device_and_no_threads_are_usage_errors() {
    assert!(failed_with(&run(&["doctor", "--device", "cuda"]), 2).contains("cuda"));
    assert!(failed_with(&run(&["doctor", "--threads", "0"]), 2).contains("--threads 0"));
}

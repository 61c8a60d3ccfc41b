//! Finetuning and its evaluations through the built binary: pretrain on the sample world, go on from there, answer, match, retrieve. The keys
//! are part of the stable interface.

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use support::{SMALL, failed_with, keys, last_json, pretrain, run, sets, shared_data};

/// Settings of a short finetuning.
const SHORT: [&str; 5] = [
    "train.steps=6",
    "train.warmup_steps=1",
    "train.rows_per_batch=4",
    "train.eval_every=2",
    "train.eval_rows=4",
];

/// A model pretrained for a few steps, made once.
fn pretrained() -> &'static Path {
    static RUN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = RUN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run");
        last_json(&pretrain(&path, &[]));
        (folder, path)
    });
    path
}

/// The world prepared for matching and retrieval with the vocabulary of the pretrained model, made once.
fn pairs() -> &'static Path {
    static DATA: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = DATA.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        let vocabulary = format!("tokenizer.file={}", pretrained().display());
        let mut args = vec!["prepare", "m6-nano", "--out", text(&path), "-q", "--json"];
        args.extend(sets(&SMALL));
        args.extend(sets(&[
            vocabulary.as_str(),
            "data.sources.world.held_out=0.2",
            "data.sources.world.tasks={ match = 1.0, retrieval = 1.0 }",
        ]));
        last_json(&run(&args));
        (folder, path)
    });
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn config(folder: &Path) -> PathBuf {
    let path = folder.join("finetune.toml");
    std::fs::File::create(&path)
        .and_then(|mut file| {
            std::io::Write::write_all(&mut file, b"[train]\nlr = 1e-3\noptimizer = \"adamw\"\n")
        })
        .expect("written");
    path
}

fn finetune(
    task: &str,
    from: &Path,
    data: &Path,
    out: &Path,
    more: &[&str],
) -> std::process::Output {
    let config = config(out.parent().expect("a folder"));
    let mut args = vec![
        "finetune",
        task,
        text(&config),
        "--from",
        text(from),
        "--data",
        text(data),
        "--out",
        text(out),
        "-q",
        "--json",
    ];
    args.extend(sets(&SHORT));
    args.extend(more);
    run(&args)
}

#[test]
fn a_pretrained_model_is_finetuned_for_questions_and_answers_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("vqa");
    let row = last_json(&finetune("vqa", pretrained(), shared_data(), &out, &[]));
    assert_eq!(
        keys(&row),
        [
            "best",
            "checkpoint",
            "eval",
            "peak_rss_mb",
            "seconds",
            "steps",
            "stopped_early",
            "task",
            "tokens",
            "tokens_per_s"
        ]
    );
    assert_eq!(
        (row["task"].as_str(), row["steps"].as_u64()),
        (Some("vqa"), Some(6))
    );
    assert_eq!(keys(&row["best"]), ["score", "step"]);
    // The share of right answers decides, which is no loss: those are above 1 here, and their negatives below 0.
    let score = row["best"]["score"].as_f64().expect("a number");
    assert!((0.0..=1.0).contains(&score), "{row}");
    let log = std::fs::read_to_string(out.join("log.txt")).expect("a log");
    assert!(log.contains(&format!(" exact {score:.4}")), "{log}");
    let by_loss = folder.path().join("by-loss");
    let more = ["--set", "train.best_by=loss"];
    let row_by_loss = last_json(&finetune(
        "vqa",
        pretrained(),
        shared_data(),
        &by_loss,
        &more,
    ));
    let loss = row_by_loss["eval"]["answer"].as_f64().expect("a loss");
    let score = row_by_loss["best"]["score"].as_f64().expect("a number");
    assert!(score < 0.0 && -score <= loss + 1e-9, "{row_by_loss}");
    // Only the answers are trained and evaluated; the model has the sizes of the one it came from.
    assert_eq!(keys(&row["eval"]), ["answer"]);
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).expect("metrics");
    let first: Value = serde_json::from_str(metrics.lines().next().expect("a line")).expect("JSON");
    let losses: Vec<String> = keys(&first)
        .into_iter()
        .filter(|k| k.starts_with("loss/"))
        .collect();
    assert_eq!(losses, ["loss/answer"]);
    let resolved = std::fs::read_to_string(out.join("config.resolved.toml")).expect("resolved");
    assert!(resolved.contains("d_model = 64") && resolved.contains("keep_best = true"));

    let asked = [
        "generate",
        "answer",
        "--model",
        text(&out),
        "--question",
        "图里有什么？",
        "--json",
        "--max-tokens",
        "6",
    ];
    assert_eq!(keys(&last_json(&run(&asked))), ["id", "logprob", "text"]);
    // Going on with what is finished changes nothing.
    let again = last_json(&finetune(
        "vqa",
        pretrained(),
        shared_data(),
        &out,
        &["--resume"],
    ));
    assert_eq!(
        (again["steps"].as_u64(), &again["best"]),
        (Some(6), &row["best"])
    );
}

#[test]
fn a_captioner_learns_from_its_own_texts_and_resumes_to_the_last_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let reward = sets(&[
        "reward.kind=cider",
        "reward.n_texts=3",
        "reward.max_tokens=8",
        "train.checkpoint_every=3",
    ]);
    let smooth = folder.path().join("smooth");
    let refused = finetune("caption", pretrained(), shared_data(), &smooth, &reward);
    assert!(failed_with(&refused, 2).contains("train.label_smoothing"));
    let out = folder.path().join("told");
    let mut more = reward;
    more.extend(sets(&["train.label_smoothing=0"]));
    let row = last_json(&finetune(
        "caption",
        pretrained(),
        shared_data(),
        &out,
        &more,
    ));
    assert_eq!(row["steps"], 6);
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).expect("metrics");
    let rewarded = metrics.lines().filter(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let [reward, norm] = ["reward", "grad_norm"].map(|key| line[key].as_f64().expect(key));
        reward > 0.0 && norm > 0.0
    });
    assert!(rewarded.count() > 0, "{metrics}");
    let weights = out.join("checkpoints/step-00000006/model.safetensors");
    let whole = std::fs::read(&weights).expect("weights");
    std::fs::remove_dir_all(weights.parent().expect("a folder")).expect("removed");
    more.push("--resume");
    last_json(&finetune(
        "caption",
        pretrained(),
        shared_data(),
        &out,
        &more,
    ));
    assert!(
        std::fs::read(&weights).expect("weights") == whole,
        "another end after a resume"
    );
    more.extend(sets(&["reward.temperature=0.5"]));
    let other = finetune("caption", pretrained(), shared_data(), &out, &more);
    assert!(
        failed_with(&other, 2).contains("reward.temperature"),
        "{other:?}"
    );
}

#[test]
fn adapters_are_trained_merged_on_export_and_left_out_on_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("lora");
    let lora = ["--set", "model.lora.rank=4", "--set", "train.lr=0.02"];
    last_json(&finetune("vqa", pretrained(), shared_data(), &out, &lora));
    let export = |name: &str, from: &Path, more: &[&str]| {
        let to = folder.path().join(name);
        let mut args = vec![
            "export",
            "--model",
            text(from),
            "--out",
            text(&to),
            "--json",
        ];
        args.extend(more);
        last_json(&run(&args));
        std::fs::read(to.join("model.safetensors")).expect("weights")
    };
    let merged = export("merged", &out, &[]);
    let without = export("without", &out, &["--without-adapters"]);
    let base = export("base", pretrained(), &[]);
    assert!(without == base, "the weights beside the adapters moved");
    assert!(merged != base);
    assert_eq!(merged.len(), base.len());
}

#[test]
fn what_cannot_be_finetuned_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let refused = |task, from: &Path, data: &Path, more: &[&str]| {
        failed_with(&finetune(task, from, data, &out, more), 2)
    };
    let error = refused("match", pretrained(), shared_data(), &[]);
    assert!(
        error.contains("has no rows of match") && error.contains("tasks = { match = 1 }"),
        "{error}"
    );
    let error = refused("vqa", folder.path(), shared_data(), &[]);
    assert!(error.contains("holds no model"), "{error}");
    let error = refused(
        "vqa",
        pretrained(),
        shared_data(),
        &["--set", "model.d_model=32"],
    );
    assert!(
        error.contains("both models must have the same sizes"),
        "{error}"
    );
    let error = refused(
        "vqa",
        pretrained(),
        shared_data(),
        &["--set", "train.freeze=[\"blocks.9\"]"],
    );
    assert!(error.contains("`blocks.9`"), "{error}");
    // Matching has no score of its own to be chosen by, and neither has pretraining.
    let by_score = [
        "pretrain",
        "m6-nano",
        "--data",
        text(shared_data()),
        "--out",
        text(&out),
        "--set",
        "train.best_by=score",
    ];
    let error = failed_with(&run(&by_score), 2);
    assert!(error.contains("train.best_by"), "{error}");
    let error = refused(
        "vqa",
        pretrained(),
        shared_data(),
        &["--set", "train.layer_decay=2"],
    );
    assert!(error.contains("layer_decay"), "{error}");
    let error = failed_with(&run(&["finetune", "dance", "m6-nano"]), 2);
    assert!(error.contains("retrieval"), "{error}");
}

#[test]
fn matching_is_learned_evaluated_and_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("match");
    let row = last_json(&finetune("match", pretrained(), pairs(), &out, &[]));
    assert_eq!(keys(&row["eval"]), ["match"]);
    let said = folder.path().join("said.jsonl");
    let args = [
        "eval",
        "match",
        "--model",
        text(&out),
        "--data",
        "world",
        "--n",
        "12",
        "--json",
        "-q",
        "--predictions",
        text(&said),
    ];
    let row = last_json(&run(&args));
    assert_eq!(keys(&row), ["control", "n", "scores", "task"]);
    assert_eq!(
        keys(&row["scores"]),
        [
            "accuracy",
            "auc",
            "best_threshold_accuracy",
            "hard_accuracy",
            "hard_auc",
            "hard_best_threshold_accuracy"
        ]
    );
    assert_eq!(
        keys(&row["control"]["shuffled"]),
        ["accuracy", "auc", "best_threshold_accuracy"]
    );
    assert_eq!(row["n"], 24);
    // The files give the same figures to whoever scores them.
    let truth = std::fs::read(folder.path().join("said.jsonl.truth.jsonl")).expect("the truth");
    let said = std::fs::read(&said).expect("what was said");
    let measured = m6_eval::measure_match(&truth, &said, 0.5).expect("measured");
    assert_eq!(row["scores"]["auc"].as_f64(), Some(measured.figures()[1]));

    pairs_are_those_of_an_exam(&out);

    let picture = folder.path().join("p.png");
    let pixels = m6_image::Rgb8 {
        width: 8,
        height: 8,
        data: vec![90; 192],
    };
    m6_store::atomic::write_file(
        &picture,
        &m6_image::encode_png(&pixels, &[]).expect("a PNG"),
    )
    .expect("written");
    let args = [
        "generate",
        "match",
        "--model",
        text(&out),
        "--image",
        text(&picture),
        "--text",
        "一个红色的圆形",
        "--json",
    ];
    let row = last_json(&run(&args));
    assert_eq!(keys(&row), ["score"]);
    assert!((0.0..=1.0).contains(&row["score"].as_f64().expect("a number")));
    let mut args = args;
    args[3] = text(pretrained());
    let error = failed_with(&run(&args), 2);
    assert!(error.contains("m6 finetune match"), "{error}");
}

/// Prepared data and its configuration name the same held-out records, fewer than all; `--source` chooses among them.
fn pairs_are_those_of_an_exam(model: &Path) {
    let eval = |data: &str, more: &[&str]| {
        let args = ["eval", "match", "--model", text(model), "--data", data];
        run(&[&args[..], &["--json", "-q"], more].concat())
    };
    let n = |data: &str, share: &str| {
        let share = format!("data.sources.world.held_out={share}");
        let own = sets(&["data.sources.world.n=120", share.as_str()]);
        let more = if data == "m6-nano" { &own[..] } else { &[] };
        last_json(&eval(data, more))["n"]
            .as_u64()
            .expect("a number")
    };
    let held_out = n(text(pairs()), "");
    assert_eq!(held_out, n("m6-nano", "0.2"));
    assert!(0 < held_out && held_out < n("m6-nano", "1.0"));
    let error = failed_with(&eval(text(pairs()), &["--source", "wrold"]), 2);
    assert!(error.contains("there are: world"), "{error}");
    let error = failed_with(&eval("nowhere.tar", &[]), 2);
    assert!(
        error.contains("nowhere.tar") && error.contains("hint"),
        "{error}"
    );
}

#[test]
fn retrieval_is_learned_and_ranked_again_by_a_match_head_and_by_a_captioner() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, both) = (folder.path().join("retrieval"), folder.path().join("both"));
    let row = last_json(&finetune(
        "retrieval",
        pretrained(),
        pairs(),
        &out,
        &["--set", "model.heads.contrastive=16"],
    ));
    assert_eq!(keys(&row["eval"]), ["retrieval"]);
    let args = [
        "eval",
        "retrieval",
        "--model",
        text(&out),
        "--data",
        "world",
        "--n",
        "12",
        "--json",
        "-q",
    ];
    let row = last_json(&run(&args));
    assert_eq!(keys(&row), ["control", "n", "n_texts", "scores", "task"]);
    assert_eq!(
        keys(&row["scores"]),
        ["image_to_text", "mean_recall", "text_to_image"]
    );
    assert_eq!(
        keys(&row["scores"]["text_to_image"]),
        ["mean_recall", "median_rank", "r@1", "r@10", "r@5"]
    );
    assert_eq!(keys(&row["control"]), ["chance", "shuffled"]);
    let chance = row["control"]["chance"]["text_to_image"]["r@1"]
        .as_f64()
        .expect("a number");
    assert!((chance - 1.0 / 12.0).abs() < 1e-12);

    // A model finetuned for matching from this one keeps the contrastive head and has both.
    last_json(&finetune("match", &out, pairs(), &both, &[]));
    let mut args = args.to_vec();
    args[3] = text(&both);
    args.extend(["--rerank", "3"]);
    let row = last_json(&run(&args));
    assert_eq!(
        keys(&row["scores"]),
        ["image_to_text", "mean_recall", "reranked", "text_to_image"]
    );
    assert_eq!(
        keys(&row["scores"]["reranked"]),
        ["image_to_text", "mean_recall", "text_to_image"]
    );
    // Within the first three an order is no other set.
    let r5 = |row: &Value| row["text_to_image"]["r@5"].as_f64();
    assert_eq!(r5(&row["scores"]), r5(&row["scores"]["reranked"]));
    // A captioner asked about all candidates gives an order of its own, whatever the vectors said.
    let by = |model: &Path| {
        let mut args = args[..args.len() - 2].to_vec();
        args[3] = text(model);
        args.extend(["--rerank", "99", "--captioner", text(pretrained())]);
        last_json(&run(&args))["scores"]["reranked"].clone()
    };
    let order = by(&out);
    assert_eq!(order, by(&both));
    assert_ne!(order, row["scores"]["reranked"]);
    args[3] = text(pretrained());
    let error = failed_with(&run(&args), 2);
    assert!(error.contains("m6 finetune retrieval"), "{error}");
}

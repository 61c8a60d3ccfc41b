//! Downstream tasks through the built binary on a model of a few updates: every evaluation with its controls, poems in their form,
//! constrained answers, comparison, and input that is refused.

mod support;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use support::{failed_with, keys, last_json, run, sets, stdout_of, written, written_png};

const CHARS: &str =
    "天地人日月山水风花雪春夏秋冬光霜乡望头思床前明疑是上举低故国破河在城草木深感时溅泪恨别鸟惊心";

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    m6_store::atomic::write_file(path, text.as_bytes()).expect("written");
}

/// Characters drawn by a formula.
fn chars(seed: usize, n: usize) -> String {
    let all: Vec<char> = CHARS.chars().collect();
    (0..n)
        .map(|i| all[(seed * 31 + i * i * 7 + i * seed) % all.len()])
        .collect()
}

fn poem(i: usize) -> String {
    let n_chars = if i.is_multiple_of(2) { 5 } else { 7 };
    (0..4 + 4 * (i % 3 / 2))
        .map(|line| {
            format!(
                "{}{}",
                chars(i * 17 + line, n_chars),
                ["，", "。"][line % 2]
            )
        })
        .collect()
}

/// JSON lines of poems, headlines and questions.
fn lines(n: usize, line: impl Fn(usize) -> Value) -> String {
    (0..n).map(|i| format!("{}\n", line(i))).collect()
}

struct Fixture {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

impl Fixture {
    fn path(&self, name: &str) -> String {
        self.root.join(name).to_str().expect("UTF-8").to_owned()
    }
}

const CONFIG: &str = r#"
extends = "m6-nano"
[tokenizer]
vocab_size = 900
min_frequency = 1
[data]
row_len = 128
max_text = 72
[[data.sources]]
name = "world"
kind = "world"
n = 60
licence = "test"
held_out = 0.2
tasks = { image_to_text = 1.0, answer = 1.0 }
[[data.sources]]
name = "verse"
kind = "jsonl"
path = "poems.jsonl"
question = "title"
answer = "text"
licence = "test"
held_out = 0.2
tasks = { poem = 1.0 }
[[data.sources]]
name = "news"
kind = "jsonl"
path = "news.jsonl"
text = "title"
question = "=这是哪一类？"
answer = "class"
licence = "test"
held_out = 0.3
tasks = { classify = 1.0 }
[[data.sources]]
name = "forum"
kind = "jsonl"
path = "forum.jsonl"
text = "context"
question = "question"
answer = "answers"
licence = "test"
held_out = 0.3
tasks = { answer = 1.0 }
[model]
vocab_size = 900
n_layers = 1
d_model = 64
d_ff = 128
[train]
steps = 4
warmup_steps = 1
eval_every = 4
checkpoint_every = 4
sample_every = 0
rows_per_batch = 4
"#;

/// Prepared data and a run of a few updates, made once.
fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().to_path_buf();
        write(
            &root.join("poems.jsonl"),
            &lines(60, |i| json!({"title": chars(i, 3), "text": poem(i)})),
        );
        let class = |i: usize| ["春夏", "秋冬", "水"][i % 3];
        write(
            &root.join("news.jsonl"),
            &lines(60, |i| json!({"title": format!("{}{}", class(i), chars(i, 8)), "class": class(i)})),
        );
        let forum = |i: usize| {
            json!({"question": format!("{}在哪？", chars(i, 3)), "context": chars(i + 7, 90), "answers": [chars(i, 4), chars(i, 2)]})
        };
        write(&root.join("forum.jsonl"), &lines(40, forum));
        write(&root.join("config.toml"), CONFIG);
        let fixture = Fixture { _folder: folder, root };
        let (config, data) = (fixture.path("config.toml"), fixture.path("data"));
        let root = format!("data.root={}", fixture.root.display());
        let prepare = ["prepare", &config, "--out", &data, "-q", "--set", &root];
        stdout_of(&run(&prepare));
        let out = fixture.path("run");
        let train = ["pretrain", &config, "--data", &data, "--out", &out, "-q", "--set", &root];
        stdout_of(&run(&train));
        fixture
    })
}

fn eval(task: &str, more: &[&str]) -> std::process::Output {
    let (model, data) = (fixture().path("run"), fixture().path("data"));
    let mut args = vec!["eval", task, "--model", &model, "--json", "-q"];
    if !more.contains(&"--data") {
        args.extend(["--data", data.as_str()]);
    }
    args.extend(more);
    run(&args)
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn every_task_is_evaluated_beside_its_controls() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("deep/report.html");
    let said = folder.path().join("said.jsonl");
    let files = [
        "--report",
        page.to_str().expect("UTF-8"),
        "--predictions",
        said.to_str().expect("UTF-8"),
    ];
    for (task, figures, controls) in [
        (
            "caption",
            vec!["bleu_4", "cider", "rouge_l", "mean_length"],
            vec!["shuffled"],
        ),
        ("vqa", vec!["exact", "soft"], vec!["blind", "shuffled"]),
        (
            "qa",
            vec!["em", "f1", "rouge_l", "repetition", "perplexity"],
            vec!["blind", "shuffled"],
        ),
        (
            "poem",
            vec![
                "constraint",
                "rhyme",
                "tones",
                "copied_lines",
                "longest_shared_span",
                "perplexity",
            ],
            vec!["true"],
        ),
        (
            "classify",
            vec!["accuracy", "macro_f1"],
            vec!["majority", "shuffled"],
        ),
    ] {
        let row = last_json(&eval(
            task,
            &[&files[..], &["--set", "generate.beams=1"]].concat(),
        ));
        assert_eq!(keys(&row), ["control", "n", "scores", "task"]);
        assert_eq!(row["task"], task);
        assert_eq!(keys(&row["control"]), controls, "{task}");
        for figure in figures {
            assert!(
                row["scores"][figure].is_number(),
                "{task} {figure}: {}",
                row["scores"]
            );
        }
        let n = row["n"].as_u64().expect("a count") as usize;
        let lines = std::fs::read_to_string(&said).expect("predictions");
        assert_eq!(lines.lines().count(), n, "{task}");
        let html = std::fs::read_to_string(&page).expect("the page");
        assert!(
            html.contains("Worst answers") && !html.contains("<script"),
            "{task}"
        );
        let with_pictures = matches!(task, "caption" | "vqa");
        assert_eq!(
            html.contains("data:image/png;base64,"),
            with_pictures,
            "{task}"
        );
        let record = std::fs::read_to_string(page.with_file_name("eval.json")).expect("the record");
        let record: Value = serde_json::from_str(&record).expect("JSON");
        assert_eq!(record["tasks"][task]["scores"], row["scores"]);
        assert_eq!(record["tasks"][task]["n"], row["n"]);
    }
    let poem = &last_json(&eval("poem", &["--n", "3"]));
    assert_eq!(poem["scores"]["constraint"], 1.0, "by construction");
    let vqa = last_json(&eval("vqa", &[]));
    assert!(
        keys(&vqa["scores"])
            .iter()
            .any(|key| key.starts_with("exact/")),
        "{vqa}"
    );
}

#[test]
fn the_same_questions_give_the_same_answers_whatever_the_batch() {
    for task in ["vqa", "poem"] {
        let one = stdout_of(&eval(task, &["--batch", "1", "--n", "6"]));
        assert_eq!(
            one,
            stdout_of(&eval(task, &["--batch", "5", "--n", "6"])),
            "{task}"
        );
    }
}

#[test]
fn poems_have_the_form_that_was_asked_for() {
    let model = fixture().path("run");
    for (form, n_lines, more) in [
        ("5", "8", vec!["--title", "春望", "--rhyme"]),
        (
            "7",
            "4",
            vec![
                "--title",
                "春望",
                "--rhyme",
                "--tones",
                "--temperature",
                "0",
            ],
        ),
        ("5", "6", vec!["--first-line", "天地人日月", "--beams", "3"]),
    ] {
        let base = [
            "generate", "poem", "--model", &model, "--form", form, "--lines", n_lines, "--json",
        ];
        let row = last_json(&run(&[&base[..], &more].concat()));
        assert_eq!(keys(&row), ["lines", "logprob", "rhyme", "title", "tones"]);
        let lines: Vec<&str> = row["lines"]
            .as_array()
            .expect("lines")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(lines.len().to_string(), n_lines, "{row}");
        assert!(
            lines
                .iter()
                .all(|line| line.chars().count().to_string() == form),
            "{row}"
        );
        assert!(number(&row["logprob"]) < 0.0);
        if more.contains(&"--rhyme") {
            assert_eq!(row["rhyme"], true, "{row}");
        }
        if more.contains(&"--tones") {
            assert_eq!(row["tones"], 1.0, "{row}");
        }
        if more.contains(&"--first-line") {
            assert_eq!(lines[0], "天地人日月");
        }
    }
    let three = [
        "generate", "poem", "--model", &model, "--title", "月", "--form", "5", "--lines", "4",
        "--n", "3", "--json",
    ];
    let text = stdout_of(&run(&three));
    assert_eq!(text.lines().count(), 3);
    assert_eq!(text, stdout_of(&run(&three)), "the same seed");
}

#[test]
fn an_extractive_answer_is_a_span_of_its_passage() {
    let folder = tempfile::tempdir().expect("a folder");
    let context = |id: &str| {
        let i: usize = id
            .rsplit('-')
            .next()
            .and_then(|n| n.parse().ok())
            .expect(id);
        chars(i + 7, 90)
    };
    let rows: Vec<Value> = (0..12)
        .map(|i| json!({"id": format!("q-{i}"), "question": format!("{}在哪？", chars(i, 3)), "context": chars(i + 7, 90), "answers": [chars(i, 2)]}))
        .collect();
    let asked = written(
        folder.path(),
        "asked.jsonl",
        &lines(12, |i| rows[i].clone()),
    );
    let said = |name: &str, more: &[&str]| -> Vec<(String, String)> {
        let to = folder.path().join(name);
        let to = to.to_str().expect("UTF-8");
        let base = ["--data", &asked, "--predictions", to];
        last_json(&eval("qa", &[&base[..], more].concat()));
        let text = std::fs::read_to_string(to).expect("predictions");
        let rows = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let field = |row: &Value, key: &str| row[key].as_str().expect(key).replace(' ', "");
        rows.map(|row| (field(&row, "id"), field(&row, "text")))
            .collect()
    };
    let is_span =
        |(id, text): &(String, String)| !text.is_empty() && context(id).contains(text.as_str());
    let spans = said("spans", &sets(&["generate.extractive=true"]));
    assert_eq!(spans.len(), 12);
    assert!(spans.iter().all(is_span), "{spans:?}");
    let free = said("free", &[]);
    assert!(!free.iter().all(is_span), "{free:?}");
}

#[test]
fn prompts_questions_and_titles_come_from_files() {
    let (model, folder) = (
        fixture().path("run"),
        tempfile::tempdir().expect("a folder"),
    );
    let rows = |what: &str, flag: &str, text: &str, more: &[&str]| -> Vec<Value> {
        let file = written(folder.path(), what, text);
        let base = ["generate", what, "--model", &model, flag, &file, "--json"];
        let said = stdout_of(&run(&[&base[..], more].concat()));
        let rows = said
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        rows.collect()
    };
    let short = ["--max-tokens", "3"];
    let texts = rows("text", "--prompts", "天地\n春夏\n", &short);
    let one = [
        "generate", "text", "--model", &model, "--prompt", "春夏", "--json",
    ];
    let alone = last_json(&run(&[&one[..], &short].concat()));
    assert_eq!((texts.len(), &texts[1]), (2, &alone));
    let answers = rows("answer", "--questions", "天在哪？\n地在哪？", &short);
    let ids: Vec<&Value> = answers.iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, ["#1", "#2"]);
    let form = ["--form", "5", "--lines", "4", "--n", "2"];
    let poems = rows("poem", "--titles", "月\n 春 \n", &form);
    let titles: Vec<&Value> = poems.iter().map(|row| &row["title"]).collect();
    assert_eq!(titles, ["月", "月", "春", "春"]);
    let (model, picture) = (model.as_str(), &written_png(folder.path(), "a.png", 8, 9));
    let both = [
        "generate",
        "answer",
        "--model",
        model,
        "--image",
        picture,
        "--question",
        "天在哪？",
        "--question",
        "地在哪？",
        "--max-tokens",
        "3",
        "--json",
    ];
    let said = stdout_of(&run(&both));
    let ids = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    assert_eq!(
        ids.map(|row| row["id"].clone()).collect::<Vec<_>>(),
        ["a#1", "a#2"]
    );
    let gap = written(folder.path(), "gap", "天\n \n");
    let gap = run(&["generate", "text", "--model", model, "--prompts", &gap]);
    assert!(failed_with(&gap, 2).contains("gap line 2"), "{gap:?}");
    let empty = written(folder.path(), "empty", "");
    let none = ["generate", "text", "--model", model, "--prompts", &empty];
    assert!(failed_with(&run(&none), 2).contains("no line"));
}

#[test]
fn answers_keep_to_choices_templates_and_lengths() {
    let model = fixture().path("run");
    let answer = |more: &[&str]| {
        let base = [
            "generate",
            "answer",
            "--model",
            &model,
            "--question",
            "天地在哪？",
            "--json",
        ];
        last_json(&run(&[&base[..], more].concat()))["text"].clone()
    };
    let chosen = answer(&["--choice", "春夏", "--choice", "秋冬", "--beams", "4"]);
    assert!(chosen == "春夏" || chosen == "秋冬", "{chosen}");
    let filled = answer(&["--template", "春*，夏*。", "--max-tokens", "12"]);
    let filled = filled.as_str().expect("text");
    assert!(
        filled.starts_with('春') && filled.contains("，夏") && filled.ends_with('。'),
        "{filled}"
    );
    let measured = answer(&["--min-chars", "7", "--max-chars", "9"]);
    let n = measured
        .as_str()
        .expect("text")
        .chars()
        .filter(|c| !c.is_whitespace())
        .count();
    assert!((7..=9).contains(&n), "{measured}");
}

#[test]
fn choices_of_a_file_are_made_by_likelihood_beside_chance() {
    let folder = tempfile::tempdir().expect("a folder");
    let png = m6_image::Rgb8 {
        width: 8,
        height: 8,
        data: vec![90; 192],
    };
    let png = m6_image::encode_png(&png, &[]).expect("encodes");
    m6_store::atomic::write_file(&folder.path().join("a.png"), &png).expect("written");
    let file = folder.path().join("asked.jsonl");
    let line = |i: usize| json!({"id": i, "image": "a.png", "question": "什么？", "answer": "天", "options": ["天", "地", "人", "水"], "type": "color"});
    write(&file, &lines(3, line));
    let row = last_json(&eval("vqa", &["--data", file.to_str().expect("UTF-8")]));
    assert_eq!(row["control"]["chance"]["exact"], 0.25);
    assert!(row["scores"]["exact/color"].is_number(), "{row}");
    write(
        &file,
        &lines(
            3,
            |i| json!({"id": i, "image": "gone.png", "question": "什么？", "answer": "天"}),
        ),
    );
    let text = failed_with(&eval("vqa", &["--data", file.to_str().expect("UTF-8")]), 3);
    assert!(text.contains("gone.png"), "{text}");
}

#[test]
fn two_evaluations_are_compared_item_by_item() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = |name: &str| {
        folder
            .path()
            .join(name)
            .join("r.html")
            .to_str()
            .expect("UTF-8")
            .to_owned()
    };
    stdout_of(&eval("vqa", &["--report", &report("a")]));
    stdout_of(&eval(
        "vqa",
        &["--report", &report("b"), "--max-tokens", "1"],
    ));
    let (a, b) = (folder.path().join("a"), folder.path().join("b/eval.json"));
    let args = [
        "report",
        "compare",
        a.to_str().expect("UTF-8"),
        b.to_str().expect("UTF-8"),
    ];
    let row = last_json(&run(&[&args[..], &["--json", "--resamples", "50"]].concat()));
    assert_eq!(keys(&row), ["a", "b", "tasks"]);
    let first = &row["tasks"]["vqa"][0];
    assert_eq!(
        keys(first),
        ["a", "b", "difference", "figure", "interval", "p"]
    );
    let difference = number(&first["a"]) - number(&first["b"]);
    assert!((number(&first["difference"]) - difference).abs() < 1e-12);
    assert!(stdout_of(&run(&args)).contains("95 % interval"));
    stdout_of(&eval("vqa", &["--report", &report("b"), "--n", "2"]));
    assert!(failed_with(&run(&args), 3).contains("not asked the same questions"));
    stdout_of(&eval(
        "caption",
        &["--report", &report("c"), "--beams", "1"],
    ));
    let c = folder.path().join("c");
    let text = failed_with(
        &run(&[args[0], args[1], args[2], c.to_str().expect("UTF-8")]),
        2,
    );
    assert!(text.contains("no task is in both"), "{text}");
    assert!(failed_with(&run(&[args[0], args[1], args[2], "nowhere"]), 2).contains("nowhere"));
}

#[test]
fn evaluations_at_the_same_time_lose_nothing_of_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.html");
    let tasks = ["classify", "poem", "qa", "vqa"];
    std::thread::scope(|scope| {
        for task in tasks {
            let page = page.to_str().expect("UTF-8");
            scope.spawn(move || stdout_of(&eval(task, &["--n", "2", "--report", page])));
        }
    });
    let kept = std::fs::read(folder.path().join("eval.json")).expect("the record");
    let kept: Value = serde_json::from_slice(&kept).expect("JSON");
    assert_eq!(keys(&kept["tasks"]), tasks);
}

#[test]
fn a_run_that_was_evaluated_says_so_in_its_card() {
    stdout_of(&eval("classify", &[]));
    let run_dir = fixture().root.join("run");
    assert!(
        run_dir.join("eval.json").is_file()
            && run_dir.join("eval/classify.candidates.jsonl").is_file()
    );
    let out = tempfile::tempdir().expect("a folder");
    let out = out.path().join("model");
    let model = fixture().path("run");
    stdout_of(&run(&[
        "export",
        "--model",
        &model,
        "--out",
        out.to_str().expect("UTF-8"),
    ]));
    let card = std::fs::read_to_string(out.join("README.md")).expect("the card");
    assert!(
        card.contains("## Scores") && card.contains("| accuracy |") && card.contains("majority"),
        "{card}"
    );
}

#[test]
fn what_cannot_be_asked_is_refused_with_what_to_do() {
    let model = fixture().path("run");
    let poem = |more: &[&str]| {
        let base = ["generate", "poem", "--model", &model];
        failed_with(&run(&[&base[..], more].concat()), 2)
    };
    assert!(poem(&["--title", "春", "--form", "6", "--lines", "4"]).contains("form 5 or 7"));
    assert!(poem(&["--title", "春", "--form", "5", "--lines", "5"]).contains("even number"));
    let long = "春".repeat(200);
    assert!(poem(&["--title", &long, "--form", "5", "--lines", "4"]).contains("too long"));
    assert!(
        poem(&["--first-line", "天地人", "--form", "5", "--lines", "4"])
            .contains("5 Chinese characters")
    );
    assert!(poem(&["--first-line", "天地人日龘", "--form", "5", "--lines", "4"]).contains('龘'));
    assert!(poem(&["--title", "春", "--form", "7", "--lines", "16"]).contains("positions"));
    assert!(
        failed_with(&eval("classify", &["--labels", "春夏,秋冬"]), 3)
            .contains("none of the 2 labels")
    );
    assert!(
        failed_with(&eval("caption", &["--source", "verse"]), 3).contains("a picture and captions")
    );
    assert!(failed_with(&eval("qa", &["--source", "form"]), 2).contains("did you mean `forum`"));
    assert!(
        failed_with(&eval("qa", &["--data", "nothing.jsonl"]), 2).contains("nothing of this name")
    );
    assert!(failed_with(&eval("qa", &sets(&["generate.beam=3"])), 2).contains("beams"));
    assert!(
        failed_with(
            &eval("qa", &sets(&["data.sources.forum.path=gone.jsonl"])),
            2
        )
        .contains("gone.jsonl")
    );
    let text = run(&[
        "generate",
        "answer",
        "--model",
        &model,
        "--question",
        "天",
        "--choice",
        "龘",
    ]);
    assert!(failed_with(&text, 2).contains("龘"));
}

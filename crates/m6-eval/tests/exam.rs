//! Exams of a model of random weights over prepared data.

use m6_data::{DataConfig, Fields, Kind, SourceConfig};
use m6_eval::{Exam, ExamTask, Settings};
use m6_model::{Model, ModelConfig, PatchConfig, PatchKind};
use m6_text::Tokenizer;
use m6_text::train::WordPieceTrainer;
use std::path::Path;

const POEMS: [(&str, &str); 4] = [
    ("春", "床前明月光，疑是地上霜。举头望明月，低头思故乡。"),
    ("夏", "国破山河在，城春草木深。感时花溅泪，恨别鸟惊心。"),
    ("秋", "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"),
    ("冬", "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。"),
];

fn config(root: &Path) -> DataConfig {
    let source = |name: &str, tasks: &[&str]| SourceConfig {
        name: name.to_owned(),
        tasks: tasks.iter().map(|task| ((*task).to_owned(), 1.0)).collect(),
        licence: "test".to_owned(),
        held_out: 0.5,
        ..SourceConfig::default()
    };
    DataConfig {
        root: root.to_path_buf(),
        row_len: 128,
        max_text: 64,
        image_side: 16,
        grid: 2,
        sources: vec![
            SourceConfig {
                n: 24,
                ..source("world", &["image_to_text", "answer"])
            },
            SourceConfig {
                kind: Kind::Jsonl,
                path: Fields::from(["poems.jsonl"]),
                question: Some("title".to_owned()),
                answer: Some("text".to_owned()),
                ..source("poems", &["poem"])
            },
        ],
        ..DataConfig::default()
    }
}

/// Prepared data, its vocabulary, and a model that knows nothing.
fn fixture() -> (tempfile::TempDir, Tokenizer, Model) {
    let folder = tempfile::tempdir().expect("a folder");
    let lines: String = (0..24)
        .map(|i| {
            let (title, text) = POEMS[i % 4];
            format!("{{\"title\":\"{title}\",\"text\":\"{text}\"}}\n")
        })
        .collect();
    let poems = folder.path().join("poems.jsonl");
    m6_store::atomic::write_file(&poems, lines.as_bytes()).expect("written");
    let config = config(folder.path());
    let mut trainer = WordPieceTrainer::new(600);
    trainer.min_frequency = 1;
    for source in &config.sources {
        let mut reader = m6_data::open(source, &config.root).expect("opens");
        while let Some(record) = reader.next() {
            let record = record.expect("a record");
            let qa = record.qa.iter().flat_map(|qa| [&qa.question, &qa.answer]);
            for text in record.text.iter().chain(&record.captions).chain(qa) {
                trainer.feed(text);
            }
        }
    }
    let tokenizer = trainer.train().expect("a vocabulary");
    let data = folder.path().join("data");
    m6_data::prepare(&config, &tokenizer, None, &data, false, &mut |_| {}).expect("prepares");
    let model = Model::new(
        &ModelConfig {
            vocab_size: tokenizer.vocab_size(),
            d_model: 32,
            n_layers: 1,
            n_heads: 2,
            d_ff: 64,
            max_len: 80,
            patches: PatchConfig {
                kind: PatchKind::Linear,
                grid: 2,
                image_side: 16,
                ..PatchConfig::default()
            },
            ..ModelConfig::default()
        },
        5,
    );
    (folder, tokenizer, model.expect("a model"))
}

#[test]
fn the_headline_alone_is_that_of_the_whole_exam() {
    let (folder, tokenizer, model) = fixture();
    for task in [ExamTask::Caption, ExamTask::Vqa, ExamTask::Poem] {
        let mut exam = Exam::of_prepared(task, &folder.path().join("data"), 8).expect("opens");
        exam.settings = Settings {
            beams: 1,
            max_tokens: 6,
            ..exam.settings
        };
        let n_told = std::cell::Cell::new(0.0);
        let tell = &mut |share: f64| {
            assert!((n_told.get()..=1.0 + 1e-9).contains(&share));
            n_told.set(share);
        };
        let outcome = exam.sit(&model, &tokenizer, tell).expect("answers");
        assert!(outcome.n > 0 && outcome.said.len() == outcome.n);
        assert!(n_told.get() > 0.99, "all of the work is told of");
        let alone = exam.score_of(&model, &tokenizer).expect("a score");
        let whole = outcome.scores[task.headline()].as_f64().expect("a figure");
        assert!((alone - whole).abs() < 1e-12, "{task:?}: {alone} {whole}");
    }
}

#[test]
fn held_out_poems_are_asked_about_and_the_others_are_what_could_be_copied() {
    let (folder, tokenizer, model) = fixture();
    let exam = Exam::of_prepared(ExamTask::Poem, &folder.path().join("data"), 99).expect("opens");
    let (n, training) = (exam.items.items.len(), &exam.items.training);
    let n_training = training.iter().filter(|b| **b == b'\n').count();
    assert!(n > 0 && n_training > 0 && n + n_training == 24);
    let outcome = exam.sit(&model, &tokenizer, &mut |_| {}).expect("answers");
    assert_eq!(outcome.scores["constraint"], 1.0);
    // Every true poem is four times among those to learn from.
    assert_eq!(outcome.control["true"]["copied_lines"], 1.0);
    assert!(outcome.scores["perplexity"].as_f64().expect("a figure") > 1.0);
    assert!(Exam::of_prepared(ExamTask::Classify, &folder.path().join("poems.jsonl"), 1).is_err());
}

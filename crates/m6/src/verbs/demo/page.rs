//! The demo's page.

use super::drawing::Drawing;
use super::exam::Exam;
use crate::config::Loaded;
use crate::report::{self, Report};
use m6_corpus::build::Stats;
use m6_image::Rgb8;
use m6_train::Outcome;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// What the page tells besides the exam.
pub struct Facts<'a> {
    /// The configuration.
    pub loaded: &'a Loaded,
    /// What the corpus builder counted.
    pub built: &'a Stats,
    /// What was prepared.
    pub prepared: &'a Value,
    /// How training ended.
    pub outcome: &'a Outcome,
    /// `metrics.jsonl`.
    pub metrics: &'a str,
}

/// The page as HTML.
pub fn write(facts: &Facts<'_>, exam: &Exam, drawn: &Drawing, out: &Path) -> String {
    let counts = m6_model::count(&facts.loaded.config.model);
    let mut page = Report::new(
        "m6 demo",
        &format!(
            "m6-nano, {:.2} M parameters, pretrained for {:.0} s on a synthetic world drawn by the program itself. All results here are synthetic.",
            counts.params_total as f64 / 1e6,
            facts.outcome.seconds
        ),
    );
    page.section("Held-out pictures");
    page.text("Pairs of colour and shape, and counts in positions, that no training picture had. Truth first, then what the model said.");
    page.cards(&cards(exam));
    scores(&mut page, exam);
    drawings(&mut page, drawn);
    corpus(&mut page, facts.built);
    page.section("Losses");
    page.curves(&report::loss_curves(facts.metrics));
    page.section("Texts continued");
    let rows: Vec<Vec<String>> = exam
        .texts
        .iter()
        .map(|(a, b)| vec![a.clone(), b.clone()])
        .collect();
    page.table(&["beginning", "the model goes on"], &rows);
    run_facts(&mut page, facts.prepared, facts.outcome);
    page.section("How to go on");
    page.code(&format!(
        "m6 generate caption --model {0}/run --image PICTURE.png\nm6 generate answer  --model {0}/run --image PICTURE.png --question 图里有几个圆形？\nm6 generate text    --model {0}/run --prompt 圆形\nm6 generate image   --model {0}/draw --prompt 左边有三个红色圆形 --n 8 --out drawn\nm6 prepare CONFIG.toml --out DATA        # your own pictures and texts\nm6 pretrain CONFIG.toml --data DATA --out RUN",
        out.display()
    ));
    page.finish("m6 demo")
}

/// The corpus builder's table, and its result beside what was planted.
fn corpus(page: &mut Report, built: &Stats) {
    page.section("The corpus");
    page.text("The world was drawn as web pages in archives: four layouts, pictures, lying charsets, copies, advertising, broken records. This is what the corpus builder made of them; corpus/report.html has all of it.");
    let rows: Vec<Vec<String>> = built
        .table
        .iter()
        .map(|row| {
            vec![
                row.source.clone(),
                row.modality.clone(),
                row.images.to_string(),
                row.tokens.to_string(),
                row.passages.to_string(),
                format!("{:.1}", row.avg_length),
            ]
        })
        .collect();
    let head = [
        "source",
        "modality",
        "images",
        "tokens",
        "passages",
        "average length",
    ];
    page.table(&head, &rows);
    let Some(truth) = &built.truth else { return };
    page.text(&format!(
        "Beside the planted truth: of the pages kept {:.1} % should be, of those that should be kept {:.1} % are; texts of kept pages F1 {:.3} (with a lying charset {:.3}); of {} planted pictures {} found, {} with the planted caption.",
        100.0 * truth.precision,
        100.0 * truth.recall,
        truth.text.f1_mean,
        truth.lying_charset.f1_mean,
        truth.pictures.planted,
        truth.pictures.found,
        truth.pictures.captioned,
    ));
    let rows: Vec<Vec<String>> = truth
        .kinds
        .iter()
        .map(|row| {
            let should = if row.keep { "kept" } else { "dropped" };
            let numbers = [row.planted, row.kept, row.right].map(|n| n.to_string());
            [vec![row.kind.clone(), should.to_string()], numbers.to_vec()].concat()
        })
        .collect();
    page.table(&["planted", "should be", "pages", "kept", "right"], &rows);
}

fn cards(exam: &Exam) -> Vec<(Rgb8, Vec<(String, &'static str)>)> {
    exam.shown
        .iter()
        .map(|shown| {
            let mut lines = vec![(shown.truth.clone(), "dim"), (shown.said.clone(), "")];
            for (question, truth, said) in &shown.qa {
                let right = truth == said;
                let line = if right {
                    format!("{question} {said}")
                } else {
                    format!("{question} {said}（应为{truth}）")
                };
                lines.push((line, if right { "ok" } else { "no" }));
            }
            (shown.picture.clone(), lines)
        })
        .collect()
}

fn scores(page: &mut Report, exam: &Exam) {
    page.section("Scores beside their controls");
    let mut rows = Vec::new();
    for kind in ["detection", "relation", "color", "number", "overall"] {
        let blind = if kind == "overall" {
            &exam.vqa["blind"]
        } else {
            &exam.vqa["blind_by_type"][kind]
        };
        let share = |v: &Value| {
            v.as_f64()
                .map_or("-".into(), |v| format!("{:.1}%", 100.0 * v))
        };
        rows.push(vec![
            format!("answers, {kind}"),
            share(&exam.vqa[kind]),
            share(blind),
            share(&exam.vqa["seen_combinations"][kind]),
        ]);
    }
    for (name, own, control) in [
        ("captions, CIDEr", "cider", "cider_shuffled"),
        ("captions, BLEU-4", "bleu4", "bleu4_shuffled"),
    ] {
        let number = |key: &str| {
            exam.caption[key]
                .as_f64()
                .map_or("-".into(), |v| format!("{v:.3}"))
        };
        rows.push(vec![name.into(), number(own), number(control), "-".into()]);
    }
    page.table(
        &[
            "score",
            "with the picture",
            "control (questions blind, captions shuffled)",
            "new pictures, combinations seen in training",
        ],
        &rows,
    );
}

/// Pictures of prompts that no training picture fits, and what their pixels show.
fn drawings(page: &mut Report, drawn: &Drawing) {
    page.section("Drawn from words");
    let rebuilt: Vec<String> = drawn
        .rebuilt
        .iter()
        .map(|(k, v)| format!("{k} {v:.3}"))
        .collect();
    page.text(&format!(
        "A VQGAN learned the world's pictures as 64 codes each (held-out pictures: {}), the pretrained model was finetuned to write codes after words. The prompts ask for pairs of colour and shape, and counts in positions, that no training picture had. Green: everything asked for is there and nothing else, by the pixels. A minute of training each: shapes come last.",
        rebuilt.join(", ")
    ));
    let cards: Vec<(Rgb8, Vec<(String, &str)>)> = drawn
        .shown
        .iter()
        .map(|(prompt, picture, right)| {
            let class = if *right { "ok" } else { "" };
            (picture.clone(), vec![(prompt.clone(), class)])
        })
        .collect();
    page.cards(&cards);
    let share = |v: &Value| {
        v.as_f64()
            .map_or("-".into(), |v| format!("{:.1}%", 100.0 * v))
    };
    let row = |name: &&str| {
        let shuffled = &drawn.image["control"]["shuffled"][*name];
        vec![
            name.to_string(),
            share(&drawn.image[*name]),
            share(shuffled),
            share(&drawn.image["chance"][*name]),
        ]
    };
    let rows: Vec<_> = ["color", "shape", "count", "position", "all"]
        .iter()
        .map(row)
        .collect();
    page.table(
        &[
            "read from the pixels",
            "drawn",
            "against the next prompt",
            "chance",
        ],
        &rows,
    );
}

fn run_facts(page: &mut Report, summary: &Value, outcome: &Outcome) {
    page.section("The run");
    let eval: BTreeMap<&String, String> = outcome
        .eval
        .iter()
        .map(|(k, v)| (k, format!("{v:.3}")))
        .collect();
    let mut rows = vec![
        vec!["steps".to_string(), outcome.steps.to_string()],
        vec!["tokens".into(), outcome.tokens.to_string()],
        vec![
            "tokens a second".into(),
            format!("{:.0}", outcome.tokens_per_s),
        ],
        vec![
            "peak memory, MB".into(),
            format!("{:.0}", outcome.peak_rss_mb),
        ],
    ];
    rows.extend(
        eval.iter()
            .map(|(task, loss)| vec![format!("held-out loss, {task}"), loss.clone()]),
    );
    page.table(&["", ""], &rows);
    let sources: Vec<Vec<String>> = summary["sources"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|s| {
            ["name", "records", "passages", "tokens", "images"]
                .map(|k| s[k].as_str().map_or(s[k].to_string(), String::from))
                .to_vec()
        })
        .collect();
    page.table(
        &["source", "records", "passages", "tokens", "images"],
        &sources,
    );
}

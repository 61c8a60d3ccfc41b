//! `m6 demo`: the whole path, small, on the built-in sample world. Its results are synthetic and called so.

use super::{generate, prepare, pretrain};
use crate::cli::{Common, DemoArgs};
use crate::config::{self, Loaded};
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::{self, Terminal};
use crate::report::{self, Report};
use m6_eval::{AnswerItem, AnswerScores, Segment};
use m6_image::Rgb8;
use m6_model::{GenerateOptions, Prompt};
use m6_train::{LoadedModel, Outcome};
use m6_world::{PictureItem, Split, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// Marks a folder that a demo wrote, and so may write again.
const MARKER: &str = ".m6-demo";

/// The paper's types of questions (section 4.2).
const KINDS: [&str; 4] = ["detection", "relation", "color", "number"];

/// Runs the verb.
pub fn run(args: &DemoArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let started = Instant::now();
    let loaded = demo_config(args, common)?;
    if common.dry_run {
        terminal.say(&format!(
            "would write {} with {} steps of training",
            args.out.display(),
            loaded.config.train.steps
        ));
        return Ok(());
    }
    clear(args)?;
    m6_store::atomic::create_dir(&args.out).or_usage()?;
    m6_store::atomic::write_file(&args.out.join(MARKER), b"").or_usage()?;
    let (data, run_dir) = (args.out.join("data"), args.out.join("run"));
    terminal.say("1/4 drawing the sample world, training the vocabulary, laying out rows");
    let summary = prepare::prepare(&loaded.config, &data, false, terminal)?;
    let mut loaded = loaded;
    pretrain::fit_to_data(&mut loaded.config, &data, terminal)?;
    loaded.resolved = toml::to_string(&loaded.config).or_usage()?;
    terminal.say("2/4 pretraining m6-nano on all tasks");
    let stop = out::stop_flag();
    let job = pretrain::Job {
        data: &data,
        out: &run_dir,
        resume: false,
        overwrite: false,
    };
    let outcome = pretrain::pretrain(&loaded, &job, &stop, terminal)?;
    if outcome.interrupted {
        return Err(Failure::new(Code::Interrupted, "interrupted")
            .hint("run `m6 demo` again; it starts afresh"));
    }
    terminal.say("3/4 captions and answers for held-out pictures");
    let bundle = super::common::load_model(&run_dir, terminal)?;
    let exam = Exam::sit(&loaded, &bundle, if args.short { 40 } else { 200 })?;
    terminal.say("4/4 writing the report");
    let model_dir = outcome.checkpoint.clone();
    let page = args.out.join("report.html");
    let metrics = std::fs::read_to_string(run_dir.join("metrics.jsonl")).or_data()?;
    let losses = start_and_end(&metrics);
    let html = write_report(
        &loaded,
        &prepare::as_json(&summary),
        &outcome,
        &exam,
        &metrics,
        &args.out,
    );
    m6_store::atomic::write_file(&page, html.as_bytes()).or_usage()?;
    let row = json!({
        "seconds": started.elapsed().as_secs_f64(), "peak_rss_mb": m6_store::mem::peak_rss_mb(),
        "loss": {"start": losses.0, "end": losses.1}, "vqa": exam.vqa, "caption": exam.caption,
        "model": model_dir, "report": page,
    });
    show(terminal, &row, &exam);
    Ok(())
}

fn demo_config(args: &DemoArgs, common: &Common) -> Result<Loaded> {
    let mut sets = Vec::new();
    if args.short {
        sets.extend(
            [
                "train.steps=40",
                "train.warmup_steps=10",
                "train.eval_every=40",
                "train.checkpoint_every=40",
                "data.sources.world.n=600",
            ]
            .map(String::from),
        );
    }
    if let Some(seed) = common.seed {
        sets.extend([
            format!("train.seed={seed}"),
            format!("data.seed={seed}"),
            format!("data.sources.world.seed={seed}"),
        ]);
    }
    sets.extend(common.set.iter().cloned());
    config::load("m6-nano", &sets)
}

/// A demo may replace an earlier demo, and nothing else.
fn clear(args: &DemoArgs) -> Result<()> {
    let is_empty = std::fs::read_dir(&args.out).map_or(true, |mut d| d.next().is_none());
    if is_empty {
        return Ok(());
    }
    let is_demo = args.out.join(MARKER).is_file();
    if args.keep || !is_demo {
        let hint = if is_demo {
            "leave out --keep to replace the earlier demo"
        } else {
            "choose another --out"
        };
        return Err(Failure::usage(format!("{} is not empty", args.out.display())).hint(hint));
    }
    m6_store::atomic::sweep_stale(&args.out).or_usage()?;
    for name in ["data", "run"] {
        let path = args.out.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).or_usage()?;
        }
    }
    Ok(())
}

/// What the model said of pictures whose combinations it has never seen.
struct Exam {
    shown: Vec<Shown>,
    vqa: Value,
    caption: Value,
    texts: Vec<(String, String)>,
}

/// One picture of the report.
struct Shown {
    picture: Rgb8,
    truth: String,
    said: String,
    qa: Vec<(String, String, String)>,
}

impl Exam {
    fn sit(loaded: &Loaded, bundle: &LoadedModel, n: u64) -> Result<Self> {
        let source = loaded
            .config
            .data
            .sources
            .iter()
            .find(|s| s.kind == m6_data::Kind::World);
        let source =
            source.ok_or_else(|| Failure::usage("the demo needs a source of kind world"))?;
        let side = loaded.config.data.image_side;
        let world = World::new(source.seed, side);
        let items: Vec<PictureItem> = (0..n).map(|i| world.picture(Split::HeldOut, i)).collect();
        let chw = pixels(&items, bundle, side);
        let options = exam_options(bundle);
        let views: Vec<&[u8]> = chw.iter().map(Vec::as_slice).collect();
        let captions = generate::captions(&bundle.model, &bundle.tokenizer, &views, &options)?;
        let caption = caption_scores(&items, &captions)?;
        let (mut vqa, answers) = answer_all(bundle, &items, &chw, &options)?;
        // New pictures of combinations that were seen: what is left of the gap is generalisation.
        let known: Vec<PictureItem> = (source.n..source.n + n)
            .map(|i| world.picture(Split::Train, i))
            .collect();
        let known_chw = pixels(&known, bundle, side);
        let (seen, _) = answer_all(bundle, &known, &known_chw, &options)?;
        for kind in KINDS.into_iter().chain(["overall", "blind"]) {
            vqa["seen_combinations"][kind] = seen[kind].clone();
        }
        let shown = items
            .iter()
            .zip(&captions)
            .zip(answers)
            .take(24)
            .map(|((item, said), qa)| Shown {
                picture: item.image.clone(),
                truth: item.captions[0].clone(),
                said: said.clone(),
                qa,
            })
            .collect();
        Ok(Self {
            shown,
            vqa,
            caption,
            texts: continue_texts(bundle, &world)?,
        })
    }
}

/// The pictures as the model takes them.
fn pixels(items: &[PictureItem], bundle: &LoadedModel, side: usize) -> Vec<Vec<u8>> {
    let fit = super::common::fit_of(bundle);
    items
        .iter()
        .map(|item| m6_image::to_chw(&m6_image::resize_square(&item.image, side, fit)))
        .collect()
}

fn exam_options(bundle: &LoadedModel) -> GenerateOptions {
    let marks = bundle.tokenizer.special();
    GenerateOptions {
        max_tokens: 40,
        bos: marks.cls,
        eos: marks.sep,
        banned: vec![marks.pad, marks.unk, marks.cls, marks.mask],
        ..GenerateOptions::default()
    }
}

fn caption_scores(items: &[PictureItem], captions: &[String]) -> Result<Value> {
    let references: Vec<(String, Vec<String>)> = items
        .iter()
        .map(|i| (i.id.clone(), i.captions.clone()))
        .collect();
    let mut candidates: Vec<(String, String)> = items
        .iter()
        .zip(captions)
        .map(|(i, c)| (i.id.clone(), c.clone()))
        .collect();
    let own = m6_eval::score_captions(&references, &candidates, Segment::Char, None).or_data()?;
    super::common::shift_texts(&mut candidates);
    let shuffled =
        m6_eval::score_captions(&references, &candidates, Segment::Char, None).or_data()?;
    Ok(json!({
        "cider": own.cider, "cider_shuffled": shuffled.cider, "bleu4": own.bleu[3], "bleu4_shuffled": shuffled.bleu[3],
    }))
}

type Answers = Vec<Vec<(String, String, String)>>;

/// Answers every question of every picture, and the same questions blind; accuracy by the paper's types (section 4.2).
fn answer_all(
    bundle: &LoadedModel,
    items: &[PictureItem],
    chw: &[Vec<u8>],
    options: &GenerateOptions,
) -> Result<(Value, Answers)> {
    let mut asked: Vec<(usize, usize)> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        asked.extend((0..item.qa.len()).map(|j| (i, j)));
    }
    let prompts = |with_picture: bool| -> Vec<Prompt> {
        asked
            .iter()
            .map(|&(i, j)| Prompt {
                pictures: if with_picture {
                    chw[i].clone()
                } else {
                    Vec::new()
                },
                source: bundle.tokenizer.encode(&items[i].qa[j].question),
                target: Vec::new(),
            })
            .collect()
    };
    let answer = |prompts: &[Prompt]| -> Result<Vec<String>> {
        let made = m6_model::generate(&bundle.model, prompts, options, &mut |_, _| true)
            .or_fail(Code::Numerics)?;
        Ok(made
            .iter()
            .map(|g| bundle.tokenizer.decode(&g.ids))
            .collect())
    };
    let seen = answer(&prompts(true))?;
    let blind = answer(&prompts(false))?;
    let rows = |said: &[String]| -> Vec<AnswerItem> {
        asked
            .iter()
            .zip(said)
            .map(|(&(i, j), said)| AnswerItem {
                id: format!("{}/{j}", items[i].id),
                kind: Some(items[i].qa[j].kind.name().to_string()),
                expected: vec![items[i].qa[j].answer.clone()],
                given: said.clone(),
            })
            .collect()
    };
    let scored = m6_eval::score_answers(&rows(&seen)).or_data()?;
    let control = m6_eval::score_answers(&rows(&blind)).or_data()?;
    let by_type =
        |scores: &AnswerScores, kind: &str| scores.by_kind.get(kind).map(|score| score.accuracy);
    let mut vqa = serde_json::Map::new();
    let mut blind_by_type = serde_json::Map::new();
    for kind in KINDS {
        vqa.insert(kind.into(), json!(by_type(&scored, kind)));
        blind_by_type.insert(kind.into(), json!(by_type(&control, kind)));
    }
    vqa.insert("overall".into(), json!(scored.accuracy));
    vqa.insert("blind".into(), json!(control.accuracy));
    vqa.insert("blind_by_type".into(), Value::Object(blind_by_type));
    vqa.insert("n".into(), json!(asked.len()));
    let mut answers: Answers = vec![Vec::new(); items.len()];
    for (&(i, j), said) in asked.iter().zip(&seen) {
        answers[i].push((
            items[i].qa[j].question.clone(),
            items[i].qa[j].answer.clone(),
            said.clone(),
        ));
    }
    Ok((Value::Object(vqa), answers))
}

/// Beginnings of articles the model has not read to the end, continued greedily.
fn continue_texts(bundle: &LoadedModel, world: &World) -> Result<Vec<(String, String)>> {
    let beginnings: Vec<String> = (0..4)
        .map(|i| world.article(1_000_000 + i).chars().take(10).collect())
        .collect();
    let prompts: Vec<Prompt> = beginnings
        .iter()
        .map(|text| Prompt {
            target: bundle.tokenizer.encode(text),
            ..Prompt::default()
        })
        .collect();
    let made = m6_model::generate(
        &bundle.model,
        &prompts,
        &exam_options(bundle),
        &mut |_, _| true,
    )
    .or_fail(Code::Numerics)?;
    Ok(beginnings
        .into_iter()
        .zip(made.iter().map(|g| bundle.tokenizer.decode(&g.ids)))
        .collect())
}

/// Mean loss of the first and the last tenth of the steps (at least three).
fn start_and_end(metrics: &str) -> (f64, f64) {
    let losses: Vec<f64> = report::loss_curves(metrics)
        .remove("loss")
        .unwrap_or_default()
        .iter()
        .map(|p| p.1)
        .collect();
    let n = (losses.len() / 10)
        .clamp(1, losses.len().max(1))
        .max(3)
        .min(losses.len().max(1));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    (
        mean(&losses[..n.min(losses.len())]),
        mean(&losses[losses.len().saturating_sub(n)..]),
    )
}

fn show(terminal: &Terminal, row: &Value, exam: &Exam) {
    if terminal.json() {
        terminal.object(row);
        return;
    }
    let mut text =
        String::from("held-out pictures (synthetic; combinations never drawn in training)\n");
    for shown in exam.shown.iter().take(6) {
        text.push_str(&format!(
            "  truth {}\n  model {}\n",
            shown.truth, shown.said
        ));
        for (question, truth, said) in shown.qa.iter().take(2) {
            text.push_str(&format!("    {question} {said} (truth {truth})\n"));
        }
    }
    let percent = |v: &Value| {
        v.as_f64()
            .map_or("-".to_string(), |v| format!("{:.1} %", 100.0 * v))
    };
    let vqa = &row["vqa"];
    text.push_str(&format!(
        "loss {:.3} -> {:.3}\nanswers: detection {} relation {} color {} number {} overall {}; blind {}; overall on combinations seen in training {}\n",
        row["loss"]["start"].as_f64().unwrap_or(f64::NAN),
        row["loss"]["end"].as_f64().unwrap_or(f64::NAN),
        percent(&vqa["detection"]),
        percent(&vqa["relation"]),
        percent(&vqa["color"]),
        percent(&vqa["number"]),
        percent(&vqa["overall"]),
        percent(&vqa["blind"]),
        percent(&vqa["seen_combinations"]["overall"]),
    ));
    text.push_str(&format!(
        "captions: CIDEr {:.3}, shuffled {:.3}\n{:.0} s, peak {:.0} MB\nmodel  {}\nreport {}\n",
        row["caption"]["cider"].as_f64().unwrap_or(f64::NAN),
        row["caption"]["cider_shuffled"]
            .as_f64()
            .unwrap_or(f64::NAN),
        row["seconds"].as_f64().unwrap_or(f64::NAN),
        row["peak_rss_mb"].as_f64().unwrap_or(f64::NAN),
        row["model"].as_str().unwrap_or_default(),
        row["report"].as_str().unwrap_or_default(),
    ));
    terminal.data(&text);
}

fn write_report(
    loaded: &Loaded,
    summary: &Value,
    outcome: &Outcome,
    exam: &Exam,
    metrics: &str,
    out: &Path,
) -> String {
    let counts = m6_model::count(&loaded.config.model);
    let mut page = Report::new(
        "m6 demo",
        &format!(
            "m6-nano, {:.2} M parameters, pretrained for {:.0} s on a synthetic world drawn by the program itself. All results here are synthetic.",
            counts.params_total as f64 / 1e6,
            outcome.seconds
        ),
    );
    page.section("Held-out pictures");
    page.text("Pairs of colour and shape, and counts in positions, that no training picture had. Truth first, then what the model said.");
    page.cards(&cards(exam));
    scores(&mut page, exam);
    page.section("Losses");
    page.curves(&report::loss_curves(metrics));
    page.section("Texts continued");
    let rows: Vec<Vec<String>> = exam
        .texts
        .iter()
        .map(|(a, b)| vec![a.clone(), b.clone()])
        .collect();
    page.table(&["beginning", "the model goes on"], &rows);
    run_facts(&mut page, summary, outcome);
    page.section("How to go on");
    page.code(&format!(
        "m6 generate caption --model {0}/run --image PICTURE.png\nm6 generate answer  --model {0}/run --image PICTURE.png --question 图里有几个圆形？\nm6 generate text    --model {0}/run --prompt 圆形\nm6 prepare CONFIG.toml --out DATA        # your own pictures and texts\nm6 pretrain CONFIG.toml --data DATA --out RUN",
        out.display()
    ));
    page.finish("m6 demo")
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

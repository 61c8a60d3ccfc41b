//! `m6 demo`: the whole path, small, on the built-in sample world. Its results are synthetic and called so.

mod corpus;
mod drawing;
mod exam;
mod page;

use super::{prepare, pretrain, ranks};
use crate::cli::{Common, DemoArgs};
use crate::config::{self, Loaded};
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::{self, Terminal};
use crate::report;
use exam::Exam;
use serde_json::{Value, json};
use std::time::Instant;

/// The configuration of the demo: what it builds and what it trains.
const PRESET: &str = "m6-demo";
/// Marks a folder that a demo wrote, and so may write again.
const MARKER: &str = ".m6-demo";

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
    terminal.say("1/6 drawing the sample world as a piece of the web, and making a corpus of it");
    let built = corpus::make(args, common, terminal)?;
    terminal.say("2/6 training the vocabulary, laying out rows");
    let summary = prepare::prepare(&loaded.config, &data, false, terminal)?;
    let mut loaded = loaded;
    pretrain::fit_to_data(&mut loaded.config, &data, terminal)?;
    loaded.resolved = toml::to_string(&loaded.config).or_usage()?;
    terminal.say("3/6 pretraining m6-nano on all tasks");
    let stop = out::stop_flag();
    let job = pretrain::Job {
        name: "pretrain",
        data: &data,
        out: &run_dir,
        resume: false,
        overwrite: false,
        tasks: Default::default(),
        exam: None,
    };
    let outcome = pretrain::pretrain(&loaded, &job, &stop, &ranks::alone(), terminal)?;
    if outcome.interrupted {
        return Err(Failure::new(Code::Interrupted, "interrupted")
            .hint("run `m6 demo` again; it starts afresh"));
    }
    terminal.say("4/6 captions and answers for held-out pictures");
    let bundle = super::common::load_model(&run_dir, terminal)?;
    let exam = Exam::sit(&loaded, &bundle, if args.short { 40 } else { 200 })?;
    terminal.say(
        "5/6 learning to draw: a VQGAN, a short finetuning, and pictures of unseen combinations",
    );
    let drawn = drawing::make(args, common, &stop, terminal)?;
    terminal.say("6/6 writing the report");
    let model_dir = outcome.checkpoint.clone();
    let page_path = args.out.join("report.html");
    let metrics = std::fs::read_to_string(run_dir.join("metrics.jsonl")).or_data()?;
    let losses = start_and_end(&metrics);
    let facts = page::Facts {
        loaded: &loaded,
        built: &built,
        prepared: &prepare::as_json(&summary),
        outcome: &outcome,
        metrics: &metrics,
    };
    let html = page::write(&facts, &exam, &drawn, &args.out);
    m6_store::atomic::write_file(&page_path, html.as_bytes()).or_usage()?;
    let row = json!({
        "seconds": started.elapsed().as_secs_f64(), "peak_rss_mb": m6_store::mem::peak_rss_mb(),
        "loss": {"start": losses.0, "end": losses.1}, "vqa": exam.vqa, "caption": exam.caption, "image": drawn.image,
        "model": model_dir, "report": page_path,
    });
    show(terminal, &row, &exam);
    Ok(())
}

fn demo_config(args: &DemoArgs, common: &Common) -> Result<Loaded> {
    let root = toml::Value::String(args.out.display().to_string());
    let mut sets = vec![format!("data.root={root}")];
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
    config::load(PRESET, &sets)
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
    for name in ["web", "corpus", "data", "run"]
        .into_iter()
        .chain(drawing::FOLDERS)
    {
        let path = args.out.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).or_usage()?;
        }
    }
    Ok(())
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
    let (vqa, image) = (&row["vqa"], &row["image"]);
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
        "captions: CIDEr {:.3}, shuffled {:.3}\ndrawn from words: color {} shape {} count {} position {}; chance {} {} {} {}\n{:.0} s, peak {:.0} MB\nmodel  {}\nreport {}\n",
        row["caption"]["cider"].as_f64().unwrap_or(f64::NAN),
        row["caption"]["cider_shuffled"]
            .as_f64()
            .unwrap_or(f64::NAN),
        percent(&image["color"]),
        percent(&image["shape"]),
        percent(&image["count"]),
        percent(&image["position"]),
        percent(&image["chance"]["color"]),
        percent(&image["chance"]["shape"]),
        percent(&image["chance"]["count"]),
        percent(&image["chance"]["position"]),
        row["seconds"].as_f64().unwrap_or(f64::NAN),
        row["peak_rss_mb"].as_f64().unwrap_or(f64::NAN),
        row["model"].as_str().unwrap_or_default(),
        row["report"].as_str().unwrap_or_default(),
    ));
    terminal.data(&text);
}

//! `m6 eval caption|vqa|qa|poem|classify`: asks a model about held-out records and scores what it says.

mod page;
pub mod record;
mod source;

pub use source::{Asked, Sets};

use super::common as shared;
use crate::cli::Common;
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::Terminal;
use clap::Args;
use clap::builder::TypedValueParser;
use m6_data::DataConfig;
use m6_eval::{Exam, ExamError, ExamTask, Outcome, Settings};
use m6_train::LoadedModel;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// `m6 eval caption|vqa|qa|poem|classify`.
#[derive(Args, Debug, Clone)]
pub struct ExamArgs {
    /// Run folder, checkpoint folder or exported model.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// What is asked: prepared data or a configuration (the held-out records of its sources), a file of records (.jsonl, .json, .parquet,
    /// .tar) or, for captions, a folder of pictures (all of them), or `world` for unseen combinations of the sample world. Texts are read from the sources as they were written. Fields of a file: --set source.KEY=FIELD.
    #[arg(long, value_name = "SOURCE")]
    pub data: String,
    /// Only this source of the configuration; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub source: Vec<String>,
    /// Asks the first N questions only.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..).map(|n| n as usize))]
    pub n: Option<usize>,
    /// Labels to choose among, with commas between; those of the data by default.
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Goes on without records that cannot be read, and says how many.
    #[arg(long)]
    pub skip_bad: bool,
    /// Beam search with so many beams. This and every other setting of generation has a default of the task: --set generate.KEY=VALUE.
    #[arg(long, value_name = "N")]
    pub beams: Option<usize>,
    /// Longest answer in tokens.
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<usize>,
    /// Shortest answer in tokens.
    #[arg(long, value_name = "N")]
    pub min_tokens: Option<usize>,
    /// 0 takes the likeliest word.
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,
    /// Questions worked on together; the answers do not depend on it.
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Writes a page of scores, controls and the worst and best answers, with eval.json beside it; without it eval.json goes into the run folder.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Writes what the model said, a line each, as `m6 score` takes it.
    #[arg(long, value_name = "FILE.jsonl")]
    pub predictions: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(task: ExamTask, args: &ExamArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let sets = Sets::of(&common.set);
    let settings = settings(task, args, &sets, common.seed)?;
    let loaded = shared::load_model(&args.model, terminal)?;
    let exam = open(task, args, &sets, settings, &loaded)?;
    let n_bad = exam.items.bad.len();
    if let (Some(first), false) = (exam.items.bad.first(), args.skip_bad) {
        return Err(Failure::data(format!(
            "{n_bad} records of {} cannot be asked about, the first: {first}",
            args.data
        ))
        .hint("--skip-bad goes on without them"));
    }
    if n_bad > 0 {
        terminal.say(&format!("{n_bad} records passed over that cannot be read"));
    }
    if common.dry_run {
        let n = exam.items.items.len();
        terminal.say(&format!(
            "would ask {n} questions of {}",
            loaded.path.display()
        ));
        return Ok(());
    }
    let mut bar = terminal.progress(1000, task.name());
    let outcome = exam
        .sit(&loaded.model, &loaded.tokenizer, &mut |share| {
            bar.at((1000.0 * share) as u64, "");
        })
        .map_err(failure)?;
    bar.finish();
    if let Some(path) = &args.predictions {
        write_file(path, &outcome.candidates)?;
    }
    keep(args, &exam, &outcome, &loaded, terminal)?;
    match terminal.json() {
        true => terminal.object(&json!({
            "task": task.name(), "n": outcome.n, "scores": outcome.scores, "control": outcome.control,
        })),
        false => terminal.data(&table(&outcome)),
    }
    Ok(())
}

/// An exam over what a `--data` names, for a model.
fn open(
    task: ExamTask,
    args: &ExamArgs,
    sets: &Sets,
    settings: Settings,
    loaded: &LoadedModel,
) -> Result<Exam> {
    let layout = layout_of(loaded)?;
    let asked = Asked::find(task, &args.data, &args.source, sets, args.n)?;
    let n = args.n.unwrap_or(usize::MAX);
    let items = asked.read(task, &layout, n).map_err(failure)?;
    Ok(Exam {
        task,
        items,
        labels: args.labels.clone(),
        layout,
        settings,
    })
}

/// How the data of a model's training was laid out.
pub fn layout_of(loaded: &LoadedModel) -> Result<DataConfig> {
    let layout: DataConfig =
        serde_json::from_value(loaded.config.data.clone()).map_err(|error| {
            Failure::data(format!(
                "{}: config.json does not say how the data was laid out: {error}",
                loaded.path.display()
            ))
        })?;
    Ok(layout)
}

/// The table's row of a task, changed by flags and `--set generate.KEY=VALUE`.
fn settings(task: ExamTask, args: &ExamArgs, sets: &Sets, seed: Option<u64>) -> Result<Settings> {
    let mut table = toml::Table::try_from(Settings::of(task)).or_usage()?;
    for set in &sets.generate {
        crate::config::apply_set(&mut table, set)?;
    }
    let mut settings: Settings = table.try_into().map_err(|error: toml::de::Error| {
        Failure::usage(format!("--set generate: {}", error.message().trim()))
    })?;
    let mut change = |value: Option<usize>, slot: fn(&mut Settings) -> &mut usize| {
        if let Some(value) = value {
            *slot(&mut settings) = value;
        }
    };
    change(args.beams, |s| &mut s.beams);
    change(args.max_tokens, |s| &mut s.max_tokens);
    change(args.min_tokens, |s| &mut s.min_tokens);
    change(args.batch, |s| &mut s.batch);
    settings.temperature = args.temperature.unwrap_or(settings.temperature);
    settings.seed = seed.unwrap_or(settings.seed);
    // A search draws nothing.
    if settings.beams > 1 && args.temperature.is_none() && task == ExamTask::Poem {
        settings.temperature = 0.0;
    }
    Ok(settings)
}

/// Writes the page and eval.json with what was said, beside the page or into the run folder.
fn keep(
    args: &ExamArgs,
    exam: &Exam,
    outcome: &Outcome,
    loaded: &LoadedModel,
    terminal: &Terminal,
) -> Result<()> {
    if let Some(path) = &args.report {
        let title = format!("m6 eval {}", exam.task.name());
        write_file(
            path,
            page::write(&title, args, exam, outcome, loaded)?.as_bytes(),
        )?;
        terminal.say(&format!("report in {}", path.display()));
    }
    let is_run = args.model.join("run.json").is_file();
    let dir = match (&args.report, is_run) {
        (Some(path), _) => path.parent().map(Path::to_path_buf).unwrap_or_default(),
        (None, true) => args.model.clone(),
        (None, false) => return Ok(()),
    };
    let told = record::Told {
        exam,
        outcome,
        model: &loaded.path,
        step: loaded.step,
        data: &args.data,
    };
    record::keep(&dir, &told)
}

/// Writes a file, and the folders it is in.
fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        std::fs::create_dir_all(parent)
            .map_err(|e| Failure::usage(format!("cannot make {}: {e}", parent.display())))?;
    }
    m6_store::atomic::write_file(path, bytes).or_usage()
}

/// Figures beside those of the controls.
fn table(outcome: &Outcome) -> String {
    let mut text = format!("{:28} {:>10}", "", "model");
    for name in outcome.control.keys() {
        text.push_str(&format!(" {name:>10}"));
    }
    text.push('\n');
    for row in rows(outcome) {
        text.push_str(&format!("{:28}", row[0]));
        for cell in &row[1..] {
            text.push_str(&format!(" {cell:>10}"));
        }
        text.push('\n');
    }
    text
}

/// Each figure with its name, the model's first, then those of the controls.
fn rows(outcome: &Outcome) -> Vec<Vec<String>> {
    let number = |figures: &Map<String, Value>, name: &str| {
        let value = figures.get(name).and_then(Value::as_f64);
        value.map_or("-".to_owned(), |x| match name.starts_with("n/") {
            true => format!("{x:.0}"),
            false => format!("{x:.4}"),
        })
    };
    let row = |name: &String| {
        let mut row = vec![name.clone(), number(&outcome.scores, name)];
        for control in outcome.control.values() {
            row.push(
                control
                    .as_object()
                    .map_or("-".to_owned(), |c| number(c, name)),
            );
        }
        row
    };
    outcome.scores.keys().map(row).collect()
}

/// An exam's error with its exit code.
fn failure(error: ExamError) -> Failure {
    let code = match &error {
        ExamError::Task(_) | ExamError::Data(_) => Code::Usage,
        ExamError::Model(m6_model::Error::Options(_) | m6_model::Error::Input(_)) => Code::Usage,
        ExamError::Model(_) => Code::Numerics,
        ExamError::Nothing { .. }
        | ExamError::Label { .. }
        | ExamError::NoLabels
        | ExamError::NoWords { .. }
        | ExamError::Score(_) => Code::Data,
    };
    let failed: std::result::Result<(), _> = Err(error);
    failed.or_fail(code).expect_err("it is one")
}

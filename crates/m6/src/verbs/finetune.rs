//! `m6 finetune TASK CONFIG --from CKPT --data DIR --out RUN [--resume]`.

use super::common as shared;
use super::pretrain::{self, Job, outcome_json};
use super::ranks::{self, Comm};
use super::reward::Reward;
use crate::cli::{Common, OutDir};
use crate::config;
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::{self, Terminal};
use crate::tasks::{self, FinetuneTask};
use clap::Args;
use m6_data::Manifest;
use m6_model::{LoraConfig, ModelConfig};
use m6_train::Outcome;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// `m6 finetune`.
#[derive(Args, Debug, Clone)]
pub struct FinetuneArgs {
    /// What to learn.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(tasks::TASKS.iter().map(|task| task.name)))]
    pub task: String,
    /// Preset name or TOML file; where it is silent about the model, that of --from is taken, and about the training, defaults of the task.
    pub config: String,
    /// Run, checkpoint or exported model to begin from: its weights and sizes.
    #[arg(long, value_name = "CKPT")]
    pub from: PathBuf,
    /// Data prepared with the vocabulary of --from and with the task.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where to.
    #[command(flatten)]
    pub out: OutDir,
    /// Goes on from the newest valid checkpoint of the run folder.
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
}

/// Runs the verb.
pub fn run(args: &FinetuneArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let task = tasks::find(&args.task).ok_or_else(|| Failure::usage("unknown task"))?;
    let mut loaded = config::load_over(base(task, &args.from)?, &args.config, &common.set)?;
    if let Some(seed) = common.seed {
        loaded.config.train.seed = seed;
    }
    loaded.config.init.model = args.from.display().to_string();
    if common.dry_run {
        pretrain::fit_to_data(&mut loaded.config, &args.data, terminal)?;
        check_data(task, &args.data)?;
        let mixture = pretrain::mixture(&loaded.config, &args.data, weights(task))?;
        Reward::new(&loaded.config, &args.data, &mixture)?;
        shared::check_out(&args.out.out, args.resume || args.out.overwrite)?;
        terminal.say(&format!(
            "would finetune {} for {} for {} steps; the best checkpoint is chosen by {}",
            args.from.display(),
            task.name,
            loaded.config.train.steps,
            task.score(loaded.config.train.best_by)
        ));
        return Ok(());
    }
    let comm = ranks::join(&loaded.config.parallel)?;
    ranks::together(&comm, terminal, |terminal| {
        train(args, task, &mut loaded, &comm, terminal)
    })
}

fn train(
    args: &FinetuneArgs,
    task: &FinetuneTask,
    loaded: &mut config::Loaded,
    comm: &Comm,
    terminal: &Terminal,
) -> Result<()> {
    pretrain::fit_to_data(&mut loaded.config, &args.data, terminal)?;
    check_data(task, &args.data)?;
    loaded.resolved = toml::to_string(&loaded.config).or_usage()?;
    let stop = out::stop_flag();
    let job = Job {
        name: task.name,
        data: &args.data,
        out: &args.out.out,
        resume: args.resume,
        overwrite: args.out.overwrite,
        tasks: weights(task),
        exam: task.exam,
    };
    let outcome = pretrain::pretrain(loaded, &job, &stop, comm, terminal)?;
    report(task, &args.out.out, &outcome, terminal)
}

/// Settings below the configuration: the model of the checkpoint, then the defaults of the task.
fn base(task: &FinetuneTask, from: &Path) -> Result<toml::Table> {
    let saved = m6_train::saved_config(from).map_err(|error| {
        let code = shared::code_of(&error);
        Err::<(), _>(error).or_fail(code).expect_err("it is one")
    })?;
    // Its own adapters are merged when its weights are read.
    let model = ModelConfig {
        lora: LoraConfig::default(),
        ..saved.model
    };
    let mut table = toml::Table::new();
    table.insert("model".into(), toml::Value::try_from(model).or_usage()?);
    let defaults = task.defaults.parse::<toml::Table>().or_usage()?;
    config::merge(&mut table, defaults);
    Ok(table)
}

/// Every task of the data gets a weight: those that are trained theirs, the others none.
fn weights(task: &FinetuneTask) -> std::collections::BTreeMap<String, f64> {
    let weight = |name: &str| {
        let trained = task.trains.iter().find(|(trained, _)| *trained == name);
        trained.map_or(0.0, |(_, weight)| *weight)
    };
    let names = m6_data::tasks::NAMES.iter();
    names
        .map(|name| ((*name).to_owned(), weight(name)))
        .collect()
}

/// Refuses data that has no row of the task.
fn check_data(task: &FinetuneTask, data: &Path) -> Result<()> {
    let manifest = Manifest::read(data).or_data()?;
    let rows = |name: &str| -> u64 {
        let reports = manifest
            .sources
            .iter()
            .filter_map(|source| source.tasks.get(name));
        let rows = reports.filter_map(|report| report.splits.get(m6_data::Split::Train.name()));
        rows.map(|rows| rows.rows).sum()
    };
    let trained = task.trains.iter().map(|(name, _)| *name);
    let missing: Vec<&str> = trained.filter(|name| rows(name) == 0).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(", ");
    Err(Failure::usage(format!(
        "{} has no rows of {names}, which {} trains",
        data.display(),
        task.name
    ))
    .hint(format!(
        "prepare it with `tasks = {{ {} = 1 }}` in one of its [[data.sources]]",
        missing.join(" = 1, ")
    )))
}

fn report(task: &FinetuneTask, out: &Path, outcome: &Outcome, terminal: &Terminal) -> Result<()> {
    let mut row = outcome_json(outcome);
    row["task"] = json!(task.name);
    row["stopped_early"] = json!(outcome.stopped_early);
    row["best"] = outcome.best.map_or(
        Value::Null,
        |best| json!({"step": best.step, "score": best.score}),
    );
    if terminal.json() {
        terminal.object(&row);
    }
    if outcome.interrupted {
        return Err(Failure::new(
            Code::Interrupted,
            format!("interrupted; {} is complete", outcome.checkpoint.display()),
        )
        .hint("the same command with --resume goes on from there"));
    }
    let best = outcome.best.map_or(String::new(), |best| {
        format!("; best at step {} with {:.4}", best.step, best.score)
    });
    let why = if outcome.stopped_early {
        ", stopped early"
    } else {
        ""
    };
    terminal.say(&format!(
        "{}: {} steps{why} in {:.0} s{best}; {}",
        task.name,
        outcome.steps,
        outcome.seconds,
        out.display()
    ));
    Ok(())
}

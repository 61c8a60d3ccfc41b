//! `m6 corpus build CONFIG --out DIR`.

use crate::cli::Common;
use crate::config;
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::{self, Terminal};
use crate::verbs::common::bytes;
use clap::Args;
use m6_corpus::Error;
use m6_corpus::build::{self, Config, Options, Slice, Summary};
use serde_json::json;
use std::path::{Path, PathBuf};
use toml::Value;

/// `m6 corpus build`.
#[derive(Args, Debug, Clone)]
pub struct BuildArgs {
    /// TOML file with a [corpus] table.
    pub config: String,
    /// Folder of the corpus. The same command goes on where an earlier run ended; what is unchanged is not made again.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Works on one slice of the input only, for arrays of jobs on a shared folder: 0/4 is the first of four. A last run without it
    /// makes the corpus.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Slice>,
}

/// Runs the verb.
pub fn run(args: &BuildArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let config = load(args, common)?;
    check_out(&args.out)?;
    let plan = build::plan(&config).map_err(failure)?;
    if common.dry_run {
        for source in &plan {
            let size = bytes(source.bytes as f64);
            terminal.say(&format!("{}: {} files, {size}", source.source, source.files));
        }
        terminal.say(&format!("would write {}", args.out.display()));
        if terminal.json() {
            terminal.object(&json!({ "plan": plan }));
        }
        return Ok(());
    }
    let stop = out::stop_flag();
    let mut bar: Option<(&'static str, out::Progress)> = None;
    let mut watch = |progress: build::Progress| {
        if bar.as_ref().is_none_or(|(stage, _)| *stage != progress.stage) {
            if let Some((_, bar)) = bar.take() {
                bar.finish();
            }
            bar = Some((progress.stage, terminal.progress(progress.total as u64, progress.stage)));
        }
        if let Some((_, bar)) = &mut bar {
            bar.at(progress.done as u64, "");
        }
    };
    let options = Options {
        slice: args.shard,
        stop: &stop,
    };
    let built = build::run(&config, &args.out, &options, &mut watch);
    if let Some((_, bar)) = bar {
        bar.finish();
    }
    tell(&built.map_err(failure)?, &args.out, terminal);
    Ok(())
}

fn tell(summary: &Summary, out: &Path, terminal: &Terminal) {
    if terminal.json() {
        terminal.object(summary);
    } else if let Some(stats) = &summary.stats {
        let mut text = format!(
            "{:24} {:10} {:>12} {:>14} {:>12} {:>10}\n",
            "source", "modality", "images", "characters", "passages", "avg length"
        );
        for row in &stats.table {
            text.push_str(&format!(
                "{:24} {:10} {:>12} {:>14} {:>12} {:>10.1}\n",
                row.source, row.modality, row.images, row.characters, row.passages, row.avg_length
            ));
        }
        terminal.data(&text);
    }
    terminal.say(&format!(
        "{} results of stages made, {} found from earlier runs -> {}",
        summary.made,
        summary.found,
        out.display()
    ));
}

/// The `[corpus]` table of a file, every key checked.
fn load(args: &BuildArgs, common: &Common) -> Result<Config> {
    let mut tables = config::table(&args.config, &common.set)?;
    let Some(mut given) = tables.remove("corpus") else {
        return Err(Failure::usage(format!("{}: there is no [corpus] table", args.config)));
    };
    if let (Some(seed), Value::Table(table)) = (common.seed, &mut given) {
        let seed = i64::try_from(seed).or_usage()?;
        table.insert("seed".to_string(), Value::Integer(seed));
    }
    let usual = Config {
        sources: vec![build::config::SourceConfig::default()],
        ..Config::default()
    };
    let known = serde_json::to_value(usual).or_usage()?;
    let mut problems = Vec::new();
    config::unknown_keys(&given, &known, "corpus", &mut problems);
    if problems.is_empty() {
        match <Config as serde::Deserialize>::deserialize(given) {
            Err(error) => problems.push(error.to_string().trim().replace('\n', " ")),
            Ok(config) => {
                problems = config.validate();
                if problems.is_empty() {
                    return Ok(config);
                }
            }
        }
    }
    Err(Failure::usage(format!(
        "{}: {} problem(s) in the configuration:\n  - {}",
        args.config,
        problems.len(),
        problems.join("\n  - ")
    )))
}

/// A folder with something else in it is not built into.
fn check_out(out: &Path) -> Result<()> {
    let is_full = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if !is_full || out.join("work").is_dir() || build::finished(out).is_some() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} holds something else than a corpus; choose another --out",
        out.display()
    )))
}

/// An error of the builder with its exit code.
pub fn failure(error: Error) -> Failure {
    let code = match &error {
        Error::Interrupted => Code::Interrupted,
        Error::Config(_) => Code::Usage,
        Error::Store(m6_store::Error::Locked { .. }) => Code::Usage,
        _ => Code::Data,
    };
    match Err::<(), Error>(error).or_fail(code) {
        Err(failure) => failure,
        Ok(()) => Failure::new(code, "the build failed"),
    }
}

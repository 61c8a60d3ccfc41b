//! `m6 corpus build CONFIG --out DIR`.

use crate::cli::Common;
use crate::config;
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::Terminal;
use crate::verbs::common::bytes;
use clap::Args;
use m6_corpus::Error;
use m6_corpus::build::{self, Config, Options, Slice, Summary};
use m6_corpus::remote::{self, Address, Stores};
use serde_json::json;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Value;

/// `m6 corpus build`.
#[derive(Args, Debug, Clone)]
pub struct BuildArgs {
    /// TOML file or preset with a `[corpus]` table.
    pub config: String,
    /// Folder of the corpus, or its address in an object store (s3://bucket/prefix). The same command goes on where an earlier run ended;
    /// what is unchanged is not made again.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Folder for the work on this machine when --out is an address; at the end the whole corpus lies there too. The last part of the
    /// address with `.scratch`, in the current folder, unless given.
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Works on one slice of the input only, for arrays of jobs on a shared folder or address: 0/4 is the first of four. A last run
    /// without it makes the corpus.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Slice>,
}

/// Runs the verb.
pub fn run(args: &BuildArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let config = load(&args.config, &common.set, common.seed)?;
    let place = Place::of(args)?;
    check_out(&place.folder)?;
    let stores = Stores::default();
    if let Some(address) = &place.address {
        // A program without object stores says so before anything is looked at.
        stores.of(&address.bucket).map_err(failure)?;
    }
    let plan = build::plan(&config, &stores).map_err(failure)?;
    if common.dry_run {
        for source in &plan {
            let size = bytes(source.bytes as f64);
            terminal.say(&format!(
                "{}: {} files, {size}",
                source.source, source.files
            ));
        }
        terminal.say(&format!("would write {place}"));
        if terminal.json() {
            terminal.object(&json!({ "plan": plan }));
        }
        return Ok(());
    }
    super::memory::give_back_freed();
    let summary = make_at(&config, &place, &stores, args.shard, terminal)?;
    tell(&summary, &place, terminal);
    Ok(())
}

/// Where a build works, and where its output goes too.
struct Place {
    folder: PathBuf,
    address: Option<Address>,
}

impl Place {
    fn of(args: &BuildArgs) -> Result<Self> {
        if !remote::is_remote(&args.out) {
            if args.scratch.is_some() {
                return Err(Failure::usage(
                    "--scratch is for an --out at an address (s3://bucket/prefix); a local --out holds its work itself",
                ));
            }
            return Ok(Self {
                folder: args.out.clone(),
                address: None,
            });
        }
        let address = Address::parse(&args.out).map_err(failure)?;
        let usual = || PathBuf::from(format!("{}.scratch", address.name()));
        Ok(Self {
            folder: args.scratch.clone().unwrap_or_else(usual),
            address: Some(address),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            None => write!(f, "{}", self.folder.display()),
            Some(address) => write!(f, "{address} (scratch: {})", self.folder.display()),
        }
    }
}

/// Builds in a folder, with a bar for each stage.
pub fn make(config: &Config, out: &Path, terminal: &Terminal) -> Result<Summary> {
    let place = Place {
        folder: out.to_owned(),
        address: None,
    };
    make_at(config, &place, &Stores::default(), None, terminal)
}

fn make_at(
    config: &Config,
    place: &Place,
    stores: &Stores,
    slice: Option<Slice>,
    terminal: &Terminal,
) -> Result<Summary> {
    let stop = crate::out::stop_flag();
    let mut bar: Option<(&'static str, crate::out::Progress)> = None;
    let mut watch = |progress: build::Progress| {
        if bar
            .as_ref()
            .is_none_or(|(stage, _)| *stage != progress.stage)
        {
            if let Some((_, bar)) = bar.take() {
                bar.finish();
            }
            bar = Some((
                progress.stage,
                terminal.progress(progress.total as u64, progress.stage),
            ));
        }
        if let Some((_, bar)) = &mut bar {
            bar.at(progress.done as u64, "");
        }
    };
    let options = Options {
        mirror: place.address.as_ref(),
        stores,
        slice,
        stop: &stop,
    };
    let built = build::run(config, &place.folder, &options, &mut watch);
    if let Some((_, bar)) = bar {
        bar.finish();
    }
    built.map_err(failure)
}

fn tell(summary: &Summary, place: &Place, terminal: &Terminal) {
    if terminal.json() {
        terminal.object(summary);
    } else if let Some(stats) = &summary.stats {
        let mut text = format!(
            "{:24} {:10} {:>12} {:>14} {:>12} {:>10}\n",
            "source", "modality", "images", "tokens", "passages", "avg length"
        );
        for row in &stats.table {
            text.push_str(&format!(
                "{:24} {:10} {:>12} {:>14} {:>12} {:>10.1}\n",
                row.source, row.modality, row.images, row.tokens, row.passages, row.avg_length
            ));
        }
        terminal.data(&text);
    }
    terminal.say(&format!(
        "{} results of stages made, {} found from earlier runs -> {place}",
        summary.made, summary.found
    ));
}

/// The `[corpus]` table of a file or preset, every key checked.
pub fn load(name_or_path: &str, sets: &[String], seed: Option<u64>) -> Result<Config> {
    let mut tables = config::table(name_or_path, sets)?;
    let Some(mut given) = tables.remove("corpus") else {
        return Err(Failure::usage(format!(
            "{name_or_path}: there is no [corpus] table"
        )));
    };
    if let (Some(seed), Value::Table(table)) = (seed, &mut given) {
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
        name_or_path,
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

//! `m6 report compare`: two evaluations side by side, with what of the difference is chance.

use super::exams::record;
use super::run_page;
use crate::cli::Common;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use clap::Subcommand;
use clap::builder::TypedValueParser;
use m6_eval::ExamTask;
use m6_store::rng::Key;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// `m6 report ...`.
#[derive(Subcommand, Debug)]
pub enum ReportVerb {
    /// Figures of two evaluations of the same questions, their differences, 95 % intervals of those by paired bootstrap, and the chance of
    /// differences as large by exchanging the answers at random.
    Compare {
        /// eval.json, or the folder it is in.
        a: PathBuf,
        /// The other one.
        b: PathBuf,
        /// Draws of intervals and exchanges.
        #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=1_000_000).map(|n| n as usize))]
        resamples: usize,
    },
    /// A page of a training run: losses, and of a model with experts what was dropped and a heat map of their loads.
    Run {
        /// The run folder.
        run: PathBuf,
        /// The page [default: report.html in the run folder].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs the verb.
pub fn run(verb: &ReportVerb, common: &Common, terminal: &Terminal) -> Result<()> {
    let (a, b, resamples) = match verb {
        ReportVerb::Compare { a, b, resamples } => (a, b, resamples),
        ReportVerb::Run { run, out } => return run_page::write(run, out.as_deref(), terminal),
    };
    let (a, b) = (record::locate(a), record::locate(b));
    let (of_a, of_b) = (record::read(&a)?, record::read(&b)?);
    let key = Key::new(common.seed.unwrap_or(1)).child("compare");
    let mut tasks = Map::new();
    for (name, one) in &of_a {
        let Some(other) = of_b.get(name) else {
            continue;
        };
        let rows = compare(name, (&a, one), (&b, other), *resamples, key.child(name))?;
        tasks.insert(name.clone(), Value::Array(rows));
    }
    if tasks.is_empty() {
        let names = |tasks: &Map<String, Value>| {
            tasks
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        };
        return Err(Failure::usage(format!(
            "no task is in both: {} has {}; {} has {}",
            a.display(),
            names(&of_a),
            b.display(),
            names(&of_b)
        )));
    }
    match terminal.json() {
        true => terminal.object(
            &json!({"a": a.display().to_string(), "b": b.display().to_string(), "tasks": tasks}),
        ),
        false => terminal.data(&table(&tasks)),
    }
    Ok(())
}

type Side<'a> = (&'a Path, &'a Value);

/// A row for every figure that both have.
fn compare(name: &str, a: Side<'_>, b: Side<'_>, resamples: usize, key: Key) -> Result<Vec<Value>> {
    let task: ExamTask = name.parse().or_data()?;
    let references = said(a, "references")?;
    if references != said(b, "references")? {
        return Err(Failure::data(format!(
            "{name}: the two were not asked the same questions, or their true answers differ"
        ))
        .hint("evaluate both on the same --data with the same --n"));
    }
    let measure = |side: Side<'_>| -> Result<m6_eval::Measured> {
        m6_eval::measure(task, &references, &said(side, "candidates")?, None).or_data()
    };
    let (one, other) = (measure(a)?, measure(b)?);
    let differences = one.compare(&other, resamples, key).or_data()?;
    let figures = one.figures().into_iter().zip(other.figures());
    let each = one.names.iter().zip(figures).zip(differences);
    let defined = each.filter(|((_, (a, b)), _)| a.is_finite() && b.is_finite());
    Ok(defined
        .map(|((figure, (a, b)), d)| {
            json!({
                "figure": figure, "a": a, "b": b, "difference": d.difference, "interval": d.interval, "p": d.p,
            })
        })
        .collect())
}

/// A file of answers that a record names, beside it.
fn said((path, evaluation): Side<'_>, side: &str) -> Result<Vec<u8>> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let file = evaluation[side].as_str().map(|name| dir.join(name));
    let Some(file) = file else {
        return Err(Failure::data(format!(
            "{}: names no {side}",
            path.display()
        )));
    };
    std::fs::read(&file).map_err(|e| {
        Failure::data(format!("cannot read {}: {e}", file.display()))
            .hint("answers are kept in the folder eval/ beside eval.json; copy both")
    })
}

fn table(tasks: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (name, rows) in tasks {
        text.push_str(&format!(
            "{name:28} {:>10} {:>10} {:>10}  {:>20} {:>7}\n",
            "A", "B", "A - B", "95 % interval", "p"
        ));
        for row in rows.as_array().into_iter().flatten() {
            let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
            let interval = format!(
                "{:+.4} to {:+.4}",
                number(&row["interval"][0]),
                number(&row["interval"][1])
            );
            text.push_str(&format!(
                "{:28} {:>10.4} {:>10.4} {:>+10.4}  {interval:>20} {:>7.4}\n",
                row["figure"].as_str().unwrap_or_default(),
                number(&row["a"]),
                number(&row["b"]),
                number(&row["difference"]),
                number(&row["p"]),
            ));
        }
    }
    text
}

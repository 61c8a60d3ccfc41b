//! `m6 corpus why NAME DIR`.

use super::build::failure;
use crate::cli::Common;
use crate::error::{Code, Failure, Result};
use crate::out::Terminal;
use clap::Args;
use m6_corpus::build::why::{self, Life};
use std::fmt::Write;
use std::path::PathBuf;

/// `m6 corpus why`.
#[derive(Args, Debug, Clone)]
pub struct WhyArgs {
    /// Address or name of a record, as `records/` and `ledger/` give it.
    #[arg(value_name = "URL|ID")]
    pub name: String,
    /// Folder of a finished corpus.
    pub dir: PathBuf,
}

/// Runs the verb.
pub fn run(args: &WhyArgs, _common: &Common, terminal: &Terminal) -> Result<()> {
    let lives = why::why(&args.dir, &args.name).map_err(failure)?;
    if lives.is_empty() {
        return Err(Failure::new(
            Code::Check,
            format!("{} has no record `{}`", args.dir.display(), args.name),
        ));
    }
    for life in &lives {
        match terminal.json() {
            true => terminal.object(life),
            false => terminal.data(&shown(life)),
        }
    }
    Ok(())
}

fn shown(life: &Life) -> String {
    let mut text = format!("{}  {}\n", life.record_id, life.fate);
    for (name, value) in [
        ("url", &life.url),
        ("source", &life.source),
        ("title", &life.title),
    ] {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:9} {value}");
        }
    }
    if let Some(kept) = &life.duplicate_of {
        let _ = writeln!(text, "  kept is   {kept}");
    }
    for step in &life.steps {
        let place = step
            .record_id
            .strip_prefix(&life.record_id)
            .unwrap_or_default();
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value}"));
        let _ = writeln!(
            text,
            "  {:20} {:8} {:24} {:>12} {:>12} {place}",
            step.stage,
            step.verdict,
            step.rule,
            number(step.value),
            number(step.threshold)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use m6_corpus::build::ledger::Row;

    #[test]
    fn a_life_is_told_step_by_step() {
        let life = Life {
            record_id: "web/1".to_string(),
            fate: "dropped".to_string(),
            steps: vec![
                Row::new("web/1", "rules", "drop", "short-content").measured(Some(3.0), Some(15.0)),
                Row::new("web/1#0", "pictures", "missing", "picture_not_found"),
            ],
            ..Life::default()
        };
        let text = shown(&life);
        assert!(
            text.contains("short-content") && text.contains("15"),
            "{text}"
        );
        assert!(text.trim_end().ends_with("#0"), "{text}");
    }
}

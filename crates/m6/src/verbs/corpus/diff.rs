//! `m6 corpus diff A B`.

use super::build::failure;
use crate::cli::Common;
use crate::error::Result;
use crate::out::Terminal;
use clap::Args;
use m6_corpus::build::compare::{self, Difference};
use std::fmt::Write;
use std::path::PathBuf;

/// `m6 corpus diff`.
#[derive(Args, Debug, Clone)]
pub struct DiffArgs {
    /// Folder of a finished corpus.
    #[arg(value_name = "A")]
    pub first: PathBuf,
    /// Folder of another, of the same sources.
    #[arg(value_name = "B")]
    pub second: PathBuf,
    /// Records shown of each move.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub examples: usize,
}

/// Runs the verb.
pub fn run(args: &DiffArgs, _common: &Common, terminal: &Terminal) -> Result<()> {
    let difference = compare::compare(&args.first, &args.second, args.examples).map_err(failure)?;
    match terminal.json() {
        true => terminal.object(&difference),
        false => terminal.data(&shown(&difference)),
    }
    Ok(())
}

fn shown(difference: &Difference) -> String {
    let n_same: u64 = difference.same.values().sum();
    let n_moved: u64 = difference.moved.iter().map(|moved| moved.count).sum();
    let mut text = format!("{n_same} records went the same way, {n_moved} another\n");
    for moved in &difference.moved {
        let _ = writeln!(text, "{:>9}  {} -> {}", moved.count, moved.from, moved.to);
        for example in &moved.examples {
            let value = example
                .value
                .map_or(String::new(), |value| format!("{value:.4}"));
            let _ = writeln!(
                text,
                "           {}  {}  {value}",
                example.record_id, example.title
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use m6_corpus::build::compare::{Example, Moved};

    #[test]
    fn moves_are_shown_with_examples() {
        let moved = Moved {
            from: "kept".to_string(),
            to: "dropped by x".to_string(),
            count: 4,
            examples: vec![Example {
                record_id: "a/1".to_string(),
                title: "题".to_string(),
                value: Some(0.5),
            }],
        };
        let difference = Difference {
            same: [("kept".to_string(), 6)].into(),
            moved: vec![moved],
        };
        let text = shown(&difference);
        assert!(
            text.starts_with("6 records went the same way, 4 another"),
            "{text}"
        );
        assert!(
            text.contains("kept -> dropped by x") && text.contains("0.5000"),
            "{text}"
        );
    }
}

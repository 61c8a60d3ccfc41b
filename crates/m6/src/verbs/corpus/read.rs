//! `m6 corpus read FILE`: what lies in a WARC, ARC, WET or WAT file.

use std::path::PathBuf;

use m6_clean::archive::{Damage, Item, Limits, Place, Reader, Record};
use serde_json::json;

use crate::cli::Common;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;

/// Bytes of a payload that are held: none are shown, and a record is skipped faster than kept.
const HELD: usize = 1 << 10;

/// Bytes of output written at once.
const BATCH: usize = 64 << 10;

/// `m6 corpus read`.
#[derive(clap::Args, Debug, Clone)]
pub struct ReadArgs {
    /// WARC, ARC, WET or WAT file; raw, gzip or zstd.
    pub file: PathBuf,
    /// Byte to begin at: an offset that an earlier run printed.
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    pub from: u64,
}

/// What was met so far.
#[derive(Default)]
struct Tally {
    n_records: u64,
    n_errors: u64,
    n_bytes: u64,
}

/// Runs the verb: a line for each record and each broken place, then the totals.
///
/// # Errors
/// The file cannot be read (exit code 2), or there is damage and not one record in it (3).
pub fn run(args: &ReadArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let limits = Limits {
        payload: HELD,
        ..Limits::default()
    };
    let reader = Reader::at(&args.file, Place::from(args.from), limits).or_usage()?;
    if common.dry_run {
        terminal.say(&format!("would read {}", args.file.display()));
        return Ok(());
    }
    let mut tally = Tally::default();
    let mut lines = String::new();
    if !terminal.json() {
        lines.push_str(&format!(
            "{:>12} {:<12} {:>10} {:<24} url\n",
            "offset", "type", "bytes", "mime"
        ));
    }
    for item in reader {
        match item.or_usage()? {
            Item::Record(record) => {
                tally.n_records += 1;
                tally.n_bytes = tally.n_bytes.saturating_add(record.length);
                push_record(&record, terminal.json(), &mut lines);
            }
            Item::Damage(damage) => {
                tally.n_errors += 1;
                push_damage(&damage, terminal.json(), &mut lines);
            }
        }
        if lines.len() >= BATCH {
            terminal.data(&lines);
            lines.clear();
        }
    }
    terminal.data(&lines);
    finish(&tally, args, terminal)
}

fn push_record(record: &Record, json: bool, lines: &mut String) {
    let place = record.place;
    if !json {
        lines.push_str(&format!(
            "{:>12} {:<12} {:>10} {:<24} {}\n",
            place.offset,
            record.kind.name(),
            record.length,
            record.mime.as_deref().unwrap_or("-"),
            record.url.as_deref().unwrap_or("-"),
        ));
        return;
    }
    let row = json!({
        "offset": place.offset,
        "type": record.kind.name(),
        "url": record.url,
        "mime": record.mime,
        "bytes": record.length,
    });
    lines.push_str(&format!("{row}\n"));
}

fn push_damage(damage: &Damage, json: bool, lines: &mut String) {
    let Damage { offset, reason } = damage;
    match json {
        true => lines.push_str(&format!("{}\n", json!({"offset": offset, "error": reason}))),
        false => lines.push_str(&format!("{offset:>12} error: {reason}\n")),
    }
}

fn finish(tally: &Tally, args: &ReadArgs, terminal: &Terminal) -> Result<()> {
    let Tally {
        n_records,
        n_errors,
        n_bytes,
    } = *tally;
    if terminal.json() {
        terminal.object(&json!({"records": n_records, "errors": n_errors, "bytes": n_bytes}));
    } else {
        terminal.data(&format!(
            "{n_records} records of {n_bytes} bytes, {n_errors} errors\n"
        ));
    }
    match (n_records, n_errors) {
        (0, 1..) => Err(
            Failure::data(format!("{}: no record could be read", args.file.display()))
                .hint("the lines above say where and why"),
        ),
        _ => Ok(()),
    }
}

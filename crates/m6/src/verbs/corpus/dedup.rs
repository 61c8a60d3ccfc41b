//! `m6 corpus dedup`: near-duplicates of a JSONL file.

use crate::cli::Common;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use crate::verbs::common::bytes;
use clap::Args;
use m6_clean::dedup::{
    Damage, Document, Documents, Fields, JsonLines, Link, Options, Outcome, Place, Row, Stats,
    dedup, substring,
};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::PathBuf;

/// Lines written to stdout together.
const LINES: usize = 1024;

/// `m6 corpus dedup`.
#[derive(Args, Debug, Clone)]
pub struct DedupArgs {
    /// JSONL file, one document a line.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Field of the text.
    #[arg(long, value_name = "NAME", default_value = "text")]
    pub text_field: String,
    /// Field of the document's name.
    #[arg(long, value_name = "NAME", default_value = "id")]
    pub id_field: String,
    /// Field of a number that says how good the document is; of a cluster the best is kept. Without it the longest.
    #[arg(long, value_name = "NAME")]
    pub quality_field: Option<String>,
    /// Jaccard similarity of character shingles from which two documents are duplicates.
    #[arg(long, value_name = "X", default_value_t = 0.8)]
    pub threshold: f64,
    /// Characters of a shingle.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub shingle: usize,
    /// Chance with which a pair just at the threshold is found.
    #[arg(long, value_name = "X", default_value_t = 0.999)]
    pub recall: f64,
    /// Joins candidates without checking their similarity.
    #[arg(long)]
    pub no_check: bool,
    /// Keeps so many of a cluster that every document left out is at the threshold with one that is kept. Without it a cluster is all
    /// that a chain of duplicates connects, and one of it is kept.
    #[arg(long)]
    pub strict: bool,
    /// Also names, for every document that is kept, the passages of at least so many characters that a kept document before it, or
    /// the same one before, holds already: `"passages":[[from,to],...]` in characters.
    #[arg(long, value_name = "CHARS")]
    pub passages: Option<usize>,
    /// Memory for sorting and comparing, as in 512MB or 2GiB; more than that goes to temporary files. 50 bytes a document come on top.
    #[arg(long, value_name = "SIZE", default_value = "512MB", value_parser = parse_size)]
    pub memory: usize,
    /// Folder of the temporary files; the system's own by default.
    #[arg(long, value_name = "DIR")]
    pub temp: Option<PathBuf>,
}

/// Runs the verb: with `--json` one line a document in order of the input, otherwise a summary.
pub fn run(args: &DedupArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let options = options(args, common);
    options.check().or_usage()?;
    if args.passages == Some(0) {
        return Err(Failure::usage("--passages is at least 1 character"));
    }
    let fields = Fields {
        text: args.text_field.clone(),
        id: args.id_field.clone(),
        quality: args.quality_field.clone(),
    };
    let documents = JsonLines::open(&args.input, fields).or_usage()?;
    let n = documents.len() as u64;
    let bands = options.bands();
    if common.dry_run {
        terminal.say(&format!(
            "would compare {n} documents by {} bands of {} rows within {}",
            bands.n_bands,
            bands.n_rows,
            bytes(options.memory as f64)
        ));
        return Ok(());
    }
    let mut progress = terminal.progress(n, "signatures");
    let outcome = dedup(&documents, &options, &mut |done| {
        progress.at(done as u64, "")
    })
    .or_data()?;
    progress.finish();
    if terminal.json() {
        let passages = match args.passages {
            Some(min_chars) => repeated(&documents, &outcome, &options, min_chars)?,
            None => Vec::new(),
        };
        write_places(&documents, &outcome, &passages, terminal)?;
        terminal.say(&summary(&outcome.stats));
    } else {
        terminal.data(&format!("{}\n", summary(&outcome.stats)));
    }
    let n_damaged = outcome.stats.n_damaged;
    if n > 0 && n_damaged == n {
        let why = first_damage(&documents)?;
        return Err(
            Failure::data(format!("none of {n} lines could be used: {why}"))
                .hint("--text-field and --id-field name the fields to read"),
        );
    }
    Ok(())
}

fn options(args: &DedupArgs, common: &Common) -> Options {
    let defaults = Options::default();
    Options {
        threshold: args.threshold,
        shingle: args.shingle,
        recall: args.recall,
        verify: !args.no_check,
        link: if args.strict { Link::Kept } else { Link::Chain },
        memory: args.memory,
        spill: args.temp.clone().unwrap_or(defaults.spill),
        seed: common.seed.unwrap_or(defaults.seed),
    }
}

/// The documents that are kept; the others are passed over.
struct Kept<'d> {
    documents: &'d JsonLines,
    places: &'d [Option<Place>],
}

impl Documents for Kept<'_> {
    fn len(&self) -> usize {
        self.documents.len()
    }

    fn document(&self, index: usize) -> m6_corpus::Result<Option<Document<'_>>> {
        match self.places.get(index) {
            Some(Some(place)) if place.kept => self.documents.document(index),
            _ => Ok(None),
        }
    }
}

/// Documents with repeated passages, in order, and where those are.
type Passages = Vec<(u32, Vec<Range<usize>>)>;

fn repeated(
    documents: &JsonLines,
    outcome: &Outcome,
    options: &Options,
    min_chars: usize,
) -> Result<Passages> {
    let kept = Kept {
        documents,
        places: &outcome.places,
    };
    let options = substring::Options {
        min_chars,
        memory: options.memory,
        spill: options.spill.clone(),
    };
    let passages = substring::repeated(&kept, &options).or_data()?;
    passages.collect::<m6_corpus::Result<_>>().or_data()
}

/// The lines of the result, read again for their names.
fn write_places(
    documents: &JsonLines,
    outcome: &Outcome,
    passages: &[(u32, Vec<Range<usize>>)],
    terminal: &Terminal,
) -> Result<()> {
    let mut lines = String::new();
    let mut passages = passages.iter().peekable();
    for (i, place) in outcome.places.iter().enumerate() {
        let row = documents.row(i).or_data()?;
        let mut line = line(row, *place);
        if let Some((_, ranges)) = passages.next_if(|(document, _)| *document as usize == i) {
            let ranges: Vec<[usize; 2]> = ranges.iter().map(|at| [at.start, at.end]).collect();
            line["passages"] = json!(ranges);
        }
        lines.push_str(&line.to_string());
        lines.push('\n');
        if i % LINES == LINES - 1 {
            terminal.data(&lines);
            lines.clear();
        }
    }
    terminal.data(&lines);
    Ok(())
}

fn line(row: std::result::Result<Row, Damage>, place: Option<Place>) -> Value {
    match (row, place) {
        (Ok(row), Some(place)) => {
            // Six digits are more than a page has shingles.
            let jaccard = (f64::from(place.jaccard) * 1e6).round() / 1e6;
            json!({"id": row.id, "cluster": place.cluster, "kept": place.kept, "jaccard": jaccard})
        }
        (Err(damage), _) => json!({"offset": damage.offset, "error": damage.reason}),
        (Ok(row), None) => {
            json!({"id": row.id, "error": "the line changed while the file was read"})
        }
    }
}

fn first_damage(documents: &JsonLines) -> Result<String> {
    let row = documents.row(0).or_data()?;
    Ok(row.err().map_or_else(String::new, |damage| damage.reason))
}

fn summary(stats: &Stats) -> String {
    let n_sound = stats.n_documents - stats.n_damaged;
    let mut text = format!(
        "{} of {n_sound} documents are kept; {} equal an earlier one, {} are nearly the same ({} candidate pairs, {} checked)",
        stats.n_clusters,
        stats.n_exact,
        n_sound - stats.n_clusters - stats.n_exact,
        stats.n_candidates,
        stats.n_checked,
    );
    if stats.n_damaged > 0 {
        text.push_str(&format!("; {} lines could not be used", stats.n_damaged));
    }
    text
}

/// Bytes from a number with an optional unit, decimal (kB, MB, GB, TB) or binary (KiB, MiB, GiB, TiB).
fn parse_size(text: &str) -> std::result::Result<usize, String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` does not start with a number"))?;
    let unit = unit.trim().to_lowercase();
    let power = |base: f64| {
        unit.chars()
            .next()
            .and_then(|c| "kmgt".find(c))
            .map(|i| base.powi(i as i32 + 1))
    };
    let factor = match unit.as_str() {
        "" | "b" => Some(1.0),
        "k" | "m" | "g" | "t" | "kb" | "mb" | "gb" | "tb" => power(1000.0),
        "kib" | "mib" | "gib" | "tib" => power(1024.0),
        _ => None,
    };
    let factor = factor
        .ok_or_else(|| format!("`{unit}` is no unit: B, kB, MB, GB, TB, KiB, MiB, GiB or TiB"))?;
    // A float larger than the type becomes its largest value.
    Ok((number * factor) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let check = |text: &str, expected: Option<usize>| {
            assert_eq!(parse_size(text).ok(), expected, "{text}")
        };
        check("512MB", Some(512_000_000));
        check("1.5 GiB", Some(3 << 29));
        check("64k", Some(64_000));
        check("0", Some(0));
        check("7b", Some(7));
        check("2TiB", Some(2 << 40));
        check("", None);
        check("MB", None);
        check("1.2.3MB", None);
        check("-1MB", None);
        check("5 bananas", None);
    }

    #[test]
    fn a_line_names_the_document_its_cluster_and_the_similarity() {
        let row = || Row {
            id: json!("甲"),
            text: String::new(),
            quality: None,
        };
        let place = Place {
            cluster: 3,
            kept: false,
            jaccard: 0.8,
        };
        let check = |value: Value, expected: &str| assert_eq!(value.to_string(), expected);
        check(
            line(Ok(row()), Some(place)),
            r#"{"id":"甲","cluster":3,"kept":false,"jaccard":0.8}"#,
        );
        let damage = Damage {
            offset: 7,
            reason: "no field `id`".into(),
        };
        check(
            line(Err(damage), None),
            r#"{"offset":7,"error":"no field `id`"}"#,
        );
    }

    #[test]
    fn the_summary_adds_up() {
        let stats = Stats {
            n_documents: 10,
            n_damaged: 1,
            n_exact: 2,
            n_clusters: 6,
            ..Stats::default()
        };
        let text = summary(&stats);
        for part in ["6 of 9", "2 equal", "1 are nearly", "1 lines could not"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

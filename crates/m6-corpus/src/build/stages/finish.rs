//! The last word on texts: repeated lines out, evaluation sets kept away.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use m6_store::atomic::DirCommit;
use m6_store::rng::mix64;

use super::super::config::Config;
use super::super::context::{Context, Made, Side};
use super::super::docs::{Doc, DocReader};
use super::super::files::Files;
use super::super::inputs::Hashes;
use super::super::work::{KeyHash, Note, Stage, write_json};
use super::lines::alive_of;
use super::signals::Trimmed;
use super::{Sorted, lines, part_hash, part_name, parts, signals};
use crate::table::{Cell, Column, Kind, Writer};
use crate::{Error, Result};
use m6_clean::dedup::shingle::{MAX_SHINGLE, strip, windows};

/// Finishing texts.
pub const STAGE: Stage = Stage {
    name: "finish",
    version: 3,
};
/// The table: the records of a shard that came so far, in order of row.
pub const NAME: &str = "final.parquet";
/// Its columns: a record that ends here has a rule and no text.
pub const COLUMNS: [(&str, Kind); 7] = [
    ("row", Kind::Int),
    ("stage", Kind::Text),
    ("rule", Kind::Text),
    ("value", Kind::Float),
    ("removed", Kind::Int),
    ("lines", Kind::Text),
    ("text", Kind::Text),
];
/// What is left of a shard, as a hash of the rows; the pictures depend on nothing else.
pub const ALIVE_NAME: &str = "alive.json";
/// Characters of the windows that texts and evaluation sets are compared by.
const WINDOW: usize = 13;
/// Characters by which what is left of a line is known.
const BEGINNING: usize = 4;
/// Longest line of an evaluation file that is read, in bytes.
const MAX_LINE: u64 = 16 << 20;

/// One record after this stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finished {
    /// Stage and rule that ended it, with value; none when it is still in.
    pub end: Option<(String, String, Option<f64>)>,
    /// Lines taken out.
    pub removed: u64,
    /// For each picture, how many lines of the text stand before it.
    pub lines: Vec<usize>,
    /// The text; empty when the record ended.
    pub text: String,
}

/// Windows of evaluation sets.
#[derive(Debug, Default)]
pub struct Evaluation {
    windows: HashSet<u64>,
    identity: String,
}

impl Evaluation {
    /// Reads the evaluation sets of a configuration.
    ///
    /// # Errors
    /// [`Error::Config`] for files that are not there, [`Error::Io`] for those that cannot be read.
    pub fn load(config: &Config, files: &Files<'_>, hashes: &mut Hashes) -> Result<Self> {
        let mut out = Self::default();
        for path in files.expand(&config.assets.evaluation)? {
            out.identity.push_str(&hashes.of(files, &path)?);
            out.read(&files.local(&path)?)?;
        }
        Ok(out)
    }

    fn read(&mut self, path: &Path) -> Result<()> {
        let io = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut reader = BufReader::new(File::open(path).map_err(io)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = std::io::Read::take(&mut reader, MAX_LINE);
            if limited.read_until(b'\n', &mut line).map_err(io)? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&line);
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(value) if value.is_object() || value.is_array() => self.add_value(&value),
                _ => self.add(&text),
            }
        }
    }

    fn add_value(&mut self, value: &serde_json::Value) {
        match value {
            serde_json::Value::String(text) => self.add(text),
            serde_json::Value::Array(items) => items.iter().for_each(|item| self.add_value(item)),
            serde_json::Value::Object(map) => map.values().for_each(|item| self.add_value(item)),
            _ => {}
        }
    }

    fn add(&mut self, text: &str) {
        // A text shorter than a window adds none: every mention of a short name would be an overlap.
        self.windows.extend(long_windows(text));
    }

    /// Windows of a text that stand in an evaluation set too.
    pub fn overlap(&self, text: &str) -> u64 {
        if self.windows.is_empty() {
            return 0;
        }
        let found = long_windows(text);
        found
            .iter()
            .filter(|window| self.windows.contains(window))
            .count() as u64
    }
}

/// Hashes of every window of [`WINDOW`] characters of a text without its white space: each is put together from three windows of
/// [`MAX_SHINGLE`] characters, which cover it.
fn long_windows(text: &str) -> Vec<u64> {
    let (mut stripped, mut short) = (String::new(), Vec::new());
    strip(text, &mut stripped);
    let n_chars = windows(&stripped, MAX_SHINGLE, &mut short);
    let last = WINDOW - MAX_SHINGLE;
    let n_windows = (n_chars + 1).saturating_sub(WINDOW);
    let parts = short
        .iter()
        .zip(short.iter().skip(MAX_SHINGLE))
        .zip(short.iter().skip(last));
    let long = parts.map(|((first, second), third)| mix64(mix64(*first, *second), *third));
    long.take(n_windows).collect()
}

/// Runs the stage over every shard.
///
/// # Errors
/// As [`Context::map`].
pub fn run(
    context: &Context<'_>,
    extracted: &[Made],
    measured: &[Made],
    decided: &[Made],
    duplicates: &Made,
    repeated: &Made,
    evaluation: &Evaluation,
) -> Result<Vec<Made>> {
    let config = context.config;
    let settings = (config.mix.max_overlap, config.dedup.min_chars);
    let (twins, stripped_parts) = (parts(duplicates)?, parts(repeated)?);
    context.map(
        STAGE,
        Side::BySide,
        |shard| {
            // Only what concerns this shard: a rule that changes nothing here makes nothing again.
            Ok(KeyHash::new(STAGE)
                .with(extracted[shard].key.as_bytes())
                .with(measured[shard].key.as_bytes())
                .with(decided[shard].key.as_bytes())
                .with(part_hash(&twins, shard))
                .with(part_hash(&stripped_parts, shard))
                .with_json(&settings)
                .with(evaluation.identity.as_bytes())
                .finish())
        },
        |shard, commit| {
            let alive = alive_of(&decided[shard], duplicates, shard)?;
            let left = Left {
                trimmed: signals::trimmed(&measured[shard].folder)?,
                stripped: stripped(&repeated.folder.join(part_name(shard)))?,
            };
            table(config, &extracted[shard], &alive, left, evaluation, commit)
        },
    )
}

/// What is left of the records that lost something.
struct Left {
    /// Parts that failed rules.
    trimmed: Sorted<Trimmed>,
    /// Lines that repeat, with their number; these were taken out of the trimmed text.
    stripped: Sorted<(u64, String)>,
}

impl Left {
    /// Lines taken out of a record and its text, if it is not as it was.
    fn take(&mut self, row: usize) -> Result<Option<(u64, String)>> {
        let trimmed = self.trimmed.take(row)?;
        let stripped = self.stripped.take(row)?;
        Ok(stripped.or_else(|| trimmed.map(|trimmed| (0, trimmed.text))))
    }
}

fn stripped(path: &Path) -> Result<Sorted<(u64, String)>> {
    Sorted::open(path, &lines::COLUMNS, |batch, row| {
        let removed = u64::try_from(batch.int(1, row)).unwrap_or(0);
        (removed, batch.text(2, row).to_string())
    })
}

fn table(
    config: &Config,
    extracted: &Made,
    alive: &[bool],
    mut left: Left,
    evaluation: &Evaluation,
    commit: &DirCommit,
) -> Result<Note> {
    let columns = COLUMNS.map(|(name, kind)| match name {
        "text" | "lines" => Column::long(name),
        _ => Column::new(name, kind),
    });
    let mut writer = Writer::new(commit.file(NAME)?, &commit.path().join(NAME), &columns)?;
    let mut reader = DocReader::open(&extracted.folder)?;
    let mut still_in = blake3::Hasher::new();
    let mut row = 0;
    while let Some(docs) = reader.next_batch()? {
        for doc in docs {
            if alive.get(row) == Some(&true) {
                let done = finish(config, doc, left.take(row)?, evaluation);
                if done.end.is_none() {
                    still_in.update(&(row as u64).to_le_bytes());
                }
                push(&mut writer, row, &done)?;
            }
            row += 1;
        }
    }
    let records = writer.n_rows();
    writer.finish()?.finish()?;
    write_json(
        commit,
        ALIVE_NAME,
        &still_in.finalize().to_hex().to_string(),
    )?;
    Ok(Note {
        records,
        ..Note::default()
    })
}

fn finish(
    config: &Config,
    doc: Doc,
    left: Option<(u64, String)>,
    evaluation: &Evaluation,
) -> Finished {
    let (removed, text) = left.unwrap_or_else(|| (0, doc.text.clone()));
    let mut done = Finished {
        removed,
        lines: moved(&doc, &text),
        ..Finished::default()
    };
    let n_chars = text.chars().filter(|c| !c.is_whitespace()).count() as u64;
    if removed > 0 && n_chars < config.dedup.min_chars {
        done.end = Some((
            "lines".into(),
            "repeated_lines".into(),
            Some(n_chars as f64),
        ));
        return done;
    }
    let overlap = evaluation.overlap(&text);
    if overlap > config.mix.max_overlap {
        let rule = "evaluation_overlap".to_string();
        done.end = Some(("decontaminate".into(), rule, Some(overlap as f64)));
        return done;
    }
    done.text = text;
    done
}

/// How many of the lines that are left stand before each picture. What is left are some of the lines in their order, a few of
/// them shortened.
fn moved(doc: &Doc, left: &str) -> Vec<usize> {
    let mut later: HashMap<&str, usize> = HashMap::new();
    for line in doc.text.lines() {
        *later.entry(line).or_default() += 1;
    }
    let mut left = left.lines().peekable();
    let (mut before, mut n_left) = (vec![0], 0);
    for line in doc.text.lines() {
        if let Some(n) = later.get_mut(line) {
            *n -= 1;
        }
        // What equals no later line and begins like a part of this one is this one, shortened; else this one is gone.
        let is_new = |next: &str| later.get(next).is_none_or(|n| *n == 0);
        let begins_in =
            |next: &str| line.contains(&next.chars().take(BEGINNING).collect::<String>());
        let is_this = |next: &&str| *next == line || (is_new(next) && begins_in(next));
        if left.next_if(is_this).is_some() {
            n_left += 1;
        }
        before.push(n_left);
    }
    let at = |line: usize| before.get(line).copied().unwrap_or(n_left);
    doc.pictures
        .iter()
        .map(|picture| at(picture.line))
        .collect()
}

fn push<W: std::io::Write + Send>(
    writer: &mut Writer<W>,
    row: usize,
    done: &Finished,
) -> Result<()> {
    let lines = serde_json::to_string(&done.lines).unwrap_or_default();
    let (stage, rule, value) = match &done.end {
        Some((stage, rule, value)) => (
            Cell::Text(stage),
            Cell::Text(rule),
            value.map_or(Cell::Null, Cell::Float),
        ),
        None => (Cell::Null, Cell::Null, Cell::Null),
    };
    writer.push(&[
        Cell::Int(row as i64),
        stage,
        rule,
        value,
        Cell::Int(done.removed as i64),
        Cell::Text(&lines),
        Cell::Text(&done.text),
    ])
}

/// The finished records of a shard, met on the way through its records.
///
/// # Errors
/// A table that cannot be read.
pub fn read(folder: &Path) -> Result<Sorted<Finished>> {
    Sorted::open(&folder.join(NAME), &COLUMNS, |batch, row| {
        let end = batch.text_or_none(2, row).map(|rule| {
            let stage = batch.text(1, row).to_string();
            (stage, rule.to_string(), batch.float(3, row))
        });
        Finished {
            end,
            removed: u64::try_from(batch.int(4, row)).unwrap_or(0),
            lines: serde_json::from_str(batch.text(5, row)).unwrap_or_default(),
            text: batch.text(6, row).to_string(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::docs::DocPicture;

    #[test]
    fn pictures_move_with_the_lines() {
        let picture = |line| DocPicture {
            line,
            ..DocPicture::default()
        };
        let doc = Doc {
            text: "甲\n菜单\n乙\n菜单\n丙".into(),
            pictures: vec![picture(0), picture(2), picture(4), picture(5), picture(99)],
            ..Doc::default()
        };
        assert_eq!(moved(&doc, "甲\n乙\n丙"), [0, 1, 2, 3, 3]);
        assert_eq!(moved(&doc, &doc.text), [0, 2, 4, 5, 5]);
        let doc = Doc {
            text: "甲\n菜单\n坏的一句。好的一句。\n丙".into(),
            ..doc
        };
        assert_eq!(moved(&doc, "甲\n好的一句。\n丙"), [0, 1, 3, 3, 3]);
    }

    #[test]
    fn what_stands_in_an_evaluation_set_is_counted_by_windows() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("e.jsonl");
        let lines = "{\"q\": \"世界上最高的山峰是哪一座山峰呢\", \"a\": [\"珠峰\"]}\n今天天气很好我们一起去公园散步吧\n";
        m6_store::atomic::write_file(&path, lines.as_bytes()).expect("written");
        let mut evaluation = Evaluation::default();
        evaluation.read(&path).expect("reads");
        assert_eq!(evaluation.overlap("珠峰"), 0);
        assert_eq!(evaluation.overlap("问：世界上最高的 山峰是哪一座山？"), 1);
        assert_eq!(evaluation.overlap("今天天气很好我们一起去公园散步吧！"), 4);
        assert_eq!(
            Evaluation::default().overlap("今天天气很好我们一起去公园散步吧"),
            0
        );
    }

    #[test]
    fn a_record_of_nothing_but_repeated_lines_ends() {
        let config = Config::default();
        let doc = Doc {
            text: "菜单\n正文".into(),
            ..Doc::default()
        };
        let done = finish(
            &config,
            doc.clone(),
            Some((1, "正文".into())),
            &Evaluation::default(),
        );
        assert_eq!(
            done.end,
            Some(("lines".into(), "repeated_lines".into(), Some(2.0)))
        );
        let done = finish(&config, doc, None, &Evaluation::default());
        assert_eq!((done.end, done.text.as_str()), (None, "菜单\n正文"));
    }
}

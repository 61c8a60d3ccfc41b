//! `eval.json`: what evaluations of a model found, one object a task, with what was said in files beside it.

use crate::error::{Failure, OrFail, Result};
use m6_eval::{Exam, Outcome};
use m6_store::lock::FolderLock;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Name of the record.
pub const EVAL_FILE: &str = "eval.json";
/// Folder of what was said, beside it.
const SAID_DIR: &str = "eval";
const FORMAT_VERSION: u64 = 1;

/// An evaluation to keep.
pub struct Told<'a> {
    /// What was asked and how.
    pub exam: &'a Exam,
    /// What came out.
    pub outcome: &'a Outcome,
    /// The checkpoint.
    pub model: &'a Path,
    /// Its update.
    pub step: Option<u64>,
    /// What `--data` named.
    pub data: &'a str,
}

/// Puts an evaluation into the record of `dir`, over the earlier one of its task; another evaluation that does so waits, and none is lost.
pub fn keep(dir: &Path, told: &Told<'_>) -> Result<()> {
    let path = dir.join(EVAL_FILE);
    let said = dir.join(SAID_DIR);
    std::fs::create_dir_all(&said)
        .map_err(|e| Failure::usage(format!("cannot make {}: {e}", said.display())))?;
    let _alone = FolderLock::wait(&said).or_usage()?;
    let mut tasks = match path.is_file() {
        true => read(&path)?,
        false => Map::new(),
    };
    let (exam, outcome) = (told.exam, told.outcome);
    let name = exam.task.name();
    let file = |side: &str| format!("{SAID_DIR}/{name}.{side}.jsonl");
    let files = [
        ("references", &outcome.references),
        ("candidates", &outcome.candidates),
    ];
    for (side, bytes) in files {
        super::write_file(&dir.join(file(side)), bytes)?;
    }
    tasks.insert(
        name.to_owned(),
        json!({
            "task": name, "n": outcome.n, "scores": outcome.scores, "intervals": outcome.intervals,
            "control": outcome.control, "settings": exam.settings, "model": told.model.display().to_string(), "step": told.step,
            "data": told.data, "unreadable": exam.items.bad.len(),
            "references": file("references"), "candidates": file("candidates"),
        }),
    );
    let record = json!({"format_version": FORMAT_VERSION, "tasks": tasks});
    let text = serde_json::to_string_pretty(&record).or_usage()?;
    super::write_file(&path, format!("{text}\n").as_bytes())
}

/// The evaluations of a record by task.
pub fn read(path: &Path) -> Result<Map<String, Value>> {
    let bytes = std::fs::read(path)
        .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?;
    let mut record: Value = serde_json::from_slice(&bytes)
        .map_err(|e| Failure::data(format!("{}: {e}", path.display())))?;
    let version = record["format_version"].as_u64();
    match (version, record["tasks"].take()) {
        (Some(1..=FORMAT_VERSION), Value::Object(tasks)) => Ok(tasks),
        _ => Err(Failure::data(format!(
            "{}: expected a record of `m6 eval` with format_version up to {FORMAT_VERSION} and tasks",
            path.display()
        ))),
    }
}

/// The record that a path names: the file, or the folder it is in.
pub fn locate(path: &Path) -> PathBuf {
    match path.is_dir() {
        true => path.join(EVAL_FILE),
        false => path.to_path_buf(),
    }
}

//! What a prepared folder says about itself: `data.json` and the card.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::DataConfig;
use crate::error::{Error, Result};

/// Version of the folder that this crate writes.
pub const FORMAT_VERSION: u32 = 1;

/// Name of the description inside the folder (`MANIFEST.json` beside it holds names, sizes and hashes).
pub const MANIFEST_FILE: &str = "data.json";

/// The two sides of the split.
pub const SPLITS: [&str; 2] = ["train", "held_out"];

/// Everything `prepare` found and wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the folder.
    pub format_version: u32,
    /// The configuration, as used.
    pub config: DataConfig,
    /// Hash of the configuration without `root`, so that moved data gives the same hash.
    pub config_hash: String,
    /// Hash of `tokenizer.json`.
    pub tokenizer_hash: String,
    /// Entries of the vocabulary.
    pub vocab_size: usize,
    /// Side of the stored pictures in pixels.
    pub image_side: usize,
    /// Patches per side.
    pub grid: usize,
    /// One report a source, in the order of the configuration.
    pub sources: Vec<SourceReport>,
}

/// What `prepare` returns: the same as it wrote.
pub type Summary = Manifest;

/// What one source gave; the first columns are those of paper section 1.1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceReport {
    /// Name.
    pub name: String,
    /// `text` or `image+text`.
    pub modality: String,
    /// Pictures kept.
    pub images: u64,
    /// Tokens of all passages.
    pub tokens: u64,
    /// Passages: texts, captions, questions and answers.
    pub passages: u64,
    /// Tokens a passage.
    pub avg_length: f64,
    /// Licence as configured.
    pub licence: String,
    /// Records seen: kept, quarantined and skipped together.
    pub records_in: u64,
    /// Records kept.
    pub records: u64,
    /// Records in the quarantine.
    pub quarantined: u64,
    /// Of the kept records, those kept out of training.
    pub held_out: u64,
    /// Pictures that could not be used though their record was kept; each has a quarantine line.
    pub bad_pictures: u64,
    /// Quarantine lines by reason.
    pub bad: BTreeMap<String, u64>,
    /// Records and pictures that a rule passed over, by rule.
    pub skipped: BTreeMap<String, u64>,
    /// Pictures of kept records beyond `max_images`.
    pub pictures_beyond_max: u64,
    /// Pieces of kept texts that became no token (a caption of control characters, say).
    pub empty_passages: u64,
    /// Row tables by task.
    pub tasks: BTreeMap<String, TaskReport>,
}

/// The rows of one task of one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// By split: `train`, `held_out`.
    pub splits: BTreeMap<String, RowReport>,
    /// Things that were cut to fit, by rule.
    pub cuts: BTreeMap<String, u64>,
}

/// One row table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowReport {
    /// Rows.
    pub rows: u64,
    /// Examples in them.
    pub examples: u64,
    /// Positions the examples take at most.
    pub positions: u64,
    /// `positions` over `rows * row_len`.
    pub fill: f64,
}

impl SourceReport {
    /// Records skipped by rules.
    pub fn n_skipped(&self) -> u64 {
        self.skipped.values().sum()
    }
}

impl Manifest {
    /// Reads the description of a prepared folder.
    ///
    /// # Errors
    /// No such file, not what this crate writes, or a newer version.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST_FILE);
        let bytes = std::fs::read(&path).map_err(|cause| Error::io(&path, cause))?;
        let damaged = |detail: String| Error::Damaged {
            place: path.display().to_string(),
            detail,
        };
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let version = value
            .get("format_version")
            .and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(FORMAT_VERSION)) {
            return Err(damaged(format!(
                "format_version is {version:?}, this build reads {FORMAT_VERSION}"
            )));
        }
        let manifest: Manifest =
            serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        let problems = manifest.config.validate();
        match problems.is_empty() {
            true => Ok(manifest),
            false => Err(damaged(problems.join("; "))),
        }
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The card of the folder, in Markdown.
    pub fn card(&self) -> String {
        let mut out = String::from(
            "# Prepared data\n\nMade by `m6 prepare`; `data.json` holds the configuration and every count.\n\n\
             | source | modality | images | tokens | passages | avg length | records | held out | quarantined | skipped | licence |\n\
             |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|\n",
        );
        for source in &self.sources {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {:.1} | {} | {} | {} | {} | {} |",
                source.name,
                source.modality,
                source.images,
                source.tokens,
                source.passages,
                source.avg_length,
                source.records,
                source.held_out,
                source.quarantined,
                source.n_skipped(),
                source.licence.replace('|', "\\|"),
            );
        }
        out.push_str(
            "\n| source | task | split | rows | examples | fill |\n|---|---|---|---:|---:|---:|\n",
        );
        for source in &self.sources {
            for (task, report) in &source.tasks {
                for (split, rows) in &report.splits {
                    let _ = writeln!(
                        out,
                        "| {} | {task} | {split} | {} | {} | {:.3} |",
                        source.name, rows.rows, rows.examples, rows.fill
                    );
                }
            }
        }
        out
    }
}

//! The life of one record, looked up in a finished corpus.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::ledger::{self, Row};
use crate::table::{Kind, Reader};
use crate::{Error, Result};

/// Records of one name that are told at most; an address may have been crawled often.
const MOST: usize = 100;

/// A record and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Life {
    /// Its name.
    pub record_id: String,
    /// Its address; may be empty.
    pub url: String,
    /// Its source.
    pub source: String,
    /// Its headline.
    pub title: String,
    /// `kept`, `dropped`, `refused`, `damaged` or `skipped`.
    pub fate: String,
    /// The record that is kept instead of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<String>,
    /// Every step, its pictures' too, in order.
    pub steps: Vec<Row>,
}

/// The columns looked at, in order.
const COLUMNS: [(&str, Kind); 7] = [
    ("record_id", Kind::Text),
    ("url", Kind::Text),
    ("source", Kind::Text),
    ("title", Kind::Text),
    ("fate", Kind::Text),
    ("number", Kind::Int),
    ("duplicate_of", Kind::Int),
];

/// The lives of the records with this name or address, in order of the build.
///
/// # Errors
/// [`Error::Damaged`] for a folder that is no finished corpus, and tables that cannot be read.
pub fn why(out: &Path, name: &str) -> Result<Vec<Life>> {
    let mut lives = Vec::new();
    let mut twins: Vec<(usize, i64)> = Vec::new();
    for path in tables(out, "records")? {
        let first = lives.len();
        each(&path, |batch, row| {
            let is_it = batch.text(0, row) == name || batch.text(1, row) == name;
            if is_it && lives.len() < MOST {
                if batch.number(6, row).is_some() {
                    twins.push((lives.len(), batch.int(6, row)));
                }
                let text = |column| batch.text(column, row).to_string();
                lives.push(Life {
                    record_id: text(0),
                    url: text(1),
                    source: text(2),
                    title: text(3),
                    fate: text(4),
                    ..Life::default()
                });
            }
        })?;
        if lives.len() > first {
            let file = path.file_name().unwrap_or_default();
            steps(&out.join("ledger").join(file), &mut lives[first..])?;
        }
    }
    name_twins(out, &twins, &mut lives)?;
    Ok(lives)
}

/// The tables of a folder of a finished corpus, in order.
pub(super) fn tables(out: &Path, folder: &str) -> Result<Vec<PathBuf>> {
    let Some(manifest) = super::publish::finished(out) else {
        return Err(Error::Damaged {
            path: out.to_owned(),
            problem: "this is no finished corpus; `m6 corpus build` makes one".to_string(),
        });
    };
    let files = manifest.files.into_iter().map(|file| file.name);
    let of_folder = files.filter(|name| name.starts_with(folder) && name.ends_with(".parquet"));
    Ok(of_folder.map(|name| out.join(name)).collect())
}

fn each(path: &Path, mut take: impl FnMut(&crate::table::Batch, usize)) -> Result<()> {
    let mut reader = Reader::open(path, &COLUMNS)?;
    while let Some(batch) = reader.next_batch()? {
        for row in 0..batch.n_rows() {
            take(&batch, row);
        }
    }
    Ok(())
}

/// Adds the steps of a ledger file to the records they are of.
fn steps(path: &Path, lives: &mut [Life]) -> Result<()> {
    ledger::read(path, |row| {
        for life in lives.iter_mut() {
            let rest = row.record_id.strip_prefix(&life.record_id);
            let is_picture = |rest: &str| {
                let place = rest.strip_prefix('#').unwrap_or_default();
                !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit())
            };
            if rest.is_some_and(|rest| rest.is_empty() || is_picture(rest)) {
                life.steps.push(row.clone());
            }
        }
        Ok(())
    })
}

/// Puts names to the numbers of the records that are kept instead.
fn name_twins(out: &Path, twins: &[(usize, i64)], lives: &mut [Life]) -> Result<()> {
    if twins.is_empty() {
        return Ok(());
    }
    for path in tables(out, "records")? {
        each(&path, |batch, row| {
            if batch.number(5, row).is_none() {
                return;
            }
            let number = batch.int(5, row);
            for (at, _) in twins.iter().filter(|(_, kept)| *kept == number) {
                if let Some(life) = lives.get_mut(*at) {
                    life.duplicate_of = Some(batch.text(0, row).to_string());
                }
            }
        })?;
    }
    Ok(())
}

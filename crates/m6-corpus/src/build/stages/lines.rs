//! Lines that many records of one host repeat: menus, notices, signatures.

use m6_store::atomic::DirCommit;

use super::super::context::{Context, Made, remove_spill, spill_folder};
use super::super::docs;
use super::super::work::{KeyHash, Note, Stage};
use super::{decide, duplicates, part_name, rows, signals};
use crate::Result;
use crate::table::{Cell, Column, Kind, Writer};
use m6_clean::dedup::lines::{Counter, Options, Repeated};

/// Finding and taking out repeated lines.
pub const STAGE: Stage = Stage {
    name: "lines",
    version: 1,
};
/// Columns of a part: the records of a shard that lose lines, in order of row, with what is left of them.
pub const COLUMNS: [(&str, Kind); 3] = [
    ("row", Kind::Int),
    ("removed", Kind::Int),
    ("text", Kind::Text),
];

/// Which records of a shard passed the rules and are no duplicates, in order of row.
///
/// # Errors
/// Tables that cannot be read.
pub fn alive_of(decided: &Made, duplicates: &Made, shard: usize) -> Result<Vec<bool>> {
    let mut alive = Vec::new();
    rows(
        &decided.folder.join(decide::NAME),
        &decide::COLUMNS[..1],
        |batch, row| {
            alive.push(batch.flag(0, row));
            Ok(())
        },
    )?;
    let part = duplicates.folder.join(part_name(shard));
    rows(&part, &duplicates::COLUMNS[..1], |batch, row| {
        let twin = usize::try_from(batch.int(0, row)).unwrap_or(usize::MAX);
        if let Some(alive) = alive.get_mut(twin) {
            *alive = false;
        }
        Ok(())
    })?;
    Ok(alive)
}

/// Runs the stage.
///
/// # Errors
/// Tables that cannot be read, a full disk.
pub fn run(
    context: &Context<'_>,
    extracted: &[Made],
    measured: &[Made],
    decided: &[Made],
    duplicates: &Made,
) -> Result<Made> {
    let input = Input {
        extracted,
        measured,
        decided,
        duplicates,
    };
    let repeats = context.config.dedup.line_repeats;
    let key = KeyHash::new(STAGE)
        .with(duplicates.key.as_bytes())
        .with_json(&repeats);
    context.reduce(STAGE, key.finish(), |commit| {
        if repeats == 0 {
            return Ok(Note::default());
        }
        let spill = spill_folder(commit)?;
        let counter = Counter::new(Options {
            min_documents: repeats.max(2),
            memory: context.config.sort_bytes(),
            spill,
            ..Options::default()
        })?;
        let repeated = count(counter, &input)?;
        remove_spill(commit)?;
        let records = take_out(&repeated, &input, commit)?;
        Ok(Note {
            records,
            ..Note::default()
        })
    })
}

/// What the stage looks at.
struct Input<'a> {
    extracted: &'a [Made],
    measured: &'a [Made],
    decided: &'a [Made],
    duplicates: &'a Made,
}

impl Input<'_> {
    /// Calls `take` with shard, row, number, host and text of every record that is still in and has a host.
    fn each(
        &self,
        mut take: impl FnMut(usize, usize, u32, &str, &str) -> Result<()>,
    ) -> Result<()> {
        let mut number = 0u32;
        for (shard, made) in self.extracted.iter().enumerate() {
            let alive = alive_of(&self.decided[shard], self.duplicates, shard)?;
            let mut trimmed = signals::trimmed(&self.measured[shard].folder)?;
            let mut row = 0;
            docs::visit(&made.folder, ["host", "text"], |[host, text]| {
                let left = trimmed.take(row)?;
                let text = left.as_ref().map_or(text, |left| &left.text);
                if alive.get(row) == Some(&true) && !host.is_empty() {
                    take(shard, row, number, host, text)?;
                }
                row += 1;
                number += 1;
                Ok(())
            })?;
        }
        Ok(())
    }
}

fn count(mut counter: Counter, input: &Input<'_>) -> Result<Repeated> {
    input.each(|_, _, number, host, text| counter.add(number, host, text))?;
    counter.finish()
}

/// Writes what is left of the records that lose lines; gives their number.
fn take_out(repeated: &Repeated, input: &Input<'_>, commit: &DirCommit) -> Result<u64> {
    if repeated.is_empty() {
        return Ok(0);
    }
    let columns = COLUMNS.map(|(name, kind)| match name {
        "text" => Column::long(name),
        _ => Column::new(name, kind),
    });
    let mut open: Option<(usize, Writer<m6_store::atomic::FileWriter>)> = None;
    let mut n_records = 0;
    input.each(|shard, row, number, host, text| {
        let (left, removed) = repeated.strip(number, host, text);
        if removed == 0 {
            return Ok(());
        }
        if open.as_ref().is_none_or(|(at, _)| *at != shard) {
            if let Some((_, writer)) = open.take() {
                writer.finish()?.finish()?;
            }
            let name = part_name(shard);
            let file = commit.file(&name)?;
            open = Some((
                shard,
                Writer::new(file, &commit.path().join(&name), &columns)?,
            ));
        }
        n_records += 1;
        match &mut open {
            Some((_, writer)) => writer.push(&[
                Cell::Int(row as i64),
                Cell::Int(removed as i64),
                Cell::Text(&left),
            ]),
            None => Ok(()),
        }
    })?;
    if let Some((_, writer)) = open {
        writer.finish()?.finish()?;
    }
    Ok(n_records)
}

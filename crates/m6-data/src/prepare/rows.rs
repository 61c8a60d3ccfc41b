//! Row tables: which parts of which records stand together in a row.

use std::path::Path;

use m6_store::blobs::BlobWriter;
use m6_store::rng::Key;

use crate::entry::Entry;
use crate::error::Result;
use crate::manifest::{RowReport, SPLITS, TaskReport};
use crate::pack::pack;
use crate::tasks::{self, Layout, Plan};

/// Bytes of one example in a row: record (u64), `a` and `b` of the item, and the positions it takes (u32 each).
pub const ITEM_BYTES: usize = 20;

/// The examples of one task, gathered while records are read.
#[derive(Default)]
struct Side {
    lengths: Vec<u32>,
    /// (record, a, b) of each.
    parts: Vec<(u64, u32, u32)>,
}

/// The examples of one task of one source.
pub(super) struct Table {
    task: usize,
    plan: Plan,
    /// Train, held out.
    sides: [Side; 2],
}

impl Table {
    pub(super) fn new(task: usize) -> Self {
        Self {
            task,
            plan: Plan::default(),
            sides: Default::default(),
        }
    }

    /// Adds the examples of a record.
    pub(super) fn add(&mut self, record: u64, held_out: bool, entry: &Entry, layout: &Layout) {
        tasks::all()[self.task].items(entry, layout, &mut self.plan);
        let side = &mut self.sides[usize::from(held_out)];
        for item in self.plan.items.drain(..) {
            side.lengths.push(item.len);
            side.parts.push((record, item.a, item.b));
        }
    }

    /// Packs both splits and writes their tables; gives the name of the task and the counts.
    pub(super) fn write(
        self,
        dir: &Path,
        key: Key,
        row_len: usize,
    ) -> Result<(String, TaskReport)> {
        let name = tasks::NAMES[self.task];
        let mut report = TaskReport {
            cuts: self
                .plan
                .cuts
                .iter()
                .map(|(rule, n)| (rule.to_string(), *n))
                .collect(),
            ..TaskReport::default()
        };
        for (side, split) in self.sides.iter().zip(SPLITS) {
            let rows = pack(&side.lengths, row_len, key.child(name).child(split));
            let mut writer = BlobWriter::create(&dir.join(format!("rows-{name}-{split}")))?;
            for row in &rows {
                let mut bytes = Vec::with_capacity(row.len() * ITEM_BYTES);
                for &example in row {
                    let (record, a, b) = side.parts[example as usize];
                    bytes.extend(record.to_le_bytes());
                    let numbers = [a, b, side.lengths[example as usize]];
                    bytes.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
                }
                writer.append(&bytes)?;
            }
            writer.finish()?;
            let positions = side.lengths.iter().map(|&len| u64::from(len)).sum::<u64>();
            let capacity = (rows.len() * row_len).max(1);
            let rows = RowReport {
                rows: rows.len() as u64,
                examples: side.lengths.len() as u64,
                positions,
                fill: positions as f64 / capacity as f64,
            };
            report.splits.insert(split.to_string(), rows);
        }
        Ok((name.to_string(), report))
    }
}

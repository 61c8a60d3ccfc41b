//! What moved between two builds: which records have another fate, and examples of them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use m6_store::hash::hash64;
use serde::Serialize;

use super::why::tables;
use crate::Result;
use crate::table::{Kind, Reader};
use m6_clean::dedup::sort::Sorter;

/// Bytes held while the records of both builds are sorted.
const MEMORY: usize = 256 << 20;
/// The columns looked at, in order.
const COLUMNS: [(&str, Kind); 5] = [
    ("record_id", Kind::Text),
    ("fate", Kind::Text),
    ("rule", Kind::Text),
    ("title", Kind::Text),
    ("value", Kind::Float),
];
/// The fate of a record that a build does not have.
const ABSENT: &str = "absent";

/// Records that went one way in the first build and another in the second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Moved {
    /// Fate in the first build, with the rule that dropped it.
    pub from: String,
    /// Fate in the second build.
    pub to: String,
    /// How many.
    pub count: u64,
    /// Some of them.
    pub examples: Vec<Example>,
}

/// A record that moved.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Example {
    /// Its name.
    pub record_id: String,
    /// Its headline.
    pub title: String,
    /// What the deciding rule measured, in the build that dropped it.
    pub value: Option<f64>,
}

/// Two builds compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Difference {
    /// Records of the same fate, by fate.
    pub same: BTreeMap<String, u64>,
    /// The others, the most frequent first.
    pub moved: Vec<Moved>,
}

/// Compares two finished corpora record by record, with at most `n_examples` of each move.
///
/// # Errors
/// [`crate::Error::Damaged`] for a folder that is no finished corpus, tables that cannot be read, a full temporary folder.
pub fn compare(first: &Path, second: &Path, n_examples: usize) -> Result<Difference> {
    let mut fates = Fates::default();
    let spill = std::env::temp_dir();
    let mut sorter = Sorter::<(u64, u32, u32)>::new(&spill, MEMORY);
    for (side, out) in [first, second].into_iter().enumerate() {
        each(out, |id, fate, _, _| {
            let code = fates.code(fate);
            sorter.push((hash64(id.as_bytes()), side as u32, code))
        })?;
    }
    let mut counts: BTreeMap<(u32, u32), (u64, Vec<u64>)> = BTreeMap::new();
    let absent = fates.code(ABSENT);
    let mut add = |hash: u64, pair: [Option<u32>; 2]| {
        let pair = (pair[0].unwrap_or(absent), pair[1].unwrap_or(absent));
        let known = counts.entry(pair).or_default();
        known.0 += 1;
        if known.1.len() < n_examples && pair.0 != pair.1 {
            known.1.push(hash);
        }
    };
    let mut open: Option<(u64, [Option<u32>; 2])> = None;
    for record in sorter.finish()? {
        let (hash, side, code) = record?;
        match &mut open {
            Some((same, pair)) if *same == hash => pair[side as usize] = Some(code),
            _ => {
                let mut pair = [None; 2];
                pair[side as usize] = Some(code);
                if let Some((hash, pair)) = open.replace((hash, pair)) {
                    add(hash, pair);
                }
            }
        }
    }
    if let Some((hash, pair)) = open {
        add(hash, pair);
    }
    difference(first, second, &fates, counts)
}

fn difference(
    first: &Path,
    second: &Path,
    fates: &Fates,
    counts: BTreeMap<(u32, u32), (u64, Vec<u64>)>,
) -> Result<Difference> {
    let wanted = counts
        .values()
        .flat_map(|(_, hashes)| hashes.iter().copied());
    let mut found: HashMap<u64, Example> = wanted.map(|hash| (hash, Example::default())).collect();
    for out in [first, second] {
        each(out, |id, _, title, value| {
            if let Some(example) = found.get_mut(&hash64(id.as_bytes())) {
                example.record_id = id.to_string();
                example.title = title.to_string();
                example.value = value.or(example.value);
            }
            Ok(())
        })?;
    }
    let mut out = Difference::default();
    for ((from, to), (count, hashes)) in counts {
        if from == to {
            out.same.insert(fates.name(from), count);
            continue;
        }
        let examples = hashes.iter().filter_map(|hash| found.get(hash).cloned());
        out.moved.push(Moved {
            from: fates.name(from),
            to: fates.name(to),
            count,
            examples: examples.collect(),
        });
    }
    out.moved.sort_by(|a, b| {
        b.count
            .cmp(&a.count)
            .then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to)))
    });
    Ok(out)
}

/// Calls `take` with name, fate, title and value of every record of a corpus.
fn each(
    out: &Path,
    mut take: impl FnMut(&str, &str, &str, Option<f64>) -> Result<()>,
) -> Result<()> {
    for path in tables(out, "records")? {
        let mut reader = Reader::open(&path, &COLUMNS)?;
        while let Some(batch) = reader.next_batch()? {
            for row in 0..batch.n_rows() {
                let (fate, rule) = (batch.text(1, row), batch.text(2, row));
                let whole = match rule.is_empty() {
                    true => fate.to_string(),
                    false => format!("{fate} by {rule}"),
                };
                take(
                    batch.text(0, row),
                    &whole,
                    batch.text(3, row),
                    batch.float(4, row),
                )?;
            }
        }
    }
    Ok(())
}

/// Fates by number, so that they can be sorted.
#[derive(Default)]
struct Fates {
    codes: HashMap<String, u32>,
    names: Vec<String>,
}

impl Fates {
    fn code(&mut self, fate: &str) -> u32 {
        if let Some(code) = self.codes.get(fate) {
            return *code;
        }
        let code = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.codes.insert(fate.to_string(), code);
        self.names.push(fate.to_string());
        code
    }

    fn name(&self, code: u32) -> String {
        self.names.get(code as usize).cloned().unwrap_or_default()
    }
}

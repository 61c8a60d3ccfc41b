//! A source of which only listed records are taken.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use super::lines::Lines;
use super::pictures::stem;
use crate::record::{BadRecord, Record, Source};

/// Passes on records whose identity is in a list.
pub(super) struct Listed {
    inner: Box<dyn Source>,
    wanted: HashSet<String>,
    faults: std::vec::IntoIter<BadRecord>,
    n_others: u64,
}

impl Listed {
    /// Reads the lists, an identity a line; the extension of a picture does not count.
    pub(super) fn new(inner: Box<dyn Source>, lists: Vec<PathBuf>) -> Self {
        let (mut wanted, mut faults) = (HashSet::new(), Vec::new());
        let mut lines = Lines::new(lists);
        while let Some(line) = lines.next() {
            match line {
                Ok(line) => match std::str::from_utf8(line.bytes) {
                    Ok(id) => {
                        wanted.insert(stem(id.trim()).to_string());
                    }
                    Err(error) => {
                        faults.push(BadRecord::new(line.place(), "utf8", error, line.bytes));
                    }
                },
                Err(bad) => faults.push(bad),
            }
        }
        Self {
            inner,
            wanted,
            faults: faults.into_iter(),
            n_others: 0,
        }
    }
}

impl Source for Listed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn next(&mut self) -> Option<std::result::Result<Record, BadRecord>> {
        if let Some(fault) = self.faults.next() {
            return Some(Err(fault));
        }
        loop {
            match self.inner.next()? {
                Ok(record) if !self.wanted.contains(stem(&record.id)) => self.n_others += 1,
                item => return Some(item),
            }
        }
    }

    fn skipped(&self) -> BTreeMap<String, u64> {
        let mut out = self.inner.skipped();
        if self.n_others > 0 {
            out.insert("not_listed".to_string(), self.n_others);
        }
        out
    }
}

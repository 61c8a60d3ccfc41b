//! Pairs of title and verse as questions that ask for the verse.

use std::collections::BTreeMap;

use m6_text::verse::{Ask, Verse};

use crate::record::{BadRecord, Qa, Record, Source};

/// The records of a source with their pairs posed.
pub(super) struct Verses {
    inner: Box<dyn Source>,
    n_other: u64,
}

impl Verses {
    pub(super) fn new(inner: Box<dyn Source>) -> Self {
        Self { inner, n_other: 0 }
    }
}

/// The two questions for a verse, its lines ended by `，` and `。`; none for what is no verse of equal lines.
fn posed(pair: &Qa) -> Vec<Qa> {
    let Some(verse) = Verse::parse(&pair.answer) else {
        return Vec::new();
    };
    let first = verse.lines.first().map_or("", String::as_str);
    let asks = [Ask::Title(pair.question.trim()), Ask::FirstLine(first)];
    let pose = |ask| Qa {
        question: verse.shape.ask(ask),
        answer: verse.text(),
        kind: None,
        choices: Vec::new(),
    };
    asks.map(pose).to_vec()
}

impl Source for Verses {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn next(&mut self) -> Option<std::result::Result<Record, BadRecord>> {
        loop {
            let mut record = match self.inner.next()? {
                Ok(record) => record,
                bad => return Some(bad),
            };
            record.qa = record.qa.iter().flat_map(posed).collect();
            if record.qa.is_empty() && record.text.is_none() && record.captions.is_empty() {
                self.n_other += 1;
                continue;
            }
            return Some(Ok(record));
        }
    }

    fn skipped(&self) -> BTreeMap<String, u64> {
        let mut out = self.inner.skipped();
        if self.n_other > 0 {
            out.insert("no_verse_of_equal_lines".to_string(), self.n_other);
        }
        out
    }
}

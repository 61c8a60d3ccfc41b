//! Lines that many documents of one host repeat: menus, notices, signatures (as in OBELICS and CCNet; ours in the details).
//!
//! Two passes: [`Counter`] is shown every document, [`Repeated`] then takes the repeated lines out of each.

use std::collections::HashMap;
use std::path::PathBuf;

use m6_store::hash::hash64;

use super::shingle;
use super::sort::Sorter;
use crate::{Error, Result};

/// When a line counts as repeated.
#[derive(Clone, Debug)]
pub struct Options {
    /// Documents of one host that must hold the line, at least 2.
    pub min_documents: u32,
    /// Shortest line that is looked at, in characters but white space.
    pub min_chars: usize,
    /// Whether the first document that holds a repeated line keeps it.
    pub keep_first: bool,
    /// Bytes for sorting; the repeated lines themselves take about 20 bytes each beside it.
    pub memory: usize,
    /// Folder of the temporary files.
    pub spill: PathBuf,
}

impl Default for Options {
    /// Three documents, any line, no copy kept, 512 MB, the system's temporary folder.
    fn default() -> Self {
        Self {
            min_documents: 3,
            min_chars: 1,
            keep_first: false,
            memory: 512_000_000,
            spill: std::env::temp_dir(),
        }
    }
}

/// Counts in how many documents of a host each line stands.
pub struct Counter {
    options: Options,
    lines: Sorter<(u64, u32)>,
    stripped: String,
}

/// The lines found to be repeated.
pub struct Repeated {
    options: Options,
    /// Key of a line and the first document that holds it.
    lines: HashMap<u64, u32>,
}

impl Counter {
    /// A counter that has seen nothing.
    ///
    /// # Errors
    /// [`Error::Config`] when lines of a single document would count as repeated.
    pub fn new(options: Options) -> Result<Self> {
        if options.min_documents < 2 {
            let n = options.min_documents;
            return Err(Error::Config(format!(
                "min_documents {n}: a line is repeated from 2 documents on"
            )));
        }
        Ok(Self {
            lines: Sorter::new(&options.spill, options.memory),
            options,
            stripped: String::new(),
        })
    }

    /// Takes in one document, whose number must be its own; an empty host is a host like others.
    ///
    /// # Errors
    /// Temporary files cannot be written.
    pub fn add(&mut self, document: u32, host: &str, text: &str) -> Result<()> {
        for line in text.lines() {
            if let Some(key) = key(host, line, self.options.min_chars, &mut self.stripped) {
                self.lines.push((key, document))?;
            }
        }
        Ok(())
    }

    /// The lines that enough documents hold.
    ///
    /// # Errors
    /// Temporary files cannot be read.
    pub fn finish(self) -> Result<Repeated> {
        let mut lines = HashMap::new();
        // Key, first document and number of documents of the line being counted. A line of one document was kept once by the sorter.
        let mut current: Option<(u64, u32, u32)> = None;
        for record in self.lines.finish()? {
            let (key, document) = record?;
            match &mut current {
                Some((same, first, n)) if *same == key => {
                    *n = n.saturating_add(1);
                    if *n == self.options.min_documents {
                        lines.insert(key, *first);
                    }
                }
                _ => current = Some((key, document, 1)),
            }
        }
        Ok(Repeated {
            options: self.options,
            lines,
        })
    }
}

impl Repeated {
    /// How many lines are repeated, each counted once a host.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether no line is.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The text without its repeated lines, and how many were taken out; other lines keep their order and are joined by newlines.
    pub fn strip(&self, document: u32, host: &str, text: &str) -> (String, usize) {
        let (mut kept, mut n_lines, mut n_kept) = (String::with_capacity(text.len()), 0, 0);
        let mut stripped = String::new();
        for line in text.lines() {
            n_lines += 1;
            let key = key(host, line, self.options.min_chars, &mut stripped);
            let first = key.and_then(|key| self.lines.get(&key));
            if first.is_some_and(|first| !self.options.keep_first || *first != document) {
                continue;
            }
            if n_kept > 0 {
                kept.push('\n');
            }
            n_kept += 1;
            kept.push_str(line);
        }
        (kept, n_lines - n_kept)
    }
}

/// What stands for a line of a host; `None` for one that is too short to look at.
fn key(host: &str, line: &str, min_chars: usize, stripped: &mut String) -> Option<u64> {
    shingle::strip(line, stripped);
    if stripped.chars().take(min_chars.max(1)).count() < min_chars.max(1) {
        return None;
    }
    // The line has no white space, so the pair can be told from every other.
    stripped.push('\n');
    stripped.push_str(host);
    Some(hash64(stripped.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: [(&str, &str); 5] = [
        ("a.cn", "首页 | 论坛\n今天下雨。\n\n版权所有"),
        ("a.cn", "首页|论坛\n明天放晴。\n版权所有"),
        ("b.cn", "首页 | 论坛\n版权所有"),
        (
            "a.cn",
            "  首页 |\u{3000}论坛\r\n后天有风。\n后天有风。\n后天有风。\n版权所有 2",
        ),
        ("a.cn", "版权所有"),
    ];

    fn strip(options: Options) -> Vec<(String, usize)> {
        let mut counter = Counter::new(options).unwrap();
        for (i, (host, text)) in PAGES.iter().enumerate() {
            counter.add(i as u32, host, text).unwrap();
        }
        let repeated = counter.finish().unwrap();
        let pages = PAGES.iter().enumerate();
        pages
            .map(|(i, (host, text))| repeated.strip(i as u32, host, text))
            .collect()
    }

    fn check(options: Options, expected: [(&str, usize); 5]) {
        let expected: Vec<(String, usize)> = expected.map(|(text, n)| (text.to_string(), n)).into();
        assert_eq!(strip(options), expected);
    }

    #[test]
    fn lines_of_three_documents_of_one_host_go() {
        check(
            Options::default(),
            [
                ("今天下雨。\n", 2),
                ("明天放晴。", 2),
                ("首页 | 论坛\n版权所有", 0),
                ("后天有风。\n后天有风。\n后天有风。\n版权所有 2", 1),
                ("", 1),
            ],
        );
    }

    #[test]
    fn the_first_may_keep_them_and_short_lines_may_stay() {
        let options = Options {
            keep_first: true,
            min_chars: 5,
            ..Options::default()
        };
        check(
            options,
            [
                (PAGES[0].1, 0),
                ("明天放晴。\n版权所有", 1),
                (PAGES[2].1, 0),
                ("后天有风。\n后天有风。\n后天有风。\n版权所有 2", 1),
                ("版权所有", 0),
            ],
        );
    }

    #[test]
    fn one_document_is_no_repetition() {
        let options = Options {
            min_documents: 1,
            ..Options::default()
        };
        assert!(Counter::new(options).is_err());
        let nothing = Counter::new(Options::default()).unwrap().finish().unwrap();
        assert!(nothing.is_empty());
    }
}

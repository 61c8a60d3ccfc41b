//! Word lists and host lists: the user's data, searched in one pass (ours; the paper names such lists but gives none).
//!
//! A list belongs to a tier, and rules speak of tiers: 1 for entries whose mere presence condemns a sentence, 2 for entries that are
//! bad in number, 3 for weak hints such as the vocabulary of advertisements. Every list is named in the manifest with its hash.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};

use super::split;
use crate::{Error, Result};

/// Number of tiers.
pub const N_TIERS: usize = 3;
/// The longest list file, in bytes.
pub const MAX_LIST_BYTES: u64 = 64 << 20;
/// The longest entry, in characters; longer lines are counted as ignored.
pub const MAX_ENTRY_CHARS: usize = 256;
/// The most matches looked at in one text; a text with more has long lost its case.
pub const MAX_MATCHES: usize = 100_000;

/// Entries of fewer bytes together become a table of all steps, some 1 kB a byte; more of them a smaller automaton, which is
/// several times slower.
const MAX_TABLE_BYTES: usize = 32 << 10;

/// What the entries of a list are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Words and phrases looked for in texts.
    #[default]
    Words,
    /// Host names; an entry also stands for every host below it.
    Hosts,
}

/// A list as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListSource {
    /// The name in reports and in the manifest.
    pub name: String,
    /// UTF-8, one entry a line; empty lines and lines that begin with `#` are skipped.
    pub path: PathBuf,
    /// 1, 2 or 3; without meaning for hosts.
    #[serde(default = "first_tier")]
    pub tier: u8,
    /// Words or hosts.
    #[serde(default)]
    pub kind: Kind,
    /// Entries with fewer characters are ignored; 2 by default, since single characters such as 性 or 奶 are everyday Chinese.
    #[serde(default = "two_chars")]
    pub min_chars: usize,
}

fn first_tier() -> u8 {
    1
}

fn two_chars() -> usize {
    2
}

/// A list as it was loaded: a line of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFile {
    /// The name given in the configuration.
    pub name: String,
    /// Words or hosts.
    pub kind: Kind,
    /// The tier, 1 to 3.
    pub tier: u8,
    /// Entries taken; one that an earlier list of the same or a stricter tier has too still counts here.
    pub n_entries: u64,
    /// Lines left out: too short, too long, or not UTF-8.
    pub n_ignored: u64,
    /// The file's blake3 hash, 64 hexadecimal digits.
    pub blake3: String,
}

/// A list entry found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Where, in bytes.
    pub range: Range<usize>,
    /// Index of the list in [`Lists::files`].
    pub list: usize,
    /// Its tier, 1 to 3.
    pub tier: u8,
}

/// All lists of a run as one automaton and one set of hosts.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    words: Option<AhoCorasick>,
    /// List of each pattern, by pattern index.
    owners: Vec<usize>,
    hosts: FxHashSet<String>,
    files: Vec<ListFile>,
}

impl Lists {
    /// Reads the lists; an entry in several lists belongs to the strictest tier, then to the list named first.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read, [`Error::Config`] for a tier that does not exist,
    /// [`Error::Damaged`] for a file over [`MAX_LIST_BYTES`] or entries that fit no automaton.
    pub fn load(sources: &[ListSource]) -> Result<Self> {
        let mut lists = Self::default();
        let mut patterns: BTreeMap<String, usize> = BTreeMap::new();
        for source in sources {
            let tier = usize::from(source.tier);
            if !(1..=N_TIERS).contains(&tier) {
                let name = &source.name;
                return Err(Error::Config(format!(
                    "list `{name}`: tier {tier} does not exist; give 1, 2 or 3"
                )));
            }
            lists.read(source, &mut patterns)?;
        }
        lists.build(patterns, sources)?;
        Ok(lists)
    }

    fn read(&mut self, source: &ListSource, patterns: &mut BTreeMap<String, usize>) -> Result<()> {
        let bytes = read_bounded(&source.path)?;
        let index = self.files.len();
        let mut file = ListFile {
            name: source.name.clone(),
            kind: source.kind,
            tier: source.tier,
            n_entries: 0,
            n_ignored: 0,
            blake3: m6_store::hash::hash_bytes(&bytes),
        };
        for line in bytes
            .strip_prefix("\u{FEFF}".as_bytes())
            .unwrap_or(&bytes)
            .split(|byte| *byte == b'\n')
        {
            let Ok(line) = std::str::from_utf8(line) else {
                file.n_ignored += 1;
                continue;
            };
            let entry = line.trim();
            if entry.is_empty() || entry.starts_with('#') {
                continue;
            }
            if !(source.min_chars..=MAX_ENTRY_CHARS).contains(&entry.chars().count()) {
                file.n_ignored += 1;
                continue;
            }
            file.n_entries += 1;
            let entry = entry.to_ascii_lowercase();
            match source.kind {
                Kind::Hosts => {
                    self.hosts.insert(entry.trim_matches('.').to_owned());
                }
                Kind::Words => {
                    let files = &self.files;
                    let owner = patterns.entry(entry).or_insert(index);
                    if files
                        .get(*owner)
                        .is_some_and(|other| other.tier > source.tier)
                    {
                        *owner = index;
                    }
                }
            }
        }
        self.files.push(file);
        Ok(())
    }

    fn build(&mut self, patterns: BTreeMap<String, usize>, sources: &[ListSource]) -> Result<()> {
        if patterns.is_empty() {
            return Ok(());
        }
        let (words, owners): (Vec<String>, Vec<usize>) = patterns.into_iter().unzip();
        let n_bytes: usize = words.iter().map(String::len).sum();
        // Every match is wanted: one that fails at a word's edge must not hide a shorter one that does not.
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind((n_bytes < MAX_TABLE_BYTES).then_some(AhoCorasickKind::DFA))
            .build(&words)
            .map_err(|error| Error::Damaged {
                path: sources
                    .first()
                    .map(|source| source.path.clone())
                    .unwrap_or_default(),
                problem: format!("the lists do not fit one automaton: {error}"),
            })?;
        self.words = Some(automaton);
        self.owners = owners;
        Ok(())
    }

    /// What was loaded, in the order of the configuration: the manifest's lines.
    pub fn files(&self) -> &[ListFile] {
        &self.files
    }

    /// True when some list of words has this tier.
    pub fn has_tier(&self, tier: u8) -> bool {
        self.files
            .iter()
            .any(|file| file.kind == Kind::Words && file.tier == tier)
    }

    /// True when there is a list of hosts.
    pub fn has_hosts(&self) -> bool {
        self.files.iter().any(|file| file.kind == Kind::Hosts)
    }

    /// The entries found in a text, leftmost and longest first, without overlap, at most [`MAX_MATCHES`].
    ///
    /// ASCII letters match in either case. An entry that begins or ends with ASCII must not touch a letter or digit there: "av"
    /// is not in "avatar", "13." is not in "2013.".
    pub fn find(&self, text: &str) -> Vec<Hit> {
        let Some(words) = &self.words else {
            return Vec::new();
        };
        let mut matches: Vec<(usize, usize, usize)> = words
            .find_overlapping_iter(text)
            .take(MAX_MATCHES)
            .filter(|hit| has_edges(text.as_bytes(), hit.start(), hit.end()))
            .map(|hit| (hit.start(), hit.end(), hit.pattern().as_usize()))
            .collect();
        matches.sort_unstable_by_key(|&(start, end, _)| (start, usize::MAX - end));
        let mut hits: Vec<Hit> = Vec::new();
        for (start, end, pattern) in matches {
            if hits.last().is_some_and(|last| start < last.range.end) {
                continue;
            }
            let Some(&list) = self.owners.get(pattern) else {
                continue;
            };
            let tier = self.files.get(list).map_or(1, |file| file.tier);
            hits.push(Hit {
                range: start..end,
                list,
                tier,
            });
        }
        hits
    }

    /// How many entries of each tier are in a text.
    pub fn count(&self, text: &str) -> [u64; N_TIERS] {
        let mut counts = [0; N_TIERS];
        for hit in self.find(text) {
            if let Some(count) = counts.get_mut(usize::from(hit.tier).wrapping_sub(1)) {
                *count += 1;
            }
        }
        counts
    }

    /// True when the address lies on a listed host or below one.
    pub fn lists_host(&self, url: &str) -> bool {
        if self.hosts.is_empty() {
            return false;
        }
        let Some(host) = split::host(url) else {
            return false;
        };
        let below = host.match_indices('.').map(|(at, _)| &host[at + 1..]);
        std::iter::once(host.as_str())
            .chain(below)
            .any(|name| self.hosts.contains(name))
    }
}

fn has_edges(text: &[u8], start: usize, end: usize) -> bool {
    let at = |index: usize| text.get(index).copied().unwrap_or(b' ');
    let before = start.checked_sub(1).map_or(b' ', at);
    let left = !at(start).is_ascii() || !before.is_ascii_alphanumeric();
    let right = !at(end.saturating_sub(1)).is_ascii() || !at(end).is_ascii_alphanumeric();
    left && right
}

fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(MAX_LIST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > MAX_LIST_BYTES {
        let problem = format!("a list has at most {MAX_LIST_BYTES} bytes; this file is longer");
        return Err(Error::Damaged {
            path: path.to_owned(),
            problem,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;

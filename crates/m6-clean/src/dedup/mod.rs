//! De-duplication: exact documents, near-duplicates, lines of a host, and repeated passages.
//!
//! The paper does not say how M6-Corpus was freed of duplicates (section 1 names none); all of this is ours. [`dedup`] goes over the
//! documents once for signatures ([`minhash`]), sorts band keys, reads again only what became a candidate, checks it
//! by exact Jaccard similarity of character shingles, joins what is alike, and keeps the best of each cluster.
//!
//! Memory: about 50 bytes a document stay, everything else is within [`Options::memory`] and spills to temporary files beyond it. On top
//! of it come the texts in work: one a thread, and the shingles of the two longest of a pair. The outcome depends on the documents and
//! the options other than the budget and the folder, and on nothing else: neither on threads nor on what was spilled.

mod check;
mod choose;
mod jsonl;
mod mark;
mod pairs;
mod sets;
mod share;
mod source;

pub mod sort;

pub mod lines;
pub mod minhash;
pub mod shingle;
pub mod substring;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use jsonl::{Damage, Fields, JsonLines, MAX_LINE, Row};
pub use source::{Document, Documents};

use crate::{Error, Result};
use minhash::Bands;
use sets::Sets;
use sort::Sorted;

/// What makes a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// All that a chain of alike documents connects (connected components), as other tools have it. A document at the end of a long
    /// chain goes although it may be little like the one kept.
    #[default]
    Chain,
    /// The one kept and what is alike to it: every document that goes has its threshold with one that stays. Takes one more comparison
    /// a document and document kept of the same chain.
    Kept,
}

/// How [`dedup`] compares.
#[derive(Clone, Debug)]
pub struct Options {
    /// Jaccard similarity from which two documents are duplicates, above 0 and at most 1.
    pub threshold: f64,
    /// Characters of a shingle, 1 to [`shingle::MAX_SHINGLE`].
    pub shingle: usize,
    /// Chance with which a pair just at the threshold is found, above 0 and below 1; the bands are derived from it. More alike pairs
    /// are found with a higher chance.
    pub recall: f64,
    /// Whether candidates are checked by their exact similarity before they are joined.
    pub verify: bool,
    /// What makes a cluster of documents that are alike in pairs.
    pub link: Link,
    /// Bytes for sorting and for shingles, beyond the 50 a document.
    pub memory: usize,
    /// Folder of the temporary files; best not one that lies in memory.
    pub spill: PathBuf,
    /// Seed of the permutations.
    pub seed: u64,
}

impl Default for Options {
    /// Threshold 0.8, shingles of 5, 22 bands of 5 rows (chance 0.9998 at the threshold), checked, chained, 512 MB, the system's
    /// temporary folder.
    fn default() -> Self {
        Self {
            threshold: 0.8,
            shingle: 5,
            recall: 0.999,
            verify: true,
            link: Link::Chain,
            memory: 512_000_000,
            spill: std::env::temp_dir(),
            seed: 0,
        }
    }
}

impl Options {
    /// The bands that follow from threshold and recall.
    pub fn bands(&self) -> Bands {
        Bands::for_threshold(self.threshold, self.recall)
    }

    /// Whether the values can be followed.
    ///
    /// # Errors
    /// [`Error::Config`] with every value that is out of its range.
    pub fn check(&self) -> Result<()> {
        let mut problems = Vec::new();
        if !(self.threshold > 0.0 && self.threshold <= 1.0) {
            problems.push(format!(
                "threshold {} is not above 0 and at most 1",
                self.threshold
            ));
        }
        if !(self.recall > 0.0 && self.recall < 1.0) {
            problems.push(format!("recall {} is not between 0 and 1", self.recall));
        }
        if !(1..=shingle::MAX_SHINGLE).contains(&self.shingle) {
            problems.push(format!(
                "shingle {} is not 1 to {} characters",
                self.shingle,
                shingle::MAX_SHINGLE
            ));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::Config(problems.join("; ")))
    }
}

/// Where a document came to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Number of its cluster; clusters are numbered from 0 in order of their first document.
    pub cluster: u32,
    /// Whether it is the one of its cluster to keep: the best quality, then the longest, then the first.
    pub kept: bool,
    /// Jaccard similarity with the one kept; 1 for itself and for exact duplicates. Below the threshold only
    /// with [`Link::Chain`], where a chain of documents, each like the next, leads to the one kept.
    pub jaccard: f32,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// One place a document, in order; `None` for damaged ones.
    pub places: Vec<Option<Place>>,
    /// Counts.
    pub stats: Stats,
}

/// Counts of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Documents, damaged ones included.
    pub n_documents: u64,
    /// Documents that could not be read.
    pub n_damaged: u64,
    /// Documents that equal an earlier one but for white space.
    pub n_exact: u64,
    /// Pairs of different texts with an equal band.
    pub n_candidates: u64,
    /// Candidates whose similarity was computed; the others were joined by then.
    pub n_checked: u64,
    /// Checked pairs at or above the threshold.
    pub n_alike: u64,
    /// Clusters, those of one document included; as many documents are kept.
    pub n_clusters: u64,
    /// Buckets too large for every pair of them to become a candidate.
    pub n_wide_buckets: u64,
}

/// Finds duplicates among documents and the one of each cluster to keep.
///
/// `watch` is told now and then how many documents have got their signature.
///
/// # Errors
/// Options out of range, 2^32 documents or more, a store that cannot be read, temporary files that cannot be written.
pub fn dedup<D: Documents + ?Sized>(
    documents: &D,
    options: &Options,
    watch: &mut dyn FnMut(usize),
) -> Result<Outcome> {
    options.check()?;
    let Ok(n) = u32::try_from(documents.len()) else {
        let n = documents.len();
        return Err(Error::Config(format!(
            "{n} documents; at most {} can be compared at once",
            u32::MAX
        )));
    };
    let mark::Marks {
        traits,
        exact,
        bands,
    } = mark::mark(documents, options, watch)?;
    let mut stats = Stats {
        n_documents: u64::from(n),
        n_damaged: traits.iter().filter(|t| t.is_none()).count() as u64,
        ..Stats::default()
    };
    let canon = first_of_equals(exact, n, &mut stats)?;
    let candidates = pairs::candidates(bands, &canon, options, &mut stats)?;
    let mut sets = Sets::new(n);
    for (document, first) in canon.iter().enumerate() {
        sets.join(document as u32, *first);
    }
    let mut checker = check::Checker::new(documents, options, &traits);
    join_alike(candidates, options, &mut checker, &mut sets, &mut stats)?;
    let places = choose::places(
        &sets.into_roots(),
        &canon,
        options,
        &mut checker,
        &mut stats,
    )?;
    tracing::info!(?stats, bands = ?options.bands(), "duplicates found");
    Ok(Outcome { places, stats })
}

/// For every document the first one with the same text.
fn first_of_equals(exact: Sorted<(u128, u32)>, n: u32, stats: &mut Stats) -> Result<Vec<u32>> {
    let mut canon: Vec<u32> = (0..n).collect();
    let mut first = None;
    for record in exact {
        let (hash, document) = record?;
        match first {
            Some((same, first)) if same == hash => {
                canon[document as usize] = first;
                stats.n_exact += 1;
            }
            _ => first = Some((hash, document)),
        }
    }
    Ok(canon)
}

/// Joins the candidates that are alike, or all of them when they are not to be checked.
fn join_alike<D: Documents + ?Sized>(
    candidates: Sorted<(u32, u32)>,
    options: &Options,
    checker: &mut check::Checker<'_, D>,
    sets: &mut Sets,
    stats: &mut Stats,
) -> Result<()> {
    if !options.verify {
        for pair in candidates {
            let (a, b) = pair?;
            stats.n_candidates += 1;
            sets.join(a, b);
        }
        return Ok(());
    }
    let threshold = options.threshold;
    let mut judge = Join {
        sets,
        stats,
        threshold,
    };
    checker.check(candidates, &mut judge)
}

struct Join<'s> {
    sets: &'s mut Sets,
    stats: &'s mut Stats,
    threshold: f64,
}

impl check::Judge for Join<'_> {
    fn wants(&mut self, a: u32, b: u32) -> bool {
        self.stats.n_candidates += 1;
        self.sets.root(a) != self.sets.root(b)
    }

    fn hears(&mut self, a: u32, b: u32, jaccard: f64) {
        self.stats.n_checked += 1;
        if jaccard >= self.threshold {
            self.stats.n_alike += 1;
            self.sets.join(a, b);
        }
    }
}

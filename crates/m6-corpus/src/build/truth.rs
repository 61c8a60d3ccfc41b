//! The result beside a planted truth (ours): which records should have been kept, what their texts and captions are.
//!
//! The truth is a file of [`TruthRow`]s as [`crate::world`] writes it, matched by address. Of a page and its copies one is to be kept,
//! whichever it is.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::adapt::normalize::Cleaner;
use super::context::{Context, Made};
use super::docs::{Doc, DocReader};
use super::stages::{finish, rows, write};
use crate::table::Kind;
use crate::world::TruthRow;
use crate::{Error, Result};

/// Rows of truth that are held; a test bed has fewer.
const MAX_ROWS: usize = 1 << 20;
/// Longest row of truth in bytes.
const MAX_LINE: u64 = 16 << 20;
/// Wrong pages that are named.
const MAX_WRONG: usize = 20;
/// Kinds of truth rows that are no pages.
const NO_PAGES: [&str; 2] = ["picture", "decoration"];

/// How the result compares with the truth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Pages of the truth.
    pub pages: u64,
    /// Of the pages kept, the share that should be.
    pub precision: f64,
    /// Of the pages that should be kept, the share that is.
    pub recall: f64,
    /// The same by what was planted.
    pub kinds: Vec<KindRow>,
    /// Texts of kept pages against the truth.
    pub text: TextScore,
    /// The same where the charset that is named is not the one the bytes are in.
    pub lying_charset: TextScore,
    /// Pictures of kept pages against the truth.
    pub pictures: PictureScore,
    /// Pages that went the wrong way, the first of each kind.
    pub wrong: Vec<Wrong>,
}

/// What became of the pages of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindRow {
    /// What was planted.
    pub kind: String,
    /// Whether such pages are to be kept.
    pub keep: bool,
    /// How many there are.
    pub planted: u64,
    /// How many were kept.
    pub kept: u64,
    /// How many went the right way.
    pub right: u64,
}

/// Texts compared by the characters they have in common, white space left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TextScore {
    /// Texts compared.
    pub n: u64,
    /// Mean of F1, 0 to 1.
    pub f1_mean: f64,
    /// Median of F1, 0 to 1.
    pub f1_median: f64,
    /// Least F1, 0 to 1.
    pub f1_least: f64,
}

/// Pictures and captions compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureScore {
    /// Content pictures planted in kept pages.
    pub planted: u64,
    /// Of these, pictures that the record has.
    pub found: u64,
    /// Of these, pictures whose chosen caption is the planted one.
    pub captioned: u64,
    /// Pictures that records have beside the planted ones: logos, advertisements.
    pub extra: u64,
}

/// A page that went the wrong way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// Its address.
    pub url: String,
    /// What was planted.
    pub kind: String,
    /// What became of it; empty when no record has its address.
    pub fate: String,
    /// The rule that ended it.
    pub rule: String,
}

/// A page of the truth, and what became of it.
#[derive(Default)]
struct Page {
    truth: TruthRow,
    fate: String,
    rule: String,
}

impl Page {
    fn is_kept(&self) -> bool {
        self.fate == "kept"
    }
}

/// Compares a finished build with a file of truth.
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read, [`Error::Damaged`] for one that holds something else.
pub(super) fn compare(
    context: &Context<'_>,
    path: &Path,
    extracted: &[Made],
    finished: &[Made],
    written: &[Made],
) -> Result<Comparison> {
    let mut pages = read(path)?;
    let places: HashMap<String, usize> = pages
        .iter()
        .enumerate()
        .map(|(at, page)| (page.truth.url.clone(), at))
        .collect();
    for made in written {
        let columns = [
            ("url", Kind::Text),
            ("fate", Kind::Text),
            ("rule", Kind::Text),
        ];
        rows(
            &made.folder.join(write::RECORDS_NAME),
            &columns,
            |batch, row| {
                let page = places
                    .get(batch.text(0, row))
                    .and_then(|at| pages.get_mut(*at));
                // An address that was crawled twice counts as kept when one of its records is.
                if let Some(page) = page.filter(|page| !page.is_kept()) {
                    page.fate = batch.text(1, row).to_string();
                    page.rule = batch.text(2, row).to_string();
                }
                Ok(())
            },
        )?;
    }
    let cleaner = Cleaner::new(&context.config.normalize).map_err(Error::Config)?;
    let mut scores = Scores::default();
    for (extracted, finished) in extracted.iter().zip(finished) {
        let mut texts = finish::read(&finished.folder)?;
        let mut reader = DocReader::open(&extracted.folder)?;
        let mut row = 0;
        while let Some(docs) = reader.next_batch()? {
            for doc in docs {
                let page = places.get(&doc.url).and_then(|at| pages.get(*at));
                let done = texts.take(row)?;
                if let (Some(page), Some(done)) = (page.filter(|page| page.is_kept()), done) {
                    scores.add(&cleaner, &page.truth, &doc, &done.text);
                }
                row += 1;
            }
        }
    }
    Ok(judge(&pages, scores))
}

fn read(path: &Path) -> Result<Vec<Page>> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let damaged = |problem: String| Error::Damaged {
        path: path.to_owned(),
        problem,
    };
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let (mut out, mut line, mut number) = (Vec::new(), String::new(), 0u64);
    loop {
        line.clear();
        if reader
            .by_ref()
            .take(MAX_LINE)
            .read_line(&mut line)
            .map_err(io)?
            == 0
        {
            return Ok(out);
        }
        number += 1;
        let truth: TruthRow = serde_json::from_str(&line)
            .map_err(|error| damaged(format!("line {number} is no truth: {error}")))?;
        if NO_PAGES.contains(&truth.kind.as_str()) {
            continue;
        }
        if out.len() == MAX_ROWS {
            return Err(damaged(format!("more than {MAX_ROWS} pages")));
        }
        out.push(Page {
            truth,
            ..Page::default()
        });
    }
}

#[derive(Default)]
struct Scores {
    texts: Vec<f64>,
    lying: Vec<f64>,
    pictures: PictureScore,
}

impl Scores {
    /// A kept page; the truth is cleaned as the record was, so that only extraction and the rules over parts make a difference.
    fn add(&mut self, cleaner: &Cleaner, truth: &TruthRow, doc: &Doc, text: &str) {
        let planted = truth.simplified.as_ref().unwrap_or(&truth.text);
        let (planted, _) = cleaner.lines(planted.lines());
        let f1 = f1(&planted, text);
        self.texts.push(f1);
        if truth.charset_lies {
            self.lying.push(f1);
        }
        let mut n_found = 0;
        for image in &truth.images {
            self.pictures.planted += 1;
            let Some(found) = doc
                .pictures
                .iter()
                .find(|picture| picture.address == image.src)
            else {
                continue;
            };
            n_found += 1;
            let is_right = found.caption == cleaner.line(&image.caption);
            self.pictures.captioned += u64::from(is_right);
        }
        self.pictures.found += n_found;
        self.pictures.extra += (doc.pictures.len() as u64).saturating_sub(n_found);
    }
}

/// F1 of two texts as bags of characters but white space; two empty texts are the same.
fn f1(expected: &str, found: &str) -> f64 {
    let mut counts: HashMap<char, i64> = HashMap::new();
    let (mut n_expected, mut n_found, mut n_common) = (0u64, 0u64, 0u64);
    for c in expected.chars().filter(|c| !c.is_whitespace()) {
        *counts.entry(c).or_default() += 1;
        n_expected += 1;
    }
    for c in found.chars().filter(|c| !c.is_whitespace()) {
        n_found += 1;
        if let Some(left) = counts.get_mut(&c).filter(|left| **left > 0) {
            *left -= 1;
            n_common += 1;
        }
    }
    match n_expected + n_found {
        0 => 1.0,
        both => 2.0 * n_common as f64 / both as f64,
    }
}

fn score(mut values: Vec<f64>) -> TextScore {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let (Some(least), Some(low), Some(high)) = (
        values.first(),
        values.get((n.max(1) - 1) / 2),
        values.get(n / 2),
    ) else {
        return TextScore::default();
    };
    TextScore {
        n: n as u64,
        f1_mean: values.iter().sum::<f64>() / n as f64,
        f1_median: (low + high) / 2.0,
        f1_least: *least,
    }
}

/// Sorts pages into right and wrong.
fn judge(pages: &[Page], scores: Scores) -> Comparison {
    let mut kept_of: HashMap<&str, u64> = HashMap::new();
    for page in pages.iter().filter(|page| page.is_kept()) {
        *kept_of.entry(cluster(&page.truth)).or_default() += 1;
    }
    let mut out = Comparison {
        pages: pages.len() as u64,
        text: score(scores.texts),
        lying_charset: score(scores.lying),
        pictures: scores.pictures,
        ..Comparison::default()
    };
    let mut kinds: BTreeMap<(bool, &str), KindRow> = BTreeMap::new();
    let (mut n_good, mut n_good_kept, mut n_kept) = (0u64, 0u64, 0u64);
    let originals: HashMap<&str, bool> = pages
        .iter()
        .map(|page| (page.truth.id.as_str(), page.is_kept()))
        .collect();
    for page in pages {
        let cluster = cluster(&page.truth);
        let n_of_cluster = kept_of.get(cluster).copied().unwrap_or(0);
        let is_original = cluster == page.truth.id;
        let is_right = match (page.truth.keep, page.is_kept()) {
            (true, kept) => kept || n_of_cluster > 0,
            (false, false) => true,
            // A copy kept in place of its original is as good.
            (false, true) => {
                !is_original && n_of_cluster == 1 && originals.get(cluster) == Some(&false)
            }
        };
        n_good += u64::from(page.truth.keep);
        n_good_kept += u64::from(page.truth.keep && is_right);
        n_kept += u64::from(page.is_kept());
        let row = kinds
            .entry((!page.truth.keep, page.truth.kind.as_str()))
            .or_default();
        row.planted += 1;
        row.kept += u64::from(page.is_kept());
        row.right += u64::from(is_right);
        if !is_right && out.wrong.len() < MAX_WRONG {
            out.wrong.push(Wrong {
                url: page.truth.url.clone(),
                kind: page.truth.kind.clone(),
                fate: page.fate.clone(),
                rule: page.rule.clone(),
            });
        }
    }
    out.precision = share(n_good_kept, n_kept);
    out.recall = share(n_good_kept, n_good);
    out.kinds = kinds
        .into_iter()
        .map(|((drop, kind), row)| KindRow {
            kind: kind.to_string(),
            keep: !drop,
            ..row
        })
        .collect();
    out
}

/// Name of the page whose content a page shows.
fn cluster(truth: &TruthRow) -> &str {
    truth.duplicate_of.as_deref().unwrap_or(&truth.id)
}

fn share(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 1.0,
        _ => part as f64 / whole as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_by_their_characters() {
        for (expected, found, f) in [
            ("", "", 1.0),
            ("一二", "一 二\n", 1.0),
            ("一二三四", "一二", 2.0 / 3.0),
            ("一一", "一一一一", 2.0 / 3.0),
            ("一", "二", 0.0),
        ] {
            assert!(
                (f1(expected, found) - f).abs() < 1e-12,
                "{expected} {found}"
            );
        }
        let scored = score(vec![0.5, 1.0, 0.9]);
        assert_eq!((scored.n, scored.f1_median, scored.f1_least), (3, 0.9, 0.5));
        assert_eq!(score(Vec::new()), TextScore::default());
    }

    fn page(id: &str, keep: bool, of: Option<&str>, fate: &str) -> Page {
        Page {
            truth: TruthRow {
                id: id.to_string(),
                url: format!("http://a.example/{id}"),
                kind: if keep { "blog" } else { "copy" }.to_string(),
                keep,
                duplicate_of: of.map(str::to_string),
                ..TruthRow::default()
            },
            fate: fate.to_string(),
            rule: String::new(),
        }
    }

    #[test]
    fn of_a_page_and_its_copies_one_is_right() {
        let check = |pages: &[Page], precision: f64, recall: f64, n_wrong: usize| {
            let out = judge(pages, Scores::default());
            assert_eq!(
                (out.precision, out.recall, out.wrong.len()),
                (precision, recall, n_wrong)
            );
        };
        check(
            &[
                page("1", true, None, "kept"),
                page("2", false, Some("1"), "dropped"),
            ],
            1.0,
            1.0,
            0,
        );
        check(
            &[
                page("1", true, None, "dropped"),
                page("2", false, Some("1"), "kept"),
            ],
            1.0,
            1.0,
            0,
        );
        check(
            &[
                page("1", true, None, "kept"),
                page("2", false, Some("1"), "kept"),
            ],
            0.5,
            1.0,
            1,
        );
        check(
            &[
                page("1", true, None, "dropped"),
                page("2", false, Some("1"), ""),
            ],
            1.0,
            0.0,
            1,
        );
        check(
            &[
                page("1", true, None, "kept"),
                page("2", false, None, "kept"),
            ],
            0.5,
            1.0,
            1,
        );
    }
}

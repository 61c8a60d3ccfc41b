//! Passages of many characters that stood in an earlier place already, cut at character boundaries (after Lee et al., 2022, who cut
//! bytes; ours in the method).
//!
//! The hash of every window of `min_chars` characters is sorted on disk; of equal windows all but the first are marked, and marks that
//! touch become one passage. That is exact for passages of `min_chars` or more and needs no suffix array of everything in memory; the
//! price is 16 bytes of temporary file a character.

use std::ops::Range;
use std::path::PathBuf;

use rayon::prelude::*;

use super::Documents;
use super::sort::{Sorted, Sorter};
use crate::{Error, Result};

/// Documents that are worked on together.
const CHUNK: usize = 64;
/// Share of the budget for each of the two sorts.
const SHARE: usize = 2;
/// The prime 2^61 - 1, over which windows are hashed.
const PRIME: u64 = (1 << 61) - 1;
/// The point at which the polynomial of a window is taken; any large number will do.
const BASE: u64 = 0x0B16_2F1D_3C5A_7E89 % PRIME;

/// What counts as a passage.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shortest passage in characters, white space included; at least 1.
    pub min_chars: usize,
    /// Bytes for sorting.
    pub memory: usize,
    /// Folder of the temporary files; they take 16 bytes a character.
    pub spill: PathBuf,
}

impl Default for Options {
    /// Fifty characters, 512 MB, the system's temporary folder.
    fn default() -> Self {
        Self {
            min_chars: 50,
            memory: 512_000_000,
            spill: std::env::temp_dir(),
        }
    }
}

/// Documents that hold repeated passages, in order, with the ranges of characters that stood earlier already.
pub struct Passages {
    /// Document and first character; character after the last.
    marks: Sorted<(u64, u32)>,
    next: Option<(u32, Range<u32>)>,
}

/// Finds passages that repeat an earlier one, in the same document or in one before it.
///
/// # Errors
/// Options out of range, 2^32 documents or characters of one document or more, a store that cannot be read, temporary files that cannot
/// be written.
pub fn repeated<D: Documents + ?Sized>(documents: &D, options: &Options) -> Result<Passages> {
    let n_chars = u32::try_from(options.min_chars).unwrap_or(0);
    if n_chars == 0 {
        let n = options.min_chars;
        return Err(Error::Config(format!(
            "min_chars {n} is not 1 to {}",
            u32::MAX
        )));
    }
    let mut marks = Sorter::new(&options.spill, options.memory / SHARE);
    let mut first: Option<(u64, u32, u32)> = None;
    for window in sorted_windows(documents, options)? {
        let (hash, document, start) = window?;
        match first {
            Some((same, at_document, at)) if same == hash => {
                // A passage that overlaps its own first copy (laughter, rules of dashes) leaves that copy whole.
                let from = if at_document == document {
                    start.max(at + n_chars)
                } else {
                    start
                };
                let end = start + n_chars;
                if from < end {
                    marks.push((u64::from(document) << 32 | u64::from(from), end))?;
                }
            }
            _ => first = Some((hash, document, start)),
        }
    }
    Ok(Passages {
        marks: marks.finish()?,
        next: None,
    })
}

/// Hash, document and first character of every window.
fn sorted_windows<D: Documents + ?Sized>(
    documents: &D,
    options: &Options,
) -> Result<Sorted<(u64, u32, u32)>> {
    let n = documents.len();
    if u32::try_from(n).is_err() {
        return Err(Error::Config(format!(
            "{n} documents; at most {} can be compared at once",
            u32::MAX
        )));
    }
    let mut windows = Sorter::new(&options.spill, options.memory / SHARE);
    for start in (0..n).step_by(CHUNK) {
        let chunk = start..n.min(start + CHUNK);
        let hashed: Vec<Vec<u64>> = chunk
            .clone()
            .into_par_iter()
            .map(|i| {
                let document = documents.document(i)?;
                Ok(document.map_or_else(Vec::new, |document| {
                    hashes(&document.text, options.min_chars)
                }))
            })
            .collect::<Result<_>>()?;
        for (i, hashes) in chunk.zip(hashed) {
            if u32::try_from(hashes.len() + options.min_chars).is_err() {
                return Err(Error::Config(format!(
                    "document {i} has more than {} characters",
                    u32::MAX
                )));
            }
            for (at, hash) in hashes.into_iter().enumerate() {
                windows.push((hash, i as u32, at as u32))?;
            }
        }
    }
    windows.finish()
}

/// The hash of every window of `n` characters: a polynomial over a prime field, carried on from window to window.
fn hashes(text: &str, n: usize) -> Vec<u64> {
    let chars: Vec<u32> = text.chars().map(|c| u32::from(c) + 1).collect();
    if chars.len() < n || n == 0 {
        return Vec::new();
    }
    let highest = (1..n).fold(1, |power, _| times(power, BASE));
    let mut hash = chars[..n]
        .iter()
        .fold(0, |hash, c| plus(times(hash, BASE), u64::from(*c)));
    let mut hashes = Vec::with_capacity(chars.len() - n + 1);
    hashes.push(hash);
    for (gone, come) in chars.iter().zip(&chars[n..]) {
        let rest = plus(hash, PRIME - times(u64::from(*gone), highest));
        hash = plus(times(rest, BASE), u64::from(*come));
        hashes.push(hash);
    }
    hashes
}

/// Sum of two numbers of at most [`PRIME`], below it.
fn plus(a: u64, b: u64) -> u64 {
    (a + b) % PRIME
}

/// Product of two numbers of at most [`PRIME`], below it.
fn times(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    // 2^61 is 1 in this field, so the high part is added to the low one.
    plus(product as u64 & PRIME, (product >> 61) as u64)
}

impl Passages {
    fn mark(&mut self) -> Result<Option<(u32, Range<u32>)>> {
        if self.next.is_some() {
            return Ok(self.next.take());
        }
        let mark = self.marks.next().transpose()?;
        Ok(mark.map(|(key, end)| ((key >> 32) as u32, key as u32..end)))
    }

    fn document(&mut self) -> Result<Option<(u32, Vec<Range<usize>>)>> {
        let Some((document, mut range)) = self.mark()? else {
            return Ok(None);
        };
        let mut ranges = Vec::new();
        while let Some((of, following)) = self.mark()? {
            if of != document {
                self.next = Some((of, following));
                break;
            }
            if following.start <= range.end {
                range.end = range.end.max(following.end);
            } else {
                ranges.push(range.start as usize..range.end as usize);
                range = following;
            }
        }
        ranges.push(range.start as usize..range.end as usize);
        Ok(Some((document, ranges)))
    }
}

impl Iterator for Passages {
    type Item = Result<(u32, Vec<Range<usize>>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.document().transpose()
    }
}

/// The text without the characters in `ranges`, which are ascending and apart, as [`Passages`] gives them.
pub fn cut(text: &str, ranges: &[Range<usize>]) -> String {
    let mut ranges = ranges.iter().peekable();
    let mut kept = String::with_capacity(text.len());
    for (i, c) in text.chars().enumerate() {
        while ranges.next_if(|range| range.end <= i).is_some() {}
        if !ranges.peek().is_some_and(|range| range.contains(&i)) {
            kept.push(c);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn cuts(texts: &[&str], min_chars: usize, memory: usize) -> Vec<String> {
        let options = Options {
            min_chars,
            memory,
            ..Options::default()
        };
        let mut kept: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
        for passage in repeated(texts, &options).unwrap() {
            let (document, ranges) = passage.unwrap();
            kept[document as usize] = cut(texts[document as usize], &ranges);
        }
        kept
    }

    fn check(texts: &[&str], expected: &[&str]) {
        assert_eq!(cuts(texts, 4, 1 << 20), expected);
    }

    #[test]
    fn later_copies_go() {
        check(&[], &[]);
        check(&["一二三", "一二三"], &["一二三", "一二三"]);
        check(&["一二三四", "一二三四"], &["一二三四", ""]);
        check(&["甲一二三四乙", "丙一二三四丁"], &["甲一二三四乙", "丙丁"]);
        check(
            &["一二三四五六七", "二三四五六八"],
            &["一二三四五六七", "八"],
        );
        check(
            &["一二三四。五六七八", "五六七八！一二三四"],
            &["一二三四。五六七八", "！"],
        );
        check(&["一二三四一二三四"], &["一二三四"]);
        check(&["哈哈哈哈哈哈哈哈哈哈"], &["哈哈哈哈"]);
        check(&["a\u{0}b𠀀c", "xa\u{0}b𠀀"], &["a\u{0}b𠀀c", "x"]);
    }

    #[test]
    fn a_length_of_nothing_is_refused() {
        let options = Options {
            min_chars: 0,
            ..Options::default()
        };
        assert!(repeated(&["一"][..], &options).is_err());
    }

    /// Every window by its text, as the definition says.
    fn naive(texts: &[&str], n: usize) -> Vec<String> {
        let mut seen: HashMap<Vec<char>, (usize, usize)> = HashMap::new();
        let mut kept = Vec::new();
        for (document, text) in texts.iter().enumerate() {
            let chars: Vec<char> = text.chars().collect();
            let mut gone = vec![false; chars.len()];
            for (start, window) in chars.windows(n).enumerate() {
                let (at_document, at) = *seen.entry(window.to_vec()).or_insert((document, start));
                if (at_document, at) != (document, start) {
                    let from = if at_document == document {
                        start.max(at + n)
                    } else {
                        start
                    };
                    gone[from.min(start + n)..start + n].fill(true);
                }
            }
            kept.push(
                chars
                    .iter()
                    .zip(gone)
                    .filter(|(_, gone)| !gone)
                    .map(|(c, _)| *c)
                    .collect(),
            );
        }
        kept
    }

    proptest! {
        #[test]
        fn equals_the_definition(texts in prop::collection::vec("[一二a]{0,60}", 0..6), n in 1usize..9) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let expected = naive(&texts, n);
            prop_assert_eq!(cuts(&texts, n, 1 << 20), expected.clone());
            prop_assert_eq!(cuts(&texts, n, 0), expected);
        }

        #[test]
        fn hashes_carried_on_equal_hashes_anew(text in "\\PC{0,40}", n in 1usize..12) {
            let chars: Vec<char> = text.chars().collect();
            let carried = hashes(&text, n);
            let anew: Vec<u64> = chars.windows(n).flat_map(|w| hashes(&w.iter().collect::<String>(), n)).collect();
            prop_assert_eq!(carried, anew);
        }

        #[test]
        fn the_field_is_that_of_the_prime(a in 0..PRIME, b in 0..PRIME) {
            prop_assert_eq!(u128::from(times(a, b)), u128::from(a) * u128::from(b) % u128::from(PRIME));
            prop_assert_eq!(u128::from(plus(a, b)), (u128::from(a) + u128::from(b)) % u128::from(PRIME));
        }
    }
}

//! One pass over the characters: classes, lines, paragraphs (ours; the line shares after Gopher).

use std::hash::Hasher;

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use crate::rules::chars::{Class, N_CLASSES, look};
use crate::rules::split;

/// Lines shorter than this many characters count as short.
pub const SHORT_LINE_CHARS: u64 = 10;
/// What a list item begins with.
const BULLETS: &[char] = &[
    '•', '●', '○', '■', '□', '◆', '◇', '▪', '▶', '►', '★', '☆', '※', '·', '*', '-', '–',
];

/// Everything counted in one pass over a text.
#[derive(Debug, Default)]
pub struct Scan {
    /// Characters of each [`Class`], by its number.
    pub classes: [u64; N_CLASSES],
    /// Characters that only traditional writing uses.
    pub n_traditional: u64,
    /// The longest run of one character, white space aside.
    pub longest_run: u64,
    /// The characters without white space and control characters, in order, as code points.
    pub chars: Vec<u32>,
    /// Lines with content.
    pub n_lines: u64,
    /// Characters of the longest line.
    pub max_line_chars: u64,
    /// Lines under [`SHORT_LINE_CHARS`].
    pub n_short_lines: u64,
    /// Lines that end as a sentence does.
    pub n_ended_lines: u64,
    /// Lines that end in an ellipsis.
    pub n_ellipsis_lines: u64,
    /// Lines that begin with a list mark.
    pub n_bullet_lines: u64,
    /// Lines that stood before in the text.
    pub n_repeated_lines: u64,
    /// Characters in those lines.
    pub n_repeated_line_chars: u64,
    /// Sentences of all lines.
    pub n_sentences: u64,
    /// Blocks of lines without an empty line between them.
    pub n_paragraphs: u64,
    /// Paragraphs that stood before in the text.
    pub n_repeated_paragraphs: u64,
    /// Characters in those paragraphs.
    pub n_repeated_paragraph_chars: u64,
}

/// The paragraph being read.
#[derive(Default)]
struct Paragraph {
    hasher: FxHasher,
    n_chars: u64,
}

impl Scan {
    /// Reads a text once.
    pub fn of(text: &str) -> Self {
        let mut scan = Self::default();
        scan.chars.reserve(text.len() / 3);
        let mut lines = FxHashSet::default();
        let mut paragraphs = FxHashSet::default();
        let mut paragraph = Paragraph::default();
        for line in text.split('\n') {
            let n_before = scan.chars.len();
            scan.characters(line);
            let line = line.trim();
            if line.is_empty() {
                scan.end_paragraph(&mut paragraphs, &mut paragraph);
                continue;
            }
            let n_chars = (scan.chars.len() - n_before) as u64;
            scan.line(line, n_chars);
            let hash = hash_of(line);
            if !lines.insert(hash) {
                scan.n_repeated_lines += 1;
                scan.n_repeated_line_chars += n_chars;
            }
            paragraph.hasher.write_u64(hash);
            paragraph.n_chars += n_chars;
        }
        scan.end_paragraph(&mut paragraphs, &mut paragraph);
        scan
    }

    /// Characters that are neither white space nor control characters.
    pub fn n_chars(&self) -> u64 {
        self.chars.len() as u64
    }

    /// Characters of one class.
    pub fn n(&self, class: Class) -> u64 {
        self.classes[class as usize]
    }

    fn characters(&mut self, line: &str) {
        let mut run = 0;
        let mut last = u32::MAX;
        for c in line.chars() {
            let (class, is_traditional) = look(c);
            self.classes[class as usize] += 1;
            self.n_traditional += u64::from(is_traditional);
            if matches!(class, Class::Space | Class::Control) {
                continue;
            }
            let code = u32::from(c);
            run = if code == last { run + 1 } else { 1 };
            last = code;
            self.longest_run = self.longest_run.max(run);
            self.chars.push(code);
        }
    }

    fn line(&mut self, line: &str, n_chars: u64) {
        self.n_lines += 1;
        self.max_line_chars = self.max_line_chars.max(n_chars);
        self.n_short_lines += u64::from(n_chars < SHORT_LINE_CHARS);
        self.n_ended_lines += u64::from(split::has_end_mark(line));
        self.n_ellipsis_lines += u64::from(line.ends_with('…') || line.ends_with("..."));
        self.n_bullet_lines += u64::from(line.starts_with(BULLETS));
        self.n_sentences += split::sentences(line).count() as u64;
    }

    fn end_paragraph(&mut self, seen: &mut FxHashSet<u64>, paragraph: &mut Paragraph) {
        let Paragraph { hasher, n_chars } = std::mem::take(paragraph);
        // A paragraph of blanks and control characters only is none.
        if n_chars == 0 {
            return;
        }
        self.n_paragraphs += 1;
        if !seen.insert(hasher.finish()) {
            self.n_repeated_paragraphs += 1;
            self.n_repeated_paragraph_chars += n_chars;
        }
    }
}

fn hash_of(line: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(line.as_bytes());
    hasher.finish()
}

/// Bits per character of the text's own character distribution; 0 for an empty text.
pub fn entropy(chars: &[u32]) -> f64 {
    let mut counts: FxHashMap<u32, u64> = FxHashMap::default();
    for c in chars {
        *counts.entry(*c).or_default() += 1;
    }
    let n = chars.len() as f64;
    // Sorted, so that the sum does not depend on the table's order.
    let mut counts: Vec<u64> = counts.into_values().collect();
    counts.sort_unstable();
    let bits: f64 = counts
        .into_iter()
        .map(|count| count as f64 / n)
        .map(|p| -p * libm::log2(p))
        .sum();
    // Turns the -0.0 of an empty or uniform text into 0.0.
    bits + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_paragraphs_are_counted_with_their_repeats() {
        let scan = Scan::of("第一行有十个字符哦。\n短行\n\n短行\n\n  短行 \n• 列表项目……\n");
        assert_eq!((scan.n_lines, scan.n_paragraphs), (5, 3));
        assert_eq!((scan.n_short_lines, scan.max_line_chars), (4, 10));
        assert_eq!(
            (
                scan.n_ended_lines,
                scan.n_ellipsis_lines,
                scan.n_bullet_lines
            ),
            (2, 1, 1)
        );
        assert_eq!((scan.n_repeated_lines, scan.n_repeated_line_chars), (2, 4));
        assert_eq!((scan.n_repeated_paragraphs, scan.n_sentences), (0, 5));
        let twice = Scan::of("甲乙\n丙\n\n甲乙\n丙");
        assert_eq!(
            (
                twice.n_repeated_paragraphs,
                twice.n_repeated_paragraph_chars
            ),
            (1, 3)
        );
    }

    #[test]
    fn classes_and_runs_are_counted() {
        let scan = Scan::of("中國abc12，★ \0\n好好好");
        assert_eq!(scan.n(Class::Han), 5);
        assert_eq!((scan.n(Class::Latin), scan.n(Class::Digit)), (3, 2));
        assert_eq!((scan.n(Class::Punctuation), scan.n(Class::Symbol)), (1, 1));
        assert_eq!((scan.n(Class::Control), scan.n_traditional), (1, 1));
        assert_eq!((scan.n_chars(), scan.longest_run), (12, 3));
    }

    #[test]
    fn nothing_counts_as_nothing() {
        for text in ["", "\n\n", " \t\u{3000}\n\0"] {
            let scan = Scan::of(text);
            assert_eq!((scan.n_chars(), scan.n_paragraphs), (0, 0), "{text:?}");
        }
    }

    #[test]
    fn entropy_of_known_distributions() {
        let of = |text: &str| entropy(&text.chars().map(u32::from).collect::<Vec<u32>>());
        assert_eq!(of(""), 0.0);
        assert_eq!(of("啊啊啊啊"), 0.0);
        assert_eq!(of("甲乙丙丁"), 2.0);
    }
}

//! Verse: does it keep its form, does it rhyme, and how much of it was in the training text.

use crate::error::{Error, Result};
use crate::lines::{self, Line, Shape};
use crate::measured::{Measured, Reduce, share};
use m6_text::rhyme::{Sound, sound};
use rayon::prelude::*;
use rustc_hash::FxHashSet;
use serde_json::json;

const CANDIDATES: Shape = Shape {
    side: "candidates",
    example: r#"{"id": "...", "lines": ["...", ...]}"#,
    fields: &["lines", "text", "author", "genre"],
};
const TRAINING: Shape = Shape {
    side: "training",
    example: r#"{"text": "..."} or {"lines": ["...", ...]}"#,
    fields: &["lines", "text", "author", "genre", "title_s", "text_s"],
};

/// Fields of training text, all of which are looked at.
const TEXT_FIELDS: [&str; 3] = ["text", "lines", "text_s"];

/// Training text in which spans are looked up: all its suffixes in order.
pub struct Training {
    chars: Vec<char>,
    suffixes: Vec<u32>,
    lines: FxHashSet<String>,
}

/// Figures: `constraint` (share of poems of an even number of lines, 4 to 16, all of 5 or all of 7 characters), `rhyme` (share whose even
/// lines end in one group of [`m6_text::rhyme`], some reading of each), `tones` (mean share of the tone rules kept: the second, fourth and sixth
/// characters of a line alternate between level and oblique, the second ones of a couplet differ). A poem that breaks the constraint
/// counts 0 for rhyme and tones. With training text: `copied_lines` (mean share of lines that are lines there) and `shared_span` (mean
/// longest run of characters, over ends of lines, that is there), and without interval `longest_shared_span`. Only letters count.
///
/// # Errors
/// Lines of another form; an id twice; a poem without a line.
pub fn measure_poem(candidates: &[u8], training: Option<&Training>) -> Result<Measured> {
    let lines = lines::read(candidates, CANDIDATES)?;
    let poems: Vec<Vec<Vec<char>>> = lines.iter().map(poem).collect::<Result<_>>()?;
    let found: Vec<[f64; 6]> = poems.par_iter().map(|poem| row(poem, training)).collect();
    let mut names = ["constraint", "rhyme", "tones"].map(str::to_owned).to_vec();
    let mut fixed = Vec::new();
    if training.is_some() {
        names.extend(["copied_lines", "shared_span"].map(str::to_owned));
        let longest = found.iter().map(|row| row[5]).fold(0.0, f64::max);
        fixed.push(("longest_shared_span".to_owned(), longest));
    }
    let n_figures = names.len();
    let per_item = lines.iter().zip(&found).map(|(line, row)| {
        let mut item = json!({"id": line.id});
        for (name, value) in names.iter().zip(&row[1..]) {
            item[name] = json!(value);
        }
        item
    });
    Ok(Measured {
        fixed,
        per_item: per_item.collect(),
        names,
        ids: lines.into_iter().map(|line| line.id).collect(),
        width: 6,
        rows: found.into_iter().flatten().collect(),
        reduce: Reduce::Sums(Box::new(move |s| {
            (1..=n_figures).map(|k| share(s[k], s[0])).collect()
        })),
    })
}

fn poem(line: &Line) -> Result<Vec<Vec<char>>> {
    let lines = line.some_texts(&["lines"])?;
    let lines = lines.iter().map(|l| letters(l));
    let lines: Vec<Vec<char>> = lines.filter(|l| !l.is_empty()).collect();
    match lines.is_empty() {
        true => Err(line.fault("\"lines\" holds no letter")),
        false => Ok(lines),
    }
}

fn letters(text: &str) -> Vec<char> {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

fn row(poem: &[Vec<char>], training: Option<&Training>) -> [f64; 6] {
    let (mut rhyme, mut tones) = (0.0, 0.0);
    let keeps = keeps_constraint(poem);
    if keeps {
        let sounds: Vec<Vec<Sound>> = (poem.iter())
            .map(|line| line.iter().map(|c| sound(*c).unwrap_or_default()).collect())
            .collect();
        rhyme = f64::from(u8::from(rhymes(&sounds)));
        tones = tone_share(&sounds);
    }
    let (copied, span) = training.map_or((0.0, 0.0), |training| {
        let n_copied = poem.iter().filter(|line| training.has_line(line)).count();
        let span = training.longest_shared_span(&poem.concat());
        (n_copied as f64 / poem.len() as f64, span as f64)
    });
    [1.0, f64::from(u8::from(keeps)), rhyme, tones, copied, span]
}

fn keeps_constraint(poem: &[Vec<char>]) -> bool {
    let length = poem.first().map_or(0, Vec::len);
    (4..=16).contains(&poem.len())
        && poem.len().is_multiple_of(2)
        && matches!(length, 5 | 7)
        && poem.iter().all(|line| line.len() == length)
}

fn rhymes(poem: &[Vec<Sound>]) -> bool {
    let ends = poem
        .iter()
        .skip(1)
        .step_by(2)
        .filter_map(|line| line.last());
    ends.fold(u16::MAX, |common, sound| common & sound.groups) != 0
}

/// Share of the tone rules that some reading keeps.
fn tone_share(poem: &[Vec<Sound>]) -> f64 {
    let differ = |a: &Sound, b: &Sound| a.level && b.oblique || a.oblique && b.level;
    let mut kept = Vec::new();
    for line in poem {
        let strong: Vec<&Sound> = line.iter().skip(1).step_by(2).collect();
        kept.extend(strong.windows(2).map(|pair| differ(pair[0], pair[1])));
    }
    for couplet in poem.chunks_exact(2) {
        kept.push(differ(&couplet[0][1], &couplet[1][1]));
    }
    kept.iter().filter(|kept| **kept).count() as f64 / kept.len().max(1) as f64
}

impl Training {
    /// Reads training text: JSON lines with `text`, `lines` or `text_s`, or several of them.
    ///
    /// # Errors
    /// A line of another form; no text at all; 4 billion characters or more.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let (mut chars, mut lines) = (Vec::new(), FxHashSet::default());
        for line in lines::objects(bytes, TRAINING)? {
            let forms = TEXT_FIELDS.map(|field| line.get(field).is_some().then_some(field));
            if forms.iter().all(Option::is_none) {
                line.texts(&TEXT_FIELDS)?;
            }
            // A poem may stand there in traditional and in simplified characters: copied from either is copied.
            for field in forms.into_iter().flatten() {
                for text in line.texts(&[field])? {
                    let parts = text.split(|c: char| !c.is_alphanumeric());
                    for part in parts.filter(|part| !part.is_empty()) {
                        chars.extend(part.chars());
                        lines.insert(part.to_owned());
                    }
                }
                // No letter, so that no span goes over the end of a text.
                chars.push('\n');
            }
        }
        let n = u32::try_from(chars.len()).map_err(|_| Error::TooLong)?;
        if lines.is_empty() {
            return Err(TRAINING.nothing());
        }
        let mut suffixes: Vec<u32> = (0..n).collect();
        suffixes.par_sort_unstable_by(|a, b| suffix(&chars, *a).cmp(suffix(&chars, *b)));
        Ok(Self {
            chars,
            suffixes,
            lines,
        })
    }

    fn has_line(&self, line: &[char]) -> bool {
        self.lines.contains(&line.iter().collect::<String>())
    }

    /// Length of the longest run of characters that is in the training text.
    fn longest_shared_span(&self, text: &[char]) -> usize {
        let longest = (0..text.len()).map(|start| {
            let rest = &text[start..];
            // What begins most like a text stands next to its place in the order.
            let at = self
                .suffixes
                .partition_point(|s| suffix(&self.chars, *s) < rest);
            let near = self.suffixes[at.saturating_sub(1)..].iter().take(2);
            near.map(|s| common_prefix(suffix(&self.chars, *s), rest))
                .max()
                .unwrap_or(0)
        });
        longest.max().unwrap_or(0)
    }
}

/// The text from a place on, up to a bound that no poem's span exceeds.
fn suffix(chars: &[char], start: u32) -> &[char] {
    let start = start as usize;
    &chars[start..chars.len().min(start + MAX_SPAN)]
}

/// Longest span that is told from a longer one.
const MAX_SPAN: usize = 256;

fn common_prefix(a: &[char], b: &[char]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], constraint: f64, rhyme: f64) {
        let text = json!({"id": "1", "lines": lines}).to_string();
        let measured = measure_poem(text.as_bytes(), None).unwrap();
        let figures = measured.figures();
        assert_eq!(figures[..2], [constraint, rhyme], "{lines:?}");
    }

    #[test]
    fn form_and_rhyme_are_seen() {
        check(
            &[
                "床前明月光，",
                "疑是地上霜。",
                "举头望明月，",
                "低头思故乡。",
            ],
            1.0,
            1.0,
        );
        check(
            &["床前明月光", "疑是地上霜", "举头望明月", "低头思故里"],
            1.0,
            0.0,
        );
        check(
            &["床前明月光", "疑是地上霜", "举头望明", "低头思故乡"],
            0.0,
            0.0,
        );
        check(&["床前明月光", "疑是地上霜"], 0.0, 0.0);
    }

    #[test]
    fn a_regulated_verse_keeps_its_tones_and_a_flat_one_does_not() {
        let tones = |lines: &[&str]| {
            let text = json!({"id": "1", "lines": lines}).to_string();
            measure_poem(text.as_bytes(), None).unwrap().figures()[2]
        };
        assert_eq!(
            tones(&["国破山河在", "城春草木深", "感时花溅泪", "恨别鸟惊心"]),
            1.0,
            "别 is bie2 and bie4: a reading that keeps the rule counts"
        );
        assert_eq!(tones(&["天天天天天"; 4]), 0.0);
    }

    #[test]
    fn what_was_copied_is_found() {
        let training = Training::parse(
            "{\"text\":\"床前明月光，疑是地上霜。\"}\n{\"lines\":[\"举头望明月\"]}".as_bytes(),
        )
        .unwrap();
        let poems = r#"{"id":1,"lines":["床前明月光","疑是海上霜"]}
{"id":2,"lines":["天上有明月","举头望明月"]}"#;
        let measured = measure_poem(poems.as_bytes(), Some(&training)).unwrap();
        assert_eq!(
            measured.per_item[0]["shared_span"], 7.0,
            "over the end of a line"
        );
        assert_eq!(
            measured.per_item[1]["shared_span"], 5.0,
            "not over the end of a text"
        );
        assert_eq!(measured.per_item[0]["copied_lines"], 0.5);
        assert_eq!(measured.fixed, [("longest_shared_span".to_owned(), 7.0)]);
    }

    #[test]
    fn poems_without_words_are_refused() {
        for bad in [
            r#"{"id":1,"lines":[]}"#,
            r#"{"id":1,"lines":["。"]}"#,
            r#"{"id":1}"#,
        ] {
            assert!(measure_poem(bad.as_bytes(), None).is_err(), "{bad}");
        }
        let none = Training::parse(b"").err().unwrap();
        assert!(none.side() == Some("training") && none.to_string().contains("no item"));
        assert!(Training::parse(b"{\"title\":\"x\"}").is_err());
    }

    #[test]
    fn training_text_counts_in_both_scripts() {
        let training = Training::parse(
            r#"{"lines":["春眠不覺曉，","處處聞啼鳥。"],"text_s":"春眠不觉晓，处处闻啼鸟。"}"#
                .as_bytes(),
        );
        let poems = r#"{"id":1,"lines":["春眠不觉晓","處處聞啼鳥"]}"#;
        let measured = measure_poem(poems.as_bytes(), Some(&training.unwrap())).unwrap();
        assert_eq!(measured.per_item[0]["copied_lines"], 1.0);
    }
}

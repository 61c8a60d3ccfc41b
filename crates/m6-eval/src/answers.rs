//! Accuracy of short answers, in all and by type of question.

use crate::error::{Error, Result};
use rustc_hash::FxHashSet;
use serde::Serialize;
use std::collections::BTreeMap;

/// A question's expected and given answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerItem {
    /// The question.
    pub id: String,
    /// Type of question (the paper's four: detection, relation, color, number), if known.
    pub kind: Option<String>,
    /// Answers that count as right.
    pub expected: Vec<String>,
    /// The answer given.
    pub given: String,
}

/// Right answers among questions of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct KindScore {
    /// Number of questions.
    pub n: usize,
    /// Number answered rightly.
    pub n_correct: usize,
    /// Share answered rightly, 0 to 1.
    pub accuracy: f64,
}

/// Accuracy in all and by type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswerScores {
    /// Number of questions.
    pub n: usize,
    /// Number answered rightly.
    pub n_correct: usize,
    /// Share answered rightly, 0 to 1.
    pub accuracy: f64,
    /// By type; questions without one are under "other".
    pub by_kind: BTreeMap<String, KindScore>,
    /// Whether each question was answered rightly, in order.
    pub correct: Vec<bool>,
}

impl KindScore {
    fn add(&mut self, correct: bool) {
        self.n += 1;
        self.n_correct += usize::from(correct);
        self.accuracy = self.n_correct as f64 / self.n as f64;
    }
}

/// Scores answers: right when equal to an expected one after [`normalize_answer`].
///
/// # Errors
/// [`Error::NoItems`], [`Error::DuplicateId`], [`Error::NoAnswer`].
pub fn score_answers(items: &[AnswerItem]) -> Result<AnswerScores> {
    if items.is_empty() {
        return Err(Error::NoItems);
    }
    let mut seen = FxHashSet::default();
    let mut all = KindScore::default();
    let mut by_kind: BTreeMap<String, KindScore> = BTreeMap::new();
    let mut correct = Vec::with_capacity(items.len());
    for item in items {
        if !seen.insert(item.id.as_str()) {
            return Err(Error::DuplicateId {
                what: "answers",
                id: item.id.clone(),
            });
        }
        if item.expected.is_empty() {
            return Err(Error::NoAnswer {
                id: item.id.clone(),
            });
        }
        let given = normalize_answer(&item.given);
        let right = item.expected.iter().any(|e| normalize_answer(e) == given);
        let kind = item.kind.as_deref().unwrap_or("other");
        by_kind.entry(kind.to_owned()).or_default().add(right);
        all.add(right);
        correct.push(right);
    }
    Ok(AnswerScores {
        n: all.n,
        n_correct: all.n_correct,
        accuracy: all.accuracy,
        by_kind,
        correct,
    })
}

/// The form in which answers are compared (ours): full-width letters and digits become ASCII,
/// letters lower case, white space and punctuation go. A point between digits, a sign before a
/// digit and `% < = >` stay; numerals are not converted, so 三 differs from 3. An answer of
/// punctuation alone is kept as it is.
pub fn normalize_answer(answer: &str) -> String {
    let chars: Vec<char> = answer.chars().map(half_width).collect();
    let is_digit = |i: Option<usize>| {
        i.and_then(|i| chars.get(i))
            .is_some_and(char::is_ascii_digit)
    };
    let mut out = String::with_capacity(answer.len());
    for (i, &c) in chars.iter().enumerate() {
        let follows_digit = is_digit(i.checked_sub(1));
        let precedes_digit = is_digit(Some(i + 1));
        let keep = match c {
            '.' => follows_digit && precedes_digit,
            '-' | '+' => precedes_digit && !follows_digit,
            '%' | '<' | '=' | '>' => true,
            _ => !is_punctuation(c),
        };
        if keep {
            out.extend(c.to_lowercase());
        }
    }
    if out.is_empty() {
        return chars.iter().filter(|c| !c.is_whitespace()).collect();
    }
    out
}

fn half_width(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        _ => c,
    }
}

fn is_punctuation(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || c.is_ascii_punctuation()
        || matches!(c, '\u{b7}' | '\u{2000}'..='\u{206f}' | '\u{3001}'..='\u{3003}')
        || matches!(c, '\u{3008}'..='\u{301f}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff5f}'..='\u{ff65}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(answer: &str, expected: &str) {
        assert_eq!(normalize_answer(answer), expected, "{answer:?}");
        assert_eq!(normalize_answer(expected), expected, "not stable");
    }

    #[test]
    fn answers_are_compared_in_one_form() {
        check(" 红色。", "红色");
        check("Ａ、Ｂ", "ab");
        check("３．５ 米", "3.5米");
        check("-3%", "-3%");
        check("1-2 个.", "12个");
        check("“两只”", "两只");
        check("？", "?");
        check("", "");
    }

    fn item(id: &str, kind: Option<&str>, expected: &[&str], given: &str) -> AnswerItem {
        AnswerItem {
            id: id.to_owned(),
            kind: kind.map(str::to_owned),
            expected: expected.iter().map(|s| (*s).to_owned()).collect(),
            given: given.to_owned(),
        }
    }

    #[test]
    fn accuracy_is_counted_by_kind() {
        let scores = score_answers(&[
            item("1", Some("color"), &["红色", "红"], "红。"),
            item("2", Some("color"), &["蓝色"], "红色"),
            item("3", Some("number"), &["3"], "３"),
            item("4", None, &["狗"], "猫"),
        ])
        .unwrap();
        assert_eq!((scores.n, scores.n_correct, scores.accuracy), (4, 2, 0.5));
        assert_eq!(scores.by_kind["color"].accuracy, 0.5);
        assert_eq!(scores.by_kind["number"].accuracy, 1.0);
        assert_eq!(scores.by_kind["other"].n_correct, 0);
        assert_eq!(scores.correct, [true, false, true, false]);
    }

    #[test]
    fn faults_name_the_id() {
        assert!(matches!(score_answers(&[]), Err(Error::NoItems)));
        let twice = [item("7", None, &["a"], "a"), item("7", None, &["a"], "a")];
        assert!(
            score_answers(&twice)
                .unwrap_err()
                .to_string()
                .contains("\"7\"")
        );
        let none = [item("8", None, &[], "a")];
        assert!(
            score_answers(&none)
                .unwrap_err()
                .to_string()
                .contains("\"8\"")
        );
    }
}

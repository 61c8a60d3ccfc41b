//! Short answers about pictures: exact and soft match, in all and by type of question.

use crate::answers::normalize_answer;
use crate::error::Result;
use crate::lines::{self, Shape};
use crate::measured::{Measured, Reduce, share};
use serde_json::json;
use std::collections::BTreeSet;

/// Answers in agreement that make a given one wholly right (VQA).
const N_AGREED: f64 = 3.0;

const REFERENCES: Shape = Shape {
    side: "references",
    example: r#"{"id": "...", "answers": ["...", ...], "type": "..."}"#,
    fields: &["answer", "answers", "type"],
};
const CANDIDATES: Shape = Shape {
    side: "candidates",
    example: r#"{"id": "...", "text": "..."}"#,
    fields: &["text", "type"],
};

/// Exact match (equal to any answer after [`normalize_answer`]) and soft match (`min(n / 3, 1)` for n answers that are equal, the rule of
/// VQA without its averaging over annotators; that of a question with one answer is its exact match). Figures: `exact`, `soft`, and both
/// with `/TYPE`; a question without a type is of type "other".
///
/// # Errors
/// Lines that are not `{"id", "answers" | "answer", "type"}` and `{"id", "text"}`; ids twice or on one side only; no answer.
pub fn measure_vqa(references: &[u8], candidates: &[u8]) -> Result<Measured> {
    let pairs = lines::pair(
        lines::read(references, REFERENCES)?,
        lines::read(candidates, CANDIDATES)?,
    )?;
    let mut found = Vec::with_capacity(pairs.len());
    for (reference, candidate) in &pairs {
        let answers = reference.some_texts(&["answers", "answer"])?;
        let given = normalize_answer(candidate.text("text")?);
        let is_equal = |answer: &&String| normalize_answer(answer) == given;
        let n_equal = answers.iter().filter(is_equal).count() as f64;
        let exact = n_equal.min(1.0);
        let soft = match answers.len() {
            1 => exact,
            _ => (n_equal / N_AGREED).min(1.0),
        };
        let kind = match reference.get("type") {
            Some(_) => reference.label("type")?,
            None => "other".to_owned(),
        };
        found.push((kind, exact, soft));
    }
    let kinds: Vec<&str> = found.iter().map(|(kind, ..)| kind.as_str()).collect();
    let kinds: Vec<&str> = kinds
        .into_iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let width = 3 * (1 + kinds.len());
    let mut rows = vec![0.0; width * found.len()];
    for (row, (kind, exact, soft)) in rows.chunks_exact_mut(width).zip(&found) {
        let at = 3 + 3 * kinds.partition_point(|k| k < &kind.as_str());
        row[..3].copy_from_slice(&[1.0, *exact, *soft]);
        row[at..at + 3].copy_from_slice(&[1.0, *exact, *soft]);
    }
    let mut names = vec!["exact".to_owned(), "soft".to_owned()];
    names.extend(
        kinds
            .iter()
            .flat_map(|k| [format!("exact/{k}"), format!("soft/{k}")]),
    );
    let n_of = |kind: &str| found.iter().filter(|(k, ..)| k == kind).count() as f64;
    Ok(Measured {
        names,
        fixed: kinds.iter().map(|k| (format!("n/{k}"), n_of(k))).collect(),
        per_item: (pairs.iter().zip(&found))
            .map(|((line, _), (kind, exact, soft))| json!({"id": line.id, "type": kind, "exact": exact, "soft": soft}))
            .collect(),
        ids: pairs.into_iter().map(|(line, _)| line.id).collect(),
        width,
        rows,
        reduce: Reduce::Sums(Box::new(|sums| {
            let of_kind = |s: &[f64]| [share(s[1], s[0]), share(s[2], s[0])];
            sums.chunks_exact(3).flat_map(of_kind).collect()
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_match_exactly_and_softly_by_type() {
        let references = r#"{"id":1,"answers":["红色","红色","红","绿"],"type":"color"}
{"id":2,"answer":"３","type":"number"}
{"id":3,"answers":["狗","狗","狗","狗"],"type":"color"}"#;
        let candidates = "{\"id\":1,\"text\":\"红色。\"}\n{\"id\":2,\"text\":\" 3\"}\n{\"id\":3,\"text\":\"猫\"}";
        let measured = measure_vqa(references.as_bytes(), candidates.as_bytes()).unwrap();
        let figure = |name: &str| {
            let at = measured.names.iter().position(|n| n == name).unwrap();
            measured.figures()[at]
        };
        assert_eq!(figure("exact"), 2.0 / 3.0);
        assert!((figure("soft") - (2.0 / 3.0 + 1.0) / 3.0).abs() < 1e-12);
        assert_eq!((figure("exact/color"), figure("exact/number")), (0.5, 1.0));
        assert!((figure("soft/color") - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(measured.fixed[0], ("n/color".to_owned(), 2.0));
    }

    #[test]
    fn an_empty_answer_is_refused() {
        let fault = measure_vqa(b"{\"id\":1,\"answers\":[]}", b"{\"id\":1,\"text\":\"a\"}");
        let message = fault.err().unwrap().to_string();
        assert!(
            message.contains("references, line 1: \"answers\" is empty"),
            "{message}"
        );
    }
}

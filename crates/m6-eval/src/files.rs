//! Reading what is to be scored from JSON lines. Every byte is taken for hostile.

use crate::answers::AnswerItem;
use crate::error::{Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const REFERENCE_LINE: &str = r#"{"id": "...", "captions": ["...", ...]}"#;
const CANDIDATE_LINE: &str = r#"{"id": "...", "text": "..."}"#;
const ANSWER_LINE: &str = r#"{"id": "...", "kind": "...", "expected": ["..."], "given": "..."}"#;

/// An id may be written as a string or as a whole number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(i64),
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        match id {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Vec<String> {
    fn from(value: OneOrMore) -> Self {
        match value {
            OneOrMore::One(text) => vec![text],
            OneOrMore::More(texts) => texts,
        }
    }
}

#[derive(Deserialize)]
struct ReferenceLine {
    id: Id,
    #[serde(alias = "captions", alias = "reference", alias = "caption")]
    references: OneOrMore,
}

#[derive(Deserialize)]
struct CandidateLine {
    id: Id,
    #[serde(alias = "caption", alias = "hypothesis", alias = "text")]
    candidate: String,
}

#[derive(Deserialize)]
struct AnswerLine {
    id: Id,
    #[serde(default, alias = "type")]
    kind: Option<String>,
    #[serde(alias = "answer", alias = "answers")]
    expected: OneOrMore,
    #[serde(alias = "candidate", alias = "prediction")]
    given: String,
}

/// References by id, from JSON lines of `id` and `references` (or `captions`), a text or a list.
///
/// # Errors
/// [`Error::Line`] with the first bad line.
pub fn parse_references(bytes: &[u8]) -> Result<Vec<(String, Vec<String>)>> {
    let lines = parse::<ReferenceLine>(bytes, REFERENCE_LINE)?;
    let pair = |l: ReferenceLine| (l.id.into(), l.references.into());
    Ok(lines.into_iter().map(pair).collect())
}

/// Candidates by id, from JSON lines of `id` and `candidate` (or `caption`, `hypothesis`, `text`).
///
/// # Errors
/// [`Error::Line`] with the first bad line.
pub fn parse_candidates(bytes: &[u8]) -> Result<Vec<(String, String)>> {
    let lines = parse::<CandidateLine>(bytes, CANDIDATE_LINE)?;
    let pair = |l: CandidateLine| (l.id.into(), l.candidate);
    Ok(lines.into_iter().map(pair).collect())
}

/// Answers, from JSON lines of `id`, `kind` (optional), `expected` (a text or a list) and `given`.
///
/// # Errors
/// [`Error::Line`] with the first bad line.
pub fn parse_answers(bytes: &[u8]) -> Result<Vec<AnswerItem>> {
    let lines = parse::<AnswerLine>(bytes, ANSWER_LINE)?;
    let item = |l: AnswerLine| AnswerItem {
        id: l.id.into(),
        kind: l.kind,
        expected: l.expected.into(),
        given: l.given,
    };
    Ok(lines.into_iter().map(item).collect())
}

fn parse<T: DeserializeOwned>(bytes: &[u8], expected: &'static str) -> Result<Vec<T>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut items = Vec::new();
    for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let item = serde_json::from_slice(line).map_err(|error| Error::Line {
            line: i + 1,
            message: error.to_string(),
            expected,
        })?;
        items.push(item);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_under_their_usual_names() {
        let refs = "{\"id\": 7, \"captions\": [\"a\", \"b\"]}\r\n\n{\"id\": \"x\", \"references\": \"c\"}\n";
        let refs = parse_references(refs.as_bytes()).unwrap();
        assert_eq!(
            refs[0],
            ("7".to_owned(), vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(refs[1].1, ["c"]);
        let cands = parse_candidates(b"{\"id\": \"7\", \"caption\": \"a\", \"more\": 1}").unwrap();
        assert_eq!(cands, [("7".to_owned(), "a".to_owned())]);
        let line = b"{\"id\": 1, \"type\": \"color\", \"answer\": \"a\", \"given\": \"b\"}";
        let answers = parse_answers(line).unwrap();
        assert_eq!(answers[0].kind.as_deref(), Some("color"));
        assert_eq!(answers[0].expected, ["a"]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let bad = parse_candidates(b"{\"id\": 1, \"candidate\": \"a\"}\n{\"id\": 2}\n");
        assert!(matches!(bad, Err(Error::Line { line: 2, .. })));
        let bad = parse_references(b"\xff\xfe");
        assert!(matches!(bad, Err(Error::Line { line: 1, .. })));
        let deep = "[".repeat(1_000_000);
        assert!(parse_answers(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse_references(&bytes), parse_candidates(&bytes), parse_answers(&bytes));
        }
    }
}

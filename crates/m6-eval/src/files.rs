//! Reading what is to be scored from JSON lines. Every byte is taken for hostile.

use crate::answers::AnswerItem;
use crate::error::{Error, Result};
use rustc_hash::FxHashMap;
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
/// [`Error::Line`] with the first bad line; an id that is there twice and a file without a line are errors too.
pub fn parse_references(bytes: &[u8]) -> Result<Vec<(String, Vec<String>)>> {
    parse(bytes, REFERENCE_LINE, |l: ReferenceLine| {
        let (id, references): (String, Vec<String>) = (l.id.into(), l.references.into());
        match references.iter().all(|r| r.trim().is_empty()) {
            true => Err(format!("the references of {id:?} are empty")),
            false => Ok((id.clone(), (id, references))),
        }
    })
}

/// Candidates by id, from JSON lines of `id` and `candidate` (or `caption`, `hypothesis`, `text`).
///
/// # Errors
/// [`Error::Line`] with the first bad line; an id that is there twice and a file without a line are errors too.
pub fn parse_candidates(bytes: &[u8]) -> Result<Vec<(String, String)>> {
    parse(bytes, CANDIDATE_LINE, |l: CandidateLine| {
        let id = String::from(l.id);
        Ok((id.clone(), (id, l.candidate)))
    })
}

/// Answers, from JSON lines of `id`, `kind` (optional), `expected` (a text or a list) and `given`.
///
/// # Errors
/// [`Error::Line`] with the first bad line; an id that is there twice and a file without a line are errors too.
pub fn parse_answers(bytes: &[u8]) -> Result<Vec<AnswerItem>> {
    parse(bytes, ANSWER_LINE, |l: AnswerLine| {
        let item = AnswerItem {
            id: l.id.into(),
            kind: l.kind,
            expected: l.expected.into(),
            given: l.given,
        };
        Ok((item.id.clone(), item))
    })
}

/// The items of a file, each made of a line with its id or refused with a message; an id twice and no item at all are refused too.
fn parse<L: DeserializeOwned, T>(
    bytes: &[u8],
    expected: &'static str,
    make: impl Fn(L) -> std::result::Result<(String, T), String>,
) -> Result<Vec<T>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let fault = |line, message| Error::Line {
        line,
        message,
        expected,
    };
    let mut seen: FxHashMap<String, usize> = FxHashMap::default();
    let mut items = Vec::new();
    for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let parsed = serde_json::from_slice(line).map_err(|e| fault(i + 1, e.to_string()))?;
        let (id, item) = make(parsed).map_err(|message| fault(i + 1, message))?;
        if let Some(first) = seen.insert(id.clone(), i + 1) {
            let message = format!("id {id:?} occurs more than once, first on line {first}");
            return Err(fault(i + 1, message));
        }
        items.push(item);
    }
    match items.is_empty() {
        true => Err(fault(1, "no item, the file is empty".to_owned())),
        false => Ok(items),
    }
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
        for (bytes, expected) in [
            (
                "{\"id\": 1, \"text\": \"a\"}\n\n{\"id\": \"1\", \"text\": \"b\"}",
                "line 3: id \"1\" occurs more than once, first on line 1",
            ),
            ("\n\n", "no item"),
        ] {
            let message = parse_candidates(bytes.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        for references in ["[]", "\" \"", "[\"\"]"] {
            let line = format!("{{\"id\": 1, \"captions\": {references}}}");
            let message = parse_references(line.as_bytes()).unwrap_err().to_string();
            assert!(
                message.contains("line 1: the references of \"1\" are empty"),
                "{message}"
            );
        }
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

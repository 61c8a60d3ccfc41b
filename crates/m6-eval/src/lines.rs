//! JSON lines keyed by `id`: two files read strictly and brought together. Every byte is taken for hostile.

use crate::error::{Error, Result};
use rustc_hash::FxHashMap;
use serde_json::{Map, Value};

/// Fields that may stand in any line and are not looked at: what data sets and `m6 generate` carry along.
const CARRIED: [&str; 9] = [
    "context", "image", "logprob", "meta", "n_tokens", "prompt", "question", "source", "title",
];

/// What the lines of a file hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// "references", "candidates" or "training".
    pub side: &'static str,
    /// A good line, for messages.
    pub example: &'static str,
    /// Names a line may have besides `id`.
    pub fields: &'static [&'static str],
}

/// One line of a file.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Its id.
    pub id: String,
    shape: Shape,
    number: usize,
    fields: Map<String, Value>,
}

/// Reads a file; ids may be strings or whole numbers.
pub(crate) fn read(bytes: &[u8], shape: Shape) -> Result<Vec<Line>> {
    let mut seen: FxHashMap<String, usize> = FxHashMap::default();
    let mut lines = Vec::new();
    for line in objects(bytes, shape)? {
        let id = match line.fields.get("id") {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) if id.is_i64() || id.is_u64() => id.to_string(),
            _ => return Err(line.fault("no field \"id\" of text or a whole number")),
        };
        if let Some(first) = seen.insert(id.clone(), line.number) {
            let message = format!("id {id:?} occurs more than once, first on line {first}");
            return Err(line.fault(&message));
        }
        lines.push(Line { id, ..line });
    }
    match lines.is_empty() {
        true => Err(shape.nothing()),
        false => Ok(lines),
    }
}

impl Shape {
    /// The error of a file without a line.
    pub fn nothing(self) -> Error {
        Error::Side {
            side: self.side,
            line: 1,
            message: "no item, the file is empty".to_owned(),
            expected: self.example,
        }
    }
}

/// The lines of a file whose ids do not matter.
pub(crate) fn objects(bytes: &[u8], shape: Shape) -> Result<Vec<Line>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = Vec::new();
    for (i, text) in bytes.split(|b| *b == b'\n').enumerate() {
        if text.trim_ascii().is_empty() {
            continue;
        }
        let mut line = Line {
            id: String::new(),
            shape,
            number: i + 1,
            fields: Map::new(),
        };
        line.fields =
            serde_json::from_slice(text).map_err(|e| line.fault(&format!("not an object: {e}")))?;
        let known =
            |key: &str| key == "id" || shape.fields.contains(&key) || CARRIED.contains(&key);
        if let Some(key) = line.fields.keys().find(|key| !known(key)) {
            return Err(line.fault(&format!("unknown field {key:?}")));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Candidates in the order of the references; both sides must have the same ids.
pub(crate) fn pair(references: Vec<Line>, candidates: Vec<Line>) -> Result<Vec<(Line, Line)>> {
    let n_items = references.len();
    let mut by_id: FxHashMap<String, Line> =
        candidates.into_iter().map(|c| (c.id.clone(), c)).collect();
    let mut pairs = Vec::with_capacity(n_items);
    let mut missing = Vec::new();
    for reference in references {
        match by_id.remove(&reference.id) {
            Some(candidate) => pairs.push((reference, candidate)),
            None => missing.push(reference.id),
        }
    }
    if let Some(id) = missing.first() {
        return Err(Error::MissingCandidate {
            id: id.clone(),
            n_missing: missing.len(),
            n_items,
        });
    }
    if let Some(first) = by_id.values().min_by_key(|line| line.number) {
        return Err(Error::UnknownCandidates {
            id: first.id.clone(),
            line: first.number,
            n_unknown: by_id.len(),
        });
    }
    Ok(pairs)
}

impl Line {
    /// An error that names this line.
    pub fn fault(&self, message: &str) -> Error {
        let id = match self.id.is_empty() {
            true => String::new(),
            false => format!(" (id {:?})", self.id),
        };
        Error::Side {
            side: self.shape.side,
            line: self.number,
            message: format!("{message}{id}"),
            expected: self.shape.example,
        }
    }

    /// The value of a field, if the line has it and it is not null.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// A text.
    pub fn text(&self, field: &str) -> Result<&str> {
        let text = self.get(field).and_then(Value::as_str);
        text.ok_or_else(|| self.fault(&format!("no field {field:?} of text")))
    }

    /// A finite number.
    pub fn number(&self, field: &str) -> Result<f64> {
        let number = self.get(field).and_then(Value::as_f64);
        let number = number.filter(|x| x.is_finite());
        number.ok_or_else(|| self.fault(&format!("no field {field:?} of a finite number")))
    }

    /// A text or a list of texts, under the first of these names that the line has.
    pub fn texts(&self, fields: &[&str]) -> Result<Vec<String>> {
        let fault = || {
            self.fault(&format!(
                "no field {:?} of a text or a list of texts",
                fields[0]
            ))
        };
        let value = fields.iter().find_map(|field| self.get(field));
        match value.ok_or_else(fault)? {
            Value::String(text) => Ok(vec![text.clone()]),
            Value::Array(values) => values
                .iter()
                .map(|v| v.as_str().map(str::to_owned).ok_or_else(fault))
                .collect(),
            _ => Err(fault()),
        }
    }

    /// Texts of which one at least is not blank.
    pub fn some_texts(&self, fields: &[&str]) -> Result<Vec<String>> {
        let texts = self.texts(fields)?;
        match texts.iter().all(|t| t.trim().is_empty()) {
            true => Err(self.fault(&format!("{:?} is empty", fields[0]))),
            false => Ok(texts),
        }
    }

    /// A label: a text or a whole number.
    pub fn label(&self, field: &str) -> Result<String> {
        match self.get(field) {
            Some(Value::String(label)) if !label.is_empty() => Ok(label.clone()),
            Some(Value::Number(label)) => Ok(label.to_string()),
            Some(Value::Bool(label)) => Ok(label.to_string()),
            _ => Err(self.fault(&format!("no field {field:?} of a label"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        side: "candidates",
        example: "a good line",
        fields: &["text"],
    };

    fn fault(bytes: &[u8], expected: &str) {
        let message = read(bytes, SHAPE).expect_err("refused").to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn each_fault_is_one_clear_error() {
        fault(b"", "no item");
        fault(
            b"{\"id\":1}\n\nnonsense\n",
            "candidates, line 3: not an object",
        );
        fault(b"[1]", "line 1");
        fault(b"\xff\xfe", "line 1");
        fault(b"{\"text\":\"a\"}", "\"id\"");
        fault(b"{\"id\":1,\"txet\":\"a\"}", "unknown field \"txet\"");
        fault(
            b"{\"id\":1}\n{\"id\":\"1\"}",
            "candidates, line 2: id \"1\" occurs more than once, first on line 1",
        );
        let deep = format!("{{\"id\":{}", "[".repeat(100_000));
        fault(deep.as_bytes(), "line 1");
    }

    #[test]
    fn both_sides_need_the_same_ids() {
        let lines = |text: &str| read(text.as_bytes(), SHAPE).unwrap();
        let three = "{\"id\":1}\n{\"id\":2}\n{\"id\":3}";
        let message = pair(lines(three), lines("{\"id\":2}")).unwrap_err();
        assert!(message.to_string().contains("2 of 3 ids"), "{message}");
        let message = pair(lines("{\"id\":1}"), lines(three)).unwrap_err();
        assert!(message.to_string().contains("2 candidates"), "{message}");
        assert!(message.to_string().contains("\"2\""), "{message}");
        let pairs = pair(lines(three), lines("{\"id\":3}\n{\"id\":1}\n{\"id\":2}")).unwrap();
        assert!(pairs.iter().all(|(a, b)| a.id == b.id));
    }

    #[test]
    fn fields_of_the_wrong_kind_are_named() {
        let line = &read(b"{\"id\":7,\"text\":[\"\",1]}", SHAPE).unwrap()[0];
        for message in [
            line.text("text").unwrap_err().to_string(),
            line.texts(&["text"]).unwrap_err().to_string(),
            line.number("text").unwrap_err().to_string(),
        ] {
            assert!(
                message.contains("\"text\"") && message.contains("id \"7\""),
                "{message}"
            );
        }
        let line = &read(b"{\"id\":7,\"text\":[\" \"]}", SHAPE).unwrap()[0];
        assert!(
            line.some_texts(&["text"])
                .unwrap_err()
                .to_string()
                .contains("is empty")
        );
    }
}

//! From a JSON value to a record, by the fields that a source names.

use serde_json::Value;

use crate::config::SourceConfig;
use crate::record::{Qa, Record};

/// The fields of a source, parsed once.
pub struct FieldMap {
    id: Option<Selector>,
    text: Vec<Selector>,
    captions: Vec<Selector>,
    image: Vec<ImageField>,
    qa: Option<QaMap>,
}

/// A dotted path, possibly joined to one string; or a constant.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Selector {
    Path { keys: Vec<Step>, join: bool },
    Constant(String),
}

/// A step of a path: a key, and a flag that the values there must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    key: String,
    flag: Option<String>,
}

/// An image field, and whether it holds pictures in base64 instead of their names.
struct ImageField {
    keys: Vec<Step>,
    base64: bool,
}

/// A value of an image field.
#[derive(Clone, Copy, Debug)]
pub enum ImageValue<'a> {
    /// The name of a picture, or whatever stands there.
    Named(&'a Value),
    /// The picture.
    Base64(&'a Value),
}

/// Question and answer below the longest path they share, so that lists of pairs stay pairs.
struct QaMap {
    shared: Vec<Step>,
    question: Selector,
    answer: Selector,
    /// What is asked for, and the answers to choose among.
    kind: Option<Selector>,
    choices: Vec<Selector>,
}

impl FieldMap {
    /// The map of a source; without an `id` field, `id` is looked for.
    pub fn new(config: &SourceConfig) -> Self {
        let all = |fields: &crate::config::Fields| fields.iter().map(Selector::parse).collect();
        let qa = match (&config.question, &config.answer) {
            (Some(question), Some(answer)) => Some(QaMap::new(question, answer, config)),
            _ => None,
        };
        Self {
            id: Some(Selector::parse(config.id.as_deref().unwrap_or("id"))),
            text: all(&config.text),
            captions: all(&config.captions),
            image: config.image.iter().map(ImageField::parse).collect(),
            qa,
        }
    }

    /// The record without its pictures; `fallback_id` is used where the value names none.
    pub fn record(&self, value: &Value, place: String, fallback_id: &str) -> Record {
        let id = self
            .id
            .as_ref()
            .and_then(|id| id.strings(value).into_iter().next());
        let text: Vec<String> = self
            .text
            .iter()
            .flat_map(|field| field.strings(value))
            .collect();
        let mut captions: Vec<String> = Vec::new();
        for caption in self.captions.iter().flat_map(|field| field.strings(value)) {
            if !captions.contains(&caption) {
                captions.push(caption);
            }
        }
        Record {
            id: id.unwrap_or_else(|| fallback_id.to_string()),
            place,
            text: (!text.is_empty()).then(|| text.join("\n")),
            captions,
            images: Vec::new(),
            qa: self
                .qa
                .as_ref()
                .map(|qa| qa.pairs(value))
                .unwrap_or_default(),
        }
    }

    /// The values of the image fields.
    pub fn images<'a>(&self, value: &'a Value) -> Vec<ImageValue<'a>> {
        let mut out = Vec::new();
        for field in &self.image {
            let mut found = Vec::new();
            select(value, &field.keys, &mut found);
            out.extend(found.into_iter().map(|value| match field.base64 {
                true => ImageValue::Base64(value),
                false => ImageValue::Named(value),
            }));
        }
        out
    }

    /// First keys of all paths: the columns a table must have.
    pub fn columns(&self, explicit_id: bool) -> Vec<&str> {
        let mut out = Vec::new();
        let qa = self.qa.iter().flat_map(|qa| {
            let asked = qa.kind.iter().chain(&qa.choices);
            let whole = [&qa.question, &qa.answer].into_iter().chain(asked);
            let shared = qa.shared.first().map(|step| step.key.as_str());
            whole.filter_map(move |field| shared.or(field.first_key()))
        });
        let plain = self.text.iter().chain(&self.captions);
        let id = self.id.iter().filter(|_| explicit_id);
        let image = self.image.iter().filter_map(|field| field.keys.first());
        let image = image.map(|step| step.key.as_str());
        let plain = plain.chain(id).filter_map(Selector::first_key);
        for key in plain.chain(image).chain(qa) {
            if !out.contains(&key) {
                out.push(key);
            }
        }
        out
    }
}

impl QaMap {
    fn new(question: &str, answer: &str, config: &SourceConfig) -> Self {
        let (mut question, mut answer) = (Selector::parse(question), Selector::parse(answer));
        let mut kind = config.question_kind.as_deref().map(Selector::parse);
        let mut choices: Vec<Selector> = config.choices.iter().map(Selector::parse).collect();
        let mut shared = Vec::new();
        if let (Selector::Path { keys: q, .. }, Selector::Path { keys: a, .. }) =
            (&mut question, &mut answer)
        {
            while q.len() > 1 && a.len() > 1 && q[0] == a[0] {
                shared.push(q.remove(0));
                a.remove(0);
            }
        }
        for selector in kind.iter_mut().chain(&mut choices) {
            selector.below(&shared);
        }
        Self {
            shared,
            question,
            answer,
            kind,
            choices,
        }
    }

    fn pairs(&self, value: &Value) -> Vec<Qa> {
        let mut elements = Vec::new();
        select(value, &self.shared, &mut elements);
        let mut out: Vec<Qa> = Vec::new();
        for element in elements {
            let kind = self
                .kind
                .as_ref()
                .and_then(|kind| kind.strings(element).into_iter().next());
            let choices = self
                .choices
                .iter()
                .flat_map(|choice| choice.strings(element));
            let choices: Vec<String> = choices.collect();
            for question in self.question.strings(element) {
                for answer in self.answer.strings(element) {
                    let pair = Qa {
                        question: question.clone(),
                        answer,
                        kind: kind.clone(),
                        choices: choices.clone(),
                    };
                    if !out.contains(&pair) {
                        out.push(pair);
                    }
                }
            }
        }
        out
    }
}

impl Selector {
    fn parse(text: &str) -> Self {
        if let Some(constant) = text.strip_prefix('=') {
            return Selector::Constant(constant.to_string());
        }
        let (path, join) = match text.strip_suffix(":join") {
            Some(path) => (path, true),
            None => (text, false),
        };
        Selector::Path {
            keys: steps(path),
            join,
        }
    }

    /// Leaves out the keys of a path that lead to the elements at `shared`.
    fn below(&mut self, shared: &[Step]) {
        if let Selector::Path { keys, .. } = self
            && keys.len() > shared.len()
            && keys.starts_with(shared)
        {
            keys.drain(..shared.len());
        }
    }

    fn first_key(&self) -> Option<&str> {
        match self {
            Selector::Path { keys, .. } => keys.first().map(|step| step.key.as_str()),
            Selector::Constant(_) => None,
        }
    }

    /// The strings found, without blank ones.
    fn strings(&self, value: &Value) -> Vec<String> {
        let (keys, join) = match self {
            Selector::Constant(text) => return vec![text.clone()],
            Selector::Path { keys, join } => (keys, *join),
        };
        let mut found = Vec::new();
        select(value, keys, &mut found);
        let strings: Vec<String> = found.into_iter().filter_map(leaf).collect();
        match join && !strings.is_empty() {
            true => vec![strings.join("、")],
            false => strings,
        }
    }
}

impl ImageField {
    fn parse(text: &str) -> Self {
        let (path, base64) = match text.strip_suffix(":base64") {
            Some(path) => (path, true),
            None => (text, false),
        };
        Self {
            keys: steps(path),
            base64,
        }
    }
}

/// The steps of a dotted path.
pub(crate) fn steps(path: &str) -> Vec<Step> {
    let step = |part: &str| {
        let flagged = part.strip_suffix(']').and_then(|part| part.split_once('['));
        let (key, flag) = match flagged {
            Some((key, flag)) => (key, Some(flag.to_string())),
            None => (part, None),
        };
        Step {
            key: key.to_string(),
            flag,
        }
    };
    path.split('.').map(step).collect()
}

impl Step {
    /// The key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Whether the step leads to a value: it has no flag, or the value's is true (a number: not 0).
    pub(crate) fn admits(&self, value: &Value) -> bool {
        let Some(flag) = &self.flag else {
            return true;
        };
        match value.get(flag) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(flag)) => flag.as_f64() != Some(0.0),
            _ => false,
        }
    }
}

/// The values at a path; lists on the way, and one list at its end, are walked.
fn select<'a>(value: &'a Value, keys: &[Step], out: &mut Vec<&'a Value>) {
    if let Value::Array(items) = value {
        for item in items {
            match (item, keys.is_empty()) {
                // A list of lists at the end keeps its inner lists: each is one string.
                (Value::Array(_), true) => out.push(item),
                _ => select(item, keys, out),
            }
        }
        return;
    }
    match keys.split_first() {
        None => out.push(value),
        Some((step, rest)) => match value.get(&step.key) {
            Some(Value::Array(items)) if step.flag.is_some() => {
                for item in items.iter().filter(|item| step.admits(item)) {
                    select(item, rest, out);
                }
            }
            Some(inner) if step.admits(inner) => select(inner, rest, out),
            _ => {}
        },
    }
}

/// The text of a value: strings, numbers, and flat lists of them with spaces between.
fn leaf(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_string(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().filter_map(leaf).collect::<Vec<_>>().join(" "),
        Value::Null | Value::Bool(_) | Value::Object(_) => String::new(),
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Fields;
    use serde_json::json;

    fn map(config: SourceConfig) -> FieldMap {
        FieldMap::new(&config)
    }

    #[test]
    fn captions_come_from_strings_lists_and_joined_lists() {
        let map = map(SourceConfig {
            captions: Fields::from(["name", "keywords:join", "captions"]),
            ..SourceConfig::default()
        });
        let value = json!({"id": 7, "name": "井号", "keywords": ["主题", "编号"], "captions": ["甲", " ", "井号"]});
        let record = map.record(&value, "here".to_string(), "fallback");
        assert_eq!(record.id, "7");
        assert_eq!(record.captions, ["井号", "主题、编号", "甲"]);
    }

    #[test]
    fn nested_pairs_stay_pairs_and_equal_answers_count_once() {
        let map = map(SourceConfig {
            text: Fields::from(["context"]),
            question: Some("qas.question".to_string()),
            answer: Some("qas.answers".to_string()),
            ..SourceConfig::default()
        });
        let value = json!({"context": "文", "qas": [
            {"question": "一？", "answers": ["甲", "甲", "乙"]},
            {"question": "二？", "answers": ["丙"]}]});
        let record = map.record(&value, String::new(), "f:1");
        let pairs: Vec<(&str, &str)> = record
            .qa
            .iter()
            .map(|qa| (&*qa.question, &*qa.answer))
            .collect();
        assert_eq!(pairs, [("一？", "甲"), ("一？", "乙"), ("二？", "丙")]);
        assert_eq!(record.id, "f:1");
    }

    #[test]
    fn kinds_and_choices_stay_with_their_question() {
        let map = map(SourceConfig {
            question: Some("qas.q".to_string()),
            answer: Some("qas.a".to_string()),
            question_kind: Some("qas.type".to_string()),
            choices: Fields::from(["qas.options", "=都不是"]),
            ..SourceConfig::default()
        });
        let value = json!({"qas": [
            {"q": "几只？", "a": "两只", "type": "number"},
            {"q": "什么？", "a": "狗", "options": ["狗", "猫"]}]});
        let record = map.record(&value, String::new(), "x");
        assert_eq!(record.qa[0].kind.as_deref(), Some("number"));
        assert_eq!(record.qa[0].choices, ["都不是"]);
        assert_eq!(record.qa[1].kind, None);
        assert_eq!(record.qa[1].choices, ["狗", "猫", "都不是"]);
    }

    #[test]
    fn a_text_joins_its_fields_and_pairs_of_a_list_become_lines() {
        let map = map(SourceConfig {
            text: Fields::from(["title", "attributes", "price"]),
            ..SourceConfig::default()
        });
        let value =
            json!({"title": "被", "attributes": [["尺寸", "大"], ["面料", "棉"]], "price": null});
        let record = map.record(&value, String::new(), "x");
        assert_eq!(record.text.as_deref(), Some("被\n尺寸 大\n面料 棉"));
    }

    #[test]
    fn a_flag_picks_from_a_list() {
        let map = map(SourceConfig {
            text: Fields::from(["documents[is_selected].paragraphs"]),
            ..SourceConfig::default()
        });
        let value = json!({"documents": [
            {"is_selected": true, "paragraphs": ["一", "二"]},
            {"is_selected": false, "paragraphs": ["三"]},
            {"is_selected": 1, "paragraphs": ["四"]}, {"paragraphs": ["五"]}]});
        let record = map.record(&value, String::new(), "x");
        assert_eq!(record.text.as_deref(), Some("一\n二\n四"));
        assert_eq!(map.columns(false), ["documents"]);
    }

    #[test]
    fn a_constant_question_meets_each_answer() {
        let map = map(SourceConfig {
            question: Some("=什么花？".to_string()),
            answer: Some("label".to_string()),
            ..SourceConfig::default()
        });
        let record = map.record(&json!({"label": "雏菊"}), String::new(), "x");
        assert_eq!(record.qa.len(), 1);
        assert_eq!(map.columns(false), ["label"]);
    }
}

//! Which fields of a JSON value are what: dotted paths through objects and lists.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The field map of a source (ours).
///
/// A field is a dotted path (`qas.question`); lists on the way are walked. `a.{b,c}` takes several keys of every
/// element in turn, so that questions stay with their answers; `:join` joins what was found into one text; `:json`
/// reads a string that holds JSON; `=text` is a constant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    /// Identity of the row; `id` where not given, place and number where the row has none.
    pub id: Option<String>,
    /// Address of the page.
    pub url: Option<String>,
    /// Headline.
    pub title: Option<String>,
    /// Texts, in the order in which they are joined, a line each.
    pub text: Vec<String>,
    /// HTML that is still to be extracted.
    pub html: Option<String>,
    /// Language.
    pub lang: Option<String>,
    /// Pictures: addresses, or objects with `file`, `url`, `src` or `path`.
    pub pictures: Vec<String>,
    /// Captions that hold for every picture of the row.
    pub captions: Vec<String>,
    /// Fields to keep as they are, under their own path.
    pub meta: Vec<String>,
}

impl Fields {
    /// True when some field gives text, HTML or pictures.
    pub(super) fn names_content(&self) -> bool {
        !self.text.is_empty() || self.html.is_some() || !self.pictures.is_empty()
    }
}

/// [`Fields`], parsed once.
#[derive(Clone, Debug)]
pub(super) struct FieldMap {
    pub(super) id: Selector,
    pub(super) url: Option<Selector>,
    pub(super) title: Option<Selector>,
    pub(super) text: Vec<Selector>,
    pub(super) html: Option<Selector>,
    pub(super) lang: Option<Selector>,
    pub(super) pictures: Vec<Selector>,
    pub(super) captions: Vec<Selector>,
    pub(super) meta: Vec<(String, Selector)>,
}

impl FieldMap {
    pub(super) fn new(fields: &Fields) -> Result<Self> {
        let one = |field: &Option<String>| field.as_deref().map(Selector::parse).transpose();
        let all = |fields: &[String]| -> Result<Vec<Selector>> {
            fields.iter().map(|field| Selector::parse(field)).collect()
        };
        let meta = fields
            .meta
            .iter()
            .map(|field| Ok((field.clone(), Selector::parse(field)?)));
        Ok(Self {
            id: Selector::parse(fields.id.as_deref().unwrap_or("id"))?,
            url: one(&fields.url)?,
            title: one(&fields.title)?,
            text: all(&fields.text)?,
            html: one(&fields.html)?,
            lang: one(&fields.lang)?,
            pictures: all(&fields.pictures)?,
            captions: all(&fields.captions)?,
            meta: meta.collect::<Result<_>>()?,
        })
    }

    /// First keys of all paths that were asked for: the columns a table must have.
    pub(super) fn columns(&self, with_id: bool) -> Vec<&str> {
        let singles = [&self.url, &self.title, &self.html, &self.lang]
            .into_iter()
            .flatten();
        let lists = self.text.iter().chain(&self.pictures).chain(&self.captions);
        let meta = self.meta.iter().map(|(_, selector)| selector);
        let id = Some(&self.id).filter(|_| with_id);
        let mut out: Vec<&str> = Vec::new();
        for selector in singles.chain(lists).chain(meta).chain(id) {
            match selector.steps.first() {
                Some(Step::Key(key)) if !out.contains(&key.as_str()) => out.push(key),
                _ => {}
            }
        }
        out
    }
}

/// One parsed field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selector {
    steps: Vec<Step>,
    join: bool,
    constant: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The value of a key.
    Key(String),
    /// The values of several keys, element by element.
    Each(Vec<String>),
    /// A string that holds JSON.
    Json,
}

impl Selector {
    /// Parses a field.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty key or a brace that is not the last step.
    pub(super) fn parse(field: &str) -> Result<Self> {
        let refuse = |why: &str| Err(Error::Config(format!("field \"{field}\": {why}")));
        if let Some(constant) = field.strip_prefix('=') {
            let constant = Some(constant.to_string());
            return Ok(Selector {
                steps: Vec::new(),
                join: false,
                constant,
            });
        }
        let (path, join) = match field.strip_suffix(":join") {
            Some(path) => (path, true),
            None => (field, false),
        };
        let (path, group) = match path.split_once('{') {
            Some((path, group)) => (path, Some(group)),
            None => (path, None),
        };
        let mut steps = Vec::new();
        let keys = if group.is_some() {
            path.strip_suffix('.').unwrap_or(path)
        } else {
            path
        };
        for part in keys
            .split('.')
            .filter(|_| !keys.is_empty() || group.is_none())
        {
            let (key, json) = match part.strip_suffix(":json") {
                Some(key) => (key, true),
                None => (part, false),
            };
            if key.is_empty() {
                return refuse("a key between the dots is empty");
            }
            steps.push(Step::Key(key.to_string()));
            if json {
                steps.push(Step::Json);
            }
        }
        if let Some(group) = group {
            let Some(group) = group.strip_suffix('}') else {
                return refuse("a group `{a,b}` must be closed and come last");
            };
            let keys: Vec<String> = group.split(',').map(|key| key.trim().to_string()).collect();
            if keys.iter().any(String::is_empty) {
                return refuse("a key of the group is empty");
            }
            steps.push(Step::Each(keys));
        }
        Ok(Selector {
            steps,
            join,
            constant: None,
        })
    }

    /// The values at the path; a list at its end is walked, but lists inside that list are kept whole.
    pub(super) fn values(&self, value: &Value) -> Vec<Value> {
        let mut out = Vec::new();
        select(value, &self.steps, &mut out);
        out
    }

    /// The texts at the path, without blank ones.
    pub(super) fn strings(&self, value: &Value) -> Vec<String> {
        if let Some(constant) = &self.constant {
            return vec![constant.clone()];
        }
        let strings: Vec<String> = self.values(value).iter().filter_map(leaf).collect();
        match self.join && !strings.is_empty() {
            true => vec![strings.join("、")],
            false => strings,
        }
    }

    /// The first text at the path.
    pub(super) fn first(&self, value: &Value) -> Option<String> {
        self.strings(value).into_iter().next()
    }
}

fn select(value: &Value, steps: &[Step], out: &mut Vec<Value>) {
    if let Value::Array(items) = value {
        for item in items {
            match (item, steps.is_empty()) {
                // A list of lists at the end keeps its inner lists: each is one text (name and value of an attribute).
                (Value::Array(_), true) => out.push(item.clone()),
                _ => select(item, steps, out),
            }
        }
        return;
    }
    match steps.split_first() {
        None => out.push(value.clone()),
        Some((Step::Key(key), rest)) => {
            if let Some(inner) = value.get(key) {
                select(inner, rest, out);
            }
        }
        Some((Step::Each(keys), _)) => {
            for inner in keys.iter().filter_map(|key| value.get(key)) {
                select(inner, &[], out);
            }
        }
        Some((Step::Json, rest)) => {
            if let Some(inner) = value
                .as_str()
                .and_then(|text| serde_json::from_str(text).ok())
            {
                select(&inner, rest, out);
            }
        }
    }
}

/// The text of a value: strings and numbers; a pair of a list, or an entry of an object, as name：value.
pub(super) fn leaf(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_string(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => {
            let parts: Vec<String> = items.iter().filter_map(leaf).collect();
            parts.join(if items.len() == 2 { "：" } else { " " })
        }
        Value::Object(entries) => object(entries),
        Value::Null | Value::Bool(_) => String::new(),
    };
    (!text.is_empty()).then_some(text)
}

fn object(entries: &Map<String, Value>) -> String {
    let parts = entries
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}：{}", leaf(value)?)));
    parts.collect::<Vec<_>>().join("，")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(field: &str, value: &Value, expected: &[&str]) {
        assert_eq!(
            Selector::parse(field).unwrap().strings(value),
            expected,
            "{field}"
        );
    }

    #[test]
    fn paths_walk_objects_and_lists() {
        let value = json!({
            "id": 7, "title": " 题 ", "none": null, "tags": ["甲", " ", "乙"],
            "qas": [{"q": "一？", "a": ["A", "B"]}, {"q": "二？", "a": ["C"], "x": 1}],
            "attributes": [["材质", "棉"], ["产地", "中国"]],
            "size": {"宽": 3, "高": 4},
            "gallery": "[\"a.jpg\", \"b.jpg\"]",
        });
        check("id", &value, &["7"]);
        check("title", &value, &["题"]);
        check("none", &value, &[]);
        check("missing.key", &value, &[]);
        check("tags", &value, &["甲", "乙"]);
        check("tags:join", &value, &["甲、乙"]);
        check("missing:join", &value, &[]);
        check("qas.q", &value, &["一？", "二？"]);
        check("qas.{q,a}", &value, &["一？", "A", "B", "二？", "C"]);
        check("{title,id}", &value, &["题", "7"]);
        check("attributes", &value, &["材质：棉", "产地：中国"]);
        check("size", &value, &["宽：3，高：4"]);
        check("gallery:json", &value, &["a.jpg", "b.jpg"]);
        check("tags:json", &value, &[]);
        check("=常数", &value, &["常数"]);
    }

    #[test]
    fn fields_that_cannot_be_followed_are_refused() {
        for (field, why) in [
            ("", "empty"),
            ("a..b", "empty"),
            ("a.{b", "closed"),
            ("a.{b}.c", "closed"),
            ("{a,,b}", "group is empty"),
        ] {
            let error = Selector::parse(field).unwrap_err().to_string();
            assert!(error.contains(why), "{field}: {error}");
        }
    }

    #[test]
    fn the_columns_of_a_table_are_the_first_keys() {
        let fields = Fields {
            title: Some("name".to_string()),
            text: vec!["qas.q".to_string(), "=x".to_string(), "name".to_string()],
            ..Fields::default()
        };
        let map = FieldMap::new(&fields).unwrap();
        assert_eq!(map.columns(false), ["name", "qas"]);
        assert_eq!(map.columns(true), ["name", "qas", "id"]);
    }
}

//! The records inside a JSON value.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::fields::{Step, steps};

/// A path to the records of a value.
pub(super) struct Each {
    keys: Vec<Step>,
}

/// The plain values of an object, and those of what it lies in: shared by all records below, so that a long text above many records is
/// kept once.
struct Scope {
    values: Map<String, Value>,
    above: Option<Arc<Scope>>,
}

/// A record that is not yet written out.
pub(super) struct Element {
    value: Value,
    scope: Option<Arc<Scope>>,
}

impl Each {
    pub(super) fn new(path: Option<&str>) -> Option<Self> {
        path.map(|path| Self { keys: steps(path) })
    }

    /// The records at the end of the path, in order.
    pub(super) fn elements(&self, value: Value) -> VecDeque<Element> {
        let mut out = VecDeque::new();
        self.walk(value, 0, None, &mut out);
        out
    }

    fn walk(
        &self,
        value: Value,
        depth: usize,
        scope: Option<Arc<Scope>>,
        out: &mut VecDeque<Element>,
    ) {
        let step = self.keys.get(depth);
        match value {
            Value::Array(items) => {
                for item in items {
                    self.walk(item, depth, scope.clone(), out);
                }
            }
            Value::Null => {}
            value @ Value::Object(_) if step.is_none() => out.push_back(Element { value, scope }),
            Value::Object(mut object) => {
                let inner = step.and_then(|step| object.remove(step.key()));
                let Some(mut inner) = inner else {
                    return;
                };
                if let (Some(step), Value::Array(items)) = (step, &mut inner) {
                    items.retain(|item| step.admits(item));
                }
                object.retain(|_, value| is_plain(value));
                let scope = Some(Arc::new(Scope {
                    values: object,
                    above: scope,
                }));
                self.walk(inner, depth + 1, scope, out);
            }
            plain => {
                let last = self.keys.last().map(|step| step.key().to_string());
                if let (None, Some(key)) = (step, last) {
                    let value = Value::Object(Map::from_iter([(key, plain)]));
                    out.push_back(Element { value, scope });
                }
            }
        }
    }
}

fn is_plain(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_))
}

impl Element {
    /// A value that is a record itself.
    pub(super) fn alone(value: Value) -> Self {
        Self { value, scope: None }
    }

    /// The record with the plain values of what it lies in, the nearest first, where it has none of that name.
    pub(super) fn into_value(mut self) -> Value {
        let mut scope = self.scope.as_ref();
        if let Value::Object(object) = &mut self.value {
            while let Some(level) = scope {
                for (key, value) in &level.values {
                    if !object.contains_key(key) {
                        object.insert(key.clone(), value.clone());
                    }
                }
                scope = level.above.as_ref();
            }
        }
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(path: &str, value: Value, expected: Value) {
        let each = Each::new(Some(path)).expect("a path");
        let found = each.elements(value).into_iter().map(Element::into_value);
        assert_eq!(Value::Array(found.collect()), expected, "{path}");
    }

    #[test]
    fn records_take_over_plain_values_and_keep_their_own() {
        check(
            "data.paragraphs",
            json!({"version": "v1", "data": [
                {"id": 1, "title": "甲", "paragraphs": [{"id": "1-1", "context": "一"}, {"context": "二"}]},
                {"title": "乙", "paragraphs": []}, {"title": "丙"}]}),
            json!([
                {"id": "1-1", "context": "一", "title": "甲", "version": "v1"},
                {"context": "二", "id": 1, "title": "甲", "version": "v1"}]),
        );
    }

    #[test]
    fn plain_values_are_records_of_one_field() {
        check(
            "item_ids",
            json!({"query_id": 7, "item_ids": [3, 4], "more": {"x": 1}}),
            json!([{"item_ids": 3, "query_id": 7}, {"item_ids": 4, "query_id": 7}]),
        );
        check("item_ids", json!({"query_id": 7}), json!([]));
        check(
            "a",
            json!([{"a": null}, 5, {"a": "x"}]),
            json!([{"a": "x"}]),
        );
        check(
            "a[ok].b",
            json!({"a": [{"ok": true, "b": 1}, {"b": 2}]}),
            json!([{"b": 1, "ok": true}]),
        );
    }
}

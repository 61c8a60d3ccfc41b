//! Texts of files for the verbs that train on them.

use crate::error::{Failure, Result};
use crate::verbs::common;
use m6_store::rng::Key;
use serde_json::Value;
use std::path::Path;

/// The texts of a file: of a `.jsonl` file the field of every line (a string, or a list of strings that are joined by line feeds), of
/// any other file its lines. Empty ones are left out.
pub fn read(path: &Path, field: &str) -> Result<Vec<String>> {
    let is_jsonl = path.extension().is_some_and(|ending| ending == "jsonl");
    let mut texts = Vec::new();
    for (i, line) in common::lines(path)?.enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        if !is_jsonl {
            texts.push(line);
            continue;
        }
        let place = format!("{} line {}", path.display(), i + 1);
        let row: Value =
            serde_json::from_str(&line).map_err(|e| Failure::data(format!("{place}: {e}")))?;
        let text = text_of(&row[field]).ok_or_else(|| {
            Failure::data(format!("{place}: no text in the field `{field}`"))
                .hint("--text-field names the field to read")
        })?;
        if !text.trim().is_empty() {
            texts.push(text);
        }
    }
    Ok(texts)
}

/// A string, or a list of strings as lines.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let parts: Option<Vec<&str>> = parts.iter().map(Value::as_str).collect();
            Some(parts?.join("\n"))
        }
        _ => None,
    }
}

/// Training texts and held-out texts: equal texts fall on one side, and the side depends only on the text and the seed.
pub fn split<T>(
    items: Vec<T>,
    text: impl Fn(&T) -> &str,
    held_out: f64,
    seed: u64,
) -> (Vec<T>, Vec<T>) {
    let key = Key::new(seed).child("held out");
    items
        .into_iter()
        .partition(|item| key.child(text(item)).stream().f64() >= held_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_fields_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            m6_store::atomic::write_file(&path, text.as_bytes()).expect("written");
            path
        };
        let plain = write("a.txt", "一\n\n{\"text\": 1}\n");
        assert_eq!(
            read(&plain, "text").expect("reads"),
            ["一", "{\"text\": 1}"]
        );
        let rows = write(
            "a.jsonl",
            "{\"t\":\"一\"}\n{\"t\":[\"二\",\"三\"]}\n{\"t\":\"\"}\n",
        );
        assert_eq!(read(&rows, "t").expect("reads"), ["一", "二\n三"]);
        let refused = read(&rows, "x").expect_err("no such field").render();
        assert!(
            refused.contains("a.jsonl line 1") && refused.contains("--text-field"),
            "{refused}"
        );
        assert!(read(&write("b.jsonl", "{\n"), "t").is_err());
        assert!(read(&folder.path().join("none"), "t").is_err());
    }

    #[test]
    fn the_side_depends_on_the_text_alone() {
        let texts: Vec<String> = (0..1000).map(|i| format!("第{i}句")).collect();
        let both = [texts.clone(), texts.clone()].concat();
        let (train, held) = split(both, |text| text, 0.2, 7);
        assert!((250..550).contains(&held.len()), "{}", held.len());
        assert!(held.iter().all(|text| !train.contains(text)));
        let (train, held) = split(texts, |text| text, 0.0, 7);
        assert_eq!((train.len(), held.len()), (1000, 0));
    }
}

//! The scores of a run in its model card.

use crate::checkpoint::read;
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::fmt::Write;
use std::path::Path;

/// What `m6 eval` leaves in a run folder.
const EVAL_FILE: &str = "eval.json";

/// The section of the card: a table for every task, the model's figures beside those of its controls. Empty when the run was not evaluated.
///
/// # Errors
/// [`Error::Damaged`] for a record of another form.
pub(crate) fn section(run: &Path) -> Result<String> {
    let path = run.join(EVAL_FILE);
    if !path.is_file() {
        return Ok(String::new());
    }
    let record: Value =
        serde_json::from_slice(&read(&path)?).map_err(|error| Error::damaged(&path, error))?;
    let Some(tasks) = record["tasks"].as_object() else {
        return Err(Error::damaged(&path, "it has no `tasks`"));
    };
    let mut text = String::from("\n## Scores\n");
    for (task, found) in tasks {
        let (Some(scores), Some(control)) =
            (found["scores"].as_object(), found["control"].as_object())
        else {
            return Err(Error::damaged(
                &path,
                format!("`{task}` has no `scores` and `control`"),
            ));
        };
        // Text of a file stays on its line and in its cell.
        let plain = |text: &str| text.replace(['\n', '\r', '|', '`'], " ");
        let data = plain(found["data"].as_str().unwrap_or("unnamed data"));
        let _ = write!(
            text,
            "\n`{}`, {} questions of `{data}`, update {}:\n\n",
            plain(task),
            found["n"],
            found["step"]
        );
        text.push_str(&table(scores, control, plain));
    }
    Ok(text)
}

fn table(
    scores: &Map<String, Value>,
    control: &Map<String, Value>,
    plain: impl Fn(&str) -> String,
) -> String {
    let mut text = String::from("| figure | model |");
    for name in control.keys() {
        let _ = write!(text, " {} |", plain(name));
    }
    text.push_str(&format!("\n|---|{}\n", "---:|".repeat(1 + control.len())));
    let number = |value: Option<&Value>| {
        let value = value.and_then(Value::as_f64);
        value.map_or("-".to_owned(), |x| format!("{x:.4}"))
    };
    for (name, value) in scores {
        let _ = write!(text, "| {} | {} |", plain(name), number(Some(value)));
        for control in control.values() {
            let _ = write!(text, " {} |", number(control.get(name)));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::pretty;
    use serde_json::json;

    fn of(record: &Value) -> Result<String> {
        let folder = tempfile::tempdir().expect("a folder");
        m6_store::atomic::write_file(&folder.path().join(EVAL_FILE), &pretty(record))
            .expect("written");
        section(folder.path())
    }

    #[test]
    fn scores_stand_beside_their_controls() {
        let text = of(&json!({"tasks": {"vqa": {
            "n": 9, "step": 4, "data": "a|b", "scores": {"exact": 0.5, "exact/color": null},
            "control": {"blind": {"exact": 0.25}}}}}))
        .expect("a section");
        assert!(
            text.contains("| figure | model | blind |\n|---|---:|---:|\n"),
            "{text}"
        );
        assert!(
            text.contains("| exact | 0.5000 | 0.2500 |\n| exact/color | - | - |"),
            "{text}"
        );
        assert!(
            text.contains("`vqa`, 9 questions of `a b`, update 4"),
            "{text}"
        );
    }

    #[test]
    fn no_record_is_no_section_and_another_form_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(section(folder.path()).expect("nothing"), "");
        for bad in [json!([]), json!({"tasks": {"x": 1}})] {
            assert!(of(&bad).is_err(), "{bad}");
        }
    }
}

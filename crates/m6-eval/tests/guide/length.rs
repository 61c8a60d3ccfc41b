//! How long candidates are beside their references.

use crate::error::Result;
use crate::lines::{self, Shape};
use crate::measured::{Measured, Reduce, share};
use serde_json::json;

const REFERENCES: Shape = Shape {
    side: "references",
    example: r#"{"id": "...", "text": "..."}"#,
    fields: &["text"],
};
const CANDIDATES: Shape = Shape {
    side: "candidates",
    ..REFERENCES
};

/// Figure: `length_ratio`, characters of all candidates over those of all references.
///
/// # Errors
/// Lines of another form; ids twice or on one side only.
pub fn measure_length(references: &[u8], candidates: &[u8]) -> Result<Measured> {
    let pairs = lines::pair(
        lines::read(references, REFERENCES)?,
        lines::read(candidates, CANDIDATES)?,
    )?;
    let (mut rows, mut per_item) = (Vec::new(), Vec::new());
    for (reference, candidate) in &pairs {
        let lengths =
            [reference, candidate].map(|line| line.text("text").map(|t| t.chars().count() as f64));
        let [expected, given] = lengths;
        let (expected, given) = (expected?, given?);
        rows.extend([expected, given]);
        per_item.push(json!({"id": reference.id, "expected": expected, "given": given}));
    }
    Ok(Measured {
        names: vec!["length_ratio".to_owned()],
        fixed: Vec::new(),
        per_item,
        ids: pairs.into_iter().map(|(line, _)| line.id).collect(),
        width: 2,
        rows,
        reduce: Reduce::Sums(Box::new(|sums| vec![share(sums[1], sums[0])])),
    })
}

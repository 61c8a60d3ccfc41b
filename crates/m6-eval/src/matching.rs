//! Whether picture and text belong together: accuracy at a threshold, area under the curve.

use crate::error::Result;
use crate::lines::{self, Line, Shape};
use crate::measured::{Measured, Reduce, share};
use serde_json::{Value, json};

const REFERENCES: Shape = Shape {
    side: "references",
    example: r#"{"id": "...", "label": 0 | 1 | true | false}"#,
    fields: &["label", "text"],
};
const CANDIDATES: Shape = Shape {
    side: "candidates",
    example: r#"{"id": "...", "score": 0.7}"#,
    fields: &["score", "text"],
};

/// Figures: `accuracy` at the threshold (a score at or above it says that they match), `auc` (ties count half; NaN with one class only),
/// and `best_threshold_accuracy`, that of the threshold that is best for these very items, so an upper bound and no result.
///
/// # Errors
/// Lines of another form; ids twice or on one side only.
pub fn measure_match(references: &[u8], candidates: &[u8], threshold: f64) -> Result<Measured> {
    let pairs = lines::pair(
        lines::read(references, REFERENCES)?,
        lines::read(candidates, CANDIDATES)?,
    )?;
    let (mut rows, mut per_item) = (Vec::new(), Vec::new());
    for (reference, candidate) in &pairs {
        let (label, score) = (truth(reference)?, candidate.number("score")?);
        let right = label == (score >= threshold);
        rows.extend([
            score,
            f64::from(u8::from(label)),
            f64::from(u8::from(right)),
        ]);
        per_item.push(json!({"id": reference.id, "label": label, "score": score, "right": right}));
    }
    Ok(Measured {
        names: ["accuracy", "auc", "best_threshold_accuracy"]
            .map(str::to_owned)
            .to_vec(),
        fixed: Vec::new(),
        per_item,
        ids: pairs.into_iter().map(|(line, _)| line.id).collect(),
        width: 3,
        rows,
        reduce: Reduce::Rows(Box::new(figures)),
    })
}

fn truth(line: &Line) -> Result<bool> {
    match line.get("label") {
        Some(Value::Bool(label)) => Ok(*label),
        Some(Value::Number(label)) if label.as_u64() == Some(0) => Ok(false),
        Some(Value::Number(label)) if label.as_u64() == Some(1) => Ok(true),
        _ => Err(line.fault("no field \"label\" of 0, 1, true or false")),
    }
}

fn figures(rows: &[(&[f64], u32)]) -> Vec<f64> {
    let mut rows = rows.to_vec();
    rows.sort_by(|(a, _), (b, _)| a[0].total_cmp(&b[0]));
    let (mut n, mut n_right, mut n_positive) = (0.0, 0.0, 0.0);
    for (row, weight) in &rows {
        let weight = f64::from(*weight);
        n += weight;
        n_positive += weight * row[1];
        n_right += weight * row[2];
    }
    // With the threshold below all scores every item is said to match.
    let (mut best, mut right_here) = (n_positive, n_positive);
    let (mut n_below, mut n_ordered) = (0.0, 0.0);
    for tied in rows.chunk_by(|(a, _), (b, _)| a[0] == b[0]) {
        let weight: f64 = tied.iter().map(|(_, w)| f64::from(*w)).sum();
        let positive: f64 = tied.iter().map(|(row, w)| row[1] * f64::from(*w)).sum();
        let negative = weight - positive;
        n_ordered += positive * (n_below + negative / 2.0);
        n_below += negative;
        right_here += negative - positive;
        best = f64::max(best, right_here);
    }
    let auc = share(n_ordered, n_positive * (n - n_positive));
    vec![share(n_right, n), auc, share(best, n)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(items: &[(bool, f64)], expected: [f64; 3]) {
        let (mut references, mut candidates) = (String::new(), String::new());
        for (i, (label, score)) in items.iter().enumerate() {
            references.push_str(&format!("{{\"id\":{i},\"label\":{label}}}\n"));
            candidates.push_str(&format!("{{\"id\":{i},\"score\":{score}}}\n"));
        }
        let measured = measure_match(references.as_bytes(), candidates.as_bytes(), 0.5).unwrap();
        assert_eq!(measured.figures(), expected, "{items:?}");
    }

    #[test]
    fn accuracy_and_area_are_counted() {
        check(&[(true, 0.9), (false, 0.1)], [1.0, 1.0, 1.0]);
        check(&[(true, 0.1), (false, 0.9)], [0.0, 0.0, 0.5]);
        check(&[(true, 0.5), (false, 0.5)], [0.5, 0.5, 0.5]);
        check(
            &[(true, 0.4), (true, 0.3), (false, 0.2), (false, 0.35)],
            [0.5, 0.75, 0.75],
        );
    }

    #[test]
    fn one_class_alone_has_no_area_and_labels_are_two() {
        let measured =
            measure_match(b"{\"id\":1,\"label\":1}", b"{\"id\":1,\"score\":2}", 0.5).unwrap();
        assert!(measured.figures()[1].is_nan());
        let fault = measure_match(b"{\"id\":1,\"label\":2}", b"{\"id\":1,\"score\":2}", 0.5);
        assert!(
            fault
                .err()
                .unwrap()
                .to_string()
                .contains("0, 1, true or false")
        );
    }
}

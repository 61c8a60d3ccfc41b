//! Classification: accuracy, macro F1, a table by class.

use crate::error::Result;
use crate::lines::{self, Shape};
use crate::measured::{Measured, Reduce, share};
use serde_json::json;
use std::collections::BTreeSet;

const REFERENCES: Shape = Shape {
    side: "references",
    example: r#"{"id": "...", "label": "..."}"#,
    fields: &["label", "text"],
};
const CANDIDATES: Shape = Shape {
    side: "candidates",
    ..REFERENCES
};

/// Figures: `accuracy`, `macro_f1` (mean of F1 over the classes of the references), and `precision/CLASS`, `recall/CLASS`, `f1/CLASS`,
/// 0 where nothing was put into a class.
///
/// # Errors
/// Lines of another form; ids twice or on one side only; a label that no reference has.
pub fn measure_classify(references: &[u8], candidates: &[u8]) -> Result<Measured> {
    measured(references, candidates, false)
}

/// [`measure_classify`] where a candidate's label may be one that no reference has: it is wrong and in no class of the table. For
/// labels that were chosen from a known set, of which a small sample has not all.
pub(crate) fn measure_known_labels(references: &[u8], candidates: &[u8]) -> Result<Measured> {
    measured(references, candidates, true)
}

fn measured(references: &[u8], candidates: &[u8], any_label: bool) -> Result<Measured> {
    let pairs = lines::pair(
        lines::read(references, REFERENCES)?,
        lines::read(candidates, CANDIDATES)?,
    )?;
    let mut found = Vec::with_capacity(pairs.len());
    for (reference, candidate) in &pairs {
        found.push((reference.label("label")?, candidate.label("label")?));
    }
    let classes: BTreeSet<&str> = found.iter().map(|(label, _)| label.as_str()).collect();
    let stranger = |given: &String| !classes.contains(given.as_str());
    if let Some(i) = found
        .iter()
        .position(|(_, given)| !any_label && stranger(given))
    {
        let message = format!("label {:?} is that of no reference", found[i].1);
        return Err(pairs[i].1.fault(&message));
    }
    let classes: Vec<&str> = classes.into_iter().collect();
    // Of each class: given and true, given, true.
    let width = 2 + 3 * classes.len();
    let mut rows = vec![0.0; width * found.len()];
    for (row, (label, given)) in rows.chunks_exact_mut(width).zip(&found) {
        let place = |label: &str| 2 + 3 * classes.partition_point(|c| *c < label);
        let right = f64::from(u8::from(label == given));
        row[..2].copy_from_slice(&[1.0, right]);
        row[place(label)] = right;
        if classes.binary_search(&given.as_str()).is_ok() {
            row[place(given) + 1] = 1.0;
        }
        row[place(label) + 2] = 1.0;
    }
    let mut names = vec!["accuracy".to_owned(), "macro_f1".to_owned()];
    names.extend(
        classes
            .iter()
            .flat_map(|c| ["precision", "recall", "f1"].map(|f| format!("{f}/{c}"))),
    );
    let n_of = |class: &str| found.iter().filter(|(label, _)| label == class).count() as f64;
    Ok(Measured {
        names,
        fixed: classes.iter().map(|c| (format!("n/{c}"), n_of(c))).collect(),
        per_item: (pairs.iter().zip(&found))
            .map(|((line, _), (label, given))| json!({"id": line.id, "label": label, "given": given}))
            .collect(),
        ids: pairs.into_iter().map(|(line, _)| line.id).collect(),
        width,
        rows,
        reduce: Reduce::Sums(Box::new(figures)),
    })
}

fn figures(sums: &[f64]) -> Vec<f64> {
    let mut classes = Vec::new();
    let mut f1 = 0.0;
    for counts in sums[2..].chunks_exact(3) {
        let [both, given, of_class] = [counts[0], counts[1], counts[2]];
        let class = [
            both / given.max(1.0),
            both / of_class.max(1.0),
            2.0 * both / (given + of_class).max(1.0),
        ];
        f1 += class[2];
        classes.extend(class);
    }
    let mut figures = vec![
        share(sums[1], sums[0]),
        share(f1, (classes.len() / 3) as f64),
    ];
    figures.extend(classes);
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted_each_and_together() {
        let lines = |labels: &[&str]| -> String {
            let line = |(i, l): (usize, &&str)| format!("{{\"id\":{i},\"label\":\"{l}\"}}\n");
            labels.iter().enumerate().map(line).collect()
        };
        let references = lines(&["狗", "狗", "猫", "鸟"]);
        let measured = measure_classify(
            references.as_bytes(),
            lines(&["狗", "猫", "猫", "狗"]).as_bytes(),
        )
        .unwrap();
        let figure =
            |name: &str| measured.figures()[measured.names.iter().position(|n| n == name).unwrap()];
        assert_eq!(figure("accuracy"), 0.5);
        assert_eq!(
            (figure("precision/狗"), figure("recall/狗"), figure("f1/狗")),
            (0.5, 0.5, 0.5)
        );
        assert_eq!((figure("f1/鸟"), figure("recall/猫")), (0.0, 1.0));
        assert!((figure("macro_f1") - (0.5 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
        let unknown = measure_classify(
            references.as_bytes(),
            lines(&["狗", "猫", "鱼", "狗"]).as_bytes(),
        );
        let candidates = lines(&["狗", "猫", "鱼", "狗"]);
        let open = measure_known_labels(references.as_bytes(), candidates.as_bytes()).unwrap();
        assert_eq!(open.figures()[0], 0.25);
        let message = unknown.err().unwrap().to_string();
        assert!(
            message.contains("candidates, line 3")
                && message.contains("id \"2\"")
                && message.contains("鱼"),
            "{message}"
        );
    }
}

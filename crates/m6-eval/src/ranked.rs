//! Retrieval from lists: where the first relevant id stands in what a system ranked.

use crate::error::Result;
use crate::lines::{self, Line, Shape};
use crate::measured::{Measured, Reduce, share};
use rustc_hash::FxHashSet;
use serde_json::{Value, json};

const CUTS: [f64; 3] = [1.0, 5.0, 10.0];
const REFERENCES: Shape = Shape {
    side: "references",
    example: r#"{"id": "...", "relevant": ["...", ...]}"#,
    fields: &["relevant", "text"],
};
const CANDIDATES: Shape = Shape {
    side: "candidates",
    example: r#"{"id": "...", "ranked": ["...", ...]} or {"id": "...", "scores": {"...": 0.7, ...}}"#,
    fields: &["ranked", "scores", "text"],
};

/// Figures: `r@1`, `r@5`, `r@10` (share of queries with a relevant id among the first k), `mean_recall` (their mean) and `median_rank` of
/// the first relevant id (NaN when half of the queries have none in their list). Of equal scores the irrelevant id comes first.
///
/// # Errors
/// Lines of another form; ids twice or on one side only; a ranked id twice.
pub fn measure_retrieval(references: &[u8], candidates: &[u8]) -> Result<Measured> {
    let pairs = lines::pair(
        lines::read(references, REFERENCES)?,
        lines::read(candidates, CANDIDATES)?,
    )?;
    let (mut rows, mut per_item) = (Vec::new(), Vec::new());
    for (reference, candidate) in &pairs {
        let relevant = reference.some_texts(&["relevant"])?;
        let relevant: FxHashSet<&str> = relevant.iter().map(String::as_str).collect();
        let rank = rank(&relevant, candidate)?;
        rows.push(rank);
        per_item.push(json!({"id": reference.id, "rank": rank.is_finite().then_some(rank)}));
    }
    Ok(Measured {
        names: ["r@1", "r@5", "r@10", "mean_recall", "median_rank"]
            .map(str::to_owned)
            .to_vec(),
        fixed: Vec::new(),
        per_item,
        ids: pairs.into_iter().map(|(line, _)| line.id).collect(),
        width: 1,
        rows,
        reduce: Reduce::Rows(Box::new(figures)),
    })
}

/// Rank of the first relevant id from 1, infinite when none is listed.
fn rank(relevant: &FxHashSet<&str>, line: &Line) -> Result<f64> {
    if let Some(Value::Object(scores)) = line.get("scores") {
        let (mut best, mut others) = (f64::NEG_INFINITY, Vec::new());
        for (id, score) in scores {
            let score = score.as_f64().filter(|s| s.is_finite());
            let score =
                score.ok_or_else(|| line.fault(&format!("the score of {id:?} is no number")))?;
            match relevant.contains(id.as_str()) {
                true => best = best.max(score),
                false => others.push(score),
            }
        }
        let n_before = others.iter().filter(|score| **score >= best).count();
        return Ok(if best.is_finite() {
            1.0 + n_before as f64
        } else {
            f64::INFINITY
        });
    }
    let ranked = line.texts(&["ranked"])?;
    let mut seen = FxHashSet::default();
    if let Some(twice) = ranked.iter().find(|id| !seen.insert(id.as_str())) {
        return Err(line.fault(&format!("{twice:?} is ranked twice")));
    }
    let place = ranked.iter().position(|id| relevant.contains(id.as_str()));
    Ok(place.map_or(f64::INFINITY, |i| 1.0 + i as f64))
}

fn figures(rows: &[(&[f64], u32)]) -> Vec<f64> {
    let n: f64 = rows.iter().map(|(_, w)| f64::from(*w)).sum();
    let recall = CUTS.map(|cut| {
        let within = rows.iter().filter(|(row, _)| row[0] <= cut);
        share(within.map(|(_, w)| f64::from(*w)).sum(), n)
    });
    let mut ranks: Vec<f64> = rows
        .iter()
        .flat_map(|(row, w)| std::iter::repeat_n(row[0], *w as usize))
        .collect();
    ranks.sort_unstable_by(f64::total_cmp);
    let middle = ranks.len() / 2;
    let median = match ranks.len() % 2 {
        0 if middle > 0 => (ranks[middle - 1] + ranks[middle]) / 2.0,
        _ => ranks.get(middle).copied().unwrap_or(f64::NAN),
    };
    let [one, five, ten] = recall;
    vec![
        one,
        five,
        ten,
        (one + five + ten) / 3.0,
        if median.is_finite() { median } else { f64::NAN },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCES: &str = "{\"id\":1,\"relevant\":[\"a\",\"b\"]}\n{\"id\":2,\"relevant\":\"c\"}\n{\"id\":3,\"relevant\":[\"d\"]}";

    fn measure(lines: [&str; 3]) -> Result<Measured> {
        measure_retrieval(REFERENCES.as_bytes(), lines.join("\n").as_bytes())
    }

    #[test]
    fn the_first_relevant_id_counts() {
        let measured = measure([
            r#"{"id":1,"ranked":["x","b","a"]}"#,
            r#"{"id":2,"scores":{"c":0.9,"x":0.1}}"#,
            r#"{"id":3,"scores":{"d":0.5,"x":0.5,"y":0.7}}"#,
        ]);
        let figures = measured.unwrap().figures();
        assert_eq!(figures[..3], [1.0 / 3.0, 1.0, 1.0]);
        assert!((figures[3] - 7.0 / 9.0).abs() < 1e-12);
        assert_eq!(figures[4], 2.0, "ranks are 2, 1, 3");
    }

    #[test]
    fn what_is_not_listed_has_no_rank_and_ids_are_ranked_once() {
        let none = [
            r#"{"id":1,"ranked":[]}"#,
            r#"{"id":2,"ranked":["x"]}"#,
            r#"{"id":3,"ranked":["d"]}"#,
        ];
        let figures = measure(none).unwrap().figures();
        assert!(figures[0] == 1.0 / 3.0 && figures[4].is_nan());
        let twice = [r#"{"id":1,"ranked":["x","x"]}"#, none[1], none[2]];
        assert!(
            measure(twice)
                .err()
                .unwrap()
                .to_string()
                .contains("ranked twice")
        );
    }
}

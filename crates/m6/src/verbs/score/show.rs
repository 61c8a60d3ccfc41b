//! What was found, as one JSON object and as a table.

use m6_eval::{Difference, Measured};
use serde_json::{Map, Value, json};

/// Figures of a system, with what was asked for about them.
pub struct Found {
    /// Name of the metric.
    pub metric: &'static str,
    /// The system.
    pub measured: Measured,
    /// In the order of its names.
    pub figures: Vec<f64>,
    /// Number of draws, and an interval of each figure.
    pub bootstrap: Option<(usize, Vec<[f64; 2]>)>,
    /// The other system.
    pub against: Option<Against>,
}

/// Another system on the same items.
pub struct Against {
    /// Its file.
    pub path: String,
    /// Its figures.
    pub figures: Vec<f64>,
    /// Its figures without an interval.
    pub fixed: Vec<(String, f64)>,
    /// The first system less this one, figure by figure.
    pub differences: Vec<Difference>,
    /// Draws that intervals and p are from.
    pub n_draws: usize,
}

impl Found {
    /// `{"metric", "n", "scores"}`, with `bootstrap` and `intervals`, and `against`, when they were asked for.
    pub fn object(&self) -> Value {
        let names = &self.measured.names;
        let mut row = json!({
            "metric": self.metric,
            "n": self.measured.n(),
            "scores": by_name(names, &self.figures, &self.measured.fixed),
        });
        if let Some((n_draws, intervals)) = &self.bootstrap {
            row["bootstrap"] = json!(n_draws);
            row["intervals"] = names
                .iter()
                .cloned()
                .zip(intervals.iter().map(|i| json!(i)))
                .collect();
        }
        if let Some(other) = &self.against {
            let differences = other
                .differences
                .iter()
                .map(|d| json!({"difference": d.difference, "interval": d.interval, "p": d.p}));
            row["against"] = json!({
                "candidates": other.path,
                "draws": other.n_draws,
                "scores": by_name(names, &other.figures, &other.fixed),
                "differences": names.iter().cloned().zip(differences).collect::<Map<_, _>>(),
            });
        }
        row
    }

    /// The object of captions, which has keys of its own; `more` adds those of the other metrics.
    pub fn caption_object(&self, more: bool) -> Value {
        let figure = |name: &str| {
            let at = self.measured.names.iter().position(|n| n == name);
            at.map(|i| self.figures[i])
        };
        let bleu = ["bleu_1", "bleu_2", "bleu_3", "bleu_4"].map(figure);
        let mut row = json!({
            "bleu": bleu, "rouge_l": figure("rouge_l"), "cider": figure("cider"), "n": self.measured.n(),
        });
        if let (true, Value::Object(own), Value::Object(rest)) = (more, &mut row, self.object()) {
            own.extend(rest);
        }
        row
    }

    /// A line a figure.
    pub fn table(&self) -> String {
        let mut head = vec![String::new(), "score".to_owned()];
        if self.bootstrap.is_some() {
            head.push("95 % interval".to_owned());
        }
        if self.against.is_some() {
            head.extend(["other", "difference", "95 % interval", "p"].map(str::to_owned));
        }
        let mut rows = vec![head];
        for (i, name) in self.measured.names.iter().enumerate() {
            let mut row = vec![name.clone(), number(self.figures[i])];
            if let Some((_, intervals)) = &self.bootstrap {
                row.push(interval(intervals[i]));
            }
            if let Some(other) = &self.against {
                let found = other.differences[i];
                let sign = if found.difference > 0.0 { "+" } else { "" };
                row.push(number(other.figures[i]));
                row.push(format!("{sign}{}", number(found.difference)));
                row.push(interval(found.interval));
                row.push(number(found.p));
            }
            rows.push(row);
        }
        for (i, (name, value)) in self.measured.fixed.iter().enumerate() {
            let mut row = vec![name.clone(), plain(name, *value)];
            row.extend(self.bootstrap.is_some().then(String::new));
            row.extend(
                self.against
                    .as_ref()
                    .map(|other| plain(name, other.fixed[i].1)),
            );
            rows.push(row);
        }
        let mut text = format!("{}, {} items", self.metric, self.measured.n());
        if let Some(other) = &self.against {
            text.push_str(&format!(", beside {}", other.path));
        }
        text.push('\n');
        text.push_str(&aligned(&rows));
        text
    }
}

fn by_name(names: &[String], figures: &[f64], fixed: &[(String, f64)]) -> Map<String, Value> {
    let measured = names.iter().cloned().zip(figures.iter().map(|x| json!(x)));
    measured
        .chain(fixed.iter().map(|(name, x)| (name.clone(), json!(x))))
        .collect()
}

fn number(value: f64) -> String {
    match value.is_finite() {
        true => format!("{value:.4}"),
        false => "-".to_owned(),
    }
}

/// A figure without an interval; counts have no decimals.
fn plain(name: &str, value: f64) -> String {
    match name.starts_with("n/") {
        true => format!("{value:.0}"),
        false => number(value),
    }
}

fn interval([low, high]: [f64; 2]) -> String {
    format!("{} to {}", number(low), number(high))
}

/// Columns under each other, the first to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..n_columns)
        .map(|k| {
            rows.iter()
                .filter_map(|row| row.get(k))
                .map(|cell| width(cell))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (k, cell) in row.iter().enumerate() {
            let blanks = " ".repeat(widths[k] - width(cell));
            match k {
                0 => line.push_str(&format!("  {cell}{blanks}")),
                _ => line.push_str(&format!("  {blanks}{cell}")),
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Places on a terminal: Chinese characters and full-width forms take two.
fn width(text: &str) -> usize {
    let places = |c: char| if c >= '\u{2e80}' { 2 } else { 1 };
    text.chars().map(places).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(candidates: &[u8]) -> Found {
        let references = "{\"id\":1,\"label\":\"猫\"}\n{\"id\":2,\"label\":\"狗\"}";
        let measured =
            m6_eval::measure_classify(references.as_bytes(), candidates).expect("measured");
        Found {
            metric: "classify",
            figures: measured.figures(),
            measured,
            bootstrap: None,
            against: None,
        }
    }

    #[test]
    fn chinese_names_stand_in_line_and_counts_are_whole() {
        let found = found("{\"id\":1,\"label\":\"猫\"}\n{\"id\":2,\"label\":\"猫\"}".as_bytes());
        let table = found.table();
        assert!(table.starts_with("classify, 2 items\n"), "{table}");
        assert!(table.contains("\n  accuracy      0.5000\n"), "{table}");
        assert!(table.contains("\n  precision/狗  0.0000\n"), "{table}");
        assert!(table.contains("\n  n/猫               1\n"), "{table}");
        assert_eq!(found.object()["scores"]["n/狗"], 1.0);
    }
}

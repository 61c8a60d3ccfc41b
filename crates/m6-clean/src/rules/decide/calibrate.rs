//! Thresholds given as quantiles: values of a sample, rule by rule (ours).

use super::judge::Test;
use super::{Pack, Rule, Stage};
use crate::rules::columns::Row;

/// The most values kept for one rule; the first ones count.
pub const MAX_SAMPLE: usize = 1 << 20;

/// The values that a pack's quantiles are taken over; one for each source, since an encyclopedia and a forum are not alike.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    asked: Vec<Asked>,
}

/// What one rule asks of the sample.
#[derive(Clone, Debug)]
struct Asked {
    stage: Stage,
    rule: String,
    column: usize,
    when: Option<Test>,
    values: Vec<f64>,
}

impl Calibration {
    /// An empty sample for the rules of a pack that ask for a quantile; a rule that names no column there is asks for nothing.
    pub fn for_pack(pack: &Pack) -> Self {
        let asking = pack.rules.iter().filter(|rule| rule.quantile.is_some());
        let asked = asking.filter_map(|rule| {
            Some(Asked {
                stage: rule.stage,
                rule: rule.name.clone(),
                column: rule.stage.column(&rule.column).ok()?,
                when: Test::of_guard(rule).ok()?,
                values: Vec::new(),
            })
        });
        Self {
            asked: asked.collect(),
        }
    }

    /// True when no rule asks for a quantile of this stage.
    pub fn is_idle(&self, stage: Stage) -> bool {
        self.asked.iter().all(|asked| asked.stage != stage)
    }

    /// Adds a row of the sample; empty and infinite values are left out, and rows that a rule's guard keeps from it.
    pub fn add<R: Row>(&mut self, stage: Stage, row: &R) {
        for asked in self.asked.iter_mut().filter(|asked| asked.stage == stage) {
            let is_meant = asked.when.as_ref().is_none_or(|guard| guard.holds(row));
            if is_meant && asked.values.len() < MAX_SAMPLE {
                let value = row.value(asked.column).filter(|value| value.is_finite());
                asked.values.extend(value);
            }
        }
    }

    /// The rule's threshold: the smallest value that at least the share `quantile` of the sample does not exceed; `None` when the rule
    /// asks for none or nothing was sampled.
    pub fn threshold(&self, rule: &Rule) -> Option<f64> {
        let quantile = rule.quantile?;
        let is_asked = |asked: &&Asked| asked.stage == rule.stage && asked.rule == rule.name;
        let mut values = self.asked.iter().find(is_asked)?.values.clone();
        values.sort_by(f64::total_cmp);
        let rank = libm::ceil(quantile * values.len() as f64) as usize;
        values.get(rank.max(1) - 1).or(values.last()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::signals::PartSignals;

    const PACK: &str = r#"
name = "x"
[[rule]]
name = "odd"
stage = "sentence"
column = "perplexity"
keep = "<="
quantile = 0.9
when = { column = "n_chars", is = ">=", threshold = 5 }
"#;

    fn row(n_chars: u64, perplexity: Option<f64>) -> PartSignals {
        PartSignals {
            n_chars,
            perplexity,
            ..PartSignals::default()
        }
    }

    #[test]
    fn quantiles_are_values_of_the_sample() {
        let pack = Pack::from_toml(PACK).unwrap();
        let mut rule = pack.rules[0].clone();
        let mut sample = Calibration::for_pack(&pack);
        assert_eq!(sample.threshold(&rule), None);
        assert!(!sample.is_idle(Stage::Sentence) && sample.is_idle(Stage::Document));
        for value in (1..=10).rev() {
            sample.add(Stage::Sentence, &row(5, Some(f64::from(value))));
            // Another stage, and too short for the rule.
            sample.add(Stage::Paragraph, &row(5, Some(1000.0)));
            sample.add(Stage::Sentence, &row(4, Some(1000.0)));
        }
        sample.add(Stage::Sentence, &row(5, None));
        sample.add(Stage::Sentence, &row(5, Some(f64::INFINITY)));
        for (quantile, expected) in [
            (0.0, 1.0),
            (0.1, 1.0),
            (0.11, 2.0),
            (0.5, 5.0),
            (0.9, 9.0),
            (1.0, 10.0),
        ] {
            rule.quantile = Some(quantile);
            assert_eq!(sample.threshold(&rule), Some(expected), "{quantile}");
        }
        rule.name = "another".to_owned();
        assert_eq!(sample.threshold(&rule), None);
    }
}

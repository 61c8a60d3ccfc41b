//! A few records for the gallery of the report: some of every rule, kept ones too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::build::ledger::Row;

/// Name of the file inside a shard's folder.
pub const NAME: &str = "examples.json";
/// Examples that a shard gives of one stage and rule.
const PER_RULE: usize = 3;
/// Characters of an excerpt.
const EXCERPT: usize = 160;

/// A record or a picture that a rule dropped, or that was kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The step that is shown.
    pub row: Row,
    /// Name of the source.
    pub source: String,
    /// Headline, caption or address.
    pub title: String,
    /// How the text begins.
    pub excerpt: String,
    /// For a picture: its number among the copies of the shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<u64>,
}

/// Examples by stage and rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Examples(pub BTreeMap<String, Vec<Example>>);

impl Examples {
    /// Takes an example unless there are enough of its kind.
    pub fn offer(&mut self, row: &Row, source: &str, title: &str, text: &str, copy: Option<u64>) {
        let kind = format!("{} {} {}", row.stage, row.verdict, row.general_rule());
        let of_kind = self.0.entry(kind).or_default();
        if of_kind.len() < PER_RULE {
            of_kind.push(Example {
                row: row.clone(),
                source: source.to_string(),
                title: title.chars().take(EXCERPT).collect(),
                excerpt: text.chars().take(EXCERPT).collect(),
                copy,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_of_each_kind_are_taken() {
        let mut examples = Examples::default();
        for n in 0..9 {
            let rule = if n % 2 == 0 { "a" } else { "b" };
            let row = Row::new(&n.to_string(), "rules", "drop", rule);
            examples.offer(&row, "s", "题", &"长".repeat(999), None);
        }
        assert_eq!(examples.0.len(), 2);
        for of_kind in examples.0.values() {
            assert_eq!(of_kind.len(), PER_RULE);
            assert_eq!(of_kind[0].excerpt.chars().count(), EXCERPT);
        }
    }
}

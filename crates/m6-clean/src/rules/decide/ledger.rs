//! The ledger: what became of every record, at every stage, and why.

use serde::{Deserialize, Serialize};

use super::{Failure, Stage};

/// What a stage did with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It goes on.
    Kept,
    /// It goes on with parts taken out.
    Trimmed,
    /// It ends here.
    Dropped,
    /// It could not be read.
    Quarantined,
}

impl Verdict {
    /// The name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Kept => "kept",
            Verdict::Trimmed => "trimmed",
            Verdict::Dropped => "dropped",
            Verdict::Quarantined => "quarantined",
        }
    }
}

/// One row of the ledger; any stage of the builder writes such rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The record.
    pub record_id: String,
    /// The stage that decided: a [`Stage`]'s name, or another stage of the builder ("dedup", "fetch").
    pub stage: String,
    /// What became of the record.
    pub verdict: Verdict,
    /// The first rule that failed; empty when none did.
    pub rule: Option<String>,
    /// The value that failed it.
    pub value: Option<f64>,
    /// The threshold that it failed.
    pub threshold: Option<f64>,
}

impl LedgerRow {
    /// A record that passed a stage.
    pub fn kept(record_id: &str, stage: &str) -> Self {
        Self {
            record_id: record_id.to_owned(),
            stage: stage.to_owned(),
            verdict: Verdict::Kept,
            rule: None,
            value: None,
            threshold: None,
        }
    }

    /// The row of a decision: dropped by the rule that failed, or kept.
    pub fn of(record_id: &str, stage: Stage, failure: Option<&Failure>) -> Self {
        let kept = Self::kept(record_id, stage.name());
        failure.map_or(kept.clone(), |failure| {
            Self {
                verdict: Verdict::Dropped,
                ..kept
            }
            .because(failure)
        })
    }

    /// The row of a part taken out of a record.
    pub fn trimmed(record_id: &str, stage: Stage, failure: &Failure) -> Self {
        Self {
            verdict: Verdict::Trimmed,
            ..Self::kept(record_id, stage.name())
        }
        .because(failure)
    }

    fn because(self, failure: &Failure) -> Self {
        Self {
            rule: Some(failure.rule.clone()),
            value: Some(failure.value),
            threshold: Some(failure.threshold),
            ..self
        }
    }
}

//! A pack made ready to decide.

use super::{Calibration, Comparison, LedgerRow, Pack, Rule, Stage, TextActions};
use crate::Result;
use crate::rules::columns::Row;
use crate::rules::signals::{ImageSignals, PairSignals, PartSignals, Signals};

/// Why a record or a part of it fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The rule's name.
    pub rule: String,
    /// The record's value.
    pub value: f64,
    /// The threshold it failed.
    pub threshold: f64,
}

/// A comparison of one column.
#[derive(Clone, Debug)]
pub(super) struct Test {
    column: usize,
    comparison: Comparison,
    threshold: f64,
}

impl Test {
    /// The condition under which a rule applies; `None` for a rule that always does.
    pub(super) fn of_guard(rule: &Rule) -> Result<Option<Self>> {
        let Some(guard) = &rule.when else {
            return Ok(None);
        };
        let column = rule.stage.column(&guard.column)?;
        Ok(Some(Self {
            column,
            comparison: guard.is,
            threshold: guard.threshold,
        }))
    }

    /// The column's value, and whether the comparison holds; `None` when there is no value.
    fn look<R: Row>(&self, row: &R) -> Option<(f64, bool)> {
        let value = row.value(self.column)?;
        Some((value, self.comparison.holds(value, self.threshold)))
    }

    /// True when there is a value and the comparison holds.
    pub(super) fn holds<R: Row>(&self, row: &R) -> bool {
        self.look(row).is_some_and(|(_, holds)| holds)
    }
}

/// A rule with its columns found and its threshold known.
#[derive(Clone, Debug)]
struct Ready {
    name: String,
    stage: Stage,
    test: Test,
    when: Option<Test>,
}

/// A pack made ready: decides without allocating while nothing fails, and shared freely between threads.
#[derive(Clone, Debug)]
pub struct Judge {
    rules: Vec<Ready>,
    resting: Vec<String>,
    actions: TextActions,
    perplexity: [bool; Stage::ALL.len()],
}

impl Judge {
    /// Finds the columns and turns quantiles into thresholds; a rule whose quantile has no sample rests ([`Judge::resting`]).
    ///
    /// # Errors
    /// [`crate::Error::Config`] as [`Pack::check`] gives it.
    pub fn new(pack: &Pack, sample: &Calibration) -> Result<Self> {
        pack.check()?;
        let mut judge = Self {
            rules: Vec::new(),
            resting: Vec::new(),
            actions: pack.text,
            perplexity: [false; Stage::ALL.len()],
        };
        for rule in &pack.rules {
            let column = rule.stage.column(&rule.column)?;
            let Some(threshold) = rule.threshold.or_else(|| sample.threshold(rule)) else {
                judge.resting.push(rule.name.clone());
                continue;
            };
            let when = Test::of_guard(rule)?;
            if let Some(wants) = judge.perplexity.get_mut(rule.stage as usize) {
                *wants |= rule.column == "perplexity";
            }
            let test = Test {
                column,
                comparison: rule.keep,
                threshold,
            };
            judge.rules.push(Ready {
                name: rule.name.clone(),
                stage: rule.stage,
                test,
                when,
            });
        }
        Ok(judge)
    }

    /// Names of the rules that decide nothing because their quantile had no sample.
    pub fn resting(&self) -> &[String] {
        &self.resting
    }

    /// What is done to texts besides taking parts out.
    pub fn actions(&self) -> TextActions {
        self.actions
    }

    /// True when some rule decides over this stage.
    pub fn has(&self, stage: Stage) -> bool {
        self.rules.iter().any(|rule| rule.stage == stage)
    }

    /// True when a rule of this stage looks at the perplexity.
    pub fn wants_perplexity(&self, stage: Stage) -> bool {
        self.perplexity
            .get(stage as usize)
            .copied()
            .unwrap_or(false)
    }

    /// The first rule that a paragraph or a sentence fails.
    pub fn part(&self, stage: Stage, row: &PartSignals) -> Option<Failure> {
        self.first_failing(stage, row)
    }

    /// The first rule that a document fails.
    pub fn document(&self, row: &Signals) -> Option<Failure> {
        self.first_failing(Stage::Document, row)
    }

    /// The first rule that a picture fails.
    pub fn image(&self, row: &ImageSignals) -> Option<Failure> {
        self.first_failing(Stage::Image, row)
    }

    /// The first rule that a pair fails.
    pub fn pair(&self, row: &PairSignals) -> Option<Failure> {
        self.first_failing(Stage::Pair, row)
    }

    /// The ledger's row for a document.
    pub fn ledger(&self, record_id: &str, row: &Signals) -> LedgerRow {
        LedgerRow::of(record_id, Stage::Document, self.document(row).as_ref())
    }

    fn first_failing<R: Row>(&self, stage: Stage, row: &R) -> Option<Failure> {
        self.rules
            .iter()
            .filter(|rule| rule.stage == stage)
            .find_map(|rule| {
                // A guard without a value does not hold: the rule was not meant for such a record.
                let applies = rule.when.as_ref().is_none_or(|guard| guard.holds(row));
                let (value, holds) = rule.test.look(row).filter(|_| applies)?;
                (!holds).then(|| Failure {
                    rule: rule.name.clone(),
                    value,
                    threshold: rule.test.threshold,
                })
            })
    }
}

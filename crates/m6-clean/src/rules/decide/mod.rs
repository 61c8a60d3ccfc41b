//! Decisions over columns: a pack of rules, the first that fails, and the ledger's row that says so (ours; the thresholds of the
//! pack `m6` are those of paper section 1.2).
//!
//! A [`Pack`] is data, from a TOML file or built in ([`crate::rules::packs`]). A [`Judge`] is a pack made ready: columns found, quantiles
//! turned into thresholds. It decides over pictures and pairs as they are, and over a text in this order: paragraphs that fail go,
//! then sentences that fail, then an unfinished last sentence and personal data if the pack says so, and the document's rules look
//! at what is left.

mod calibrate;
mod judge;
mod ledger;
mod pack;
mod text;

pub use calibrate::{Calibration, MAX_SAMPLE};
pub use judge::{Failure, Judge};
pub use ledger::{LedgerRow, Verdict};
pub(crate) use pack::nearest;
pub use pack::{Comparison, Guard, Pack, Rule, Stage, TextActions};
pub use text::{Edit, JudgedText, Trimmed, cut_unfinished_end};

#[cfg(test)]
mod tests;

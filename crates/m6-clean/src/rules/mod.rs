//! Numbers about a text, and decisions over them (paper section 1.2 for M6's own rules; the rest is ours).
//!
//! The order is always the same: [`signals`] measures once and keeps every number as a column, [`decide`] compares columns with the
//! thresholds of a pack ([`packs`]) and names the first rule that fails, with its value. What a measurement needs from outside lies in
//! [`Assets`]: word lists ([`lists`], user data), a character language model ([`lm`]) and a linear classifier ([`classify`]).
//! Personal data is found and masked by [`pii`].

pub mod assets;
pub mod chars;
pub mod classify;
pub mod columns;
pub mod decide;
pub mod lists;
pub mod lm;
pub mod packs;
pub mod pii;
pub mod signals;
pub mod split;

mod fold;
mod hash;
mod sealed;

#[cfg(test)]
mod testing;

pub use assets::Assets;
pub use columns::Row;
pub use decide::{Judge, LedgerRow, Pack};
pub use signals::Signals;

//! `m6 corpus ...`: one file a verb.

pub mod build;
pub mod dedup;
pub mod extract;
pub mod normalize;
pub mod read;
pub mod why;

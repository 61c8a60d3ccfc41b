//! From raw sources to clean shards: archives, pages, text, decisions, duplicates (paper section 1).
//!
//! Every stage is a pure function of (input, configuration, assets); nothing here prints, and nothing panics on what comes from outside.

pub mod archive;
pub mod build;
pub mod dedup;
pub mod error;
pub mod fetch;
pub mod normalize;
pub mod page;
pub mod pictures;
pub mod remote;
pub mod rules;
pub mod sources;
pub mod table;
pub mod world;

pub use error::{Error, Result};

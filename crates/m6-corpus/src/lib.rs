//! From raw sources to clean shards: sources, stages, tables, the network (paper section 1).
//!
//! What is done to a record is in `m6-clean`; here is what is done to many of them. Every stage is a pure function of (input, configuration,
//! assets); nothing here prints, and nothing panics on what comes from outside.

pub mod build;
pub mod fetch;
pub mod remote;
pub mod sources;
pub mod table;
pub mod world;

pub use m6_clean::{Error, Result};

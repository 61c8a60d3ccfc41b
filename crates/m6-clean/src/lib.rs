//! One record at a time, from raw bytes to a verdict: archives, pages, texts, pictures, and which of them are copies (paper section 1).
//!
//! What a corpus builder does most of its time, without its plan, tables and network. Nothing here prints, and nothing panics on what comes
//! from outside.

pub mod archive;
pub mod dedup;
pub mod error;
pub mod normalize;
pub mod page;
pub mod pictures;
pub mod rules;

pub use error::{Error, Result};

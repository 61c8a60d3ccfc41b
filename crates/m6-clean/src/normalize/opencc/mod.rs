//! Conversion between simplified and traditional Chinese with OpenCC's dictionaries (paper: not said; ours).
//!
//! The search is our own: the first character is one look into a flat table, which for most characters already holds
//! the replacing bytes; phrases are walked through one table of edges behind a 64-bit filter of second characters.
//! What comes out is what OpenCC 1.4 gives for the same dictionaries, with its table of rarely shown characters: a
//! corpus is not for fonts. NUL and every other character without an entry pass unchanged, so no text is lost.
//!
//! All dictionaries that OpenCC's conversions need are carried; a folder ([`Tables`]) can replace any of them.

mod compat;
mod convert;
mod derive;
mod edges;
mod ids;
mod matcher;
mod script;
mod table;

#[cfg(test)]
mod tests;

pub use convert::Converter;
pub use script::Script;
pub use table::Tables;

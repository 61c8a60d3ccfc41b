//! Conversion between simplified and traditional Chinese with OpenCC's dictionaries (paper: not said; ours).
//!
//! The search is our own: the first character is one look into a flat table, which for most characters already holds
//! the replacing bytes; phrases are walked through one table of edges behind a 64-bit filter of second characters.
//! What comes out is what OpenCC 1.4 gives for the same dictionaries, with its table of rarely shown characters: a
//! corpus is not for fonts. NUL and every other character without an entry pass unchanged, so no text is lost.
//!
//! Carried are the dictionaries between simplified and traditional and the single-character variants of Taiwan and
//! Hong Kong: `s2t` and `t2s` are OpenCC's. Conversions to and from the regions go on without OpenCC's lists of
//! exceptions and words, with lists derived from the phrases and a short one of our own; [`Converter::missing`] names
//! what they lack, and a folder ([`Tables`]) can give it.

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

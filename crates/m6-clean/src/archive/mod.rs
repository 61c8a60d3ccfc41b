//! Web archives: WARC 0.17 to 1.1, ARC, WET and WAT; raw, gzip or zstd (design section 8, step 1).
//!
//! [`Reader`] gives what lies in an archive one [`Item`] after the other: a [`Record`], or a
//! [`Damage`] row that says where and why something could not be read; then it finds the next record.
//!
//! An archive is a row of segments: members of gzip, frames of zstd, or raw text. A segment usually
//! holds one record, but one member for a whole file, and one record cut over several members, are
//! read too. A [`Place`] names a record in any of them and is all that is needed to resume there.
//!
//! | file | what it is |
//! |---|---|
//! | `source.rs` | a window over the bytes of the file that can step back a little |
//! | `gzip.rs`, `zstd.rs` | decoders of one segment |
//! | `stream.rs` | decoded bytes of the open segment |
//! | `search.rs` | the next place at which a record can begin |
//! | `headers.rs`, `warc.rs`, `arc.rs`, `http.rs` | headers |
//! | `reader.rs`, `block.rs` | records |
//! | `body.rs` | transfer and content encodings |
//! | `writer.rs` | records with one gzip member each |

mod arc;
mod block;
mod body;
mod gzip;
mod headers;
mod http;
mod reader;
mod record;
mod search;
mod source;
mod stream;
mod warc;
mod writer;
mod zstd;

#[cfg(test)]
mod tests;

pub use body::{Body, BodyError};
pub use headers::Headers;
pub use http::HttpHead;
pub use reader::Reader;
pub use record::{Damage, Item, Kind, Limits, Place, Record, Truncation};
pub use writer::{Compression, NewRecord, Writer};

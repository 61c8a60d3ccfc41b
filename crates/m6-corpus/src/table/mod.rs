//! Columnar tables at rest: Parquet with zstd, written and read row group by row group.
//!
//! Every cell may be absent; a table is a list of named columns of four kinds. Anything that reads Parquet reads these files.

mod read;
mod schema;
mod write;

pub use read::{Batch, Reader};
pub use schema::{Cell, Column, Kind};
pub use write::{ROW_GROUP_BYTES, ROW_GROUP_ROWS, Writer};

#[cfg(test)]
mod tests;

//! Sources to shards to batches; a task is data. Plain arrays, never a tensor.
//!
//! [`prepare`] reads the sources of a [`DataConfig`] into a folder that is committed in one rename. [`Loader`] maps that
//! folder and gives [`Batch`]es; its whole state is a [`Cursor`], one number a source. Between the two stands the
//! [`Task`](tasks::Task): when data is prepared it says how much room an example takes, when a row is loaded it makes
//! the example.

mod batch;
mod config;
mod entry;
mod error;
mod fields;
mod files;
mod loader;
mod manifest;
mod mixture;
mod names;
mod pack;
mod padded;
mod prepare;
mod quarantine;
mod record;
mod sources;
mod stats;
mod tarball;
pub mod tasks;
#[cfg(test)]
mod testing;

pub use batch::{
    Batch, NO_TOKEN, SEGMENT_CODE_READ, SEGMENT_CODE_WRITTEN, SEGMENT_FINE_READ,
    SEGMENT_FINE_WRITTEN, SEGMENT_PICTURE, SEGMENT_POOL_PICTURE, SEGMENT_POOL_TEXT, SEGMENT_SOURCE,
    SEGMENT_TARGET, SEGMENT_VERDICT, Sample,
};
pub use config::{
    CodesConfig, DataConfig, Fields, Fit, Kind, SourceConfig, SpanLaw, TaskOptions, WorldSplit,
};
pub use entry::Entry;
pub use error::{Error, Result, nearest};
pub use loader::{Cursor, Loader, LoaderConfig, PictureSet, RowRef, Split, held_out_pictures};
pub use manifest::{
    FORMAT_VERSION, MANIFEST_FILE, Manifest, RowReport, SourceReport, Summary, TaskReport,
};
pub use mixture::{Schedule, furthest_behind};
pub use pack::pack;
pub use prepare::{CODER_DIR, PictureCoder, Progress, is_held_out, prepare};
pub use record::{BadRecord, Picture, QUARANTINE_BYTES, Qa, Record, Source};
pub use sources::{IMAGE_EXTENSIONS, open, open_sized};
pub use stats::PackStats;
pub use tarball::{Fault, Member, index as tar_index};

//! Bytes that survive: atomic commits, manifests, shards, hashes and keyed random streams.
//!
//! Everything the project keeps goes through this crate: [`atomic`] makes a file or a folder appear
//! whole or not at all, [`manifest`] says what a folder must hold, [`checkpoints`] finds the newest
//! whole one, [`tokens`] and [`blobs`] are the shard formats, [`rng`] and [`permute`] are the only
//! source of chance. Nothing here trusts a header: sizes are checked against the file before use.

#[cfg(target_endian = "big")]
compile_error!(
    "token shards are read in place as little-endian u16; big-endian targets are not supported"
);

mod error;
mod pair;

pub mod atomic;
pub mod blobs;
pub mod checkpoints;
pub mod hash;
pub mod lock;
pub mod manifest;
pub mod mem;
pub mod mmap;
pub mod permute;
pub mod rng;
pub mod scratch;
pub mod tokens;

pub use error::{Error, Result};

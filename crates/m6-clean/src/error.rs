//! What can go wrong, with where and what to do.

use std::path::PathBuf;

/// Errors of this crate. Damage inside one record is not an error: it becomes a row of its own, and the reader goes on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be, as a whole.
    #[error("{path}: {problem}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// Settings that cannot be followed.
    #[error("{0}")]
    Config(String),
    /// An object store refused, or was not reached.
    #[error("{address}: cannot {action} it: {problem}")]
    Remote {
        /// The object or prefix.
        address: String,
        /// What was tried, as a verb ("read", "list").
        action: &'static str,
        /// The store's reason, and what to do.
        problem: String,
    },
    /// A durable write or a lock failed.
    #[error(transparent)]
    Store(#[from] m6_store::Error),
    /// Asked to stop; what is finished is kept.
    #[error("stopped; the same command goes on where it ended")]
    Interrupted,
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

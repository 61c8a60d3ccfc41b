//! The one error type of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with bytes at rest; every variant names the path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb ("open", "rename").
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No space (or quota) was left for a write.
    #[error(
        "the disk is full: {} could not take {bytes} bytes ({source}); nothing committed before is lost, \
         free some space or choose another folder and run again",
        path.display()
    )]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
        /// How many bytes the file would have held, this write included.
        bytes: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// A file's content contradicts itself or its format.
    #[error("{} is damaged at byte {offset}: expected {expected}, got {got}; make it again from its source", path.display())]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// Where the contradiction shows, in bytes from the start.
        offset: u64,
        /// What the format requires there.
        expected: String,
        /// What was found.
        got: String,
    },
    /// A destination is taken.
    #[error("{} exists already and is not empty; choose another place, or ask for it to be replaced", path.display())]
    Exists {
        /// The taken destination.
        path: PathBuf,
    },
    /// Another process works in the folder.
    #[error("{} is in use by {holder}; wait for it to end, or choose another folder", path.display())]
    Locked {
        /// The locked folder.
        path: PathBuf,
        /// "process 1234", or words that say the holder is not known.
        holder: String,
    },
    /// A value given by the caller cannot be stored.
    #[error("cannot store in {}: {reason}", path.display())]
    Invalid {
        /// Where it should have gone.
        path: PathBuf,
        /// Why not, with what was expected.
        reason: String,
    },
}

impl Error {
    /// Wraps a system error of an operation that writes nothing.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Error::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Wraps a system error of a write; a full disk becomes [`Error::DiskFull`], an error of ours that
    /// travelled inside an `io::Error` comes out unchanged.
    pub(crate) fn write(path: &Path, bytes: u64, source: io::Error) -> Self {
        let source = match source.downcast::<Error>() {
            Ok(ours) => return ours,
            Err(other) => other,
        };
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull {
                path: path.to_owned(),
                bytes,
                source,
            },
            _ => Error::io("write", path, source),
        }
    }

    /// Shorthand for [`Error::Damaged`].
    pub(crate) fn damaged(
        path: &Path,
        offset: u64,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        Error::Damaged {
            path: path.to_owned(),
            offset,
            expected: expected.into(),
            got: got.into(),
        }
    }

    /// Shorthand for [`Error::Invalid`].
    pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> Self {
        Error::Invalid {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}

impl From<Error> for io::Error {
    /// Keeps the kind, so that callers of `std::io::Write` still see `StorageFull`.
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io { source, .. } | Error::DiskFull { source, .. } => source.kind(),
            Error::Damaged { .. } => io::ErrorKind::InvalidData,
            Error::Exists { .. } => io::ErrorKind::AlreadyExists,
            Error::Locked { .. } => io::ErrorKind::WouldBlock,
            Error::Invalid { .. } => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}

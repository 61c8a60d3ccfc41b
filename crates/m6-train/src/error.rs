//! The one error type of the crate: what went wrong, where, and what to do.

use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What stopped a run, or kept a model from loading.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be trained; every problem at once.
    #[error("the configuration cannot be trained:\n  {}", .problems.join("\n  "))]
    Config {
        /// One line a problem, each naming its key.
        problems: Vec<String>,
    },
    /// The run folder holds something and neither resuming nor overwriting was asked for.
    #[error("{} is not empty; use --resume to go on with it, --overwrite to start anew, or another folder", .dir.display())]
    NotEmpty {
        /// The run folder.
        dir: PathBuf,
    },
    /// The folder to overwrite is not one that a run wrote.
    #[error("{} was not written by a run (no run.json in it) and is not overwritten; give another folder", .dir.display())]
    NotARun {
        /// The folder.
        dir: PathBuf,
    },
    /// The run was started with another configuration or other data.
    #[error("cannot resume {}: {what} differ from those of the checkpoint:\n  {}\nresume with the same command, or start a new run", .dir.display(), .differences.join("\n  "))]
    ResumeMismatch {
        /// The checkpoint.
        dir: PathBuf,
        /// `the settings` or `the data`.
        what: &'static str,
        /// Key, value in the checkpoint, value now.
        differences: Vec<String>,
    },
    /// A loss or gradient that is not finite; the update was not made.
    #[error("step {step}: {what} is not finite (task {task}; {parameter}); stopped before the update; last good checkpoint: {}", show(.last_good))]
    NonFinite {
        /// The step whose update was not made, counted from 1.
        step: u64,
        /// `the loss` or `the gradient`.
        what: &'static str,
        /// The task whose loss it is, or the tasks of the batch.
        task: String,
        /// The first parameter, in the order of the model, that is not finite or whose gradient is not.
        parameter: String,
        /// The newest checkpoint committed before.
        last_good: Option<PathBuf>,
    },
    /// A weight that is not finite when a checkpoint is due; the checkpoint is not written.
    #[error("step {step}: the parameter {parameter} is not finite and no checkpoint of it is written; last good checkpoint: {}", show(.last_good))]
    NonFiniteWeight {
        /// The step of the checkpoint.
        step: u64,
        /// The first parameter, in the order of the model, that is not finite.
        parameter: String,
        /// The newest checkpoint committed before.
        last_good: Option<PathBuf>,
    },
    /// The held-out score that the best checkpoint is chosen by cannot be found.
    #[error("step {step}: no held-out score: {reason}; last good checkpoint: {}; mend it and resume", show(.last_good))]
    Score {
        /// The step of the evaluation.
        step: u64,
        /// What keeps the model from being scored.
        reason: String,
        /// The newest checkpoint committed before.
        last_good: Option<PathBuf>,
    },
    /// A batch could not be written anew by the model.
    #[error("step {step}: {reason}")]
    Reword {
        /// The step.
        step: u64,
        /// What kept it from being written.
        reason: String,
    },
    /// A checkpoint could not be written; the ones committed before are untouched.
    #[error("step {step}: the checkpoint could not be written to {}: {source}; last good checkpoint: {}; free some space and resume", .dir.display(), show(.last_good))]
    CheckpointWrite {
        /// The step of the checkpoint.
        step: u64,
        /// The folder of the checkpoints.
        dir: PathBuf,
        /// What the file system said.
        source: Box<Error>,
        /// The newest checkpoint committed before.
        last_good: Option<PathBuf>,
    },
    /// A file of a checkpoint or exported model is not what it should be.
    #[error("{}: {reason}", .path.display())]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// Expected and got.
        reason: String,
    },
    /// No model where one was looked for.
    #[error("{} holds no model: expected a run folder with checkpoints/step-*, a checkpoint, or an exported model (config.json, model.safetensors, tokenizer.json){}", .path.display(), skipped_lines(.skipped))]
    NoModel {
        /// The folder.
        path: PathBuf,
        /// Damaged checkpoints found on the way, with the reason of each.
        skipped: Vec<String>,
    },
    /// The vocabulary does not belong to the model.
    #[error("{}: the vocabulary has {tokenizer} entries but the model was made for {model}; use the tokenizer.json that was saved with it", .path.display())]
    VocabularySize {
        /// Where the vocabulary came from.
        path: PathBuf,
        /// Entries of the vocabulary.
        tokenizer: usize,
        /// Rows of the model's embedding.
        model: usize,
    },
    /// A global batch without a single label.
    #[error(
        "step {step}: the batch has no label to predict; check the task weights and row tables of the data set"
    )]
    EmptyBatch {
        /// The step, counted from 1.
        step: u64,
    },
    /// Another of the processes that train together failed, and this one stops with it.
    #[error("rank {rank} failed: {reason}")]
    Peer {
        /// Which one.
        rank: usize,
        /// What it said.
        reason: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] m6_store::Error),
    /// The data set failed.
    #[error(transparent)]
    Data(#[from] m6_data::Error),
    /// The vocabulary failed.
    #[error(transparent)]
    Text(#[from] m6_text::Error),
    /// The network failed.
    #[error(transparent)]
    Model(#[from] m6_model::Error),
    /// An operator or the optimizer failed.
    #[error(transparent)]
    Nn(#[from] m6_nn::Error),
}

/// What kind of trouble an error is, for exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Settings, or folders used in a way they cannot be.
    Usage,
    /// Bytes that should have been sound are not.
    Data,
    /// A loss or gradient that is not finite.
    Numerics,
    /// The system: no space, no permission, a failed write.
    System,
}

impl Error {
    /// The kind of trouble, for exit codes.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Config { .. }
            | Error::NotEmpty { .. }
            | Error::NotARun { .. }
            | Error::ResumeMismatch { .. }
            | Error::NoModel { .. }
            | Error::VocabularySize { .. } => ErrorKind::Usage,
            Error::NonFinite { .. } | Error::NonFiniteWeight { .. } => ErrorKind::Numerics,
            Error::CheckpointWrite { .. } | Error::Io { .. } | Error::Peer { .. } => {
                ErrorKind::System
            }
            Error::Damaged { .. }
            | Error::EmptyBatch { .. }
            | Error::Score { .. }
            | Error::Reword { .. } => ErrorKind::Data,
            Error::Store(m6_store::Error::Locked { .. } | m6_store::Error::Exists { .. }) => {
                ErrorKind::Usage
            }
            Error::Store(m6_store::Error::DiskFull { .. } | m6_store::Error::Io { .. }) => {
                ErrorKind::System
            }
            Error::Store(_) | Error::Data(_) | Error::Text(_) | Error::Model(_) | Error::Nn(_) => {
                ErrorKind::Data
            }
        }
    }

    /// An input or output error on `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |source| Error::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    /// A damaged file with its reason.
    pub(crate) fn damaged(path: &Path, reason: impl std::fmt::Display) -> Error {
        Error::Damaged {
            path: path.to_path_buf(),
            reason: reason.to_string(),
        }
    }
}

fn show(checkpoint: &Option<PathBuf>) -> String {
    match checkpoint {
        Some(path) => path.display().to_string(),
        None => "none yet".to_string(),
    }
}

fn skipped_lines(skipped: &[String]) -> String {
    skipped
        .iter()
        .map(|line| format!("\n  skipped {line}"))
        .collect()
}

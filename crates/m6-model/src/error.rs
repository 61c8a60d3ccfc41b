//! What can go wrong in this crate.

/// Error of building, running or generating with a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be built; every problem is listed.
    #[error("the model configuration has {} problem(s): {}", .0.len(), .0.join("; "))]
    Config(Vec<String>),
    /// An input does not fit the model or contradicts itself.
    #[error("model input: {0}")]
    Input(String),
    /// Options of generation that cannot be followed.
    #[error("generation options: {0}")]
    Options(String),
    /// Weights that cannot be read.
    #[error("weights: {0}")]
    Weights(String),
    /// A file of a Chinese-CLIP that cannot be used.
    #[error("Chinese-CLIP, {file}: {problem}")]
    Clip {
        /// Its name in the folder.
        file: &'static str,
        /// What was found and what was expected.
        problem: String,
    },
    /// An operator failed.
    #[error(transparent)]
    Nn(#[from] m6_nn::Error),
}

impl Error {
    /// A problem of a file of a Chinese-CLIP.
    pub(crate) fn clip(file: &'static str, problem: impl std::fmt::Display) -> Self {
        Error::Clip {
            file,
            problem: problem.to_string(),
        }
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

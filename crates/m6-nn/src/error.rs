//! The crate's one error type.

use candle_core::DType;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tensor backend refused an operation.
    #[error(transparent)]
    Backend(#[from] candle_core::Error),

    /// An operand has a shape that the operator cannot take.
    #[error("{op}: {what} has shape {got:?}, expected {expected}")]
    Shape {
        /// Operator that refused.
        op: &'static str,
        /// Which operand.
        what: String,
        /// Its shape.
        got: Vec<usize>,
        /// What the operator takes.
        expected: String,
    },

    /// An index points outside the table that it indexes.
    #[error(
        "{op}: index {index} at position {position} is out of range, the table has {n_rows} rows"
    )]
    Index {
        /// Operator that refused.
        op: &'static str,
        /// Position of the offending index in its list.
        position: usize,
        /// The index.
        index: u32,
        /// Rows of the indexed table.
        n_rows: usize,
    },

    /// An operand has a number type other than the one needed.
    #[error("{what} holds {got:?}, expected {expected:?}")]
    DType {
        /// Which operand.
        what: String,
        /// Its number type.
        got: DType,
        /// The number type needed.
        expected: DType,
    },

    /// A value is outside the range that the operator is defined on.
    #[error("{op}: {what}")]
    Value {
        /// Operator that refused.
        op: &'static str,
        /// What is wrong and what to do.
        what: String,
    },

    /// The bytes of a safetensors file do not make sense.
    #[error("not a readable safetensors file: {0}; the file is damaged or of another format")]
    Safetensors(#[from] safetensors::SafeTensorError),

    /// A file that numbers are kept in cannot be read or written.
    #[error(transparent)]
    Store(#[from] m6_store::Error),

    /// A safetensors file is whole but does not fit the parameters.
    #[error("{what}: {problem}")]
    Load {
        /// What was being loaded.
        what: &'static str,
        /// Everything that does not fit.
        problem: String,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Backend(inner) => inner,
            other => candle_core::Error::wrap(other),
        }
    }
}

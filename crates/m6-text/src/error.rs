//! What can go wrong when a tokenizer is read or trained.

use std::path::PathBuf;

/// Everything this crate refuses, with what was expected and what was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read tokenizer {path}: {source}", path = path.display())]
    Io {
        /// The file asked for.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file was read, but its content is refused.
    #[error("tokenizer {path}: {source}", path = path.display())]
    InFile {
        /// The file asked for.
        path: PathBuf,
        /// Why its content is refused.
        source: Box<Error>,
    },
    /// The bytes are not a tokenizer.json of the expected shape.
    #[error("line {line}, column {column}: {message}; expected a Hugging Face tokenizer.json")]
    Json {
        /// One-based line of the fault.
        line: usize,
        /// Column of the fault, in bytes.
        column: usize,
        /// What the JSON reader says.
        message: String,
    },
    /// A vocab.txt that is not UTF-8.
    #[error("line {line} is not UTF-8; expected one UTF-8 token a line")]
    NotUtf8 {
        /// One-based line of the first bad byte.
        line: usize,
    },
    /// A tokenizer.json asks for something other than BERT WordPiece.
    #[error("{what} is {got}; expected {expected}")]
    Unsupported {
        /// The field.
        what: String,
        /// What the file says.
        got: String,
        /// What this crate implements.
        expected: &'static str,
    },
    /// The same token is listed twice.
    #[error("token {token:?} has both id {first} and id {second}; every token needs one id")]
    DuplicateToken {
        /// The token.
        token: String,
        /// Its first id.
        first: u64,
        /// Its second id.
        second: u64,
    },
    /// Two tokens share an id.
    #[error("id {id} belongs to both {first:?} and {second:?}; every id needs one token")]
    DuplicateId {
        /// The id.
        id: u64,
        /// One of the tokens.
        first: String,
        /// The other.
        second: String,
    },
    /// An id lies outside 0..n for n tokens, so some id in that range has no token.
    #[error(
        "token {token:?} has id {id}, but there are {n_tokens} tokens; expected the ids 0 to \
         n_tokens - 1 without a gap"
    )]
    IdOutOfRange {
        /// The token.
        token: String,
        /// Its id.
        id: u64,
        /// How many tokens there are.
        n_tokens: usize,
    },
    /// One of the five special tokens is absent.
    #[error("the vocabulary has no {name} token (lower case is accepted as well); add it")]
    MissingSpecial {
        /// Its usual spelling.
        name: String,
    },
    /// More tokens, or a larger file, than this crate accepts.
    #[error("{what}: {got} is above the limit of {limit}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        got: u64,
        /// How many are accepted.
        limit: u64,
    },
    /// The trainer's settings or its text cannot give a vocabulary.
    #[error("cannot train: {0}")]
    Train(String),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Error::Json {
            line: error.line(),
            column: error.column(),
            message: error.to_string(),
        }
    }
}

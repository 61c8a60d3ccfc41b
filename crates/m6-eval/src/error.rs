//! What can go wrong when scores are computed.

/// Everything this crate refuses, with the item it concerns.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to score.
    #[error("there is no item to score; expected at least one")]
    NoItems,
    /// The same id twice in one file.
    #[error("id {id:?} occurs more than once among the {what}; every id needs one entry")]
    DuplicateId {
        /// "references", "candidates" or "answers".
        what: &'static str,
        /// The id.
        id: String,
    },
    /// An item with references but without a candidate.
    #[error("{n_missing} of {n_items} ids have references but no candidate, the first is {id:?}")]
    MissingCandidate {
        /// The first such id.
        id: String,
        /// How many there are.
        n_missing: usize,
        /// How many ids have references.
        n_items: usize,
    },
    /// A candidate for an item that has no references.
    #[error("candidate {id:?} has no references; remove it or add its references")]
    UnknownCandidate {
        /// Its id.
        id: String,
    },
    /// Candidates for items that are not there, counted.
    #[error(
        "{n_unknown} candidates have no references, the first is {id:?} on line {line}; remove them or add their references"
    )]
    UnknownCandidates {
        /// The first such id.
        id: String,
        /// Its one-based line.
        line: usize,
        /// How many there are.
        n_unknown: usize,
    },
    /// Two systems that were not measured on the same items.
    #[error(
        "the systems were measured on {n} and {n_other} items that are not the same; score both against one file of references"
    )]
    Mismatched {
        /// Items of the first.
        n: usize,
        /// Items of the second.
        n_other: usize,
    },
    /// A model cannot be told what its own texts are worth.
    #[error("reward: {0}")]
    Reward(String),
    /// Training text beyond what can be indexed.
    #[error("the training text has 4 billion characters or more; give a part of it")]
    TooLong,
    /// A line of one of two files that is not what was expected.
    #[error("{side}, line {line}: {message}; expected {expected}")]
    Side {
        /// "references", "candidates" or "training".
        side: &'static str,
        /// One-based line.
        line: usize,
        /// What is wrong with it.
        message: String,
        /// The shape of a good line.
        expected: &'static str,
    },
    /// An item whose references are missing, or hold no token.
    #[error("the references of {id:?} are empty (or empty once segmented); give at least one")]
    EmptyReferences {
        /// Its id.
        id: String,
    },
    /// An answer to compare with is missing.
    #[error("item {id:?} has no expected answer; give at least one")]
    NoAnswer {
        /// Its id.
        id: String,
    },
    /// WordPiece segmentation without a tokenizer.
    #[error("segmentation by word pieces needs a tokenizer; give one or choose none or char")]
    NoTokenizer,
    /// An n-gram order outside 1..=4.
    #[error("n-gram order {got} is outside 1 to 4")]
    Order {
        /// What was asked for.
        got: usize,
    },
    /// A name that is none of the segmentations.
    #[error("segmentation {got:?} is unknown; expected none, char or wordpiece")]
    UnknownSegment {
        /// What was given.
        got: String,
    },
    /// Feature vectors that no figure can be computed of.
    #[error("feature vectors: {0}")]
    Features(String),
    /// Scores of pairs that no ranking can be computed of.
    #[error("retrieval: {0}")]
    Pairs(String),
    /// A line of a file that is not what was expected.
    #[error("line {line}: {message}; expected {expected}")]
    Line {
        /// One-based line.
        line: usize,
        /// What the reader says.
        message: String,
        /// The shape of a good line.
        expected: &'static str,
    },
}

impl Error {
    /// Which of the files it is about, when it is about one: "references", "candidates", "answers" or "training".
    pub fn side(&self) -> Option<&'static str> {
        match self {
            Self::DuplicateId { what, .. } => Some(what),
            Self::Side { side, .. } => Some(side),
            Self::MissingCandidate { .. }
            | Self::UnknownCandidate { .. }
            | Self::UnknownCandidates { .. } => Some("candidates"),
            Self::EmptyReferences { .. } => Some("references"),
            _ => None,
        }
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

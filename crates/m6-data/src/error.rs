//! The one error type of this crate.

use std::path::PathBuf;

/// What this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can stop preparing or loading data; a single bad record never does.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong; every problem at once.
    #[error("{} problem(s) in the data configuration:\n  - {}", .0.len(), .0.join("\n  - "))]
    Config(Vec<String>),
    /// A pattern of a source matches no file.
    #[error("source `{name}`: nothing matches `{pattern}` under {root}{hint}", root = root.display())]
    Missing {
        /// The source.
        name: String,
        /// The pattern as configured.
        pattern: String,
        /// The folder it is relative to.
        root: PathBuf,
        /// `; did you mean ...`, or empty.
        hint: String,
    },
    /// The operating system refused to read a file or make a folder.
    #[error("{path}: {cause}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A field that a source names does not exist in its table.
    #[error("{place}: there is no column `{field}`{hint}; the columns are: {columns}")]
    Column {
        /// The file.
        place: String,
        /// The column as configured.
        field: String,
        /// `; did you mean ...`, or empty.
        hint: String,
        /// The columns there are.
        columns: String,
    },
    /// A table file cannot be opened at all.
    #[error("{path}: not a readable Parquet file: {detail}", path = path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        detail: String,
    },
    /// The pictures of a source could not be turned into codes.
    #[error("the pictures of source `{name}` could not be encoded: {detail}")]
    Coder {
        /// The source.
        name: String,
        /// What the coder said.
        detail: String,
    },
    /// A source gave no usable record.
    #[error(
        "source `{name}` gave no usable record ({seen} seen, {bad} bad, {skipped} skipped){hint}"
    )]
    Empty {
        /// The source.
        name: String,
        /// Records seen.
        seen: u64,
        /// Records that were bad.
        bad: u64,
        /// Records that a rule skipped.
        skipped: u64,
        /// What to look at, or empty.
        hint: String,
    },
    /// More records of a source are bad than `bad_limit` allows.
    #[error(
        "source `{name}`: {bad} of {seen} records are bad, more than bad_limit = {limit}; \
         the first: {first}; all of them are in {report}; \
         repair the source or raise data.bad_limit",
        report = report.display()
    )]
    TooManyBad {
        /// The source.
        name: String,
        /// Bad records.
        bad: u64,
        /// Records seen.
        seen: u64,
        /// The configured share.
        limit: f64,
        /// The first bad record: where and why.
        first: String,
        /// The quarantine file that was kept.
        report: PathBuf,
    },
    /// The folder to write already holds something.
    #[error("{path} exists and is not empty; choose another folder or remove it", path = path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The tokenizer cannot be stored in 16 bits.
    #[error("the vocabulary has {size} entries; token shards hold 16-bit ids, at most 65536")]
    Vocabulary {
        /// Its size.
        size: usize,
    },
    /// A prepared folder does not hold what its manifest says.
    #[error("{place}: damaged: {detail}; run `m6 prepare` again")]
    Damaged {
        /// File and record.
        place: String,
        /// Expected and got.
        detail: String,
    },
    /// A batch that is to be written anew holds something else than pictures and texts.
    #[error(
        "only samples that show pictures and write texts can be shown again, and one has a position of segment {segment}"
    )]
    NotTexts {
        /// The first such segment.
        segment: u32,
    },
    /// A name that the prepared folder does not know.
    #[error("there is no {what} `{name}` in this data set{hint}")]
    Unknown {
        /// `source` or `task`.
        what: &'static str,
        /// The name given.
        name: String,
        /// `; did you mean ...`, or empty.
        hint: String,
    },
    /// No row can be drawn.
    #[error("no source of {path} has a row of weight above zero for the {split} split", path = path.display())]
    NoRows {
        /// The prepared folder.
        path: PathBuf,
        /// `train` or `held_out`.
        split: &'static str,
    },
    /// Reading or writing shards failed.
    #[error(transparent)]
    Store(#[from] m6_store::Error),
}

impl Error {
    /// An input/output error with its path.
    pub(crate) fn io(path: impl Into<PathBuf>, cause: std::io::Error) -> Self {
        Error::Io {
            path: path.into(),
            cause,
        }
    }
}

/// The candidate most like `name`, if one is near enough to be a slip of the pen.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, candidate)| candidate)
}

/// `; did you mean ...` for the nearest candidate, or nothing.
pub(crate) fn hint<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    match nearest(name, candidates) {
        Some(found) => format!("; did you mean `{found}`?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_a_likely_slip_or_nothing() {
        let names = ["captions", "question", "image"];
        assert_eq!(nearest("caption", names.into_iter()), Some("captions"));
        assert_eq!(nearest("zzz", names.into_iter()), None);
    }
}

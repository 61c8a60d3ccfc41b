//! Pictures: facts once, then decisions, a training copy, and who looks like whom (paper section 1, 5,000 pixels; the rest ours).
//!
//! ```text
//! bytes -> m6_image::decode -> PictureFacts -> Rules::decide -> prepare (JPEG) ; Fingerprint -> cluster
//! ```
//!
//! Reading pictures out of archives, or fetching them, is the caller's. A picture that cannot be read is a [`Refusal`] with
//! its reason, never an error of the run.

mod decide;
mod facts;
mod halved;
mod hash;
mod index;
mod measure;
mod prepare;
mod qr;
mod recipe;
mod scale;

use m6_image::Limits;
use serde::Serialize;

pub use decide::{Failure, Rules};
pub use facts::{PictureFacts, facts_of, inspect, inspect_recipe};
pub use hash::{Fingerprint, distance};
pub use index::{HashIndex, Match, Near, cluster, keep_best};
pub use prepare::{Fit, Prepare, Prepared, prepare, prepare_picture};
pub use recipe::{Recipe, RecipeFacts};

/// Limits for pictures off the web: 32 MiB and 50 million pixels (ours; below the decoder's own, since one page may bring hundreds).
pub const WEB_LIMITS: Limits = Limits {
    max_pixels: 50_000_000,
    max_bytes: 32 << 20,
};

/// Why a picture is not looked at: one quarantine row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be decoded, or not within the limits.
    #[error(transparent)]
    Decode(#[from] m6_image::Error),
    /// A training copy cannot be made.
    #[error("no training copy of {width}x{height} pixels: {reason}")]
    Prepare {
        /// Width of what was asked for.
        width: usize,
        /// Height of what was asked for.
        height: usize,
        /// The words of the resizer or the encoder.
        reason: String,
    },
}

impl Refusal {
    /// A stable word for counting: `format`, `bytes`, `pixels`, `truncated`, `damaged` or `prepare`.
    pub fn kind(&self) -> &'static str {
        use m6_image::Error;
        match self {
            Refusal::Decode(Error::UnknownFormat { .. }) => "format",
            Refusal::Decode(Error::TooManyBytes { .. }) => "bytes",
            Refusal::Decode(Error::TooManyPixels { .. } | Error::TooMuchMemory { .. }) => "pixels",
            Refusal::Decode(Error::Truncated { .. }) => "truncated",
            Refusal::Decode(_) => "damaged",
            Refusal::Prepare { .. } => "prepare",
        }
    }
}

/// What became of one picture that could be read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Look {
    /// Its numbers.
    pub facts: PictureFacts,
    /// The first rule it fails; `None` when it is kept.
    pub failure: Option<Failure>,
    /// The training copy; only of a picture that is kept.
    #[serde(skip)]
    pub copy: Option<Prepared>,
}

/// Decodes a picture once, takes its numbers, decides, and makes the training copy of what is kept.
///
/// # Errors
/// [`Refusal`] when the picture cannot be read within `limits`, or no copy can be made.
pub fn look(
    bytes: &[u8],
    limits: &Limits,
    rules: &Rules,
    prepare: &Prepare,
) -> Result<Look, Refusal> {
    let (facts, picture) = facts::measured(bytes, limits, rules.want_recipe())?;
    let failure = rules.decide(&facts);
    let copy = match failure {
        Some(_) => None,
        None => Some(prepare_picture(&picture, prepare)?),
    };
    Ok(Look {
        facts,
        failure,
        copy,
    })
}

#[cfg(test)]
mod tests;

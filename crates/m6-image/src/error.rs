//! The one error type of this crate.

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why bytes are no picture, or a picture no PNG.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes start like no format that is read here.
    #[error(
        "not a JPEG, PNG, WebP, GIF or BMP picture: {n_bytes} bytes that start with \"{start}\""
    )]
    UnknownFormat {
        /// Size of the input.
        n_bytes: usize,
        /// The first bytes, escaped.
        start: String,
    },
    /// The encoded picture is larger than [`crate::Limits::max_bytes`].
    #[error(
        "{n_bytes} bytes of picture, more than the limit of {max_bytes}; raise max_bytes if it is wanted"
    )]
    TooManyBytes {
        /// Size of the input.
        n_bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// The header claims more pixels than [`crate::Limits::max_pixels`].
    #[error(
        "a {format} header of {width}x{height} pixels, more than the limit of {max_pixels}; raise max_pixels if it is wanted"
    )]
    TooManyPixels {
        /// The format by content.
        format: &'static str,
        /// Claimed width.
        width: u32,
        /// Claimed height.
        height: u32,
        /// The limit.
        max_pixels: u64,
    },
    /// The decoder would need more memory than [`crate::Limits::max_pixels`] grants.
    #[error(
        "the {format} picture wants more memory than a limit of {max_pixels} pixels grants; \
         raise max_pixels if it is wanted"
    )]
    TooMuchMemory {
        /// The format by content.
        format: &'static str,
        /// The limit.
        max_pixels: u64,
    },
    /// The header claims more pixels than that many bytes can encode, or none.
    #[error(
        "a {format} header of {width}x{height} pixels cannot be true of {n_bytes} bytes; the file is cut short or lies"
    )]
    ImpossibleSize {
        /// The format by content.
        format: &'static str,
        /// Claimed width.
        width: u32,
        /// Claimed height.
        height: u32,
        /// Size of the input.
        n_bytes: usize,
    },
    /// The picture cannot be brought to that size.
    #[error("cannot be scaled to {width}x{height} pixels: {reason}")]
    Unscalable {
        /// Width asked for.
        width: usize,
        /// Height asked for.
        height: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The bytes end before the picture does.
    #[error("the {format} picture is cut short: no end in {n_bytes} bytes; fetch it again")]
    Truncated {
        /// The format by content.
        format: &'static str,
        /// Size of the input.
        n_bytes: usize,
    },
    /// The decoder refused the content.
    #[error("the {format} picture of {n_bytes} bytes is damaged: {reason}")]
    Damaged {
        /// The format by content.
        format: &'static str,
        /// Size of the input.
        n_bytes: usize,
        /// The decoder's words.
        reason: String,
    },
    /// Pixel data of the wrong length.
    #[error("{width}x{height} RGB pixels are {expected} bytes, got {got}")]
    WrongLength {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// The PNG encoder refused a text or a size.
    #[error("cannot write a PNG: {reason}")]
    Encode {
        /// What was refused, and what is expected.
        reason: String,
    },
}

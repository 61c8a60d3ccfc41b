//! All numbers of one picture, taken once.

use m6_image::{Format, Limits, Rgb8};
use serde::{Deserialize, Serialize};

use super::hash::Fingerprint;
use super::recipe::RecipeFacts;
use super::scale::{Gray, shrink_to};
use super::{Refusal, measure, qr};

/// Sharpness, colours and hashes are taken of a copy with this longer side, so that they do not depend on the size.
const MEASURE_SIDE: usize = 256;
/// Codes are looked for in a copy with this longer side: a module must keep about two pixels.
const QR_SIDE: usize = 640;

/// The numbers of one picture; the columns that rules decide over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PictureFacts {
    /// Format by content: `JPEG`, `PNG`, `WebP`, `GIF` or `BMP`.
    pub format: String,
    /// Width in pixels, after EXIF orientation.
    pub width: u32,
    /// Height in pixels, after EXIF orientation.
    pub height: u32,
    /// Size of the encoded picture.
    pub bytes: u64,
    /// Longer side by shorter side, at least 1.
    pub aspect: f64,
    /// Variance of the Laplacian of the luma at a longer side of 256 pixels (levels squared); low is blurred or empty.
    pub blur: f64,
    /// Share (0..=1) of the most frequent colour, colours in 4 bits a channel.
    pub flatness: f64,
    /// Number of different colours, in 4 bits a channel (1..=4096).
    pub n_colors: u32,
    /// Whether a QR code is in the picture.
    pub qr: bool,
    /// 64-bit hash of the lowest frequencies.
    pub phash: u64,
    /// 64-bit hash of the gradients from left to right.
    pub dhash: u64,
    /// What the recipe's rules look at; only where one of them is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<RecipeFacts>,
}

impl PictureFacts {
    /// Width times height.
    pub fn n_pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// The hashes, for finding look-alikes.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            phash: self.phash,
            dhash: self.dhash,
        }
    }
}

/// Decodes a picture under limits and takes its numbers.
///
/// # Errors
/// [`Refusal::Decode`] when it cannot be decoded within `limits`.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<PictureFacts, Refusal> {
    measured(bytes, limits, false).map(|(facts, _)| facts)
}

/// [`inspect`], and the numbers of the recipe.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_recipe(bytes: &[u8], limits: &Limits) -> Result<PictureFacts, Refusal> {
    measured(bytes, limits, true).map(|(facts, _)| facts)
}

/// The numbers of an encoded picture, with those of the recipe where they are wanted, and its pixels.
pub(super) fn measured(
    bytes: &[u8],
    limits: &Limits,
    with_recipe: bool,
) -> Result<(PictureFacts, Rgb8), Refusal> {
    let header = m6_image::header(bytes, limits)?;
    let picture = m6_image::decode(bytes, limits)?;
    let facts = numbers(&picture, header.format, bytes.len() as u64, with_recipe)?;
    Ok((facts, picture))
}

/// The numbers of a decoded picture that was `n_bytes` long in `format`.
///
/// # Errors
/// [`Refusal::Prepare`] when the picture cannot be scaled (a side of more than 2^32 pixels).
pub fn facts_of(picture: &Rgb8, format: Format, n_bytes: u64) -> Result<PictureFacts, Refusal> {
    numbers(picture, format, n_bytes, false)
}

fn numbers(
    picture: &Rgb8,
    format: Format,
    n_bytes: u64,
    with_recipe: bool,
) -> Result<PictureFacts, Refusal> {
    let medium = shrink_to(picture, QR_SIDE)?;
    let medium = medium.as_ref().unwrap_or(picture);
    let small = shrink_to(medium, MEASURE_SIDE)?;
    let small = small.as_ref().unwrap_or(medium);
    let (n_colors, flatness) = measure::colors(small);
    let print = Fingerprint::of(small)?;
    let (long, short) = (
        picture.width.max(picture.height),
        picture.width.min(picture.height),
    );
    Ok(PictureFacts {
        format: format.name().to_owned(),
        width: u32::try_from(picture.width).unwrap_or(u32::MAX),
        height: u32::try_from(picture.height).unwrap_or(u32::MAX),
        bytes: n_bytes,
        aspect: long as f64 / short.max(1) as f64,
        blur: measure::laplacian_variance(&Gray::of(small)),
        flatness,
        n_colors,
        qr: qr::has_code(&Gray::of(medium)),
        phash: print.phash,
        dhash: print.dhash,
        recipe: with_recipe.then(|| RecipeFacts::of(small, medium)),
    })
}

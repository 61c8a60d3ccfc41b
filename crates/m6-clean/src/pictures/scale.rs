//! Scaled pictures and their luma, with this module's refusals.

use m6_image::{Error, Rgb8, Window};

use super::Refusal;

/// [`m6_image::scale()`], refused as a preparation.
pub(super) fn scale(
    image: &Rgb8,
    window: Option<Window>,
    width: usize,
    height: usize,
) -> Result<Rgb8, Refusal> {
    m6_image::scale(image, window, width, height).map_err(|error| Refusal::Prepare {
        width,
        height,
        reason: match error {
            Error::Unscalable { reason, .. } => reason,
            other => other.to_string(),
        },
    })
}

/// The picture with its longer side at most `side` pixels; `None` when it is no larger already.
pub(super) fn shrink_to(image: &Rgb8, side: usize) -> Result<Option<Rgb8>, Refusal> {
    let long = image.width.max(image.height);
    if long <= side {
        return Ok(None);
    }
    let scaled = |length: usize| scaled_side(length, side, long);
    scale(image, None, scaled(image.width), scaled(image.height)).map(Some)
}

/// `length * numerator / denominator`, rounded, at least 1.
pub(super) fn scaled_side(length: usize, numerator: usize, denominator: usize) -> usize {
    let denominator = denominator.max(1) as u128;
    let product = length as u128 * numerator as u128 + denominator / 2;
    usize::try_from(product / denominator)
        .unwrap_or(usize::MAX)
        .max(1)
}

/// 8-bit luma, rows from the top.
pub(super) struct Gray {
    pub width: usize,
    pub height: usize,
    /// `width * height` bytes.
    pub data: Vec<u8>,
}

impl Gray {
    /// Luma of a picture (ITU-R BT.601 weights in 8 bits).
    pub(super) fn of(image: &Rgb8) -> Self {
        let luma = |pixel: &[u8]| {
            let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            ((77 * r + 150 * g + 29 * b + 128) >> 8) as u8
        };
        Self {
            width: image.width,
            height: image.height,
            data: image.data.chunks_exact(3).map(luma).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_round_and_never_vanish() {
        let check = |length, numerator, denominator, expected| {
            assert_eq!(scaled_side(length, numerator, denominator), expected);
        };
        check(500, 256, 500, 256);
        check(375, 256, 500, 192);
        check(1, 256, 10_000, 1);
        check(7, 3, 0, 21);
        check(usize::MAX, usize::MAX, 1, usize::MAX);
    }

    #[test]
    fn luma_weighs_green_most() {
        let gray = |color| Gray::of(&Rgb8::filled(1, 1, color)).data[0];
        assert_eq!([gray([0; 3]), gray([255; 3])], [0, 255]);
        assert!(gray([0, 255, 0]) > gray([255, 0, 0]) && gray([255, 0, 0]) > gray([0, 0, 255]));
    }
}

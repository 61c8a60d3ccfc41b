//! Scaling by the SIMD resizer: the triangle filter, widened when shrinking so that nothing is skipped.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use m6_image::Rgb8;

use super::Refusal;

/// A part of a picture, in pixels from its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// `window` of the picture (all of it when `None`) at `width` x `height` pixels, at least 1 each.
///
/// A window is what scaling the whole picture and cutting afterwards would give: pixels at its edge are mixed with
/// what lies just beyond.
pub(super) fn scale(
    image: &Rgb8,
    window: Option<Window>,
    width: usize,
    height: usize,
) -> Result<Rgb8, Refusal> {
    let (width, height) = (width.max(1), height.max(1));
    let refused = |reason: String| Refusal::Prepare {
        width,
        height,
        reason,
    };
    if image.data.is_empty() {
        return Err(refused("the picture has no pixels".to_owned()));
    }
    let side = |length: usize| {
        u32::try_from(length).map_err(|_| refused(format!("a side of {length} pixels")))
    };
    // Typed views: the untyped ones would compile the resizer for all thirteen pixel types.
    let source =
        TypedImageRef::<U8x3>::from_buffer(side(image.width)?, side(image.height)?, &image.data)
            .map_err(|error| refused(error.to_string()))?;
    let mut bytes = vec![0; width * height * 3];
    let mut target = TypedImage::<U8x3>::from_buffer(side(width)?, side(height)?, &mut bytes)
        .map_err(|error| refused(error.to_string()))?;
    let mut options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    if let Some(window) = window {
        options = options.crop(window.x, window.y, window.width, window.height);
    }
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .map_err(|error| refused(error.to_string()))?;
    Rgb8::from_hwc(width, height, bytes).map_err(Refusal::Decode)
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
    fn scaling_agrees_with_the_plain_resizer_within_a_level_or_two() {
        let data = (0..3 * 97 * 61u32)
            .map(|at| (at * at / 7 + at) as u8)
            .collect();
        let image = Rgb8::from_hwc(97, 61, data).unwrap();
        for (width, height) in [(32, 20), (97, 61), (1, 1), (120, 90)] {
            let fast = scale(&image, None, width, height).unwrap();
            let plain = m6_image::resize(&image, width, height);
            let worst = fast
                .data
                .iter()
                .zip(&plain.data)
                .map(|(a, b)| a.abs_diff(*b))
                .max();
            assert!(worst <= Some(2), "{width}x{height}: {worst:?} levels apart");
        }
    }

    #[test]
    fn a_window_is_cut_out_and_a_wrong_one_refused() {
        let mut image = Rgb8::filled(30, 10, [255, 0, 0]);
        image.paste(&Rgb8::filled(10, 10, [0, 0, 255]), 10, 0);
        let window = |x, width| {
            Some(Window {
                x,
                y: 0.0,
                width,
                height: 10.0,
            })
        };
        let middle = scale(&image, window(10.0, 10.0), 5, 5).unwrap();
        for (at, pixel) in middle.data.chunks_exact(3).enumerate() {
            // The filter of a pixel at the edge reaches an eighth of its weight beyond the window.
            let red = if matches!(at % 5, 0 | 4) { 32 } else { 0 };
            assert_eq!(pixel, [red, 0, 255 - red], "pixel {at}");
        }
        assert_eq!(
            scale(&image, window(25.0, 10.0), 5, 5).unwrap_err().kind(),
            "prepare"
        );
    }

    #[test]
    fn luma_weighs_green_most() {
        let gray = |color| Gray::of(&Rgb8::filled(1, 1, color)).data[0];
        assert_eq!([gray([0; 3]), gray([255; 3])], [0, 255]);
        assert!(gray([0, 255, 0]) > gray([255, 0, 0]) && gray([255, 0, 0]) > gray([0, 0, 255]));
    }
}

//! Scaling by the SIMD resizer: the triangle filter, widened when shrinking so that nothing is skipped.
//!
//! Several times as fast as [`resize`](crate::resize()), and within two levels of it; for the millions of pictures of a corpus.
//! What must be Pillow's to the bit takes that one.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use crate::{Error, Result, Rgb8};

/// A part of a picture, in pixels from its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Pixels from the left.
    pub x: f64,
    /// Pixels from the top.
    pub y: f64,
    /// Its width in pixels.
    pub width: f64,
    /// Its height in pixels.
    pub height: f64,
}

/// `window` of the picture (all of it when `None`) at `width` x `height` pixels, at least 1 each.
///
/// A window is what scaling the whole picture and cutting afterwards would give: pixels at its edge are mixed with
/// what lies just beyond.
///
/// # Errors
/// [`Error::Unscalable`]: a picture without pixels, a window that is not inside it, a side of 2^32 pixels or more.
pub fn scale(image: &Rgb8, window: Option<Window>, width: usize, height: usize) -> Result<Rgb8> {
    let (width, height) = (width.max(1), height.max(1));
    let unscalable = |reason: String| Error::Unscalable {
        width,
        height,
        reason,
    };
    if image.data.is_empty() {
        return Err(unscalable("the picture has no pixels".to_owned()));
    }
    let side = |length: usize| {
        u32::try_from(length).map_err(|_| unscalable(format!("a side of {length} pixels")))
    };
    // Typed views: the untyped ones would compile the resizer for all thirteen pixel types.
    let source =
        TypedImageRef::<U8x3>::from_buffer(side(image.width)?, side(image.height)?, &image.data)
            .map_err(|error| unscalable(error.to_string()))?;
    let mut bytes = vec![0; width * height * 3];
    let mut target = TypedImage::<U8x3>::from_buffer(side(width)?, side(height)?, &mut bytes)
        .map_err(|error| unscalable(error.to_string()))?;
    let mut options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    if let Some(window) = window {
        options = options.crop(window.x, window.y, window.width, window.height);
    }
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .map_err(|error| unscalable(error.to_string()))?;
    Rgb8::from_hwc(width, height, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_agrees_with_the_plain_resizer_within_a_level_or_two() {
        let data = (0..3 * 97 * 61u32)
            .map(|at| (at * at / 7 + at) as u8)
            .collect();
        let image = Rgb8::from_hwc(97, 61, data).unwrap();
        for (width, height) in [(32, 20), (97, 61), (1, 1), (120, 90)] {
            let fast = scale(&image, None, width, height).unwrap();
            let plain = crate::resize(&image, width, height);
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
        let error = scale(&image, window(25.0, 10.0), 5, 5).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot be scaled to 5x5"),
            "{error}"
        );
    }
}

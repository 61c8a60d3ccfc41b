//! Resampling: the triangle and the cubic filter, widened when shrinking so that nothing is skipped.
//!
//! The arithmetic is Pillow's `BILINEAR` and `BICUBIC` (22-bit fixed-point weights, 8 bits between the passes),
//! bit for bit in each direction; columns go first. Pillow 13 sometimes takes the rows first, which differs by
//! a level here and there.

use crate::{Rgb8, crop};

const PRECISION: u32 = 22;
const HALF: i32 = 1 << (PRECISION - 1);

/// How a picture becomes square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// The whole picture, its proportions changed.
    #[default]
    Stretch,
    /// The largest centred square of it.
    Crop,
    /// The whole picture, centred on white.
    Pad,
}

/// How much each pixel around a place counts for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// Falls off linearly over one pixel (Pillow's `BILINEAR`).
    #[default]
    Triangle,
    /// Keys' cubic with a = -0.5 over two pixels (Pillow's `BICUBIC`): sharper, and may overshoot.
    Cubic,
}

impl Filter {
    /// Pixels on either side that count.
    fn reach(self) -> f64 {
        match self {
            Filter::Triangle => 1.0,
            Filter::Cubic => 2.0,
        }
    }

    /// Weight at a distance of `x >= 0` pixels.
    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        match self {
            Filter::Triangle => (1.0 - x).max(0.0),
            Filter::Cubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Filter::Cubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            Filter::Cubic => 0.0,
        }
    }
}

/// Resizes by the triangle filter to `width` x `height` pixels (at least 1 each); an empty picture becomes white.
pub fn resize(image: &Rgb8, width: usize, height: usize) -> Rgb8 {
    resize_with(image, width, height, Filter::Triangle)
}

/// Resizes to `width` x `height` pixels (at least 1 each); an empty picture becomes white.
pub fn resize_with(image: &Rgb8, width: usize, height: usize, filter: Filter) -> Rgb8 {
    let (width, height) = (width.max(1), height.max(1));
    if image.width == 0 || image.height == 0 {
        return Rgb8::filled(width, height, [255; 3]);
    }
    let columns = (width != image.width).then(|| resize_columns(image, width, filter));
    let image = columns.as_ref().unwrap_or(image);
    if height == image.height {
        return image.clone();
    }
    resize_rows(image, height, filter)
}

/// Makes a picture `side` x `side` pixels.
pub fn resize_square(image: &Rgb8, side: usize, fit: Fit) -> Rgb8 {
    match fit {
        Fit::Stretch => resize(image, side, side),
        Fit::Crop => {
            let short = image.width.min(image.height);
            let (x, y) = ((image.width - short) / 2, (image.height - short) / 2);
            resize(&crop(image, x, y, short, short), side, side)
        }
        Fit::Pad => {
            let side = side.max(1);
            let long = image.width.max(image.height).max(1);
            let scaled = |length: usize| ((length * side + long / 2) / long).max(1);
            let inner = resize(image, scaled(image.width), scaled(image.height));
            let mut square = Rgb8::filled(side, side, [255; 3]);
            square.paste(&inner, (side - inner.width) / 2, (side - inner.height) / 2);
            square
        }
    }
}

/// Which inputs make one output, and how much of each.
struct Tap {
    first: usize,
    weights: Vec<i32>,
}

/// The filter's taps for every output position.
fn taps(n_in: usize, n_out: usize, filter: Filter) -> Vec<Tap> {
    let scale = n_in as f64 / n_out as f64;
    let filter_scale = scale.max(1.0);
    let reach = filter.reach() * filter_scale;
    let mut taps = Vec::with_capacity(n_out);
    for out in 0..n_out {
        let center = (out as f64 + 0.5) * scale;
        let first = (center - reach + 0.5).max(0.0) as usize;
        let end = ((center + reach + 0.5) as usize).min(n_in);
        let weights: Vec<f64> = (first..end)
            .map(|at| {
                let distance = ((at as f64 - center + 0.5) / filter_scale).abs();
                filter.weight(distance)
            })
            .collect();
        let total: f64 = weights.iter().sum();
        let fixed = |weight: &f64| {
            let scaled = weight / total * f64::from(1 << PRECISION);
            (scaled + 0.5f64.copysign(scaled)) as i32
        };
        taps.push(Tap {
            first,
            weights: weights.iter().map(fixed).collect(),
        });
    }
    taps
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

fn resize_columns(image: &Rgb8, width: usize, filter: Filter) -> Rgb8 {
    let taps = taps(image.width, width, filter);
    let mut data = Vec::with_capacity(3 * width * image.height);
    for row in image.data.chunks_exact(3 * image.width) {
        for tap in &taps {
            let mut sums = [HALF; 3];
            for (pixel, &weight) in row[3 * tap.first..].chunks_exact(3).zip(&tap.weights) {
                for channel in 0..3 {
                    sums[channel] += i32::from(pixel[channel]) * weight;
                }
            }
            data.extend(sums.map(to_byte));
        }
    }
    Rgb8 {
        width,
        height: image.height,
        data,
    }
}

fn resize_rows(image: &Rgb8, height: usize, filter: Filter) -> Rgb8 {
    let n_row_bytes = 3 * image.width;
    let mut data = Vec::with_capacity(n_row_bytes * height);
    let mut sums = vec![HALF; n_row_bytes];
    for tap in taps(image.height, height, filter) {
        sums.fill(HALF);
        let rows = image.data[tap.first * n_row_bytes..].chunks_exact(n_row_bytes);
        for (row, &weight) in rows.zip(&tap.weights) {
            for (sum, &byte) in sums.iter_mut().zip(row) {
                *sum += i32::from(byte) * weight;
            }
        }
        data.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    Rgb8 {
        width: image.width,
        height,
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn one_colour_stays_that_colour(
            w in 1usize..70, h in 1usize..70, to_w in 1usize..70, to_h in 1usize..70, color: [u8; 3],
        ) {
            let image = Rgb8::filled(w, h, color);
            prop_assert_eq!(resize(&image, to_w, to_h), Rgb8::filled(to_w, to_h, color));
        }

        #[test]
        fn every_fit_gives_the_square(w in 1usize..50, h in 1usize..50, side in 1usize..40) {
            let image = Rgb8::filled(w, h, [9, 9, 9]);
            for fit in [Fit::Stretch, Fit::Crop, Fit::Pad] {
                let square = resize_square(&image, side, fit);
                prop_assert_eq!((square.width, square.height, square.data.len()), (side, side, 3 * side * side));
            }
        }
    }

    #[test]
    fn shrinking_averages_and_skips_nothing() {
        // One white line in eight, shrunk eight times: grey everywhere, not stripes or black.
        let mut image = Rgb8::filled(64, 64, [0; 3]);
        for y in (0..64).step_by(8) {
            image.paste(&Rgb8::filled(64, 1, [255; 3]), 0, y);
        }
        let small = resize(&image, 8, 8);
        assert!(
            small.data.iter().all(|&value| (20..45).contains(&value)),
            "{:?}",
            &small.data[..24]
        );
    }

    #[test]
    fn crop_takes_the_middle_and_pad_keeps_the_whole() {
        let mut image = Rgb8::filled(30, 10, [255, 0, 0]);
        image.paste(&Rgb8::filled(10, 10, [0, 0, 255]), 10, 0);
        assert_eq!(
            resize_square(&image, 10, Fit::Crop),
            Rgb8::filled(10, 10, [0, 0, 255])
        );
        let padded = resize_square(&image, 30, Fit::Pad);
        assert_eq!(padded.pixel(0, 0), [255; 3]);
        assert_eq!(padded.pixel(0, 15), [255, 0, 0]);
        assert_eq!(padded.pixel(15, 15), [0, 0, 255]);
        assert_eq!(padded.pixel(15, 29), [255; 3]);
    }

    #[test]
    fn an_empty_picture_becomes_white() {
        let empty = Rgb8::filled(0, 5, [0; 3]);
        for fit in [Fit::Stretch, Fit::Crop, Fit::Pad] {
            assert_eq!(resize_square(&empty, 4, fit), Rgb8::filled(4, 4, [255; 3]));
        }
        assert_eq!(
            resize(&Rgb8::filled(3, 3, [7; 3]), 0, 0),
            Rgb8::filled(1, 1, [7; 3])
        );
    }
}

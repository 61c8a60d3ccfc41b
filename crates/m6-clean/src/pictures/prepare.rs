//! Training copies: scaled once, JPEG again.

use jpeg_encoder::{ChromaSubsamplingMethod, Encoder, SamplingFactor};
use m6_image::{Limits, Rgb8, Window};
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::halved::Halved;
use super::scale::{scale, scaled_side};

/// Longest side a copy may be asked to have.
const MAX_SIDE: u32 = 8192;

/// Which part of a picture a copy shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// All of it, the shorter side as long as asked.
    #[default]
    Cover,
    /// All of it, the longer side as long as asked.
    Inside,
    /// The largest centred square.
    Crop,
}

/// How a training copy is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prepare {
    /// The side that [`Fit`] means, in pixels (1..=8192).
    pub side: u32,
    /// JPEG quality, 1..=100.
    pub quality: u8,
    /// What of the picture is shown.
    pub fit: Fit,
    /// Whether a smaller picture is enlarged; by default it stays as it is.
    pub enlarge: bool,
}

impl Default for Prepare {
    /// 256 pixels, quality 95 (what img2dataset does; paper section 4.1 draws 256 x 256).
    fn default() -> Self {
        Self {
            side: 256,
            quality: 95,
            fit: Fit::Cover,
            enlarge: false,
        }
    }
}

/// A training copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The encoded picture, JPEG with chroma halved both ways (4:2:0).
    pub jpeg: Vec<u8>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// Decodes, scales and encodes a picture.
///
/// # Errors
/// [`Refusal::Decode`] when it cannot be decoded within `limits`, else as [`prepare_picture`].
pub fn prepare(bytes: &[u8], limits: &Limits, how: &Prepare) -> Result<Prepared, Refusal> {
    prepare_picture(&m6_image::decode(bytes, limits)?, how)
}

/// Scales and encodes a decoded picture. The same pixels give the same bytes.
///
/// # Errors
/// [`Refusal::Prepare`] for a side or a quality out of range, and for a copy of more than 65,535 pixels a side.
pub fn prepare_picture(picture: &Rgb8, how: &Prepare) -> Result<Prepared, Refusal> {
    let refused = |width, height, reason: &dyn std::fmt::Display| Refusal::Prepare {
        width,
        height,
        reason: reason.to_string(),
    };
    if !(1..=MAX_SIDE).contains(&how.side) || !(1..=100).contains(&how.quality) {
        let side = how.side as usize;
        return Err(refused(
            side,
            side,
            &format!(
                "a side of 1..={MAX_SIDE} and a quality of 1..=100 are expected, got {} and {}",
                how.side, how.quality
            ),
        ));
    }
    let (window, width, height) = frame(picture.width, picture.height, how);
    let is_as_it_is = window.is_none() && (width, height) == (picture.width, picture.height);
    let scaled = match is_as_it_is {
        true => None,
        false => Some(scale(picture, window, width, height)?),
    };
    let scaled = scaled.as_ref().unwrap_or(picture);
    let halved = Halved::of(scaled)
        .ok_or_else(|| refused(width, height, &"a JPEG has 1 to 65535 pixels a side"))?;
    // Room for most pictures at quality 95; the encoder grows it when needed.
    let mut jpeg = Vec::with_capacity(scaled.data.len() / 6 + 1024);
    let mut encoder = Encoder::new(&mut jpeg, how.quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    // The upper left value of four is their mean already.
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Nearest);
    encoder
        .encode_image(halved)
        .map_err(|error| refused(width, height, &error))?;
    Ok(Prepared {
        jpeg,
        width: scaled.width as u32,
        height: scaled.height as u32,
    })
}

/// The part of a picture that is shown (`None`: all) and its size.
fn frame(width: usize, height: usize, how: &Prepare) -> (Option<Window>, usize, usize) {
    let (long, short) = (width.max(height), width.min(height));
    let asked = how.side as usize;
    let measure = match how.fit {
        Fit::Cover | Fit::Crop => short,
        Fit::Inside => long,
    };
    let side = if how.enlarge {
        asked
    } else {
        asked.min(measure)
    };
    if how.fit != Fit::Crop {
        let scaled = |length| scaled_side(length, side, measure);
        return (None, scaled(width), scaled(height));
    }
    let window = Window {
        x: ((width - short) / 2) as f64,
        y: ((height - short) / 2) as f64,
        width: short as f64,
        height: short as f64,
    };
    (
        (width != height).then_some(window),
        side.max(1),
        side.max(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo(width: usize, height: usize) -> Rgb8 {
        let mut data = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let wave =
                    |f: f64| (127.0 + 100.0 * libm::sin(f * x as f64 + y as f64 / 30.0)) as u8;
                data.extend([wave(0.05), wave(0.02), wave(0.1)]);
            }
        }
        Rgb8::from_hwc(width, height, data).unwrap()
    }

    #[test]
    fn sizes_follow_the_fit() {
        let check = |(width, height), fit, enlarge, expected| {
            let how = Prepare {
                side: 100,
                fit,
                enlarge,
                ..Prepare::default()
            };
            let copy = prepare_picture(&photo(width, height), &how).unwrap();
            assert_eq!(
                (copy.width, copy.height),
                expected,
                "{width}x{height} {fit:?}"
            );
            let back = m6_image::decode(&copy.jpeg, &Limits::default()).unwrap();
            assert_eq!((back.width as u32, back.height as u32), expected);
        };
        check((400, 300), Fit::Cover, false, (133, 100));
        check((400, 300), Fit::Inside, false, (100, 75));
        check((400, 300), Fit::Crop, false, (100, 100));
        check((300, 400), Fit::Crop, true, (100, 100));
        check((80, 60), Fit::Cover, false, (80, 60));
        check((80, 60), Fit::Cover, true, (133, 100));
        check((80, 60), Fit::Crop, false, (60, 60));
        check((80, 60), Fit::Inside, true, (100, 75));
        check((900, 1), Fit::Inside, false, (100, 1));
        check((1, 1), Fit::Crop, true, (100, 100));
    }

    #[test]
    fn a_copy_looks_like_its_picture() {
        let picture = photo(300, 200);
        let how = Prepare {
            side: 200,
            ..Prepare::default()
        };
        let copy = prepare_picture(&picture, &how).unwrap();
        let back = m6_image::decode(&copy.jpeg, &Limits::default()).unwrap();
        let off: u64 = back
            .data
            .iter()
            .zip(&picture.data)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        let mean = off as f64 / picture.data.len() as f64;
        assert!(mean < 2.0, "{mean} levels off on average");
        // Chroma is halved: the frame header's first component has sampling factors 2 and 2.
        let start = copy
            .jpeg
            .windows(2)
            .position(|pair| pair == [0xFF, 0xC0])
            .unwrap();
        assert_eq!(copy.jpeg[start + 11], 0x22);
        assert_eq!(prepare_picture(&picture, &how).unwrap(), copy);
    }

    #[test]
    fn a_higher_quality_takes_more_bytes() {
        let bytes = |quality| {
            let how = Prepare {
                quality,
                ..Prepare::default()
            };
            prepare_picture(&photo(300, 300), &how).unwrap().jpeg.len()
        };
        assert!(bytes(50) < bytes(80) && bytes(80) < bytes(95));
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let check = |picture: &Rgb8, side, quality| {
            let how = Prepare {
                side,
                quality,
                ..Prepare::default()
            };
            let refusal = prepare_picture(picture, &how).unwrap_err();
            assert_eq!(refusal.kind(), "prepare", "{refusal}");
        };
        check(&photo(9, 9), 0, 90);
        check(&photo(9, 9), 9000, 90);
        check(&photo(9, 9), 256, 0);
        check(&photo(9, 9), 256, 101);
        check(&Rgb8::filled(70_000, 1, [5; 3]), 256, 90);
        check(&Rgb8::filled(0, 5, [5; 3]), 256, 90);
    }
}

//! A picture as the vision tower takes it, after `preprocessor_config.json`.

use crate::error::{Error, Result};
use m6_image::{Filter, Rgb8, crop, resize_with, to_chw};
use m6_nn::{Tensor, glue};
use serde::Deserialize;

/// Name of the file.
const FILE: &str = "preprocessor_config.json";
/// Longer by shorter side above which the ends of a picture are cut off before it is scaled.
const LONGEST: usize = 8;
/// Mean and deviation of the colours in the pictures that OpenAI's CLIP learned from.
const MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const STD: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// The file's fields; what it leaves out has the values of `ChineseCLIPImageProcessor`.
#[derive(Deserialize)]
#[serde(default)]
struct File {
    do_resize: bool,
    size: Size,
    resample: u8,
    do_center_crop: bool,
    crop_size: Option<Size>,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    image_mean: [f64; 3],
    image_std: [f64; 3],
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Exact { height: usize, width: usize },
    Shortest { shortest_edge: usize },
    Side(usize),
}

impl Default for File {
    fn default() -> Self {
        Self {
            do_resize: true,
            size: Size::Shortest { shortest_edge: 224 },
            resample: 3,
            do_center_crop: true,
            crop_size: None,
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: MEAN,
            image_std: STD,
        }
    }
}

/// How a picture becomes a square of numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Preprocess {
    side: usize,
    /// The shorter side before the middle is cut out; the whole picture is stretched without it.
    shortest: Option<usize>,
    filter: Filter,
    scale: f32,
    mean: [f32; 3],
    std: [f32; 3],
}

impl Preprocess {
    /// What the file says, or what the published models do where there is none: stretched to the square of `side` pixels.
    pub fn parse(bytes: Option<&[u8]>, side: usize) -> Result<Self> {
        let file = match bytes {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|e| Error::clip(FILE, e))?,
            None => File {
                size: Size::Side(side),
                do_center_crop: false,
                ..File::default()
            },
        };
        file.checked(side)
            .map_err(|problem| Error::clip(FILE, problem))
    }

    /// `[1, 3, side, side]`.
    pub fn pixels(&self, picture: &Rgb8) -> Result<Tensor> {
        let side = self.side;
        let square = match self.shortest {
            None => resize_with(picture, side, side, self.filter),
            Some(shortest) => {
                let (w, h) = (picture.width.max(1), picture.height.max(1));
                let short = w.min(h);
                // Only the middle is kept; the ends of a strip would cost memory without bound.
                let (to_w, to_h) = (w.min(LONGEST * short), h.min(LONGEST * short));
                let middle = crop(picture, (w - to_w) / 2, (h - to_h) / 2, to_w, to_h);
                let scaled = |length: usize| length * shortest / short;
                let whole = resize_with(&middle, scaled(to_w), scaled(to_h), self.filter);
                let (x, y) = ((whole.width - side) / 2, (whole.height - side) / 2);
                crop(&whole, x, y, side, side)
            }
        };
        let planes = to_chw(&square);
        let values = planes
            .chunks_exact(side * side)
            .zip(0..)
            .flat_map(|(plane, c)| {
                let (mean, std) = (self.mean[c], self.std[c]);
                plane
                    .iter()
                    .map(move |v| (f32::from(*v) * self.scale - mean) / std)
            });
        Ok(glue::tensor(values.collect(), (1, 3, side, side))?)
    }
}

impl File {
    fn checked(self, side: usize) -> std::result::Result<Preprocess, String> {
        if !self.do_resize {
            return Err("do_resize is false; pictures of any size must be scaled".into());
        }
        let filter = match self.resample {
            2 => Filter::Triangle,
            3 => Filter::Cubic,
            other => {
                return Err(format!(
                    "resample is {other}, expected 2 (bilinear) or 3 (bicubic)"
                ));
            }
        };
        let (height, width, shortest) = match (self.size, self.do_center_crop) {
            (Size::Exact { height, width }, false) => (height, width, None),
            (Size::Side(n), false) => (n, n, None),
            (Size::Shortest { shortest_edge: n } | Size::Side(n), true) => {
                let (height, width) = match self.crop_size {
                    None => (side, side),
                    Some(Size::Exact { height, width }) => (height, width),
                    Some(Size::Side(n) | Size::Shortest { shortest_edge: n }) => (n, n),
                };
                (height, width, Some(n))
            }
            (Size::Exact { .. }, true) | (Size::Shortest { .. }, false) => {
                return Err(
                    "expected size = {height, width} without do_center_crop, or size = {shortest_edge} with it"
                        .into(),
                );
            }
        };
        if (height, width) != (side, side) {
            return Err(format!(
                "pictures become {width}x{height} pixels, but vision_config.image_size of config.json is {side}"
            ));
        }
        if shortest.is_some_and(|n| n < side || n > 4 * side) {
            return Err(format!("size.shortest_edge must be {side} to {}", 4 * side));
        }
        let scale = if self.do_rescale {
            self.rescale_factor
        } else {
            1.0
        };
        let (mean, std) = match self.do_normalize {
            true => (self.image_mean, self.image_std),
            false => ([0.0; 3], [1.0; 3]),
        };
        if !scale.is_finite()
            || !mean.iter().chain(&std).all(|v| v.is_finite())
            || std.contains(&0.0)
        {
            return Err(
                "rescale_factor, image_mean and image_std must be finite, image_std not 0".into(),
            );
        }
        Ok(Preprocess {
            side,
            shortest,
            filter,
            scale: scale as f32,
            mean: mean.map(|v| v as f32),
            std: std.map(|v| v as f32),
        })
    }
}

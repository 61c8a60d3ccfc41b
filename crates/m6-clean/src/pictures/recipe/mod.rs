//! The pictures that the paper draws from: white ground, no text, few objects (M6 section 4.1); the measures are ours.
//!
//! Counting and comparing of pixels, no network; about as much time as decoding. Taken only where a rule asks for it.

mod ground;
mod regions;
mod text;

use m6_image::Rgb8;
use serde::{Deserialize, Serialize};

use super::scale::Gray;

/// What the recipe's rules look at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecipeFacts {
    /// Share (0..=1) of the border that is white: the outermost 3 % of the shorter side, nearly white and joined to the edge.
    pub white_border: f64,
    /// Share (0..=1) of the whole picture that is nearly white and joined to the edge.
    pub white_share: f64,
    /// Share (0..=1) of the border in one colour, or in a smooth change of one colour; below 0.6 objects cannot be told from it.
    pub plain_border: f64,
    /// Regions that differ from that colour, specks left out.
    pub n_objects: u32,
    /// Share (0..=1) of the picture that lines of text cover.
    pub text_share: f64,
}

impl RecipeFacts {
    /// Of a picture with a longer side of about 256 pixels (ground and objects) and of about 640 (text).
    pub(super) fn of(small: &Rgb8, medium: &Rgb8) -> Self {
        let white = ground::white(small);
        let objects = ground::objects(small);
        Self {
            white_border: white.border,
            white_share: white.whole,
            plain_border: objects.plain_border,
            n_objects: objects.n,
            text_share: text::share(&Gray::of(medium)),
        }
    }
}

/// A named set of picture rules from a paper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recipe {
    /// None of them.
    #[default]
    #[serde(rename = "none")]
    None,
    /// M6, text-to-image (section 4.1): white ground, no text, few objects.
    #[serde(rename = "m6-t2i")]
    M6T2i,
}

#[cfg(test)]
mod tests;

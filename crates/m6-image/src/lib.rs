//! Pixels, safely: decode under limits, resize, patches, grids, a canvas to draw on.
//!
//! [`decode()`] takes bytes from outside: it goes by content, not by name, checks the header against
//! [`Limits`] before a pixel is decoded, and answers damage with an error, never with a panic or a
//! half-grey picture. Everything else works on [`Rgb8`], 8-bit sRGB as stored (no colour management).

mod decode;
mod encode;
mod error;
mod jpeg;
mod quality;
mod resize;
mod rgb;
mod scale;

pub mod canvas;

pub use decode::{Format, Header, Limits, decode, decode_with_ground, header};
pub use encode::{encode_png, png_data_uri};
pub use error::{Error, Result};
pub use quality::{psnr, ssim};
pub use resize::{Filter, Fit, resize, resize_square, resize_with};
pub use rgb::{Rgb8, crop, flip_horizontal_chw, grid, to_chw};
pub use scale::{Window, scale};

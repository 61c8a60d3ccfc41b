//! From bytes of any origin to pixels.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use crate::{Error, Result, Rgb8, jpeg};

/// How large a picture may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most pixels (width times height); 64 Mi by default (ours).
    pub max_pixels: u64,
    /// Most encoded bytes; 256 MiB by default (ours).
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 64 << 20,
            max_bytes: 256 << 20,
        }
    }
}

/// The formats that are read, by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG, baseline or progressive, and the first picture of an MPO.
    Jpeg,
    /// PNG of any colour type and depth.
    Png,
    /// WebP, lossy or lossless; the first frame of an animation.
    WebP,
    /// GIF; the first frame.
    Gif,
    /// Windows bitmap.
    Bmp,
}

impl Format {
    /// The name people use.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
            Format::WebP => "WebP",
            Format::Gif => "GIF",
            Format::Bmp => "BMP",
        }
    }

    fn of(bytes: &[u8]) -> Option<(Self, ImageFormat)> {
        let format = image::guess_format(bytes).ok()?;
        let ours = match format {
            ImageFormat::Jpeg => Format::Jpeg,
            ImageFormat::Png => Format::Png,
            ImageFormat::WebP => Format::WebP,
            ImageFormat::Gif => Format::Gif,
            ImageFormat::Bmp => Format::Bmp,
            _ => return None,
        };
        Some((ours, format))
    }

    /// The most pixels one byte can stand for, where the format has such a bound.
    fn max_pixels_per_byte(self) -> Option<u64> {
        match self {
            // Deflate expands at most 1032 times, a byte of it is at most eight one-bit pixels.
            Format::Png => Some(8 * 1032),
            // Every block of 64 pixels costs at least one bit of its luma.
            Format::Jpeg => Some(8 * 64),
            // Lossless WebP codes one colour in no bits; GIF and BMP may leave ground uncoded.
            Format::WebP | Format::Gif | Format::Bmp => None,
        }
    }
}

/// What a picture's header claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The format by content.
    pub format: Format,
    /// Width in pixels as stored, before EXIF orientation.
    pub width: u32,
    /// Height in pixels as stored, before EXIF orientation.
    pub height: u32,
}

/// Reads and checks a picture's header; no pixel is decoded.
///
/// # Errors
/// [`Error::UnknownFormat`], [`Error::TooManyBytes`], [`Error::TooManyPixels`],
/// [`Error::TooMuchMemory`], [`Error::ImpossibleSize`], or [`Error::Damaged`] when the header cannot be read.
pub fn header(bytes: &[u8], limits: &Limits) -> Result<Header> {
    guarded(bytes, || open(bytes, limits).map(|(header, _)| header))
}

/// Decodes a picture over white; see [`decode_with_ground`].
///
/// # Errors
/// As [`decode_with_ground`].
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Rgb8> {
    decode_with_ground(bytes, limits, [255; 3])
}

/// Decodes a picture by its content: the header is checked against `limits` before pixels are decoded,
/// EXIF orientation is applied, transparency lets `ground` through; palettes, greys, 16 bits and CMYK
/// become 8-bit RGB. Colour profiles are ignored, as most training pipelines do.
///
/// # Errors
/// As [`header`], and [`Error::Truncated`] or [`Error::Damaged`] when the pixels cannot be decoded.
pub fn decode_with_ground(bytes: &[u8], limits: &Limits, ground: [u8; 3]) -> Result<Rgb8> {
    guarded(bytes, || decode_unguarded(bytes, limits, ground))
}

/// Turns a panic inside a decoder into an error: the decoders are fuzzed, but are not ours to vouch for.
fn guarded<T>(bytes: &[u8], work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let format = Format::of(bytes).map_or("unknown", |(format, _)| format.name());
        Err(Error::Damaged {
            format,
            n_bytes: bytes.len(),
            reason: "the decoder panicked".to_owned(),
        })
    })
}

fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(Header, impl ImageDecoder + 'a)> {
    let n_bytes = bytes.len();
    if n_bytes as u64 > limits.max_bytes {
        return Err(Error::TooManyBytes {
            n_bytes: n_bytes as u64,
            max_bytes: limits.max_bytes,
        });
    }
    let (format, inner) = Format::of(bytes).ok_or_else(|| Error::UnknownFormat {
        n_bytes,
        start: bytes[..n_bytes.min(12)].escape_ascii().to_string(),
    })?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), inner);
    let mut inner_limits = image::Limits::no_limits();
    // Bounds what decoders set aside while reading the header (tables, profiles, one row); eight bytes
    // are the widest pixel. Most pictures above `max_pixels` are refused below, by the header.
    inner_limits.max_alloc = Some(limits.max_pixels.saturating_mul(8).saturating_add(64 << 20));
    reader.limits(inner_limits);
    let decoder = reader
        .into_decoder()
        .map_err(|error| damaged(format, n_bytes, limits, &error))?;
    let (width, height) = decoder.dimensions();
    let header = Header {
        format,
        width,
        height,
    };
    check_size(&header, n_bytes, limits)?;
    Ok((header, decoder))
}

fn check_size(header: &Header, n_bytes: usize, limits: &Limits) -> Result<()> {
    let Header {
        format,
        width,
        height,
    } = *header;
    let n_pixels = u64::from(width) * u64::from(height);
    if n_pixels > limits.max_pixels {
        return Err(Error::TooManyPixels {
            format: format.name(),
            width,
            height,
            max_pixels: limits.max_pixels,
        });
    }
    let most = format
        .max_pixels_per_byte()
        .map_or(u64::MAX, |per_byte| per_byte * n_bytes as u64);
    if n_pixels == 0 || n_pixels > most {
        return Err(Error::ImpossibleSize {
            format: format.name(),
            width,
            height,
            n_bytes,
        });
    }
    Ok(())
}

fn decode_unguarded(bytes: &[u8], limits: &Limits, ground: [u8; 3]) -> Result<Rgb8> {
    let (header, mut decoder) = open(bytes, limits)?;
    let format = header.format;
    if format == Format::Jpeg && !jpeg::is_complete(bytes) {
        return Err(Error::Truncated {
            format: format.name(),
            n_bytes: bytes.len(),
        });
    }
    let failed = |error: ImageError| damaged(format, bytes.len(), limits, &error);
    // Unreadable EXIF is no reason to lose the picture.
    let orientation = decoder
        .orientation()
        .unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let data = if picture.color().has_alpha() {
        over_ground(&picture.into_rgba8(), ground)
    } else {
        picture.into_rgb8().into_raw()
    };
    Rgb8::from_hwc(width, height, data)
}

fn over_ground(rgba: &[u8], ground: [u8; 3]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(rgba.len() / 4 * 3);
    for pixel in rgba.chunks_exact(4) {
        let alpha = u32::from(pixel[3]);
        for channel in 0..3 {
            let mixed =
                u32::from(pixel[channel]) * alpha + u32::from(ground[channel]) * (255 - alpha);
            rgb.push(((mixed + 127) / 255) as u8);
        }
    }
    rgb
}

fn damaged(format: Format, n_bytes: usize, limits: &Limits, error: &ImageError) -> Error {
    if matches!(error, ImageError::Limits(_)) {
        return Error::TooMuchMemory {
            format: format.name(),
            max_pixels: limits.max_pixels,
        };
    }
    Error::Damaged {
        format: format.name(),
        n_bytes,
        reason: error.to_string(),
    }
}

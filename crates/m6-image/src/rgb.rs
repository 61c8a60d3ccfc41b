//! The picture type and what needs only copying.

use crate::{Error, Result};

/// 8-bit RGB pixels, rows from the top, interleaved (HWC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb8 {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `3 * width * height` bytes.
    pub data: Vec<u8>,
}

impl Rgb8 {
    /// A picture of one colour.
    pub fn filled(width: usize, height: usize, color: [u8; 3]) -> Self {
        Self {
            width,
            height,
            data: color.repeat(width * height),
        }
    }

    /// A picture from interleaved pixels.
    ///
    /// # Errors
    /// [`Error::WrongLength`] when `data` is not `3 * width * height` bytes.
    pub fn from_hwc(width: usize, height: usize, data: Vec<u8>) -> Result<Self> {
        check_length(width, height, data.len())?;
        Ok(Self {
            width,
            height,
            data,
        })
    }

    /// A picture from three planes (CHW, what the model sees; the inverse of [`to_chw`]).
    ///
    /// # Errors
    /// [`Error::WrongLength`] when `planes` is not `3 * width * height` bytes.
    pub fn from_chw(width: usize, height: usize, planes: &[u8]) -> Result<Self> {
        check_length(width, height, planes.len())?;
        let n_pixels = width * height;
        let mut data = Vec::with_capacity(planes.len());
        for at in 0..n_pixels {
            data.extend([planes[at], planes[n_pixels + at], planes[2 * n_pixels + at]]);
        }
        Ok(Self {
            width,
            height,
            data,
        })
    }

    /// The colour at column `x`, row `y`.
    ///
    /// # Panics
    /// Outside the picture.
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        assert!(
            x < self.width && y < self.height,
            "pixel {x},{y} of {}x{}",
            self.width,
            self.height
        );
        let at = 3 * (y * self.width + x);
        [self.data[at], self.data[at + 1], self.data[at + 2]]
    }

    /// Copies `other` so that its corner is at column `x`, row `y`; what lies outside is left out.
    pub fn paste(&mut self, other: &Rgb8, x: usize, y: usize) {
        let x = x.min(self.width);
        let n_columns = other.width.min(self.width - x);
        let n_rows = other.height.min(self.height.saturating_sub(y));
        for row in 0..n_rows {
            let from = 3 * row * other.width;
            let to = 3 * ((y + row) * self.width + x);
            self.data[to..to + 3 * n_columns]
                .copy_from_slice(&other.data[from..from + 3 * n_columns]);
        }
    }
}

fn check_length(width: usize, height: usize, got: usize) -> Result<()> {
    let expected = width
        .checked_mul(height)
        .and_then(|n_pixels| n_pixels.checked_mul(3));
    if expected == Some(got) {
        return Ok(());
    }
    Err(Error::WrongLength {
        width,
        height,
        expected: expected.unwrap_or(usize::MAX),
        got,
    })
}

/// The pixels as three planes: red, green, blue, each `height` rows of `width` (CHW).
pub fn to_chw(image: &Rgb8) -> Vec<u8> {
    let mut planes = Vec::with_capacity(image.data.len());
    for channel in 0..3 {
        planes.extend(image.data.iter().skip(channel).step_by(3));
    }
    planes
}

/// Mirrors square planes (CHW, any number of channels) left to right, in place.
///
/// `planes` should be a whole number of rows of `side` bytes; a rest is left as it is.
pub fn flip_horizontal_chw(planes: &mut [u8], side: usize) {
    if side > 0 {
        planes.chunks_exact_mut(side).for_each(<[u8]>::reverse);
    }
}

/// The part of `width` x `height` pixels whose corner is at column `x`, row `y`, cut to the picture.
pub fn crop(image: &Rgb8, x: usize, y: usize, width: usize, height: usize) -> Rgb8 {
    let (x, y) = (x.min(image.width), y.min(image.height));
    let width = width.min(image.width - x);
    let height = height.min(image.height - y);
    let mut data = Vec::with_capacity(3 * width * height);
    for row in y..y + height {
        let from = 3 * (row * image.width + x);
        data.extend_from_slice(&image.data[from..from + 3 * width]);
    }
    Rgb8 {
        width,
        height,
        data,
    }
}

/// Lays pictures out in rows of `n_columns` (at least one) on white, `gap` pixels apart.
///
/// Every cell is as wide as the widest and as high as the highest picture; a smaller one lies at the
/// upper left of its cell. Without pictures the result is one white pixel.
pub fn grid(images: &[Rgb8], n_columns: usize, gap: usize) -> Rgb8 {
    const WHITE: [u8; 3] = [255; 3];
    let cell_width = images.iter().map(|image| image.width).max().unwrap_or(0);
    let cell_height = images.iter().map(|image| image.height).max().unwrap_or(0);
    if cell_width * cell_height == 0 {
        return Rgb8::filled(1, 1, WHITE);
    }
    let n_columns = n_columns.clamp(1, images.len());
    let n_rows = images.len().div_ceil(n_columns);
    let width = n_columns * (cell_width + gap) - gap;
    let height = n_rows * (cell_height + gap) - gap;
    let mut sheet = Rgb8::filled(width, height, WHITE);
    for (i, image) in images.iter().enumerate() {
        let (column, row) = (i % n_columns, i / n_columns);
        sheet.paste(
            image,
            column * (cell_width + gap),
            row * (cell_height + gap),
        );
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbered(width: usize, height: usize) -> Rgb8 {
        let data = (0..3 * width * height)
            .map(|at| (at * 7 % 251) as u8)
            .collect();
        Rgb8 {
            width,
            height,
            data,
        }
    }

    proptest! {
        #[test]
        fn planes_and_back_is_the_picture(width in 1usize..9, height in 1usize..9) {
            let image = numbered(width, height);
            prop_assert_eq!(Rgb8::from_chw(width, height, &to_chw(&image)).unwrap(), image);
        }

        #[test]
        fn a_paste_never_leaves_the_picture(x in 0usize..12, y in 0usize..12, w in 0usize..12, h in 0usize..12) {
            let mut image = numbered(9, 7);
            image.paste(&Rgb8::filled(w, h, [9; 3]), x, y);
            for row in 0..7 {
                for column in 0..9 {
                    let is_covered = (x..x + w).contains(&column) && (y..y + h).contains(&row);
                    let expected = if is_covered { [9; 3] } else { numbered(9, 7).pixel(column, row) };
                    prop_assert_eq!(image.pixel(column, row), expected);
                }
            }
        }

        #[test]
        fn a_crop_never_leaves_the_picture(x in 0usize..12, y in 0usize..12, w in 0usize..12, h in 0usize..12) {
            let image = numbered(9, 7);
            let part = crop(&image, x, y, w, h);
            prop_assert_eq!(part.data.len(), 3 * part.width * part.height);
            if part.width > 0 && part.height > 0 {
                prop_assert_eq!(part.pixel(0, 0), image.pixel(x, y));
            }
        }
    }

    #[test]
    fn a_flip_mirrors_every_row_of_every_plane() {
        let image = numbered(4, 4);
        let mut planes = to_chw(&image);
        flip_horizontal_chw(&mut planes, 4);
        let flipped = Rgb8::from_chw(4, 4, &planes).unwrap();
        for y in 0..4 {
            for x in 0..4 {
                assert_eq!(flipped.pixel(x, y), image.pixel(3 - x, y));
            }
        }
        flip_horizontal_chw(&mut planes, 4);
        assert_eq!(planes, to_chw(&image));
        flip_horizontal_chw(&mut planes, 0);
    }

    #[test]
    fn a_grid_places_every_picture() {
        let colors = [[1, 2, 3], [4, 5, 6], [7, 8, 9]];
        let images: Vec<Rgb8> = colors
            .iter()
            .map(|&color| Rgb8::filled(2, 3, color))
            .collect();
        let sheet = grid(&images, 2, 1);
        assert_eq!((sheet.width, sheet.height), (5, 7));
        assert_eq!(sheet.pixel(0, 0), colors[0]);
        assert_eq!(sheet.pixel(4, 2), colors[1]);
        assert_eq!(sheet.pixel(1, 6), colors[2]);
        assert_eq!(sheet.pixel(2, 0), [255; 3]);
        assert_eq!(sheet.pixel(4, 6), [255; 3]);
        assert_eq!(grid(&[], 3, 1), Rgb8::filled(1, 1, [255; 3]));
        assert_eq!(grid(&images[..1], 0, 9), images[0]);
    }

    #[test]
    fn wrong_lengths_are_errors() {
        let error = Rgb8::from_hwc(2, 2, vec![0; 11]).unwrap_err().to_string();
        assert_eq!(error, "2x2 RGB pixels are 12 bytes, got 11");
        assert!(Rgb8::from_chw(usize::MAX, 2, &[]).is_err());
    }
}

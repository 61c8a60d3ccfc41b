//! Luma and halved chroma for the encoder: averaging while converting is several times faster than its own averaging.

use jpeg_encoder::{ImageBuffer, JpegColorType};
use m6_image::Rgb8;

/// Bits of the fixed-point weights.
const SHIFT: u32 = 16;
/// Half of the last bit, so that shifts round.
const HALF: i32 = (1 << (SHIFT - 1)) - 1;

/// A picture as the encoder takes it when it picks the upper left chroma value of each 2x2 pixels: that value is their mean.
pub(super) struct Halved<'a> {
    image: &'a Rgb8,
    width: u16,
    height: u16,
}

impl<'a> Halved<'a> {
    /// `None` for a picture without pixels or with more than 65,535 a side.
    pub(super) fn of(image: &'a Rgb8) -> Option<Self> {
        let width = u16::try_from(image.width).ok()?;
        let height = u16::try_from(image.height).ok()?;
        let is_whole = image.data.len() == image.width * image.height * 3;
        (is_whole && width > 0 && height > 0).then_some(Self {
            image,
            width,
            height,
        })
    }

    fn row(&self, y: u16) -> &'a [u8] {
        let n_bytes = self.image.width * 3;
        &self.image.data[usize::from(y) * n_bytes..][..n_bytes]
    }
}

impl ImageBuffer for Halved<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, [luma, blue, red, _]: &mut [Vec<u8>; 4]) {
        let row = self.row(y);
        let (first, n) = (luma.len(), luma.len() + self.image.width);
        for buffer in [&mut *luma, blue, red] {
            buffer.resize(n, 0);
        }
        let is_last = y + 1 == self.height;
        // The encoder repeats the last row below the picture: there its chroma may be picked, even or not.
        let below = match (y.is_multiple_of(2), is_last) {
            (_, true) => Some(row),
            (true, false) => Some(self.row(y + 1)),
            (false, false) => None,
        };
        convert(
            row,
            below,
            [luma, blue, red].map(|buffer| &mut buffer[first..]),
        );
    }
}

/// Converts a row; chroma only where there is a row below.
fn convert(row: &[u8], below: Option<&[u8]>, out: [&mut [u8]; 3]) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the feature is there.
        return unsafe { convert_avx2(row, below, out) };
    }
    convert_plain(row, below, out);
}

/// As [`convert_plain`], compiled for wider registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn convert_avx2(row: &[u8], below: Option<&[u8]>, out: [&mut [u8]; 3]) {
    convert_plain(row, below, out);
}

#[inline(always)]
fn convert_plain(row: &[u8], below: Option<&[u8]>, [luma, blue, red]: [&mut [u8]; 3]) {
    for (y, pixel) in luma.iter_mut().zip(row.chunks_exact(3)) {
        *y = luma_of([pixel[0], pixel[1], pixel[2]]);
    }
    let Some(below) = below else {
        return;
    };
    let halves = blue.chunks_mut(2).zip(red.chunks_mut(2));
    for ((blue, red), (above, below)) in halves.zip(row.chunks(6).zip(below.chunks(6))) {
        // The left one of two is picked; the last one of a row is repeated beyond its end.
        [blue[0], red[0]] = chroma_of(above, below);
        if let ([b, next_b], [r, next_r]) = (blue, red) {
            (*next_b, *next_r) = (*b, *r);
        }
    }
}

/// Y of one pixel (JFIF, full range).
#[inline(always)]
fn luma_of(pixel: [u8; 3]) -> u8 {
    let [r, g, b] = pixel.map(i32::from);
    ((19_595 * r + 38_470 * g + 7_471 * b + HALF) >> SHIFT) as u8
}

/// Mean Cb and Cr of two pixels in each of two rows; of one in each where the row ends.
#[inline(always)]
fn chroma_of(above: &[u8], below: &[u8]) -> [u8; 2] {
    // The start of the second pixel, or again of the first one.
    let second = above.len() - 3;
    let sum = |channel: usize| {
        let [a, b, c, d] = [
            above[channel],
            above[second + channel],
            below[channel],
            below[second + channel],
        ]
        .map(i32::from);
        a + b + c + d
    };
    let [r, g, b] = [sum(0), sum(1), sum(2)];
    let middle = (4 * 128) << SHIFT;
    let mean = |sum: i32| ((sum + middle + 4 * HALF) >> (SHIFT + 2)) as u8;
    [
        mean(-11_059 * r - 21_709 * g + 32_768 * b),
        mean(32_768 * r - 27_439 * g - 5_329 * b),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffers(image: &Rgb8, rows: &[u16]) -> [Vec<u8>; 4] {
        let halved = Halved::of(image).unwrap();
        let mut buffers = [const { Vec::new() }; 4];
        for &y in rows {
            halved.fill_buffers(y, &mut buffers);
            for buffer in &buffers[..3] {
                assert_eq!(buffer.len() % image.width, 0);
            }
        }
        buffers
    }

    #[test]
    fn colours_are_those_of_the_standard() {
        for color in [
            [0, 0, 0],
            [255; 3],
            [255, 0, 0],
            [0, 255, 0],
            [0, 0, 255],
            [12, 200, 77],
        ] {
            let [r, g, b] = color;
            let expected: [u8; 3] = jpeg_encoder::rgb_to_ycbcr(r, g, b).into();
            let [y, cb, cr, _] = buffers(&Rgb8::filled(3, 3, color), &[0]);
            for (values, expected) in [y, cb, cr].iter().zip(expected) {
                assert!(
                    values.iter().all(|value| value.abs_diff(expected) <= 1),
                    "{color:?}"
                );
            }
        }
    }

    #[test]
    fn chroma_is_the_mean_of_four_pixels_also_at_the_edges() {
        // Columns of red, blue and green; rows the same.
        let data = [[255u8, 0, 0], [0, 0, 255], [0, 255, 0]].concat().repeat(3);
        let image = Rgb8::from_hwc(3, 3, data).unwrap();
        let ycc = |r, g, b| jpeg_encoder::rgb_to_ycbcr(r, g, b);
        let [(_, red, _), (_, blue, _), (_, green, _)] =
            [ycc(255, 0, 0), ycc(0, 0, 255), ycc(0, 255, 0)];
        let mean = ((u32::from(red) + u32::from(blue)) / 2) as u8;
        let [_, cb, _, _] = buffers(&image, &[0, 1, 2, 2]);
        for row in [0, 2, 3] {
            assert!(cb[3 * row].abs_diff(mean) <= 1, "row {row}: {cb:?}");
            assert!(cb[3 * row + 2].abs_diff(green) <= 1, "row {row}: {cb:?}");
        }
    }

    #[test]
    fn pictures_without_pixels_or_too_large_are_none() {
        assert!(Halved::of(&Rgb8::filled(0, 5, [1; 3])).is_none());
        assert!(Halved::of(&Rgb8::filled(70_000, 1, [1; 3])).is_none());
    }
}

//! Dark and light, against the neighbourhood's mean: lighting may change across the picture.

use crate::pictures::scale::Gray;

/// Smaller pictures hold no code: 21 modules and their margin at one pixel each.
const MIN_SIDE: usize = 25;
/// The neighbourhood is this part of the longer side: larger than a finder pattern's core in a code that fills the picture.
const WINDOW_PART: usize = 4;
/// Dark is below this share (of 64) of the mean.
const DARK_SHARE: u64 = 58;

/// One bit a pixel.
pub(super) struct Binary {
    pub width: usize,
    pub height: usize,
    dark: Vec<bool>,
}

impl Binary {
    /// `None` for a picture too small for a code.
    pub(super) fn of(gray: &Gray) -> Option<Self> {
        let (width, height) = (gray.width, gray.height);
        if width.min(height) < MIN_SIDE || gray.data.len() != width * height {
            return None;
        }
        let half = width.max(height) / WINDOW_PART / 2;
        let mut dark = vec![false; width * height];
        // Sums of each column over the rows of the window, moved down a row at a time.
        let mut columns = vec![0u32; width];
        let mut sums = vec![0u32; width + 1];
        let (mut top, mut bottom) = (0, 0);
        for y in 0..height {
            let (first, end) = (y.saturating_sub(half), (y + half + 1).min(height));
            while bottom < end {
                let row = &gray.data[bottom * width..(bottom + 1) * width];
                for (sum, &value) in columns.iter_mut().zip(row) {
                    *sum += u32::from(value);
                }
                bottom += 1;
            }
            while top < first {
                let row = &gray.data[top * width..(top + 1) * width];
                for (sum, &value) in columns.iter_mut().zip(row) {
                    *sum -= u32::from(value);
                }
                top += 1;
            }
            let mut total = 0;
            for (sum, &column) in sums[1..].iter_mut().zip(&columns) {
                total += column;
                *sum = total;
            }
            let n_rows = (end - first) as u64;
            let row = &gray.data[y * width..(y + 1) * width];
            let marks = &mut dark[y * width..(y + 1) * width];
            for (x, (mark, &value)) in marks.iter_mut().zip(row).enumerate() {
                let (left, right) = (x.saturating_sub(half), (x + half + 1).min(width));
                let sum = u64::from(sums[right] - sums[left]);
                let n_pixels = n_rows * (right - left) as u64;
                *mark = u64::from(value) * 64 * n_pixels < sum * DARK_SHARE;
            }
        }
        Some(Self {
            width,
            height,
            dark,
        })
    }

    /// Row `y`, true where dark.
    pub(super) fn row(&self, y: usize) -> &[bool] {
        &self.dark[y * self.width..(y + 1) * self.width]
    }

    /// The pixel at this point; outside is neither.
    pub(super) fn get(&self, x: f32, y: f32) -> Option<bool> {
        let inside = x >= 0.0 && y >= 0.0 && x < self.width as f32 && y < self.height as f32;
        inside.then(|| self.dark[y as usize * self.width + x as usize])
    }

    /// Whether the point is inside and dark.
    pub(super) fn is_dark_at(&self, x: f32, y: f32) -> bool {
        self.get(x, y) == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dark_is_relative_to_the_neighbourhood() {
        // A ramp of light from left to right, with squares of half the light on it.
        let (width, height) = (200, 60);
        let light = |x: usize| 40 + x;
        let is_square = |x: usize, y: usize| x % 40 >= 30 && (20..30).contains(&y);
        let data = (0..width * height)
            .map(|at| {
                let (x, y) = (at % width, at / width);
                (if is_square(x, y) {
                    light(x) / 2
                } else {
                    light(x)
                }) as u8
            })
            .collect();
        let gray = Gray {
            width,
            height,
            data,
        };
        let binary = Binary::of(&gray).unwrap();
        let n_wrong = (0..width * height)
            .filter(|at| binary.row(at / width)[at % width] != is_square(at % width, at / width))
            .count();
        assert!(n_wrong < width * height / 50, "{n_wrong} pixels are wrong");
    }

    #[test]
    fn small_pictures_and_points_outside_are_nothing() {
        let gray = |width, height| Gray {
            width,
            height,
            data: vec![0; width * height],
        };
        assert!(Binary::of(&gray(24, 500)).is_none());
        assert!(Binary::of(&gray(0, 0)).is_none());
        let binary = Binary::of(&gray(25, 30)).unwrap();
        assert_eq!(
            binary.get(24.9, 29.9),
            Some(false),
            "all black is not darker than its mean"
        );
        for (x, y) in [(-0.1, 3.0), (25.0, 3.0), (3.0, 30.0), (f32::NAN, 3.0)] {
            assert_eq!(binary.get(x, y), None);
        }
    }
}

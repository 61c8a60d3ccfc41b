//! Dark and light, against the neighbourhood: lighting may change across the picture.

use crate::pictures::scale::Gray;

/// Smaller pictures hold no code: 21 modules and their margin at one pixel each.
const MIN_SIDE: usize = 25;
/// The neighbourhood is this part of the longer side: larger than a finder pattern's core in a code that fills the picture.
const WINDOW_PART: usize = 4;
/// Surely dark is below this share (of 64) of the mean.
const DARK_SHARE: u64 = 58;

/// One bit a pixel.
pub(super) struct Binary {
    pub width: usize,
    pub height: usize,
    dark: Vec<bool>,
}

impl Binary {
    /// `None` for a picture too small for a code.
    ///
    /// What is well below the mean of its neighbourhood is dark at first; then the limit moves to the middle between the
    /// means of dark and light, as half-covered pixels at the edges would make dark modules wide on white paper.
    pub(super) fn of(gray: &Gray) -> Option<Self> {
        let (width, height) = (gray.width, gray.height);
        if width.min(height) < MIN_SIDE || gray.data.len() != width * height {
            return None;
        }
        let half = width.max(height) / WINDOW_PART / 2;
        let all = Sums::of(width, half, gray.data.iter().map(|&value| u32::from(value)));
        let first: Vec<bool> = all.map(&gray.data, |value, sum, n_pixels, _| {
            value * n_pixels * 64 < sum * DARK_SHARE
        });
        let dark_values = gray.data.iter().zip(&first);
        let dark_values = dark_values.map(|(&value, &dark)| u32::from(value) * u32::from(dark));
        let dark_sums = Sums::of(width, half, dark_values);
        let counts = Sums::of(width, half, first.iter().map(|&dark| u32::from(dark)));
        let dark = all.map(&gray.data, |value, sum, n_pixels, window| {
            let (dark_sum, n_dark) = (dark_sums.at(window), counts.at(window));
            let (light_sum, n_light) = (sum - dark_sum, n_pixels - n_dark);
            // value < (dark_sum / n_dark + light_sum / n_light) / 2; never true without dark or without light.
            2 * value * n_dark * n_light < dark_sum * n_light + light_sum * n_dark
        });
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

/// Left, right, top and bottom of a part of a picture, ends excluded.
type Window = [usize; 4];

/// Sums of everything above and to the left, for sums over windows. They may wrap: the differences do not.
struct Sums {
    width: usize,
    height: usize,
    /// Half of a window's side.
    half: usize,
    /// `(width + 1) * (height + 1)`, the first row and column 0.
    table: Vec<u32>,
}

impl Sums {
    fn of(width: usize, half: usize, values: impl ExactSizeIterator<Item = u32>) -> Self {
        let height = values.len() / width;
        let stride = width + 1;
        let mut table = vec![0u32; stride * (height + 1)];
        let mut row_sum = 0u32;
        for (at, value) in values.enumerate() {
            let (x, y) = (at % width, at / width);
            row_sum = if x == 0 { value } else { row_sum.wrapping_add(value) };
            table[(y + 1) * stride + x + 1] = table[y * stride + x + 1].wrapping_add(row_sum);
        }
        Self {
            width,
            height,
            half,
            table,
        }
    }

    fn at(&self, [left, right, top, bottom]: Window) -> u64 {
        let stride = self.width + 1;
        let corner = |x: usize, y: usize| self.table[y * stride + x];
        let below = corner(right, bottom).wrapping_sub(corner(left, bottom));
        let above = corner(right, top).wrapping_sub(corner(left, top));
        u64::from(below.wrapping_sub(above))
    }

    /// What `judge` says of each pixel, given its value and the sum, the pixels and the bounds of its neighbourhood.
    fn map(&self, data: &[u8], judge: impl Fn(u64, u64, u64, Window) -> bool) -> Vec<bool> {
        let mut out = Vec::with_capacity(data.len());
        for (y, row) in data.chunks_exact(self.width).enumerate() {
            let (top, bottom) = (
                y.saturating_sub(self.half),
                (y + self.half + 1).min(self.height),
            );
            for (x, &value) in row.iter().enumerate() {
                let (left, right) = (
                    x.saturating_sub(self.half),
                    (x + self.half + 1).min(self.width),
                );
                let window = [left, right, top, bottom];
                let n_pixels = ((right - left) * (bottom - top)) as u64;
                out.push(judge(u64::from(value), self.at(window), n_pixels, window));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dark_is_relative_to_the_neighbourhood() {
        // Twice the light at the right as at the left, with squares of half the light on it.
        let (width, height) = (200, 60);
        let light = |x: usize| 100 + x / 2;
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

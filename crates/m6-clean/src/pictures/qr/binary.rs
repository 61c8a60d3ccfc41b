//! Dark and light, against the neighbourhood: lighting may change across the picture.

use crate::pictures::scale::Gray;

/// Smaller pictures hold no code: 21 modules and their margin at one pixel each.
const MIN_SIDE: usize = 25;
/// The neighbourhood is this part of the longer side: larger than a finder pattern's core in a code that fills the picture.
const WINDOW_PART: usize = 4;
/// Pixels of a block's side: a block has one neighbourhood.
const BLOCK: usize = 8;
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
        let half = (width.max(height) / WINDOW_PART / 2 / BLOCK).max(1);
        let n_columns = width.div_ceil(BLOCK);
        let all = Blocks::of(gray, |_| u8::MAX).around(half);
        let first: Vec<u8> = all
            .iter()
            .map(|all| limit(all.sum * DARK_SHARE, all.n * 64))
            .collect();
        let dark = Blocks::of(gray, |block| first[block]).around(half);
        let limits: Vec<u8> = all
            .iter()
            .zip(&dark)
            .map(|(all, dark)| {
                let (light_sum, n_light) = (all.sum - dark.sum, all.n - dark.n);
                // (dark.sum / dark.n + light_sum / n_light) / 2; nothing is dark where there is no dark or no light.
                let sums = dark.sum * n_light + light_sum * dark.n;
                limit(sums, 2 * dark.n * n_light)
            })
            .collect();
        let mut out = Vec::with_capacity(width * height);
        for (y, row) in gray.data.chunks_exact(width).enumerate() {
            let limits = &limits[y / BLOCK * n_columns..];
            for (part, &limit) in row.chunks(BLOCK).zip(limits) {
                out.extend(part.iter().map(|&value| value < limit));
            }
        }
        Some(Self {
            width,
            height,
            dark: out,
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

/// The smallest value that is not below `sum / n`; 0 when `n` is.
fn limit(sum: u64, n: u64) -> u8 {
    let limit = if n == 0 { 0 } else { sum.div_ceil(n) };
    u8::try_from(limit).unwrap_or(u8::MAX)
}

/// Some pixels of a part of the picture.
#[derive(Clone, Copy, Default)]
struct Part {
    sum: u64,
    n: u64,
}

/// The parts of all blocks, row by row.
struct Blocks {
    n_columns: usize,
    parts: Vec<Part>,
}

impl Blocks {
    /// Pixels of each block that are not above the block's limit.
    fn of(gray: &Gray, limit: impl Fn(usize) -> u8) -> Self {
        let n_columns = gray.width.div_ceil(BLOCK);
        let n_rows = gray.height.div_ceil(BLOCK);
        let mut parts = vec![Part::default(); n_columns * n_rows];
        for (y, row) in gray.data.chunks_exact(gray.width).enumerate() {
            let first = y / BLOCK * n_columns;
            for (x, pixels) in row.chunks(BLOCK).enumerate() {
                let limit = limit(first + x);
                let (mut sum, mut n) = (0u32, 0u32);
                for &value in pixels {
                    let counts = u32::from(value <= limit);
                    sum += counts * u32::from(value);
                    n += counts;
                }
                parts[first + x].sum += u64::from(sum);
                parts[first + x].n += u64::from(n);
            }
        }
        Self { n_columns, parts }
    }

    /// For each block the pixels of all blocks at most `half` away in both directions.
    fn around(&self, half: usize) -> Vec<Part> {
        let across = |parts: &[Part], n: usize, stride: usize| -> Vec<Part> {
            let mut out = vec![Part::default(); parts.len()];
            for line in 0..parts.len() / n {
                // Lines are rows (stride 1) or columns (stride: blocks of a row).
                let at = |i: usize| match stride {
                    1 => line * n + i,
                    _ => line + i * stride,
                };
                let mut window = Part::default();
                for i in 0..n + half {
                    if i < n {
                        window.sum += parts[at(i)].sum;
                        window.n += parts[at(i)].n;
                    }
                    if i > 2 * half {
                        window.sum -= parts[at(i - 2 * half - 1)].sum;
                        window.n -= parts[at(i - 2 * half - 1)].n;
                    }
                    if i >= half {
                        out[at(i - half)] = window;
                    }
                }
            }
            out
        };
        let n_rows = self.parts.len() / self.n_columns;
        let rows = across(&self.parts, self.n_columns, 1);
        across(&rows, n_rows, self.n_columns)
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

//! The ground behind the objects, and how far every pixel is from it.

use m6_image::Rgb8;

/// How far a border pixel may be from the fitted ground in each round of the fit, in levels.
const ROUNDS: [f32; 4] = [90.0, 45.0, 25.0, 18.0];

/// Least and greatest distance from the ground at which a pixel is no longer ground, in levels. The least is below the
/// light stripes of a pink pattern on a pink ground, the greatest below the contrast of any object.
const FOREGROUND: (f32, f32) = (24.0, 80.0);
/// The same in medians of the border's distances: 4.6 standard deviations of noise.
const N_MEDIANS: f32 = 3.0;

/// The picture without its ground.
pub(super) struct Field {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Each pixel minus the ground in its row, in levels; `height` rows of `width`.
    pub difference: Vec<[f32; 3]>,
    /// Length of each difference, 0 to 442.
    pub distance: Vec<f32>,
    /// The ground of each row.
    pub ground: Vec<[f32; 3]>,
    /// The distance at which a pixel is no longer ground: above the noise of the border.
    pub foreground: f32,
}

impl Field {
    /// Takes the ground away. `image` has at least one pixel and as many bytes as its size says.
    pub(super) fn of(image: &Rgb8) -> Self {
        let border = border(image);
        let line = fit(&border);
        let noise = median(border.iter().map(|&(y, p)| line.distance(y, p)).collect());
        let ground: Vec<[f32; 3]> = (0..image.height)
            .map(|y| line.at(height_share(y, image.height)))
            .collect();
        let row_length = 3 * image.width;
        let mut difference = Vec::with_capacity(image.width * image.height);
        for (row, ground) in image.data.chunks_exact(row_length).zip(&ground) {
            difference.extend(
                row.chunks_exact(3)
                    .map(|p| std::array::from_fn(|c| f32::from(p[c]) - ground[c])),
            );
        }
        let distance = difference.iter().map(|&d| length(d)).collect();
        Field {
            width: image.width,
            height: image.height,
            difference,
            distance,
            ground,
            foreground: (N_MEDIANS * noise).clamp(FOREGROUND.0, FOREGROUND.1),
        }
    }

    /// The longer side in pixels.
    pub(super) fn longer_side(&self) -> f32 {
        self.width.max(self.height) as f32
    }
}

/// Euclidean length.
pub(super) fn length(d: [f32; 3]) -> f32 {
    energy(d).sqrt()
}

/// Squared length.
pub(super) fn energy(d: [f32; 3]) -> f32 {
    d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
}

/// A straight line from top to bottom in each channel through the border pixels, objects on the border left out by
/// fitting again without what is far from the line.
fn fit(border: &[(f32, [f32; 3])]) -> Line {
    let mut line = Line {
        middle: std::array::from_fn(|c| median(border.iter().map(|p| p.1[c]).collect())),
        slope: [0.0; 3],
    };
    for limit in ROUNDS {
        let near: Vec<(f32, [f32; 3])> = border
            .iter()
            .copied()
            .filter(|&(y, p)| line.distance(y, p) <= limit)
            .collect();
        // A line through a few pixels would follow them anywhere.
        if near.len() * 4 < border.len() {
            break;
        }
        line = Line::through(&near);
    }
    line
}

/// The outermost pixels with their height, from -0.5 in the first row to 0.5 in the last.
fn border(image: &Rgb8) -> Vec<(f32, [f32; 3])> {
    let mut border = Vec::new();
    for y in 0..image.height {
        let is_edge_row = y == 0 || y + 1 == image.height;
        let step = if is_edge_row {
            1
        } else {
            (image.width - 1).max(1)
        };
        for x in (0..image.width).step_by(step) {
            let at = 3 * (y * image.width + x);
            let pixel = std::array::from_fn(|c| f32::from(image.data[at + c]));
            border.push((height_share(y, image.height), pixel));
        }
    }
    border
}

fn height_share(y: usize, height: usize) -> f32 {
    y as f32 / (height - 1).max(1) as f32 - 0.5
}

fn median(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// A colour that changes evenly with the height.
struct Line {
    middle: [f32; 3],
    slope: [f32; 3],
}

impl Line {
    fn at(&self, y: f32) -> [f32; 3] {
        std::array::from_fn(|c| (self.middle[c] + self.slope[c] * y).clamp(0.0, 255.0))
    }

    fn distance(&self, y: f32, pixel: [f32; 3]) -> f32 {
        let at = self.at(y);
        length(std::array::from_fn(|c| pixel[c] - at[c]))
    }

    /// Least squares; level where the points say nothing about a slope.
    fn through(points: &[(f32, [f32; 3])]) -> Self {
        let n = points.len().max(1) as f32;
        let mean_y = points.iter().map(|p| p.0).sum::<f32>() / n;
        let spread: f32 = points.iter().map(|p| (p.0 - mean_y).powi(2)).sum();
        let mean: [f32; 3] =
            std::array::from_fn(|c| points.iter().map(|p| p.1[c]).sum::<f32>() / n);
        let slope: [f32; 3] = std::array::from_fn(|c| {
            let along: f32 = points
                .iter()
                .map(|p| (p.0 - mean_y) * (p.1[c] - mean[c]))
                .sum();
            if spread > 1e-3 { along / spread } else { 0.0 }
        });
        Line {
            middle: std::array::from_fn(|c| mean[c] - slope[c] * mean_y),
            slope,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Split, World};

    #[test]
    fn the_fitted_ground_is_the_drawn_one() {
        let world = World::new(41, 64);
        for index in 0..300 {
            let item = world.picture(Split::Train, index);
            let field = Field::of(&item.image);
            for (y, got) in field.ground.iter().enumerate() {
                let truth = item.scene.ground.at(y, 64);
                for c in 0..3 {
                    let off = (got[c] - f32::from(truth[c])).abs();
                    assert!(off < 1.5, "{index}, row {y}: {got:?} for {truth:?}");
                }
            }
        }
    }

    #[test]
    fn one_pixel_is_its_own_ground() {
        let field = Field::of(&Rgb8::filled(1, 1, [9, 200, 70]));
        assert_eq!(field.difference, [[0.0; 3]]);
    }
}

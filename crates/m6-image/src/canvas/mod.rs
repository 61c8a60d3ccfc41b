//! A small canvas: antialiased shapes in plain, striped, dotted or checkered paint (ours).
//!
//! Coverage is counted on 4 x 4 points a pixel with integer sums, and shapes use only operations that
//! IEEE 754 makes exact or that come from `libm`, so the same calls give the same bytes everywhere.
//! Coordinates are in pixels from the upper left corner; pixel (0, 0) covers [0, 1) x [0, 1).

mod shape;

pub use shape::Shape;

use crate::Rgb8;

/// Sample points a pixel in each direction.
const N_SAMPLES: usize = 4;

/// What a shape is filled with; periods are in pixels, patterns start at the canvas corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Paint {
    /// One colour.
    Solid([u8; 3]),
    /// Horizontal bands of two colours, each half a period high.
    Stripes([u8; 3], [u8; 3], f64),
    /// Dots of the second colour on the first, one a period each way, 0.6 of a period across.
    Dots([u8; 3], [u8; 3], f64),
    /// Squares of two colours in turn, each half a period wide.
    Checker([u8; 3], [u8; 3], f64),
}

impl Paint {
    fn at(&self, x: f64, y: f64) -> [u8; 3] {
        // Position within a period, in [0, 1); a period that is not positive gives the first colour.
        let phase = |at: f64, period: f64| (at / period) - (at / period).floor();
        match *self {
            Paint::Solid(color) => color,
            Paint::Stripes(first, second, period) => {
                if phase(y, period) >= 0.5 {
                    second
                } else {
                    first
                }
            }
            Paint::Dots(first, second, period) => {
                let (dx, dy) = (phase(x, period) - 0.5, phase(y, period) - 0.5);
                if dx * dx + dy * dy <= 0.3 * 0.3 {
                    second
                } else {
                    first
                }
            }
            Paint::Checker(first, second, period) => {
                if (phase(x, period) >= 0.5) != (phase(y, period) >= 0.5) {
                    second
                } else {
                    first
                }
            }
        }
    }
}

/// A picture being drawn; later shapes cover earlier ones.
#[derive(Clone, Debug)]
pub struct Canvas {
    image: Rgb8,
}

impl Canvas {
    /// A canvas of one colour.
    pub fn new(width: usize, height: usize, ground: [u8; 3]) -> Self {
        Self {
            image: Rgb8::filled(width, height, ground),
        }
    }

    /// Draws on an existing picture.
    pub fn on(image: Rgb8) -> Self {
        Self { image }
    }

    /// Fills a shape; what lies outside the canvas is left out.
    pub fn fill(&mut self, shape: &Shape, paint: Paint) {
        let region = shape.region();
        let [left, top, right, bottom] = region.bounds();
        let (columns, rows) = (
            clip(left, right, self.image.width),
            clip(top, bottom, self.image.height),
        );
        for row in rows {
            for column in columns.clone() {
                self.fill_pixel(&region, paint, column, row);
            }
        }
    }

    /// Fills a shape with one colour.
    pub fn fill_solid(&mut self, shape: &Shape, color: [u8; 3]) {
        self.fill(shape, Paint::Solid(color));
    }

    fn fill_pixel(&mut self, region: &shape::Region<'_>, paint: Paint, column: usize, row: usize) {
        let mut sums = [0u32; 3];
        let mut n_inside = 0;
        for sample in 0..N_SAMPLES * N_SAMPLES {
            let offset = |index: usize| (index as f64 + 0.5) / N_SAMPLES as f64;
            let x = column as f64 + offset(sample % N_SAMPLES);
            let y = row as f64 + offset(sample / N_SAMPLES);
            if region.contains(x, y) {
                n_inside += 1;
                let color = paint.at(x, y);
                for channel in 0..3 {
                    sums[channel] += u32::from(color[channel]);
                }
            }
        }
        if n_inside == 0 {
            return;
        }
        let n_samples = (N_SAMPLES * N_SAMPLES) as u32;
        let at = 3 * (row * self.image.width + column);
        for channel in 0..3 {
            let below = u32::from(self.image.data[at + channel]) * (n_samples - n_inside);
            self.image.data[at + channel] =
                ((sums[channel] + below + n_samples / 2) / n_samples) as u8;
        }
    }

    /// The picture so far.
    pub fn image(&self) -> &Rgb8 {
        &self.image
    }

    /// The finished picture.
    pub fn into_image(self) -> Rgb8 {
        self.image
    }
}

/// The whole pixels that an interval touches, cut to the canvas.
fn clip(from: f64, to: f64, n_pixels: usize) -> std::ops::Range<usize> {
    // Casts from f64 saturate, and take NaN as 0.
    let end = (to.ceil() as usize).min(n_pixels);
    (from.floor() as usize).min(end)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: [u8; 3] = [255; 3];
    const RED: [u8; 3] = [255, 0, 0];
    const BLUE: [u8; 3] = [0, 0, 255];

    fn draw(shape: &Shape, paint: Paint) -> Rgb8 {
        let mut canvas = Canvas::new(64, 64, WHITE);
        canvas.fill(shape, paint);
        canvas.into_image()
    }

    /// Covered area in pixels, from how much of the white was taken away.
    fn area(shape: &Shape) -> f64 {
        let image = draw(shape, Paint::Solid([0; 3]));
        let taken: u64 = image
            .data
            .iter()
            .step_by(3)
            .map(|&value| u64::from(255 - value))
            .sum();
        taken as f64 / 255.0
    }

    fn check_area(shape: Shape, expected: f64) {
        let got = area(&shape);
        assert!(
            (got - expected).abs() < 0.02 * expected + 1.0,
            "{shape:?}: area {got}, expected {expected}"
        );
    }

    #[test]
    fn shapes_cover_their_area() {
        use std::f64::consts::PI;
        let (cx, cy) = (32.0, 32.0);
        check_area(Shape::Circle { cx, cy, r: 20.0 }, PI * 400.0);
        check_area(
            Shape::Ellipse {
                cx,
                cy,
                rx: 25.0,
                ry: 10.0,
            },
            PI * 250.0,
        );
        check_area(
            Shape::Rect {
                x: 10.5,
                y: 3.25,
                width: 20.0,
                height: 11.5,
            },
            230.0,
        );
        check_area(
            Shape::Polygon(vec![[10.0, 50.0], [50.0, 50.0], [30.0, 10.0]]),
            800.0,
        );
        check_area(
            Shape::Ring {
                cx,
                cy,
                r: 20.0,
                inner: 12.0,
            },
            PI * (400.0 - 144.0),
        );
        check_area(
            Shape::Cross {
                cx,
                cy,
                r: 20.0,
                thickness: 10.0,
            },
            2.0 * 400.0 - 100.0,
        );
        check_area(
            Shape::Line {
                from: [5.0, 5.0],
                to: [35.0, 45.0],
                width: 6.0,
            },
            50.0 * 6.0 + PI * 9.0,
        );
        // A five-pointed star of outer radius 1 with the inner radius of a pentagram.
        check_area(
            Shape::Star {
                cx,
                cy,
                r: 20.0,
                n_points: 5,
            },
            1.12257 * 400.0,
        );
        // The heart curve (x^2 + y^2 - 1)^3 = x^2 y^3 encloses 3.6616 units; scaled so that it is 2 r wide.
        check_area(
            Shape::Heart { cx, cy, r: 20.0 },
            3.6616 * 400.0 / (1.1390 * 1.1390),
        );
    }

    #[test]
    fn edges_are_antialiased_and_insides_are_not() {
        let image = draw(
            &Shape::Rect {
                x: 8.0,
                y: 8.5,
                width: 8.0,
                height: 8.0,
            },
            Paint::Solid(RED),
        );
        assert_eq!(image.pixel(10, 8), [255, 128, 128]);
        assert_eq!(image.pixel(10, 12), RED);
        assert_eq!(image.pixel(7, 12), WHITE);
        assert_eq!(image.pixel(16, 12), WHITE);
    }

    #[test]
    fn paints_follow_their_pattern() {
        let everywhere = Shape::Rect {
            x: 0.0,
            y: 0.0,
            width: 64.0,
            height: 64.0,
        };
        let stripes = draw(&everywhere, Paint::Stripes(RED, BLUE, 8.0));
        assert_eq!(
            [
                stripes.pixel(9, 1),
                stripes.pixel(50, 5),
                stripes.pixel(0, 8)
            ],
            [RED, BLUE, RED]
        );
        let dots = draw(&everywhere, Paint::Dots(RED, BLUE, 8.0));
        assert_eq!(
            [dots.pixel(4, 4), dots.pixel(12, 20), dots.pixel(0, 0)],
            [BLUE, BLUE, RED]
        );
        let checker = draw(&everywhere, Paint::Checker(RED, BLUE, 8.0));
        assert_eq!(
            [
                checker.pixel(1, 1),
                checker.pixel(5, 1),
                checker.pixel(5, 5)
            ],
            [RED, BLUE, RED]
        );
        let degenerate = draw(&everywhere, Paint::Stripes(RED, BLUE, 0.0));
        assert_eq!(degenerate.pixel(3, 3), RED);
    }

    #[test]
    fn shapes_outside_or_without_measure_change_nothing() {
        let blank = Rgb8::filled(64, 64, WHITE);
        for shape in [
            Shape::Circle {
                cx: -50.0,
                cy: 500.0,
                r: 10.0,
            },
            Shape::Circle {
                cx: f64::NAN,
                cy: 5.0,
                r: 10.0,
            },
            Shape::Rect {
                x: 70.0,
                y: 0.0,
                width: 5.0,
                height: 5.0,
            },
            Shape::Rect {
                x: 9.0,
                y: 9.0,
                width: -5.0,
                height: 5.0,
            },
            Shape::Polygon(vec![]),
            Shape::Polygon(vec![[1.0, 1.0], [60.0, 60.0]]),
            Shape::Star {
                cx: 32.0,
                cy: 32.0,
                r: 9.0,
                n_points: 0,
            },
            Shape::Heart {
                cx: 32.0,
                cy: 32.0,
                r: 0.0,
            },
        ] {
            assert!(
                draw(&shape, Paint::Solid(RED)) == blank,
                "{shape:?} left marks"
            );
        }
        let all = draw(
            &Shape::Circle {
                cx: 32.0,
                cy: 32.0,
                r: f64::INFINITY,
            },
            Paint::Solid(RED),
        );
        assert_eq!(all, Rgb8::filled(64, 64, RED));
    }

    #[test]
    fn later_shapes_cover_earlier_ones() {
        let mut canvas = Canvas::new(16, 16, WHITE);
        canvas.fill_solid(
            &Shape::Circle {
                cx: 8.0,
                cy: 8.0,
                r: 6.0,
            },
            RED,
        );
        canvas.fill_solid(
            &Shape::Circle {
                cx: 8.0,
                cy: 8.0,
                r: 3.0,
            },
            BLUE,
        );
        assert_eq!(canvas.image().pixel(8, 8), BLUE);
        assert_eq!(canvas.into_image().pixel(8, 3), RED);
    }
}

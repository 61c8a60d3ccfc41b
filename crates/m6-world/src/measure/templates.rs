//! What each shape looks like in few and soft pixels, from the crate's own drawing code.
//!
//! A drawn pixel is affine in the object's colour and the ground, so three drawings (all black, white ground, white
//! object) give what is needed to predict the shape in any colour on any ground.

use std::sync::LazyLock;

use crate::draw;
use crate::scene::{Ground, Object, Scene};
use crate::words::{Color, Shape, Texture};

/// Cells of a template in each direction.
pub(super) const GRID: usize = 20;
/// Cells of a template.
pub(super) const N_CELLS: usize = GRID * GRID;
/// What the grid covers beyond the object's box on each side, as a share of the box.
pub(super) const MARGIN: f32 = 0.1;
/// Shares of the strength at which boxes of regions are compared with boxes of templates.
pub(super) const LEVELS: [f32; 2] = [0.45, 0.2];

/// Side of the drawing a template is made from, and the object's size in it, in pixels.
const DRAWN: (usize, f64) = (128, 80.0);
/// Object sizes in pixels for which templates are made.
const SCALES: [f32; 8] = [10.0, 12.0, 14.0, 17.0, 20.0, 24.0, 30.0, 40.0];
/// Widths of the window through which a pixel sees, in pixels: of a sharp picture, and of one blurred by a box of 3.
/// Both hold the pixel itself and the interpolation between pixels.
pub(super) const WINDOWS: [f32; 2] = [1.8, 3.2];

/// One shape at one size and blur.
pub(super) struct Template {
    /// The shape.
    pub shape: Shape,
    /// Width by height of its box.
    pub aspect: f32,
    /// For each cell, row by row: how much of the object's colour there is, 0 to 1.
    pub body: Vec<f32>,
    /// Sum of squares of the body.
    pub body_energy: f32,
    /// How much there is of neither object colour nor ground: parts with colours of their own.
    pub part: Vec<f32>,
    /// The levels those parts add, three planes of cells.
    pub part_levels: [Vec<f32>; 3],
    /// The box that is seen at each of [`LEVELS`], in shares of the object's own box.
    pub seen: [[f32; 4]; 2],
}

/// The templates of all shapes for objects whose longer side is about `length` pixels, seen through one of
/// [`WINDOWS`].
pub(super) fn templates(length: f32, window: usize) -> &'static [Template] {
    static ALL: LazyLock<Vec<Vec<Template>>> = LazyLock::new(all);
    let is_nearer = |pair: &[f32]| length * length < pair[0] * pair[1];
    let scale = (SCALES.windows(2).position(is_nearer)).unwrap_or(SCALES.len() - 1);
    &ALL[scale * WINDOWS.len() + window.min(WINDOWS.len() - 1)]
}

fn all() -> Vec<Vec<Template>> {
    let drawn: Vec<Drawn> = Shape::ALL.into_iter().map(Drawn::new).collect();
    let mut all = Vec::new();
    for scale in SCALES {
        for window in WINDOWS {
            let width = window * DRAWN.1 as f32 / scale;
            all.push(drawn.iter().map(|d| d.through(width)).collect());
        }
    }
    all
}

/// A shape drawn large, as planes of `DRAWN.0` by `DRAWN.0`: object colour, parts, levels of the parts.
struct Drawn {
    shape: Shape,
    planes: [Vec<f32>; 5],
    /// The box of everything that is drawn, in pixels.
    bounds: [f32; 4],
}

impl Drawn {
    fn new(shape: Shape) -> Self {
        let black = draw_plain(shape, 0, 0);
        let on_white = draw_plain(shape, 0, 255);
        let white = draw_plain(shape, 255, 0);
        let n = DRAWN.0 * DRAWN.0;
        let share = |bright: &[u8], at: usize| f32::from(bright[3 * at] - black[3 * at]) / 255.0;
        let body: Vec<f32> = (0..n).map(|at| share(&white, at)).collect();
        let ground: Vec<f32> = (0..n).map(|at| share(&on_white, at)).collect();
        let part = (0..n).map(|at| 1.0 - body[at] - ground[at]).collect();
        let levels = |c: usize| (0..n).map(|at| f32::from(black[3 * at + c])).collect();
        let cover: Vec<f32> = ground.iter().map(|g| 1.0 - g).collect();
        Drawn {
            shape,
            bounds: bounds(&cover, 0.5),
            planes: [body, part, levels(0), levels(1), levels(2)],
        }
    }

    /// The template of this shape seen through a window of `width` pixels of the drawing.
    fn through(&self, width: f32) -> Template {
        let planes: Vec<Vec<f32>> = self.planes.iter().map(|p| soften(p, width)).collect();
        let cells = |plane: &[f32]| -> Vec<f32> {
            (0..N_CELLS)
                .map(|cell| {
                    let x = grid_point(self.bounds[0], self.bounds[2], cell % GRID);
                    let y = grid_point(self.bounds[1], self.bounds[3], cell / GRID);
                    at(plane, x as isize, y as isize)
                })
                .collect()
        };
        let cover: Vec<f32> = planes[0]
            .iter()
            .zip(&planes[1])
            .map(|(b, p)| b + p)
            .collect();
        let [left, top, right, bottom] = self.bounds;
        let (w, h) = (right - left, bottom - top);
        let body = cells(&planes[0]);
        Template {
            shape: self.shape,
            aspect: w / h,
            body_energy: body.iter().map(|b| b * b).sum(),
            body,
            part: cells(&planes[1]),
            part_levels: [2, 3, 4].map(|plane| cells(&planes[plane])),
            seen: LEVELS.map(|level| {
                let seen = bounds(&cover, level);
                [
                    (seen[0] - left) / w,
                    (seen[1] - top) / h,
                    (seen[2] - left) / w,
                    (seen[3] - top) / h,
                ]
            }),
        }
    }
}

/// The coordinate of a cell's middle on one axis, for an object from `low` to `high`.
pub(super) fn grid_point(low: f32, high: f32, cell: usize) -> f32 {
    let share = (1.0 + 2.0 * MARGIN) * (cell as f32 + 0.5) / GRID as f32 - MARGIN;
    low + (high - low) * share
}

/// One object of a grey level in the middle of a ground of a grey level: the bytes of its picture.
fn draw_plain(shape: Shape, level: u8, ground: u8) -> Vec<u8> {
    let scene = Scene {
        ground: Ground {
            top: [ground; 3],
            bottom: [ground; 3],
        },
        groups: Vec::new(),
        objects: vec![Object {
            shape,
            color: Color::Black,
            rgb: [level; 3],
            texture: Texture::Solid,
            x: 0.5,
            y: 0.5,
            size: DRAWN.1 / DRAWN.0 as f64,
            group: 0,
        }],
    };
    draw::draw(&scene, DRAWN.0).data
}

fn at(plane: &[f32], x: isize, y: isize) -> f32 {
    let last = DRAWN.0 as isize - 1;
    plane[(y.clamp(0, last) * DRAWN.0 as isize + x.clamp(0, last)) as usize]
}

/// Means over a square window; the width is rounded to an odd number of pixels.
fn soften(plane: &[f32], width: f32) -> Vec<f32> {
    // Columns become rows twice, so the result lies as the plane did.
    soften_rows(&soften_rows(plane, width), width)
}

/// Means along the rows, rows written as columns; what lies outside is 0.
fn soften_rows(plane: &[f32], width: f32) -> Vec<f32> {
    let reach = ((width - 1.0) / 2.0).round().max(0.0) as usize;
    let n = (2 * reach + 1) as f32;
    let side = DRAWN.0;
    let mut soft = vec![0.0; plane.len()];
    for (y, row) in plane.chunks_exact(side).enumerate() {
        let mut sums = vec![0.0; side + 1];
        for (x, value) in row.iter().enumerate() {
            sums[x + 1] = sums[x] + value;
        }
        for x in 0..side {
            let end = (x + reach + 1).min(side);
            soft[x * side + y] = (sums[end] - sums[x.saturating_sub(reach)]) / n;
        }
    }
    soft
}

/// The box of the pixels with at least `level`.
fn bounds(cover: &[f32], level: f32) -> [f32; 4] {
    let mut bounds = [DRAWN.0 as f32, DRAWN.0 as f32, 0.0, 0.0];
    for (at, &value) in cover.iter().enumerate() {
        if value >= level {
            let (x, y) = ((at % DRAWN.0) as f32, (at / DRAWN.0) as f32);
            bounds[0] = bounds[0].min(x);
            bounds[1] = bounds[1].min(y);
            bounds[2] = bounds[2].max(x + 1.0);
            bounds[3] = bounds[3].max(y + 1.0);
        }
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_has_a_template_of_its_own_at_every_size_and_blur() {
        for length in [5.0, 14.0, 20.0, 33.0, 400.0] {
            for window in 0..WINDOWS.len() {
                let shapes: Vec<Shape> =
                    templates(length, window).iter().map(|t| t.shape).collect();
                assert_eq!(shapes, Shape::ALL);
                for template in templates(length, window) {
                    let filled: f32 = template.body.iter().sum();
                    assert!(filled > 0.2 * N_CELLS as f32, "{:?}", template.shape);
                }
            }
        }
    }

    #[test]
    fn only_things_have_parts_of_other_colours() {
        for template in templates(24.0, 0) {
            let n_parts = template.part.iter().filter(|&&p| p > 0.5).count();
            let is_built = matches!(template.shape, Shape::House | Shape::Car | Shape::Tree);
            if Shape::figures().contains(&template.shape) {
                assert_eq!(n_parts, 0, "{:?}", template.shape);
            }
            assert!(!is_built || n_parts > 8, "{:?}", template.shape);
        }
    }

    #[test]
    fn templates_have_the_aspect_of_their_shape() {
        for template in templates(24.0, 0) {
            let (w, h) = template.shape.extent();
            let off = (template.aspect / (w / h) as f32 - 1.0).abs();
            assert!(off < 0.12, "{:?} {}", template.shape, template.aspect);
        }
    }
}

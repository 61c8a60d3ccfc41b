//! From the truth to pixels: the ground, then every object with a pen that works in the object's own unit square.

use m6_image::Rgb8;
use m6_image::canvas::{self, Canvas, Paint};

use crate::glyphs::glyph;
use crate::scene::{Object, Scene};
use crate::words::Texture;

/// Share of white in the light colour of a pattern.
pub(crate) const PATTERN_LIGHT: f64 = 0.6;
/// Share of white in a boat's sails.
const TINT: f64 = 0.35;
/// What is left of a colour in its shaded parts.
const SHADE: f64 = 0.86;
/// Period of a pattern as a share of the object's size, and its least length in pixels.
const PERIOD: (f64, f64) = (0.26, 5.0);

/// Draws the scene as a picture of `side` by `side` pixels; the same scene gives the same bytes.
pub fn draw(scene: &Scene, side: usize) -> Rgb8 {
    let mut ground = Rgb8::filled(side, side, scene.ground.top);
    for (y, row) in ground.data.chunks_exact_mut(3 * side).enumerate() {
        let color = scene.ground.at(y, side);
        row.chunks_exact_mut(3)
            .for_each(|pixel| pixel.copy_from_slice(&color));
    }
    let mut canvas = Canvas::on(ground);
    for object in &scene.objects {
        let mut pen = Pen::new(&mut canvas, object, side);
        glyph(&mut pen, object.shape);
    }
    canvas.into_image()
}

/// Draws in the unit square of one object.
pub(crate) struct Pen<'a> {
    canvas: &'a mut Canvas,
    x: f64,
    y: f64,
    scale: f64,
    rgb: [u8; 3],
    body: Paint,
}

impl<'a> Pen<'a> {
    fn new(canvas: &'a mut Canvas, object: &Object, side: usize) -> Self {
        let scale = object.size * side as f64;
        let light = blend(object.rgb, 255.0, PATTERN_LIGHT);
        let period = (PERIOD.0 * scale).max(PERIOD.1);
        let body = match object.texture {
            Texture::Solid => Paint::Solid(object.rgb),
            Texture::Stripes => Paint::Stripes(object.rgb, light, period),
            Texture::Dots => Paint::Dots(object.rgb, light, period),
            Texture::Checker => Paint::Checker(object.rgb, light, period),
        };
        Pen {
            canvas,
            x: object.x * side as f64,
            y: object.y * side as f64,
            scale,
            rgb: object.rgb,
            body,
        }
    }

    /// A circle of the body's colour and texture.
    pub(crate) fn body_circle(&mut self, x: f64, y: f64, radius: f64) {
        self.body_ellipse(x, y, radius, radius);
    }

    /// An ellipse of the body's colour and texture.
    pub(crate) fn body_ellipse(&mut self, x: f64, y: f64, radius_x: f64, radius_y: f64) {
        let [cx, cy] = self.at((x, y));
        let (rx, ry) = (radius_x * self.scale, radius_y * self.scale);
        let ellipse = canvas::Shape::Ellipse { cx, cy, rx, ry };
        self.canvas.fill(&ellipse, self.body);
    }

    /// A ring of the body's colour and texture between two radii.
    pub(crate) fn body_ring(&mut self, x: f64, y: f64, outer: f64, inner: f64) {
        let [cx, cy] = self.at((x, y));
        let (r, inner) = (outer * self.scale, inner * self.scale);
        let ring = canvas::Shape::Ring { cx, cy, r, inner };
        self.canvas.fill(&ring, self.body);
    }

    /// A polygon of the body's colour and texture.
    pub(crate) fn body_polygon(&mut self, points: &[(f64, f64)]) {
        self.fill(points, self.body);
    }

    /// A polygon of the object's colour, darker.
    pub(crate) fn shade_polygon(&mut self, points: &[(f64, f64)]) {
        self.polygon(points, blend(self.rgb, 0.0, 1.0 - SHADE));
    }

    /// A polygon of the object's colour, lighter.
    pub(crate) fn tint_polygon(&mut self, points: &[(f64, f64)]) {
        self.polygon(points, blend(self.rgb, 255.0, TINT));
    }

    /// A polygon of a colour of its own.
    pub(crate) fn polygon(&mut self, points: &[(f64, f64)], rgb: [u8; 3]) {
        self.fill(points, Paint::Solid(rgb));
    }

    /// A circle of a colour of its own.
    pub(crate) fn circle(&mut self, x: f64, y: f64, radius: f64, rgb: [u8; 3]) {
        let [cx, cy] = self.at((x, y));
        let r = radius * self.scale;
        let circle = canvas::Shape::Circle { cx, cy, r };
        self.canvas.fill_solid(&circle, rgb);
    }

    fn fill(&mut self, points: &[(f64, f64)], paint: Paint) {
        let corners = points.iter().map(|&p| self.at(p)).collect();
        self.canvas.fill(&canvas::Shape::Polygon(corners), paint);
    }

    /// Pixel coordinates of a point of the unit square.
    fn at(&self, (x, y): (f64, f64)) -> [f64; 2] {
        [self.x + x * self.scale, self.y + y * self.scale]
    }
}

/// Moves each level towards `to` by the share given.
fn blend(rgb: [u8; 3], to: f64, share: f64) -> [u8; 3] {
    rgb.map(|level| {
        let level = f64::from(level);
        (level + (to - level) * share).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Ground;
    use crate::words::{Color, Shape};
    use crate::{Split, World};

    fn pixel(image: &Rgb8, x: usize, y: usize) -> [u8; 3] {
        let at = (y * image.width + x) * 3;
        [image.data[at], image.data[at + 1], image.data[at + 2]]
    }

    /// One plain object of size 0.8 in the middle of a white picture.
    fn alone(shape: Shape, color: Color) -> Scene {
        let white = [255, 255, 255];
        Scene {
            ground: Ground {
                top: white,
                bottom: white,
            },
            groups: Vec::new(),
            objects: vec![Object {
                shape,
                color,
                rgb: color.rgb(),
                texture: Texture::Solid,
                x: 0.5,
                y: 0.5,
                size: 0.8,
                group: 0,
            }],
        }
    }

    #[test]
    fn nothing_is_drawn_outside_of_the_boxes() {
        let world = World::new(31, 64);
        for index in 0..600 {
            let item = world.picture(Split::Train, index);
            let boxes: Vec<[f64; 4]> = item.scene.objects.iter().map(Object::bounds).collect();
            for y in 0..64 {
                for x in 0..64 {
                    let (cx, cy) = (x as f64 / 64.0, y as f64 / 64.0);
                    let pixel_width = 1.0 / 64.0;
                    let covered = boxes.iter().any(|b| {
                        cx + pixel_width > b[0] && cx < b[2] && cy + pixel_width > b[1] && cy < b[3]
                    });
                    let ground = item.scene.ground.at(y, 64);
                    assert!(
                        covered || pixel(&item.image, x, y) == ground,
                        "{index} {x} {y}"
                    );
                }
            }
        }
    }

    #[test]
    fn boxes_are_tight() {
        for shape in Shape::ALL {
            let scene = alone(shape, Color::Blue);
            let image = draw(&scene, 200);
            let drawn = |x: usize, y: usize| pixel(&image, x, y) != [255, 255, 255];
            let columns: Vec<usize> = (0..200)
                .filter(|&x| (0..200).any(|y| drawn(x, y)))
                .collect();
            let rows: Vec<usize> = (0..200)
                .filter(|&y| (0..200).any(|x| drawn(x, y)))
                .collect();
            let [left, top, right, bottom] = scene.objects[0].bounds().map(|v| v * 200.0);
            let drawn_box = [
                columns[0] as f64,
                rows[0] as f64,
                columns[columns.len() - 1] as f64 + 1.0,
                rows[rows.len() - 1] as f64 + 1.0,
            ];
            for (edge, wanted) in drawn_box.iter().zip([left, top, right, bottom]) {
                let off = (edge - wanted).abs();
                assert!(off < 0.06 * 160.0, "{shape:?}: {drawn_box:?} for {wanted}");
            }
        }
    }

    #[test]
    fn most_of_an_object_has_its_named_colour() {
        for shape in Shape::ALL {
            for color in Color::ALL {
                let image = draw(&alone(shape, color), 96);
                let mut counts = std::collections::BTreeMap::new();
                for y in 0..96 {
                    for x in 0..96 {
                        let rgb = pixel(&image, x, y);
                        if rgb != [255, 255, 255] {
                            *counts.entry(Color::nearest(rgb)).or_insert(0) += 1;
                        }
                    }
                }
                let total: usize = counts.values().sum();
                let own = counts.get(&color).copied().unwrap_or(0);
                assert!(own * 2 > total, "{shape:?} {color:?}: {counts:?}");
            }
        }
    }

    #[test]
    fn shapes_look_different_from_each_other() {
        let images: Vec<Rgb8> = Shape::ALL
            .iter()
            .map(|&s| draw(&alone(s, Color::Green), 64))
            .collect();
        for (i, a) in images.iter().enumerate() {
            for (j, b) in images.iter().enumerate().skip(i + 1) {
                let n_apart = (a.data.chunks(3).zip(b.data.chunks(3)))
                    .filter(|(p, q)| p != q)
                    .count();
                assert!(n_apart > 250, "{:?} {:?}", Shape::ALL[i], Shape::ALL[j]);
            }
        }
    }

    #[test]
    fn every_texture_changes_the_picture() {
        for texture in Texture::PATTERNS {
            let mut scene = alone(Shape::Circle, Color::Red);
            let plain = draw(&scene, 64);
            scene.objects[0].texture = texture;
            assert!(draw(&scene, 64).data != plain.data, "{texture:?}");
        }
    }
}

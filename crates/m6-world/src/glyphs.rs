//! The drawing of each shape, in its own unit square: the centre is (0, 0), x to the right, y down, and nothing leaves
//! [`Shape::extent`]. The body has the object's colour; wheels, trunks, leaves and windows have muted colours of their own
//! that are none of [`crate::Color`].

use std::f64::consts::{PI, TAU};

// From `libm`, not the platform, so that every machine draws the same bytes.
use libm::{cos, sin};

use crate::draw::Pen;
use crate::words::Shape;

/// Light inside of doors and windows.
const PANE: [u8; 3] = [246, 240, 222];
/// Trunk, mast, stem of an apple.
const WOOD: [u8; 3] = [122, 84, 56];
/// Stems and leaves.
const LEAF: [u8; 3] = [104, 136, 88];
/// Wheels.
const RUBBER: [u8; 3] = [92, 92, 98];
/// Hubs and window glass.
const GLASS: [u8; 3] = [216, 232, 240];
/// White of an eye.
const WHITE: [u8; 3] = [252, 252, 252];
/// Pupil of an eye.
const PUPIL: [u8; 3] = [40, 40, 44];

/// Draws one shape with the pen.
pub(crate) fn glyph(pen: &mut Pen<'_>, shape: Shape) {
    match shape {
        Shape::Circle => pen.body_circle(0.0, 0.0, 0.5),
        Shape::Square => pen.body_polygon(&corners(-0.5, -0.5, 0.5, 0.5)),
        Shape::Triangle => pen.body_polygon(&[(0.0, -0.45), (0.5, 0.45), (-0.5, 0.45)]),
        Shape::Star => pen.body_polygon(&star()),
        Shape::Heart => pen.body_polygon(&heart()),
        Shape::Cross => cross(pen),
        Shape::Ring => pen.body_ring(0.0, 0.0, 0.5, 0.27),
        Shape::House => house(pen),
        Shape::Tree => tree(pen),
        Shape::Car => car(pen),
        Shape::Fish => fish(pen),
        Shape::Flower => flower(pen),
        Shape::Cup => cup(pen),
        Shape::Boat => boat(pen),
        Shape::Sun => sun(pen),
        Shape::Apple => apple(pen),
    }
}

type Point = (f64, f64);

fn corners(left: f64, top: f64, right: f64, bottom: f64) -> [Point; 4] {
    [(left, top), (right, top), (right, bottom), (left, bottom)]
}

/// Five points, the first upward; a little fatter than the star of straight lines.
fn star() -> Vec<Point> {
    (0..10)
        .map(|i| {
            let radius = if i % 2 == 0 { 0.52 } else { 0.23 };
            let angle = PI * f64::from(i) / 5.0;
            (radius * sin(angle), 0.05 - radius * cos(angle))
        })
        .collect()
}

/// The heart curve x = 12 sin t - 4 sin 3t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, scaled into the unit square.
fn heart() -> Vec<Point> {
    (0..48)
        .map(|i| {
            let t = TAU * f64::from(i) / 48.0;
            let x = 12.0 * sin(t) - 4.0 * sin(3.0 * t);
            let y = 13.0 * cos(t) - 5.0 * cos(2.0 * t) - 2.0 * cos(3.0 * t) - cos(4.0 * t);
            (x / 32.4, -(y + 2.5) / 32.4)
        })
        .collect()
}

fn cross(pen: &mut Pen<'_>) {
    let (arm, half) = (0.5, 0.17);
    pen.body_polygon(&[
        (-half, -arm),
        (half, -arm),
        (half, -half),
        (arm, -half),
        (arm, half),
        (half, half),
        (half, arm),
        (-half, arm),
        (-half, half),
        (-arm, half),
        (-arm, -half),
        (-half, -half),
    ]);
}

fn house(pen: &mut Pen<'_>) {
    pen.body_polygon(&corners(-0.37, -0.1, 0.37, 0.5));
    pen.shade_polygon(&[(0.0, -0.5), (0.48, -0.06), (-0.48, -0.06)]);
    pen.polygon(&corners(-0.25, 0.1, -0.03, 0.5), PANE);
    pen.polygon(&corners(0.07, 0.06, 0.27, 0.26), PANE);
}

fn tree(pen: &mut Pen<'_>) {
    pen.polygon(&corners(-0.07, 0.05, 0.07, 0.5), WOOD);
    pen.body_circle(-0.17, -0.01, 0.23);
    pen.body_circle(0.17, -0.01, 0.23);
    pen.body_circle(0.0, -0.24, 0.26);
}

fn car(pen: &mut Pen<'_>) {
    pen.body_polygon(&[(-0.32, -0.04), (-0.2, -0.31), (0.16, -0.31), (0.3, -0.04)]);
    pen.body_polygon(&[
        (-0.5, -0.02),
        (-0.45, -0.08),
        (0.4, -0.08),
        (0.5, 0.0),
        (0.5, 0.19),
        (-0.5, 0.19),
    ]);
    pen.polygon(
        &[
            (-0.24, -0.08),
            (-0.16, -0.25),
            (-0.04, -0.25),
            (-0.04, -0.08),
        ],
        GLASS,
    );
    pen.polygon(
        &[(0.02, -0.08), (0.02, -0.25), (0.13, -0.25), (0.22, -0.08)],
        GLASS,
    );
    for x in [-0.27, 0.27] {
        pen.circle(x, 0.18, 0.125, RUBBER);
        pen.circle(x, 0.18, 0.05, GLASS);
    }
}

fn fish(pen: &mut Pen<'_>) {
    pen.body_polygon(&[(0.14, 0.0), (0.5, -0.27), (0.42, 0.0), (0.5, 0.27)]);
    pen.body_ellipse(-0.12, 0.0, 0.38, 0.29);
    pen.shade_polygon(&[(-0.06, 0.02), (0.12, -0.05), (0.12, 0.13)]);
    pen.circle(-0.31, -0.07, 0.07, WHITE);
    pen.circle(-0.32, -0.07, 0.036, PUPIL);
}

fn flower(pen: &mut Pen<'_>) {
    pen.polygon(&corners(-0.03, 0.0, 0.03, 0.5), LEAF);
    pen.polygon(
        &[(0.02, 0.42), (0.14, 0.22), (0.33, 0.18), (0.22, 0.36)],
        LEAF,
    );
    let (x, y) = (0.0, -0.15);
    for i in 0..5 {
        let angle = TAU * f64::from(i) / 5.0;
        pen.body_circle(x + 0.19 * sin(angle), y - 0.19 * cos(angle), 0.155);
    }
    pen.circle(x, y, 0.105, PANE);
}

fn cup(pen: &mut Pen<'_>) {
    pen.body_ring(0.22, -0.06, 0.28, 0.17);
    pen.body_polygon(&[(-0.5, -0.46), (0.26, -0.46), (0.18, 0.46), (-0.42, 0.46)]);
    pen.shade_polygon(&corners(-0.5, -0.48, 0.26, -0.38));
}

fn boat(pen: &mut Pen<'_>) {
    pen.polygon(&corners(-0.03, -0.46, 0.03, 0.18), WOOD);
    pen.tint_polygon(&[(0.06, -0.44), (0.44, 0.08), (0.06, 0.08)]);
    pen.tint_polygon(&[(-0.06, -0.32), (-0.06, 0.08), (-0.34, 0.08)]);
    pen.body_polygon(&[(-0.5, 0.14), (0.5, 0.14), (0.32, 0.46), (-0.32, 0.46)]);
}

fn sun(pen: &mut Pen<'_>) {
    for i in 0..8 {
        let angle = TAU * f64::from(i) / 8.0;
        let at = |radius: f64, turn: f64| {
            let a = angle + turn;
            (radius * sin(a), -radius * cos(a))
        };
        pen.body_polygon(&[at(0.34, -0.26), at(0.5, 0.0), at(0.34, 0.26)]);
    }
    pen.body_circle(0.0, 0.0, 0.28);
}

fn apple(pen: &mut Pen<'_>) {
    pen.body_ellipse(-0.15, 0.13, 0.28, 0.36);
    pen.body_ellipse(0.15, 0.13, 0.28, 0.36);
    pen.polygon(
        &[
            (-0.035, -0.36),
            (0.035, -0.38),
            (0.025, -0.08),
            (-0.025, -0.08),
        ],
        WOOD,
    );
    pen.polygon(
        &[(0.04, -0.26), (0.16, -0.44), (0.36, -0.46), (0.24, -0.28)],
        LEAF,
    );
}

//! The shapes and which points they hold.

use std::borrow::Cow;
use std::f64::consts::PI;

/// Inner to outer radius of a five-pointed star whose edges are straight through (a pentagram).
const STAR_INNER: f64 = 0.381_966_011_250_105_15;
/// Half the width of the heart curve at its widest.
const HEART_HALF_WIDTH: f64 = 1.139_028;
/// How far the middle of the heart curve's height lies above its origin.
const HEART_MIDDLE: f64 = 0.117_6;

/// A filled shape; lengths and coordinates in pixels, y downwards.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A disc.
    Circle {
        /// Centre, from the left.
        cx: f64,
        /// Centre, from the top.
        cy: f64,
        /// Radius.
        r: f64,
    },
    /// An upright ellipse.
    Ellipse {
        /// Centre, from the left.
        cx: f64,
        /// Centre, from the top.
        cy: f64,
        /// Half the width.
        rx: f64,
        /// Half the height.
        ry: f64,
    },
    /// An upright rectangle.
    Rect {
        /// Left edge.
        x: f64,
        /// Upper edge.
        y: f64,
        /// Width.
        width: f64,
        /// Height.
        height: f64,
    },
    /// Corners in order, closed; where edges cross, the even-odd rule holds.
    Polygon(Vec<[f64; 2]>),
    /// A star with one point upwards.
    Star {
        /// Centre, from the left.
        cx: f64,
        /// Centre, from the top.
        cy: f64,
        /// Radius of the points.
        r: f64,
        /// Number of points (five is usual; fewer than two draw nothing).
        n_points: usize,
    },
    /// A disc with a round hole.
    Ring {
        /// Centre, from the left.
        cx: f64,
        /// Centre, from the top.
        cy: f64,
        /// Outer radius.
        r: f64,
        /// Radius of the hole.
        inner: f64,
    },
    /// An upright cross with arms of equal length.
    Cross {
        /// Centre, from the left.
        cx: f64,
        /// Centre, from the top.
        cy: f64,
        /// From the centre to the end of an arm.
        r: f64,
        /// Width of the arms.
        thickness: f64,
    },
    /// A heart, 2 r wide and about as high, centred.
    Heart {
        /// Centre, from the left.
        cx: f64,
        /// Centre, from the top.
        cy: f64,
        /// Half the width.
        r: f64,
    },
    /// A line with round ends.
    Line {
        /// One end.
        from: [f64; 2],
        /// The other end.
        to: [f64; 2],
        /// Thickness.
        width: f64,
    },
}

impl Shape {
    /// A regular polygon with one corner upwards: triangle 3, diamond 4, hexagon 6.
    pub fn regular(cx: f64, cy: f64, r: f64, n_corners: usize) -> Self {
        Shape::Polygon(around(cx, cy, n_corners, |_| r))
    }

    /// The shape in the form that points are tested against.
    pub(super) fn region(&self) -> Region<'_> {
        let corners = match self {
            Shape::Polygon(corners) => Cow::Borrowed(&corners[..]),
            Shape::Star {
                cx,
                cy,
                r,
                n_points,
            } if *n_points >= 2 => {
                let radius = |corner: usize| {
                    if corner.is_multiple_of(2) {
                        *r
                    } else {
                        *r * STAR_INNER
                    }
                };
                Cow::Owned(around(*cx, *cy, 2 * n_points, radius))
            }
            _ => Cow::Borrowed(&[][..]),
        };
        Region {
            shape: self,
            corners,
        }
    }
}

/// Corners at equal angles, the first upwards, going clockwise.
fn around(cx: f64, cy: f64, n_corners: usize, radius: impl Fn(usize) -> f64) -> Vec<[f64; 2]> {
    let corner = |i: usize| {
        let angle = 2.0 * PI * i as f64 / n_corners as f64;
        [
            cx + radius(i) * libm::sin(angle),
            cy - radius(i) * libm::cos(angle),
        ]
    };
    (0..n_corners).map(corner).collect()
}

/// A shape ready for point tests.
pub(super) struct Region<'a> {
    shape: &'a Shape,
    corners: Cow<'a, [[f64; 2]]>,
}

impl Region<'_> {
    /// Left, top, right, bottom.
    pub(super) fn bounds(&self) -> [f64; 4] {
        let about = |cx: f64, cy: f64, rx: f64, ry: f64| [cx - rx, cy - ry, cx + rx, cy + ry];
        match *self.shape {
            Shape::Circle { cx, cy, r }
            | Shape::Ring { cx, cy, r, .. }
            | Shape::Cross { cx, cy, r, .. } => about(cx, cy, r, r),
            Shape::Ellipse { cx, cy, rx, ry } => about(cx, cy, rx, ry),
            Shape::Rect {
                x,
                y,
                width,
                height,
            } => [x, y, x + width, y + height],
            Shape::Heart { cx, cy, r } => about(cx, cy, r, r * 1.1),
            Shape::Line { from, to, width } => hull(&[from, to], width / 2.0),
            Shape::Polygon(_) | Shape::Star { .. } => hull(&self.corners, 0.0),
        }
    }

    /// Whether a point lies in the shape.
    pub(super) fn contains(&self, x: f64, y: f64) -> bool {
        match *self.shape {
            Shape::Circle { cx, cy, r } => square(x - cx) + square(y - cy) <= r * r,
            Shape::Ellipse { cx, cy, rx, ry } => {
                square((x - cx) / rx) + square((y - cy) / ry) <= 1.0
            }
            Shape::Rect {
                x: left,
                y: top,
                width,
                height,
            } => (left..left + width).contains(&x) && (top..top + height).contains(&y),
            Shape::Ring { cx, cy, r, inner } => {
                let distance = square(x - cx) + square(y - cy);
                distance <= r * r && distance >= inner * inner
            }
            Shape::Cross {
                cx,
                cy,
                r,
                thickness,
            } => {
                let (dx, dy) = ((x - cx).abs(), (y - cy).abs());
                dx.max(dy) <= r && dx.min(dy) <= thickness / 2.0
            }
            Shape::Heart { cx, cy, r } => in_heart((x - cx) / r, (cy - y) / r),
            Shape::Line { from, to, width } => {
                square_distance([x, y], from, to) <= square(width / 2.0)
            }
            Shape::Polygon(_) | Shape::Star { .. } => in_polygon(&self.corners, x, y),
        }
    }
}

fn square(value: f64) -> f64 {
    value * value
}

fn hull(points: &[[f64; 2]], margin: f64) -> [f64; 4] {
    let empty = [
        f64::INFINITY,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NEG_INFINITY,
    ];
    let [left, top, right, bottom] = points.iter().fold(empty, |hull, point| {
        [
            hull[0].min(point[0]),
            hull[1].min(point[1]),
            hull[2].max(point[0]),
            hull[3].max(point[1]),
        ]
    });
    [left - margin, top - margin, right + margin, bottom + margin]
}

/// The curve (x^2 + y^2 - 1)^3 = x^2 y^3, scaled to reach from -1 to 1 in x and centred in y.
fn in_heart(x: f64, y: f64) -> bool {
    let (x, y) = (x * HEART_HALF_WIDTH, y * HEART_HALF_WIDTH + HEART_MIDDLE);
    let round = x * x + y * y - 1.0;
    round * round * round <= x * x * y * y * y
}

fn square_distance(point: [f64; 2], from: [f64; 2], to: [f64; 2]) -> f64 {
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 {
        (((point[0] - from[0]) * dx + (point[1] - from[1]) * dy) / length).clamp(0.0, 1.0)
    } else {
        0.0
    };
    square(point[0] - from[0] - along * dx) + square(point[1] - from[1] - along * dy)
}

/// Counts how many edges a ray to the right crosses; every edge is taken from its upper end, so that two
/// polygons that share one leave neither a gap nor an overlap.
fn in_polygon(corners: &[[f64; 2]], x: f64, y: f64) -> bool {
    let mut is_inside = false;
    for (i, &corner) in corners.iter().enumerate() {
        let before = corners[(i + corners.len() - 1) % corners.len()];
        let (upper, lower) = if before[1] < corner[1] {
            (before, corner)
        } else {
            (corner, before)
        };
        if (upper[1] > y) == (lower[1] > y) {
            continue;
        }
        let along = (y - upper[1]) / (lower[1] - upper[1]);
        if x < upper[0] + along * (lower[0] - upper[0]) {
            is_inside = !is_inside;
        }
    }
    is_inside
}

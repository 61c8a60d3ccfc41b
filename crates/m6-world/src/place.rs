//! Where the objects of one group stand: cells inside the group's region, so that boxes never touch.

use m6_store::rng::Stream;

use crate::words::{Position, Shape};

/// Least distance between the boxes of two objects, as a share of the side (1.5 pixels at 64).
pub const MIN_GAP: f64 = 0.024;

/// Largest size of an object that is not alone in its group.
const MAX_SHARED_SIZE: f64 = 0.36;

/// Largest shift of an object from the middle of its cell.
const MAX_JITTER: f64 = 0.05;

/// Centre and size of one object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub x: f64,
    pub y: f64,
    pub size: f64,
}

/// A rectangle `[left, top, right, bottom]`.
type Rect = [f64; 4];

/// The part of the picture that belongs to a position; facing sides leave a gap between them.
fn region(position: Position) -> Rect {
    match position {
        Position::Left => [0.02, 0.02, 0.488, 0.98],
        Position::Right => [0.512, 0.02, 0.98, 0.98],
        Position::Top => [0.02, 0.02, 0.98, 0.488],
        Position::Bottom => [0.02, 0.512, 0.98, 0.98],
        Position::Center => [0.14, 0.14, 0.86, 0.86],
    }
}

/// Draws the places of `count` objects (1 to 4) of one shape at a position.
pub(crate) fn place(
    stream: &mut Stream,
    count: usize,
    position: Position,
    shape: Shape,
) -> Vec<Spot> {
    let region = region(position);
    if count == 1 {
        return vec![place_alone(stream, region, position, shape)];
    }
    let arrangement = draw_arrangement(stream, count, region, shape);
    let cells = cells(arrangement, region);
    let fit = fit(arrangement, region, shape);
    let shared = (fit * (0.92 + 0.08 * stream.f64())).min(MAX_SHARED_SIZE);
    cells
        .iter()
        .map(|&cell| {
            let size = shared * (0.95 + 0.05 * stream.f64());
            spot_in(stream, cell, size, shape)
        })
        .collect()
}

/// A single object: small, medium or large, near the middle of its region.
fn place_alone(stream: &mut Stream, region: Rect, position: Position, shape: Shape) -> Spot {
    let (low, high) = *stream.choose(&[(0.21, 0.25), (0.3, 0.36), (0.4, 0.45)]);
    let size = low + (high - low) * stream.f64();
    let mut cell = region;
    // Along its side an object keeps away from the corners, so that "left" does not also mean "top".
    match position {
        Position::Left | Position::Right => (cell[1], cell[3]) = (0.2, 0.8),
        Position::Top | Position::Bottom => (cell[0], cell[2]) = (0.2, 0.8),
        Position::Center => cell = [0.2, 0.2, 0.8, 0.8],
    }
    spot_in(stream, cell, size, shape)
}

/// How many objects stand in each row.
type Rows = &'static [usize];

/// One of the arrangements in which the objects become nearly as large as in the best.
fn draw_arrangement(stream: &mut Stream, count: usize, region: Rect, shape: Shape) -> Rows {
    let all: &[Rows] = match count {
        2 => &[&[2], &[1, 1]],
        3 => &[&[3], &[1, 1, 1], &[1, 2], &[2, 1]],
        _ => &[&[4], &[1, 1, 1, 1], &[2, 2]],
    };
    let best = all
        .iter()
        .map(|rows| fit(rows, region, shape))
        .fold(0.0, f64::max);
    let good: Vec<Rows> = all
        .iter()
        .copied()
        .filter(|rows| fit(rows, region, shape) >= 0.88 * best)
        .collect();
    good[stream.below(good.len() as u64) as usize]
}

/// Width and height of a cell of the arrangement.
fn cell_extent(rows: &[usize], region: Rect) -> (f64, f64) {
    let widest = rows.iter().copied().max().unwrap_or(1);
    let width = (region[2] - region[0]) / widest as f64;
    let height = (region[3] - region[1]) / rows.len() as f64;
    (width, height)
}

/// The largest size of a shape that stays inside a cell with half the gap on each side.
fn fit(rows: &[usize], region: Rect, shape: Shape) -> f64 {
    let (width, height) = cell_extent(rows, region);
    let (w, h) = shape.extent();
    ((width - MIN_GAP) / w).min((height - MIN_GAP) / h)
}

/// The cells row by row; a short row is centred.
fn cells(rows: &[usize], region: Rect) -> Vec<Rect> {
    let (width, height) = cell_extent(rows, region);
    let middle = (region[0] + region[2]) / 2.0;
    let mut cells = Vec::new();
    for (r, &n) in rows.iter().enumerate() {
        let top = region[1] + r as f64 * height;
        let first = middle - width * n as f64 / 2.0;
        for i in 0..n {
            let left = first + i as f64 * width;
            cells.push([left, top, left + width, top + height]);
        }
    }
    cells
}

/// A place inside the cell, shifted from its middle by a little, never over its edge.
fn spot_in(stream: &mut Stream, cell: Rect, size: f64, shape: Shape) -> Spot {
    let (w, h) = shape.extent();
    let mut shift = |low: f64, high: f64, extent: f64| {
        let slack = ((high - low - extent * size - MIN_GAP) / 2.0).clamp(0.0, MAX_JITTER);
        (low + high) / 2.0 + slack * (2.0 * stream.f64() - 1.0)
    };
    let x = shift(cell[0], cell[2], w);
    let y = shift(cell[1], cell[3], h);
    Spot { x, y, size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Split, World};

    fn distance(a: [f64; 4], b: [f64; 4]) -> f64 {
        let dx = (a[0] - b[2]).max(b[0] - a[2]);
        let dy = (a[1] - b[3]).max(b[1] - a[3]);
        dx.max(dy)
    }

    #[test]
    fn boxes_stay_inside_and_apart_and_on_their_side() {
        let world = World::new(5, 64);
        for split in [Split::Train, Split::HeldOut] {
            for index in 0..3000 {
                let scene = world.scene(split, index);
                for (i, a) in scene.objects.iter().enumerate() {
                    let [left, top, right, bottom] = a.bounds();
                    assert!(left > 0.0 && top > 0.0 && right < 1.0 && bottom < 1.0);
                    let inside = match scene.groups[a.group].position {
                        Position::Left => right < 0.5,
                        Position::Right => left > 0.5,
                        Position::Top => bottom < 0.5,
                        Position::Bottom => top > 0.5,
                        Position::Center => left > 0.13 && right < 0.87 && top > 0.13,
                    };
                    assert!(inside, "{a:?}");
                    for b in &scene.objects[i + 1..] {
                        let gap = distance(a.bounds(), b.bounds());
                        assert!(gap > MIN_GAP - 1e-9, "{gap}: {a:?} {b:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn objects_are_never_too_small_to_be_known() {
        let world = World::new(6, 64);
        for index in 0..3000 {
            for object in world.scene(Split::Train, index).objects {
                assert!(object.size >= 0.18, "{object:?}");
            }
        }
    }
}

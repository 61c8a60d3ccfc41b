//! Draws what a picture shows: which groups, where they stand, how large, on what ground. No pixels here.

use m6_store::rng::Stream;

use crate::Split;
use crate::place;
use crate::reserve::{
    held_out_pairs, held_out_placements, is_held_out_pair, is_held_out_placement,
};
use crate::scene::{Ground, Group, Object, Scene};
use crate::words::{Color, Position, Shape, Size, Texture};

/// Share of pictures with two groups.
const TWO_GROUPS: f64 = 0.5;

/// Share of held-out pictures that are new by their colour and shape; the others are new by count and position.
const NEW_BY_PAIR: f64 = 0.7;

/// Most objects in a picture with two groups, so that each stays large enough to be known.
const MAX_OBJECTS: usize = 5;

/// Smallest size whose body shows a pattern clearly at 64 pixels.
const PATTERN_MIN_SIZE: f64 = 0.28;

/// Levels by which a drawn colour may differ from its pure value.
const COLOR_JITTER: i64 = 9;

/// Light grounds; every object colour stands out from each of them.
const TINTS: [[u8; 3]; 8] = [
    [252, 252, 252],
    [252, 246, 228],
    [224, 238, 252],
    [230, 246, 228],
    [253, 234, 238],
    [226, 228, 232],
    [236, 230, 250],
    [240, 230, 212],
];

/// Draws the scene of one picture of the split.
pub(crate) fn compose(stream: &mut Stream, split: Split) -> Scene {
    let two = stream.bool(TWO_GROUPS);
    let new_by_pair = stream.bool(NEW_BY_PAIR);
    let (counts, position) = draw_placement(stream, two, split, !new_by_pair);
    let kinds = draw_kinds(stream, two, split, new_by_pair);
    let ground = draw_ground(stream);
    let mut scene = Scene {
        ground,
        groups: Vec::new(),
        objects: Vec::new(),
    };
    for (index, (&count, &(color, shape))) in counts.iter().zip(&kinds).enumerate() {
        let position = if index == 0 {
            position
        } else {
            position.opposite()
        };
        add_group(&mut scene, stream, count, position, color, shape);
    }
    scene
}

/// The count of each group and the position of the first. The first count is uniform over 1 to 4, which keeps number
/// answers balanced; training only redraws positions, never counts.
fn draw_placement(
    stream: &mut Stream,
    two: bool,
    split: Split,
    new_placement: bool,
) -> (Vec<usize>, Position) {
    let mut first = 1 + stream.below(4) as usize;
    let mut position = None;
    if split == Split::HeldOut && new_placement {
        let &(count, side) = stream.choose(held_out_placements());
        first = count;
        position = Some(side);
    }
    let mut counts = vec![first];
    if two {
        counts.push(1 + stream.below((MAX_OBJECTS - first) as u64) as usize);
    }
    let position = position.unwrap_or_else(|| draw_position(stream, &counts, split));
    (counts, position)
}

/// A position of the first group that the split allows for these counts. Two groups draw their axis first, so that
/// "left or right" stays as common as "above or below" although the reserved placements are not spread evenly.
fn draw_position(stream: &mut Stream, counts: &[usize], split: Split) -> Position {
    let [across, down] = [&Position::SIDES[..2], &Position::SIDES[2..]];
    let preferred: &[Position] = match (counts.len(), stream.bool(0.5)) {
        (1, _) => &Position::ALL,
        (_, true) => across,
        (_, false) => down,
    };
    let is_open = |p: &Position| {
        let reserved = is_held_out_placement(counts[0], *p)
            || (counts.len() == 2 && is_held_out_placement(counts[1], p.opposite()));
        split == Split::HeldOut || !reserved
    };
    let mut open: Vec<Position> = preferred.iter().copied().filter(is_open).collect();
    if open.is_empty() {
        open = Position::SIDES.into_iter().filter(is_open).collect();
    }
    *stream.choose(&open)
}

/// Colour and shape of each group; two groups have different shapes. A held-out picture new by its pair has one
/// reserved pair; all other pairs are of the open ones.
fn draw_kinds(
    stream: &mut Stream,
    two: bool,
    split: Split,
    new_by_pair: bool,
) -> Vec<(Color, Shape)> {
    let mut kinds = Vec::new();
    if split == Split::HeldOut && new_by_pair {
        kinds.push(*stream.choose(held_out_pairs()));
    } else {
        kinds.push(draw_open_pair(stream, None));
    }
    if two {
        let other = draw_open_pair(stream, Some(kinds[0].1));
        kinds.push(other);
        if stream.bool(0.5) {
            kinds.reverse();
        }
    }
    kinds
}

/// A pair that is not reserved, of a shape other than `except`: the shape uniform, then the colour uniform.
fn draw_open_pair(stream: &mut Stream, except: Option<Shape>) -> (Color, Shape) {
    let shapes: Vec<Shape> = Shape::ALL
        .into_iter()
        .filter(|&s| Some(s) != except)
        .collect();
    let shape = *stream.choose(&shapes);
    let colors: Vec<Color> = Color::ALL
        .into_iter()
        .filter(|&c| !is_held_out_pair(c, shape))
        .collect();
    (*stream.choose(&colors), shape)
}

/// One tint, or a gradient between two.
fn draw_ground(stream: &mut Stream) -> Ground {
    let top = *stream.choose(&TINTS);
    let bottom = if stream.bool(0.5) {
        *stream.choose(&TINTS)
    } else {
        top
    };
    Ground { top, bottom }
}

/// Places `count` equal objects and adds them with their group.
fn add_group(
    scene: &mut Scene,
    stream: &mut Stream,
    count: usize,
    position: Position,
    color: Color,
    shape: Shape,
) {
    let spots = place::place(stream, count, position, shape);
    let largest = spots.iter().map(|s| s.size).fold(0.0, f64::max);
    let smallest = spots.iter().map(|s| s.size).fold(1.0, f64::min);
    let texture = draw_texture(stream, shape, smallest);
    let rgb = color.rgb().map(|level| {
        let shift = stream.below(2 * COLOR_JITTER as u64 + 1) as i64 - COLOR_JITTER;
        (i64::from(level) + shift).clamp(0, 255) as u8
    });
    let group = scene.groups.len();
    scene.groups.push(Group {
        shape,
        color,
        texture,
        count,
        position,
        size: Size::of(largest),
    });
    for spot in spots {
        scene.objects.push(Object {
            shape,
            color,
            rgb,
            texture,
            x: spot.x,
            y: spot.y,
            size: spot.size,
            group,
        });
    }
}

/// Mostly plain; a pattern only where the body is broad enough to show it.
fn draw_texture(stream: &mut Stream, shape: Shape, size: f64) -> Texture {
    let patterned = stream.bool(0.4);
    let pattern = *stream.choose(&Texture::PATTERNS);
    let broad = matches!(
        shape,
        Shape::Circle
            | Shape::Square
            | Shape::Triangle
            | Shape::Heart
            | Shape::House
            | Shape::Tree
            | Shape::Fish
            | Shape::Cup
            | Shape::Apple
    );
    if patterned && broad && size >= PATTERN_MIN_SIZE {
        pattern
    } else {
        Texture::Solid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reserve::is_held_out;
    use crate::words::squared_distance;
    use m6_store::rng::Key;

    fn scenes(split: Split, n: u64) -> impl Iterator<Item = Scene> {
        let key = Key::new(11).child("compose");
        (0..n).map(move |i| compose(&mut key.at(i).stream(), split))
    }

    #[test]
    fn training_never_shows_a_reserved_combination() {
        assert!(scenes(Split::Train, 8000).all(|s| !is_held_out(&s)));
    }

    #[test]
    fn held_out_always_shows_one_and_reaches_all_of_them() {
        let mut pairs = std::collections::BTreeSet::new();
        let mut placed = std::collections::BTreeSet::new();
        for scene in scenes(Split::HeldOut, 8000) {
            assert!(is_held_out(&scene));
            pairs.extend(scene.objects.iter().map(|o| (o.color, o.shape)));
            placed.extend(scene.groups.iter().map(|g| (g.count, g.position)));
        }
        assert!(held_out_pairs().iter().all(|p| pairs.contains(p)));
        assert!(held_out_placements().iter().all(|p| placed.contains(p)));
    }

    #[test]
    fn training_reaches_every_open_pair_and_placement() {
        let mut pairs = std::collections::BTreeSet::new();
        let mut placed = std::collections::BTreeSet::new();
        for scene in scenes(Split::Train, 8000) {
            pairs.extend(scene.objects.iter().map(|o| (o.color, o.shape)));
            placed.extend(scene.groups.iter().map(|g| (g.count, g.position)));
        }
        assert_eq!(pairs.len(), 128 - held_out_pairs().len());
        assert_eq!(placed.len(), 20 - held_out_placements().len());
    }

    #[test]
    fn groups_agree_with_their_objects() {
        for scene in scenes(Split::Train, 2000) {
            assert!((1..=2).contains(&scene.groups.len()));
            for (i, group) in scene.groups.iter().enumerate() {
                let own: Vec<&Object> = scene.objects.iter().filter(|o| o.group == i).collect();
                assert_eq!(own.len(), group.count);
                assert_eq!(scene.count(group.shape), group.count);
                assert!(own.iter().all(|o| o.color == group.color
                    && o.shape == group.shape
                    && o.texture == group.texture));
            }
        }
    }

    #[test]
    fn every_colour_stands_out_from_every_ground() {
        for tint in TINTS {
            for color in Color::ALL {
                assert!(squared_distance(tint, color.rgb()) > 90 * 90);
            }
        }
    }
}

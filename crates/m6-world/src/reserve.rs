//! The combinations kept for [`crate::Split::HeldOut`]. The rule is keyed by a constant and not by the world's seed, so that
//! pictures drawn with any seed for training never show what pictures of another seed test (ours).

use std::sync::LazyLock;

use m6_store::rng::Key;

use crate::scene::Scene;
use crate::words::{Color, Position, Shape};

/// Keys the rule; changing it changes what every held-out split means.
const RESERVE_SEED: u64 = 20_210_301;

/// How many shapes reserve a second colour, which makes 19 of 128 pairs.
const N_SECOND: usize = 3;

struct Reserved {
    pairs: Vec<(Color, Shape)>,
    placed: Vec<(usize, Position)>,
}

static RESERVED: LazyLock<Reserved> = LazyLock::new(draw_rule);

/// Every shape reserves one colour, every colour is reserved by two shapes; three shapes reserve one colour more.
fn draw_rule() -> Reserved {
    let mut stream = Key::new(RESERVE_SEED).child("held-out").stream();
    let mut pairs = Vec::new();
    let mut shapes = Shape::ALL;
    stream.shuffle(&mut shapes);
    let mut colors = Color::ALL;
    stream.shuffle(&mut colors);
    for (i, &shape) in shapes.iter().enumerate() {
        pairs.push((colors[i % colors.len()], shape));
    }
    for (i, &shape) in shapes.iter().enumerate().take(N_SECOND) {
        pairs.push((colors[(i + N_SECOND) % colors.len()], shape));
    }
    pairs.sort();
    let mut sides = Position::SIDES;
    stream.shuffle(&mut sides);
    let placed = (2..=4).zip(sides).collect();
    Reserved { pairs, placed }
}

/// The reserved (colour, shape) pairs, about 15 % of all, sorted.
pub fn held_out_pairs() -> &'static [(Color, Shape)] {
    &RESERVED.pairs
}

/// The reserved (count, position) pairs: one side for each of two, three and four objects.
pub fn held_out_placements() -> &'static [(usize, Position)] {
    &RESERVED.placed
}

/// Whether pictures for training never show this shape in this colour.
pub fn is_held_out_pair(color: Color, shape: Shape) -> bool {
    held_out_pairs().contains(&(color, shape))
}

/// Whether pictures for training never show so many objects of a kind at this place.
pub fn is_held_out_placement(count: usize, position: Position) -> bool {
    held_out_placements().contains(&(count, position))
}

/// Whether the scene shows any reserved combination: false for every training picture, true for every held-out one.
pub fn is_held_out(scene: &Scene) -> bool {
    let pair = scene
        .objects
        .iter()
        .any(|o| is_held_out_pair(o.color, o.shape));
    let placed = scene
        .groups
        .iter()
        .any(|g| is_held_out_placement(g.count, g.position));
    pair || placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_reserves_about_fifteen_percent_evenly() {
        let share = held_out_pairs().len() as f64 / 128.0;
        assert!((0.13..0.17).contains(&share), "{share}");
        for shape in Shape::ALL {
            let n = held_out_pairs().iter().filter(|p| p.1 == shape).count();
            assert!((1..=2).contains(&n), "{shape:?} reserves {n}");
        }
        for color in Color::ALL {
            let n = held_out_pairs().iter().filter(|p| p.0 == color).count();
            assert!((2..=3).contains(&n), "{color:?} is reserved {n} times");
        }
        let mut unique = held_out_pairs().to_vec();
        unique.dedup();
        assert_eq!(unique.len(), held_out_pairs().len());
    }

    #[test]
    fn every_count_keeps_positions_for_training() {
        assert_eq!(held_out_placements().len(), 3);
        for count in 1..=4 {
            let open = Position::ALL
                .iter()
                .filter(|&&p| !is_held_out_placement(count, p))
                .count();
            assert!(open >= 4);
        }
    }
}

//! Names for levels: the nearest colour, tints of patterns included, and the vote of a region's pixels.

use std::sync::LazyLock;

use super::ground::energy;
use super::regions::Cutout;
use crate::draw;
use crate::words::Color;

/// Farthest from a colour or its tints that a pixel still votes for it, in levels.
const REACH: f32 = 70.0;
/// Pixels nearer to the ground than this share of the region's strength do not vote: they are edge.
const CORE: f32 = 0.4;
/// What a whole step from the colour to its light tint costs, in levels, so that pink is pink and not light red.
const TINT_COST: f32 = 15.0;
/// Share of the voting pixels that a colour needs.
const MAJORITY: f32 = 0.4;

/// A colour with the tints between it and the light colour of its patterns.
pub(super) struct Tints {
    color: Color,
    /// The colour itself.
    pub dark: [f32; 3],
    /// From the colour to the lightest tint.
    pub way: [f32; 3],
    way_energy: f32,
}

/// All colours, in the order of [`Color::ALL`].
static ALL: LazyLock<[Tints; Color::ALL.len()]> = LazyLock::new(|| Color::ALL.map(Tints::new));

impl Tints {
    fn new(color: Color) -> Self {
        let dark = color.rgb().map(f32::from);
        let way = dark.map(|level| (255.0 - level) * draw::PATTERN_LIGHT as f32);
        Tints {
            color,
            dark,
            way,
            way_energy: energy(way),
        }
    }

    /// The tints of one colour.
    pub(super) fn of(color: Color) -> &'static Self {
        // Its position in the declaration is its position in `Color::ALL`.
        &ALL[color as usize]
    }

    /// Squared distance of a colour from this one, or from its nearest tint.
    fn distance(&self, rgb: [f32; 3], has_tints: bool) -> f32 {
        let off: [f32; 3] = std::array::from_fn(|c| rgb[c] - self.dark[c]);
        if !has_tints {
            return energy(off);
        }
        let along = self.way[0] * off[0] + self.way[1] * off[1] + self.way[2] * off[2];
        let share = (along / self.way_energy).clamp(0.0, 1.0);
        let cost = (TINT_COST * share).powi(2);
        energy(std::array::from_fn(|c| off[c] - share * self.way[c])) + cost
    }
}

/// The nearest colour and its squared distance; with `has_tints` also by its tints.
pub(super) fn nearest(rgb: [f32; 3], has_tints: bool) -> (Color, f32) {
    let mut best = (Color::Black, f32::INFINITY);
    for tints in ALL.iter() {
        let distance = tints.distance(rgb, has_tints);
        if distance < best.1 {
            best = (tints.color, distance);
        }
    }
    best
}

/// The colour that most pixels of the region's core are nearest to; none when no colour has enough of them.
pub(super) fn vote(cutout: &Cutout) -> Option<Color> {
    let limit = CORE * cutout.strength;
    let mut votes = [0u32; Color::ALL.len()];
    let mut n_core = 0u32;
    for d in &cutout.difference {
        if energy(*d) < limit * limit {
            continue;
        }
        n_core += 1;
        let pixel = std::array::from_fn(|c| d[c] + cutout.ground[c]);
        let (color, distance) = nearest(pixel, true);
        if distance <= REACH * REACH {
            votes[color as usize] += 1;
        }
    }
    let (color, n) = (Color::ALL.into_iter().zip(votes)).max_by_key(|v| v.1)?;
    (n > 0 && n as f32 >= MAJORITY * n_core as f32).then_some(color)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_their_tints_are_known_by_name() {
        for color in Color::ALL {
            let tints = Tints::of(color);
            assert_eq!(tints.color, color);
            assert_eq!(nearest(tints.dark, false), (color, 0.0));
            for share in [0.0, 0.3, 0.5, 0.7] {
                let tint = std::array::from_fn(|c| tints.dark[c] + share * tints.way[c]);
                assert_eq!(nearest(tint, true).0, color, "{share}");
            }
        }
    }
}

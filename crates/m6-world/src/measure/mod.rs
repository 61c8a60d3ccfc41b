//! Reads a picture of the sample world by its pixels alone: which objects it shows, in which colours, how many of a kind,
//! and where (ours). Made for scoring pictures that a model drew, so it works on soft and noisy pixels too.
//!
//! The ground is a straight line of colour through the border pixels. What differs from it falls into connected regions;
//! each region is explained as one drawn object, or cut where several touch. The explanation is the shape, colour and
//! place whose prediction takes most of the region's energy away; below [`MIN_SCORE`] the shape stays unknown.

mod colors;
mod fit;
mod ground;
mod judge;
mod regions;
mod split;
mod templates;

use m6_image::Rgb8;
use serde::{Deserialize, Serialize};

use crate::scene::Scene;
use crate::words::{Color, Position, Shape};
use ground::Field;
use split::Part;

pub use judge::{Accuracy, GroupJudgement, Judgement, Wanted, judge, judge_measured, wanted};

/// Least score at which an object's shape counts as known.
pub const MIN_SCORE: f64 = 0.85;

/// A picture of a longer side is made smaller first; this many pixels show all there is.
const MAX_SIDE: usize = 128;
/// What differs less from the ground, in levels, shows none of the named colours, but a stain of the ground.
const MIN_STRENGTH: f32 = 55.0;
/// How far the middle of a centred group may be from the middle of the picture, each way, as a share of the side.
const CENTER_REACH: f64 = 0.1;
/// How far a group may reach over the middle line and still stand on one side, as a share of the side: two pixels at 64.
const SIDE_SLACK: f64 = 0.03;

/// One object read from the pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoundObject {
    /// The shape that explains it best; none when even that explains too little ([`MIN_SCORE`]).
    pub shape: Option<Shape>,
    /// The colour of its body; none when the shape is unknown and no colour has enough of the pixels.
    pub color: Option<Color>,
    /// Its box `[left, top, right, bottom]` in shares of the picture's width and height, 0 to 1.
    pub bounds: [f64; 4],
    /// How many pixels it has (of the picture made smaller, where it was).
    pub n_pixels: usize,
    /// Share of its energy that is explained by the best shape, less the costs of a wrong aspect and length: 1 is
    /// perfect, an object drawn by [`crate::draw`] has more than 0.9, noise has about 0 or less.
    pub score: f64,
}

/// All found objects of one shape and one colour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoundGroup {
    /// Their shape; unknown shapes of a colour are one group.
    pub shape: Option<Shape>,
    /// Their colour.
    pub color: Option<Color>,
    /// How many they are, from 1.
    pub count: usize,
    /// The box around all of them, in shares as in [`FoundObject::bounds`].
    pub bounds: [f64; 4],
    /// Where that box stands, see [`position_of`].
    pub position: Option<Position>,
}

/// What a picture shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Every object, region by region.
    pub objects: Vec<FoundObject>,
    /// The objects by shape and colour, in the order of their first object.
    pub groups: Vec<FoundGroup>,
}

impl Measured {
    /// The objects with their groups.
    pub fn new(objects: Vec<FoundObject>) -> Self {
        let mut groups: Vec<FoundGroup> = Vec::new();
        for object in &objects {
            let same = |g: &&mut FoundGroup| (g.shape, g.color) == (object.shape, object.color);
            if let Some(group) = groups.iter_mut().find(same) {
                group.count += 1;
                group.bounds = union(group.bounds, object.bounds);
            } else {
                groups.push(FoundGroup {
                    shape: object.shape,
                    color: object.color,
                    count: 1,
                    bounds: object.bounds,
                    position: None,
                });
            }
        }
        for group in &mut groups {
            group.position = position_of(group.bounds);
        }
        Measured { objects, groups }
    }

    /// What a perfect measurement of the scene's picture says; judged against other scenes it gives the level of
    /// chance. `n_pixels` is not known and 0.
    pub fn of_scene(scene: &Scene) -> Self {
        let object = |o: &crate::Object| FoundObject {
            shape: Some(o.shape),
            color: Some(o.color),
            bounds: o.bounds(),
            n_pixels: 0,
            score: 1.0,
        };
        Measured::new(scene.objects.iter().map(object).collect())
    }
}

/// Where a group stands, by the box around all its objects (shares of the side): in the centre when the middle of the box
/// is within 0.1 of the picture's middle both ways; else on the side whose half of the picture holds the whole box (0.03
/// over the middle line is allowed), and of two such sides on the one the box is farther out on; else nowhere.
pub fn position_of([left, top, right, bottom]: [f64; 4]) -> Option<Position> {
    let (dx, dy) = ((left + right) / 2.0 - 0.5, (top + bottom) / 2.0 - 0.5);
    if dx.abs() <= CENTER_REACH && dy.abs() <= CENTER_REACH {
        return Some(Position::Center);
    }
    let (low, high) = (0.5 - SIDE_SLACK, 0.5 + SIDE_SLACK);
    let sides = [
        (right <= high, -dx, Position::Left),
        (left >= low, dx, Position::Right),
        (bottom <= high, -dy, Position::Top),
        (top >= low, dy, Position::Bottom),
    ];
    (sides.into_iter())
        .filter(|side| side.0)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|side| side.2)
}

/// Reads a picture of any size. Nothing is found where there is nothing but ground, where the bytes do not fit the size,
/// and where there are no pixels.
pub fn measure(image: &Rgb8) -> Measured {
    let n_bytes = image.width.checked_mul(image.height);
    let n_bytes = n_bytes.and_then(|n| n.checked_mul(3));
    if image.data.is_empty() || n_bytes != Some(image.data.len()) {
        return Measured::default();
    }
    let longer = image.width.max(image.height);
    if longer > MAX_SIDE {
        let reduced = |side: usize| (side * MAX_SIDE / longer).max(1);
        let small = m6_image::resize(image, reduced(image.width), reduced(image.height));
        return measure(&small);
    }
    let field = Field::of(image);
    let objects = (split::objects(&field).iter())
        .filter(|part| part.cutout.strength >= MIN_STRENGTH)
        .map(|part| found(&field, part))
        .collect();
    Measured::new(objects)
}

fn found(field: &Field, part: &Part) -> FoundObject {
    let score = f64::from(part.fit.score);
    let is_known = score >= MIN_SCORE;
    let (width, height) = (field.width as f64, field.height as f64);
    let [left, top, right, bottom] = part.fit.bounds.map(f64::from);
    FoundObject {
        shape: is_known.then_some(part.fit.shape),
        color: if is_known {
            Some(part.fit.color)
        } else {
            colors::vote(&part.cutout)
        },
        bounds: [left / width, top / height, right / width, bottom / height]
            .map(|share| share.clamp(0.0, 1.0)),
        n_pixels: part.cutout.n_pixels,
        score,
    }
}

fn union(a: [f64; 4], b: [f64; 4]) -> [f64; 4] {
    [
        a[0].min(b[0]),
        a[1].min(b[1]),
        a[2].max(b[2]),
        a[3].max(b[3]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Split, World};

    #[test]
    fn every_group_of_every_scene_stands_where_it_was_placed() {
        let world = World::new(51, 64);
        for split in [Split::Train, Split::HeldOut] {
            for index in 0..3000 {
                let scene = world.scene(split, index);
                let measured = Measured::of_scene(&scene);
                assert_eq!(measured.groups.len(), scene.groups.len());
                for (found, truth) in measured.groups.iter().zip(&scene.groups) {
                    assert_eq!(found.position, Some(truth.position), "{found:?}");
                    assert_eq!(found.count, truth.count);
                }
            }
        }
    }

    #[test]
    fn a_box_over_the_middle_and_off_the_centre_stands_nowhere() {
        assert_eq!(position_of([0.1, 0.1, 0.9, 0.95]), Some(Position::Center));
        assert_eq!(position_of([0.3, 0.3, 0.58, 0.58]), Some(Position::Center));
        assert_eq!(position_of([0.2, 0.2, 0.56, 0.56]), None);
        assert_eq!(position_of([0.1, 0.3, 0.52, 0.7]), Some(Position::Left));
        assert_eq!(position_of([0.7, 0.2, 0.9, 0.4]), Some(Position::Right));
        assert_eq!(position_of([0.6, 0.05, 0.8, 0.2]), Some(Position::Top));
        assert_eq!(position_of([0.1, 0.6, 0.9, 0.9]), Some(Position::Bottom));
    }

    #[test]
    fn bytes_that_do_not_fit_the_size_show_nothing() {
        let image = Rgb8 {
            width: 8,
            height: 8,
            data: vec![7; 100],
        };
        assert_eq!(measure(&image), Measured::default());
        assert_eq!(measure(&Rgb8::filled(0, 9, [1; 3])), Measured::default());
    }
}

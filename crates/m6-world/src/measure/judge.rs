//! A picture against the scene that a prompt describes. The first of a picture's captions is such a prompt: it says count,
//! colour, shape and position of every group.

use m6_image::Rgb8;
use serde::{Deserialize, Serialize};

use super::{FoundGroup, Measured, measure};
use crate::scene::Scene;
use crate::words::{Color, Position, Shape};

/// What agreements weigh in the assignment: each more than all after it together, and colour least, so that no group is
/// chosen for its colour where anything else can decide.
const WEIGHTS: [u32; 4] = [8, 4, 2, 1];

/// Most wanted groups for which every assignment is tried.
const MAX_TRIED: usize = 3;

/// A group that a prompt asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// What its objects are.
    pub shape: Shape,
    /// Their colour.
    pub color: Color,
    /// How many they are.
    pub count: usize,
    /// Where they stand.
    pub position: Position,
}

/// The groups that a complete prompt of the scene asks for.
pub fn wanted(scene: &Scene) -> Vec<Wanted> {
    let group = |g: &crate::Group| Wanted {
        shape: g.shape,
        color: g.color,
        count: g.count,
        position: g.position,
    };
    scene.groups.iter().map(group).collect()
}

/// What is right about one wanted group. All is wrong when no found group is left for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupJudgement {
    /// Its objects are of the wanted shape.
    pub shape: bool,
    /// Its objects have the wanted colour.
    pub color: bool,
    /// Its objects are exactly as many as wanted.
    pub count: bool,
    /// It stands at the wanted position and at no other ([`super::position_of`]).
    pub position: bool,
}

impl GroupJudgement {
    /// Whether everything about the group is right.
    pub fn all(&self) -> bool {
        self.shape && self.color && self.count && self.position
    }

    fn of(wanted: &Wanted, found: &FoundGroup) -> Self {
        GroupJudgement {
            shape: found.shape == Some(wanted.shape),
            color: found.color == Some(wanted.color),
            count: found.count == wanted.count,
            position: found.position == Some(wanted.position),
        }
    }

    fn weight(&self) -> u32 {
        [self.shape, self.position, self.count, self.color]
            .iter()
            .zip(WEIGHTS)
            .map(|(&is_right, weight)| u32::from(is_right) * weight)
            .sum()
    }
}

/// What is right about one picture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Each wanted group, in the order of the scene.
    pub groups: Vec<GroupJudgement>,
    /// Found groups that nobody asked for: they were assigned to no wanted group.
    pub n_extra: usize,
    /// Everything about every wanted group is right, and there is nothing else in the picture.
    pub all: bool,
}

/// Measures the picture and judges it against the scene, see [`judge_measured`].
pub fn judge(image: &Rgb8, scene: &Scene) -> Judgement {
    judge_measured(&measure(image), &wanted(scene))
}

/// Judges what was measured against what was wanted.
///
/// A found group is all objects of one shape and colour. Each wanted group is assigned at most one found group, no found
/// group twice, and as many as there are. Of all such assignments the one with the greatest sum of weights is taken: shape
/// 8, position 4, count 2, colour 1 for each agreement; the first of equals. So the group of the wanted shape is taken
/// where there is one; otherwise the group at the wanted position, and otherwise any, so that colour, count and position
/// are judged without the shape as well. Colour decides only between groups that are alike in everything else.
///
/// Two red circles and a blue one are two groups: where three red circles were wanted, shape and colour are right and the
/// count is not.
pub fn judge_measured(measured: &Measured, wanted: &[Wanted]) -> Judgement {
    let pairs: Vec<Vec<GroupJudgement>> = wanted
        .iter()
        .map(|w| {
            (measured.groups.iter())
                .map(|found| GroupJudgement::of(w, found))
                .collect()
        })
        .collect();
    let n_found = measured.groups.len();
    let (_, chosen) = assign(&pairs, &mut vec![false; n_found]);
    let groups: Vec<GroupJudgement> = chosen
        .iter()
        .zip(&pairs)
        .map(|(found, row)| found.map_or_else(GroupJudgement::default, |f| row[f]))
        .collect();
    let n_extra = n_found - chosen.iter().flatten().count();
    Judgement {
        all: n_extra == 0 && groups.iter().all(GroupJudgement::all),
        groups,
        n_extra,
    }
}

/// The found group of each row, of those not yet taken, with the greatest sum of weights, and that sum. Tries everything:
/// scenes have one or two groups. Past [`MAX_TRIED`] rows each takes its own best.
fn assign(rows: &[Vec<GroupJudgement>], taken: &mut [bool]) -> (u32, Vec<Option<usize>>) {
    let Some((row, rest)) = rows.split_first() else {
        return (0, Vec::new());
    };
    let mut free: Vec<usize> = (0..row.len()).filter(|&f| !taken[f]).collect();
    if rows.len() > MAX_TRIED {
        free.sort_by_key(|&f| std::cmp::Reverse(row[f].weight()));
        free.truncate(1);
    }
    let mut best = (0, vec![None; rows.len()]);
    for found in free {
        taken[found] = true;
        let (weight, mut chosen) = assign(rest, taken);
        taken[found] = false;
        let weight = weight + row[found].weight();
        // Even a group that agrees in nothing is taken rather than none.
        if weight > best.0 || best.1[0].is_none() {
            chosen.insert(0, Some(found));
            best = (weight, chosen);
        }
    }
    best
}

/// Sums over judged pictures. Shape, colour, count and position are shares of the wanted groups, `all` of the pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Pictures.
    pub n: usize,
    /// Wanted groups.
    pub n_groups: usize,
    n_shape: usize,
    n_color: usize,
    n_count: usize,
    n_position: usize,
    n_all: usize,
}

impl Accuracy {
    /// Adds one picture.
    pub fn add(&mut self, judgement: &Judgement) {
        let count = |is_right: fn(&GroupJudgement) -> bool| {
            judgement.groups.iter().filter(|g| is_right(g)).count()
        };
        self.n += 1;
        self.n_groups += judgement.groups.len();
        self.n_shape += count(|g| g.shape);
        self.n_color += count(|g| g.color);
        self.n_count += count(|g| g.count);
        self.n_position += count(|g| g.position);
        self.n_all += usize::from(judgement.all);
    }

    /// Share of wanted groups of which the shape is right, 0 to 1; 0 before the first picture, as all shares.
    pub fn shape(&self) -> f64 {
        share(self.n_shape, self.n_groups)
    }

    /// Share of wanted groups in the right colour.
    pub fn color(&self) -> f64 {
        share(self.n_color, self.n_groups)
    }

    /// Share of wanted groups with the right number of objects.
    pub fn count(&self) -> f64 {
        share(self.n_count, self.n_groups)
    }

    /// Share of wanted groups at the right place.
    pub fn position(&self) -> f64 {
        share(self.n_position, self.n_groups)
    }

    /// Share of pictures in which everything is right and nothing else is shown.
    pub fn all(&self) -> f64 {
        share(self.n_all, self.n)
    }
}

impl std::fmt::Display for Accuracy {
    /// The shares in percent: `shape 99.8 colour 100.0 count 99.9 position 100.0 all 99.6 (n 600)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "shape {:5.1} colour {:5.1} count {:5.1} position {:5.1} all {:5.1} (n {})",
            100.0 * self.shape(),
            100.0 * self.color(),
            100.0 * self.count(),
            100.0 * self.position(),
            100.0 * self.all(),
            self.n
        )
    }
}

fn share(n: usize, of: usize) -> f64 {
    if of == 0 { 0.0 } else { n as f64 / of as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::FoundObject;

    const LEFT: [f64; 4] = [0.1, 0.4, 0.3, 0.6];
    const RIGHT: [f64; 4] = [0.7, 0.4, 0.9, 0.6];

    fn object(shape: Shape, color: Color, bounds: [f64; 4]) -> FoundObject {
        FoundObject {
            shape: Some(shape),
            color: Some(color),
            bounds,
            n_pixels: 100,
            score: 1.0,
        }
    }

    fn want(shape: Shape, color: Color, count: usize, position: Position) -> Wanted {
        Wanted {
            shape,
            color,
            count,
            position,
        }
    }

    fn verdict(objects: Vec<FoundObject>, wanted: &[Wanted]) -> (Vec<[bool; 4]>, usize, bool) {
        let judgement = judge_measured(&Measured::new(objects), wanted);
        let groups = (judgement.groups.iter())
            .map(|g| [g.shape, g.color, g.count, g.position])
            .collect();
        (groups, judgement.n_extra, judgement.all)
    }

    #[test]
    fn a_picture_of_all_that_is_wanted_and_nothing_else_is_all_right() {
        let wanted = [
            want(Shape::Star, Color::Red, 1, Position::Left),
            want(Shape::Fish, Color::Blue, 1, Position::Right),
        ];
        let star = object(Shape::Star, Color::Red, LEFT);
        let fish = object(Shape::Fish, Color::Blue, RIGHT);
        let right = vec![[true; 4]; 2];
        let shown = vec![fish.clone(), star.clone()];
        assert_eq!(verdict(shown, &wanted), (right.clone(), 0, true));
        let extra = object(Shape::Sun, Color::Pink, LEFT);
        let shown = vec![star, fish, extra];
        assert_eq!(verdict(shown, &wanted), (right, 1, false));
    }

    #[test]
    fn one_wrong_attribute_is_one_wrong_attribute() {
        let wanted = [want(Shape::Star, Color::Red, 1, Position::Left)];
        let cases = [
            (
                object(Shape::Sun, Color::Red, LEFT),
                [false, true, true, true],
            ),
            (
                object(Shape::Star, Color::Blue, LEFT),
                [true, false, true, true],
            ),
            (
                object(Shape::Star, Color::Red, RIGHT),
                [true, true, true, false],
            ),
        ];
        for (shown, expected) in cases {
            assert_eq!(verdict(vec![shown], &wanted), (vec![expected], 0, false));
        }
        let two = vec![object(Shape::Star, Color::Red, LEFT); 2];
        let expected = vec![[true, true, false, true]];
        assert_eq!(verdict(two, &wanted), (expected, 0, false));
    }

    #[test]
    fn an_exchange_of_two_colours_is_two_wrong_colours() {
        let wanted = [
            want(Shape::Star, Color::Red, 1, Position::Left),
            want(Shape::Fish, Color::Blue, 1, Position::Right),
        ];
        let shown = vec![
            object(Shape::Star, Color::Blue, LEFT),
            object(Shape::Fish, Color::Red, RIGHT),
        ];
        let expected = vec![[true, false, true, true]; 2];
        assert_eq!(verdict(shown, &wanted), (expected, 0, false));
    }

    #[test]
    fn without_the_shape_the_group_at_the_place_is_judged_not_the_one_of_the_colour() {
        let wanted = [want(Shape::Star, Color::Red, 1, Position::Left)];
        let shown = vec![
            object(Shape::Circle, Color::Red, RIGHT),
            object(Shape::Circle, Color::Blue, LEFT),
        ];
        let expected = vec![[false, false, true, true]];
        assert_eq!(verdict(shown, &wanted), (expected, 1, false));
    }

    #[test]
    fn an_empty_picture_has_nothing_right() {
        let wanted = [want(Shape::Star, Color::Red, 1, Position::Left)];
        assert_eq!(verdict(vec![], &wanted), (vec![[false; 4]], 0, false));
    }

    #[test]
    fn many_wanted_groups_are_still_assigned() {
        let wanted: Vec<Wanted> = Shape::ALL
            .iter()
            .map(|&s| want(s, Color::Red, 1, Position::Left))
            .collect();
        let shown = Shape::ALL
            .iter()
            .map(|&s| object(s, Color::Red, LEFT))
            .collect();
        assert!(verdict(shown, &wanted).2);
    }

    #[test]
    fn shares_are_of_groups_and_of_pictures() {
        let mut accuracy = Accuracy::default();
        assert_eq!((accuracy.shape(), accuracy.all()), (0.0, 0.0));
        let right = GroupJudgement {
            shape: true,
            color: true,
            count: true,
            position: true,
        };
        accuracy.add(&Judgement {
            groups: vec![right],
            n_extra: 0,
            all: true,
        });
        accuracy.add(&Judgement {
            groups: vec![
                right,
                GroupJudgement {
                    shape: false,
                    ..right
                },
                right,
            ],
            n_extra: 0,
            all: false,
        });
        assert_eq!((accuracy.n, accuracy.n_groups), (2, 4));
        assert_eq!(
            (accuracy.shape(), accuracy.color(), accuracy.all()),
            (0.75, 1.0, 0.5)
        );
    }
}

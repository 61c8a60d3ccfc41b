//! Question-answer pairs of the paper's four types (paper section 4.2). Answers are balanced so that
//! a model that does not see the picture stays near chance (ours).

use m6_store::rng::Stream;
use serde::{Deserialize, Serialize};

use crate::reserve::is_held_out_pair;
use crate::scene::{Group, Scene};
use crate::words::{Color, Shape, numeral};

/// The type of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QaKind {
    /// Is it there, what is it.
    Detection,
    /// On which side, what is beside it.
    Relation,
    /// Which colour.
    Color,
    /// How many.
    Number,
}

impl QaKind {
    /// The four kinds in the paper's order.
    pub const ALL: [QaKind; 4] = [
        QaKind::Detection,
        QaKind::Relation,
        QaKind::Color,
        QaKind::Number,
    ];

    /// The name it serialises to: `detection`, `relation`, `color`, `number`.
    pub fn name(self) -> &'static str {
        match self {
            QaKind::Detection => "detection",
            QaKind::Relation => "relation",
            QaKind::Color => "color",
            QaKind::Number => "number",
        }
    }
}

/// A question that only the picture answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Qa {
    /// The question, ending in ？.
    pub question: String,
    /// One word: 是 or 否, a shape, a side, a colour, or a numeral.
    pub answer: String,
    /// Its type.
    pub kind: QaKind,
}

impl Qa {
    fn new(kind: QaKind, question: String, answer: &str) -> Self {
        Qa {
            question,
            answer: answer.to_string(),
            kind,
        }
    }
}

/// Draws six to nine questions about the scene, at least one of each kind.
pub(crate) fn questions(stream: &mut Stream, scene: &Scene) -> Vec<Qa> {
    let mut all = presence(stream, scene).to_vec();
    all.extend(coloured_presence(stream, scene));
    match scene.groups.as_slice() {
        [a, b] => all.extend(relations(stream, a, b)),
        groups => all.extend(alone(stream, &groups[0])),
    }
    for group in &scene.groups {
        all.push(color(stream, group));
    }
    // Only the first group is asked for its number: its count alone is uniform (see `compose`).
    all.push(number(stream, &scene.groups[0]));
    all
}

/// One shape that is there and one that is not: both uniform over shapes, so each question is yes as often as no.
fn presence(stream: &mut Stream, scene: &Scene) -> [Qa; 2] {
    let shown = stream.choose(&scene.groups).shape;
    let absent: Vec<Shape> = Shape::ALL
        .into_iter()
        .filter(|&s| scene.count(s) == 0)
        .collect();
    let other = *stream.choose(&absent);
    [(shown, "是"), (other, "否")].map(|(shape, answer)| {
        let place = stream.choose(&["图里", "图中", "画面里"]);
        let question = format!("{place}有{}吗？", shape.name());
        Qa::new(QaKind::Detection, question, answer)
    })
}

/// A coloured shape that is there, or one that is not but shares its shape or its colour with one that is.
fn coloured_presence(stream: &mut Stream, scene: &Scene) -> Option<Qa> {
    let group = stream.choose(&scene.groups);
    let yes = stream.bool(0.5);
    let (color, shape) = if yes {
        (group.color, group.shape)
    } else {
        near_miss(stream, scene, group)?
    };
    let place = stream.choose(&["图里", "图中", "画面里"]);
    let question = format!("{place}有{}的{}吗？", color.name(), shape.name());
    let answer = if yes { "是" } else { "否" };
    Some(Qa::new(QaKind::Detection, question, answer))
}

/// A pair that the picture does not show. It is reserved exactly if the group's pair is: otherwise a model could
/// answer by whether it ever met the combination.
fn near_miss(stream: &mut Stream, scene: &Scene, group: &Group) -> Option<(Color, Shape)> {
    let reserved = is_held_out_pair(group.color, group.shape);
    let mut near = Vec::new();
    let mut far = Vec::new();
    for shape in Shape::ALL {
        for color in Color::ALL {
            if scene.shows(shape, color) || is_held_out_pair(color, shape) != reserved {
                continue;
            }
            far.push((color, shape));
            if shape == group.shape || color == group.color {
                near.push((color, shape));
            }
        }
    }
    if near.is_empty() {
        near = far;
    }
    if near.is_empty() {
        return None;
    }
    // Same shape and same colour have the same share, although there are more shapes than colours.
    let same_shape: Vec<_> = near
        .iter()
        .copied()
        .filter(|p| p.1 == group.shape)
        .collect();
    if !same_shape.is_empty() && stream.bool(0.5) {
        return Some(*stream.choose(&same_shape));
    }
    Some(*stream.choose(&near))
}

/// Two groups: on which side, asked in one direction, and what stands there, asked in the other.
fn relations(stream: &mut Stream, a: &Group, b: &Group) -> [Qa; 2] {
    let (a, b) = if stream.bool(0.5) { (a, b) } else { (b, a) };
    let (name_a, name_b) = (a.shape.name(), b.shape.name());
    let which = *stream.choose(&["哪边", "哪一边"]);
    let side = format!("{name_a}在{name_b}的{which}？");
    let what = if stream.bool(0.5) {
        format!("{name_a}的{}是什么？", b.position.name())
    } else {
        format!("图的{}是什么？", b.position.name())
    };
    [
        Qa::new(QaKind::Relation, side, a.position.name()),
        Qa::new(QaKind::Relation, what, name_b),
    ]
}

/// One group: what it is, and where in the picture.
fn alone(stream: &mut Stream, group: &Group) -> [Qa; 2] {
    let name = group.shape.name();
    let what = *stream.choose(&["图里是什么？", "这是什么？", "图中的东西是什么？"]);
    let which = *stream.choose(&["哪边", "哪一边"]);
    let side = format!("{name}在图的{which}？");
    [
        Qa::new(QaKind::Detection, what.to_string(), name),
        Qa::new(QaKind::Relation, side, group.position.name()),
    ]
}

fn color(stream: &mut Stream, group: &Group) -> Qa {
    let name = group.shape.name();
    let question = match stream.below(3) {
        0 => format!("{name}是什么颜色？"),
        1 => format!("{name}的颜色是什么？"),
        _ => format!("图里的{name}是什么颜色？"),
    };
    Qa::new(QaKind::Color, question, group.color.name())
}

fn number(stream: &mut Stream, group: &Group) -> Qa {
    let (measure, name) = (group.shape.measure(), group.shape.name());
    let question = match stream.below(3) {
        0 => format!("图里有几{measure}{name}？"),
        1 => format!("一共有几{measure}{name}？"),
        _ => format!("{name}有几{measure}？"),
    };
    Qa::new(QaKind::Number, question, numeral(group.count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Position;
    use crate::{Split, World};
    use std::collections::BTreeMap;

    const N: u64 = 6000;

    fn all(split: Split) -> Vec<(Scene, Qa)> {
        let world = World::new(21, 64);
        (0..N)
            .flat_map(|i| {
                let scene = world.scene(split, i);
                let qa = world.questions(split, i);
                qa.into_iter().map(move |q| (scene.clone(), q))
            })
            .collect()
    }

    fn answers(items: &[(Scene, Qa)], kind: QaKind, part: &str) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (_, qa) in items {
            if qa.kind == kind && qa.question.contains(part) {
                *counts.entry(qa.answer.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// Every answer's share lies within `slack` of an equal share.
    fn check_balanced(counts: &BTreeMap<String, usize>, n_answers: usize, slack: f64) {
        assert_eq!(counts.len(), n_answers, "{counts:?}");
        let total: usize = counts.values().sum();
        for (answer, &n) in counts {
            let ratio = n as f64 * n_answers as f64 / total as f64;
            let near = (1.0 - slack..1.0 + slack).contains(&ratio);
            assert!(near, "{answer}: {ratio:.3} of an equal share in {counts:?}");
        }
    }

    /// Mean centre of a shape's objects.
    fn centre(scene: &Scene, shape: Shape) -> (f64, f64) {
        let n = scene.count(shape) as f64;
        let own = || scene.objects.iter().filter(|o| o.shape == shape);
        (
            own().map(|o| o.x).sum::<f64>() / n,
            own().map(|o| o.y).sum::<f64>() / n,
        )
    }

    /// The side of a point as seen from another; the larger distance decides.
    fn side_of((x, y): (f64, f64), (from_x, from_y): (f64, f64)) -> Position {
        let (dx, dy) = (x - from_x, y - from_y);
        match (dx.abs() > dy.abs(), dx > 0.0, dy > 0.0) {
            (true, false, _) => Position::Left,
            (true, true, _) => Position::Right,
            (false, _, false) => Position::Top,
            (false, _, true) => Position::Bottom,
        }
    }

    fn named(question: &str) -> Vec<Shape> {
        let mut found: Vec<(usize, Shape)> = Shape::ALL
            .into_iter()
            .filter_map(|s| question.find(s.name()).map(|at| (at, s)))
            .collect();
        found.sort();
        found.into_iter().map(|f| f.1).collect()
    }

    #[test]
    fn answers_follow_from_the_objects_alone() {
        for (scene, qa) in all(Split::Train).into_iter().chain(all(Split::HeldOut)) {
            let shapes = named(&qa.question);
            let color = Color::ALL
                .into_iter()
                .find(|c| qa.question.contains(c.name()));
            let objects = &scene.objects;
            let truth = match (qa.kind, shapes.as_slice()) {
                (QaKind::Detection, [shape]) => {
                    let seen = objects
                        .iter()
                        .any(|o| o.shape == *shape && color.is_none_or(|c| o.color == c));
                    if seen { "是" } else { "否" }
                }
                (QaKind::Detection, _) => objects[0].shape.name(),
                (QaKind::Color, [shape]) => {
                    let own = objects.iter().find(|o| o.shape == *shape);
                    own.unwrap().color.name()
                }
                (QaKind::Number, [shape]) => numeral(scene.count(*shape)),
                (QaKind::Relation, [a, b]) => {
                    side_of(centre(&scene, *a), centre(&scene, *b)).name()
                }
                (QaKind::Relation, [shape]) if qa.question.contains("哪") => {
                    let (x, y) = centre(&scene, *shape);
                    if (x - 0.5).abs().max((y - 0.5).abs()) < 0.13 {
                        Position::Center.name()
                    } else {
                        side_of((x, y), (0.5, 0.5)).name()
                    }
                }
                (QaKind::Relation, _) => {
                    let other = objects.iter().map(|o| o.shape).find(|&s| {
                        s.name() == qa.answer && {
                            let side = side_of(centre(&scene, s), (0.5, 0.5));
                            qa.question.contains(side.name())
                        }
                    });
                    other.map_or("", |s| s.name())
                }
                other => panic!("{other:?} in {qa:?}"),
            };
            assert_eq!(qa.answer, truth, "{} {scene:?}", qa.question);
        }
    }

    #[test]
    fn answers_are_balanced_in_training() {
        let items = all(Split::Train);
        check_balanced(&answers(&items, QaKind::Detection, "吗"), 2, 0.05);
        check_balanced(&answers(&items, QaKind::Detection, "什么"), 16, 0.3);
        check_balanced(&answers(&items, QaKind::Number, ""), 4, 0.1);
        check_balanced(&answers(&items, QaKind::Color, ""), 8, 0.2);
        check_balanced(&answers(&items, QaKind::Relation, "在图的哪"), 5, 0.25);
        let sides: Vec<(Scene, Qa)> = items
            .into_iter()
            .filter(|(s, _)| s.groups.len() == 2)
            .collect();
        check_balanced(&answers(&sides, QaKind::Relation, "哪"), 4, 0.15);
    }

    #[test]
    fn answers_stay_near_balance_on_held_out_combinations() {
        let items = all(Split::HeldOut);
        check_balanced(&answers(&items, QaKind::Detection, "吗"), 2, 0.05);
        check_balanced(&answers(&items, QaKind::Number, ""), 4, 0.35);
        check_balanced(&answers(&items, QaKind::Color, ""), 8, 0.4);
    }

    #[test]
    fn every_picture_asks_every_kind() {
        let world = World::new(22, 64);
        for index in 0..1000 {
            let qa = world.questions(Split::Train, index);
            assert!((6..=9).contains(&qa.len()), "{}", qa.len());
            for kind in QaKind::ALL {
                assert!(qa.iter().any(|q| q.kind == kind));
            }
        }
    }

    /// The best a model can do without pictures: learn the commonest answer of each question, and answer with it.
    fn blind_accuracy(learn: &[(Scene, Qa)], test: &[(Scene, Qa)], kind: QaKind) -> f64 {
        let mut seen: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for (_, qa) in learn.iter().filter(|(_, q)| q.kind == kind) {
            let counts = seen.entry(&qa.question).or_default();
            *counts.entry(&qa.answer).or_default() += 1;
        }
        let (mut right, mut total) = (0, 0);
        for (_, qa) in test.iter().filter(|(_, q)| q.kind == kind) {
            let best = seen
                .get(qa.question.as_str())
                .and_then(|counts| counts.iter().max_by_key(|c| c.1))
                .map(|c| *c.0);
            right += usize::from(best == Some(qa.answer.as_str()));
            total += 1;
        }
        f64::from(right as u32) / f64::from(total as u32)
    }

    #[test]
    fn a_blind_model_stays_near_chance() {
        let train = all(Split::Train);
        let (learn, test) = train.split_at(train.len() * 3 / 4);
        let held_out = all(Split::HeldOut);
        for (kind, limit) in [
            (QaKind::Detection, 0.5),
            (QaKind::Relation, 0.3),
            (QaKind::Color, 0.2),
            (QaKind::Number, 0.32),
        ] {
            for (name, test) in [("train", test), ("held out", held_out.as_slice())] {
                let accuracy = blind_accuracy(learn, test, kind);
                assert!(accuracy < limit, "{kind:?} on {name}: {accuracy:.3}");
            }
        }
    }

    #[test]
    fn kinds_serialise_by_the_names_of_the_paper() {
        for kind in QaKind::ALL {
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(text, format!("\"{}\"", kind.name()));
        }
    }
}

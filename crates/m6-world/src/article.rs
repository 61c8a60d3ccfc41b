//! Encyclopedia-like paragraphs: what is known about a thing, a colour, a number, a place, or two things side by side.

use m6_store::rng::Stream;
use serde::{Deserialize, Serialize};

use crate::facts::{Facts, MIXTURES, color_facts, facts, n_corners};
use crate::words::{Color, Position, Shape, counting, numeral};

/// An entry of the world's encyclopedia.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Article {
    /// The entry's name.
    pub title: String,
    /// What it is about: `thing`, `color`, `number`, `place` or `comparison`.
    pub topic: String,
    /// Whole sentences, each ending in 。
    pub sentences: Vec<String>,
}

impl Article {
    /// The paragraph without its title.
    pub fn text(&self) -> String {
        self.sentences.concat()
    }
}

/// Draws one article.
pub(crate) fn article(stream: &mut Stream) -> Article {
    let (title, topic, drafted) = match stream.below(20) {
        0..9 => thing(stream),
        9..13 => comparison(stream),
        13..16 => color(stream),
        16..18 => number(stream),
        _ => place(stream),
    };
    let mut sentences: Vec<String> = Vec::new();
    for sentence in drafted {
        // Two things may share a fact: apples grow on trees.
        if !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    Article {
        title,
        topic: topic.to_string(),
        sentences,
    }
}

type Draft = (String, &'static str, Vec<String>);

/// `n` of the sentences in a drawn order.
fn some(stream: &mut Stream, sentences: &[&str], n: usize) -> Vec<String> {
    let mut all: Vec<String> = sentences.iter().map(|s| s.to_string()).collect();
    stream.shuffle(&mut all);
    all.truncate(n);
    all
}

fn thing(stream: &mut Stream) -> Draft {
    let shape = *stream.choose(&Shape::ALL);
    let known = facts(shape);
    let name = shape.name();
    let mut sentences = vec![define(stream, name, &known)];
    sentences.extend(some(stream, known.look, 2));
    let n_life = 1 + stream.below(2) as usize;
    sentences.extend(some(stream, known.life, n_life));
    if !known.colors.is_empty() {
        sentences.push(usual_color(stream, name, known.colors));
    }
    match stream.below(3) {
        0 => sentences.push(format!("画{name}的时候，{}", known.drawing)),
        1 => sentences.push(counted(stream, shape)),
        _ => {}
    }
    (name.to_string(), "thing", sentences)
}

fn define(stream: &mut Stream, name: &str, known: &Facts) -> String {
    let category = known.category;
    match stream.below(4) {
        0 => format!("{name}是一种{category}。"),
        1 => format!("{name}是一种常见的{category}。"),
        2 => format!("大家都认识{name}，它是一种{category}。"),
        _ => format!("在{category}里，{name}很常见。"),
    }
}

/// The usual colours, the commonest first, and that pictures need not keep to them.
fn usual_color(stream: &mut Stream, name: &str, colors: &[Color]) -> String {
    let names: Vec<&str> = colors.iter().map(|c| c.name()).collect();
    let usual = match names.as_slice() {
        [one] => format!("{name}通常是{one}的"),
        [first, others @ ..] => format!("{name}通常是{first}的，也有{}的", others.join("的和")),
        [] => format!("{name}有各种颜色"),
    };
    if stream.bool(0.5) {
        format!("{usual}。")
    } else {
        format!("{usual}，画里的{name}什么颜色都可以有。")
    }
}

/// Which measure word goes with the shape.
fn counted(stream: &mut Stream, shape: Shape) -> String {
    let n = counting(1 + stream.below(4) as usize);
    let (measure, name) = (shape.measure(), shape.name());
    format!("数{name}的时候，我们说“{n}{measure}{name}”。")
}

fn comparison(stream: &mut Stream) -> Draft {
    let mut pair = Shape::ALL;
    stream.shuffle(&mut pair);
    let (a, b) = (pair[0], pair[1]);
    let (known_a, known_b) = (facts(a), facts(b));
    let (name_a, name_b) = (a.name(), b.name());
    let mut sentences = Vec::new();
    if known_a.category == known_b.category {
        let category = known_a.category;
        sentences.push(format!(
            "{name_a}和{name_b}都是{category}，可是它们不一样。"
        ));
    } else {
        sentences.push(format!(
            "{name_a}是一种{}，{name_b}是一种{}。",
            known_a.category, known_b.category
        ));
    }
    sentences.extend(some(stream, known_a.look, 1));
    sentences.extend(some(stream, known_b.look, 1));
    if stream.bool(0.6) {
        sentences.extend(some(stream, known_a.life, 1));
        sentences.extend(some(stream, known_b.life, 1));
    }
    if let (Some(n_a), Some(n_b)) = (n_corners(a), n_corners(b)) {
        sentences.push(match n_a.cmp(&n_b) {
            std::cmp::Ordering::Less => format!("{name_b}的角比{name_a}多。"),
            std::cmp::Ordering::Greater => format!("{name_a}的角比{name_b}多。"),
            std::cmp::Ordering::Equal => format!("{name_a}和{name_b}的角一样多。"),
        });
    }
    (format!("{name_a}和{name_b}"), "comparison", sentences)
}

fn color(stream: &mut Stream) -> Draft {
    let color = *stream.choose(&Color::ALL);
    let name = color.name();
    let mut sentences = vec![match stream.below(3) {
        0 => format!("{name}是一种颜色。"),
        1 => format!("{name}是常见的颜色。"),
        _ => format!("很多人喜欢{name}。"),
    }];
    sentences.extend(some(stream, color_facts(color), 2));
    for [a, b, mixed] in MIXTURES {
        if color == mixed {
            sentences.push(format!("{}加{}，就成了{name}。", a.name(), b.name()));
        } else if (color == a || color == b) && stream.bool(0.6) {
            let other = if color == a { b } else { a };
            sentences.push(format!(
                "{name}和{}放在一起，会变成{}。",
                other.name(),
                mixed.name()
            ));
        }
    }
    let usual: Vec<&str> = Shape::things()
        .iter()
        .filter(|&&s| facts(s).colors.contains(&color))
        .map(|s| s.name())
        .collect();
    if !usual.is_empty() && stream.bool(0.7) {
        sentences.push(format!("常见的{name}东西有{}。", usual.join("和")));
    }
    (name.to_string(), "color", sentences)
}

fn number(stream: &mut Stream) -> Draft {
    let n = 1 + stream.below(5) as usize;
    let title = numeral(n).to_string();
    let shape = *stream.choose(Shape::things());
    let (measure, name) = (shape.measure(), shape.name());
    let mut sentences = vec![if n == 1 {
        "数数从一开始。".to_string()
    } else {
        format!("{}比{}多一。", numeral(n), numeral(n - 1))
    }];
    sentences.push(format!("{}加一等于{}。", numeral(n), numeral(n + 1)));
    sentences.push(format!(
        "{}{measure}{name}再来一{measure}，就是{}{measure}{name}。",
        counting(n),
        counting(n + 1)
    ));
    for figure in Shape::figures() {
        if n_corners(*figure) == Some(n) {
            sentences.push(format!("{}有{}个角。", figure.name(), counting(n)));
        }
    }
    if n == 2 {
        sentences.push("“二”在数东西的时候说成“两”。".to_string());
    }
    (title, "number", sentences)
}

fn place(stream: &mut Stream) -> Draft {
    let side = *stream.choose(&Position::SIDES);
    let (here, there) = (side.name(), side.opposite().name());
    let mut pair = Shape::ALL;
    stream.shuffle(&mut pair);
    let (a, b) = (pair[0].name(), pair[1].name());
    let mut sentences = vec![match stream.below(2) {
        0 => format!("{here}和{there}是相反的。"),
        _ => format!("{here}的对面是{there}。"),
    }];
    sentences.push(format!("如果{a}在{b}的{here}，那么{b}就在{a}的{there}。"));
    sentences.push(match stream.below(3) {
        0 => format!("{here}也可以说成{}。", side.names()[1]),
        1 => format!("一张图有左边、右边、上边和下边，{here}是其中一边。"),
        _ => format!("从{here}走到{there}，要经过中间。"),
    });
    (here.to_string(), "place", sentences)
}

#[cfg(test)]
mod tests {
    use crate::World;
    use std::collections::BTreeSet;

    #[test]
    fn articles_are_paragraphs_of_whole_sentences() {
        let world = World::new(1, 64);
        for index in 0..2000 {
            let article = world.article_page(index);
            assert!((3..=8).contains(&article.sentences.len()), "{article:?}");
            assert!(article.sentences.iter().all(|s| s.ends_with('。')));
            let n_unique = article.sentences.iter().collect::<BTreeSet<_>>().len();
            assert_eq!(n_unique, article.sentences.len(), "{article:?}");
            assert_eq!(world.article(index), article.text());
        }
    }

    #[test]
    fn articles_vary_and_reach_every_topic() {
        let world = World::new(2, 64);
        let mut texts = BTreeSet::new();
        let mut topics = BTreeSet::new();
        for index in 0..2000 {
            let article = world.article_page(index);
            texts.insert(article.text());
            topics.insert(article.topic);
        }
        assert_eq!(topics.len(), 5);
        assert!(texts.len() > 1400, "{}", texts.len());
    }

    #[test]
    fn known_truths_are_told_as_they_are() {
        let world = World::new(3, 64);
        let all: String = (0..3000).map(|i| world.article(i)).collect();
        for truth in [
            "圆形没有角。",
            "三角形有三个角。",
            "红色加黄色，就成了橙色。",
            "苹果通常是红色的，也有绿色的",
            "方形的角比三角形多。",
        ] {
            assert!(all.contains(truth), "{truth}");
        }
        for lie in ["三角形的角比方形多", "圆形的角比", "树通常是红色"] {
            assert!(!all.contains(lie), "{lie}");
        }
    }
}

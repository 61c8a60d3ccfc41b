//! Forum-like threads: somebody asks about the world, somebody answers.

use m6_store::rng::Stream;
use serde::{Deserialize, Serialize};

use crate::facts::{MIXTURES, facts, n_corners};
use crate::words::{Color, Position, Shape, counting, numeral};

/// One thread of the world's forum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// The question as a headline, ending in ？.
    pub title: String,
    /// The question as it was posted, with its greeting.
    pub question: String,
    /// One to three answers, the best first.
    pub answers: Vec<String>,
}

/// Draws one thread.
pub(crate) fn thread(stream: &mut Stream) -> Thread {
    let (title, answer) = match stream.below(16) {
        0..3 => how_to_draw(stream),
        3..6 => what_kind(stream),
        6..8 => corners(stream),
        8..10 => mixture(stream),
        10..13 => sum(stream),
        13 => measure(stream),
        14 => place(stream),
        _ => looks(stream),
    };
    let question = greet(stream, &title);
    let best = polish(stream, &answer);
    let mut answers = vec![best];
    let echoes = [
        "同意楼上。",
        "学到了，谢谢。",
        "我也是这样想的。",
        "楼上说得对。",
    ];
    if stream.bool(0.4) {
        answers.push(stream.choose(&echoes).to_string());
    }
    Thread {
        title,
        question,
        answers,
    }
}

fn greet(stream: &mut Stream, title: &str) -> String {
    let before = *stream.choose(&["", "", "请问", "大家好，请问", "想问一下，", "孩子问我，"]);
    let after = *stream.choose(&["", "", "谢谢！", "谢谢大家。", "在线等。"]);
    format!("{before}{title}{after}")
}

fn polish(stream: &mut Stream, answer: &str) -> String {
    let before = *stream.choose(&["", "", "", "这个我知道。", "这个问题很简单。"]);
    let after = *stream.choose(&["", "", "", "希望能帮到你。", "不用谢。"]);
    format!("{before}{answer}{after}")
}

fn how_to_draw(stream: &mut Stream) -> (String, String) {
    let shape = *stream.choose(&Shape::ALL);
    let name = shape.name();
    let color = stream.choose(&Color::ALL).name();
    let drawing = facts(shape).drawing;
    match stream.below(3) {
        0 => (format!("怎么画{name}？"), drawing.to_string()),
        1 => (
            format!("怎么画一{}{color}的{name}？", shape.measure()),
            format!("{drawing}颜色用{color}就可以了。"),
        ),
        _ => (
            format!("画{name}要先画什么？"),
            format!("画{name}的时候，{drawing}"),
        ),
    }
}

fn what_kind(stream: &mut Stream) -> (String, String) {
    let shape = *stream.choose(&Shape::ALL);
    let name = shape.name();
    let known = facts(shape);
    let look = *stream.choose(known.look);
    let life = *stream.choose(known.life);
    let category = known.category;
    match stream.below(3) {
        0 => (
            format!("{name}是什么？"),
            format!("{name}是一种{category}。{look}"),
        ),
        1 => (
            format!("{name}是{category}吗？"),
            format!("是的，{name}是一种{category}。{life}"),
        ),
        _ => {
            let other = facts(*stream.choose(&Shape::ALL)).category;
            let answer = if other == category {
                format!("是的，{name}是一种{category}。{look}")
            } else {
                format!("不是，{name}是一种{category}。{look}")
            };
            (format!("{name}是不是{other}？"), answer)
        }
    }
}

fn corners(stream: &mut Stream) -> (String, String) {
    let known: Vec<(Shape, usize)> = Shape::ALL
        .into_iter()
        .filter_map(|s| n_corners(s).map(|n| (s, n)))
        .collect();
    let &(shape, n) = stream.choose(&known);
    let name = shape.name();
    let look = *stream.choose(facts(shape).look);
    let question = *stream.choose(&["有几个角", "一共有多少个角", "到底有几个角"]);
    let answer = if n == 0 {
        format!("{name}没有角。")
    } else {
        format!("{name}有{}个角。", counting(n))
    };
    let answer = if look == answer {
        answer
    } else {
        answer + look
    };
    (format!("{name}{question}？"), answer)
}

fn mixture(stream: &mut Stream) -> (String, String) {
    let [a, b, mixed] = *stream.choose(&MIXTURES);
    let (mut a, mut b) = (a.name(), b.name());
    if stream.bool(0.5) {
        std::mem::swap(&mut a, &mut b);
    }
    let mixed = mixed.name();
    match stream.below(3) {
        0 => (
            format!("{a}加{b}是什么颜色？"),
            format!("{a}加{b}是{mixed}。"),
        ),
        1 => (
            format!("怎么得到{mixed}？"),
            format!("把{a}和{b}放在一起，就成了{mixed}。"),
        ),
        _ => (
            format!("没有{mixed}怎么办？"),
            format!("可以用{a}加{b}，会变成{mixed}。"),
        ),
    }
}

fn sum(stream: &mut Stream) -> (String, String) {
    let shape = *stream.choose(Shape::things());
    let (measure, name) = (shape.measure(), shape.name());
    let (a, b) = (1 + stream.below(4) as usize, 1 + stream.below(4) as usize);
    let (n_a, n_b) = (counting(a), counting(b));
    if stream.bool(0.5) {
        (
            format!("左边有{n_a}{measure}{name}，右边有{n_b}{measure}，一共有几{measure}？"),
            format!(
                "{}加{}等于{}，一共有{}{measure}{name}。",
                numeral(a),
                numeral(b),
                numeral(a + b),
                counting(a + b)
            ),
        )
    } else {
        let all = counting(a + b);
        (
            format!("本来有{all}{measure}{name}，拿走{n_b}{measure}，还有几{measure}？"),
            format!(
                "{}减{}等于{}，还有{n_a}{measure}。",
                numeral(a + b),
                numeral(b),
                numeral(a)
            ),
        )
    }
}

fn measure(stream: &mut Stream) -> (String, String) {
    let shape = *stream.choose(&Shape::ALL);
    let (measure, name) = (shape.measure(), shape.name());
    let n = counting(2 + stream.below(3) as usize);
    (
        format!("数{name}用什么量词？"),
        format!("用“{measure}”，比如“{n}{measure}{name}”。"),
    )
}

fn place(stream: &mut Stream) -> (String, String) {
    let side = *stream.choose(&Position::SIDES);
    let (here, there) = (side.name(), side.opposite().name());
    let mut pair = Shape::ALL;
    stream.shuffle(&mut pair);
    let (a, b) = (pair[0].name(), pair[1].name());
    (
        format!("{a}在{b}的{here}，那么{b}在{a}的哪边？"),
        format!("{b}在{a}的{there}，因为{here}和{there}是相反的。"),
    )
}

fn looks(stream: &mut Stream) -> (String, String) {
    let mut pair = Shape::ALL;
    stream.shuffle(&mut pair);
    let (a, b) = (pair[0], pair[1]);
    let (look_a, look_b) = (*stream.choose(facts(a).look), *stream.choose(facts(b).look));
    (
        format!("{}和{}有什么不一样？", a.name(), b.name()),
        format!("{look_a}{look_b}"),
    )
}

#[cfg(test)]
mod tests {
    use crate::World;
    use std::collections::BTreeSet;

    #[test]
    fn every_thread_has_a_question_and_an_answer() {
        let world = World::new(1, 64);
        let mut questions = BTreeSet::new();
        for index in 0..2000 {
            let thread = world.forum_thread(index);
            assert!(thread.title.ends_with('？'), "{thread:?}");
            assert!(thread.question.contains(&thread.title));
            assert!((1..=3).contains(&thread.answers.len()));
            assert!(thread.answers.iter().all(|a| a.ends_with('。')));
            let (question, answer) = world.forum(index);
            assert_eq!((&question, &answer), (&thread.question, &thread.answers[0]));
            questions.insert(question);
        }
        assert!(questions.len() > 1200, "{}", questions.len());
    }

    #[test]
    fn sums_are_right() {
        let world = World::new(2, 64);
        let mut n_seen = 0;
        for index in 0..3000 {
            let (_, answer) = world.forum(index);
            for (a, b, c) in [("一", "三", "四"), ("二", "二", "四"), ("四", "三", "七")] {
                let wanted = format!("{a}加{b}等于{c}");
                let said = answer.contains(&format!("{a}加{b}等于"));
                n_seen += usize::from(said);
                assert!(!said || answer.contains(&wanted), "{answer}");
            }
        }
        assert!(n_seen > 20);
    }
}

//! What is known about the things of the world. Sentences agree with how the pictures are drawn.

use crate::words::{Color, Shape};

/// Knowledge about one shape. Every sentence is whole and ends in 。
pub(crate) struct Facts {
    /// What kind of thing it is, as in 苹果是一种水果.
    pub category: &'static str,
    /// How it looks.
    pub look: &'static [&'static str],
    /// Where it is found, what it is for.
    pub life: &'static [&'static str],
    /// How to draw it.
    pub drawing: &'static str,
    /// Its usual colours, for those that have them.
    pub colors: &'static [Color],
}

/// The knowledge about a shape.
pub(crate) fn facts(shape: Shape) -> Facts {
    figure_facts(shape)
        .or_else(|| thing_facts(shape))
        .unwrap_or_else(|| nature_facts(shape))
}

fn figure_facts(shape: Shape) -> Option<Facts> {
    let (look, life): (&[&str], &[&str]) = match shape {
        Shape::Circle => (
            &[
                "圆形没有角。",
                "圆形的边是弯的。",
                "圆形从中间到边上都一样远。",
            ],
            &[
                "汽车的轮子是圆形的。",
                "太阳的中间也是圆形。",
                "圆形放在地上会滚。",
            ],
        ),
        Shape::Square => (
            &["方形有四个角。", "方形的四条边一样长。", "方形的边是直的。"],
            &["窗户常常是方形的。", "方形的积木可以放得很稳。"],
        ),
        Shape::Triangle => (
            &[
                "三角形有三个角。",
                "三角形有三条边。",
                "三角形上面尖，下面平。",
            ],
            &["房子的屋顶像三角形。", "船上的帆也像三角形。"],
        ),
        Shape::Star => (
            &["星形有五个角。", "星形的角是尖的。", "星形看上去像在发光。"],
            &["晚上天上的星星常画成星形。", "星形的贴纸可以奖给孩子。"],
        ),
        Shape::Heart => (
            &[
                "心形下面是尖的。",
                "心形上面有两个圆圆的弯。",
                "心形左边和右边一样。",
            ],
            &["心形表示爱。", "送礼的时候常常用心形。"],
        ),
        Shape::Cross => (
            &[
                "十字形由一横和一竖组成。",
                "十字形的四头一样长。",
                "十字形的角都是直角。",
            ],
            &["医院的门上常常有十字形。", "两条路相交，就像十字形。"],
        ),
        Shape::Ring => (
            &[
                "圆环中间是空的。",
                "圆环外面是圆的，里面也是圆的。",
                "圆环没有角。",
            ],
            &["救生圈像圆环。", "圆环可以挂在墙上。"],
        ),
        _ => return None,
    };
    Some(Facts {
        category: "图形",
        look,
        life,
        drawing: figure_drawing(shape),
        colors: &[],
    })
}

/// How to draw a plain figure.
fn figure_drawing(shape: Shape) -> &'static str {
    match shape {
        Shape::Circle => "先定一个中心，再绕着中心画一圈。",
        Shape::Square => "先画四条一样长的直边，再让每个角都是直角。",
        Shape::Triangle => "先点三个点，再用直边连起来。",
        Shape::Star => "先画五个点，再隔一个点连一条边。",
        Shape::Heart => "先画上面两个弯，再向下连到一个尖角。",
        Shape::Cross => "先画一横，再在中间画一竖。",
        _ => "先画一个大圆，再在里面画一个小圆。",
    }
}

fn thing_facts(shape: Shape) -> Option<Facts> {
    let facts = match shape {
        Shape::House => Facts {
            category: "建筑",
            look: &[
                "房子有门和窗户。",
                "房子的屋顶像三角形。",
                "房子的墙是方的。",
            ],
            life: &[
                "人住在房子里。",
                "下雨的时候，人可以在房子里躲雨。",
                "很多房子在一起就成了村子。",
            ],
            drawing: "先画方的墙，再画三角形的屋顶，最后画门和窗户。",
            colors: &[],
        },
        Shape::Car => Facts {
            category: "交通工具",
            look: &[
                "从旁边看，汽车有两个轮子。",
                "汽车的轮子是圆的。",
                "汽车有窗户。",
            ],
            life: &[
                "汽车在路上跑。",
                "人坐汽车去很远的地方。",
                "汽车比船跑得快。",
            ],
            drawing: "先画长长的车身，再画车窗，最后在下面画两个轮子。",
            colors: &[],
        },
        Shape::Cup => Facts {
            category: "用品",
            look: &[
                "杯子的旁边有一个把手。",
                "杯子上面大，下面小。",
                "杯子里面是空的。",
            ],
            life: &[
                "杯子用来喝水。",
                "家里的桌子上常常有杯子。",
                "热水放在杯子里会慢慢变冷。",
            ],
            drawing: "先画上大下小的杯身，再在旁边画一个把手。",
            colors: &[],
        },
        Shape::Boat => Facts {
            category: "交通工具",
            look: &["船上有帆。", "船的下面窄，上面宽。", "帆像三角形。"],
            life: &[
                "船在水上走。",
                "风吹着帆，船就向前走。",
                "人坐船过河，也坐船去捉鱼。",
            ],
            drawing: "先画船身，再画一根杆，最后在杆的两边画帆。",
            colors: &[],
        },
        _ => return None,
    };
    Some(facts)
}

fn nature_facts(shape: Shape) -> Facts {
    match shape {
        Shape::Tree => Facts {
            category: "植物",
            look: &["树有树干和叶子。", "树干在下面，叶子在上面。", "树比花高。"],
            life: &[
                "树长在地上，要喝水，也要太阳。",
                "天热的时候，人在树下很凉快。",
                "苹果长在树上。",
            ],
            drawing: "先画一根直的树干，再在上面画圆圆的叶子。",
            colors: &[Color::Green],
        },
        Shape::Fish => Facts {
            category: "动物",
            look: &["鱼有一条尾巴。", "鱼的身体圆圆的。", "鱼没有脚。"],
            life: &["鱼生活在水里。", "鱼用尾巴游水。", "鱼离开水就不能活。"],
            drawing: "先画圆圆的身体，再画尾巴，最后点上眼睛。",
            colors: &[Color::Red, Color::Black],
        },
        Shape::Flower => Facts {
            category: "植物",
            look: &[
                "这里的花有五个花瓣。",
                "花瓣围着中间的花心。",
                "花的下面有叶子。",
            ],
            life: &[
                "春天有很多花。",
                "花很香，人喜欢把花送给朋友。",
                "花要喝水，也要太阳。",
            ],
            drawing: "先画花心，再绕着花心画五个花瓣，最后画叶子。",
            colors: &[Color::Red, Color::Yellow, Color::Pink],
        },
        Shape::Sun => Facts {
            category: "天体",
            look: &["太阳是圆的。", "画里的太阳有八道光。", "太阳很大，也很远。"],
            life: &[
                "太阳从东边出来，从西边落下。",
                "有太阳的时候是白天。",
                "太阳给我们光和热。",
            ],
            drawing: "先画一个圆，再在外面画八道光。",
            colors: &[Color::Red, Color::Yellow],
        },
        _ => Facts {
            category: "水果",
            look: &[
                "苹果圆圆的。",
                "苹果上面有一片小叶子。",
                "苹果上面有一根短短的柄。",
            ],
            life: &[
                "苹果长在树上。",
                "秋天苹果就熟了。",
                "苹果又甜又脆，人人爱吃。",
            ],
            drawing: "先画圆圆的身体，再在上面画柄和叶子。",
            colors: &[Color::Red, Color::Green],
        },
    }
}

/// What mixing paints gives; the third is the result.
pub(crate) const MIXTURES: [[Color; 3]; 3] = [
    [Color::Red, Color::Yellow, Color::Orange],
    [Color::Yellow, Color::Blue, Color::Green],
    [Color::Red, Color::Blue, Color::Purple],
];

/// What has this colour outside of pictures.
pub(crate) fn color_facts(color: Color) -> &'static [&'static str] {
    match color {
        Color::Red => &["熟了的苹果常常是红色的。", "过年的时候，家里有很多红色。"],
        Color::Orange => &["橘子是橙色的。", "太阳落下的时候，天是橙色的。"],
        Color::Yellow => &["香蕉是黄色的。", "秋天的叶子会变成黄色。"],
        Color::Green => &["叶子是绿色的。", "春天的草是绿色的。"],
        Color::Blue => &["天是蓝色的。", "海水看上去是蓝色的。"],
        Color::Purple => &["葡萄是紫色的。", "茄子也是紫色的。"],
        Color::Pink => &["桃花是粉色的。", "粉色像红色，可是比红色浅。"],
        Color::Black => &["晚上的天是黑色的。", "煤是黑色的。"],
    }
}

/// How many corners a figure has, for those that have a plain answer.
pub(crate) fn n_corners(shape: Shape) -> Option<usize> {
    match shape {
        Shape::Circle | Shape::Ring => Some(0),
        Shape::Square => Some(4),
        Shape::Triangle => Some(3),
        Shape::Star => Some(5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence_is_whole() {
        for shape in Shape::ALL {
            let facts = facts(shape);
            assert!(facts.look.len() >= 3 && facts.life.len() >= 2);
            for sentence in facts.look.iter().chain(facts.life).chain([&facts.drawing]) {
                assert!(sentence.ends_with('。'), "{sentence}");
                assert_eq!(sentence.matches('。').count(), 1, "{sentence}");
            }
        }
        for color in Color::ALL {
            assert!(color_facts(color).iter().all(|s| s.ends_with('。')));
        }
    }

    #[test]
    fn the_look_of_a_shape_names_it_or_its_part() {
        for shape in Shape::ALL {
            assert!(facts(shape).look[0].contains(shape.name()));
        }
    }
}

//! What the world is made of, and what each thing is called: shapes, colours, textures, sizes, positions, numbers.

use serde::{Deserialize, Serialize};

/// The kind of a drawn object: seven plain figures and nine everyday things built of figures (ours).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// 圆形
    Circle,
    /// 方形
    Square,
    /// 三角形
    Triangle,
    /// 星形
    Star,
    /// 心形
    Heart,
    /// 十字形
    Cross,
    /// 圆环
    Ring,
    /// 房子
    House,
    /// 树
    Tree,
    /// 汽车
    Car,
    /// 鱼
    Fish,
    /// 花
    Flower,
    /// 杯子
    Cup,
    /// 船
    Boat,
    /// 太阳
    Sun,
    /// 苹果
    Apple,
}

impl Shape {
    /// Every shape, figures first.
    pub const ALL: [Shape; 16] = [
        Shape::Circle,
        Shape::Square,
        Shape::Triangle,
        Shape::Star,
        Shape::Heart,
        Shape::Cross,
        Shape::Ring,
        Shape::House,
        Shape::Tree,
        Shape::Car,
        Shape::Fish,
        Shape::Flower,
        Shape::Cup,
        Shape::Boat,
        Shape::Sun,
        Shape::Apple,
    ];

    /// The everyday things, without the plain figures.
    pub fn things() -> &'static [Shape] {
        &Shape::ALL[7..]
    }

    /// The plain figures.
    pub fn figures() -> &'static [Shape] {
        &Shape::ALL[..7]
    }

    /// The shape's Chinese name.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Circle => "圆形",
            Shape::Square => "方形",
            Shape::Triangle => "三角形",
            Shape::Star => "星形",
            Shape::Heart => "心形",
            Shape::Cross => "十字形",
            Shape::Ring => "圆环",
            Shape::House => "房子",
            Shape::Tree => "树",
            Shape::Car => "汽车",
            Shape::Fish => "鱼",
            Shape::Flower => "花",
            Shape::Cup => "杯子",
            Shape::Boat => "船",
            Shape::Sun => "太阳",
            Shape::Apple => "苹果",
        }
    }

    /// The measure word that stands between a number and the name, as in 三条鱼.
    pub fn measure(self) -> &'static str {
        match self {
            Shape::House => "座",
            Shape::Tree => "棵",
            Shape::Car => "辆",
            Shape::Fish => "条",
            Shape::Flower => "朵",
            Shape::Boat => "只",
            _ => "个",
        }
    }

    /// Width and height of the tight box of a drawing of size 1, each in (0, 1].
    pub fn extent(self) -> (f64, f64) {
        match self {
            Shape::Triangle => (1.0, 0.9),
            Shape::House => (0.96, 1.0),
            Shape::Tree => (0.8, 1.0),
            Shape::Car => (1.0, 0.62),
            Shape::Fish => (1.0, 0.6),
            Shape::Flower => (0.72, 1.0),
            Shape::Cup => (1.0, 0.96),
            Shape::Star => (1.0, 0.96),
            Shape::Heart => (1.0, 0.92),
            Shape::Boat => (1.0, 0.92),
            Shape::Apple => (0.88, 1.0),
            _ => (1.0, 1.0),
        }
    }
}

/// The main colour of an object (ours: eight that stay apart on a light ground).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    /// 红色
    Red,
    /// 橙色
    Orange,
    /// 黄色
    Yellow,
    /// 绿色
    Green,
    /// 蓝色
    Blue,
    /// 紫色
    Purple,
    /// 粉色
    Pink,
    /// 黑色
    Black,
}

impl Color {
    /// Every colour.
    pub const ALL: [Color; 8] = [
        Color::Red,
        Color::Orange,
        Color::Yellow,
        Color::Green,
        Color::Blue,
        Color::Purple,
        Color::Pink,
        Color::Black,
    ];

    /// The colour's Chinese name.
    pub fn name(self) -> &'static str {
        match self {
            Color::Red => "红色",
            Color::Orange => "橙色",
            Color::Yellow => "黄色",
            Color::Green => "绿色",
            Color::Blue => "蓝色",
            Color::Purple => "紫色",
            Color::Pink => "粉色",
            Color::Black => "黑色",
        }
    }

    /// The pure sRGB value around which drawn objects vary by a few levels.
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Color::Red => [214, 34, 40],
            Color::Orange => [245, 130, 24],
            Color::Yellow => [245, 205, 20],
            Color::Green => [38, 160, 72],
            Color::Blue => [32, 98, 208],
            Color::Purple => [132, 56, 176],
            Color::Pink => [248, 128, 176],
            Color::Black => [36, 36, 40],
        }
    }

    /// The colour whose pure value is nearest to `rgb` in squared distance; what a measuring test calls a pixel.
    pub fn nearest(rgb: [u8; 3]) -> Color {
        let mut best = (Color::Red, i32::MAX);
        for color in Color::ALL {
            let distance = squared_distance(color.rgb(), rgb);
            if distance < best.1 {
                best = (color, distance);
            }
        }
        best.0
    }
}

/// Squared distance of two sRGB values, 0 to 195075.
pub fn squared_distance(a: [u8; 3], b: [u8; 3]) -> i32 {
    a.iter()
        .zip(b)
        .map(|(&x, y)| (i32::from(x) - i32::from(y)).pow(2))
        .sum()
}

/// How the body of an object is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Texture {
    /// One plain colour; captions say nothing.
    Solid,
    /// 条纹
    Stripes,
    /// 波点
    Dots,
    /// 格子
    Checker,
}

impl Texture {
    /// The textures that have a name.
    pub const PATTERNS: [Texture; 3] = [Texture::Stripes, Texture::Dots, Texture::Checker];

    /// The texture's Chinese name, empty for [`Texture::Solid`].
    pub fn name(self) -> &'static str {
        match self {
            Texture::Solid => "",
            Texture::Stripes => "条纹",
            Texture::Dots => "波点",
            Texture::Checker => "格子",
        }
    }
}

/// Size class by the longer extent of an object, as a share of the picture's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// Up to 0.26 of the side.
    Small,
    /// Between the two.
    Medium,
    /// From 0.39 of the side.
    Large,
}

impl Size {
    /// The class of a size given as a share of the picture's side.
    pub fn of(share: f64) -> Size {
        if share <= 0.26 {
            Size::Small
        } else if share < 0.39 {
            Size::Medium
        } else {
            Size::Large
        }
    }

    /// 小, 大, or empty for a medium size.
    pub fn name(self) -> &'static str {
        match self {
            Size::Small => "小",
            Size::Medium => "",
            Size::Large => "大",
        }
    }
}

/// Where a group of objects stands in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// 左边: every object lies in the left half.
    Left,
    /// 右边: every object lies in the right half.
    Right,
    /// 上边: every object lies in the upper half.
    Top,
    /// 下边: every object lies in the lower half.
    Bottom,
    /// 中间: the group is centred.
    Center,
}

impl Position {
    /// Every position, the centre last.
    pub const ALL: [Position; 5] = [
        Position::Left,
        Position::Right,
        Position::Top,
        Position::Bottom,
        Position::Center,
    ];

    /// The four sides, without the centre.
    pub const SIDES: [Position; 4] = [
        Position::Left,
        Position::Right,
        Position::Top,
        Position::Bottom,
    ];

    /// The name used in answers.
    pub fn name(self) -> &'static str {
        self.names()[0]
    }

    /// Every wording used in captions, the one for answers first.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Position::Left => &["左边", "左侧", "左面"],
            Position::Right => &["右边", "右侧", "右面"],
            Position::Top => &["上边", "上方", "上面"],
            Position::Bottom => &["下边", "下方", "下面"],
            Position::Center => &["中间", "中央"],
        }
    }

    /// The facing side; the centre faces itself.
    pub fn opposite(self) -> Position {
        match self {
            Position::Left => Position::Right,
            Position::Right => Position::Left,
            Position::Top => Position::Bottom,
            Position::Bottom => Position::Top,
            Position::Center => Position::Center,
        }
    }
}

/// The numeral used as an answer, 一 to 十; larger numbers give 多.
pub fn numeral(n: usize) -> &'static str {
    match n {
        1 => "一",
        2 => "二",
        3 => "三",
        4 => "四",
        5 => "五",
        6 => "六",
        7 => "七",
        8 => "八",
        9 => "九",
        10 => "十",
        _ => "多",
    }
}

/// The numeral used before a measure word: 两 instead of 二.
pub fn counting(n: usize) -> &'static str {
    if n == 2 { "两" } else { numeral(n) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_never_part_of_another_name() {
        let mut names: Vec<&str> = Shape::ALL.iter().map(|s| s.name()).collect();
        names.extend(Color::ALL.iter().map(|c| c.name()));
        names.extend(Texture::PATTERNS.iter().map(|t| t.name()));
        for (i, a) in names.iter().enumerate() {
            for b in &names[i + 1..] {
                assert!(!a.contains(b) && !b.contains(a), "{a} and {b}");
            }
        }
    }

    #[test]
    fn colours_are_far_apart_and_name_themselves() {
        for (i, a) in Color::ALL.iter().enumerate() {
            assert_eq!(Color::nearest(a.rgb()), *a);
            for b in &Color::ALL[i + 1..] {
                let distance = squared_distance(a.rgb(), b.rgb());
                assert!(distance > 70 * 70, "{a:?} and {b:?}: {distance}");
            }
        }
    }

    #[test]
    fn two_is_counted_with_liang() {
        assert_eq!((numeral(2), counting(2), counting(3)), ("二", "两", "三"));
    }
}

//! Product-like items: a title of key words, attributes, and a short description, about one group of equal objects.

use m6_store::rng::Stream;
use serde::{Deserialize, Serialize};

use crate::scene::Group;
use crate::words::{Shape, Size, Texture, counting};

/// What a shop says about a thing of the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Key words without punctuation, as shops write titles.
    pub title: String,
    /// Name and value, in the shop's order; always colour, pattern, size and amount.
    pub attributes: Vec<(String, String)>,
    /// One to three sentences.
    pub description: String,
}

impl Product {
    /// Title, attributes and description as one text, a line each.
    pub fn text(&self) -> String {
        let attributes: Vec<String> = self
            .attributes
            .iter()
            .map(|(name, value)| format!("{name}：{value}"))
            .collect();
        format!(
            "{}\n{}\n{}",
            self.title,
            attributes.join("，"),
            self.description
        )
    }
}

/// What is sold in the likeness of a shape.
fn article_name(stream: &mut Stream, shape: Shape) -> String {
    let name = shape.name();
    let kinds: &[&str] = match shape {
        Shape::Cup => return "杯子".to_string(),
        Shape::Car | Shape::Boat | Shape::Fish => &["玩具", "模型", "贴纸"],
        Shape::House | Shape::Tree => &["积木", "模型", "贴纸"],
        Shape::Flower | Shape::Apple => &["摆件", "贴纸", "玩具"],
        Shape::Ring => &["挂件", "玩具", "贴纸"],
        _ => &["抱枕", "积木", "贴纸", "挂件"],
    };
    format!("{name}{}", stream.choose(kinds))
}

/// Draws the shop's text about a group.
pub(crate) fn product(stream: &mut Stream, group: &Group) -> Product {
    let article = article_name(stream, group.shape);
    let color = group.color.name();
    let pattern = match group.texture {
        Texture::Solid => "纯色",
        texture => texture.name(),
    };
    let size = match group.size {
        Size::Small => "小号",
        Size::Medium => "中号",
        Size::Large => "大号",
    };
    let amount = format!("{}个装", counting(group.count));
    let quality = *stream.choose(&["新款", "可爱", "好看", "简单", "家用", "送礼"]);
    let mut words = [quality, color, pattern, &article, size, &amount];
    // A shop's title has no fixed order, but the article follows its colour and pattern.
    if stream.bool(0.5) {
        words.rotate_left(1);
    }
    let title = words.concat();
    let attributes = [
        ("颜色", color),
        ("花纹", pattern),
        ("尺寸", size),
        ("数量", amount.as_str()),
    ]
    .map(|(name, value)| (name.to_string(), value.to_string()))
    .to_vec();
    let description = describe(stream, &article, color, pattern);
    Product {
        title,
        attributes,
        description,
    }
}

fn describe(stream: &mut Stream, article: &str, color: &str, pattern: &str) -> String {
    let opening = match stream.below(4) {
        0 => format!("这款{article}是{color}的，{pattern}好看。"),
        1 => format!("{color}的{article}，{pattern}，大人和孩子都喜欢。"),
        2 => format!("{article}用{color}做成，{pattern}的样子很简单。"),
        _ => format!("喜欢{color}的人可以看看这款{pattern}{article}。"),
    };
    let closing = *stream.choose(&[
        "放在家里很好看。",
        "送给朋友是好礼物。",
        "孩子可以拿着玩。",
        "颜色不会掉。",
        "容易洗，也不容易坏。",
        "",
    ]);
    opening + closing
}

#[cfg(test)]
mod tests {
    use crate::{Split, World};

    #[test]
    fn a_picture_of_one_group_is_sold_as_what_it_shows() {
        let world = World::new(8, 64);
        let mut n_products = 0;
        for index in 0..500 {
            let scene = world.scene(Split::Train, index);
            let product = world.product_of(Split::Train, index);
            assert_eq!(product.is_some(), scene.groups.len() == 1);
            let Some(product) = product else { continue };
            n_products += 1;
            let group = &scene.groups[0];
            assert!(product.title.contains(group.color.name()));
            assert!(product.title.contains(group.shape.name()));
            assert_eq!(product.attributes[0].1, group.color.name());
            assert_eq!(product.attributes.len(), 4);
            assert!(product.text().lines().count() == 3);
        }
        assert!((200..300).contains(&n_products), "{n_products}");
    }

    #[test]
    fn texts_without_a_picture_vary() {
        let world = World::new(8, 64);
        let mut texts: Vec<String> = (0..500).map(|i| world.product_text(i)).collect();
        texts.sort();
        texts.dedup();
        assert!(texts.len() > 480, "{}", texts.len());
    }
}

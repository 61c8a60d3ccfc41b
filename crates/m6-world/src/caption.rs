//! Captions: one picture said in several ways. Each names the shapes; the first also says colour, count and position.

use m6_store::rng::Stream;

use crate::scene::{Group, Scene};
use crate::words::{Position, Size, Texture, counting};

/// How many captions a picture gets.
pub const N_CAPTIONS: usize = 4;

/// Wordings drawn for one picture.
struct Wordings {
    /// Say count, colour, shape and position of every group.
    complete: Vec<String>,
    /// True as well, but leave something out.
    partial: Vec<String>,
}

/// Draws [`N_CAPTIONS`] different captions; the first is a complete one.
pub(crate) fn captions(stream: &mut Stream, scene: &Scene) -> Vec<String> {
    let mut wordings = match scene.groups.as_slice() {
        [a, b] => two_groups(stream, a, b),
        groups => one_group(stream, &groups[0]),
    };
    stream.shuffle(&mut wordings.complete);
    let mut captions = vec![wordings.complete.swap_remove(0)];
    let mut rest = wordings.complete;
    rest.append(&mut wordings.partial);
    stream.shuffle(&mut rest);
    for caption in rest {
        if captions.len() < N_CAPTIONS && !captions.contains(&caption) {
            captions.push(caption);
        }
    }
    captions
}

/// The noun phrase of a group, such as 三个红色圆形, 一辆红色的小汽车 or 两个蓝色条纹方形.
pub(crate) fn noun_phrase(stream: &mut Stream, group: &Group) -> String {
    let texture = if stream.bool(0.7) {
        group.texture.name()
    } else {
        ""
    };
    let size = if group.count == 1 && stream.bool(0.5) {
        group.size.name()
    } else {
        ""
    };
    let of = if texture.is_empty() && stream.bool(0.5) {
        "的"
    } else {
        ""
    };
    format!(
        "{}{}{}{of}{texture}{size}{}",
        counting(group.count),
        group.shape.measure(),
        group.color.name(),
        group.shape.name()
    )
}

/// Number and measure word of a group, such as 三个.
fn amount(group: &Group) -> String {
    format!("{}{}", counting(group.count), group.shape.measure())
}

/// One of the wordings of a position.
fn wording(stream: &mut Stream, position: Position) -> &'static str {
    let names = position.names();
    // The plain name is the commonest, so that a small model learns it first.
    if stream.bool(0.6) {
        names[0]
    } else {
        names[stream.below(names.len() as u64) as usize]
    }
}

fn one_group(stream: &mut Stream, group: &Group) -> Wordings {
    let place = wording(stream, group.position);
    let shape = group.shape.name();
    let color = group.color.name();
    let n = amount(group);
    let mut phrase = || noun_phrase(stream, group);
    let mut complete = vec![
        format!("图的{place}有{}", phrase()),
        format!("{}在图的{place}", phrase()),
        format!("图里有{}，在{place}", phrase()),
        format!("画面{place}是{}", phrase()),
        format!("{place}有{}", phrase()),
        format!("{color}的{shape}有{n}，在图的{place}"),
    ];
    let mut partial = vec![
        format!("图里有{}", phrase()),
        format!("这是{}", phrase()),
        format!("图里的{shape}是{color}的，一共有{n}"),
        format!("{shape}在图的{place}，是{color}的"),
    ];
    if group.count > 1 {
        complete.push(format!("{n}{shape}都在{place}，都是{color}的"));
    } else {
        complete.push(format!("{place}的{shape}是{color}的，只有{n}"));
    }
    if group.texture != Texture::Solid {
        partial.push(format!(
            "{shape}上有{}，颜色是{color}",
            group.texture.name()
        ));
    }
    if group.count == 1 && group.size != Size::Medium {
        partial.push(format!("图里的{shape}很{}，是{color}的", group.size.name()));
    }
    Wordings { complete, partial }
}

fn two_groups(stream: &mut Stream, a: &Group, b: &Group) -> Wordings {
    let (a, b) = if stream.bool(0.5) { (a, b) } else { (b, a) };
    let (at_a, at_b) = (wording(stream, a.position), wording(stream, b.position));
    let (shape_a, shape_b) = (a.shape.name(), b.shape.name());
    let it = if a.count == 1 { "它" } else { "它们" };
    let mut pair = || (noun_phrase(stream, a), noun_phrase(stream, b));
    let complete = [
        ("", "有", "，", "有"),
        ("", "是", "，", "是"),
        ("图的", "有", "，", "有"),
        ("画面", "是", "，", "是"),
    ]
    .map(|(head, is_a, comma, is_b)| {
        let (x, y) = pair();
        format!("{head}{at_a}{is_a}{x}{comma}{at_b}{is_b}{y}")
    });
    let mut partial: Vec<String> = Vec::new();
    let (x, y) = pair();
    partial.push(format!("{x}在{y}的{at_a}"));
    let (x, y) = pair();
    partial.push(format!("{x}的{at_b}有{y}"));
    let (x, y) = pair();
    partial.push(format!("图里有{x}，{it}的{at_b}是{y}"));
    let (x, y) = pair();
    partial.push(format!("图里有{x}和{y}"));
    partial.push(format!(
        "{shape_a}在{shape_b}的{at_a}，{shape_a}是{}的，{shape_b}是{}的",
        a.color.name(),
        b.color.name()
    ));
    partial.push(format!(
        "图里有{}{shape_a}，还有{}{shape_b}",
        amount(a),
        amount(b)
    ));
    Wordings {
        complete: complete.to_vec(),
        partial,
    }
}

#[cfg(test)]
mod tests {
    use crate::words::{Color, Position, Shape, Texture, counting};
    use crate::{Split, World};

    const N: u64 = 1500;

    #[test]
    fn a_picture_has_at_least_three_different_captions() {
        let world = World::new(1, 64);
        for split in [Split::Train, Split::HeldOut] {
            for index in 0..N {
                let captions = world.captions(split, index);
                let mut unique = captions.clone();
                unique.sort();
                unique.dedup();
                assert!(unique.len() >= 3, "{captions:?}");
                assert_eq!(unique.len(), captions.len());
            }
        }
    }

    #[test]
    fn captions_name_every_shape_and_nothing_that_is_not_there() {
        let world = World::new(2, 64);
        for index in 0..N {
            let scene = world.scene(Split::Train, index);
            for caption in world.captions(Split::Train, index) {
                for shape in Shape::ALL {
                    let named = caption.contains(shape.name());
                    assert_eq!(named, scene.count(shape) > 0, "{caption}");
                }
                for color in Color::ALL {
                    let shown = scene.groups.iter().any(|g| g.color == color);
                    assert!(shown || !caption.contains(color.name()), "{caption}");
                }
                for texture in Texture::PATTERNS {
                    let shown = scene.groups.iter().any(|g| g.texture == texture);
                    assert!(shown || !caption.contains(texture.name()), "{caption}");
                }
            }
        }
    }

    #[test]
    fn the_first_caption_says_count_colour_and_position() {
        let world = World::new(3, 64);
        for index in 0..N {
            let scene = world.scene(Split::Train, index);
            let caption = &world.captions(Split::Train, index)[0];
            for group in &scene.groups {
                let amount = format!("{}{}", counting(group.count), group.shape.measure());
                assert!(caption.contains(&amount), "{caption}");
                assert!(caption.contains(group.color.name()), "{caption}");
                let placed = group.position.names().iter().any(|p| caption.contains(p));
                assert!(placed, "{caption}");
            }
            for position in Position::ALL {
                let used = scene.groups.iter().any(|g| g.position == position);
                let said = position.names().iter().any(|p| caption.contains(p));
                assert!(used || !said, "{caption}");
            }
        }
    }

    #[test]
    fn wording_varies_over_pictures() {
        let world = World::new(4, 64);
        let mut openings = std::collections::BTreeSet::new();
        for index in 0..400 {
            for caption in world.captions(Split::Train, index) {
                openings.insert(caption.chars().take(2).collect::<String>());
            }
        }
        assert!(openings.len() > 25, "{}", openings.len());
    }
}

//! Which of a page's texts may describe a picture, and which of them is its caption.

use super::blocks::{Kind, Raw, WIDE};
use super::images::{attr_text, has_picture_suffix, is_tracker, source};
use super::phrases;
use super::tag::Tag;
use super::token::Key;
use super::tree::Tree;
use serde::{Deserialize, Serialize};

/// Longest text that may be the words under a picture, in tenths of a Han character.
const LONGEST_CAPTION: u32 = 80 * WIDE;
/// Least text of a paragraph that may describe a picture, in tenths of a Han character.
const SHORTEST_PARAGRAPH: u32 = 8 * WIDE;
/// Blocks that are looked at before and after a picture.
const REACH: usize = 4;
/// Blocks between a picture and an element named as its caption, plus one.
const CAPTION_REACH: i32 = 2;
/// Longest candidate text that is kept, in characters.
const LONGEST_CANDIDATE: usize = 500;
/// Elements above a picture among which its figure is looked for.
const FIGURE_REACH: usize = 6;
/// Nodes of a figure among which its caption is looked for.
const LARGEST_FIGURE: usize = 500;
/// Pictures that are stepped over on the way to a text.
const GALLERY_REACH: usize = 16;

/// Where a text that may describe a picture comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The `figcaption` of its figure, or an element named as its caption.
    Figcaption,
    /// A short line beside it that looks like a caption.
    Neighbour,
    /// Its `alt` attribute.
    Alt,
    /// Its `title` attribute.
    Title,
    /// The nearest paragraph.
    Paragraph,
}

/// A text that may describe a picture (ours).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Where it comes from.
    pub role: Role,
    /// The text, at most 500 characters.
    pub text: String,
    /// Blocks between it and the picture, plus one; 0 for what is on the picture itself. Negative above, positive below.
    pub distance: i32,
}

/// A picture of the content (ours).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Address, absolute where the page's address is known.
    pub src: String,
    /// The `alt` attribute, empty if there is none.
    pub alt: String,
    /// The `title` attribute, empty if there is none.
    pub title: String,
    /// The chosen text, if one is fit.
    pub caption: Option<String>,
    /// Where it comes from.
    pub caption_role: Option<Role>,
    /// All texts that may describe it, the fittest role first.
    pub candidates: Vec<Candidate>,
}

/// The text of a figure's caption, where the picture stands in a figure.
fn figcaption(tree: &Tree<'_>, node: usize, blocks: &[Raw]) -> Option<String> {
    let figure = tree
        .ancestors(node)
        .take(FIGURE_REACH)
        .find(|i| tree.nodes[*i].tag == Tag::Figure)?;
    let caption = tree
        .range(figure)
        .take(LARGEST_FIGURE)
        .find(|i| tree.nodes[*i].tag == Tag::Figcaption)
        .map(|i| tree.range(i))?;
    let first = blocks.partition_point(|b| (b.node as usize) < caption.start);
    let lines: Vec<&str> = blocks[first..]
        .iter()
        .take_while(|b| (b.node as usize) < caption.end)
        .filter(|b| b.kind != Kind::Image)
        .map(|b| b.text.as_str())
        .collect();
    (!lines.is_empty()).then(|| lines.join(" "))
}

/// Whether a text is a name for people and not of a file or a slot.
fn says_something(text: &str) -> bool {
    const SLOTS: &[&str] = &[
        "image",
        "img",
        "picture",
        "photo",
        "图片",
        "图像",
        "插图",
        "配图",
        "photobank",
        "undefined",
        "null",
    ];
    let plain = text.trim();
    let n_letters = plain.chars().filter(|c| c.is_alphabetic()).count();
    let file = has_picture_suffix(plain)
        || (plain.is_ascii() && !plain.contains(' ') && plain.chars().any(|c| c.is_ascii_digit()));
    let address = plain.starts_with("http") || plain.contains("://");
    n_letters >= 2
        && !file
        && !address
        && !SLOTS.iter().any(|slot| plain.eq_ignore_ascii_case(slot))
}

/// The texts that may describe the picture at `at` of `shown`, which are places of `blocks` in reading order.
fn candidates(tree: &Tree<'_>, blocks: &[Raw], shown: &[usize], at: usize) -> Vec<Candidate> {
    let node = blocks[shown[at]].node as usize;
    let mut out = Vec::new();
    let mut add = |role, text: &str, distance| {
        let text: String = text.chars().take(LONGEST_CANDIDATE).collect();
        let known = out
            .iter()
            .any(|c: &Candidate| c.role == role && c.text == text);
        if !text.trim().is_empty() && !known {
            out.push(Candidate {
                role,
                text,
                distance,
            });
        }
    };
    if let Some(text) = figcaption(tree, node, blocks) {
        add(Role::Figcaption, &text, 1);
    }
    // The caption of a picture above the text is not shown.
    let next = blocks.get(shown[at] + 1);
    if let Some(block) = next.filter(|b| b.kind == Kind::Caption) {
        add(Role::Figcaption, &block.text, 1);
    }
    let above_is_taken = has_own_picture_above(blocks, shown, at);
    for (distance, block) in around(blocks, shown, at) {
        if block.kind == Kind::Caption {
            let is_taken =
                distance < 0 && above_is_taken || is_of_another_figure(tree, node, block);
            if distance.abs() <= CAPTION_REACH && !is_taken {
                add(Role::Figcaption, &block.text, distance);
            }
        } else if distance.abs() == 1 && is_marked(block) {
            add(Role::Neighbour, &block.text, distance);
        }
    }
    add(Role::Alt, &attr_text(tree, node, Key::Alt), 0);
    add(Role::Title, &attr_text(tree, node, Key::Title), 0);
    // Of several pictures in a row a label names the last.
    let below = shown.get(at + 1).map(|i| &blocks[*i]);
    if let Some(block) = below.filter(|block| is_label(block)) {
        add(Role::Neighbour, &block.text, 1);
    }
    let paragraph = around(blocks, shown, at).find(|(_, b)| {
        b.kind == Kind::Paragraph && b.weight >= SHORTEST_PARAGRAPH && b.n_marks > 0
    });
    if let Some((distance, block)) = paragraph {
        add(Role::Paragraph, &block.text, distance);
    }
    out
}

/// Whether a caption stands in a figure in which the picture at `node` does not.
fn is_of_another_figure(tree: &Tree<'_>, node: usize, caption: &Raw) -> bool {
    let mut above = tree.ancestors(caption.node as usize).take(FIGURE_REACH);
    let figure = above.find(|i| tree.nodes[*i].tag == Tag::Figure);
    figure.is_some_and(|figure| !tree.range(figure).contains(&node))
}

/// Whether the text above the picture at `at` has a picture of its own above it, whose caption it is.
fn has_own_picture_above(blocks: &[Raw], shown: &[usize], at: usize) -> bool {
    let above = |n: usize| {
        at.checked_sub(n)
            .and_then(|i| shown.get(i))
            .map(|i| &blocks[*i])
    };
    let is_picture = |block: &Raw| block.kind == Kind::Image;
    above(1).is_some_and(|block| !is_picture(block)) && above(2).is_some_and(is_picture)
}

/// The blocks around a picture, nearest first and below before above; other pictures are stepped over.
fn around<'b>(
    blocks: &'b [Raw],
    shown: &'b [usize],
    at: usize,
) -> impl Iterator<Item = (i32, &'b Raw)> {
    let texts = |i: &&usize| blocks[**i].kind != Kind::Image;
    let below = shown[at + 1..].iter().take(GALLERY_REACH);
    let above = shown[..at].iter().rev().take(GALLERY_REACH);
    let below: Vec<usize> = below.filter(texts).take(REACH).copied().collect();
    let above: Vec<usize> = above.filter(texts).take(REACH).copied().collect();
    (0..REACH).flat_map(move |n| {
        let distance = n as i32 + 1;
        let below = below.get(n).map(|i| (distance, &blocks[*i]));
        let above = above.get(n).map(|i| (-distance, &blocks[*i]));
        below.into_iter().chain(above)
    })
}

/// Whether a line next to a picture may be its caption at all.
fn is_short_line(block: &Raw) -> bool {
    let own_kind = matches!(
        block.kind,
        Kind::Heading | Kind::Code | Kind::TableRow | Kind::Image
    );
    !own_kind && block.weight <= LONGEST_CAPTION
}

/// Whether the line next to a picture begins as captions do.
fn is_marked(block: &Raw) -> bool {
    is_short_line(block) && phrases::starts_like_caption(&block.text)
}

/// Whether the line below a picture names something instead of saying it: it is short and no sentence.
fn is_label(block: &Raw) -> bool {
    let open_end = !block
        .text
        .ends_with(['。', '！', '？', '：', ':', '；', '，']);
    is_short_line(block) && open_end && block.weight < LONGEST_CAPTION / 3 && block.weight > WIDE
}

/// What is known of the page that a picture stands on.
#[derive(Clone, Copy, Default)]
pub(crate) struct PageFacts<'a> {
    /// The address that relative ones are seen from.
    pub(crate) base: Option<&'a str>,
    /// The page's title: content systems write it into every `alt`, where it says nothing of the picture.
    pub(crate) title: &'a str,
}

/// The picture at `at` of `shown` with its texts; `None` where there is no address to fetch.
pub(crate) fn image(
    tree: &Tree<'_>,
    blocks: &[Raw],
    shown: &[usize],
    at: usize,
    page: PageFacts<'_>,
) -> Option<Image> {
    let node = blocks[*shown.get(at)?].node as usize;
    if is_tracker(tree, node) {
        return None;
    }
    let src = source(tree, node, page.base)?;
    let candidates = candidates(tree, blocks, shown, at);
    let chosen = candidates.iter().find(|c| match c.role {
        Role::Paragraph => c.distance.abs() == 1,
        Role::Figcaption => says_something(&c.text) && !phrases::is_credit(&c.text),
        _ => says_something(&c.text) && c.text != page.title && !phrases::is_credit(&c.text),
    });
    Some(Image {
        src,
        alt: attr_text(tree, node, Key::Alt),
        title: attr_text(tree, node, Key::Title),
        caption: chosen.map(|c| c.text.clone()),
        caption_role: chosen.map(|c| c.role),
        candidates,
    })
}

#[cfg(test)]
mod tests {
    use super::super::blocks::Lines;
    use super::*;

    fn images(html: &str) -> Vec<Image> {
        let tree = Tree::parse(html);
        let lines = Lines::of(&tree);
        let shown: Vec<usize> = (0..lines.blocks.len()).collect();
        (0..shown.len())
            .filter(|at| lines.blocks[*at].kind == Kind::Image)
            .filter_map(|at| {
                image(
                    &tree,
                    &lines.blocks,
                    &shown,
                    at,
                    PageFacts {
                        base: Some("http://a.cn/b/c.html"),
                        title: "页面的标题",
                    },
                )
            })
            .collect()
    }

    #[track_caller]
    fn check_caption(html: &str, expected: Option<(&str, Role)>) {
        let image = images(html).into_iter().next().expect("a picture");
        let found = image.caption.as_deref().zip(image.caption_role);
        assert_eq!(found, expected, "{html}: {:?}", image.candidates);
    }

    #[test]
    fn captions_by_role() {
        let text = "<p>后面有一段很长的正文，说的是别的事情，写得很完整，一直写到这里才结束。</p>";
        check_caption(
            "<figure><img src=a alt=替代文字><figcaption>图的说明</figcaption></figure>",
            Some(("图的说明", Role::Figcaption)),
        );
        check_caption(
            &format!("<p><img src=a></p><p>图为会议现场。</p>{text}"),
            Some(("图为会议现场。", Role::Neighbour)),
        );
        check_caption(
            &format!("<p><img src=a></p><p>会议现场</p>{text}"),
            Some(("会议现场", Role::Neighbour)),
        );
        check_caption(
            "<p><img src=a></p><div class=pic-desc>说明文字</div>",
            Some(("说明文字", Role::Figcaption)),
        );
        check_caption(
            &format!("<p><img src=a alt=红色的花 title=花></p>{text}"),
            Some(("红色的花", Role::Alt)),
        );
        check_caption(
            &format!("<p><img src=a alt=IMG_2031.jpg title=黄山日出></p>{text}"),
            Some(("黄山日出", Role::Title)),
        );
        // The caption of another picture is not this one's.
        check_caption(
            &format!(
                "<p><img src=a alt=红色的花></p>{text}<figure><img src=b><figcaption>蓝色的鸟</figcaption></figure>"
            ),
            Some(("红色的花", Role::Alt)),
        );
        check_caption(
            "<p><img src=a alt=红色的花></p><figure><img src=b><figcaption>蓝色的鸟</figcaption></figure>",
            Some(("红色的花", Role::Alt)),
        );
        let second = images(
            "<p><img src=a></p><div class=pic-desc>蓝色的鸟</div><p><img src=b alt=红色的花></p>",
        );
        assert_eq!(second[1].caption.as_deref(), Some("红色的花"));
        check_caption("<p><img src=a alt=image></p>", None);
        check_caption("<p><img src=a alt=页面的标题></p>", None);
        check_caption(
            &format!("<p><img src=a alt=红色的花></p><p>某某供图</p>{text}"),
            Some(("红色的花", Role::Alt)),
        );
        let image = images(&format!("<img src=a alt=图片>{text}")).remove(0);
        assert_eq!(image.caption_role, Some(Role::Paragraph));
        assert_eq!(image.candidates.last().map(|c| c.distance), Some(1));
    }
}

//! Which of a page's texts may describe a picture, and which of them is its caption.

use super::blocks::{Kind, Raw, WIDE};
use super::images::{attr_text, has_picture_suffix, is_tracker, source};
use super::phrases;
use super::tag::Tag;
use super::title::{Name, Names};
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
    let above_is_taken = is_taken_above(blocks, shown, at);
    let below_is_taken = is_taken_below(blocks, shown, at);
    for (distance, block) in around(blocks, shown, at) {
        if block.kind == Kind::Caption {
            let is_near_another = if distance < 0 {
                above_is_taken
            } else {
                below_is_taken
            };
            let is_taken = is_near_another || is_of_another_figure(tree, node, block);
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

/// Whether the nearest caption above the picture at `at` stands under a picture of its own, or a picture stands between the two.
fn is_taken_above(blocks: &[Raw], shown: &[usize], at: usize) -> bool {
    let above = shown[..at].iter().rev().take(GALLERY_REACH);
    let mut kinds = above.map(|i| blocks[*i].kind);
    is_parted(&mut kinds).is_some_and(|parted| parted || kinds.next() == Some(Kind::Image))
}

/// Whether a picture stands between the picture at `at` and the nearest caption below it.
fn is_taken_below(blocks: &[Raw], shown: &[usize], at: usize) -> bool {
    let below = shown[at + 1..].iter().take(GALLERY_REACH);
    is_parted(&mut below.map(|i| blocks[*i].kind)) == Some(true)
}

/// Goes up to the nearest caption: whether text and then a picture stand before it, since pictures in a row share one. `None` where there is
/// no caption.
fn is_parted(kinds: &mut impl Iterator<Item = Kind>) -> Option<bool> {
    let (mut text, mut parted) = (false, false);
    for kind in kinds {
        match kind {
            Kind::Caption => return Some(parted),
            Kind::Image => parted |= text,
            _ => text = true,
        }
    }
    None
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
#[derive(Clone, Copy)]
pub(crate) struct PageFacts<'a> {
    /// The address that relative ones are seen from.
    pub(crate) base: Option<&'a str>,
    /// What page and site are called: content systems write it into every `alt`, where it says nothing of the picture.
    pub(crate) names: &'a Names,
    /// The picture of what the page sells, as a place of the shown blocks: the page's title names it.
    pub(crate) product: Option<usize>,
}

/// The first picture that carries the page's title, as a place of `shown`. Where the page sells one thing it shows that; further
/// ones are details, parcels and tables of sizes.
pub(crate) fn first_titled(
    tree: &Tree<'_>,
    blocks: &[Raw],
    shown: &[usize],
    names: &Names,
    base: Option<&str>,
) -> Option<usize> {
    shown.iter().position(|i| {
        let (block, node) = (&blocks[*i], blocks[*i].node as usize);
        let titled = |key| names.which(&attr_text(tree, node, key)) == Some(Name::Page);
        block.kind == Kind::Image
            && (titled(Key::Alt) || titled(Key::Title))
            && !is_tracker(tree, node)
            && source(tree, node, base).is_some()
    })
}

/// What a candidate says of the picture at `at`, if that is fit for a caption.
fn fit<'c>(candidate: &'c Candidate, at: usize, page: PageFacts<'c>) -> Option<&'c str> {
    let text = candidate.text.as_str();
    if candidate.role == Role::Paragraph {
        return (candidate.distance.abs() == 1).then_some(text);
    }
    if !says_something(text) || phrases::is_credit(text) {
        return None;
    }
    if candidate.role == Role::Figcaption {
        return Some(text);
    }
    match page.names.which(text) {
        None => Some(text),
        Some(Name::Page) if page.product == Some(at) => Some(&page.names.title),
        Some(_) => None,
    }
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
    let chosen = candidates
        .iter()
        .find_map(|c| Some((fit(c, at, page)?.to_string(), c.role)));
    let (caption, caption_role) = chosen.unzip();
    Some(Image {
        src,
        alt: attr_text(tree, node, Key::Alt),
        title: attr_text(tree, node, Key::Title),
        caption,
        caption_role,
        candidates,
    })
}

#[cfg(test)]
mod tests {
    use super::super::blocks::Lines;
    use super::*;

    fn images(html: &str) -> Vec<Image> {
        let page = format!("<title>页面的标题_某网</title>{html}");
        let tree = Tree::parse(&page);
        let lines = Lines::of(&tree);
        let names = Names::of(&tree, &lines);
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
                        names: &names,
                        product: None,
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
        let bird = "<div><img src=b><p class=caption>蓝色的鸟</p></div>";
        check_caption(
            &format!("<p><img src=a alt=红色的花></p>{text}{bird}"),
            Some(("红色的花", Role::Alt)),
        );
        let second = images(&format!("{bird}{text}<p><img src=a alt=红色的花></p>"));
        assert_eq!(second[1].caption.as_deref(), Some("红色的花"));
        // A row of pictures shares one.
        check_caption(
            &format!("<p><img src=a></p>{bird}"),
            Some(("蓝色的鸟", Role::Figcaption)),
        );
        check_caption(
            "<p><img src=a alt='红色\0的\n花'></p>",
            Some(("红色的花", Role::Alt)),
        );
        check_caption("<p><img src=a alt=image></p>", None);
        check_caption("<p><img src=a alt=页面的标题></p>", None);
        check_caption("<p><img src=a alt=页面的标题_某网></p>", None);
        check_caption("<p><img src=a alt=某网></p>", None);
        check_caption(
            &format!("<p><img src=a alt=红色的花></p><p>某某供图</p>{text}"),
            Some(("红色的花", Role::Alt)),
        );
        let image = images(&format!("<img src=a alt=图片>{text}")).remove(0);
        assert_eq!(image.caption_role, Some(Role::Paragraph));
        assert_eq!(image.candidates.last().map(|c| c.distance), Some(1));
    }
}

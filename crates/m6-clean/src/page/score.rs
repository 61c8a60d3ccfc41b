//! Which part of a page is its content: every line votes for itself or against, and the subtree with the most votes wins.
//!
//! Ours. Summing signed votes over subtrees joins content that stands in several containers, as long as less furniture than
//! content lies between them; nothing is tuned to one site. Links, names of elements and punctuation are what votes look at.

use super::blocks::{Kind, Lines, Raw, WIDE};
use super::hints::Furniture;
use super::images;
use super::phrases;
use super::tag::Tag;
use super::tree::{Node, Tree};
use super::trim;

/// A line with less than this is a label more than a sentence, in tenths of a Han character.
const SENTENCE: u32 = 10 * WIDE;
/// A line with this much is a sentence without any mark, too.
const LONG: u32 = 30 * WIDE;
/// Share of link text from which a line is a link, in percent.
const LINK_PERCENT: u32 = 50;
/// The same for a row of a table, whose first cell is often a link.
const LINK_PERCENT_ROW: u32 = 80;
/// What a line may say for each of its marks and once more, in tenths of a Han character; lists of keywords say more.
const CLAUSE: u32 = 60 * WIDE;
/// Vote of a picture that stands among the text, and of one that is a link; as many Han characters.
const PICTURE: i64 = 12;
/// See [`PICTURE`].
const LINKED_PICTURE: i64 = 2;
/// The most that one line of links counts against a part, in tenths of a Han character: text has such lines too.
const LINK_LINE: i64 = 40 * WIDE as i64;
/// Part of a page's sentences from which a part called furniture is content after all, in percent; `hard` names need more.
const WRAPS_PERCENT: u64 = 50;
/// See [`WRAPS_PERCENT`].
const WRAPS_PERCENT_HARD: u64 = 90;
/// An element named as an article's body with this part of the page's sentences makes everything around it no furniture, in
/// percent: layouts are called `with-sidebar` and articles `commented`.
const BODY_WRAPS_PERCENT: u64 = 25;
/// An element named as an article's body is taken within the winner if it has this part of its votes, in percent.
const BODY_PERCENT: i64 = 60;
/// Content with less than this is no content: then everything that is no furniture is taken, in tenths of a Han character.
const FEWEST: u64 = 20 * WIDE as u64;

/// Content with less than this may be the one sentence of a page of lists, in tenths of a Han character.
const SHORT: u64 = 100 * WIDE as u64;
/// Blocks above the content among which its first pictures are looked for.
const LEAD_REACH: usize = 8;
/// The page's own `main` or body is taken instead of such content when it holds more than so many times as much.
const BODY_HOLDS_MORE: u64 = 3;

/// Which blocks are the content: one flag each.
pub(crate) fn choose(tree: &Tree<'_>, lines: &Lines) -> Vec<bool> {
    let blocks = &lines.blocks;
    let furniture = furniture(lines);
    let votes: Vec<i64> = blocks
        .iter()
        .zip(&furniture)
        .map(|(block, bad)| vote(tree, block, *bad))
        .collect();
    let range = best_range(tree, lines, &votes);
    let mut keep: Vec<bool> = blocks
        .iter()
        .zip(&furniture)
        .map(|(b, bad)| range.contains(&(b.node as usize)) && !bad)
        .collect();
    trim::content(blocks, &mut keep);
    lead_pictures(tree, blocks, &furniture, &mut keep);
    let weight = |keep: &[bool]| -> u64 {
        let kept = blocks.iter().zip(keep).filter(|(_, keep)| **keep);
        kept.map(|(b, _)| u64::from(b.weight)).sum()
    };
    let kept = weight(&keep);
    if kept < SHORT
        && let Some(whole) = whole_body(tree, lines, &furniture)
        && weight(&whole) > kept * BODY_HOLDS_MORE
    {
        keep = whole;
    } else if kept < FEWEST {
        keep = furniture.iter().map(|bad| !bad).collect();
        trim::furniture_lines(blocks, &mut keep);
        if weight(&keep) == 0 {
            keep.fill(true);
        }
    }
    keep
}

/// Pictures between a headline and the text often stand outside the element that holds the text.
fn lead_pictures(tree: &Tree<'_>, blocks: &[Raw], furniture: &[bool], keep: &mut [bool]) {
    let Some(first) = keep.iter().position(|keep| *keep) else {
        return;
    };
    let above = (0..first).rev().take(LEAD_REACH);
    let near = above.take_while(|i| !furniture[*i] && !is_link(&blocks[*i]));
    for i in near {
        let (block, node) = (&blocks[i], blocks[i].node as usize);
        let picture = block.kind == Kind::Image && !block.in_link;
        keep[i] =
            picture && images::looks_like_content(tree, node) && !images::is_tracker(tree, node);
    }
}

/// Whether a line is mostly link.
pub(crate) fn is_link(block: &Raw) -> bool {
    let limit = match block.kind {
        Kind::TableRow => LINK_PERCENT_ROW,
        _ => LINK_PERCENT,
    };
    block.weight > 0 && u64::from(block.link) * 100 > u64::from(block.weight) * u64::from(limit)
}

/// What a line says, without what only lists keywords.
fn said(block: &Raw) -> u32 {
    block.weight.min(CLAUSE.saturating_mul(block.n_marks + 1))
}

/// How much of a line is sentence, for the question what wraps the text.
fn sentence_weight(block: &Raw) -> u64 {
    let sentence = (block.n_marks > 0 && block.weight >= SENTENCE) || block.weight >= LONG;
    if sentence || block.kind == Kind::Code {
        u64::from(said(block).saturating_sub(block.link))
    } else {
        0
    }
}

/// One flag a block: whether it lies in a part that is called furniture and does not hold most of the page's sentences.
fn furniture(lines: &Lines) -> Vec<bool> {
    let mut before = Vec::with_capacity(lines.blocks.len() + 1);
    before.push(0u64);
    let mut sum = 0;
    for block in &lines.blocks {
        sum += sentence_weight(block);
        before.push(sum);
    }
    let sentences = |start: u32, end: u32| {
        let first = lines.blocks.partition_point(|b| b.node < start);
        let last = lines.blocks.partition_point(|b| b.node < end);
        (first, last, before[last.max(first)] - before[first])
    };
    let bodies: Vec<u32> = lines
        .bodies
        .iter()
        .filter(|body| sentences(body.start, body.end).2 * 100 >= sum.max(1) * BODY_WRAPS_PERCENT)
        .map(|body| body.start)
        .collect();
    // Regions begin in reading order, so marking is one pass with differences.
    let mut marks = vec![0i32; lines.blocks.len() + 1];
    for region in &lines.furniture {
        let (first, last, inside) = sentences(region.start, region.end);
        let next_body = bodies.partition_point(|body| *body <= region.start);
        let holds_body = region.kind != Furniture::Hidden
            && bodies.get(next_body).is_some_and(|body| *body < region.end);
        let limit = match region.kind {
            Furniture::Soft => WRAPS_PERCENT,
            Furniture::Hard | Furniture::Hidden => WRAPS_PERCENT_HARD,
        };
        let is_wrapper = holds_body || (inside > 0 && inside * 100 >= sum * limit);
        if !is_wrapper && first < last {
            marks[first] += 1;
            marks[last] -= 1;
        }
    }
    let mut depth = 0;
    marks[..lines.blocks.len()]
        .iter()
        .map(|mark| {
            depth += mark;
            depth > 0
        })
        .collect()
}

/// For (positive) or against (negative) a line, in tenths of a Han character.
fn vote(tree: &Tree<'_>, block: &Raw, furniture: bool) -> i64 {
    let weight = i64::from(block.weight);
    if furniture {
        return -weight;
    }
    if block.kind == Kind::Image {
        let n = match images::looks_like_content(tree, block.node as usize) {
            false => 0,
            true if block.in_link => LINKED_PICTURE,
            true => PICTURE,
        };
        return n * i64::from(WIDE);
    }
    if is_link(block) {
        return -weight.min(LINK_LINE) - i64::from(WIDE);
    }
    if phrases::is_furniture_line(&block.text) {
        return -weight;
    }
    let own = i64::from(said(block)) - 2 * i64::from(block.link);
    let sentence = block.n_marks > 0 && block.weight >= SENTENCE;
    match block.kind {
        Kind::Heading => 0,
        Kind::Code | Kind::Caption => own,
        _ if sentence || block.weight >= LONG => own,
        Kind::TableRow | Kind::ListItem | Kind::Quote => own / 3,
        // Short lines without a mark are labels on most pages and verse on some.
        _ => own / 8,
    }
}

/// The nodes of the part with the most votes.
fn best_range(tree: &Tree<'_>, lines: &Lines, votes: &[i64]) -> std::ops::Range<usize> {
    let mut sums = vec![0i64; tree.nodes.len() + 1];
    for (block, vote) in lines.blocks.iter().zip(votes) {
        if let Some(sum) = sums.get_mut(block.node as usize + 1) {
            *sum += vote;
        }
    }
    let mut running = 0;
    for sum in &mut sums {
        running += *sum;
        *sum = running;
    }
    let total = |node: usize| {
        let range = tree.range(node);
        sums[range.end] - sums[range.start]
    };
    let mut best = (0, total(0));
    for (node, at) in tree.nodes.iter().enumerate() {
        // Of equals the innermost: it comes last.
        if may_be_content(node, at) && total(node) >= best.1 {
            best = (node, total(node));
        }
    }
    let inside = tree.range(best.0);
    let mut body: Option<(usize, i64)> = None;
    for node in lines.bodies.iter().map(|body| body.start as usize) {
        let votes = total(node);
        let range = tree.range(node);
        let nested =
            inside.contains(&node) || (range.start < inside.start && inside.end <= range.end);
        if nested
            && votes * 100 >= best.1 * BODY_PERCENT
            && body.is_none_or(|(_, most)| votes >= most)
        {
            body = Some((node, votes));
        }
    }
    tree.range(body.map_or(best.0, |(node, _)| node))
}

/// Whether a node may be the whole content.
fn may_be_content(node: usize, at: &Node<'_>) -> bool {
    at.end as usize > node + 1 && (at.tag.breaks_line() || at.tag == Tag::Other)
}

/// What the largest element that the page calls its main part or the body of an article holds, lists of links and all.
fn whole_body(tree: &Tree<'_>, lines: &Lines, furniture: &[bool]) -> Option<Vec<bool>> {
    let bodies = lines.bodies.iter().map(|body| body.start);
    let largest = bodies
        .chain(lines.mains.iter().copied())
        .map(|node| tree.range(node as usize))
        .max_by_key(|range| range.len())?;
    let inside = lines.blocks.iter().zip(furniture);
    let mut keep: Vec<bool> = inside
        .map(|(b, bad)| largest.contains(&(b.node as usize)) && !bad)
        .collect();
    trim::furniture_lines(&lines.blocks, &mut keep);
    Some(keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "这是正文的第一段，它有标点，也够长，所以算作一句完整的话。";
    const B: &str = "这是正文的第二段，同样有标点，同样够长，读起来像一篇文章。";

    #[track_caller]
    fn check(html: &str, expected: &[&str]) {
        let tree = Tree::parse(html);
        let lines = Lines::of(&tree);
        let keep = choose(&tree, &lines);
        let texts: Vec<&str> = lines
            .blocks
            .iter()
            .zip(&keep)
            .filter(|(_, keep)| **keep)
            .map(|(b, _)| b.text.as_str())
            .collect();
        assert_eq!(texts, expected, "{html}");
    }

    fn menu(n: usize) -> String {
        let item = "<li><a href=x>栏目名称</a></li>";
        format!("<ul>{}</ul>", item.repeat(n))
    }

    #[test]
    fn content_stands_out_of_links() {
        let html = format!(
            "<div>{}</div><div><p>{A}</p><p>{B}</p></div><div>{}</div>",
            menu(9),
            menu(5)
        );
        check(&html, &[A, B]);
    }

    #[test]
    fn content_in_several_containers_is_joined() {
        let html = format!(
            "<div>{}</div><div><div><p>{A}</p></div><div><p>{B}</p></div></div>",
            menu(9)
        );
        check(&html, &[A, B]);
    }

    #[test]
    fn names_are_heard_unless_they_wrap_the_text() {
        check(
            &format!("<div><p>{A}</p><p>{B}</p></div><div class=comment><p>评论，{A}</p></div>"),
            &[A, B],
        );
        check(
            &format!("<div class=share-area><p>{A}</p><p>{B}</p></div>"),
            &[A, B],
        );
    }

    #[test]
    fn lists_of_links_inside_the_content_go_with_their_heading() {
        let html = format!(
            "<div><p>{A}</p><p>{B}</p><p><a href=x>参考资料</a></p><p>{A}</p><h3>其他</h3>{}</div>",
            menu(4)
        );
        check(&html, &[A, B, "参考资料", A]);
    }

    #[test]
    fn lines_of_furniture_go() {
        check(
            &format!("<div><p>{A}</p><p>{B}</p><p>责任编辑：张三</p></div>"),
            &[A, B],
        );
    }

    #[test]
    fn a_picture_under_the_headline_belongs_to_the_text() {
        let html = format!(
            "<a href=/><img src=logo.png></a>{}<h1>题目</h1><figure><img src=a.jpg><figcaption>说明</figcaption></figure>\
             <p>某记者</p><div class=entry-content><p>{A}</p><p>{B}</p></div>",
            menu(9)
        );
        check(&html, &["", A, B]);
    }

    #[test]
    fn a_page_of_lists_is_what_it_calls_its_main_part() {
        let list = "<li><a href=x>一个很长的目录条目</a></li>".repeat(9);
        let html = format!("{}<main><p>{A}</p><ul>{list}</ul></main>", menu(9));
        let mut expected = vec![A];
        expected.extend(["一个很长的目录条目"; 9]);
        check(&html, &expected);
    }

    #[test]
    fn a_page_without_content_is_kept_whole_but_for_its_furniture() {
        check(
            "<nav><a href=x>首页</a></nav><div><p>短</p></div><footer>底</footer>",
            &["短"],
        );
        check(&menu(2), &["栏目名称", "栏目名称"]);
        check("", &[]);
    }
}

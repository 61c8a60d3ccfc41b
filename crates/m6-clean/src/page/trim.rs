//! What is left out of the part of a page that was chosen: lists of links, what stands around posts, teasers of other pages, repeated
//! lines, imprints.

use super::blocks::{Kind, Raw, WIDE};
use super::phrases;
use super::score::is_link;
use super::thread;
use rustc_hash::FxHashSet;

/// Lines that are links in a row from which they are a list of links.
const LINK_RUN: usize = 3;
/// Links with a few words each from which they are teasers of other pages.
const TEASERS: usize = 3;
/// Lines of a teaser beside its link.
const TEASER_LINES: usize = 2;
/// Longest line of a teaser, in tenths of a Han character.
const LONGEST_TEASER: u32 = 90 * WIDE;
/// Teasers that hold more of the content than this, in percent, are what the page is for.
const TEASER_PERCENT: u64 = 40;
/// A line with less than this may be said twice, in tenths of a Han character.
const SHORTEST_REPEAT: u32 = 50 * WIDE;
/// Repeats that hold more of the content than this, in percent, are meant.
const REPEAT_PERCENT: u64 = 30;
/// Lines at the start of the content among which its imprint is looked for.
const IMPRINT_REACH: usize = 8;

/// Leaves out of the chosen blocks what belongs to the page and not to its text.
pub(crate) fn content(blocks: &[Raw], keep: &mut [bool]) {
    link_lists(blocks, keep);
    furniture_lines(blocks, keep);
    thread::around_posts(blocks, keep);
    teasers(blocks, keep);
    repeats(blocks, keep);
    imprint(blocks, keep);
}

/// Several links in a row are a list of links, and so are links at the ends of the content; a lone one between sentences or
/// under a heading belongs to them.
fn link_lists(blocks: &[Raw], keep: &mut [bool]) {
    let shown: Vec<usize> = (0..blocks.len()).filter(|i| keep[*i]).collect();
    let solid = |i: usize| {
        let b = &blocks[i];
        b.kind != Kind::Image && b.kind != Kind::Heading && !is_link(b)
    };
    let first = shown.iter().position(|i| solid(*i));
    let last = shown.iter().rposition(|i| solid(*i));
    let (Some(first), Some(last)) = (first, last) else {
        return;
    };
    let mut at = 0;
    while at < shown.len() {
        let run = shown[at..]
            .iter()
            .take_while(|i| is_link(&blocks[**i]) || blocks[**i].kind == Kind::Image)
            .count();
        let n_links = shown[at..at + run]
            .iter()
            .filter(|i| is_link(&blocks[**i]))
            .count();
        let under_heading = at > 0 && blocks[shown[at - 1]].kind == Kind::Heading;
        let at_an_end = at > last || at + run <= first;
        let lone = n_links == 0 || (n_links == 1 && under_heading);
        if n_links >= LINK_RUN || (at_an_end && !lone) {
            for i in &shown[at..at + run] {
                // Pictures of a list of links illustrate the links.
                keep[*i] = blocks[*i].kind == Kind::Image && !blocks[*i].in_link;
            }
            heading_above(blocks, keep, &shown[..at]);
        }
        at += run.max(1);
    }
}

/// The heading of something that was dropped goes with it, unless it is the first line of all.
fn heading_above(blocks: &[Raw], keep: &mut [bool], before: &[usize]) {
    if let [_, .., above] = before
        && blocks[*above].kind == Kind::Heading
    {
        keep[*above] = false;
    }
}

pub(crate) fn furniture_lines(blocks: &[Raw], keep: &mut [bool]) {
    for (block, keep) in blocks.iter().zip(keep) {
        *keep &= !(block.kind != Kind::Image && phrases::is_furniture_line(&block.text));
    }
}

/// Teasers of other pages at the end of the content: links, each with a few words about where it leads.
fn teasers(blocks: &[Raw], keep: &mut [bool]) {
    let shown: Vec<usize> = (0..blocks.len())
        .filter(|i| keep[*i] && blocks[*i].kind != Kind::Image)
        .collect();
    let (mut n_links, mut n_lines) = (0, 0);
    let mut start = shown.len();
    for (at, i) in shown.iter().enumerate().rev() {
        if is_link(&blocks[*i]) {
            n_links += 1;
            n_lines = 0;
            start = at;
            continue;
        }
        n_lines += 1;
        let is_short = blocks[*i].weight <= LONGEST_TEASER && blocks[*i].kind != Kind::Code;
        if n_lines > TEASER_LINES || !is_short {
            break;
        }
    }
    let weight =
        |part: &[usize]| -> u64 { part.iter().map(|i| u64::from(blocks[*i].weight)).sum() };
    let too_much = weight(&shown[start..]) * 100 > weight(&shown) * TEASER_PERCENT;
    if n_links < TEASERS || too_much {
        return;
    }
    let first = shown[start];
    for i in first..blocks.len() {
        keep[i] &= blocks[i].kind == Kind::Image && !blocks[i].in_link;
    }
    heading_above(blocks, keep, &shown[..start]);
}

/// A long line that was said before is the copy of a slide show or of a page for small screens.
fn repeats(blocks: &[Raw], keep: &mut [bool]) {
    let mut said: FxHashSet<&str> = FxHashSet::default();
    let mut again = Vec::new();
    let (mut weight, mut weight_again) = (0, 0);
    for (i, block) in blocks.iter().enumerate().filter(|(i, _)| keep[*i]) {
        weight += u64::from(block.weight);
        let prose = !matches!(block.kind, Kind::Image | Kind::Code | Kind::TableRow);
        if prose && block.weight >= SHORTEST_REPEAT && !said.insert(&block.text) {
            weight_again += u64::from(block.weight);
            again.push(i);
        }
    }
    if weight_again * 100 <= weight * REPEAT_PERCENT {
        for i in again {
            keep[i] = false;
        }
    }
}

/// The lines between headline and text that say when, where and by whom it was published.
fn imprint(blocks: &[Raw], keep: &mut [bool]) {
    let shown = (0..blocks.len()).filter(|i| keep[*i] && blocks[*i].kind != Kind::Image);
    let shown: Vec<usize> = shown.take(IMPRINT_REACH).collect();
    for i in shown {
        let plain = matches!(blocks[i].kind, Kind::Paragraph | Kind::ListItem);
        if plain && phrases::is_imprint(&blocks[i].text) {
            keep[i] = false;
        } else if blocks[i].weight >= LONGEST_TEASER {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocks::Lines;
    use super::super::tree::Tree;
    use super::*;

    const A: &str = "这是正文的第一段，它有标点，也够长，所以算作一句完整的话。";
    const B: &str = "这是正文的第二段，同样有标点，同样够长，读起来像一篇文章。";

    #[track_caller]
    fn check(html: &str, expected: &[&str]) {
        let lines = Lines::of(&Tree::parse(html));
        let mut keep = vec![true; lines.blocks.len()];
        content(&lines.blocks, &mut keep);
        let kept = lines.blocks.iter().zip(&keep).filter(|(_, keep)| **keep);
        let texts: Vec<&str> = kept.map(|(b, _)| b.text.as_str()).collect();
        assert_eq!(texts, expected, "{html}");
    }

    #[test]
    fn teasers_at_the_end_go_with_their_heading() {
        let teaser = "<div><a href=x>别的文章</a></div><div>说的是别的。</div>";
        let text = format!("<p>{A}</p><p>{B}</p><p>第三段，短一些。</p>");
        let html = format!("{text}<h3>推荐</h3>{}", teaser.repeat(3));
        check(&html, &[A, B, "第三段，短一些。"]);
        let few = format!("{text}{}", teaser.repeat(2));
        let blocks = Lines::of(&Tree::parse(&few)).blocks;
        let mut keep = vec![true; blocks.len()];
        teasers(&blocks, &mut keep);
        assert!(keep.iter().all(|keep| *keep), "two are no list");
    }

    #[test]
    fn long_lines_are_said_once() {
        let (two, long) = (format!("{A}{B}"), format!("{A}{B}").repeat(3));
        check(
            &format!("<p>{long}</p><p>{two}</p><p>短句。</p><p>{two}</p><p>短句。</p>"),
            &[&long, &two, "短句。", "短句。"],
        );
        check(&format!("<p>{two}</p><p>{two}</p>"), &[&two, &two]);
    }

    #[test]
    fn the_imprint_is_no_text() {
        check(
            &format!(
                "<h1>题目</h1><p>2019-09-26 12:11 来源：某报</p><p>{A}</p><p>2019年9月26日</p>"
            ),
            &["题目", A],
        );
    }
}

//! The title of a page without the name of its site.

use super::blocks::{Kind, Lines};
use super::entity;
use super::tag::Tag;
use super::token::Key;
use super::tree::Tree;

/// Marks between a page's title and its site's name.
const DIVIDERS: [&str; 9] = ["_", " - ", " | ", "|", " – ", "—", " :: ", " » ", "-"];
/// Shortest heading that may stand for the title, in characters.
const SHORTEST: usize = 2;
/// Headings looked at.
const MOST_HEADINGS: usize = 64;

/// The title: the heading that the page's `title` begins with or holds, else `og:title`, else the longest part of `title`.
/// Empty if the page has none.
pub(crate) fn of(tree: &Tree<'_>, lines: &Lines) -> String {
    let whole = page_title(tree);
    let headings: Vec<&str> = lines
        .blocks
        .iter()
        .filter(|b| b.kind == Kind::Heading && is_top_heading(tree, b.node as usize))
        .map(|b| b.text.as_str())
        .filter(|t| t.chars().nth(SHORTEST - 1).is_some())
        .take(MOST_HEADINGS)
        .collect();
    if let Some(heading) = headings.iter().find(|h| whole.starts_with(**h)) {
        return heading.to_string();
    }
    let held = headings.iter().filter(|h| whole.contains(**h));
    if let Some(heading) = held.max_by_key(|h| h.len()) {
        return heading.to_string();
    }
    let og = meta(tree, "og:title");
    if !og.is_empty() && (whole.is_empty() || whole.starts_with(&og)) {
        return og;
    }
    if whole.is_empty() {
        return headings.first().map(|h| h.to_string()).unwrap_or_default();
    }
    without_site(&whole).to_string()
}

fn is_top_heading(tree: &Tree<'_>, node: usize) -> bool {
    tree.ancestors(node)
        .find_map(|i| tree.nodes[i].tag.heading_level())
        .is_some_and(|level| level <= 2)
}

fn page_title(tree: &Tree<'_>) -> String {
    let title = tree
        .nodes
        .iter()
        .position(|n| n.tag == Tag::Title && tree.nodes[n.parent as usize].tag != Tag::Svg);
    let text = title
        .and_then(|i| tree.nodes.get(i + 1).filter(|n| n.parent as usize == i))
        .map(|n| entity::decode(n.text, false))
        .unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The content of a `meta` of this property or name.
fn meta(tree: &Tree<'_>, name: &str) -> String {
    let found = (0..tree.nodes.len())
        .filter(|i| tree.nodes[*i].tag == Tag::Meta)
        .find(|i| {
            [Key::Property, Key::Name].iter().any(|key| {
                tree.attr(*i, *key)
                    .is_some_and(|v| v.eq_ignore_ascii_case(name))
            })
        });
    let raw = found
        .and_then(|i| tree.attr(i, Key::Content))
        .unwrap_or_default();
    entity::decode(raw, true).trim().to_string()
}

/// The longest part between dividers; the first of equals.
fn without_site(title: &str) -> &str {
    for divider in DIVIDERS {
        // A bare hyphen divides words too; it counts where it leaves a real title.
        let mut best = "";
        for part in title.split(divider).map(str::trim) {
            if part.chars().count() > best.chars().count() {
                best = part;
            }
        }
        let enough = divider != "-" || best.chars().count() * 2 > title.chars().count();
        if title.contains(divider) && !best.is_empty() && enough {
            return best;
        }
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(html: &str, expected: &str) {
        let tree = Tree::parse(html);
        assert_eq!(of(&tree, &Lines::of(&tree)), expected, "{html}");
    }

    #[test]
    fn titles() {
        check(
            "<title>前言 - 一本书</title><h1>一本书</h1><h1>前言</h1>",
            "前言",
        );
        check("<title>新闻标题_教育频道_某网</title>", "新闻标题");
        check(
            "<title>某网|今天的新闻标题很长</title><h1>别的</h1>",
            "今天的新闻标题很长",
        );
        check(
            "<meta property=og:title content='A &amp; B'><title>A &amp; B | site</title>",
            "A & B",
        );
        check("<h1>只有标题</h1>", "只有标题");
        check("<p>x", "");
        check("<title>well-known</title>", "well-known");
    }
}

//! The title of a page without the name of its site.

use super::blocks::{Kind, Lines};
use super::entity;
use super::line;
use super::tag::Tag;
use super::token::Key;
use super::tree::Tree;

/// Marks between a page's title and its site's name.
const DIVIDERS: [&str; 9] = ["_", " - ", " | ", "|", " – ", "—", " :: ", " » ", "-"];
/// Shortest heading that may stand for the title, in characters.
const SHORTEST: usize = 2;
/// Headings looked at.
const MOST_HEADINGS: usize = 64;

/// What a page and its site are called.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The title without the site's name; may be empty.
    pub(crate) title: String,
    /// The title as the page's `title` has it.
    whole: String,
    /// `og:title`.
    og: String,
    /// `og:site_name`.
    site: String,
}

/// Which of its names a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// The page's.
    Page,
    /// The site's, or that of a part of it.
    Site,
}

impl Names {
    /// The names of a page.
    pub(crate) fn of(tree: &Tree<'_>, lines: &Lines) -> Self {
        Self {
            title: of(tree, lines),
            whole: page_title(tree),
            og: meta(tree, "og:title"),
            site: meta(tree, "og:site_name"),
        }
    }

    /// Which of the names a text is, if it is one.
    pub(crate) fn which(&self, text: &str) -> Option<Name> {
        if text.is_empty() {
            return None;
        }
        if [&self.title, &self.whole, &self.og]
            .iter()
            .any(|name| *name == text)
        {
            return Some(Name::Page);
        }
        // A bare hyphen joins words too.
        let divided = DIVIDERS.iter().filter(|divider| **divider != "-");
        let is_part = divided
            .filter(|divider| self.whole.contains(**divider))
            .any(|divider| self.whole.split(divider).any(|part| part.trim() == text));
        (is_part || text == self.site).then_some(Name::Site)
    }
}

/// The title: the heading that the page's `title` begins with or holds, else `og:title`, else the longest part of `title`.
/// Empty if the page has none.
fn of(tree: &Tree<'_>, lines: &Lines) -> String {
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
    line::shown(&text)
}

/// The content of a `meta` of this property or name.
pub(crate) fn meta(tree: &Tree<'_>, name: &str) -> String {
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
    line::shown(&entity::decode(raw, true))
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

    #[test]
    fn names_of_page_and_site() {
        let html = "<meta property=og:site_name content=某网站><title>木马-玩具_大图_某网</title>";
        let tree = Tree::parse(html);
        let names = Names::of(&tree, &Lines::of(&tree));
        for (text, expected) in [
            ("木马-玩具", Some(Name::Page)),
            ("木马-玩具_大图_某网", Some(Name::Page)),
            ("某网", Some(Name::Site)),
            ("大图", Some(Name::Site)),
            ("某网站", Some(Name::Site)),
            ("木马", None),
            ("", None),
        ] {
            assert_eq!(names.which(text), expected, "{text}");
        }
    }
}

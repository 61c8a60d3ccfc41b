//! The tree of a page, in one vector in reading order: a subtree is a range, so nothing here or later recurses.
//!
//! Scripting is off, so `noscript` holds elements. Tag soup is mended as the standard says where it changes which text stands
//! where (implied end tags, tables, lists, headings); two of its repairs only move formatting about and are left out: the
//! adoption agency, and text of a table outside its cells stays in place instead of moving before the table.

use super::tag::Tag;
use super::token::{Attr, Key, Token, Tokenizer};

/// Elements open at once; what is deeper hangs off the last one (browsers use 512 too).
pub(crate) const MOST_DEEP: usize = 512;

/// Nodes of one page, some 40 bytes each; the rest of such a page is not read.
const MOST_NODES: usize = 2_000_000;

/// An element or a run of text.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    /// Which element, or [`Tag::Text`].
    pub(crate) tag: Tag,
    n_attrs: u16,
    first_attr: u32,
    /// The element it is in.
    pub(crate) parent: u32,
    /// One past the last node inside it.
    pub(crate) end: u32,
    /// Text as written, or an element's name.
    pub(crate) text: &'a str,
}

/// A page as nodes in reading order; node 0 is the document.
pub(crate) struct Tree<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    attrs: Vec<Attr<'a>>,
    /// Whether the page has more nodes than are read.
    pub(crate) cut: bool,
}

impl<'a> Tree<'a> {
    /// Reads a page.
    pub(crate) fn parse(html: &'a str) -> Self {
        let mut builder = Builder::new(html.len());
        let mut tokens = Tokenizer::new(html);
        while let Some(token) = tokens.next() {
            if builder.tree.nodes.len() >= MOST_NODES {
                builder.tree.cut = true;
                break;
            }
            match token {
                Token::Text(text) => builder.text(text),
                Token::End { tag, name } => builder.end(tag, name),
                Token::Start {
                    tag,
                    name,
                    self_closing,
                } => {
                    let drawn = self_closing && builder.any_open(Tag::Svg);
                    builder.start(tag, name, self_closing, &tokens.attrs);
                    if tag.is_raw_text() && !drawn {
                        let content = tokens.raw_text(tag, name);
                        builder.raw(tag, content);
                    }
                }
            }
        }
        builder.finish()
    }

    /// The value of an attribute as written, if the element has it.
    pub(crate) fn attr(&self, node: usize, key: Key) -> Option<&'a str> {
        self.attrs(node)
            .iter()
            .find(|attr| attr.key == key)
            .map(|attr| attr.value)
    }

    /// The attributes of a node.
    pub(crate) fn attrs(&self, node: usize) -> &[Attr<'a>] {
        let Some(node) = self.nodes.get(node) else {
            return &[];
        };
        let first = node.first_attr as usize;
        self.attrs
            .get(first..first + usize::from(node.n_attrs))
            .unwrap_or_default()
    }

    /// The subtree of a node as a range of nodes, itself first.
    pub(crate) fn range(&self, node: usize) -> std::ops::Range<usize> {
        self.nodes
            .get(node)
            .map_or(0..0, |n| node..(n.end as usize).max(node + 1))
    }

    /// Nodes from `node` up to the document, itself first.
    pub(crate) fn ancestors(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let mut next = Some(node);
        std::iter::from_fn(move || {
            let here = next?;
            next = (here != 0).then(|| self.nodes[here].parent as usize);
            Some(here)
        })
    }
}

struct Builder<'a> {
    tree: Tree<'a>,
    /// Open elements, the document first.
    open: Vec<(u32, Tag)>,
    /// Open `p`, `a`, `svg`/`math`, `table`: searches for none of them need no walk.
    n_open: [u32; 4],
    /// Start tags that were too deep to stay open.
    n_too_deep: usize,
    in_head: bool,
    seen_body: bool,
}

/// The slot of [`Builder::n_open`] that counts a tag.
fn counted(tag: Tag) -> Option<usize> {
    match tag {
        Tag::P => Some(0),
        Tag::A => Some(1),
        Tag::Svg | Tag::Math => Some(2),
        Tag::Table => Some(3),
        _ => None,
    }
}

impl<'a> Builder<'a> {
    fn new(n_bytes: usize) -> Self {
        let document = Node {
            tag: Tag::Document,
            n_attrs: 0,
            first_attr: 0,
            parent: 0,
            end: 0,
            text: "",
        };
        // Real pages have a node in 30 to 60 bytes; the vector grows if this one has more.
        let mut nodes = Vec::with_capacity((n_bytes / 48).clamp(16, MOST_NODES));
        nodes.push(document);
        Self {
            tree: Tree {
                nodes,
                attrs: Vec::new(),
                cut: false,
            },
            open: vec![(0, Tag::Document)],
            n_open: [0; 4],
            n_too_deep: 0,
            in_head: false,
            seen_body: false,
        }
    }

    fn top(&self) -> (u32, Tag) {
        self.open.last().copied().unwrap_or((0, Tag::Document))
    }

    fn any_open(&self, tag: Tag) -> bool {
        counted(tag).is_none_or(|slot| self.n_open[slot] > 0)
    }

    fn add(&mut self, tag: Tag, text: &'a str, attrs: &[Attr<'a>]) -> u32 {
        let index = self.tree.nodes.len() as u32;
        let first_attr = self.tree.attrs.len() as u32;
        self.tree.attrs.extend_from_slice(attrs);
        self.tree.nodes.push(Node {
            tag,
            n_attrs: attrs.len() as u16,
            first_attr,
            parent: self.top().0,
            end: index + 1,
            text,
        });
        index
    }

    fn text(&mut self, text: &'a str) {
        let blank = text.bytes().all(super::token::is_blank);
        if self.in_head && !blank {
            self.leave_head();
        }
        if !(blank && self.in_head) {
            self.add(Tag::Text, text, &[]);
        }
    }

    fn raw(&mut self, tag: Tag, content: &'a str) {
        // Of these only a title's text is ever read, so only a title is open now.
        if tag == Tag::Title && self.top().1 == Tag::Title {
            self.add(Tag::Text, content, &[]);
            self.pop();
        }
    }

    fn pop(&mut self) {
        if self.open.len() < 2 {
            return;
        }
        if let Some((node, tag)) = self.open.pop() {
            self.tree.nodes[node as usize].end = self.tree.nodes.len() as u32;
            if let Some(slot) = counted(tag) {
                self.n_open[slot] -= 1;
            }
            self.in_head &= tag != Tag::Head;
        }
    }

    /// Closes open elements down to the one at this place of the stack, which goes too.
    fn pop_through(&mut self, place: usize) {
        while self.open.len() > place.max(1) {
            self.pop();
        }
    }

    /// Where on the stack the innermost element is that `wanted` names, searched up to a wall.
    fn find(&self, wanted: impl Fn(Tag) -> bool, wall: impl Fn(Tag) -> bool) -> Option<usize> {
        for (place, (_, tag)) in self.open.iter().enumerate().rev() {
            if wanted(*tag) {
                return Some(place);
            }
            if wall(*tag) {
                return None;
            }
        }
        None
    }

    fn close(&mut self, wanted: impl Fn(Tag) -> bool, wall: impl Fn(Tag) -> bool) -> bool {
        let found = self.find(wanted, wall);
        if let Some(place) = found {
            self.pop_through(place);
        }
        found.is_some()
    }

    fn close_paragraph(&mut self) {
        if self.any_open(Tag::P) {
            self.close(|t| t == Tag::P, |t| t.is_scope_wall() || t == Tag::Button);
        }
    }

    fn leave_head(&mut self) {
        self.close(|t| t == Tag::Head, |_| false);
        self.in_head = false;
    }

    fn start(&mut self, tag: Tag, name: &'a str, self_closing: bool, attrs: &[Attr<'a>]) {
        if self.in_head && !tag.may_stand_in_head() {
            self.leave_head();
        }
        match tag {
            Tag::Html | Tag::Head | Tag::Body => return self.start_frame(tag, name, attrs),
            _ if tag.is_table_part() => {
                if !self.start_table_part(tag) {
                    return;
                }
            }
            _ => self.start_repairs(tag),
        }
        let in_drawing = self.any_open(Tag::Svg);
        let tag = if tag == Tag::Image && !in_drawing {
            Tag::Img
        } else {
            tag
        };
        let node = self.add(tag, name, attrs);
        let leaf = tag.is_void()
            || (self_closing && (in_drawing || matches!(tag, Tag::Svg | Tag::Math)))
            || (tag.is_raw_text() && tag != Tag::Title);
        if leaf {
            return;
        }
        if self.open.len() >= MOST_DEEP && tag != Tag::Title {
            self.n_too_deep += 1;
            return;
        }
        self.open.push((node, tag));
        if let Some(slot) = counted(tag) {
            self.n_open[slot] += 1;
        }
    }

    /// `html`, `head` and `body` are there once.
    fn start_frame(&mut self, tag: Tag, name: &'a str, attrs: &[Attr<'a>]) {
        let again = match tag {
            Tag::Html => self.open.iter().any(|(_, t)| *t == Tag::Html),
            Tag::Head => self.seen_body || self.in_head,
            _ => std::mem::replace(&mut self.seen_body, true),
        };
        if again || self.open.len() >= MOST_DEEP {
            return;
        }
        let node = self.add(tag, name, attrs);
        self.open.push((node, tag));
        self.in_head |= tag == Tag::Head;
    }

    /// What a start tag closes before it opens.
    fn start_repairs(&mut self, tag: Tag) {
        if self.any_open(Tag::Svg)
            && tag.breaks_out_of_drawing()
            && !self.open.iter().any(|(_, t)| *t == Tag::ForeignObject)
        {
            while self.close(|t| matches!(t, Tag::Svg | Tag::Math), |_| false) {}
        }
        let wall = |t: Tag| t.is_special() && !matches!(t, Tag::Address | Tag::Div | Tag::P);
        match tag {
            Tag::Li => {
                self.close(|t| t == Tag::Li, |t| t != Tag::Li && wall(t));
            }
            Tag::Dd | Tag::Dt => {
                let pair = |t| matches!(t, Tag::Dd | Tag::Dt);
                self.close(pair, |t| !pair(t) && wall(t));
            }
            Tag::A if self.any_open(Tag::A) => {
                self.close(|t| t == Tag::A, Tag::is_special);
            }
            Tag::Button => {
                self.close(|t| t == Tag::Button, Tag::is_scope_wall);
            }
            Tag::Option | Tag::Optgroup if self.top().1 == Tag::Option => self.pop(),
            Tag::Table if matches!(self.top().1, Tag::Table | Tag::Tbody | Tag::Tr) => {
                self.close(|t| t == Tag::Table, |_| false);
            }
            _ => {}
        }
        if tag.ends_paragraph() || tag == Tag::P {
            self.close_paragraph();
        }
        if tag.heading_level().is_some() && self.top().1.heading_level().is_some() {
            self.pop();
        }
    }

    /// Clears the table's stack for one of its parts; false where there is no table to be part of.
    fn start_table_part(&mut self, tag: Tag) -> bool {
        let Some(table) = self.find(|t| t == Tag::Table, |t| t == Tag::Template) else {
            return false;
        };
        let stays = |t: Tag| match tag {
            Tag::Td | Tag::Th => matches!(t, Tag::Tr | Tag::Tbody | Tag::Thead | Tag::Tfoot),
            Tag::Tr => matches!(t, Tag::Tbody | Tag::Thead | Tag::Tfoot),
            Tag::Col => t == Tag::Colgroup,
            _ => false,
        };
        let keep = self.open[table..]
            .iter()
            .rposition(|(_, t)| stays(*t))
            .map_or(table, |n| table + n);
        self.pop_through(keep + 1);
        true
    }

    fn end(&mut self, tag: Tag, name: &str) {
        if tag == Tag::Br {
            self.add(Tag::Br, "br", &[]);
            return;
        }
        if matches!(tag, Tag::Html | Tag::Body) || tag.is_void() {
            return;
        }
        if self.n_too_deep > 0 {
            self.n_too_deep -= 1;
            return;
        }
        match tag {
            Tag::P => self.close_paragraph(),
            Tag::Table => {
                self.close(|t| t == Tag::Table, |t| t == Tag::Template);
            }
            Tag::Tr | Tag::Tbody | Tag::Thead | Tag::Tfoot | Tag::Td | Tag::Th => {
                let wall = |t| matches!(t, Tag::Table | Tag::Template);
                self.close(|t| t == tag, wall);
            }
            Tag::Li => {
                let wall = |t: Tag| t.is_scope_wall() || matches!(t, Tag::Ol | Tag::Ul);
                self.close(|t| t == Tag::Li, wall);
            }
            _ if tag.heading_level().is_some() => {
                self.close(|t| t.heading_level().is_some(), Tag::is_scope_wall);
            }
            _ if tag.is_special() => {
                self.close(|t| t == tag, |t| t != tag && t.is_scope_wall());
            }
            Tag::Other => self.end_unknown(name),
            _ if self.any_open(tag) => self.end_inline(tag),
            _ => {}
        }
    }

    fn end_inline(&mut self, tag: Tag) {
        // `<a><div></a>` leaves the link open until the block ends.
        self.close(|t| t == tag, |t| t != tag && t.is_special());
    }

    fn end_unknown(&mut self, name: &str) {
        for (place, (node, tag)) in self.open.iter().enumerate().rev() {
            let same = *tag == Tag::Other
                && self.tree.nodes[*node as usize]
                    .text
                    .eq_ignore_ascii_case(name);
            if same {
                return self.pop_through(place);
            }
            if tag.is_special() {
                return;
            }
        }
    }

    fn finish(mut self) -> Tree<'a> {
        self.pop_through(1);
        let n = self.tree.nodes.len() as u32;
        self.tree.nodes[0].end = n;
        self.tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as nested brackets.
    fn shape(html: &str) -> String {
        let tree = Tree::parse(html);
        let mut out = String::new();
        let mut ends: Vec<usize> = Vec::new();
        for (i, node) in tree.nodes.iter().enumerate().skip(1) {
            while ends.last().is_some_and(|end| *end <= i) {
                out.push(')');
                ends.pop();
            }
            match node.tag {
                Tag::Text => out.push_str(&format!("'{}'", node.text)),
                _ => {
                    out.push_str(&format!("{}(", node.text));
                    ends.push(node.end as usize);
                }
            }
        }
        out.push_str(&")".repeat(ends.len()));
        out
    }

    #[track_caller]
    fn check(html: &str, expected: &str) {
        assert_eq!(shape(html), expected, "{html}");
    }

    #[test]
    fn end_tags_that_are_left_out() {
        check("<p>a<p>b<div>c</div>", "p('a')p('b')div('c')");
        check(
            "<ul><li>a<li>b<ul><li>c</ul></ul>",
            "ul(li('a')li('b'ul(li('c'))))",
        );
        check("<dl><dt>a<dd>b<dt>c</dl>d", "dl(dt('a')dd('b')dt('c'))'d'");
        check("<h1>a<h2>b</h1>c", "h1('a')h2('b')'c'");
        check(
            "<table><tr><td>a<td>b<tr><td>c</table>d",
            "table(tr(td('a')td('b'))tr(td('c')))'d'",
        );
        check("<td>a</td>b", "'a''b'");
        check("<a>b<a>c</a>d", "a('b')a('c')'d'");
        check(
            "<select><option>a<option>b</select>c",
            "select(option('a')option('b'))'c'",
        );
    }

    #[test]
    fn end_tags_that_fit_nothing() {
        check("<div>a</p></span>b</div>c", "div('a''b')'c'");
        check("<div><b>a</div>b", "div(b('a'))'b'");
        check("<x-y>a</x-z></x-y>b", "x-y('a')'b'");
        check("<table><tr><td><p>a</table>b", "table(tr(td(p('a'))))'b'");
        check("a</br>b", "'a'br()'b'");
    }

    #[test]
    fn head_and_body_are_there_once() {
        check("<html><head><title>t</title>x", "html(head(title('t'))'x')");
        check(
            "<head><noscript><img src=a></noscript></head><body>b",
            "head(noscript())img()body('b')",
        );
        check(
            "<html><body>a<html><body>b</body></html>c",
            "html(body('a''b''c'))",
        );
        check("<noscript><p>a</p></noscript>", "noscript(p('a'))");
    }

    #[test]
    fn drawings_end_where_text_begins() {
        check("<svg><path/><g>x</g></svg>y", "svg(path()g('x'))'y'");
        check("<svg><g><p>a</p>", "svg(g())p('a')");
        check("<svg/>a", "svg()'a'");
    }

    #[test]
    fn a_deep_page_is_flat_beyond_the_limit_and_keeps_its_text() {
        let n = 100_000;
        let html = format!("{}x{}y", "<div>".repeat(n), "</div>".repeat(n));
        let tree = Tree::parse(&html);
        assert_eq!(tree.nodes.len(), n + 3);
        let texts: Vec<_> = tree.nodes.iter().filter(|n| n.tag == Tag::Text).collect();
        assert_eq!(texts.len(), 2);
        let deepest = tree.ancestors(n + 1).count();
        assert!(deepest <= MOST_DEEP + 1, "{deepest}");
        assert_eq!(texts[1].parent, 0, "all end tags are paired");
    }

    #[test]
    fn a_page_of_tags_alone_stops_at_the_limit() {
        let html = "<b>".repeat(MOST_NODES + 5);
        let tree = Tree::parse(&html);
        assert!(tree.cut && tree.nodes.len() <= MOST_NODES);
    }
}

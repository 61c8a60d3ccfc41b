//! A page's tree to lines of text and pictures in reading order, each with the numbers that tell content from furniture.

use super::entity;
use super::hints::{self, Furniture, Hint};
use super::images;
use super::line::{Line, State};
use super::tag::Tag;
use super::token::Key;
use super::tree::Tree;

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A heading.
    Heading,
    /// A paragraph, or a line of no other kind.
    Paragraph,
    /// An item of a list.
    ListItem,
    /// A row of a table, its cells joined by ` | `.
    TableRow,
    /// Program text or other text with its own line breaks.
    Code,
    /// Quoted text.
    Quote,
    /// The words under a picture.
    Caption,
    /// A picture.
    Image,
}

/// Weight of a Han character; a Latin letter is [`NARROW`]. Tenths of a Han character.
pub(crate) const WIDE: u32 = 10;
/// Weight of a letter or digit of other scripts.
pub(crate) const NARROW: u32 = 4;

/// A block before it is decided whether it is kept.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// How much it says, in tenths of a Han character.
    pub(crate) weight: u32,
    /// The part of `weight` that is in links.
    pub(crate) link: u32,
    /// Marks of punctuation that end or join clauses.
    pub(crate) n_marks: u32,
    /// First node of it; for a picture its element.
    pub(crate) node: u32,
    /// The innermost table row around it, or 0.
    pub(crate) row: u32,
    /// The cell of that row, or 0.
    pub(crate) cell: u32,
    /// Whether it is inside a link as a whole (pictures).
    pub(crate) in_link: bool,
}

/// A part of the page that its author named as furniture.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) kind: Furniture,
}

/// An element that its author named as the body of an article.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// What a walk over the tree finds.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) blocks: Vec<Raw>,
    pub(crate) furniture: Vec<Region>,
    /// Elements named as the body of an article.
    pub(crate) bodies: Vec<Body>,
    /// Elements that hold the page's main part.
    pub(crate) mains: Vec<u32>,
}

impl Lines {
    /// The lines of a page.
    pub(crate) fn of(tree: &Tree<'_>) -> Self {
        let mut walk = Walk {
            tree,
            lines: Self::default(),
            open: vec![State::document(tree.nodes.len())],
            line: Line::default(),
            waiting: Vec::new(),
        };
        let mut node = 1;
        while node < tree.nodes.len() {
            walk.leave(node);
            node = walk.visit(node);
        }
        walk.flush();
        let mut lines = walk.lines;
        join_rows(&mut lines.blocks);
        lines
    }
}

struct Walk<'t, 'a> {
    tree: &'t Tree<'a>,
    lines: Lines,
    open: Vec<State>,
    line: Line,
    /// Pictures that stand in the open line: they follow it.
    waiting: Vec<Raw>,
}

impl Walk<'_, '_> {
    fn state(&self) -> State {
        self.open
            .last()
            .copied()
            .unwrap_or_else(|| State::document(self.tree.nodes.len()))
    }

    fn leave(&mut self, node: usize) {
        while self.open.len() > 1 && self.state().end <= node {
            if self.state().breaks {
                self.flush();
            }
            self.open.pop();
        }
    }

    /// Takes one node and says which is next: a part without text is stepped over as a whole.
    fn visit(&mut self, node: usize) -> usize {
        let here = &self.tree.nodes[node];
        let state = self.state();
        match here.tag {
            Tag::Text => {
                if !state.muted {
                    let text = entity::decode(here.text, false);
                    self.line.push(&text, node, state);
                }
                node + 1
            }
            Tag::Img | Tag::AmpImg => {
                self.picture(node, state);
                node + 1
            }
            Tag::Br => {
                if self.line.break_line(state.keeps_blanks) {
                    self.flush();
                }
                node + 1
            }
            tag if tag.is_never_text() => here.end as usize,
            tag => {
                self.enter(node, tag, state);
                node + 1
            }
        }
    }

    fn picture(&mut self, node: usize, state: State) {
        let picture = Raw {
            kind: Kind::Image,
            text: String::new(),
            weight: 0,
            link: 0,
            n_marks: 0,
            node: node as u32,
            row: state.row,
            cell: state.cell,
            in_link: state.in_link,
        };
        if self.line.text.is_empty() {
            self.lines.blocks.push(picture);
        } else {
            self.waiting.push(picture);
        }
    }

    fn enter(&mut self, node: usize, tag: Tag, outer: State) {
        let end = self.tree.nodes[node].end as usize;
        let breaks = tag.breaks_line();
        // Names inside a line or inside program text colour words.
        let named = (breaks || tag == Tag::Other) && !outer.keeps_blanks;
        let hint = if named {
            hints::of(self.tree, node)
        } else {
            Hint::default()
        };
        if breaks {
            self.flush();
        }
        if end == node + 1 {
            return;
        }
        if named {
            self.note(node, end, hint);
        }
        let mut state = State {
            end,
            breaks,
            ..outer
        };
        state.in_link |= tag == Tag::A && !self.leads_nowhere(node, outer.kind);
        state.muted |= tag == Tag::Noscript;
        match tag {
            Tag::Pre | Tag::Listing => {
                state.keeps_blanks = true;
                state.kind = Kind::Code;
            }
            Tag::Li | Tag::Dd | Tag::Dt => state.kind = Kind::ListItem,
            Tag::Blockquote => state.kind = Kind::Quote,
            Tag::Tr => (state.row, state.cell) = (node as u32, 0),
            Tag::Td | Tag::Th => state.cell = node as u32,
            Tag::P | Tag::Div if state.kind == Kind::Heading => state.kind = Kind::Paragraph,
            _ if tag.heading_level().is_some() => state.kind = Kind::Heading,
            _ => {}
        }
        if hint.caption && state.kind == Kind::Paragraph {
            state.kind = Kind::Caption;
        }
        self.open.push(state);
    }

    /// Whether a link is none: a heading that links to its own place, a picture to its larger copy.
    fn leads_nowhere(&self, node: usize, kind: Kind) -> bool {
        let href = self.tree.attr(node, Key::Href).unwrap_or_default().trim();
        let own_place = href.is_empty() || href.starts_with('#');
        (kind == Kind::Heading && own_place) || images::has_picture_suffix(href)
    }

    fn note(&mut self, node: usize, end: usize, hint: Hint) {
        if let Some(kind) = hint.furniture {
            self.lines.furniture.push(Region {
                start: node as u32,
                end: end as u32,
                kind,
            });
        }
        if hint.body {
            self.lines.bodies.push(Body {
                start: node as u32,
                end: end as u32,
            });
        }
        if self.tree.nodes[node].tag == Tag::Main {
            self.lines.mains.push(node as u32);
        }
    }

    fn flush(&mut self) {
        if let Some(block) = self.line.take() {
            self.lines.blocks.push(block);
        }
        self.lines.blocks.append(&mut self.waiting);
    }
}

/// Longest cell of a row that is joined with its neighbours, in tenths of a Han character; longer ones are layout.
const LONGEST_CELL: u32 = 60 * WIDE;

/// Rows whose cells are one short line each become one block; layout tables stay as they are.
fn join_rows(blocks: &mut Vec<Raw>) {
    let mut from = 0;
    let mut out: Vec<Raw> = Vec::with_capacity(blocks.len());
    let mut all: Vec<Option<Raw>> = std::mem::take(blocks).into_iter().map(Some).collect();
    while from < all.len() {
        let row = all[from].as_ref().map_or(0, |b| b.row);
        let n = all[from..]
            .iter()
            .take_while(|b| b.as_ref().is_some_and(|b| b.row == row))
            .count();
        let cells = &mut all[from..from + n];
        if row != 0 && n > 1 && is_data_row(cells) {
            out.extend(join_cells(cells));
        } else {
            out.extend(cells.iter_mut().filter_map(Option::take));
        }
        from += n.max(1);
    }
    *blocks = out;
}

fn is_data_row(cells: &[Option<Raw>]) -> bool {
    let mut last = 0;
    cells.iter().flatten().all(|b| {
        let own = b.cell > last;
        last = b.cell;
        own && b.weight <= LONGEST_CELL
            && !matches!(b.kind, Kind::Image | Kind::Code | Kind::Heading)
    })
}

fn join_cells(cells: &mut [Option<Raw>]) -> Option<Raw> {
    let mut cells = cells.iter_mut().filter_map(Option::take);
    let mut row = cells.next()?;
    row.kind = Kind::TableRow;
    for cell in cells {
        row.text.push_str(" | ");
        row.text.push_str(&cell.text);
        row.weight += cell.weight;
        row.link += cell.link;
        row.n_marks += cell.n_marks;
    }
    Some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(html: &str, expected: &[&str]) {
        let lines = Lines::of(&Tree::parse(html));
        let texts: Vec<String> = lines
            .blocks
            .iter()
            .map(|b| {
                if b.kind == Kind::Image {
                    "[img]".to_string()
                } else {
                    b.text.clone()
                }
            })
            .collect();
        assert_eq!(texts, expected, "{html}");
    }

    #[test]
    fn lines_and_blanks() {
        check("<p>a <b>b</b>\n c</p>d", &["a b c", "d"]);
        check(
            "<p>　　中文\n  换行，<i>再</i>\n来 空格</p>",
            &["中文换行，再来 空格"],
        );
        check("中&nbsp;&nbsp;文\u{200b}字\u{0}", &["中 文字"]);
        check("a<br>b<br><br>c", &["a\nb", "c"]);
        check("<div>a<p>b</p>c</div>", &["a", "b", "c"]);
        check(
            "x<script>y</script><style>z</style><select><option>w</select>",
            &["x"],
        );
        check("<title>t</title><body><noscript>请启用</noscript>x", &["x"]);
    }

    #[test]
    fn pictures_follow_the_line_they_stand_in() {
        check("<p><img src=a>x</p>", &["[img]", "x"]);
        check("<p>x<img src=a>y</p>z", &["xy", "[img]", "z"]);
        check("<noscript><img src=a>no</noscript>", &["[img]"]);
    }

    #[test]
    fn program_text_keeps_its_lines_and_loses_its_numbers() {
        check("<pre>\n a\n\tb &lt; c\n</pre>", &[" a\n\tb < c"]);
        check("<pre>1\n2\n3</pre><pre>x = 1</pre>", &["x = 1"]);
        check("<pre><span>a</span><br><span>b</span></pre>", &["a\nb"]);
    }

    #[test]
    fn rows_of_data_are_joined_and_rows_of_layout_are_not() {
        check(
            "<table><tr><td>a<td>b<tr><td>c<td>d</table>",
            &["a | b", "c | d"],
        );
        check("<table><tr><td><p>a<p>b<td>c</table>", &["a", "b", "c"]);
        check(
            &format!("<tr><td>a<table><tr><td>{0}<td>b</table>", "长".repeat(61)),
            &["a", &"长".repeat(61), "b"],
        );
    }

    #[test]
    fn names_inside_program_text_and_lines_are_not_heard() {
        let html = "<pre><span class=comment>x</span></pre><p><span class=ad>y</span></p>";
        assert!(Lines::of(&Tree::parse(html)).furniture.is_empty());
    }

    #[test]
    fn a_heading_that_links_to_itself_is_no_link() {
        let lines = Lines::of(&Tree::parse(
            "<h2><a href=#x>题</a></h2><h2><a href=x>题</a></h2>",
        ));
        let links: Vec<u32> = lines.blocks.iter().map(|b| b.link).collect();
        assert_eq!(links, [0, WIDE]);
    }

    #[test]
    fn weights_links_and_marks() {
        let lines = Lines::of(&Tree::parse("<p>中文，<a href=x>ab</a></p>"));
        let block = &lines.blocks[0];
        assert_eq!((block.weight, block.link, block.n_marks), (28, 8, 1));
    }
}

//! One line of a page as it is put together from runs of text: blanks as a browser shows them, and the numbers that tell content
//! from furniture.

use super::blocks::{Kind, NARROW, Raw, WIDE};
use super::lang::{is_han, is_wide};

/// What holds inside an open element.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) end: usize,
    pub(super) breaks: bool,
    pub(super) kind: Kind,
    pub(super) row: u32,
    pub(super) cell: u32,
    pub(super) in_link: bool,
    pub(super) keeps_blanks: bool,
    pub(super) muted: bool,
}

impl State {
    pub(super) fn document(end: usize) -> Self {
        Self {
            end,
            breaks: true,
            kind: Kind::Paragraph,
            row: 0,
            cell: 0,
            in_link: false,
            keeps_blanks: false,
            muted: false,
        }
    }
}

/// White space that is owed before the next character.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Gap {
    #[default]
    None,
    Blank,
    /// A line break of the source, which says nothing between two Han characters.
    Source,
    /// A blank that was meant: no-break or full-width.
    Meant,
}

/// The line being read.
#[derive(Default)]
pub(super) struct Line {
    pub(super) text: String,
    gap: Gap,
    n_breaks: u32,
    last: Option<char>,
    weight: u32,
    link: u32,
    n_marks: u32,
    place: Option<(u32, State)>,
}

impl Line {
    pub(super) fn push(&mut self, text: &str, node: usize, state: State) {
        let before = self.weight;
        let filled = self.text.len();
        if state.keeps_blanks {
            self.push_as_is(text);
        } else {
            self.push_flowing(text);
        }
        if self.text.len() > filled && self.place.is_none() {
            self.place = Some((node as u32, state));
        }
        if state.in_link {
            self.link += self.weight - before;
        }
    }

    fn push_as_is(&mut self, text: &str) {
        // A line break right after `<pre>` is not shown.
        let text = if self.text.is_empty() {
            text.strip_prefix("\r\n")
                .or_else(|| text.strip_prefix('\n'))
                .unwrap_or(text)
        } else {
            text
        };
        for c in text.chars() {
            match c {
                '\n' | '\t' => self.text.push(c),
                '\u{a0}' => self.text.push(' '),
                _ if is_dropped(c) => {}
                _ => self.push_char(c),
            }
        }
    }

    fn push_flowing(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_whitespace() {
                let gap = match c {
                    '\n' | '\r' => Gap::Source,
                    ' ' | '\t' => Gap::Blank,
                    _ => Gap::Meant,
                };
                self.gap = self.gap.max(gap);
                continue;
            }
            if is_dropped(c) {
                continue;
            }
            if self.n_breaks > 0 && !self.text.is_empty() {
                self.text.push('\n');
            } else if self.gap != Gap::None && !self.text.is_empty() {
                let joined =
                    self.gap == Gap::Source && is_wide(c) && self.last.is_some_and(is_wide);
                if !joined {
                    self.text.push(' ');
                }
            }
            (self.gap, self.n_breaks) = (Gap::None, 0);
            self.push_char(c);
        }
    }

    fn push_char(&mut self, c: char) {
        self.text.push(c);
        self.last = Some(c);
        if c.is_ascii() {
            self.weight += if c.is_ascii_alphanumeric() { NARROW } else { 0 };
            self.n_marks += u32::from(matches!(c, ',' | '.' | '!' | '?' | ';'));
            return;
        }
        match c {
            '，' | '。' | '！' | '？' | '；' | '：' | '、' | '…' | '“' | '”' | '《' | '》' =>
            {
                self.n_marks += 1;
            }
            _ if is_han(c) => self.weight += WIDE,
            _ if c.is_alphanumeric() => self.weight += if is_wide(c) { WIDE } else { NARROW },
            _ => {}
        }
    }

    /// A `<br>`; true where it is the second in a row, which ends a paragraph.
    pub(super) fn break_line(&mut self, keeps_blanks: bool) -> bool {
        if self.text.is_empty() {
            return false;
        }
        if keeps_blanks {
            self.text.push('\n');
            return false;
        }
        self.n_breaks += 1;
        self.n_breaks > 1
    }

    pub(super) fn take(&mut self) -> Option<Raw> {
        let line = std::mem::take(self);
        let (node, state) = line.place?;
        let text = if state.keeps_blanks {
            line.text.trim_end().to_string()
        } else {
            line.text
        };
        if text.trim().is_empty() || (state.kind == Kind::Code && is_line_numbers(&text)) {
            return None;
        }
        Some(Raw {
            kind: state.kind,
            text,
            weight: line.weight,
            link: line.link,
            n_marks: line.n_marks,
            node,
            row: state.row,
            cell: state.cell,
            in_link: state.in_link,
        })
    }
}

/// A text that is no part of a line, such as an attribute, as a line would show it.
pub(super) fn shown(text: &str) -> String {
    let mut line = Line::default();
    line.push_flowing(text);
    line.text
}

/// Characters that are not seen: controls, soft hyphens, zero-width marks.
fn is_dropped(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}')
}

/// The column of numbers beside program text.
fn is_line_numbers(text: &str) -> bool {
    let mut expected = None;
    let mut n = 0;
    for word in text.split_whitespace() {
        let Ok(number) = word.parse::<u32>() else {
            return false;
        };
        if expected.is_some_and(|e| e != number) {
            return false;
        }
        expected = number.checked_add(1);
        n += 1;
    }
    n > 0
}

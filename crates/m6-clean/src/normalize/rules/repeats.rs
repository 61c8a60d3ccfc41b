//! Repeated punctuation and blanks.

use super::MAX_LINE_FEEDS;
use super::chars::is_blank;

/// Marks of emphasis: in a run of them each kind stays once, so `？！？！` becomes `？！`.
fn is_emphasis(c: char) -> bool {
    matches!(c, '!' | '?' | '！' | '？')
}

/// How many of a mark may stand in a row: `……` and `——` are written twice in Chinese, and ASCII marks thrice at most,
/// so that `...` and rules of dashes are still seen; brackets and quotes are never collapsed.
fn most(c: char) -> usize {
    match c {
        '。' | '，' | '、' | '；' | '：' | ',' | ';' | '·' | '～' | '．' => 1,
        '…' | '—' | '–' | '―' | ':' => 2,
        '.' | '-' | '_' | '=' | '*' | '#' | '~' | '+' | '|' => 3,
        _ => usize::MAX,
    }
}

/// Collapses runs of punctuation (`marks`) and of blanks (`blanks`), and of line feeds with the latter.
pub(super) fn collapse(text: &str, marks: bool, blanks: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut run = Run::default();
    let mut blank_waits = false;
    let mut n_line_feeds = 0;
    for c in text.chars() {
        if blanks && is_blank(c) {
            blank_waits = true;
            continue;
        }
        if c == '\n' {
            // A blank before a line's end goes.
            blank_waits = false;
            run = Run::default();
            n_line_feeds += 1;
            if !blanks || n_line_feeds <= MAX_LINE_FEEDS {
                out.push(c);
            }
            continue;
        }
        // So does a blank at a line's beginning.
        if blank_waits && !out.is_empty() && n_line_feeds == 0 {
            out.push(' ');
            run = Run::default();
        }
        blank_waits = false;
        n_line_feeds = 0;
        if !marks || run.allows(c) {
            out.push(c);
        }
    }
    out
}

/// The marks just before.
#[derive(Default)]
struct Run {
    last: Option<char>,
    n_same: usize,
    /// Kinds of emphasis seen: four flags.
    emphasis: u8,
}

impl Run {
    /// Whether the next character stays.
    fn allows(&mut self, c: char) -> bool {
        if is_emphasis(c) {
            let flag = match c {
                '!' => 1,
                '?' => 2,
                '！' => 4,
                _ => 8,
            };
            let fresh = self.emphasis & flag == 0;
            *self = Self {
                last: Some(c),
                n_same: 1,
                emphasis: self.emphasis | flag,
            };
            return fresh;
        }
        let n_same = if self.last == Some(c) {
            self.n_same.saturating_add(1)
        } else {
            1
        };
        *self = Self {
            last: Some(c),
            n_same,
            emphasis: 0,
        };
        n_same <= most(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(collapse(text, true, true), expected, "{text:?}");
    }

    #[test]
    fn marks() {
        check("好！！！！", "好！");
        check("真的？！？！?!?!", "真的？！?!");
        check("嗯。。。。好，，，", "嗯。好，");
        check("……………… ———— ......", "…… —— ...");
        check("（（x））““y””", "（（x））““y””");
        check("a==b --c ::d", "a==b --c ::d");
        check("100 11 aaa 哈哈哈", "100 11 aaa 哈哈哈");
        check("！ ！", "！ ！");
    }

    #[test]
    fn blanks() {
        check("  中  文\u{3000}\u{a0}\tx  ", "中 文 x");
        check(" a \n \n \n b ", "a\n\nb");
        check("\n\n\na", "\n\na");
        check("a\r\nb\rc", "a\nb c");
        check("a\u{2028}b\u{85}c", "a b c");
    }

    #[test]
    fn each_alone() {
        assert_eq!(collapse("a  b！！\n\n\n", true, false), "a  b！\n\n\n");
        assert_eq!(collapse("a  b！！\n\n\n", false, true), "a b！！\n\n");
    }
}

//! Where templates, links and tables begin and end.

use std::ops::Range;

/// The outermost stretches from `open` to its matching `close`, both included, in order.
///
/// An `open` that is never closed, and a `close` without its `open`, belong to no stretch.
pub(super) fn matched(source: &str, open: &str, close: &str) -> Vec<Range<usize>> {
    let bytes = source.as_bytes();
    let (open, close) = (open.as_bytes(), close.as_bytes());
    let mut waiting: Vec<usize> = Vec::new();
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(open) {
            waiting.push(at);
            at += open.len();
        } else if rest.starts_with(close) {
            at += close.len();
            if let Some(begin) = waiting.pop() {
                // Stretches end in order, so those inside this one are the last found.
                while found.last().is_some_and(|inner| inner.start > begin) {
                    found.pop();
                }
                found.push(begin..at);
            }
        } else {
            at += 1;
        }
    }
    found
}

/// Replaces each stretch by what `put` makes of the text between its two-byte brackets.
pub(super) fn replace(
    source: &str,
    spans: &[Range<usize>],
    mut put: impl FnMut(&str) -> String,
) -> String {
    let mut out = String::with_capacity(source.len());
    let mut from = 0;
    for span in spans {
        out.push_str(source.get(from..span.start).unwrap_or_default());
        let inner = source
            .get(span.start + 2..span.end.saturating_sub(2))
            .unwrap_or_default();
        out.push_str(&put(inner));
        from = span.end;
    }
    out.push_str(source.get(from..).unwrap_or_default());
    out
}

/// The parts of a template or link between the bars that are not inside another one.
pub(super) fn parts(inner: &str) -> Vec<&str> {
    let bytes = inner.as_bytes();
    let (mut depth, mut from, mut at) = (0usize, 0, 0);
    let mut out = Vec::new();
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'[', Some(b'[')) | (b'{', Some(b'{')) => {
                depth += 1;
                at += 2;
            }
            (b']', Some(b']')) | (b'}', Some(b'}')) => {
                depth = depth.saturating_sub(1);
                at += 2;
            }
            (b'|', _) if depth == 0 => {
                out.push(&inner[from..at]);
                at += 1;
                from = at;
            }
            _ => at += 1,
        }
    }
    out.push(&inner[from..]);
    out
}

/// Drops tables: from a line that begins with `{|` to the line of its `|}`.
///
/// A table that is never closed is not one: only its own line is dropped.
pub(super) fn drop_tables(source: &str) -> String {
    let lines: Vec<&str> = source.split('\n').collect();
    let is_open = |line: &str| line.trim_start_matches([' ', ':', '\t']).starts_with("{|");
    let is_close = |line: &str| line.trim_start().starts_with("|}");
    let mut keep = vec![true; lines.len()];
    let mut waiting: Vec<usize> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        if is_open(line) {
            waiting.push(number);
            keep[number] = false;
        } else if is_close(line) {
            keep[number] = false;
            if let Some(begin) = waiting.pop()
                && waiting.is_empty()
            {
                keep[begin..number].fill(false);
            }
        }
    }
    let kept = lines
        .iter()
        .zip(&keep)
        .filter(|(_, keep)| **keep)
        .map(|(line, _)| *line);
    kept.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &[&str]) {
        let got: Vec<&str> = matched(source, "{{", "}}")
            .into_iter()
            .map(|span| &source[span])
            .collect();
        assert_eq!(got, expected, "{source}");
    }

    #[test]
    fn outermost_stretches_are_found() {
        check("", &[]);
        check("a{{b}}c{{d{{e}}f}}g", &["{{b}}", "{{d{{e}}f}}"]);
        check("{{a {{b}}", &["{{b}}"]);
        check("a}} {{b}}", &["{{b}}"]);
        check("{{甲}}乙", &["{{甲}}"]);
        check("{{a}}{{b}} {{", &["{{a}}", "{{b}}"]);
    }

    #[test]
    fn parts_are_cut_at_outer_bars_only() {
        assert_eq!(parts("a|b[[c|d]]|{{e|f}}"), ["a", "b[[c|d]]", "{{e|f}}"]);
        assert_eq!(parts(""), [""]);
        assert_eq!(parts("甲|"), ["甲", ""]);
        assert_eq!(parts("a]]|b"), ["a]]", "b"]);
    }

    #[test]
    fn tables_are_dropped_with_their_inner_tables() {
        let check = |source: &str, expected: &str| assert_eq!(drop_tables(source), expected);
        check("a\n{| class=x\n|b\n{|\n|c\n|}\n|}\nd", "a\nd");
        check("a\n{|\n|b\nc", "a\n|b\nc");
        check("a\n|}\nb", "a\nb");
    }
}

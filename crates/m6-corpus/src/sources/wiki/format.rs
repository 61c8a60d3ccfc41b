//! Emphasis, outer links, magic words and character references inside a line.

use super::text::MARK;

/// A line without emphasis, outer links and magic words, with references decoded and white space collapsed.
pub(super) fn format_line(line: &str) -> String {
    let line = outer_links(line);
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while let Some(at) = rest.find(['\'', '_', '&']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let used = match from.as_bytes().first() {
            Some(b'\'') => emphasis(from, &mut plain),
            Some(b'_') => magic_word(from, &mut plain),
            _ => reference(from, &mut plain),
        };
        rest = from.get(used..).unwrap_or_default();
    }
    plain.push_str(rest);
    tidy(&plain)
}

/// Two and more quotes are emphasis.
fn emphasis(from: &str, out: &mut String) -> usize {
    let n_quotes = from.bytes().take_while(|&byte| byte == b'\'').count();
    if n_quotes == 1 {
        out.push('\'');
    }
    n_quotes
}

/// `__NOTOC__` and its like.
fn magic_word(from: &str, out: &mut String) -> usize {
    let word = from
        .strip_prefix("__")
        .and_then(|rest| rest.split_once("__"))
        .map(|(word, _)| word);
    let is_word = |word: &&str| {
        (2..=24).contains(&word.len())
            && word
                .chars()
                .all(|c| c.is_ascii_uppercase() || !c.is_ascii() && c.is_alphabetic())
    };
    match word.filter(is_word) {
        Some(word) => word.len() + 4,
        None => {
            out.push('_');
            1
        }
    }
}

/// `&nbsp;` and `&#160;`; what is no reference stays.
fn reference(from: &str, out: &mut String) -> usize {
    const MAX_LENGTH: usize = 34;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
    let n_name = from
        .bytes()
        .skip(1)
        .take(MAX_LENGTH)
        .take_while(is_name)
        .count();
    let end = Some(1 + n_name).filter(|&at| from.as_bytes().get(at) == Some(&b';'));
    let reference = end.and_then(|end| from.get(..=end)).unwrap_or_default();
    let decoded = html_escape::decode_html_entities(reference);
    if reference.is_empty() || decoded == reference {
        // The number of no character shows nothing.
        let number = reference.strip_prefix("&#").unwrap_or_default();
        let is_number = number.len() > 1
            && number
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || b == b'x' || b == b';');
        if is_number {
            return reference.len();
        }
        out.push('&');
        return 1;
    }
    out.extend(
        decoded
            .chars()
            .filter(|character| !character.is_control() && *character != MARK),
    );
    reference.len()
}

/// `[http://a label]` becomes its label; without one it goes.
fn outer_links(line: &str) -> String {
    const STARTS: [&str; 5] = ["http://", "https://", "//", "ftp://", "mailto:"];
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(open) = rest.find('[') {
        let (before, from) = rest.split_at(open);
        out.push_str(before);
        let inner = &from[1..];
        let is_link = STARTS.iter().any(|start| inner.starts_with(start));
        match inner.find(']').filter(|_| is_link) {
            Some(end) => {
                let label = inner[..end]
                    .split_once([' ', '\t'])
                    .map(|(_, label)| label.trim());
                out.push_str(label.unwrap_or_default());
                rest = &inner[end + 1..];
            }
            None => {
                out.push('[');
                rest = inner;
            }
        }
    }
    out.push_str(rest);
    out
}

/// White space collapsed; brackets that templates left empty, and marks at their edges, taken off.
fn tidy(line: &str) -> String {
    const EMPTY: [(&str, &str); 8] = [
        ("（，", "（"),
        ("（；", "（"),
        ("（、", "（"),
        ("，）", "）"),
        ("；）", "）"),
        ("、）", "）"),
        ("（）", ""),
        ("()", ""),
    ];
    let mut line = line
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace("（ ", "（")
        .replace(" ）", "）");
    for (from, to) in EMPTY {
        if line.contains(from) {
            line = line.replace(from, to);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_formatting() {
        let check = |source: &str, expected: &str| assert_eq!(format_line(source), expected);
        check("'''北京'''（''Beijing''）it's", "北京（Beijing）it's");
        check("甲（，）乙（ ）丙()", "甲乙丙");
        check("__NOTOC__甲__目录__a__b", "甲a__b");
        check(
            "&lt;a&gt; &amp;nbsp; &#65;&#x4E2D;&#0; & &nosuch; &",
            "<a> &nbsp; A中 & &nosuch; &",
        );
        check("[http://a.b 标题] [https://c] [甲] [//d e]", "标题 [甲] e");
        check("a \t b\u{a0}c", "a b c");
    }
}

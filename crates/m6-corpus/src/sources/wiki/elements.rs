//! Comments and tags inside wikitext.

use std::collections::HashSet;

/// Elements that go with their content.
const DROPPED: [&str; 21] = [
    "ref",
    "references",
    "math",
    "chem",
    "ce",
    "score",
    "timeline",
    "syntaxhighlight",
    "source",
    "templatedata",
    "templatestyles",
    "imagemap",
    "hiero",
    "graph",
    "mapframe",
    "maplink",
    "includeonly",
    "inputbox",
    "categorytree",
    "style",
    "table",
];
/// Tags that end a line.
const BLOCKS: [&str; 19] = [
    "br",
    "hr",
    "p",
    "div",
    "li",
    "ul",
    "ol",
    "dl",
    "dd",
    "dt",
    "tr",
    "center",
    "poem",
    "blockquote",
    "h2",
    "h3",
    "h4",
    "section",
    "pre",
];
/// Tags that leave their content as it is.
const INLINE: [&str; 24] = [
    "span",
    "small",
    "big",
    "b",
    "i",
    "u",
    "s",
    "em",
    "strong",
    "del",
    "ins",
    "sub",
    "sup",
    "font",
    "code",
    "tt",
    "var",
    "cite",
    "abbr",
    "ruby",
    "rt",
    "rp",
    "rb",
    "noinclude",
];
/// Longest tag, in bytes.
const MAX_TAG: usize = 2_000;

/// A tag: its name in small letters, where it ends, and what kind it is.
struct Tag {
    name: String,
    end: usize,
    is_closing: bool,
    is_empty: bool,
}

/// Removes comments and tags; galleries become file links, `<nowiki>` keeps its content from being read as markup.
pub(super) fn cut(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    // Names that have no closing tag further on, so that each is searched for once.
    let mut unclosed: HashSet<String> = HashSet::new();
    let mut at = 0;
    while let Some(found) = source.get(at..).and_then(|rest| rest.find('<')) {
        let open = at + found;
        out.push_str(&source[at..open]);
        at = open;
        if source[at..].starts_with("<!--") {
            at = source[at..]
                .find("-->")
                .map_or(source.len(), |end| at + end + 3);
            continue;
        }
        let Some(tag) = tag(source, at) else {
            out.push('<');
            at += 1;
            continue;
        };
        at = tag.end;
        let name = tag.name.as_str();
        let has_content = DROPPED.contains(&name) || name == "gallery" || name == "nowiki";
        if !has_content || tag.is_closing || tag.is_empty {
            if BLOCKS.contains(&name) {
                out.push('\n');
            }
            continue;
        }
        let closing = (!unclosed.contains(name))
            .then(|| close(source, at, name))
            .flatten();
        let Some((content_end, end)) = closing else {
            unclosed.insert(tag.name);
            continue;
        };
        let content = &source[at..content_end];
        match name {
            "gallery" => gallery(content, &mut out),
            "nowiki" => literal(content, &mut out),
            _ => {}
        }
        at = end;
    }
    out.push_str(source.get(at..).unwrap_or_default());
    out
}

/// The tag at `at`, if it is one that wikitext knows.
fn tag(source: &str, at: usize) -> Option<Tag> {
    let bytes = source.as_bytes();
    let limit = bytes.len().min(at + MAX_TAG);
    let window = bytes.get(at + 1..limit)?;
    let end = memchr::memchr2(b'>', b'<', window)?;
    if window.get(end) == Some(&b'<') {
        return None;
    }
    let inner = window.get(..end)?;
    let is_closing = inner.first() == Some(&b'/');
    let inner = inner.strip_prefix(b"/").unwrap_or(inner);
    let length = inner
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric())
        .unwrap_or(inner.len());
    let name = String::from_utf8_lossy(inner.get(..length)?).to_ascii_lowercase();
    let lists: [&[&str]; 4] = [
        &DROPPED,
        &BLOCKS,
        &INLINE,
        &["gallery", "nowiki", "onlyinclude", "bdi", "mark", "td"],
    ];
    lists
        .iter()
        .any(|list| list.contains(&name.as_str()))
        .then(|| Tag {
            name,
            end: at + 1 + end + 1,
            is_closing,
            is_empty: inner.last() == Some(&b'/'),
        })
}

/// Where the content ends and where the closing tag ends.
fn close(source: &str, from: usize, name: &str) -> Option<(usize, usize)> {
    let mut at = from;
    while let Some(found) = source.get(at..)?.find("</") {
        let begin = at + found;
        let after = begin + 2;
        let is_name = source
            .get(after..after + name.len())
            .is_some_and(|text| text.eq_ignore_ascii_case(name));
        if is_name {
            let rest = source.get(after + name.len()..)?.trim_start();
            if rest.starts_with('>') {
                return Some((begin, source.len() - rest.len() + 1));
            }
        }
        at = after;
    }
    None
}

/// Every line `File:a.jpg|caption` of a gallery as a file link of its own.
fn gallery(content: &str, out: &mut String) {
    for line in content
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let file = line.split('|').next().unwrap_or_default();
        out.push_str(if file.contains(':') {
            "\n[["
        } else {
            "\n[[File:"
        });
        out.push_str(line);
        out.push_str("]]\n");
    }
}

/// Text that must not be read as markup, as references to its characters.
fn literal(content: &str, out: &mut String) {
    for character in content.chars() {
        match character {
            '[' | ']' | '{' | '}' | '\'' | '|' | '=' | '*' | '#' | ':' | ';' | '<' | '-' | '_'
            | '&' => {
                out.push_str(&format!("&#{};", u32::from(character)));
            }
            _ => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expected: &str) {
        assert_eq!(cut(source), expected, "{source}");
    }

    #[test]
    fn tags_and_comments_go() {
        check("a<!-- x -->b<!-- open", "ab");
        check(
            "甲<ref name=\"x\">引</ref>乙<ref name=x />丙<REF>z</Ref >丁",
            "甲乙丙丁",
        );
        check("a<br />b<span style=\"x\">c</span>", "a\nbc");
        check("1<2 且 a<x>b", "1<2 且 a<x>b");
        check("a<ref>b", "ab");
        check("<math>x^2</math>。", "。");
        check("<nowiki>[[a]]</nowiki>", "&#91;&#91;a&#93;&#93;");
        check(
            "<gallery mode=packed>\nFile:a.jpg|甲\nb.png\n</gallery>",
            "\n[[File:a.jpg|甲]]\n\n[[File:b.png]]\n",
        );
    }

    #[test]
    fn many_open_tags_do_not_take_long() {
        let source = "<ref>x".repeat(100_000);
        assert_eq!(cut(&source).len(), 100_000);
    }
}

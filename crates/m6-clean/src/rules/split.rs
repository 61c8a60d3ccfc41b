//! Where sentences and web addresses begin and end (ours).

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// The longest web address taken as one, in bytes; what follows counts as text again.
const MAX_LINK_BYTES: usize = 2048;

static LINK_STARTS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(["http://", "https://", "www."])
        .ok()
});

/// True for marks that end a Chinese or English sentence wherever they stand.
fn ends_sentence(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '!' | '?' | '｡' | '⁉' | '‼')
}

/// True for quotes and brackets that may follow the mark and still belong to the sentence.
fn closes(c: char) -> bool {
    matches!(
        c,
        '”' | '’' | '」' | '』' | '）' | ')' | '】' | '》' | '"' | '\'' | ']' | '〉' | '〕'
    )
}

/// The sentences of one line as byte ranges that cover it without a gap.
///
/// A sentence ends after 。！？!? (with the closing quotes that follow), after a full stop that follows a letter and precedes a
/// blank, and at the end of the line. An ellipsis or a semicolon does not end one.
pub fn sentences(line: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= line.len() {
            return None;
        }
        let end = start + sentence_len(&line[start..]);
        let range = start..end;
        start = end;
        Some(range)
    })
}

/// Bytes with which a mark that may end a sentence begins; no character has one of them further on.
const MAY_END: [bool; 256] = {
    let mut table = [false; 256];
    let firsts = [b'!', b'?', b'.', 0xE2, 0xE3, 0xEF];
    let mut i = 0;
    while i < firsts.len() {
        table[firsts[i] as usize] = true;
        i += 1;
    }
    table
};

/// Bytes of the first sentence of a text that is not empty.
fn sentence_len(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while let Some(skipped) = bytes[at..].iter().position(|b| MAY_END[usize::from(*b)]) {
        at += skipped;
        let mut tail = rest[at..].chars();
        let Some(c) = tail.next() else { break };
        let is_stop = c == '.'
            && at > 0
            && bytes[at - 1].is_ascii_alphabetic()
            && tail.clone().next().is_none_or(char::is_whitespace);
        if is_stop || ends_sentence(c) {
            let follows = |c: char| ends_sentence(c) || closes(c) || c.is_whitespace();
            return rest.len() - tail.as_str().trim_start_matches(follows).len();
        }
        at += c.len_utf8();
    }
    rest.len()
}

/// True when a line ends as a finished sentence does: 。！？…；.!?; with closing quotes after it or not.
pub fn has_end_mark(line: &str) -> bool {
    let body = line.trim_end().trim_end_matches(closes);
    let last = body.chars().next_back();
    last.is_some_and(|c| ends_sentence(c) || matches!(c, '…' | '；' | '.' | ';'))
}

/// The web addresses in a text (`http://`, `https://`, `www.`), as byte ranges in order; an address ends at the first
/// character that is not printable ASCII, or at a quote or an angle bracket.
pub fn links(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let Some(starts) = LINK_STARTS.as_ref() else {
        return found;
    };
    for start in starts.find_iter(text).map(|hit| hit.start()) {
        if found.last().is_some_and(|last| start < last.end) {
            continue;
        }
        let tail = &text.as_bytes()[start..];
        let is_part =
            |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b'\'');
        let n_bytes = tail
            .iter()
            .take(MAX_LINK_BYTES)
            .take_while(|byte| is_part(byte))
            .count();
        found.push(start..start + n_bytes);
    }
    found
}

/// The host of an address in lower case, without user name and port; `None` when there is none.
pub fn host(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = host.split(':').next()?.trim_matches('.');
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check_sentences(line: &str, expected: &[&str]) {
        let found: Vec<&str> = sentences(line).map(|range| &line[range]).collect();
        assert_eq!(found, expected, "{line:?}");
    }

    #[test]
    fn sentences_cover_the_line() {
        check_sentences("", &[]);
        check_sentences("没有句号", &["没有句号"]);
        check_sentences("今天好。明天呢？", &["今天好。", "明天呢？"]);
        check_sentences(
            "他说：“走吧！”然后走了……真的。",
            &["他说：“走吧！”", "然后走了……真的。"],
        );
        check_sentences("什么？！不会吧", &["什么？！", "不会吧"]);
        check_sentences(
            "Hello world. Bye 3.14 e.g. no",
            &["Hello world. ", "Bye 3.14 e.g. ", "no"],
        );
        check_sentences("版本1.2.3发布；下载。", &["版本1.2.3发布；下载。"]);
        check_sentences("。。。", &["。。。"]);
    }

    /// The definition, written without care for speed.
    fn slowly(rest: &str) -> usize {
        let mut chars = rest.char_indices().peekable();
        let mut before = ' ';
        while let Some((_, c)) = chars.next() {
            let next = chars.peek().map(|(_, c)| *c);
            let is_stop =
                c == '.' && before.is_ascii_alphabetic() && next.is_none_or(char::is_whitespace);
            before = c;
            if !is_stop && !ends_sentence(c) {
                continue;
            }
            while chars
                .next_if(|(_, c)| ends_sentence(*c) || closes(*c) || c.is_whitespace())
                .is_some()
            {}
            return chars.peek().map_or(rest.len(), |(at, _)| *at);
        }
        rest.len()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn the_first_sentence_is_what_the_definition_says(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "。", "！", "？", "!", "?", "｡", "⁉", "‼", ".", "…", "、", "，", "”", "」", ")", " ", "\u{3000}", "a", "B", "1", "é", "中",
                    "文", "😀", "\t",
                ]),
                1..12,
            ),
            any in "\\PC{1,12}",
        ) {
            for text in [parts.concat(), any] {
                prop_assert_eq!(sentence_len(&text), slowly(&text), "{:?}", text);
            }
        }
    }

    #[test]
    fn end_marks_count_behind_quotes() {
        for (line, expected) in [
            ("完了。", true),
            ("“完了。”", true),
            ("(done.) ", true),
            ("等等……", true),
            ("没有", false),
            ("，", false),
            ("", false),
            ("”", false),
        ] {
            assert_eq!(has_end_mark(line), expected, "{line:?}");
        }
    }

    #[test]
    fn links_end_where_chinese_begins() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<&str> = links(text).into_iter().map(|range| &text[range]).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check("见http://a.cn/b?c=1，好", &["http://a.cn/b?c=1"]);
        check("HTTPS://X.com www.y.cn/z", &["HTTPS://X.com", "www.y.cn/z"]);
        check("<a href=\"http://www.q.cn/\">", &["http://www.q.cn/"]);
        check("没有", &[]);
        let long = format!("http://{}", "a".repeat(5000));
        assert_eq!(links(&long)[0].len(), MAX_LINK_BYTES);
    }

    #[test]
    fn hosts_are_bare_and_lower_case() {
        for (url, expected) in [
            ("http://A.b.CN:80/x", Some("a.b.cn")),
            ("https://u:p@h.com?q", Some("h.com")),
            ("//c.cn/d", Some("c.cn")),
            ("e.cn", Some("e.cn")),
            ("http:///x", None),
            ("", None),
        ] {
            let url_found = host(url.trim_start_matches("//"));
            assert_eq!(url_found.as_deref(), expected, "{url}");
        }
    }
}

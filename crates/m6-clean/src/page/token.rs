//! HTML bytes to tags and text, without a copy: the tokenizer of the standard, less what a corpus never reads (comments,
//! document types, attributes that say nothing of text or pictures).
//!
//! Ours: extraction is where a corpus build spends its time, and every limit on hostile pages starts here. `oracle` holds what
//! comes out against html5ever on real pages.

use super::tag::Tag;
use memchr::{memchr, memchr2, memmem};

/// Attributes kept of one tag; more than this is no page of a person.
const MOST_ATTRS: usize = 64;

/// An attribute that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Alt,
    AriaHidden,
    AriaLabel,
    Charset,
    Class,
    Content,
    Height,
    Hidden,
    Href,
    Id,
    Itemprop,
    Lang,
    Name,
    Property,
    Role,
    Src,
    Srcset,
    Style,
    Title,
    Width,
    /// `data-...` and other names under which pages keep the address of a picture that is loaded late.
    Late,
}

impl Key {
    fn of(name: &str) -> Option<Self> {
        let bytes = name.as_bytes();
        let mut buffer = [0u8; 12];
        if bytes.len() <= buffer.len() {
            for (to, from) in buffer.iter_mut().zip(bytes) {
                *to = from.to_ascii_lowercase();
            }
            let known = match &buffer[..bytes.len()] {
                b"alt" => Some(Self::Alt),
                b"aria-hidden" => Some(Self::AriaHidden),
                b"aria-label" => Some(Self::AriaLabel),
                b"charset" => Some(Self::Charset),
                b"class" => Some(Self::Class),
                b"content" => Some(Self::Content),
                b"height" => Some(Self::Height),
                b"hidden" => Some(Self::Hidden),
                b"href" => Some(Self::Href),
                b"id" => Some(Self::Id),
                b"itemprop" => Some(Self::Itemprop),
                b"lang" => Some(Self::Lang),
                b"name" => Some(Self::Name),
                b"property" => Some(Self::Property),
                b"role" => Some(Self::Role),
                b"src" => Some(Self::Src),
                b"srcset" => Some(Self::Srcset),
                b"style" => Some(Self::Style),
                b"title" => Some(Self::Title),
                b"width" => Some(Self::Width),
                b"file" | b"original" | b"zoomfile" => Some(Self::Late),
                _ => None,
            };
            if known.is_some() {
                return known;
            }
        }
        let late = bytes
            .get(..5)
            .is_some_and(|b| b.eq_ignore_ascii_case(b"data-"))
            || memmem::find(bytes, b"src").is_some()
            || memmem::find(bytes, b"lazy").is_some();
        late.then_some(Self::Late)
    }
}

/// One attribute: what it is, its name and its value as written (character references stand).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attr<'a> {
    pub(crate) key: Key,
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
}

/// A piece of a page.
#[derive(Debug)]
pub(crate) enum Token<'a> {
    /// Text between tags; character references stand.
    Text(&'a str),
    /// A start tag; its attributes are in [`Tokenizer::attrs`].
    Start {
        tag: Tag,
        name: &'a str,
        self_closing: bool,
    },
    /// An end tag.
    End { tag: Tag, name: &'a str },
}

/// Walks over a page.
pub(crate) struct Tokenizer<'a> {
    text: &'a str,
    at: usize,
    /// Attributes of the last start tag.
    pub(crate) attrs: Vec<Attr<'a>>,
}

impl<'a> Tokenizer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            attrs: Vec::new(),
        }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes().get(at).copied()
    }

    /// The text of a byte range whose ends are ASCII delimiters.
    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// The offset of a byte at or after `from`, or the end.
    fn find(&self, needle: u8, from: usize) -> Option<usize> {
        memchr(needle, self.bytes().get(from..)?).map(|n| from + n)
    }

    /// The next token; `None` at the end of the page.
    pub(crate) fn next(&mut self) -> Option<Token<'a>> {
        loop {
            if self.at >= self.text.len() {
                return None;
            }
            let text_end = self.text_end();
            if text_end > self.at {
                let text = self.slice(self.at, text_end);
                self.at = text_end;
                return Some(Token::Text(text));
            }
            match self.byte(self.at + 1) {
                Some(b'!') => self.skip_declaration(),
                Some(b'?') => self.skip_past(b'>', self.at + 2),
                Some(b'/') => {
                    if let Some(token) = self.end_tag() {
                        return Some(token);
                    }
                }
                _ => return self.start_tag(),
            }
        }
    }

    /// Where the text that starts here ends: at the next `<` that begins markup.
    fn text_end(&self) -> usize {
        let mut from = self.at;
        while let Some(open) = self.find(b'<', from) {
            let markup = match self.byte(open + 1) {
                Some(b'!' | b'?' | b'/') => true,
                Some(c) => c.is_ascii_alphabetic(),
                None => false,
            };
            if markup {
                return open;
            }
            from = open + 1;
        }
        self.text.len()
    }

    fn skip_past(&mut self, needle: u8, from: usize) {
        self.at = self.find(needle, from).map_or(self.text.len(), |n| n + 1);
    }

    /// `<!-- -->`, `<!doctype>` and everything else that begins `<!`.
    fn skip_declaration(&mut self) {
        let rest = self.bytes().get(self.at + 2..).unwrap_or_default();
        if !rest.starts_with(b"--") {
            return self.skip_past(b'>', self.at + 2);
        }
        if rest.starts_with(b"-->") || rest.starts_with(b"--->") {
            return self.skip_past(b'>', self.at + 4);
        }
        let start = self.at + 4;
        let mut from = start;
        while let Some(close) = self.find(b'>', from) {
            let before = self.bytes().get(start..close).unwrap_or_default();
            if before.ends_with(b"--") || before.ends_with(b"--!") {
                self.at = close + 1;
                return;
            }
            from = close + 1;
        }
        self.at = self.text.len();
    }

    fn end_tag(&mut self) -> Option<Token<'a>> {
        let start = self.at + 2;
        if !self.byte(start).is_some_and(|c| c.is_ascii_alphabetic()) {
            // `</>` and `</ >` are nothing; the browser takes them for comments.
            self.skip_past(b'>', start);
            return None;
        }
        let end = self.name_end(start);
        let name = self.slice(start, end);
        self.at = end;
        self.read_attrs();
        self.attrs.clear();
        Some(Token::End {
            tag: Tag::of(name),
            name,
        })
    }

    /// A start tag; a tag that the page ends in is none.
    fn start_tag(&mut self) -> Option<Token<'a>> {
        let start = self.at + 1;
        let end = self.name_end(start);
        let name = self.slice(start, end);
        self.at = end;
        let self_closing = self.read_attrs()?;
        Some(Token::Start {
            tag: Tag::of(name),
            name,
            self_closing,
        })
    }

    fn name_end(&self, from: usize) -> usize {
        let rest = self.bytes().get(from..).unwrap_or_default();
        let n = rest
            .iter()
            .position(|c| is_blank(*c) || matches!(c, b'/' | b'>'));
        n.map_or(self.text.len(), |n| from + n)
    }

    /// Attributes up to the end of the tag: whether it closes itself, or `None` where the page ends first.
    fn read_attrs(&mut self) -> Option<bool> {
        self.attrs.clear();
        loop {
            let mut slash = false;
            while let Some(c) = self.byte(self.at) {
                if !is_blank(c) && c != b'/' {
                    break;
                }
                slash = c == b'/';
                self.at += 1;
            }
            match self.byte(self.at) {
                None => return None,
                Some(b'>') => {
                    self.at += 1;
                    return Some(slash);
                }
                Some(_) => self.read_attr()?,
            }
        }
    }

    fn read_attr(&mut self) -> Option<()> {
        let start = self.at;
        // A first `=` belongs to the name.
        let rest = self.bytes().get(start + 1..)?;
        let n = rest
            .iter()
            .position(|c| is_blank(*c) || matches!(c, b'/' | b'>' | b'='))?;
        let end = start + 1 + n;
        let name = self.slice(start, end);
        self.at = end;
        self.skip_blanks();
        let value = if self.byte(self.at) == Some(b'=') {
            self.at += 1;
            self.skip_blanks();
            self.read_value()?
        } else {
            ""
        };
        if let Some(key) = Key::of(name) {
            self.keep(Attr { key, name, value });
        }
        Some(())
    }

    /// The first of equal attributes counts.
    fn keep(&mut self, attr: Attr<'a>) {
        let again = attr.key != Key::Late && self.attrs.iter().any(|a| a.key == attr.key);
        if !again && self.attrs.len() < MOST_ATTRS {
            self.attrs.push(attr);
        }
    }

    fn skip_blanks(&mut self) {
        while self.byte(self.at).is_some_and(is_blank) {
            self.at += 1;
        }
    }

    fn read_value(&mut self) -> Option<&'a str> {
        match self.byte(self.at)? {
            quote @ (b'"' | b'\'') => {
                let end = self.find(quote, self.at + 1)?;
                let value = self.slice(self.at + 1, end);
                self.at = end + 1;
                Some(value)
            }
            b'>' => Some(""),
            _ => {
                let rest = self.bytes().get(self.at..)?;
                let n = rest.iter().position(|c| is_blank(*c) || *c == b'>')?;
                let value = self.slice(self.at, self.at + n);
                self.at += n;
                Some(value)
            }
        }
    }

    /// The content of a raw-text element whose start tag was the last token, up to its end tag, which is read too.
    pub(crate) fn raw_text(&mut self, tag: Tag, name: &str) -> &'a str {
        let start = self.at;
        let end = if tag == Tag::Script {
            self.script_end(start)
        } else {
            self.raw_end(start, name)
        };
        let content = self.slice(start, end);
        self.at = end;
        if end < self.text.len() {
            // The end tag, with whatever attributes it carries.
            self.end_tag();
        }
        content
    }

    /// Whether `</name` or `<name` stands at `at`, with the name ended.
    fn tag_at(&self, at: usize, open: &str, name: &str) -> bool {
        let rest = self.bytes().get(at..).unwrap_or_default();
        let Some(rest) = rest.strip_prefix(open.as_bytes()) else {
            return false;
        };
        let n = name.len();
        rest.get(..n)
            .is_some_and(|b| b.eq_ignore_ascii_case(name.as_bytes()))
            && rest
                .get(n)
                .is_some_and(|c| is_blank(*c) || matches!(c, b'/' | b'>'))
    }

    fn raw_end(&self, mut from: usize, name: &str) -> usize {
        while let Some(open) = self.find(b'<', from) {
            if self.tag_at(open, "</", name) {
                return open;
            }
            from = open + 1;
        }
        self.text.len()
    }

    /// The end of a script: inside `<!-- -->`, a `<script>` hides one `</script>`.
    fn script_end(&self, mut from: usize) -> usize {
        let (mut commented, mut nested) = (false, false);
        loop {
            let rest = self.bytes().get(from..).unwrap_or_default();
            let found = if commented {
                memchr2(b'<', b'-', rest)
            } else {
                memchr(b'<', rest)
            };
            let Some(at) = found.map(|n| from + n) else {
                return self.text.len();
            };
            let here = self.bytes().get(at..).unwrap_or_default();
            from = at + 1;
            if here.starts_with(b"<!--") && !commented {
                commented = true;
                from = at + 2;
            } else if commented && here.starts_with(b"-->") {
                (commented, nested) = (false, false);
            } else if self.tag_at(at, "</", "script") {
                if !nested {
                    return at;
                }
                nested = false;
            } else if commented && self.tag_at(at, "<", "script") {
                nested = true;
            }
        }
    }
}

/// HTML's white space.
pub(crate) fn is_blank(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\n' | b'\r' | 0x0C)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens in short: text as it is, `<name k=v>`, `</name>`.
    #[track_caller]
    fn check(html: &str, expected: &str) {
        let mut tokens = Tokenizer::new(html);
        let mut out = Vec::new();
        while let Some(token) = tokens.next() {
            out.push(match token {
                Token::Text(text) => text.to_string(),
                Token::End { name, .. } => format!("</{name}>"),
                Token::Start {
                    tag,
                    name,
                    self_closing,
                } => {
                    let attrs: String = tokens
                        .attrs
                        .iter()
                        .map(|a| format!(" {}={}", a.name, a.value))
                        .collect();
                    let slash = if self_closing { "/" } else { "" };
                    let raw = if tag.is_raw_text() {
                        format!("[{}]", tokens.raw_text(tag, name))
                    } else {
                        String::new()
                    };
                    format!("<{name}{attrs}{slash}>{raw}")
                }
            });
        }
        assert_eq!(out.join("|"), expected, "{html:?}");
    }

    #[test]
    fn tags_and_text() {
        check("a<b>c</b>d", "a|<b>|c|</b>|d");
        check("1 < 2 <3", "1 < 2 <3");
        check("a<", "a<");
        check("a</>b</ x>c", "a|b|c");
        check("<BR/><br />", "<BR/>|<br/>");
        check("x<b", "x");
        check("x<a href='y", "x");
    }

    #[test]
    fn attributes() {
        check(
            "<a href=x class='y z' id=\"a>b\">",
            "<a href=x class=y z id=a>b>",
        );
        check("<img src = a.jpg alt>", "<img src=a.jpg alt=>");
        check("<img src=a/b/>", "<img src=a/b/>");
        check(
            "<img alt=1 onclick=x data-x=2 lazy-y=3>",
            "<img alt=1 data-x=2 lazy-y=3>",
        );
        check("<img =alt=x src=>t", "<img src=>|t");
        check("<p title='a'class=b>", "<p title=a class=b>");
        check("<p id=a ID=b>", "<p id=a>");
    }

    #[test]
    fn declarations_and_comments() {
        check("<!doctype html>a<?xml x?>b<![CDATA[c]]>d", "a|b|d");
        check("a<!-- > -- --!>b<!-->c<!--->d<!-- <p> -->e", "a|b|c|d|e");
        check("a<!-- no end > b", "a");
    }

    #[test]
    fn raw_text() {
        check("<style>a<b</style>c", "<style>[a<b]|c");
        check("<title>a</titles></TITLE >b", "<title>[a</titles>]|b");
        check(
            "<script>if(a<b)'</p>'</script>c",
            "<script>[if(a<b)'</p>']|c",
        );
        check(
            "<script><!-- <script>x</script> y --></script>z",
            "<script>[<!-- <script>x</script> y -->]|z",
        );
        check("<script><!-- x</script>z", "<script>[<!-- x]|z");
        check("<script>no end", "<script>[no end]");
    }
}

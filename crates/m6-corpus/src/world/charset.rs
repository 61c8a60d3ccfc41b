//! The charset of a page, and what it says about it.

use encoding_rs::{BIG5, Encoding, GB18030, UTF_8};
use m6_store::rng::Stream;

use super::plan::PageKind;

/// Encoding of the bytes and the two places where pages name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charset {
    encoding: &'static Encoding,
    /// In the HTTP head.
    pub(super) http: Option<&'static str>,
    /// In a `meta` element.
    pub(super) meta: Option<&'static str>,
    pub(super) lies: bool,
}

impl Charset {
    /// Most pages are UTF-8 and say so; some older ones are GB18030 or, in traditional characters, Big5. A part names
    /// no charset, and a part a wrong one.
    pub(super) fn draw(stream: &mut Stream, kind: PageKind) -> Self {
        let encoding = match (kind, stream.below(10)) {
            (PageKind::Traditional, 0..5) => BIG5,
            (PageKind::Traditional, _) => UTF_8,
            // Reading damaged records is hard enough.
            (_, 0..3) => GB18030,
            _ => UTF_8,
        };
        let honest = match encoding.name() {
            "UTF-8" => "utf-8",
            "Big5" => "big5",
            _ => "gb2312",
        };
        let wrong = if encoding == UTF_8 { "gb2312" } else { "utf-8" };
        let (http, meta, lies) = match stream.below(20) {
            0..8 => (Some(honest), Some(honest), false),
            8..12 => (None, Some(honest), false),
            12..15 => (Some(honest), None, false),
            15..17 => (None, None, false),
            // The head is right and the page wrong: a server that converts.
            17 => (Some(honest), Some(wrong), true),
            18 => (Some(wrong), Some(honest), true),
            _ => (None, Some(wrong), true),
        };
        Self {
            encoding,
            http,
            meta,
            lies,
        }
    }

    /// The encoding's name.
    pub(super) fn name(&self) -> &'static str {
        self.encoding.name()
    }

    /// The bytes of a page; a character outside the charset becomes a numeric reference.
    pub(super) fn encode(&self, page: &str) -> Vec<u8> {
        self.encoding.encode(page).0.into_owned()
    }
}

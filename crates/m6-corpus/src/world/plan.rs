//! What each page of the world is: drawn from its number alone.

use m6_store::rng::{Key, Stream};

use super::charset::Charset;

/// What is planted in a page (ours).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageKind {
    /// An entry of an encyclopedia.
    Encyclopedia,
    /// A thread of a forum.
    Forum,
    /// Something for sale.
    Shop,
    /// Somebody's writing.
    Blog,
    /// A good page whose source has NUL bytes in its text.
    Nul,
    /// A good page in traditional characters.
    Traditional,
    /// The text of an earlier page at another address.
    ExactDuplicate,
    /// The same with a few small edits.
    NearDuplicate,
    /// Advertising.
    Spam,
    /// Advertising for games of chance.
    Gambling,
    /// A list of words for search engines.
    Keywords,
    /// Too little text.
    Short,
    /// Not in Chinese.
    English,
    /// Status 404 with a page that says so.
    NotFound,
    /// Status 301.
    Redirect,
    /// A gzip member with wrong bytes in it.
    BrokenMember,
    /// A gzip member whose end is missing.
    CutMember,
    /// A record shorter than it says.
    CutRecord,
    /// A record longer than it says.
    WrongLength,
}

impl PageKind {
    /// Every kind with its share of a hundred pages.
    pub const SHARES: [(PageKind, u64); 19] = [
        (PageKind::Encyclopedia, 16),
        (PageKind::Forum, 13),
        (PageKind::Shop, 13),
        (PageKind::Blog, 13),
        (PageKind::Nul, 2),
        (PageKind::Traditional, 6),
        (PageKind::ExactDuplicate, 5),
        (PageKind::NearDuplicate, 7),
        (PageKind::Spam, 4),
        (PageKind::Gambling, 3),
        (PageKind::Keywords, 2),
        (PageKind::Short, 3),
        (PageKind::English, 3),
        (PageKind::NotFound, 2),
        (PageKind::Redirect, 2),
        (PageKind::BrokenMember, 2),
        (PageKind::CutMember, 2),
        (PageKind::CutRecord, 1),
        (PageKind::WrongLength, 1),
    ];

    /// The name in the truth.
    pub fn name(self) -> &'static str {
        match self {
            PageKind::Encyclopedia => "encyclopedia",
            PageKind::Forum => "forum",
            PageKind::Shop => "shop",
            PageKind::Blog => "blog",
            PageKind::Nul => "nul",
            PageKind::Traditional => "traditional",
            PageKind::ExactDuplicate => "exact_duplicate",
            PageKind::NearDuplicate => "near_duplicate",
            PageKind::Spam => "spam",
            PageKind::Gambling => "gambling",
            PageKind::Keywords => "keywords",
            PageKind::Short => "short",
            PageKind::English => "english",
            PageKind::NotFound => "not_found",
            PageKind::Redirect => "redirect",
            PageKind::BrokenMember => "broken_member",
            PageKind::CutMember => "cut_member",
            PageKind::CutRecord => "cut_record",
            PageKind::WrongLength => "wrong_length",
        }
    }

    /// Why a page of this kind is not kept; empty for those that are.
    pub fn why(self) -> &'static str {
        match self {
            kind if kind.is_good() => "",
            PageKind::English => "language",
            PageKind::NotFound | PageKind::Redirect => "status",
            PageKind::BrokenMember
            | PageKind::CutMember
            | PageKind::CutRecord
            | PageKind::WrongLength => "damaged",
            kind => kind.name(),
        }
    }

    /// True for pages that a good corpus keeps.
    pub fn is_good(self) -> bool {
        matches!(
            self,
            PageKind::Encyclopedia
                | PageKind::Forum
                | PageKind::Shop
                | PageKind::Blog
                | PageKind::Nul
                | PageKind::Traditional
        )
    }
}

/// How a page is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Encyclopedia,
    Forum,
    Shop,
    Blog,
}

impl Layout {
    const ALL: [Layout; 4] = [
        Layout::Encyclopedia,
        Layout::Forum,
        Layout::Shop,
        Layout::Blog,
    ];

    /// First part of the host's name, and the folder of its pages.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Layout::Encyclopedia => ("baike", "item"),
            Layout::Forum => ("bbs", "thread"),
            Layout::Shop => ("shop", "goods"),
            Layout::Blog => ("blog", "post"),
        }
    }
}

/// A page before its content is made.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) number: u64,
    pub(super) kind: PageKind,
    pub(super) layout: Layout,
    pub(super) host: String,
    pub(super) url: String,
    pub(super) charset: Charset,
    /// Number of the page whose content this one shows; its own unless it is a duplicate.
    pub(super) content_of: u64,
}

/// How many earlier pages are tried for a duplicate to copy.
const MAX_TRIES: u64 = 64;
/// Hosts of each layout.
const N_HOSTS: u64 = 4;

/// The plan of a page: a function of the world's key and the page's number.
pub(super) fn plan(key: Key, number: u64) -> Plan {
    let mut stream = key.child("plan").at(number).stream();
    let mut kind = draw_kind(&mut stream);
    let mut layout = draw_layout(&mut stream, kind);
    let mut content_of = number;
    if matches!(kind, PageKind::ExactDuplicate | PageKind::NearDuplicate) {
        match original(key, number, &mut stream) {
            Some((original, its_layout)) => (content_of, layout) = (original, its_layout),
            // Nothing to copy yet.
            None => kind = PageKind::Encyclopedia,
        }
    }
    let (word, folder) = layout.words();
    let is_junk = matches!(
        kind,
        PageKind::Spam | PageKind::Gambling | PageKind::Keywords
    );
    let word = if is_junk {
        format!("{word}-ad")
    } else {
        word.to_string()
    };
    let host = format!("{word}{}.example", 1 + stream.below(N_HOSTS));
    let url = format!("http://{host}/{folder}/{number}.html");
    let charset = Charset::draw(&mut stream, kind);
    Plan {
        number,
        kind,
        layout,
        host,
        url,
        charset,
        content_of,
    }
}

fn draw_kind(stream: &mut Stream) -> PageKind {
    let total: u64 = PageKind::SHARES.iter().map(|(_, share)| share).sum();
    let mut drawn = stream.below(total);
    for (kind, share) in PageKind::SHARES {
        if drawn < share {
            return kind;
        }
        drawn -= share;
    }
    PageKind::Encyclopedia
}

fn draw_layout(stream: &mut Stream, kind: PageKind) -> Layout {
    match kind {
        PageKind::Encyclopedia => Layout::Encyclopedia,
        PageKind::Forum => Layout::Forum,
        PageKind::Shop => Layout::Shop,
        PageKind::Blog => Layout::Blog,
        _ => *stream.choose(&Layout::ALL),
    }
}

/// An earlier good page in simplified characters, and its layout.
fn original(key: Key, number: u64, stream: &mut Stream) -> Option<(u64, Layout)> {
    let mut candidate = stream.below(number);
    for _ in 0..MAX_TRIES {
        if candidate >= number {
            return None;
        }
        let mut its = key.child("plan").at(candidate).stream();
        let kind = draw_kind(&mut its);
        if kind.is_good() && kind != PageKind::Traditional {
            return Some((candidate, draw_layout(&mut its, kind)));
        }
        candidate = (candidate + 1) % number.max(1);
    }
    None
}

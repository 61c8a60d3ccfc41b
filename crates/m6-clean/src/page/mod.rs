//! From a page's bytes to its text and pictures in reading order (issue stage "Extract"; paper section 1.1 takes both from web pages).
//!
//! bytes -> [`charset`] -> a cheap look that refuses what cannot be a page -> `token` and `tree` -> `blocks` (lines with numbers)
//! -> `score` (which part is content) -> `images`, `captions` and `title`. Nothing recurses, nothing is quadratic, and every size has a limit.

mod address;
mod blocks;
mod captions;
pub mod charset;
mod entity;
mod hints;
mod images;
mod lang;
mod line;
mod phrases;
mod product;
mod score;
mod tag;
mod thread;
mod title;
mod token;
mod tree;
mod trim;

pub use address::host;
pub use blocks::Kind;
pub use captions::{Candidate, Image, Role};
pub use lang::detect as language;

use blocks::{Lines, Raw};
use captions::PageFacts;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use tag::Tag;
use title::Names;
use token::Key;
use tree::Tree;

/// Characters from which it is judged whether bytes are text at all.
const BINARY_WINDOW: usize = 4096;
/// One character of a text in so many may be a control character or undecodable.
const BINARY_IN: usize = 8;
/// Pictures of one page that are kept.
const MOST_IMAGES: usize = 10_000;

/// What a page must be like (ours).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Largest page in bytes; larger ones are refused before anything is decoded.
    pub max_bytes: usize,
    /// Fewest Han characters of the text; 0 takes pages of any language.
    pub min_han: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: 16 << 20,
            min_han: 0,
        }
    }
}

/// Why a page was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More bytes than [`Options::max_bytes`].
    #[error("page of {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The bytes are no text.
    #[error("not a text: {bad} of the first {of} characters are control characters or undecodable")]
    NotText {
        /// Characters that no text has.
        bad: usize,
        /// Characters looked at.
        of: usize,
    },
    /// Nothing to read and no pictures.
    #[error("no text and no pictures")]
    Empty,
    /// Fewer Han characters than [`Options::min_han`].
    #[error("{found} Han characters, fewer than {wanted}")]
    NotChinese {
        /// Han characters found.
        found: usize,
        /// Han characters wanted.
        wanted: usize,
    },
}

/// A line of the content or a picture in it (ours).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: Kind,
    /// Its text; empty for a picture.
    pub text: String,
    /// The picture, as an index of [`Page::images`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<usize>,
}

/// The content of a page (ours; fields as in the issue).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Title without the site's name; may be empty.
    pub title: String,
    /// Encoding the page was in; `utf-8` where text was given.
    pub charset: String,
    /// Language tag of the text, by its letters; else what the page says of itself; may be empty.
    pub lang: String,
    /// Lines of all blocks, joined by line breaks.
    pub text: String,
    /// Lines and pictures in reading order.
    pub blocks: Vec<Block>,
    /// Pictures in reading order, each address once.
    pub images: Vec<Image>,
    /// Whether the page has more elements and texts than are read (2,000,000).
    #[serde(default)]
    pub cut: bool,
}

/// The content of a page given as bytes.
///
/// # Errors
/// A [`Refusal`] where the page is too large, no text, empty, or not Chinese enough.
pub fn extract_bytes(
    bytes: &[u8],
    http_charset: Option<&str>,
    url: Option<&str>,
    options: &Options,
) -> Result<Page, Refusal> {
    check_size(bytes.len(), options)?;
    let decoded = charset::decode(bytes, http_charset);
    let mut page = extract(&decoded.text, url, options)?;
    page.charset = decoded.charset;
    Ok(page)
}

/// The content of a page given as text; `url` makes the addresses of pictures absolute.
///
/// # Errors
/// A [`Refusal`] as for [`extract_bytes`].
pub fn extract(html: &str, url: Option<&str>, options: &Options) -> Result<Page, Refusal> {
    check_size(html.len(), options)?;
    gate(html, options)?;
    let tree = Tree::parse(html);
    let lines = Lines::of(&tree);
    let keep = score::choose(&tree, &lines);
    let shown: Vec<usize> = (0..lines.blocks.len()).filter(|i| keep[*i]).collect();
    let base = base_address(&tree, url);
    let names = Names::of(&tree, &lines);
    let product = captions::first_titled(&tree, &lines.blocks, &shown, &names, base.as_deref())
        .filter(|_| product::sells_one(&tree, html));
    let facts = PageFacts {
        base: base.as_deref(),
        names: &names,
        product,
    };
    let mut page = Page {
        title: names.title.clone(),
        charset: "utf-8".to_string(),
        cut: tree.cut,
        ..Page::default()
    };
    fill(&mut page, &tree, &lines.blocks, &shown, facts);
    if page.text.is_empty() && page.images.is_empty() {
        return Err(Refusal::Empty);
    }
    page.lang = match language(&page.text) {
        Some(lang) => lang.to_string(),
        None => stated_language(&tree),
    };
    if options.min_han > 0 {
        let found = page.text.chars().filter(|c| lang::is_han(*c)).count();
        enough_han(found, options)?;
    }
    Ok(page)
}

fn check_size(bytes: usize, options: &Options) -> Result<(), Refusal> {
    if bytes > options.max_bytes {
        return Err(Refusal::TooLarge {
            bytes,
            limit: options.max_bytes,
        });
    }
    Ok(())
}

fn enough_han(found: usize, options: &Options) -> Result<(), Refusal> {
    if found < options.min_han {
        return Err(Refusal::NotChinese {
            found,
            wanted: options.min_han,
        });
    }
    Ok(())
}

/// What can be refused without a tree: bytes that are no text, and pages without any Han character where those are wanted.
fn gate(html: &str, options: &Options) -> Result<(), Refusal> {
    let (mut bad, mut of) = (0, 0);
    for c in html.chars().take(BINARY_WINDOW) {
        of += 1;
        let control = c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{C}');
        bad += usize::from(control || c == '\u{FFFD}');
    }
    if bad * BINARY_IN > of {
        return Err(Refusal::NotText { bad, of });
    }
    // Han characters begin with the bytes E3 to E9 or F0; a page may also write them as numbers.
    let may_be_han = |b: &u8| matches!(b, 0xE3..=0xE9 | 0xF0);
    let written = || memchr::memmem::find(html.as_bytes(), b"&#").is_some();
    if options.min_han > 0 && !html.as_bytes().iter().any(may_be_han) && !written() {
        return enough_han(0, options);
    }
    Ok(())
}

/// Lines and pictures that are shown, in order.
fn fill(page: &mut Page, tree: &Tree<'_>, blocks: &[Raw], shown: &[usize], facts: PageFacts<'_>) {
    let mut known: FxHashMap<String, usize> = FxHashMap::default();
    for (at, i) in shown.iter().enumerate() {
        let block = &blocks[*i];
        if block.kind != Kind::Image {
            if !page.text.is_empty() {
                page.text.push('\n');
            }
            page.text.push_str(&block.text);
            page.blocks.push(Block {
                kind: block.kind,
                text: block.text.clone(),
                image: None,
            });
            continue;
        }
        if page.images.len() >= MOST_IMAGES {
            continue;
        }
        let Some(image) = captions::image(tree, blocks, shown, at, facts) else {
            continue;
        };
        let next = page.images.len();
        let index = *known.entry(image.src.clone()).or_insert(next);
        if index == next {
            page.images.push(image);
            page.blocks.push(Block {
                kind: Kind::Image,
                text: String::new(),
                image: Some(index),
            });
        }
    }
}

/// The address that relative ones are seen from: `base`, itself seen from the page's own.
fn base_address(tree: &Tree<'_>, url: Option<&str>) -> Option<String> {
    let base = (0..tree.nodes.len())
        .filter(|i| tree.nodes[*i].tag == Tag::Base)
        .find_map(|i| tree.attr(i, Key::Href))
        .and_then(|href| address::join(url, &entity::decode(href, true)));
    base.or_else(|| url.map(str::to_string))
}

/// What the page says of its language, without the region.
fn stated_language(tree: &Tree<'_>) -> String {
    let stated = (0..tree.nodes.len())
        .take_while(|i| tree.nodes[*i].tag != Tag::Body)
        .find(|i| tree.nodes[*i].tag == Tag::Html)
        .and_then(|i| tree.attr(i, Key::Lang))
        .unwrap_or_default();
    let primary = stated.split(['-', '_']).next().unwrap_or_default().trim();
    let plain =
        (2..=3).contains(&primary.len()) && primary.bytes().all(|b| b.is_ascii_alphabetic());
    if plain {
        primary.to_ascii_lowercase()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

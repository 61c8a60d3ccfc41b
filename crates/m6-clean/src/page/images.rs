//! Pictures of a page: where their bytes are, and whether they belong to what the page says.

use super::address;
use super::entity;
use super::line;
use super::tag::Tag;
use super::token::{Attr, Key};
use super::tree::Tree;

/// Width and height up to which a picture only counts visits.
const TRACKER: u32 = 3;

/// An attribute with its character references read, as text would be shown.
pub(crate) fn attr_text(tree: &Tree<'_>, node: usize, key: Key) -> String {
    let raw = tree.attr(node, key).unwrap_or_default();
    line::shown(&entity::decode(raw, true))
}

/// The address of a picture: lazy attribute, `src`, `srcset`, then the sources of a `picture` around it.
pub(crate) fn source(tree: &Tree<'_>, node: usize, base: Option<&str>) -> Option<String> {
    let absolute = |raw: &str| {
        let text = entity::decode(raw, true);
        if text.starts_with('#') {
            return None;
        }
        address::join(base, &text)
    };
    let late = tree
        .attrs(node)
        .iter()
        .filter(|attr| attr.key == Key::Late)
        .find_map(|attr| late_address(attr))
        .and_then(&absolute);
    if late.is_some() {
        return late;
    }
    let plain = tree
        .attr(node, Key::Src)
        .filter(|src| !is_placeholder(src))
        .and_then(&absolute);
    if plain.is_some() {
        return plain;
    }
    let own = std::iter::once(node);
    own.chain(picture_sources(tree, node)).find_map(|node| {
        let late = |attr: &&Attr<'_>| attr.key == Key::Late && name_has(attr.name, "srcset");
        let set = tree.attr(node, Key::Srcset).or_else(|| {
            let attrs = tree.attrs(node);
            attrs.iter().find(late).map(|attr| attr.value)
        })?;
        absolute(widest(set)?)
    })
}

/// `source` elements of the `picture` a picture stands in.
fn picture_sources<'t>(tree: &'t Tree<'_>, node: usize) -> impl Iterator<Item = usize> + 't {
    let parent = tree.nodes.get(node).map_or(0, |n| n.parent as usize);
    let range = match tree.nodes.get(parent).map(|n| n.tag) {
        Some(Tag::Picture) => parent..node,
        _ => 0..0,
    };
    range.filter(|i| tree.nodes[*i].tag == Tag::Source)
}

fn name_has(name: &str, part: &str) -> bool {
    name.to_ascii_lowercase().contains(part)
}

/// The address in an attribute that pages use for pictures that load late.
fn late_address<'a>(attr: &Attr<'a>) -> Option<&'a str> {
    if name_has(attr.name, "srcset") || name_has(attr.name, "fallback") {
        return None;
    }
    let value = attr.value.trim();
    let named = [
        "src", "original", "lazy", "file", "url", "echo", "actual", "image", "img",
    ]
    .iter()
    .any(|part| name_has(attr.name, part));
    let path = value.split(['?', '#']).next().unwrap_or_default();
    let like_address = !value.contains(['{', ' ', '<', ','])
        && !value.starts_with('#')
        && (value.starts_with("http")
            || value.starts_with("//")
            || path.contains('/')
            || has_picture_suffix(path));
    let page = path.ends_with(".html") || path.ends_with(".htm") || path.ends_with(".js");
    (named && like_address && !page && !is_placeholder(value)).then_some(value)
}

pub(crate) fn has_picture_suffix(path: &str) -> bool {
    let suffix = path.rsplit('.').next().unwrap_or_default();
    ["jpg", "jpeg", "png", "gif", "webp", "bmp", "avif", "svg"]
        .iter()
        .any(|known| suffix.eq_ignore_ascii_case(known))
}

/// What stands in `src` until the picture is loaded.
fn is_placeholder(src: &str) -> bool {
    let src = src.trim();
    if src.is_empty() || src.starts_with("data:") || src.starts_with("about:") {
        return true;
    }
    let path = src.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let stem = name
        .split('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    const NAMES: &[&str] = &[
        "blank",
        "spacer",
        "loading",
        "lazyload",
        "lazy",
        "placeholder",
        "pixel",
        "grey",
        "gray",
        "transparent",
        "1x1",
        "space",
        "none",
        "lazy-load",
        "img-loading",
        "load",
        "default_lazy",
    ];
    NAMES.contains(&stem.as_str())
}

/// The largest address of a `srcset`. Addresses may hold commas but no blanks; a comma after an address or its size ends the
/// entry.
fn widest(set: &str) -> Option<&str> {
    let mut best: Option<(f32, &str)> = None;
    let mut address: Option<&str> = None;
    for word in set.split_ascii_whitespace() {
        let Some(open) = address else {
            let bare = word.trim_end_matches(',');
            if bare.len() < word.len() {
                keep_wider(&mut best, bare, 1.0);
            } else {
                address = Some(word);
            }
            continue;
        };
        let (size, next) = word.split_once(',').unwrap_or((word, ""));
        let size = size
            .trim_end_matches(['w', 'x', 'h'])
            .parse()
            .unwrap_or(1.0);
        keep_wider(&mut best, open, size);
        address = Some(next).filter(|next| !next.is_empty());
    }
    if let Some(open) = address {
        keep_wider(&mut best, open, 1.0);
    }
    best.map(|(_, address)| address)
}

fn keep_wider<'a>(best: &mut Option<(f32, &'a str)>, address: &'a str, size: f32) {
    let placed = address.contains('/') || has_picture_suffix(address);
    if placed && !address.starts_with("data:") && best.is_none_or(|(most, _)| size > most) {
        *best = Some((size, address));
    }
}

/// The size an `img` says it has, in pixels.
fn stated_size(tree: &Tree<'_>, node: usize) -> (Option<u32>, Option<u32>) {
    let side = |key| {
        let value = tree.attr(node, key)?.trim();
        value.trim_end_matches("px").trim().parse().ok()
    };
    (side(Key::Width), side(Key::Height))
}

/// Whether a picture only counts visits.
pub(crate) fn is_tracker(tree: &Tree<'_>, node: usize) -> bool {
    let (width, height) = stated_size(tree, node);
    width.is_some_and(|w| w <= TRACKER) || height.is_some_and(|h| h <= TRACKER)
}

/// Whether a picture may vote for the part it stands in: no icon, logo or tracker.
pub(crate) fn looks_like_content(tree: &Tree<'_>, node: usize) -> bool {
    const ICONS: &[&str] = &[
        "icon", "logo", "avatar", "emoji", "emot", "smil", "face", "qrcode", "erweima", "arrow",
        "btn", "button", "bullet", "sprite",
    ];
    let (width, height) = stated_size(tree, node);
    let small = width.is_some_and(|w| w < 60) || height.is_some_and(|h| h < 60);
    let named = tree.attrs(node).iter().any(|attr| {
        matches!(attr.key, Key::Src | Key::Class | Key::Late)
            && attr.value.len() < 400
            && ICONS.iter().any(|icon| name_has(attr.value, icon))
    });
    !small && !named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_source(html: &str, expected: &[&str]) {
        let tree = Tree::parse(html);
        let found: Vec<String> = (0..tree.nodes.len())
            .filter(|i| {
                matches!(tree.nodes[*i].tag, Tag::Img | Tag::AmpImg) && !is_tracker(&tree, *i)
            })
            .filter_map(|i| source(&tree, i, Some("http://a.cn/b/c.html")))
            .collect();
        assert_eq!(found, expected, "{html}");
    }

    #[test]
    fn addresses_of_all_kinds() {
        check_source("<img src='x.jpg'>", &["http://a.cn/b/x.jpg"]);
        check_source(
            "<img src='/x.jpg?a=1&amp;b=2'>",
            &["http://a.cn/x.jpg?a=1&b=2"],
        );
        check_source(
            "<img src=data:image/gif;base64,R0 data-original=//c.cn/y.png>",
            &["http://c.cn/y.png"],
        );
        check_source(
            "<img src=/img/loading.gif data-lazy-src='z.jpg'>",
            &["http://a.cn/b/z.jpg"],
        );
        check_source("<img src=/static/blank.gif>", &[]);
        check_source(
            "<img data-src='{\"a\":1}' src=k.jpg data-type=a/b>",
            &["http://a.cn/b/k.jpg"],
        );
        check_source(
            "<img srcset='s.jpg 480w, l.jpg 1080w, m.jpg 800w'>",
            &["http://a.cn/b/l.jpg"],
        );
        check_source(
            "<img srcset='http://c.cn/w_1,h_2/s.jpg 1x,http://c.cn/w_2,h_4/l.jpg 2x'>",
            &["http://c.cn/w_2,h_4/l.jpg"],
        );
        check_source("<img srcset='s.jpg, data:x 3x'>", &["http://a.cn/b/s.jpg"]);
        check_source(
            "<picture><source srcset='p.webp 2x, o.webp'><img src=data:,></picture>",
            &["http://a.cn/b/p.webp"],
        );
        check_source(
            "<img class=lazy src=data:,><noscript><img src=n.jpg></noscript>",
            &["http://a.cn/b/n.jpg"],
        );
        check_source("<img src=t.gif width=1 height=1><img src=#><img>", &[]);
        check_source(
            "<amp-img src=amp.jpg width=600></amp-img>",
            &["http://a.cn/b/amp.jpg"],
        );
        check_source(
            "<img file='data/x.jpg' src=none.gif>",
            &["http://a.cn/b/data/x.jpg"],
        );
    }
}

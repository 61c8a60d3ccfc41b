//! What the names that page authors give to elements say about the text in them.
//!
//! Ours: collected from Chinese news, forum, blog and portal templates and from the usual content-management systems. A hint
//! is never the last word: a part that holds most of the page's text is content whatever it is called (see `score`).

use super::tag::Tag;
use super::token::Key;
use super::tree::Tree;
use aho_corasick::AhoCorasick;
use std::sync::OnceLock;

/// Longest class or id that is looked at; what is longer is generated.
const LONGEST_NAME: usize = 400;

/// How sure it is that a part is not the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Furniture {
    /// Names that also wrap whole pages.
    Soft,
    /// What almost never holds the text: comments, adverts.
    Hard,
    /// What the page does not show.
    Hidden,
}

/// What an element's name, role or style says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Whether it is furniture.
    pub(crate) furniture: Option<Furniture>,
    /// The body of an article.
    pub(crate) body: bool,
    /// The words under a picture.
    pub(crate) caption: bool,
}

/// Names of what almost never holds the main text; anywhere in a class or id.
const HARD: &str = "comment pinglun liuyan sidebar side-bar side_bar footer breadcrumb crumb navbar navigation pagination recommend \
    related relate- relate_ tuijian tjyd xgyd xiangguan copyright banquan advert sponsor promo outbrain taboola disqus giscus gitalk \
    valine tie-area single-tie qrcode erweima jubao feedback hotnews hot-news hot_news hotlist hot-list ranklist paihang toplist \
    guesslike guess-like readmore-list recent-post recent_post recent-article recentpost newsletter cookie gdpr \
    popup modal";
/// The same as whole words.
const HARD_WORDS: &str =
    "nav ad ads adv foot relate related comments reply rank toc gotop backtop subnav topnav";
/// Names of furniture that also wrap whole pages.
const SOFT: &str = "share social subscribe login signup register toolbar widget masthead tag-list taglist post-tag \
    post-meta post_meta postmeta article-meta article_meta entry-meta post-info post_info postinfo article-info article_info \
    info-source post-nav post_nav nav-link reward donate statement shengming editor-info author-bio author-card author-info \
    authorinfo about-author addthis sr-only visually-hidden screen-reader skip-link site-header page-header mini-profile \
    rich_media_meta profile_container meta_content special_tag tools-bar print-hide noprint edit-link headerlink";
/// The same as whole words.
const SOFT_WORDS: &str = "side aside bottom tags meta byline search hot more banner menu rss sns vote digg header topbar tool tools";
/// Names of the body of an article.
const BODY: &str = "articlebody article-body article_body article-content article_content articlecontent post-content \
    post_content post-body post_body post_text entry-content entry_content rich_media_content trs_editor endtext artibody \
    markdown-body markdown_body news_txt newstext news-text content-article cnt-main-article article_text article-text articletext single-content \
    vsb_content pages_content detail_content detail-content news_content newscontent news-content ucap-content arttext art_context \
    art-content art_content story-body storybody td-post-content richcontent-inner mw-parser-output main-txt a-con d_post_content \
    field-name-body content-text text-content lemma-summary postmessage content_area left_zw topic-content mdbook-content";
/// The same as whole words.
const BODY_WORDS: &str = "zoom js_content";
/// Names of the words under a picture.
const CAPTION: &str = "caption tuzhu pic-desc pic_desc picdesc img-desc imgdesc img_desc image-desc photo-desc pictext pic-txt \
    img-txt imgtxt img_txt pic-info picinfo pic_info img-title pic-title img-info imginfo";

#[derive(Clone, Copy)]
enum Meaning {
    Hard,
    Soft,
    Body,
    Caption,
}

struct Names {
    automaton: Option<AhoCorasick>,
    meanings: Vec<(Meaning, bool)>,
}

/// One automaton over all names, built once.
fn names() -> &'static Names {
    static NAMES: OnceLock<Names> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut patterns = Vec::new();
        let mut meanings = Vec::new();
        for (list, meaning, whole) in [
            (HARD, Meaning::Hard, false),
            (HARD_WORDS, Meaning::Hard, true),
            (SOFT, Meaning::Soft, false),
            (SOFT_WORDS, Meaning::Soft, true),
            (BODY, Meaning::Body, false),
            (BODY_WORDS, Meaning::Body, true),
            (CAPTION, Meaning::Caption, false),
        ] {
            for name in list.split_whitespace() {
                patterns.push(name);
                meanings.push((meaning, whole));
            }
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(aho_corasick::AhoCorasickKind::DFA))
            .build(&patterns)
            .ok();
        Names {
            automaton,
            meanings,
        }
    })
}

fn of_name(name: &str, hint: &mut Hint) {
    let names = names();
    let Some(automaton) = names
        .automaton
        .as_ref()
        .filter(|_| name.len() <= LONGEST_NAME)
    else {
        return;
    };
    let letter = |at: Option<usize>| {
        at.and_then(|at| name.as_bytes().get(at))
            .is_some_and(u8::is_ascii_alphabetic)
    };
    for found in automaton.find_overlapping_iter(name) {
        let Some((meaning, whole)) = names.meanings.get(found.pattern().as_usize()) else {
            continue;
        };
        if *whole && (letter(found.start().checked_sub(1)) || letter(Some(found.end()))) {
            continue;
        }
        if is_aside(name, found.start()) {
            continue;
        }
        match meaning {
            Meaning::Hard => hint.furniture = Some(Furniture::Hard),
            Meaning::Soft => hint.furniture = hint.furniture.or(Some(Furniture::Soft)),
            Meaning::Body => hint.body = true,
            Meaning::Caption => hint.caption = true,
        }
    }
}

/// Whether a name at this place of a class says nothing of the element itself: content systems write the subjects of an
/// article among its classes, as `category-promotion`, and layouts say what stands beside them, as `with-sidebar`.
fn is_aside(name: &str, at: usize) -> bool {
    let before = name.get(..at).unwrap_or_default();
    let word = before
        .rsplit(|c: char| c.is_ascii_whitespace())
        .next()
        .unwrap_or_default();
    let beside = ["with", "has", "no", "without"];
    let joint = word.trim_end_matches(['-', '_']);
    word.starts_with("category-")
        || word.starts_with("tag-")
        || (joint.len() < word.len() && beside.iter().any(|b| joint.ends_with(b)))
}

/// The hint of an element.
pub(crate) fn of(tree: &Tree<'_>, node: usize) -> Hint {
    let mut hint = Hint::default();
    let Some(tag) = tree.nodes.get(node).map(|n| n.tag) else {
        return hint;
    };
    for attr in tree.attrs(node) {
        match attr.key {
            Key::Class | Key::Id => of_name(attr.value, &mut hint),
            Key::Role => of_role(attr.value, &mut hint),
            Key::Itemprop => hint.body |= attr.value.eq_ignore_ascii_case("articleBody"),
            Key::Hidden => hint.furniture = Some(Furniture::Hidden),
            Key::AriaHidden if attr.value.trim() == "true" => {
                hint.furniture = hint.furniture.or(Some(Furniture::Soft));
            }
            Key::Style if is_hidden(attr.value) => {
                hint.furniture = Some(Furniture::Hidden);
            }
            _ => {}
        }
    }
    match tag {
        Tag::Nav | Tag::Footer | Tag::Aside | Tag::Dialog => {
            hint.furniture = Some(Furniture::Hard);
        }
        Tag::Menu | Tag::Search => hint.furniture = Some(Furniture::Soft),
        Tag::Form => hint.furniture = hint.furniture.or(Some(Furniture::Soft)),
        Tag::Header if !in_article(tree, node) => {
            hint.furniture = hint.furniture.or(Some(Furniture::Soft))
        }
        Tag::Header => hint.furniture = None,
        Tag::Article => hint.body = true,
        Tag::Figcaption => hint.caption = true,
        _ => {}
    }
    // The frame of the page is no furniture, and an article called `...-comment...` is rare beside comments called article.
    if matches!(tag, Tag::Html | Tag::Body | Tag::Main) || tag.heading_level().is_some() {
        hint.furniture = None;
    }
    if hint.furniture == Some(Furniture::Soft) && hint.body {
        hint.furniture = None;
    }
    hint
}

fn in_article(tree: &Tree<'_>, node: usize) -> bool {
    tree.ancestors(node)
        .any(|i| matches!(tree.nodes[i].tag, Tag::Article))
}

fn of_role(role: &str, hint: &mut Hint) {
    let hard = ["navigation", "contentinfo", "complementary", "dialog"];
    let soft = ["banner", "search", "menu", "toolbar", "alert"];
    if hard.iter().any(|r| role.eq_ignore_ascii_case(r)) {
        hint.furniture = Some(Furniture::Hard);
    } else if soft.iter().any(|r| role.eq_ignore_ascii_case(r)) {
        hint.furniture = Some(Furniture::Soft);
    }
}

/// `visibility: hidden` is not asked: WeChat and others show the text when it has loaded.
fn is_hidden(style: &str) -> bool {
    let bytes = style.as_bytes();
    memchr::memmem::find_iter(bytes, "display").any(|at| {
        let rest = style.get(at + 7..).unwrap_or_default().trim_start();
        rest.strip_prefix(':')
            .is_some_and(|value| value.trim_start().starts_with("none"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(html: &str, furniture: Option<Furniture>, body: bool, caption: bool) {
        let tree = Tree::parse(html);
        let expected = Hint {
            furniture,
            body,
            caption,
        };
        assert_eq!(of(&tree, 1), expected, "{html}");
    }

    #[test]
    fn names_roles_and_styles() {
        check(
            "<div class='Comment-List'>",
            Some(Furniture::Hard),
            false,
            false,
        );
        check("<div class='header'>", Some(Furniture::Soft), false, false);
        check("<div class='no-shadow adventure'>", None, false, false);
        check("<div id=ad_left>", Some(Furniture::Hard), false, false);
        check(
            "<div id=js_content class=rich_media_content style='visibility: hidden'>",
            None,
            true,
            false,
        );
        check(
            "<div style='color:red; display : none'>",
            Some(Furniture::Hidden),
            false,
            false,
        );
        check("<div role=Navigation>", Some(Furniture::Hard), false, false);
        check(
            "<div itemprop=articleBody class=share-wrap>",
            None,
            true,
            false,
        );
        check("<p class=wp-caption-text>", None, false, true);
        check("<body class=has-sidebar>", None, false, false);
        check(
            "<div class='category-promotion tag-comments content-with-sidebar'>",
            None,
            false,
            false,
        );
        check("<nav>", Some(Furniture::Hard), false, false);
    }
}

//! What the names that page authors give to elements, and the phrases of page furniture, say about text.
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

/// What an element's name, role or style says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Furniture: `Some(true)` for what almost never holds the text (comments, adverts), `Some(false)` for what may wrap it.
    pub(crate) furniture: Option<bool>,
    /// The body of an article.
    pub(crate) body: bool,
    /// The words under a picture.
    pub(crate) caption: bool,
}

/// Names of what almost never holds the main text; anywhere in a class or id.
const HARD: &str = "comment pinglun liuyan sidebar side-bar side_bar footer breadcrumb crumb navbar navigation pagination recommend \
    related relate- relate_ tuijian tjyd xgyd xiangguan copyright banquan advert sponsor promo outbrain taboola disqus giscus gitalk \
    valine tie-area single-tie qrcode erweima jubao feedback hotnews hot-news hot_news hotlist hot-list ranklist paihang toplist \
    guesslike guess-like readmore-list recent-post recent_post recent-article recentpost newsletter cookie-";
/// The same as whole words.
const HARD_WORDS: &str =
    "nav ad ads adv foot relate related comments reply rank toc gotop backtop subnav topnav";
/// Names of furniture that also wrap whole pages.
const SOFT: &str = "share social subscribe popup modal login signup register toolbar widget masthead tag-list taglist post-tag \
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
    content-text text-content lemma-summary postmessage content_area left_zw topic-content mdbook-content";
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
        match meaning {
            Meaning::Hard => hint.furniture = Some(true),
            Meaning::Soft => hint.furniture = hint.furniture.or(Some(false)),
            Meaning::Body => hint.body = true,
            Meaning::Caption => hint.caption = true,
        }
    }
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
            Key::Hidden => hint.furniture = hint.furniture.or(Some(false)),
            Key::AriaHidden if attr.value.trim() == "true" => {
                hint.furniture = hint.furniture.or(Some(false));
            }
            Key::Style if is_hidden(attr.value) => {
                hint.furniture = hint.furniture.or(Some(false));
            }
            _ => {}
        }
    }
    match tag {
        Tag::Nav | Tag::Footer | Tag::Aside => hint.furniture = Some(true),
        Tag::Menu | Tag::Search | Tag::Dialog => hint.furniture = Some(false),
        Tag::Header if !in_article(tree, node) => hint.furniture = hint.furniture.or(Some(false)),
        Tag::Header => hint.furniture = None,
        Tag::Article => hint.body = true,
        Tag::Figcaption => hint.caption = true,
        _ => {}
    }
    // The frame of the page is no furniture, and an article called `...-comment...` is rare beside comments called article.
    if matches!(tag, Tag::Html | Tag::Body | Tag::Main) || tag.heading_level().is_some() {
        hint.furniture = None;
    }
    if hint.furniture == Some(false) && hint.body {
        hint.furniture = None;
    }
    hint
}

fn in_article(tree: &Tree<'_>, node: usize) -> bool {
    tree.ancestors(node)
        .any(|i| matches!(tree.nodes[i].tag, Tag::Article))
}

fn of_role(role: &str, hint: &mut Hint) {
    let hard = ["navigation", "contentinfo", "complementary"];
    let soft = ["banner", "search", "dialog", "menu", "toolbar", "alert"];
    if hard.iter().any(|r| role.eq_ignore_ascii_case(r)) {
        hint.furniture = Some(true);
    } else if soft.iter().any(|r| role.eq_ignore_ascii_case(r)) {
        hint.furniture = Some(false);
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

/// Longest line that can be furniture by its words alone, in characters.
const LONGEST_FURNITURE_LINE: usize = 40;

/// Beginnings of lines that belong to the page and not to the text.
const LINE_STARTS: &[&str] = &[
    "责任编辑",
    "编辑：",
    "编辑:",
    "(编辑",
    "（编辑",
    "(责任编辑",
    "（责任编辑",
    "[责任编辑",
    "【责任编辑",
    "责编",
    "上一篇",
    "下一篇",
    "上一页",
    "下一页",
    "上一章",
    "下一章",
    "分享到",
    "分享至",
    "扫一扫",
    "扫描二维码",
    "相关阅读",
    "相关新闻",
    "相关文章",
    "相关推荐",
    "相关链接",
    "相关专题",
    "推荐阅读",
    "延伸阅读：",
    "猜你喜欢",
    "热门推荐",
    "热门文章",
    "为您推荐",
    "返回顶部",
    "返回首页",
    "返回列表",
    "打印本页",
    "关闭窗口",
    "版权声明",
    "版权所有",
    "免责声明",
    "特别声明",
    "阅读原文",
    "点击进入专题",
    "我要反馈",
    "Copyright",
    "Powered by",
];

/// Whether a short line is furniture by its words.
pub(crate) fn is_furniture_line(text: &str) -> bool {
    let line = text.trim_start_matches(|c: char| {
        c.is_whitespace() || matches!(c, '·' | '•' | '»' | '«' | '<' | '>')
    });
    LINE_STARTS.iter().any(|start| line.starts_with(start))
        && text.chars().nth(LONGEST_FURNITURE_LINE).is_none()
}

/// Marks with which Chinese pages begin the words under a picture.
pub(crate) fn starts_like_caption(text: &str) -> bool {
    const STARTS: &[&str] = &[
        "图：",
        "图:",
        "图为",
        "图片：",
        "图片来源",
        "图片说明",
        "图说",
        "图注",
        "（图",
        "(图",
        "▲",
        "△",
        "↑",
        "资料图",
        "资料图片",
        "配图",
        "照片",
    ];
    let numbered = text
        .strip_prefix('图')
        .or_else(|| text.strip_prefix("Figure "))
        .and_then(|rest| rest.trim_start().chars().next())
        .is_some_and(|c| c.is_ascii_digit() || "一二三四五六七八九十".contains(c));
    numbered || STARTS.iter().any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(html: &str, furniture: Option<bool>, body: bool, caption: bool) {
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
        check("<div class='Comment-List'>", Some(true), false, false);
        check("<div class='header'>", Some(false), false, false);
        check("<div class='no-shadow adventure'>", None, false, false);
        check("<div id=ad_left>", Some(true), false, false);
        check(
            "<div id=js_content class=rich_media_content style='visibility: hidden'>",
            None,
            true,
            false,
        );
        check(
            "<div style='color:red; display : none'>",
            Some(false),
            false,
            false,
        );
        check("<div role=Navigation>", Some(true), false, false);
        check(
            "<div itemprop=articleBody class=share-wrap>",
            None,
            true,
            false,
        );
        check("<p class=wp-caption-text>", None, false, true);
        check("<body class=has-sidebar>", None, false, false);
        check("<nav>", Some(true), false, false);
    }

    #[test]
    fn lines_of_the_page() {
        for line in [
            "责任编辑：张三",
            "上一篇：如何",
            "» 相关阅读",
            "Copyright © 2020",
        ] {
            assert!(is_furniture_line(line), "{line}");
        }
        assert!(!is_furniture_line("责任重大"));
        assert!(!is_furniture_line(&format!(
            "版权声明{}",
            "很长的正文".repeat(10)
        )));
    }

    #[test]
    fn lines_under_pictures() {
        for (line, expected) in [
            ("图为会议现场", true),
            ("图1 结构", true),
            ("图 三", true),
            ("▲ 夜景", true),
            ("图书馆开放了", false),
            ("图案很美", false),
        ] {
            assert_eq!(starts_like_caption(line), expected, "{line}");
        }
    }
}

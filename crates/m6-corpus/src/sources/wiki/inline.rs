//! Links, pictures and language variants.

use super::format::format_line;
use super::spans;
use super::text::{MARK, WikiPicture};

/// Deepest nesting of links (links inside captions of pictures).
const MAX_DEPTH: usize = 4;
/// Longest `-{...}-`, in bytes.
const MAX_VARIANT: usize = 4_000;
/// Namespaces of files, in small letters.
const FILE_SPACES: [&str; 7] = ["file", "image", "文件", "图像", "圖像", "檔案", "档案"];
/// Namespaces whose links show nothing.
const HIDDEN_SPACES: [&str; 3] = ["category", "分类", "分類"];
/// Pictures that the web shows.
const PICTURE_EXTENSIONS: [&str; 9] = [
    "jpg", "jpeg", "png", "gif", "svg", "webp", "tif", "tiff", "bmp",
];
/// Variants in the order in which they are taken.
const VARIANTS: [&str; 9] = [
    "zh-hans", "zh-cn", "zh", "zh-sg", "zh-my", "zh-hant", "zh-tw", "zh-hk", "zh-mo",
];
/// Words that say how a picture is set, in small letters.
const LAYOUT: [&str; 33] = [
    "thumb",
    "thumbnail",
    "frame",
    "framed",
    "frameless",
    "border",
    "left",
    "right",
    "center",
    "centre",
    "none",
    "upright",
    "baseline",
    "middle",
    "top",
    "bottom",
    "sub",
    "super",
    "缩略图",
    "縮圖",
    "缩图",
    "有框",
    "无框",
    "無框",
    "边框",
    "左",
    "右",
    "居中",
    "置中",
    "无",
    "無",
    "中",
    "替代",
];
/// Beginnings of settings with a value.
const SETTINGS: [&str; 8] = [
    "link=", "class=", "lang=", "page=", "upright=", "thumb=", "链接=", "連結=",
];

/// True for the name of a picture (and not of a sound or a document).
pub(super) fn is_picture_file(name: &str) -> bool {
    let extension = name
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_lowercase());
    extension.is_some_and(|extension| PICTURE_EXTENSIONS.contains(&extension.as_str()))
}

/// Chooses one text of every `-{...}-`.
pub(super) fn variants(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(open) = rest.find("-{") {
        let (before, from) = rest.split_at(open);
        out.push_str(before);
        let inner = &from[2..];
        let window = inner
            .get(..inner.floor_char_boundary(MAX_VARIANT))
            .unwrap_or(inner);
        // `-{{` is a dash before a template.
        match window.find("}-").filter(|_| !inner.starts_with('{')) {
            Some(end) => {
                out.push_str(variant(&inner[..end]));
                rest = &inner[end + 2..];
            }
            None => {
                out.push_str("-{");
                rest = inner;
            }
        }
    }
    out.push_str(rest);
    out
}

fn variant(inner: &str) -> &str {
    let (flags, rules) = match inner.split_once('|') {
        // A bar inside a link is no flag.
        Some((flags, rules)) if flags.len() < 24 && !flags.contains('[') => (flags.trim(), rules),
        _ => ("", inner),
    };
    if ["T", "H", "-"]
        .iter()
        .any(|hidden| flags.split(';').any(|flag| flag.trim() == *hidden))
    {
        return "";
    }
    let pairs = rules.split(';').filter_map(|rule| rule.split_once(':'));
    let texts: Vec<(&str, &str)> = pairs
        .map(|(code, text)| (code.rsplit("=>").next().unwrap_or(code).trim(), text.trim()))
        .collect();
    let chosen = VARIANTS
        .iter()
        .find_map(|wanted| texts.iter().find(|(code, _)| code == wanted));
    chosen.map_or(rules, |(_, text)| text)
}

/// Replaces links by what they show, and pictures by marks; a picture is added to `pictures` for every mark, in order.
pub(super) fn links(source: &str, pictures: &mut Vec<WikiPicture>, depth: usize) -> String {
    let spans = spans::matched(source, "[[", "]]");
    let kept = spans::replace(source, &spans, |inner| match depth < MAX_DEPTH {
        true => link(inner, pictures, depth),
        false => String::new(),
    });
    kept.replace("[[", "").replace("]]", "")
}

fn link(inner: &str, pictures: &mut Vec<WikiPicture>, depth: usize) -> String {
    let (target, label) = match inner.split_once('|') {
        Some((target, label)) => (target.trim(), Some(label)),
        None => (inner.trim(), None),
    };
    let (is_shown, target) = match target.strip_prefix(':') {
        Some(target) => (true, target.trim()),
        None => (false, target),
    };
    if let Some((space, name)) = target.split_once(':').filter(|_| !is_shown) {
        let space = space.trim().to_lowercase();
        if FILE_SPACES.contains(&space.as_str()) {
            return picture(name.trim(), label.unwrap_or_default(), pictures, depth);
        }
        if HIDDEN_SPACES.contains(&space.as_str()) || (is_language(&space) && label.is_none()) {
            return String::new();
        }
    }
    match label {
        None => target.to_string(),
        // An empty label stands for the name without what is in brackets.
        Some(label) if label.trim().is_empty() => {
            let name = target.rsplit_once(':').map_or(target, |(_, name)| name);
            name.split([' ', '(', '（'])
                .next()
                .unwrap_or_default()
                .to_string()
        }
        Some(label) => links(label, pictures, depth + 1),
    }
}

/// True for the code of another language's wiki.
fn is_language(space: &str) -> bool {
    let is_code = |part: &str| part.chars().all(|c| c.is_ascii_lowercase());
    match space.split_once('-') {
        Some((first, rest)) => {
            (2..=4).contains(&first.len()) && is_code(first) && is_code(&rest.replace('-', ""))
        }
        None => (2..=3).contains(&space.len()) && is_code(space),
    }
}

fn picture(name: &str, options: &str, pictures: &mut Vec<WikiPicture>, depth: usize) -> String {
    if !is_picture_file(name) {
        return String::new();
    }
    let mut picture = WikiPicture {
        file: name.replace('_', " "),
        ..WikiPicture::default()
    };
    // Pictures inside a caption are symbols, not pictures of the article.
    let mut inner = Vec::new();
    for option in spans::parts(options)
        .into_iter()
        .map(str::trim)
        .filter(|option| !option.is_empty())
    {
        let small = option.to_lowercase();
        let alt = ["alt=", "替代文本=", "替代文字="]
            .iter()
            .find_map(|key| option.strip_prefix(key));
        if let Some(alt) = alt {
            picture.alt = Some(format_line(
                &links(alt, &mut inner, depth + 1).replace(MARK, ""),
            ))
            .filter(|alt| !alt.is_empty());
        } else if !is_layout(&small) {
            // The last text counts, as in MediaWiki.
            let caption = format_line(&links(option, &mut inner, depth + 1).replace(MARK, ""));
            picture.caption = Some(caption).filter(|caption| !caption.is_empty());
        }
    }
    pictures.push(picture);
    MARK.to_string()
}

fn is_layout(option: &str) -> bool {
    let size = option.strip_suffix("px").or(option.strip_suffix("像素"));
    let is_size = size.is_some_and(|size| {
        size.chars()
            .all(|c| c.is_ascii_digit() || c == 'x' || c == ' ')
    });
    is_size
        || LAYOUT.contains(&option)
        || SETTINGS.iter().any(|setting| option.starts_with(setting))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, text: &str, pictures: &[(&str, Option<&str>, Option<&str>)]) {
        let mut got = Vec::new();
        assert_eq!(links(source, &mut got, 0), text, "{source}");
        let got: Vec<_> = got
            .iter()
            .map(|p| (p.file.as_str(), p.caption.as_deref(), p.alt.as_deref()))
            .collect();
        assert_eq!(got, pictures, "{source}");
    }

    #[test]
    fn links_show_their_labels() {
        check(
            "[[北京]]是[[中华人民共和国|中国]]的首都",
            "北京是中国的首都",
            &[],
        );
        check(
            "[[Category:城市]][[分类:甲]][[en:Beijing]][[zh-yue:北京]]",
            "",
            &[],
        );
        check("[[:Category:城市]]和[[:en:X|乙]]", "Category:城市和乙", &[]);
        check("[[史记 (书)|]]", "史记", &[]);
        check("[[a", "a", &[]);
        check("a]] [[b|[[c]]]]", "a c", &[]);
    }

    #[test]
    fn files_become_pictures() {
        let mark = "\u{fffc}";
        check(
            "[[File:a_b.jpg|thumb|200px|[[天安门]]的''景色'']]",
            mark,
            &[("a b.jpg", Some("天安门的景色"), None)],
        );
        check(
            "[[文件:c.PNG|缩略图|右|alt=一个圆|圆]]",
            mark,
            &[("c.PNG", Some("圆"), Some("一个圆"))],
        );
        check(
            "[[Image:d.svg|x20px|link=]]",
            mark,
            &[("d.svg", None, None)],
        );
        check("[[File:e.ogg|thumb|声音]]", "", &[]);
        check(
            "[[File:f.jpg|thumb|[[File:flag.svg|20px]] 国旗]]",
            mark,
            &[("f.jpg", Some("国旗"), None)],
        );
    }

    #[test]
    fn one_variant_is_taken() {
        let check = |source: &str, expected: &str| assert_eq!(variants(source), expected);
        check("用-{zh-hans:计算机;zh-hant:電腦;}-写", "用计算机写");
        check("-{zh-tw:資訊; zh-cn:信息}-", "信息");
        check("-{A|zh-cn:甲;zh-tw:乙}-", "甲");
        check("-{T|zh-cn:甲;zh-tw:乙}--{H|x=>zh-cn:y}-", "");
        check("-{原文}-和-{{模板}}-", "原文和-{{模板}}-");
        check("-{没有结束", "-{没有结束");
    }
}

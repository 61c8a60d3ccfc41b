//! Phrases of page furniture: what a line says of itself by its words. Ours, collected as the names in `hints`.

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
    "本帖最后由",
    "本主题由",
    "Copyright",
    "Powered by",
];

/// Whole lines that belong to the page: labels of buttons and of advertisements.
const LINES: &[&str] = &[
    "广告",
    "举报",
    "收藏",
    "点赞",
    "分享",
    "回复",
    "评论",
    "我要跟帖",
    "展开全文",
    "阅读全文",
    "查看全文",
    "- the end -",
    "advert",
    "advertisement",
    "ad",
    "share",
    "share this",
    "share this article",
    "read more",
    "read more:",
    "comments",
    "caption",
    "close",
    "print",
    "back to gallery",
    "story continues below advertisement",
    "article continues below advertisement",
    "this slideshow requires javascript.",
    "sign up",
    "subscribe",
    "loading...",
];

/// Words of the line under a headline that says when, where and by whom it was published.
const IMPRINT: &[&str] = &[
    "来源",
    "作者",
    "编辑",
    "记者",
    "出处",
    "发布",
    "发表",
    "更新",
    "浏览",
    "阅读",
    "点击",
    "字号",
    "Posted",
    "Updated",
    "Published",
    "UPDATED",
    "PUBLISHED",
];

/// Whether a line is the imprint under a headline: a date and little else, or a short line with a date and who published it.
pub(crate) fn is_imprint(text: &str) -> bool {
    if text.chars().nth(LONGEST_FURNITURE_LINE * 2).is_some() {
        return false;
    }
    let mut n_digits = 0;
    let mut n_other = 0;
    for c in text.chars().filter(|c| c.is_alphanumeric()) {
        if c.is_ascii_digit() || matches!(c, '年' | '月' | '日') {
            n_digits += 1;
        } else {
            n_other += 1;
        }
    }
    // The shortest date has a year, a month and a day: 2019-9-8.
    let dated = n_digits >= 6 && has_year(text);
    dated && (n_other == 0 || IMPRINT.iter().any(|word| text.contains(word)))
}

/// Whether four digits in a row are a year from 1900 to 2099.
fn has_year(text: &str) -> bool {
    text.as_bytes()
        .windows(4)
        .any(|w| w.iter().all(u8::is_ascii_digit) && (w.starts_with(b"19") || w.starts_with(b"20")))
}

/// Whether a short line is furniture by its words.
pub(crate) fn is_furniture_line(text: &str) -> bool {
    if LINES.iter().any(|line| text.eq_ignore_ascii_case(line)) {
        return true;
    }
    let line = text.trim_start_matches(|c: char| {
        c.is_whitespace() || matches!(c, '·' | '•' | '»' | '«' | '<' | '>')
    });
    text.chars().nth(LONGEST_FURNITURE_LINE).is_none()
        && (LINE_STARTS.iter().any(|start| line.starts_with(start)) || is_pager(line))
}

/// Whether a short line leads to the other pages of a list: numbers and such words, and nothing else.
fn is_pager(line: &str) -> bool {
    const LEADS: &[&str] = &[
        "上一页",
        "下一页",
        "前一页",
        "后一页",
        "上一頁",
        "下一頁",
        "上页",
        "下页",
        "首页",
        "末页",
        "尾页",
        "Previous",
        "Prev",
        "Next",
    ];
    const BESIDE: &[&str] = &["共", "第", "跳转到", "跳转", "转到", "页", "条"];
    let (mut n_leads, mut n_numbers) = (0, 0);
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let after = |words: &[&str]| words.iter().find_map(|word| rest.strip_prefix(word));
        if let Some(after) = after(LEADS) {
            n_leads += 1;
            rest = after;
        } else if let Some(after) = after(BESIDE) {
            rest = after;
        } else if c.is_ascii_digit() {
            n_numbers += 1;
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        } else if c.is_alphanumeric() {
            return false;
        } else {
            rest = &rest[c.len_utf8()..];
        }
    }
    n_leads > 1 || (n_leads == 1 && n_numbers > 0)
}

/// Longest line that only says who made a picture, in characters, where it begins as such lines do.
const LONGEST_CREDIT: usize = 24;
/// The same where it only ends so: a longer line names the picture first.
const LONGEST_CREDIT_END: usize = 14;

/// Whether a line only says who made a picture.
pub(crate) fn is_credit(text: &str) -> bool {
    const STARTS: &[&str] = &[
        "图片来源",
        "图源",
        "来源",
        "摄影",
        "供图",
        "图/",
        "图｜",
        "图|",
        "图片：",
        "Photo",
        "Credit",
        "Image:",
        "©",
    ];
    const ENDS: &[&str] = &[
        "供图",
        "摄",
        "提供",
        "资料图",
        "资料图片",
        "视觉中国",
        "截图）",
        "(资料图)",
        "（资料图）",
    ];
    let shorter_than = |n: usize| text.chars().nth(n).is_none();
    (shorter_than(LONGEST_CREDIT) && STARTS.iter().any(|start| text.starts_with(start)))
        || (shorter_than(LONGEST_CREDIT_END) && ENDS.iter().any(|end| text.ends_with(end)))
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

    #[test]
    fn lines_of_the_page() {
        for line in [
            "责任编辑：张三",
            "上一篇：如何",
            "» 相关阅读",
            "1 2 3 ... 10 下一页",
            "首页 上一页 [1] 2 尾页 共 12 页",
            "‹ Prev 1 2 Next ›",
            "本帖最后由 老王 于 2013-4-5 12:01 编辑",
            "Copyright © 2020",
        ] {
            assert!(is_furniture_line(line), "{line}");
        }
        for line in ["责任重大", "首页", "Next", "第3页", "Nextcloud 12", "1 2 3"] {
            assert!(!is_furniture_line(line), "{line}");
        }
        assert!(!is_furniture_line(&format!(
            "版权声明{}",
            "很长的正文".repeat(10)
        )));
    }

    #[test]
    fn imprints_under_headlines() {
        for line in [
            "2019-09-26 12:11来源：证券时报网作者：李在山",
            "2019年9月8日",
            "Posted: Fri 6:45 PM, Feb 16, 2018",
        ] {
            assert!(is_imprint(line), "{line}");
        }
        for line in ["2019年9月8日，会议召开。", "来源：新华社", "12345678"] {
            assert!(!is_imprint(line), "{line}");
        }
    }

    #[test]
    fn credits_of_pictures() {
        for (line, expected) in [
            ("图片来源：视觉中国", true),
            ("故宫博物院供图", true),
            ("Photo: John Locher, AP", true),
            ("Photo of a shopper who looks at extension cords", false),
            ("图为会议现场，与会代表正在发言。新华社记者张三摄", false),
        ] {
            assert_eq!(is_credit(line), expected, "{line}");
        }
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

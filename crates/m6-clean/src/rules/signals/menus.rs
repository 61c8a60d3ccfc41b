//! Menus and paths of a page: lines of short items with separators between them (ours).

/// What stands between the items. No slash, which dates and addresses have too.
const SEPARATORS: &[char] = &['|', '｜', '>', '›', '»', '·', '•'];
/// Fewer items are a title or the name of a person (弗拉基米尔·伊里奇·列宁).
const MIN_ITEMS: usize = 4;
/// Longer items are text, not words to click.
const MAX_ITEM_CHARS: usize = 8;

/// Share of the lines with content that are menus; 0 for an empty text.
pub(super) fn line_share(text: &str) -> f64 {
    let (mut n_lines, mut n_menus) = (0, 0);
    for line in text.split('\n').filter(|line| !line.trim().is_empty()) {
        n_lines += 1;
        n_menus += u64::from(is_menu(line));
    }
    crate::rules::columns::share(n_menus, n_lines)
}

fn is_menu(line: &str) -> bool {
    let items = || {
        line.split(SEPARATORS)
            .map(str::trim)
            .filter(|item| !item.is_empty())
    };
    // The length first: most lines are one long item.
    items().all(|item| item.chars().nth(MAX_ITEM_CHARS).is_none()) && items().count() >= MIN_ITEMS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_short_items_are_menus() {
        for (line, expected) in [
            ("首页 | 新闻 | 体育 | 财经", true),
            ("首页>产品>手机>华为", true),
            ("•甲•乙•丙•丁•", true),
            ("首页 | 新闻 | 体育", false),
            ("弗拉基米尔·伊里奇·列宁", false),
            ("首页 | 新闻 | 体育 | 这一项有九个字符呢", false),
            ("首页 | 新闻 | 体育 | 这一项有八个字符", true),
            ("一句没有分隔的话。", false),
            ("2020/1/2/3/4", false),
            ("||||", false),
        ] {
            assert_eq!(is_menu(line), expected, "{line}");
        }
    }

    #[test]
    fn empty_lines_are_no_lines() {
        assert_eq!(line_share("甲|乙|丙|丁\n\n \n正文。\n"), 0.5);
        assert_eq!(line_share(""), 0.0);
    }
}

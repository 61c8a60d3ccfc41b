//! What a forum prints around each post: floors, dates, who wrote it with what rank, and things to press.
//!
//! Ours. A line is read as known words, dates and floors; what is left over is at most a name. One such line proves nothing, so lines
//! are left out only where several stand among the text, as they do above and below posts.

use super::blocks::{Kind, Raw, WIDE};
use super::score::is_link;
use aho_corasick::{AhoCorasick, MatchKind};
use std::sync::OnceLock;

/// Longest line that is read, in characters.
const LONGEST: usize = 60;
/// Longest name beside what is printed, in characters.
const LONGEST_NAME: u32 = 12;
/// Longest link that may be the name of who wrote a post, in tenths of a Han character.
const LONGEST_LINK: u32 = 8 * WIDE;
/// Lines around posts from which a page is a thread.
const FEWEST: usize = 2;

/// What a part of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// The place of a post.
    Floor,
    /// A word of a date.
    Date,
    /// A word before a date: when it was written.
    Said,
    /// A number about who wrote it.
    Count,
    /// A rank.
    Rank,
    /// Something to press.
    Press,
}

/// Names of places of posts.
const FLOOR: &str = "楼主 樓主 沙发 沙發 板凳 地板 地下室 层主";
const DATE: &str = "昨天 今天 前天 刚刚 剛剛 上午 下午 凌晨 星期一 星期二 星期三 星期四 星期五 星期六 星期日 周一 周二 周三 周四 \
    周五 周六 周日 am pm Mon Tue Wed Thu Fri Sat Sun Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec January February March April \
    June July August September October November December Monday Tuesday Wednesday Thursday Friday Saturday Sunday today yesterday";
const SAID: &str = "发表于 發表於 发表於 发布于 發佈於 發布於 回复于 回覆於 回帖于 发帖于 张贴于 评论于 编辑于 編輯於 修改于 发表时间 發表時間 \
    发帖时间 回复时间 最后编辑 最後編輯 最后由 最后回复 posted wrote edited replied joined";
const COUNT: &str = "等级 等級 积分 積分 威望 金币 金幣 金钱 铜币 经验值 经验 贡献 帖子 帖子数 帖数 发帖 发帖数 回帖 回帖数 主题 精华 好友 粉丝 听众 注册时间 \
    註冊時間 注册日期 在线时间 阅读权限 最后登录 查看 浏览 阅读 人气 魅力 鲜花 性别 来自 IP属地 UID posts threads messages reputation";
const RANK: &str = "新手上路 注册会员 初级会员 中级会员 高级会员 金牌会员 论坛元老 管理员 超级版主 版主 等待验证会员 限制会员 游客";
const PRESS: &str = "回复 回覆 举报 檢舉 引用 编辑 編輯 删除 收藏 点赞 赞 顶 踩 支持 反对 评分 使用道具 道具 点评 只看该作者 只看楼主 只看TA \
    倒序浏览 倒序看帖 正序浏览 电梯直达 显示全部楼层 跳转到指定楼层 收起回复 收起 展开 发消息 发短消息 加好友 加为好友 关注 复制链接 分享 打赏 \
    我也说一句 回到顶部 reply quote report like share permalink";

/// Units of time that stand before `前`.
const UNITS: [&str; 9] = [
    "秒", "分钟", "分鐘", "小时", "小時", "天", "周", "个月", "年",
];

struct Words {
    automaton: Option<AhoCorasick>,
    kinds: Vec<Word>,
}

fn words() -> &'static Words {
    static WORDS: OnceLock<Words> = OnceLock::new();
    WORDS.get_or_init(|| {
        let lists = [
            (FLOOR, Word::Floor),
            (DATE, Word::Date),
            (SAID, Word::Said),
            (COUNT, Word::Count),
            (RANK, Word::Rank),
            (PRESS, Word::Press),
        ];
        let all = lists
            .iter()
            .flat_map(|(list, kind)| list.split_whitespace().map(|word| (word, *kind)));
        let (patterns, kinds): (Vec<&str>, Vec<Word>) = all.unzip();
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .build(&patterns)
            .ok();
        Words { automaton, kinds }
    })
}

/// What a line says beside its post.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reading {
    floors: u32,
    dates: u32,
    said: u32,
    counts: u32,
    ranks: u32,
    presses: u32,
    /// Letters of no known word; numbers apart, which belong to words around them.
    rest: u32,
    /// Marks of sentences.
    marks: u32,
}

impl Reading {
    /// Reads a line; `None` where it is too long to be one of these.
    fn of(text: &str) -> Option<Self> {
        if text.chars().nth(LONGEST).is_some() {
            return None;
        }
        let words = words();
        let mut reading = Self::default();
        let mut at = 0;
        for found in words.automaton.as_ref()?.find_iter(text) {
            let kind = words.kinds.get(found.pattern().as_usize())?;
            let ascii = text.as_bytes()[found.start()].is_ascii();
            let letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic());
            let (before, after) = (&text[..found.start()], &text[found.end()..]);
            let in_word = letter(before.chars().next_back()) || letter(after.chars().next());
            if ascii && in_word {
                continue;
            }
            reading.read_between(&text[at..found.start()]);
            at = found.end();
            *reading.count_of(*kind) += 1;
        }
        reading.read_between(&text[at..]);
        Some(reading)
    }

    fn count_of(&mut self, kind: Word) -> &mut u32 {
        match kind {
            Word::Floor => &mut self.floors,
            Word::Date => &mut self.dates,
            Word::Said => &mut self.said,
            Word::Count => &mut self.counts,
            Word::Rank => &mut self.ranks,
            Word::Press => &mut self.presses,
        }
    }

    /// Reads what stands between known words: floors, dates, numbers, names.
    fn read_between(&mut self, mut text: &str) {
        while let Some(c) = text.chars().next() {
            if let Some((kind, n_bytes)) = floor(text).or_else(|| date(text)) {
                *self.count_of(kind) += 1;
                text = &text[n_bytes..];
                continue;
            }
            let n_digits = digits(text);
            if n_digits > 0 {
                text = &text[n_digits..];
                continue;
            }
            self.rest += u32::from(c.is_alphanumeric());
            self.marks += u32::from("。！？；，!?;".contains(c));
            text = &text[c.len_utf8()..];
        }
    }

    /// Whether a line says nothing but this.
    fn is_bare(&self) -> bool {
        let known = self.floors + self.dates + self.said + self.counts + self.ranks + self.presses;
        self.rest == 0 && self.marks == 0 && known > 0
    }

    /// Whether a line names who wrote a post, and says more than one thing of it.
    fn is_headed(&self) -> bool {
        let kinds = [self.floors, self.dates, self.said, self.counts, self.ranks];
        let n_kinds = kinds.iter().filter(|n| **n > 0).count();
        self.marks == 0 && self.rest <= LONGEST_NAME && (n_kinds > 1 || self.counts > 1)
    }

    /// Whether only threads have such a line.
    fn is_of_a_thread(&self) -> bool {
        self.floors > 0 || (self.said > 0 && self.dates > 0) || self.counts > 1
    }

    /// Whether it says when or by whom: a list of a building's floors does not.
    fn is_of_a_post(&self) -> bool {
        self.dates + self.said + self.counts + self.ranks > 0
    }
}

/// Digits a text begins with.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// `3楼`, `第3层`, `3#`, `#3` at the start of a text, with its length.
fn floor(text: &str) -> Option<(Word, usize)> {
    let bare = text
        .strip_prefix('第')
        .or_else(|| text.strip_prefix('#'))
        .unwrap_or(text);
    let n = digits(bare);
    if n == 0 || n > 6 {
        return None;
    }
    let rest = bare[n..].trim_start_matches(' ');
    let sign = ["楼", "樓", "层", "#"]
        .iter()
        .find_map(|sign| rest.strip_prefix(sign));
    match sign {
        Some(rest) => Some((Word::Floor, text.len() - rest.len())),
        None => text
            .starts_with('#')
            .then(|| (Word::Floor, text.len() - bare.len() + n)),
    }
}

/// A date or time in digits, or `3小时前`, at the start of a text, with its length.
fn date(text: &str) -> Option<(Word, usize)> {
    let n = digits(text);
    if n == 0 || n > 4 {
        return None;
    }
    let ago = text[n..].trim_start_matches(' ');
    let ago = UNITS
        .iter()
        .find_map(|unit| ago.strip_prefix(unit)?.strip_prefix('前'));
    if let Some(rest) = ago {
        return Some((Word::Date, text.len() - rest.len()));
    }
    let (mut rest, mut n_parts) = (&text[n..], 1);
    let mut last = None;
    while let Some(mark) = rest.chars().next().filter(|c| "-/.:年月".contains(*c)) {
        let next = &rest[mark.len_utf8()..];
        let n = digits(next);
        if n == 0 || n > 4 {
            break;
        }
        (rest, n_parts, last) = (&next[n..], n_parts + 1, Some(mark));
    }
    // A single point is a version or a price.
    let dated = n_parts > 2 || matches!(last, Some('-' | '/' | ':' | '年' | '月'));
    let rest = rest
        .strip_prefix('日')
        .or_else(|| rest.strip_prefix('月'))
        .unwrap_or(rest);
    dated.then(|| (Word::Date, text.len() - rest.len()))
}

/// Leaves out of the chosen blocks what stands around the posts of a thread.
pub(crate) fn around_posts(blocks: &[Raw], keep: &mut [bool]) {
    let shown: Vec<usize> = (0..blocks.len())
        .filter(|i| keep[*i] && blocks[*i].kind != Kind::Image)
        .collect();
    let plain = |kind| {
        matches!(
            kind,
            Kind::Paragraph | Kind::ListItem | Kind::TableRow | Kind::Quote
        )
    };
    let read = |i: &usize| {
        Some(&blocks[*i])
            .filter(|block| plain(block.kind))
            .and_then(|block| Reading::of(&block.text))
            .filter(|reading| reading.is_bare() || reading.is_headed())
    };
    let around: Vec<Option<Reading>> = shown.iter().map(read).collect();
    let n_strong = posts_below(&around);
    let of_posts = around.iter().flatten().any(Reading::is_of_a_post);
    if n_strong < FEWEST || !of_posts {
        return;
    }
    // Who wrote it is often a link of its own beside the rest.
    let beside = |at: usize| {
        let near = [at.checked_sub(1), Some(at + 1)].into_iter().flatten();
        near.filter_map(|at| around.get(at)?.as_ref())
            .any(Reading::is_of_a_thread)
    };
    let names: Vec<usize> = (0..shown.len())
        .filter(|at| {
            let block = &blocks[shown[*at]];
            plain(block.kind) && is_link(block) && block.weight <= LONGEST_LINK && beside(*at)
        })
        .collect();
    for at in names.iter().filter(|_| names.len() >= FEWEST) {
        keep[shown[*at]] = false;
    }
    for (i, _) in shown.iter().zip(&around).filter(|(_, line)| line.is_some()) {
        keep[*i] = false;
    }
}

/// Lines that only threads have with other text below them.
fn posts_below(around: &[Option<Reading>]) -> usize {
    let mut strong = false;
    let mut n = 0;
    for line in around {
        match line {
            Some(reading) => strong |= reading.is_of_a_thread(),
            None => n += usize::from(std::mem::take(&mut strong)),
        }
    }
    n
}

#[cfg(test)]
mod tests {
    use super::super::blocks::Lines;
    use super::super::tree::Tree;
    use super::*;

    #[track_caller]
    fn check(html: &str, expected: &[&str]) {
        let lines = Lines::of(&Tree::parse(html));
        let mut keep = vec![true; lines.blocks.len()];
        around_posts(&lines.blocks, &mut keep);
        let kept = lines.blocks.iter().zip(&keep).filter(|(_, keep)| **keep);
        let texts: Vec<&str> = kept.map(|(b, _)| b.text.as_str()).collect();
        assert_eq!(texts, expected, "{html}");
    }

    #[test]
    fn lines_around_posts() {
        for line in [
            "3楼",
            "#12",
            "12 #",
            "沙发",
            "发表于 2013-4-5 12:01:59",
            "发表于 昨天 12:01 | 只看该作者",
            "回复 举报",
            "3 小时前",
            "Posted Jan 5, 2012 3:01 pm",
            "2楼 2013年4月5日",
        ] {
            let reading = Reading::of(line).expect("short");
            assert!(reading.is_bare(), "{line}: {reading:?}");
        }
        for line in [
            "风清扬 发表于 2013-4-5 12:01",
            "风清扬 等级：3 积分：120",
            "3楼 风清扬 2013-04-05",
            "风清扬 新手上路 积分 12",
        ] {
            let reading = Reading::of(line).expect("short");
            assert!(
                reading.is_headed() && !reading.is_bare(),
                "{line}: {reading:?}"
            );
        }
        for line in [
            "我家在3楼",
            "沙发买好了，2013年4月5日送来。",
            "今天去了，3楼很好看！",
            "12",
            "价格 12.50",
            "顶楼主说得对的地方",
            "likely reports",
        ] {
            let reading = Reading::of(line).expect("short");
            assert!(
                !reading.is_bare() && !reading.is_headed(),
                "{line}: {reading:?}"
            );
        }
    }

    #[test]
    fn posts_lose_what_stands_around_them() {
        let post = |n: usize, text: &str| {
            format!(
                "<div><p><a href=u>行者{n}</a></p><p>发表于 2013-4-5 12:0{n} {n}楼</p><p>{text}</p><p><a href=r>回复</a> <a href=j>举报</a></p></div>"
            )
        };
        let html = format!(
            "<h1>题目</h1>{}{}",
            post(1, "问个问题。"),
            post(2, "说得对")
        );
        check(&html, &["题目", "问个问题。", "说得对"]);
    }

    #[test]
    fn one_line_or_the_floors_of_a_building_make_no_thread() {
        let once = ["老王 发表于 2013-4-5", "正文在这里。", "2013-4-5"];
        let html = |lines: &[&str]| -> String {
            lines.iter().map(|line| format!("<p>{line}</p>")).collect()
        };
        check(&html(&once), &once);
        let floors = ["1楼", "化妆品和鞋", "2楼", "女装", "3楼", "男装"];
        check(&html(&floors), &floors);
    }
}

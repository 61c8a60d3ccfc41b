//! Phrases that pages say about themselves rather than about their subject (collected by us).

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// Navigation, calls to act, legal notes and script remains of Chinese and English pages, simplified and traditional.
const PHRASES: &[&str] = &[
    // Navigation.
    "上一篇",
    "下一篇",
    "上一页",
    "下一页",
    "返回顶部",
    "返回首页",
    "返回列表",
    "首页",
    "末页",
    "当前位置",
    "您的位置",
    "网站地图",
    "站内搜索",
    "友情链接",
    "相关阅读",
    "相关文章",
    "相关推荐",
    "推荐阅读",
    "热门推荐",
    "猜你喜欢",
    "热门标签",
    "更多精彩",
    "更多内容",
    "查看更多",
    "查看全文",
    "阅读全文",
    "展开全文",
    "点击展开",
    "点击查看",
    "点击进入",
    "点击下载",
    "点击这里",
    "点击图片",
    "加入收藏",
    "设为首页",
    "打印本页",
    "关闭窗口",
    "字体大小",
    "上一頁",
    "下一頁",
    "回首頁",
    "返回頂部",
    "閱讀全文",
    "相關文章",
    "延伸閱讀",
    "更多內容",
    // Calls to act.
    "扫一扫",
    "扫描二维码",
    "长按二维码",
    "识别二维码",
    "关注公众号",
    "微信公众号",
    "关注我们",
    "官方微信",
    "官方微博",
    "分享到",
    "转发到",
    "一键分享",
    "分享至",
    "立即登录",
    "立即注册",
    "登录后",
    "注册会员",
    "忘记密码",
    "免费注册",
    "我要评论",
    "发表评论",
    "发表回复",
    "暂无评论",
    "抢沙发",
    "点赞",
    "求关注",
    "联系客服",
    "在线客服",
    "咨询热线",
    "客服热线",
    "立即购买",
    "加入购物车",
    "免费下载",
    "下载APP",
    "下载客户端",
    "打开APP",
    "掃描二維碼",
    "立即註冊",
    "發表評論",
    // Legal notes and imprints.
    "版权所有",
    "版权声明",
    "未经授权",
    "未经许可",
    "禁止转载",
    "转载请注明",
    "侵权必究",
    "侵权删除",
    "免责声明",
    "责任编辑",
    "文章来源",
    "本文来源",
    "投稿邮箱",
    "举报电话",
    "隐私政策",
    "用户协议",
    "服务条款",
    "备案号",
    "ICP备",
    "公网安备",
    "版權所有",
    "轉載請註明",
    "免責聲明",
    "責任編輯",
    "隱私政策",
    "All Rights Reserved",
    "Powered by",
    "Copyright ©",
    "Privacy Policy",
    "Terms of Use",
    "Terms of Service",
    // What is left of scripts and templates.
    "javascript",
    "lorem ipsum",
    "您的浏览器不支持",
    "浏览器版本过低",
    "请升级浏览器",
    "enable cookies",
    "document.write",
    "function(",
    "&nbsp;",
    "加载中",
    "正在加载",
    "页面不存在",
    "404 Not Found",
];

static AUTOMATON: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostLongest)
        // Small enough for a table of all steps, and asked about every paragraph.
        .kind(Some(AhoCorasickKind::DFA))
        .build(PHRASES)
        .ok()
});

/// How many boilerplate phrases stand in a text, counted without overlap.
pub fn count(text: &str) -> u64 {
    AUTOMATON
        .as_ref()
        .map_or(0, |automaton| automaton.find_iter(text).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_talking_about_themselves_are_noticed() {
        for (text, expected) in [
            ("上一篇：甲 下一篇：乙", 2),
            ("版权所有，未经许可禁止转载。ALL RIGHTS RESERVED", 4),
            ("长江发源于青藏高原，注入东海。", 0),
            ("", 0),
        ] {
            assert_eq!(count(text), expected, "{text}");
        }
    }

    #[test]
    fn no_phrase_is_listed_twice() {
        let mut phrases = PHRASES.to_vec();
        phrases.sort_unstable();
        phrases.dedup();
        assert_eq!(phrases.len(), PHRASES.len());
    }
}

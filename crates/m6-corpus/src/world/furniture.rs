//! What stands around the main text: navigation, side bars, advertisements, comments, footers.

use m6_store::rng::Stream;
use m6_world::World;

/// Menus of the four kinds of sites.
const MENUS: [&[&str]; 4] = [
    &["首页", "分类", "热词", "随机词条", "登录", "注册"],
    &["首页", "版块", "最新帖子", "搜索", "会员", "帮助"],
    &["首页", "全部商品", "今日特价", "购物车", "我的订单", "客服"],
    &["首页", "归档", "标签", "关于我", "友情链接", "订阅"],
];

const ADS: [&str; 6] = [
    "广告：新款手机限时抢购，满三百减五十",
    "赞助商链接：学画画，找名师，免费试听",
    "点击领取优惠券，今天最后一天",
    "广告：全场包邮，七天无理由退货",
    "下载客户端，阅读更方便",
    "扫码关注我们，每天送好礼",
];

const COMMENTS: [&str; 8] = [
    "写得真好，支持一下。",
    "沙发！",
    "路过，顶一个。",
    "有没有更多图片？",
    "收藏了，谢谢分享。",
    "楼主辛苦了。",
    "我家也有一个。",
    "看不懂，求解释。",
];

const NAMES: [&str; 8] = [
    "小明",
    "爱画画的猫",
    "天天向上",
    "老王",
    "春风",
    "一片叶子",
    "匿名用户",
    "路人甲",
];

/// Texts around a page (drawn; the truth holds none of them).
pub(super) struct Furniture {
    pub(super) menu: &'static [&'static str],
    /// Titles of other pages, for side bars.
    pub(super) hot: Vec<String>,
    pub(super) ads: Vec<&'static str>,
    /// Name and comment.
    pub(super) comments: Vec<(&'static str, &'static str)>,
    pub(super) author: &'static str,
    /// `YYYY-MM-DD`.
    pub(super) date: String,
    pub(super) site: &'static str,
}

impl Furniture {
    /// Draws what stands around a page; `site` is 0 to 3, one of the four kinds.
    pub(super) fn draw(world: &World, site: usize, stream: &mut Stream) -> Self {
        const SITES: [&str; 4] = ["世界百科", "画画论坛", "小店铺", "随便写写"];
        let site = site % SITES.len();
        let n_hot = 5 + stream.below(6);
        let base = stream.below(1 << 20);
        let mut ads = ADS.to_vec();
        stream.shuffle(&mut ads);
        ads.truncate(1 + stream.below(3) as usize);
        let n_comments = stream.below(5);
        let comments = (0..n_comments)
            .map(|_| (*stream.choose(&NAMES), *stream.choose(&COMMENTS)))
            .collect();
        let (year, month, day) = (
            2010 + stream.below(11),
            1 + stream.below(12),
            1 + stream.below(28),
        );
        Furniture {
            menu: MENUS[site],
            hot: (0..n_hot)
                .map(|i| world.forum_thread(base + i).title)
                .collect(),
            ads,
            comments,
            author: stream.choose::<&str>(&NAMES),
            date: format!("{year}-{month:02}-{day:02}"),
            site: SITES[site],
        }
    }
}

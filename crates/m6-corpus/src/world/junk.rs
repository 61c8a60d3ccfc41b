//! Pages that a good corpus leaves out, with their texts.

use m6_store::rng::Stream;
use m6_world::World;

use super::content::{Block, Content};

fn page(title: &str, paragraphs: impl IntoIterator<Item = String>) -> Content {
    Content {
        title: title.to_string(),
        blocks: paragraphs.into_iter().map(Block::Paragraph).collect(),
    }
}

/// Sentences of a pool in a drawn order, with a number in place of `{n}`.
fn assemble(stream: &mut Stream, pool: &[&str], n_paragraphs: usize) -> Vec<String> {
    let mut paragraphs = Vec::new();
    for _ in 0..n_paragraphs {
        let mut order: Vec<&str> = pool.to_vec();
        stream.shuffle(&mut order);
        order.truncate(3);
        let number = 10_000_000 + stream.below(89_999_999);
        paragraphs.push(order.concat().replace("{n}", &number.to_string()));
    }
    paragraphs
}

/// Advertising for work at home, invoices and the like.
pub(super) fn spam(stream: &mut Stream) -> Content {
    const POOL: [&str; 9] = [
        "诚招兼职打字员，在家就能赚钱，日结工资三百元！",
        "有意者请加QQ{n}，非诚勿扰！",
        "代开各类发票，真实可查，联系微信{n}。",
        "祖传秘方专治各种疑难杂症，无效退款！",
        "贷款当天到账，无抵押无担保，电话{n}。",
        "减肥神药，一个月瘦三十斤，买二送一！",
        "刷单返利，足不出户月入过万，加QQ{n}了解。",
        "高价回收手机、电脑、礼品卡，上门服务！",
        "全网最低价，点击下面的链接马上抢购！！！",
    ];
    let n_paragraphs = 3 + stream.below(3) as usize;
    let texts = assemble(stream, &POOL, n_paragraphs);
    page("诚招兼职 日结工资 加QQ", texts)
}

/// Advertising for games of chance.
pub(super) fn gambling(stream: &mut Stream) -> Content {
    const POOL: [&str; 8] = [
        "澳门百家乐真人荷官在线发牌，注册就送彩金！",
        "六合彩特码资料，今晚开奖结果，内部消息。",
        "时时彩计划群，稳赚不赔，加QQ{n}。",
        "老虎机、轮盘、龙虎斗，博彩平台信誉第一。",
        "首存送百分之百，提款三分钟到账！",
        "赌球网站推荐，足球投注，赔率最高。",
        "线上赌场开户，网址请加微信{n}。",
        "娱乐城会员注册，每天送红包！",
    ];
    let n_paragraphs = 3 + stream.below(3) as usize;
    let texts = assemble(stream, &POOL, n_paragraphs);
    page("澳门线上娱乐城_百家乐_时时彩", texts)
}

/// Titles of the shop one behind the other, for search engines.
pub(super) fn keywords(world: &World, first: u64, stream: &mut Stream) -> Content {
    let n_words = 40 + stream.below(40);
    let words: Vec<String> = (0..n_words)
        .map(|i| world.product(first + i).title)
        .collect();
    let places = ["北京", "上海", "广州", "深圳", "成都", "杭州"];
    let tail: Vec<String> = places
        .iter()
        .flat_map(|place| ["批发", "价格", "厂家"].map(|w| format!("{place}{w}")))
        .collect();
    page(
        "批发_价格_厂家_图片_大全",
        [words.join(","), tail.join("|")],
    )
}

/// A page that is not there yet.
pub(super) fn short(stream: &mut Stream) -> Content {
    let text = *stream.choose(&["正在建设中。", "暂无内容", "加载中……", "请先登录。"]);
    page("新页面", [text.to_string()])
}

/// The body of an error.
pub(super) fn not_found() -> Content {
    page(
        "404 找不到页面",
        ["您要看的页面不存在，可能已经被删除，请返回首页。".to_string()],
    )
}

/// Sentences about the same world in English.
pub(super) fn english(stream: &mut Stream) -> Content {
    const THINGS: [&str; 6] = ["apple", "boat", "house", "flower", "fish", "cup"];
    const COLORS: [&str; 5] = ["red", "blue", "green", "yellow", "purple"];
    const PLACES: [&str; 4] = ["on the left", "on the right", "at the top", "in the middle"];
    let mut paragraphs = Vec::new();
    for _ in 0..3 + stream.below(3) {
        let mut sentences = Vec::new();
        for _ in 0..5 {
            let (thing, color) = (*stream.choose(&THINGS), *stream.choose(&COLORS));
            let place = *stream.choose(&PLACES);
            sentences.push(match stream.below(3) {
                0 => format!("There is a {color} {thing} {place}."),
                1 => format!("We drew the {thing} {place} and painted it {color}."),
                _ => format!("Children like the {color} {thing} because it is easy to draw."),
            });
        }
        paragraphs.push(sentences.join(" "));
    }
    page("Things we like to draw", paragraphs)
}

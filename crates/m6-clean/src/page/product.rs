//! Whether a page sells one thing. Ours: by the markup that shops give to search engines, or by a price beside something to press.
//!
//! On such a page the title is the name of what its picture shows; on others content systems write the title into every `alt`.

use super::entity;
use super::tag::Tag;
use super::title;
use super::token::Key;
use super::tree::Tree;
use memchr::memmem;

/// What a page says of itself to search engines when it sells a thing.
const PROPERTIES: [&str; 4] = [
    "product:price:amount",
    "og:price:amount",
    "product:price",
    "og:product:price",
];
/// Values of `og:type` of such pages.
const TYPES: [&str; 3] = ["product", "og:product", "product.item"];
/// Labels of what is pressed to buy the thing.
const ORDERS: [&str; 18] = [
    "加入购物车",
    "加入購物車",
    "加入购物袋",
    "放入购物车",
    "放入購物車",
    "添加到购物车",
    "加购物车",
    "立即购买",
    "立即購買",
    "立刻购买",
    "马上购买",
    "立即抢购",
    "立即下单",
    "直接購買",
    "add to cart",
    "add to bag",
    "add to basket",
    "buy now",
];
/// Signs of money that stand before a price.
const MONEY: [char; 6] = ['¥', '￥', '$', '€', '£', '₩'];
/// Words that stand before a price without a sign.
const PRICE_WORDS: [&str; 7] = ["价格", "價格", "售价", "售價", "现价", "促销价", "优惠价"];
/// Longest label of a button, in bytes.
const LONGEST_LABEL: usize = 60;
/// Longest text that is read as a price, in bytes: prices in sentences are news.
const LONGEST_PRICE: usize = 120;

/// Whether a page sells one thing; `html` is what the tree was read from.
pub(crate) fn sells_one(tree: &Tree<'_>, html: &str) -> bool {
    let stated = TYPES
        .iter()
        .any(|kind| title::meta(tree, "og:type").eq_ignore_ascii_case(kind))
        || PROPERTIES
            .iter()
            .any(|name| !title::meta(tree, name).is_empty());
    stated || has_schema(html) || has_price_and_order(tree)
}

/// Whether the page has a `Product` of schema.org, as microdata or JSON-LD (scripts are not in the tree).
fn has_schema(html: &str) -> bool {
    let bytes = html.as_bytes();
    let ends = |at: usize| !bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let microdata = memmem::find_iter(bytes, b"schema.org/Product")
        .any(|at| ends(at + b"schema.org/Product".len()));
    microdata
        || memmem::find_iter(bytes, b"\"@type\"").any(|at| {
            let value = html.get(at + b"\"@type\"".len()..).unwrap_or_default();
            let value = value.trim_start().strip_prefix(':').unwrap_or_default();
            value.trim_start().starts_with("\"Product\"")
        })
}

fn has_price_and_order(tree: &Tree<'_>) -> bool {
    let (mut price, mut order) = (false, false);
    for (i, node) in tree.nodes.iter().enumerate() {
        if node.tag != Tag::Text {
            price |= tree
                .attr(i, Key::Itemprop)
                .is_some_and(|value| value.eq_ignore_ascii_case("price"));
            continue;
        }
        let text = node.text.trim();
        if text.len() > LONGEST_PRICE {
            continue;
        }
        price = price || is_price(&entity::decode(text, false));
        order = order
            || text.len() <= LONGEST_LABEL
                && ORDERS.iter().any(|label| text.eq_ignore_ascii_case(label));
        if price && order {
            return true;
        }
    }
    false
}

/// Whether a short text has a price: money and a number, a word for it and a number, or a number of yuan.
fn is_price(text: &str) -> bool {
    let starts_with_number = |rest: &str| {
        let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || ":：¥￥".contains(c));
        rest.starts_with(|c: char| c.is_ascii_digit())
    };
    let after_sign = text
        .match_indices(MONEY)
        .any(|(at, sign)| starts_with_number(&text[at + sign.len()..]));
    let after_word = || {
        let ends = PRICE_WORDS
            .iter()
            .filter_map(|word| text.find(word).map(|at| at + word.len()));
        ends.into_iter().any(|end| starts_with_number(&text[end..]))
    };
    let in_yuan = || {
        let before = text.match_indices('元').map(|(at, _)| &text[..at]);
        before
            .into_iter()
            .any(|rest| rest.trim_end().ends_with(|c: char| c.is_ascii_digit()))
    };
    after_sign || after_word() || in_yuan()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(html: &str, expected: bool) {
        assert_eq!(sells_one(&Tree::parse(html), html), expected, "{html}");
    }

    #[test]
    fn markup_for_search_engines() {
        check("<meta property=og:type content=product>", true);
        check("<meta property=og:type content=article>", false);
        check("<meta property=product:price:amount content=12>", true);
        check(
            "<div itemscope itemtype='https://schema.org/Product'>",
            true,
        );
        check(
            "<div itemscope itemtype='https://schema.org/ProductGroup'>",
            false,
        );
        check(
            "<script type=application/ld+json>{\"@type\" : \"Product\"}</script>",
            true,
        );
        check(
            "<script type=application/ld+json>{\"@type\":\"NewsArticle\",\"about\":\"Product\"}</script>",
            false,
        );
    }

    #[test]
    fn a_price_beside_something_to_press() {
        check("<p>￥ 12.00</p><a href=x>立即购买</a>", true);
        check("<p>&yen;12</p><button>加入购物车</button>", true);
        check("<p>售价：12</p><button>加入購物車</button>", true);
        check("<p>12.5 元</p><button> Add to Cart </button>", true);
        check(
            "<span itemprop=price>12</span><button>Buy now</button>",
            true,
        );
        check("<p>￥12.00</p>", false);
        check("<button>加入购物车</button><p>价格面议</p>", false);
        check(
            "<p>￥12.00</p><p>点击加入购物车以后就可以立即购买</p>",
            false,
        );
    }
}

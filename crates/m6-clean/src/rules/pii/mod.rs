//! Personal data in Chinese text: found with number plans and checksums, and masked (ours; the paper does not speak of it).

mod checks;
mod contact;
mod numbers;

use serde::{Deserialize, Serialize};

use super::split;

pub use checks::{is_bank_card, is_id_card, is_luhn, is_mobile, public_ip};

/// Kinds of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Identity card number, 18 characters with a right checksum.
    IdCard,
    /// Number or name after a word for QQ.
    Qq,
    /// Number or name after a word for WeChat.
    Wechat,
    /// Bank card with a known issuer and Luhn's check.
    BankCard,
    /// Mobile number, with or without +86 and separators.
    Mobile,
    /// E-mail address.
    Email,
    /// Licence plate.
    Plate,
    /// Public IPv4 or IPv6 address.
    Ip,
}

impl Kind {
    /// What [`mask`] writes in its place.
    pub fn placeholder(self) -> &'static str {
        match self {
            Kind::IdCard => "[身份证号]",
            Kind::Qq => "[QQ号]",
            Kind::Wechat => "[微信号]",
            Kind::BankCard => "[银行卡号]",
            Kind::Mobile => "[手机号]",
            Kind::Email => "[邮箱]",
            Kind::Plate => "[车牌号]",
            Kind::Ip => "[IP地址]",
        }
    }
}

/// Personal data in a text, as a byte range on character boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// What it is.
    pub kind: Kind,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// All personal data in a text, in order and without overlap. Digits inside web addresses are left alone.
pub fn find(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let bytes = text.as_bytes();
    // Every kind has a digit or an @ in it: most Chinese paragraphs are done here.
    if !bytes
        .iter()
        .any(|byte| byte.is_ascii_digit() || *byte == b'@')
        && !contact::has_keyword(text)
    {
        return spans;
    }
    numbers::find(text, &mut spans);
    contact::find(text, &mut spans);
    let links = split::links(text);
    spans.retain(|span| span.kind == Kind::Email || !is_inside(&links, span.start));
    // Where two kinds claim one place, the one that begins first stands; then the kind named first, which knows more.
    spans.sort_unstable_by_key(|span| (span.start, span.kind, span.end));
    let mut free = 0;
    spans.retain(|span| {
        let is_free = span.start >= free;
        if is_free {
            free = span.end;
        }
        is_free
    });
    spans
}

fn is_inside(links: &[std::ops::Range<usize>], at: usize) -> bool {
    let before = links.partition_point(|link| link.start <= at);
    before
        .checked_sub(1)
        .and_then(|index| links.get(index))
        .is_some_and(|link| at < link.end)
}

/// The text with each span replaced by its kind's name in brackets; spans that do not fit the text are left out.
pub fn mask(text: &str, spans: &[Span]) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        let Some(between) = text
            .get(done..span.start)
            .filter(|_| text.is_char_boundary(span.end) && span.start <= span.end)
        else {
            continue;
        };
        masked.push_str(between);
        masked.push_str(span.kind.placeholder());
        done = span.end;
    }
    masked.push_str(text.get(done..).unwrap_or_default());
    masked
}

#[cfg(test)]
mod tests;

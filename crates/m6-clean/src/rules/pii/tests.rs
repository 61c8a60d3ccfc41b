//! Tests of finding and masking personal data.

use proptest::prelude::*;

use super::*;

/// Checks that exactly these pieces are found.
fn check(text: &str, expected: &[(Kind, &str)]) {
    let found: Vec<(Kind, &str)> = find(text)
        .into_iter()
        .map(|span| (span.kind, &text[span.start..span.end]))
        .collect();
    assert_eq!(found, expected, "{text:?}");
}

#[test]
fn identity_cards_and_bank_cards() {
    check(
        "身份证11010519491231002X，",
        &[(Kind::IdCard, "11010519491231002X")],
    );
    check(
        "110105 19491231 002x",
        &[(Kind::IdCard, "110105 19491231 002x")],
    );
    check(
        "号码440524188001010014。",
        &[(Kind::IdCard, "440524188001010014")],
    );
    check("110105194912310021", &[]);
    check("A11010519491231002X", &[]);
    check("11010519491231002X9", &[]);
    check(
        "卡号4111111111111111",
        &[(Kind::BankCard, "4111111111111111")],
    );
    check(
        "4111 1111 1111 1111到账",
        &[(Kind::BankCard, "4111 1111 1111 1111")],
    );
    check(
        "4111-1111-1111-1111",
        &[(Kind::BankCard, "4111-1111-1111-1111")],
    );
    check("4111111111111112", &[]);
}

#[test]
fn mobiles_in_their_usual_forms() {
    check("电话：13812345678。", &[(Kind::Mobile, "13812345678")]);
    check("138-1234-5678", &[(Kind::Mobile, "138-1234-5678")]);
    check("138 1234 5678", &[(Kind::Mobile, "138 1234 5678")]);
    check("+8613812345678", &[(Kind::Mobile, "8613812345678")]);
    check("+86 138 1234 5678", &[(Kind::Mobile, "86 138 1234 5678")]);
    check("+86-13812345678", &[(Kind::Mobile, "86-13812345678")]);
    check("008613812345678", &[(Kind::Mobile, "008613812345678")]);
    check(
        "13812345678 13987654321",
        &[(Kind::Mobile, "13812345678"), (Kind::Mobile, "13987654321")],
    );
    check("12812345678", &[]);
    check("138123456789", &[]);
    check("0.13812345678", &[]);
    check("a13812345678", &[]);
    check("时间20231105123045", &[]);
    check("http://a.cn/13812345678.html", &[]);
}

#[test]
fn mail_addresses() {
    check(
        "联系zhang.san+x@mail.example.com.",
        &[(Kind::Email, "zhang.san+x@mail.example.com")],
    );
    check("12345678@qq.com", &[(Kind::Email, "12345678@qq.com")]);
    check("QQ12345678@qq.com", &[(Kind::Email, "QQ12345678@qq.com")]);
    check("发到..a@b.cn，", &[(Kind::Email, "a@b.cn")]);
    check("@张三 a@b @@ x@.cn y@1.2", &[]);
    check("a@b.cn@c.cn", &[(Kind::Email, "a@b.cn")]);
}

#[test]
fn names_after_words_for_qq_and_wechat() {
    check("加QQ：123456789", &[(Kind::Qq, "123456789")]);
    check("QQ群号是 987654", &[(Kind::Qq, "987654")]);
    check("扣扣12345", &[(Kind::Qq, "12345")]);
    check("QQ0123456 QQ1234 qq音乐", &[]);
    check("微信号：abc_def", &[(Kind::Wechat, "abc_def")]);
    check("微信：13812345678", &[(Kind::Wechat, "13812345678")]);
    check("加VX abc123", &[(Kind::Wechat, "abc123")]);
    check("微信 Android版，微信支付，wxPython", &[]);
    check("微信公众号", &[]);
}

#[test]
fn plates() {
    check("车牌京A12345，", &[(Kind::Plate, "京A12345")]);
    check("粤B·D12345", &[(Kind::Plate, "粤B·D12345")]);
    check("沪A1234学", &[(Kind::Plate, "沪A1234学")]);
    check("川A股份 新A380飞机 京AI2345 桂AABCDE", &[]);
}

#[test]
fn public_addresses() {
    check("来自114.114.114.114。", &[(Kind::Ip, "114.114.114.114")]);
    check("8.8.8.8:53", &[(Kind::Ip, "8.8.8.8")]);
    check("DNS 2400:3200::1.", &[(Kind::Ip, "2400:3200::1")]);
    check("192.168.1.1 127.0.0.1 1.2.3 1.2.3.4.5 12:30:45", &[]);
}

#[test]
fn masking_names_the_kind_and_keeps_the_rest() {
    let text = "电话13812345678，邮箱a@b.cn。";
    assert_eq!(mask(text, &find(text)), "电话[手机号]，邮箱[邮箱]。");
    assert_eq!(mask("没有", &[]), "没有");
    // Spans of another text are left out, not trusted.
    let wild = [
        Span {
            kind: Kind::Ip,
            start: 1,
            end: 2,
        },
        Span {
            kind: Kind::Ip,
            start: 90,
            end: 99,
        },
    ];
    assert_eq!(mask("汉字", &wild), "汉字");
}

proptest! {
    #[test]
    fn spans_are_ordered_and_inside_the_text(
        text in "(?s).{0,60}|[0-9a-fA-FxX@.:+ 京粤微信加号QVq：-]{0,80}|(微信号|QQ|京A|86)?[0-9 -]{0,40}"
    ) {
        let spans = find(&text);
        let mut last = 0;
        for span in &spans {
            prop_assert!(span.start >= last && span.start < span.end);
            prop_assert!(text.get(span.start..span.end).is_some());
            last = span.end;
        }
        let masked = mask(&text, &spans);
        prop_assert!(masked.len() <= text.len() + 20 * spans.len());
    }
}

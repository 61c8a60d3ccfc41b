//! Whole articles and whole dumps.

use proptest::prelude::*;

use super::super::doc::{Item, PictureData};
use super::super::spec::{Kind, SourceSpec};
use super::*;

const ARTICLE: &str = "{{Infobox settlement
| name = 北京
| image = 天安门.jpg
| 图片说明 = [[天安门]]城楼
}}
<!-- 编者注 -->
'''北京'''（{{lang|en|Beijing}}），通称-{zh-hans:首都;zh-hant:京城}-<ref>来源</ref>，是[[中华人民共和国|中国]]的首都。
[[File:故宫.png|thumb|[[故宫]]的屋顶|alt=红墙黄瓦]]
== 历史 ==
=== 古代 ===
* 周朝的[[蓟]]城
* 元朝的'''大都'''
{| class=\"wikitext\"
! 年 !! 人口
|-
| 1949 || 203万
|}
== 图集 ==
<gallery>
File:长城.jpg|八达岭长城
File:曲.ogg|一首曲子
</gallery>
== 参考文献 ==
{{reflist}}
* 书
[[Category:北京]]
[[en:Beijing]]
";

#[test]
fn an_article_becomes_text_and_pictures() {
    let plain = plain(ARTICLE);
    let expected =
        "北京（Beijing），通称首都，是中国的首都。\n历史\n古代\n周朝的蓟城\n元朝的大都\n图集";
    assert_eq!(plain.text, expected);
    let got: Vec<_> = plain
        .pictures
        .iter()
        .map(|p| {
            (
                p.file.as_str(),
                p.caption.as_deref(),
                p.alt.as_deref(),
                p.line,
            )
        })
        .collect();
    assert_eq!(
        got,
        [
            ("天安门.jpg", Some("天安门城楼"), None, 0),
            ("故宫.png", Some("故宫的屋顶"), Some("红墙黄瓦"), 1),
            ("长城.jpg", Some("八达岭长城"), None, 6),
        ]
    );
}

fn dump(pages: &[&str]) -> String {
    let head = "<mediawiki><siteinfo><base>https://zh.example.org/wiki/首页</base></siteinfo>\n";
    format!("{head}{}</mediawiki>\n", pages.concat())
}

fn page(title: &str, namespace: i32, text: &str) -> String {
    format!(
        "  <page>\n<title>{title}</title><ns>{namespace}</ns><id>1</id><revision><model>wikitext</model>\
         <text>{text}</text></revision>\n  </page>\n"
    )
}

#[test]
fn a_dump_gives_articles_skips_and_damage_in_order() {
    let pages = [
        page("甲 乙", 0, "正文。[[File:a.jpg|图]]"),
        page("讨论:甲", 1, "闲谈"),
        page("丙", 0, "#重定向 [[甲]]"),
        "<page><title>坏</ti".to_string(),
        page("丁", 0, "&lt;br&gt;"),
        page("戊", 0, "完。"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.xml.bz2");
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    std::io::Write::write_all(&mut encoder, dump(&pages).as_bytes()).unwrap();
    m6_store::atomic::write_file(&path, &encoder.finish().unwrap()).unwrap();
    let spec = SourceSpec {
        name: "wiki".to_string(),
        kind: Kind::Mediawiki,
        files: vec![path],
        lang: Some("zh".to_string()),
        ..SourceSpec::default()
    };
    let items: Vec<Item> = super::super::open(&spec).unwrap().collect();
    let words: Vec<&str> = items
        .iter()
        .map(|item| match item {
            Item::Doc(doc) => doc.text.as_str(),
            Item::Skipped(skipped) => skipped.reason.as_str(),
            Item::Damage(_) => "damage",
        })
        .collect();
    assert_eq!(
        words,
        ["正文。", "namespace", "redirect", "damage", "empty", "完。"]
    );
    let Item::Doc(doc) = &items[0] else {
        panic!("an article")
    };
    assert_eq!(
        doc.url.as_deref(),
        Some("https://zh.example.org/wiki/甲_乙")
    );
    assert_eq!(
        doc.pictures[0].data,
        PictureData::Address("a.jpg".to_string())
    );
    assert_eq!(doc.pictures[0].captions[0].text, "图");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_wikitext_is_read(pieces in proptest::collection::vec(0usize..26, 0..60)) {
        const PIECES: [&str; 26] = [
            "{{", "}}", "[[", "]]", "|", "=", "==", "\n", "<ref>", "</ref>", "<!--", "-->", "-{", "}-", "{|", "|}", "'''",
            "File:a.jpg", "甲", "&#", ";", "<gallery>", "</gallery>", "<nowiki>", "</nowiki>", "\u{fffc}",
        ];
        let source: String = pieces.iter().map(|&piece| PIECES[piece]).collect();
        let plain = plain(&source);
        let has_mark = plain.text.contains(text::MARK);
        prop_assert!(!has_mark);
        let n_lines = plain.text.lines().count();
        prop_assert!(plain.pictures.iter().all(|picture| picture.line <= n_lines));
    }
}

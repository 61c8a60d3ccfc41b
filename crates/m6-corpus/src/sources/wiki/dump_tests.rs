//! A dump as a Chinese wiki would export it, written by hand for this test, and what is read from it.

use super::super::doc::{Item, PictureData, RawDoc};
use super::super::spec::{Kind, SourceSpec};

/// The head of an export, with its namespaces.
const HEAD: &str = r#"<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="0.11" xml:lang="zh">
  <siteinfo>
    <sitename>样本百科</sitename>
    <dbname>samplewiki</dbname>
    <base>https://wiki.example.org/wiki/Wikipedia:%E9%A6%96%E9%A1%B5</base>
    <generator>MediaWiki 1.39.0</generator>
    <case>first-letter</case>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="1" case="first-letter">Talk</namespace>
      <namespace key="6" case="first-letter">File</namespace>
      <namespace key="10" case="first-letter">Template</namespace>
    </namespaces>
  </siteinfo>
"#;

const BRIDGE: &str = r#"{{noteTA|G1=Geography|1=zh-hans:网络;zh-hant:網路}}
{{Infobox bridge
| name         = 石門橋
| image        = Shimen Bridge 2019.jpg
| image_size   = 250px
| caption      = 從[[南岸|南岸公園]]望石門橋{{efn|攝於2019年。}}
| length       = {{convert|312|m|ft}}
| coordinates  = {{coord|29|33|N|106|33|E|display=inline,title}}
}}
'''石门桥'''（{{lang-en|Shimen Bridge}}，又称“'''老桥'''”）是[[临河县]]的一座[[石拱桥]]，全长{{convert|312|米|ft|0}}，建于[[1958年]]。<ref name="县志">{{cite book|title=临河县志|author=县志编委会|year=1990|pages=88-90}}</ref><ref>{{cite web|url=http://example.org/a?b=1&c=2|title=桥的数据}}</ref>桥上每天约有{{formatnum:12500}}辆车通过<ref name="县志" />。
[[File:Shimen arch.jpg|thumb|left|upright=1.2|alt=一座三孔的石桥|桥的''主孔''，跨径为{{nowrap|45 米}}<ref>同上。</ref>]]

== 名稱 ==
“石门”一名出自桥头的两块大石，见于-{zh-hans:《临河杂记》;zh-hant:《臨河雜記》}-<!-- 卷三 -->：
<blockquote>
两石相对如门，水从中出。
</blockquote>
当地人也叫它[[老桥 (临河)|老桥]]、[[:en:Shimen Bridge|Shimen]]。

== 歷史 ==
=== 建造 ===
* 1956年：'''勘测'''；
* 1957年3月：动工；
** 同年7月遇[[洪水]]，停工两个月
# 1958年10月1日：通车。

=== 維修 ===
{| class="wikitext sortable" style="text-align:center"
|+ 历次维修
! 年份 !! 内容 !! 费用
|-
| 1972 || 更换栏杆 || 3万元
|-
| rowspan=2 | 1995
| 加固桥墩
|
{| class="inner"
| 12万元
|}
|-
| {{n/a}} || {{yes|路灯}}
|}
2010年，大桥重新铺装路面&nbsp;&mdash;&nbsp;工期为 30&times;24 小时。

== 结构 ==
主孔的矢跨比约为<math>\frac{1}{5}</math>，桥面宽 7<sup>m</sup>。详见[http://example.org/bridge 设计图]和 [https://example.org]。__NOEDITSECTION__
{{Main|石拱桥的计算}}

== 图集 ==
<gallery mode="packed" heights="120">
File:Shimen night.JPG|夜景，摄于[[中秋节]]
檔案:Shimen plan.svg
File:Shimen song.ogg|桥工号子
</gallery>

== 參見 ==
* [[赵州桥]]

== 参考文献 ==
{{reflist|2}}

== 外部連結 ==
* [http://example.org 官方网站]
{{临河县}}
[[Category:临河县桥梁]]
[[分类:1958年完工桥梁]]
[[en:Shimen Bridge]]
"#;

const BRIDGE_TEXT: &str = "\
石门桥（Shimen Bridge，又称“老桥”）是临河县的一座石拱桥，全长312米，建于1958年。桥上每天约有12500辆车通过。
名稱
“石门”一名出自桥头的两块大石，见于《临河杂记》：
两石相对如门，水从中出。
当地人也叫它老桥、Shimen。
歷史
建造
1956年：勘测；
1957年3月：动工；
同年7月遇洪水，停工两个月
1958年10月1日：通车。
維修
2010年，大桥重新铺装路面 — 工期为 30×24 小时。
结构
主孔的矢跨比约为，桥面宽 7m。详见设计图和 。
图集";

/// One page of the export, its text escaped as XML.
fn page(title: &str, ns: i32, id: u32, redirect: Option<&str>, text: &str) -> String {
    let escape = |text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        text.replace('>', "&gt;").replace('"', "&quot;")
    };
    let redirect = redirect.map_or_else(String::new, |to| {
        format!("    <redirect title=\"{to}\" />\n")
    });
    format!(
        "  <page>\n    <title>{}</title>\n    <ns>{ns}</ns>\n    <id>{id}</id>\n{redirect}    <revision>\n      <id>{}</id>\n      \
         <parentid>{}</parentid>\n      <timestamp>2019-05-0{}T08:00:00Z</timestamp>\n      <contributor>\n        \
         <username>编者</username>\n        <id>5</id>\n      </contributor>\n      <comment>/* 历史 */ 修正</comment>\n      \
         <model>wikitext</model>\n      <format>text/x-wiki</format>\n      <text bytes=\"{}\" xml:space=\"preserve\">{}</text>\n      \
         <sha1>phoiac9h4m842xq45sp7s6u21eteeq1</sha1>\n    </revision>\n  </page>\n",
        escape(title),
        id + 1000,
        id + 900,
        id % 9 + 1,
        text.len(),
        escape(text)
    )
}

fn dump() -> String {
    let damaged = page("坏页", 0, 6, None, "这一页的开头");
    let cut = damaged.find("</text>").unwrap_or_default();
    [
        HEAD,
        &page("石门桥", 0, 1, None, BRIDGE),
        &page("老橋", 0, 2, Some("石门桥"), "#重定向 [[石门桥]]"),
        &page("Talk:石门桥", 1, 3, None, "这里说话。--~~~~"),
        &page("File:Shimen night.JPG", 6, 4, None, "{{information}}"),
        &page("Template:临河县", 10, 5, None, "{{navbox}}"),
        // The disk was full here: the page stops, the next begins.
        &damaged[..cut],
        &page(
            "AT&T <甲>",
            0,
            7,
            None,
            "'''AT&T'''写作“A &amp; B”，1 < 2。",
        ),
        &page("消歧义", 0, 8, None, "{{消歧义}}\n[[Category:消歧义]]"),
        "</mediawiki>\n",
    ]
    .concat()
}

fn read(bytes: &[u8]) -> Vec<Item> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.xml");
    m6_store::atomic::write_file(&path, bytes).unwrap();
    let spec = SourceSpec {
        name: "wiki".to_string(),
        kind: Kind::Mediawiki,
        files: vec![path],
        ..SourceSpec::default()
    };
    super::super::open(&spec).unwrap().collect()
}

fn articles(items: &[Item]) -> Vec<&RawDoc> {
    let docs = items.iter().filter_map(|item| match item {
        Item::Doc(doc) => Some(doc.as_ref()),
        _ => None,
    });
    docs.collect()
}

#[test]
fn an_export_gives_its_articles_and_says_what_it_left_out() {
    let items = read(dump().as_bytes());
    let words: Vec<String> = items
        .iter()
        .map(|item| match item {
            Item::Doc(doc) => doc.id.clone(),
            Item::Skipped(skipped) => format!("{} {}", skipped.id, skipped.reason),
            Item::Damage(damage) => damage.reason.clone(),
        })
        .collect();
    let expected = [
        "1",
        "2 redirect",
        "3 namespace",
        "4 namespace",
        "5 namespace",
        "the page is cut off: another one begins inside it",
        "7",
        "8 empty",
    ];
    assert_eq!(words, expected);
    let docs = articles(&items);
    assert_eq!(docs[0].text, BRIDGE_TEXT);
    assert_eq!(docs[0].title.as_deref(), Some("石门桥"));
    let url = "https://wiki.example.org/wiki/石门桥";
    assert_eq!(docs[0].url.as_deref(), Some(url));
    assert_eq!(docs[0].meta["timestamp"], "2019-05-02T08:00:00Z");
    assert_eq!(docs[1].title.as_deref(), Some("AT&T <甲>"));
    assert_eq!(docs[1].text, "AT&T写作“A & B”，1 < 2。");
}

#[test]
fn the_pictures_of_an_article_have_their_captions_and_places() {
    let items = read(dump().as_bytes());
    let doc = articles(&items)[0];
    let got: Vec<(&str, Vec<&str>, Option<usize>)> = doc
        .pictures
        .iter()
        .map(|picture| {
            let captions = picture.captions.iter().map(|caption| caption.text.as_str());
            let PictureData::Address(file) = &picture.data else {
                panic!("{picture:?}")
            };
            (file.as_str(), captions.collect(), picture.line)
        })
        .collect();
    let arch = vec!["桥的主孔，跨径为45 米", "一座三孔的石桥"];
    let expected = [
        (
            "Shimen Bridge 2019.jpg",
            vec!["從南岸公園望石門橋"],
            Some(0),
        ),
        ("Shimen arch.jpg", arch, Some(1)),
        ("Shimen night.JPG", vec!["夜景，摄于中秋节"], Some(16)),
        ("Shimen plan.svg", vec![], Some(16)),
    ];
    assert_eq!(got, expected);
}

/// Whatever is lost of an export, the pages before it are read.
#[test]
fn an_export_that_is_cut_or_has_holes_keeps_its_other_pages() {
    let whole = dump();
    let n_docs = |bytes: &[u8]| articles(&read(bytes)).len();
    let ends: Vec<usize> = whole.match_indices("</page>").map(|(at, _)| at).collect();
    let close = "</page>".len();
    let cuts = [
        (ends[0], 0),
        (ends[0] + close, 1),
        (ends[5], 1),
        (ends[5] + close, 2),
        (whole.len(), 2),
    ];
    for (cut, expected) in cuts {
        assert_eq!(n_docs(&whole.as_bytes()[..cut]), expected, "{cut}");
    }
    let mut hole = whole.clone().into_bytes();
    let at = whole.find("石门桥").unwrap_or_default();
    hole[at] = 0xff;
    assert_eq!(n_docs(&hole), 1);
}

//! The module as a whole: refusals, pages of all shapes, hostile bytes, and the real pages of `shared/data`.

use super::*;
use proptest::prelude::*;

const TEXT: &str = "这是正文的一段，它有标点，也够长，所以算作一句完整的话。";

fn page(html: &str) -> Page {
    extract(html, Some("http://a.cn/b/"), &Options::default()).expect("a page")
}

#[test]
fn a_page_gives_text_pictures_and_names_in_order() {
    let html = format!(
        "<html lang=zh-CN><head><title>标题文字 - 网站</title><base href='/img/'></head><body><nav><a href=x>首页</a></nav>\
         <article><h1>标题文字</h1><p>{TEXT}</p><figure><img src=1.jpg alt=甲><figcaption>图的说明</figcaption></figure>\
         <p>{TEXT}<img data-src=2.jpg src=data:,></p><p><img src=1.jpg></p></article><footer>版权</footer>"
    );
    let page = page(&html);
    assert_eq!(
        (
            page.title.as_str(),
            page.lang.as_str(),
            page.charset.as_str()
        ),
        ("标题文字", "zh", "utf-8")
    );
    assert_eq!(page.text, format!("标题文字\n{TEXT}\n图的说明\n{TEXT}"));
    let kinds: Vec<_> = page.blocks.iter().map(|b| (b.kind, b.image)).collect();
    let expected = [
        (Kind::Heading, None),
        (Kind::Paragraph, None),
        (Kind::Image, Some(0)),
        (Kind::Caption, None),
        (Kind::Paragraph, None),
        (Kind::Image, Some(1)),
    ];
    assert_eq!(kinds, expected);
    let sources: Vec<_> = page.images.iter().map(|i| i.src.as_str()).collect();
    assert_eq!(sources, ["http://a.cn/img/1.jpg", "http://a.cn/img/2.jpg"]);
    assert_eq!(page.images[0].caption.as_deref(), Some("图的说明"));
}

#[test]
fn the_title_of_a_product_page_is_the_caption_of_its_first_picture() {
    let with = |furniture: &str, pictures: &str| {
        let html = format!(
            "<title>红色木马玩具_某店</title><h1>红色木马玩具</h1>{furniture}<div>{pictures}<p>{TEXT}</p><p>{TEXT}{TEXT}</p></div>"
        );
        let page = page(&html);
        let captions = page.images.into_iter().map(|image| image.caption);
        captions.collect::<Vec<_>>()
    };
    let title = Some("红色木马玩具".to_string());
    let paragraph = Some(TEXT.to_string());
    let shop = "<div>￥25.00 <button>加入购物车</button></div>";
    let one = "<p><img src=1.jpg alt=红色木马玩具></p>";
    let two = "<p><img src=1.jpg title=红色木马玩具_某店></p><p><img src=2.jpg alt=红色木马玩具></p><p><img src=3.jpg alt=包装盒></p>";
    assert_eq!(with(shop, one), std::slice::from_ref(&title));
    let named = "<div itemscope itemtype=http://schema.org/Product></div>";
    assert_eq!(with(named, one), std::slice::from_ref(&title));
    // On other pages a content system wrote it there.
    assert_eq!(with("", one), std::slice::from_ref(&paragraph));
    assert_eq!(
        with(shop, two),
        [title, paragraph, Some("包装盒".to_string())]
    );
    assert_eq!(
        with(shop, "<p><img src=1.jpg alt=某店></p>"),
        [Some(TEXT.to_string())]
    );
}

#[test]
fn refusals_name_the_figure_and_the_limit() {
    let options = Options {
        max_bytes: 100,
        min_han: 5,
    };
    let refused = |html: &str| {
        extract(html, None, &options)
            .expect_err("refused")
            .to_string()
    };
    assert_eq!(
        refused(&"x".repeat(101)),
        "page of 101 bytes, more than the limit of 100"
    );
    assert!(extract(&format!("<p>{}", "中".repeat(5)), None, &options).is_ok());
    assert_eq!(refused(&"x".repeat(100)), "0 Han characters, fewer than 5");
    assert_eq!(refused("<p>中文中文"), "4 Han characters, fewer than 5");
    assert_eq!(
        refused("\0\0\0\0abc"),
        "not a text: 4 of the first 7 characters are control characters or undecodable"
    );
    let empty = extract("<script>x</script>", None, &Options::default());
    assert_eq!(empty, Err(Refusal::Empty));
}

#[test]
fn han_written_as_numbers_passes_the_gate() {
    let options = Options {
        min_han: 2,
        ..Options::default()
    };
    let page = extract("<p>&#20013;&#x6587;</p>", None, &options).expect("two Han characters");
    assert_eq!(page.text, "中文");
}

#[test]
fn hostile_shapes_end_soon() {
    let n = 100_000;
    let shapes = [
        "<div>".repeat(n) + TEXT,
        "<b>".repeat(n) + TEXT + &"</b>".repeat(n),
        "<p><b class=a>".repeat(n) + TEXT,
        "<table><tr><td>".repeat(n) + TEXT,
        "<a href=x>".repeat(n) + TEXT,
        format!("<img {}>{TEXT}", "a=b ".repeat(n)),
        format!("<img {}>{TEXT}", "data-src=b ".repeat(n)),
        "<figure><img src=a>".repeat(n) + TEXT,
        "<img src=a.jpg>".repeat(n) + TEXT,
        "&".repeat(n) + TEXT,
        "<".repeat(n) + TEXT,
        "<!--".repeat(n) + TEXT,
        "</p>".repeat(n) + TEXT,
        "<li>".repeat(n) + TEXT,
        "<svg>".repeat(n) + "<p>" + TEXT,
        format!("<div class='{}'>{TEXT}", "comment ".repeat(n)),
        "<font><i>".repeat(n) + "<p>" + TEXT,
        "<b><p>".repeat(n) + TEXT,
        "<article class=post-content><div class=comment>".repeat(n) + TEXT,
        "<div style='display:none'>".repeat(n) + TEXT,
        format!(
            "<p {}>{TEXT}",
            (0..n)
                .map(|i| format!("data-src{i}=a.jpg "))
                .collect::<String>()
        ),
        "&#1".repeat(n) + "<p>" + TEXT,
        format!("<p>&{}<p>{TEXT}", "a".repeat(n * 10)),
        "\0文文文文文文文文文".repeat(n) + "<p>" + TEXT,
        format!(
            "<p>{}<p>{TEXT}",
            "<a href=x>链接</a><p>短句，一。".repeat(n)
        ),
        "<figure><figcaption>".repeat(n) + TEXT,
        "<table>".repeat(n) + TEXT,
        "<x-y>".repeat(n) + &"</x-z>".repeat(n) + TEXT,
    ];
    for html in shapes {
        let start: String = html.chars().take(30).collect();
        let begun = std::time::Instant::now();
        match extract(&html, None, &Options::default()) {
            Ok(page) => assert!(
                page.text.contains("正文") || html.starts_with("<!--"),
                "{start}"
            ),
            Err(refusal) => assert!(html.starts_with("<!--"), "{start}: {refusal}"),
        }
        // Some 20 ms each; anything quadratic takes minutes.
        assert!(begun.elapsed().as_secs() < 20, "{start}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_page_or_a_refusal(bytes in proptest::collection::vec(any::<u8>(), 0..600), label in "[a-z0-9-]{0,12}") {
        let _ = extract_bytes(&bytes, Some(&label), Some("http://a/"), &Options::default());
    }

    #[test]
    fn any_soup_keeps_the_tree_sound(parts in proptest::collection::vec(0usize..SOUP.len(), 0..60)) {
        let html: String = parts.iter().map(|i| SOUP[*i]).collect();
        let tree = Tree::parse(&html);
        for (i, node) in tree.nodes.iter().enumerate() {
            prop_assert!(node.end as usize > i && node.end as usize <= tree.nodes.len());
            let parent = &tree.nodes[node.parent as usize];
            prop_assert!(i == 0 || ((node.parent as usize) < i && node.end <= parent.end));
        }
        let _ = extract(&html, None, &Options::default());
    }
}

const SOUP: [&str; 32] = [
    "<div>",
    "</div>",
    "<p>",
    "</p>",
    "<a href=x>",
    "</a>",
    "<b>",
    "</b>",
    "<table>",
    "</table>",
    "<tr>",
    "<td>",
    "</td>",
    "<ul>",
    "<li>",
    "</ul>",
    "<svg>",
    "</svg>",
    "<title>",
    "</title>",
    "<script>",
    "</script>",
    "<!--",
    "-->",
    "<img src=a.jpg alt='",
    "'>",
    "<head>",
    "<body>",
    "<select><option>",
    "<pre>\n1",
    "正文，文字。",
    "&amp&#x4e2d;",
];

fn shared(path: &str) -> Option<std::path::PathBuf> {
    let root = std::env::var_os("M6_SHARED").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        std::path::PathBuf::from,
    );
    let full = root.join(path);
    full.exists().then_some(full)
}

/// Files of a `.tar.gz` of the shared data, or nothing after one line on stderr.
pub(super) fn archive(path: &str) -> Vec<(String, Vec<u8>)> {
    use std::io::Read;
    let Some(full) = shared(path) else {
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("skipped: no shared/{path}\n").as_bytes(),
        );
        return Vec::new();
    };
    let file = std::fs::File::open(full).expect("shared data can be read");
    let mut files = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = files.entries().expect("a tar");
    entries
        .map(|entry| {
            let mut entry = entry.expect("a tar entry");
            let name = entry.path().expect("a path").to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("its bytes");
            (name, bytes)
        })
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect()
}

#[test]
fn real_pages_in_old_encodings_are_decoded() {
    let files = archive("data/encodings/pages.tar.gz");
    for (name, bytes) in &files {
        let decoded = charset::decode(bytes, None);
        let expected = if name.contains("big5") {
            encoding_rs::BIG5
        } else {
            encoding_rs::GB18030
        };
        let (text, _) = expected.decode_without_bom_handling(bytes);
        assert!(
            decoded.text == text,
            "{name} was read as {} ({:?})",
            decoded.charset,
            decoded.how
        );
        // A page is also read right where its server lies about it.
        for lie in ["utf-8", "iso-8859-1"] {
            let decoded = charset::decode(bytes, Some(lie));
            assert!(decoded.text == text, "{name}, sent as {lie}");
        }
    }
    assert!(files.is_empty() || files.len() == 94, "{}", files.len());
}

#[test]
fn real_feeds_in_old_encodings_are_known() {
    for (name, bytes) in archive("data/encodings/feeds.tar.gz") {
        let expected = if name.contains("Big5") { "big5" } else { "gbk" };
        let decoded = charset::decode(&bytes, None);
        assert_eq!(decoded.charset, expected, "{name} ({:?})", decoded.how);
    }
}

#[test]
fn real_pages_give_text() {
    let files = archive("data/html/pages.tar.gz");
    let n_refused = files
        .iter()
        .filter(|(name, _)| name.ends_with(".html"))
        .filter(|(_, bytes)| extract_bytes(bytes, None, None, &Options::default()).is_err())
        .count();
    assert!(
        n_refused <= 2,
        "{n_refused} of {} pages were refused",
        files.len()
    );
}

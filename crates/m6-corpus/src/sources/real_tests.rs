//! The real sources of the shared data, and what is left of them when they are damaged.

use std::path::{Path, PathBuf};

use super::tests::{docs, file, read, strings};
use super::*;

/// The shared data of the project, where it is at hand.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn shared(name: &str) -> Option<PathBuf> {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("M6_SHARED").map_or(usual, PathBuf::from);
    let path = root.join("data").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not here (set M6_SHARED)", path.display());
    None
}

#[test]
fn real_goods_have_pictures_attributes_and_html() {
    let Some(path) = shared("ecommerce/goods.jsonl") else {
        return;
    };
    let fields = Fields {
        title: Some("title".to_string()),
        text: strings(&["brief", "attributes", "comments"]),
        html: Some("detail_html".to_string()),
        pictures: strings(&["pic_url", "gallery:json"]),
        captions: strings(&["title"]),
        ..Fields::default()
    };
    let docs = docs(&SourceSpec {
        files: vec![path],
        fields,
        ..SourceSpec::default()
    });
    assert_eq!(docs.len(), 204);
    assert!(docs[0].text.contains("材质：100%棉"), "{}", docs[0].text);
    assert_eq!(docs[0].pictures.len(), 5);
    assert_eq!(
        docs[0].pictures[0].captions[0].text,
        "轻奢纯棉刺绣水洗四件套"
    );
}

#[test]
fn real_questions_and_answers_are_read() {
    let Some(folder) = shared("qa") else { return };
    let check = |name: &str, text: &[&str], n_docs: usize| {
        let fields = Fields {
            text: strings(text),
            ..Fields::default()
        };
        let docs = docs(&SourceSpec {
            files: vec![folder.join(name)],
            fields,
            ..SourceSpec::default()
        });
        assert_eq!(docs.len(), n_docs, "{name}");
        docs
    };
    check("egret-forum.jsonl", &["question", "best_answer"], 2350);
    check(
        "cmrc2018-dev.jsonl",
        &["context", "qas.{question,answers}"],
        848,
    );
    check("dureader-demo.jsonl", &["question", "answers"], 98);
    let docs = check(
        "drcd-dev-traditional.jsonl",
        &["context", "qas.{question,answers}"],
        1000,
    );
    assert!(docs[0].text.lines().count() > 2);
}

#[test]
fn real_recipes_keep_their_photos_in_place() {
    let Some(folder) = shared("howtocook") else {
        return;
    };
    let fields = Fields {
        title: Some("title".to_string()),
        text: strings(&["markdown"]),
        pictures: strings(&["images"]),
        ..Fields::default()
    };
    let docs = docs(&SourceSpec {
        files: vec![folder.join("docs.jsonl")],
        fields,
        format: TextFormat::Markdown,
        pictures_from: vec![folder.join("docs.tar")],
        ..SourceSpec::default()
    });
    assert_eq!(docs.len(), 205);
    let pictures: Vec<&Picture> = docs.iter().flat_map(|doc| &doc.pictures).collect();
    let names: std::collections::BTreeSet<&str> = pictures
        .iter()
        .filter_map(|picture| match &picture.data {
            PictureData::Bytes { name, .. } => Some(name.as_str()),
            PictureData::Address(_) => None,
        })
        .collect();
    let n_placed = pictures.iter().filter(|p| p.line.is_some()).count();
    assert_eq!(names.len(), 235, "every photo of the tar is in a document");
    assert!(n_placed >= 230, "{n_placed}");
}

#[test]
fn real_photos_with_captions_are_read_from_their_tar() {
    let Some(path) = shared("flickr8k-cn/val-00000.tar") else {
        return;
    };
    let fields = Fields {
        captions: strings(&["captions"]),
        ..Fields::default()
    };
    let docs = docs(&SourceSpec {
        kind: Kind::Webdataset,
        files: vec![path],
        fields,
        ..SourceSpec::default()
    });
    assert_eq!(docs.len(), 500);
    assert!(
        docs.iter()
            .all(|doc| doc.pictures.len() == 1 && doc.pictures[0].captions.len() == 5)
    );
}

#[test]
fn real_pages_come_out_of_their_compressed_tar() {
    let Some(folder) = shared("html") else { return };
    let spec = SourceSpec {
        kind: Kind::Pages,
        files: vec![folder.join("pages.tar.gz")],
        index: Some(folder.join("pages.jsonl")),
        ..SourceSpec::default()
    };
    let docs = docs(&spec);
    assert_eq!(docs.len(), 209);
    assert!(docs.iter().filter(|doc| doc.url.is_some()).count() > 20);
}

/// Lines of rows with fields, each a record.
fn check_lines(path: PathBuf, title: Option<&str>, text: &[&str], n_docs: usize) -> Vec<RawDoc> {
    let fields = Fields {
        title: title.map(str::to_string),
        text: strings(text),
        ..Fields::default()
    };
    let shown = path.display().to_string();
    let docs = docs(&SourceSpec {
        files: vec![path],
        fields,
        ..SourceSpec::default()
    });
    assert_eq!(docs.len(), n_docs, "{shown}");
    docs
}

#[test]
fn real_verse_news_reviews_and_prose_are_read() {
    let Some(poems) = shared("poetry/poems.jsonl") else {
        return;
    };
    let folder = poems.ancestors().nth(2).expect("two folders up").to_owned();
    let docs = check_lines(poems, Some("title"), &["author", "lines"], 28_384);
    assert_eq!(docs[0].title.as_deref(), Some("西掖省即事"));
    assert_eq!(docs[0].text.lines().count(), 5);
    assert!(docs[0].text.starts_with("岑參\n西掖重雲開曙暉，"));
    let news = folder.join("news/thucnews-titles.jsonl");
    let docs = check_lines(news, None, &["title"], 10_000);
    assert_eq!(docs[1].text, "60年铁树开花形状似玉米芯(组图)");
    assert_eq!(docs[1].id, "thucnews-titles:2");
    check_lines(
        folder.join("ecommerce/reviews.jsonl"),
        None,
        &["review"],
        4_000,
    );
    let prose = folder.join("classical/prose.jsonl");
    let docs = check_lines(prose, Some("title"), &["paragraphs"], 270);
    assert!(
        docs[0].text.starts_with("子曰：“学而时习之"),
        "{}",
        docs[0].text
    );
}

/// The goods as a shop exports them: the same records come from a table.
#[test]
fn real_goods_are_the_same_from_a_table() {
    let Some(path) = shared("ecommerce/goods.jsonl") else {
        return;
    };
    const COLUMNS: [&str; 5] = ["title", "brief", "price", "pic_url", "detail_html"];
    let fields = Fields {
        title: Some("title".to_string()),
        text: strings(&["brief"]),
        html: Some("detail_html".to_string()),
        pictures: strings(&["pic_url"]),
        meta: strings(&["price"]),
        ..Fields::default()
    };
    let lines = std::fs::read_to_string(&path).unwrap();
    let mut table = COLUMNS.join(",") + "\r\n";
    for line in lines.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let cells = COLUMNS.map(|column| {
            let text = row[column].as_str().map(str::to_string);
            let text = text.unwrap_or_else(|| row[column].to_string());
            format!("\"{}\"", text.replace('"', "\"\""))
        });
        table.push_str(&(cells.join(",") + "\r\n"));
    }
    let dir = tempfile::tempdir().unwrap();
    let spec = |kind, path| SourceSpec {
        kind,
        files: vec![path],
        fields: fields.clone(),
        ..SourceSpec::default()
    };
    let plain = |docs: Vec<RawDoc>| -> Vec<RawDoc> {
        let docs = docs.into_iter().map(|doc| RawDoc {
            place: Place::default(),
            id: String::new(),
            ..doc
        });
        docs.collect()
    };
    let table = file(dir.path(), "goods.csv", table.as_bytes());
    let from_table = docs(&spec(Kind::Table, table));
    assert_eq!(from_table.len(), 204);
    assert!(plain(from_table) == plain(docs(&spec(Kind::Jsonl, path))));
}

/// Every damaged line of a forum is one row with its place, and every other line is a record.
#[test]
fn damaged_lines_of_a_real_forum_are_one_row_each() {
    let Some(path) = shared("qa/egret-forum.jsonl") else {
        return;
    };
    let whole = std::fs::read(&path).unwrap();
    let mut bytes = Vec::new();
    for (i, line) in whole.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match i % 50 {
            // Cut short, wrong bytes, and a missing quote.
            7 => bytes.extend([&line[..line.len() / 2], b"\n"].concat()),
            20 => bytes.extend([&line[..30], b"\xff\xfe", &line[30..]].concat()),
            33 => bytes.extend([&line[..1], &line[2..]].concat()),
            _ => bytes.extend(line),
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let spec = SourceSpec {
        files: vec![file(dir.path(), "forum.jsonl", &bytes)],
        fields: Fields {
            text: strings(&["question", "best_answer"]),
            ..Fields::default()
        },
        ..SourceSpec::default()
    };
    let items = read(&spec);
    assert_eq!(items.len(), 2350);
    for (i, item) in items.iter().enumerate() {
        let is_damaged = matches!(item, Item::Damage(_));
        assert_eq!(is_damaged, [7, 20, 33].contains(&(i % 50)), "{item:?}");
        assert_eq!(item.place().line, Some(i as u64 + 1));
    }
}

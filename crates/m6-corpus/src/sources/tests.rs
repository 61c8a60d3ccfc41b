//! Whole sources: small ones made here, and the real ones of the shared data.

use std::path::{Path, PathBuf};

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

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn read(spec: &SourceSpec) -> Vec<Item> {
    open(spec).unwrap().collect()
}

/// The records of a source without damage.
fn docs(spec: &SourceSpec) -> Vec<RawDoc> {
    let items = read(spec).into_iter().map(|item| match item {
        Item::Doc(doc) => *doc,
        other => panic!("{other:?}"),
    });
    items.collect()
}

fn file(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    m6_store::atomic::write_file(&path, bytes).unwrap();
    path
}

/// One word an item: `doc`, or the reason's first word.
fn words(items: &[Item]) -> Vec<String> {
    let word = |item: &Item| match item {
        Item::Doc(doc) => doc.id.clone(),
        Item::Skipped(skipped) => format!("skipped {}", skipped.reason),
        Item::Damage(damage) => format!(
            "damage {}",
            damage.place.line.unwrap_or(damage.place.offset)
        ),
    };
    items.iter().map(word).collect()
}

#[test]
fn rows_of_every_form_give_the_same_records() {
    let dir = tempfile::tempdir().unwrap();
    let fields = Fields {
        title: Some("title".to_string()),
        text: strings(&["body"]),
        pictures: strings(&["pic"]),
        meta: strings(&["price"]),
        ..Fields::default()
    };
    let rows = [
        r#"{"id": "1", "title": "杯子", "body": "一 段\n\n 二 ", "pic": "a.jpg", "price": "9"}"#,
        r#"{"id": "2", "title": "", "body": "", "pic": "", "price": "1"}"#,
    ];
    let lines = file(
        dir.path(),
        "a.jsonl",
        format!("{}\n\n{}\nnot json\n", rows[0], rows[1]).as_bytes(),
    );
    let list = file(
        dir.path(),
        "b.json",
        format!("[{},\n {}]", rows[0], rows[1]).as_bytes(),
    );
    let inner = file(
        dir.path(),
        "c.json",
        format!("{{\"data\": {{\"rows\": [{}]}}}}", rows.join(",")).as_bytes(),
    );
    let table = "id,title,body,pic,price\n1,杯子,\"一 段\n\n 二 \",a.jpg,9\n2,,,,1\nbad,row\n";
    let table = file(dir.path(), "d.csv", table.as_bytes());
    let forms: [(Kind, &Path, Option<&str>, &[&str]); 4] = [
        (
            Kind::Jsonl,
            &lines,
            None,
            &["1", "skipped empty", "damage 4"],
        ),
        (Kind::Json, &list, None, &["1", "skipped empty"]),
        (
            Kind::Json,
            &inner,
            Some("data.rows"),
            &["1", "skipped empty"],
        ),
        (
            Kind::Table,
            &table,
            None,
            &["1", "skipped empty", "damage 6"],
        ),
    ];
    let mut first: Option<RawDoc> = None;
    for (kind, path, records, expected) in forms {
        let spec = SourceSpec {
            name: "shop".to_string(),
            kind,
            files: vec![path.to_path_buf()],
            fields: fields.clone(),
            records: records.map(str::to_string),
            ..SourceSpec::default()
        };
        let items = read(&spec);
        assert_eq!(words(&items), expected, "{kind:?}");
        let Item::Doc(doc) = &items[0] else {
            panic!("{kind:?}")
        };
        let mut doc = *doc.clone();
        doc.place = Place::default();
        assert_eq!(
            (doc.text.as_str(), doc.meta["price"].as_str()),
            ("一 段\n二", "9")
        );
        assert_eq!(first.get_or_insert(doc.clone()), &doc, "{kind:?}");
    }
}

#[test]
fn a_missing_column_and_a_missing_file_are_one_row_each() {
    let dir = tempfile::tempdir().unwrap();
    let table = file(dir.path(), "a.csv", b"id,name\n1,x\n2,y\n");
    let fields = Fields {
        text: strings(&["body"]),
        ..Fields::default()
    };
    for (kind, path) in [
        (Kind::Table, table),
        (Kind::Jsonl, dir.path().join("none.jsonl")),
    ] {
        let spec = SourceSpec {
            kind,
            files: vec![path],
            fields: fields.clone(),
            ..SourceSpec::default()
        };
        assert_eq!(read(&spec).len(), 1, "{kind:?}");
    }
}

#[test]
fn settings_that_cannot_be_followed_are_all_named() {
    let spec = SourceSpec {
        name: "x".to_string(),
        records: Some("data".to_string()),
        index: Some(PathBuf::from("i")),
        delimiter: Some('，'),
        ..SourceSpec::default()
    };
    let error = spec.check().unwrap_err().to_string();
    for part in [
        "\"x\"",
        "no file",
        "no field",
        "records",
        "index",
        "delimiter",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn samples_of_a_tar_keep_their_pictures_and_captions() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = tar::tests::build(&[
        ("a.jpg", b"\xff\xd8one"),
        (
            "a.json",
            "{\"captions\": [\"一只猫\"], \"id\": \"cat\"}".as_bytes(),
        ),
        ("b.txt", "只有文字".as_bytes()),
        ("c.png", b"two"),
        ("c.txt", "第一句\n第二句".as_bytes()),
        ("d.cls", b"7"),
        ("e.json", b"{"),
    ]);
    let path = file(dir.path(), "shard.tar", &bytes);
    let fields = Fields {
        captions: strings(&["captions"]),
        ..Fields::default()
    };
    let spec = SourceSpec {
        kind: Kind::Webdataset,
        files: vec![path],
        fields,
        ..SourceSpec::default()
    };
    let items = read(&spec);
    assert_eq!(words(&items)[..4], ["cat", "b", "c", "skipped empty"]);
    assert!(matches!(items[4], Item::Damage(_)));
    let texts = |item: &Item| match item {
        Item::Doc(doc) => doc
            .pictures
            .iter()
            .flat_map(|p| &p.captions)
            .map(|c| c.text.clone())
            .collect(),
        _ => Vec::new(),
    };
    assert_eq!(texts(&items[0]), ["一只猫"]);
    assert_eq!(texts(&items[2]), ["第一句", "第二句"]);
}

#[test]
fn tables_of_parquet_are_read() {
    use ::parquet::data_type::ByteArrayType;
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use ::parquet::schema::parser::parse_message_type;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let schema = "message m { required binary text (UTF8); required binary image; }";
    let schema = std::sync::Arc::new(parse_message_type(schema).unwrap());
    let out = std::fs::File::create(&path).unwrap();
    let mut writer =
        SerializedFileWriter::new(out, schema, WriterProperties::builder().build().into()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for values in [
        ["一段文字", "另一段"].map(str::as_bytes),
        [&b"\xff\xd8one"[..], b"\xff\xd8two"],
    ] {
        let mut column = group.next_column().unwrap().unwrap();
        let values: Vec<_> = values
            .into_iter()
            .map(|bytes| bytes.to_vec().into())
            .collect();
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, None, None)
            .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let fields = Fields {
        text: strings(&["text"]),
        pictures: strings(&["image"]),
        ..Fields::default()
    };
    let spec = SourceSpec {
        kind: Kind::Parquet,
        files: vec![path.clone()],
        fields,
        ..SourceSpec::default()
    };
    let docs = docs(&spec);
    assert_eq!(
        (docs[0].text.as_str(), docs[1].text.as_str()),
        ("一段文字", "另一段")
    );
    assert_eq!(docs[1].id, "a:2");
    assert!(
        matches!(&docs[1].pictures[0].data, PictureData::Bytes { bytes, .. } if bytes == b"\xff\xd8two")
    );
    // Damage anywhere is a row, never a panic.
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        m6_store::atomic::write_file(&path, &bytes).unwrap();
        assert!(read(&spec).len() <= 3);
    }
}

#[test]
fn pages_in_folders_and_tars_are_found_with_their_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("site");
    m6_store::atomic::create_dir(&folder.join("sub")).unwrap();
    file(&folder, "b.html", b"<p>b");
    file(&folder, "sub/a.HTM", b"<p>a");
    file(&folder, "note.txt", b"x");
    let tar = file(
        dir.path(),
        "more.tar",
        &tar::tests::build(&[("./c.html", b"<p>c"), ("d.css", b"x")]),
    );
    let index = file(
        dir.path(),
        "index.jsonl",
        b"{\"file\": \"c.html\", \"url\": \"http://x/c\", \"id\": \"C\"}\n",
    );
    let spec = SourceSpec {
        kind: Kind::Pages,
        files: vec![folder, tar],
        index: Some(index),
        ..SourceSpec::default()
    };
    let items = read(&spec);
    assert_eq!(
        words(&items),
        ["b.html", "skipped kind", "sub/a.HTM", "C", "skipped kind"]
    );
    let Item::Doc(doc) = &items[3] else {
        panic!("a page")
    };
    assert_eq!(doc.url.as_deref(), Some("http://x/c"));
    assert_eq!(doc.html.as_ref().unwrap().bytes, b"<p>c");
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

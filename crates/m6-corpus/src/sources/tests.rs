//! Whole sources, small ones made here.

use std::path::{Path, PathBuf};

use super::*;

pub(super) fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

pub(super) fn read(spec: &SourceSpec) -> Vec<Item> {
    open(spec).unwrap().collect()
}

/// The records of a source without damage.
pub(super) fn docs(spec: &SourceSpec) -> Vec<RawDoc> {
    let items = read(spec).into_iter().map(|item| match item {
        Item::Doc(doc) => *doc,
        other => panic!("{other:?}"),
    });
    items.collect()
}

pub(super) fn file(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
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

/// Reading on at the place of any item gives that item and all that follow, whatever the form.
#[test]
fn reading_goes_on_at_any_place() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..9)
        .map(|i| match i % 3 {
            0 => "not json\n\n".to_string(),
            _ => format!("{{\"body\": \"第{i}行\", \"rows\": [{{\"body\": \"{i}甲\"}}, 7, {{\"body\": \"{i}乙\"}}]}}\n"),
        })
        .collect();
    let gzip = {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut out, lines.as_bytes()).unwrap();
        out.finish().unwrap()
    };
    let page = |n: usize| {
        format!(
            "<page><title>第{n}页</title><ns>{}</ns><text>正文{n}。</text></page>\n",
            n % 2
        )
    };
    let dump: String = [
        "<m><base>http://w/wiki/首页</base>".to_string(),
        page(0),
        page(1),
    ]
    .into_iter()
    .chain(["<page><title>坏".to_string(), page(2), page(3)])
    .collect();
    let samples = tar::tests::build(&[
        ("a.jpg", b"\xff\xd8"),
        ("a.txt", "一".as_bytes()),
        ("b.json", b"{"),
        ("c.txt", "三".as_bytes()),
    ]);
    let table = "id,body\n1,一\n2,\"二\n三\"\nbad\n4,四\n";
    let forms: [(Kind, &str, &[u8], Option<&str>); 8] = [
        (Kind::Jsonl, "a.jsonl", lines.as_bytes(), None),
        (Kind::Jsonl, "a.jsonl.gz", &gzip, None),
        (Kind::Json, "a.json", lines.as_bytes(), None),
        (Kind::Json, "b.json", lines.as_bytes(), Some("rows")),
        (Kind::Mediawiki, "a.xml", dump.as_bytes(), None),
        (Kind::Webdataset, "a.tar", &samples, None),
        (Kind::Table, "a.csv", table.as_bytes(), None),
        (Kind::Pages, "p.html", b"<p>x", None),
    ];
    for (kind, name, bytes, records) in forms {
        let first = file(dir.path(), &format!("first-{name}"), bytes);
        let second = file(dir.path(), name, bytes);
        let spec = SourceSpec {
            kind,
            files: vec![first, second],
            fields: Fields {
                text: strings(&["body"]),
                ..Fields::default()
            },
            records: records.map(str::to_string),
            ..SourceSpec::default()
        };
        let all = read(&spec);
        assert!(all.len() >= 2, "{name}: {all:?}");
        for (i, item) in all.iter().enumerate() {
            let rest: Vec<Item> = open_at(&spec, item.place()).unwrap().collect();
            assert!(rest == all[i..], "{name} from {i}: {rest:#?}");
        }
        let elsewhere = Place {
            path: PathBuf::from("elsewhere"),
            ..Place::default()
        };
        let found = open_at(&spec, &elsewhere).map(Iterator::count);
        assert!(!matches!(found, Ok(n) if n > 0), "{name}");
    }
}

//! Each form of source, whole and broken.

use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::config::{Fields, Kind, SourceConfig};
use crate::record::{BadRecord, Picture, Record};
use crate::testing::{folder, line_source, lines, png, shard, shard_source, source};
use crate::{Error, open};

type Read = (Vec<Record>, Vec<BadRecord>);

fn read(config: &SourceConfig, root: &std::path::Path) -> Read {
    let mut reader = open(config, root).expect("opens");
    let (mut records, mut bad) = (Vec::new(), Vec::new());
    while let Some(item) = reader.next() {
        match item {
            Ok(record) => records.push(record),
            Err(error) => bad.push(error),
        }
    }
    (records, bad)
}

#[test]
fn lines_with_broken_json_nuls_and_invalid_utf8_are_bad_and_the_rest_is_read() {
    let mut bytes = b"\xef\xbb\xbf".to_vec();
    bytes.extend(lines(2).as_bytes());
    bytes.extend(
        b"{\"text\": \n\n{\"text\": \"a\0b\"}\n{\"text\": \"\xff\xfe\"}\r\n[1]\n{\"text\": \"",
    );
    bytes.extend("好\"}".as_bytes());
    let dir = folder(&[("a.jsonl", &bytes)]);
    let (records, bad) = read(&line_source("s", "a.jsonl"), dir.path());
    assert_eq!(records.len(), 3);
    assert_eq!(records[2].id, "a:8");
    let reasons: Vec<&str> = bad.iter().map(|bad| bad.reason).collect();
    assert_eq!(reasons, ["json", "json", "utf8", "json"]);
    assert!(bad[2].where_.ends_with("a.jsonl:6"), "{}", bad[2].where_);
    assert_eq!(bad[2].bytes, b"{\"text\": \"\xff\xfe\"}");
}

#[test]
fn a_truncated_tar_gives_its_whole_members_and_one_bad_record() {
    let tar = shard(6);
    let (_, whole) = (0, read_tar(&tar).0.len());
    assert_eq!(whole, 6);
    let (records, bad) = read_tar(&tar[..tar.len() / 2]);
    assert!(records.len() < 6 && !records.is_empty());
    assert_eq!(bad.len(), 1);
    assert_eq!(bad[0].reason, "tar");
}

fn read_tar(tar: &[u8]) -> Read {
    let dir = folder(&[("a.tar", tar)]);
    read(&shard_source("s", "*.tar"), dir.path())
}

#[test]
fn a_shard_pairs_members_by_name_whatever_their_order() {
    let tar = crate::tarball::tests::build(&[
        ("x/2.json", br#"{"captions": ["b"]}"#),
        ("x/1.txt", "甲\n\n乙\n".as_bytes()),
        ("x/1.0.jpg", b"1"),
        ("x/1.1.JPG", b"22"),
        ("x/2.png", b"333"),
        ("x/3.png", b"alone"),
        ("x/1.cls", b"7"),
    ]);
    let dir = folder(&[("a.tar", &tar)]);
    let config = shard_source("s", "a.tar");
    let mut reader = open(&config, dir.path()).expect("opens");
    let records: Vec<Record> = std::iter::from_fn(|| reader.next())
        .map(|item| item.unwrap_or_else(|bad| panic!("{bad:?}")))
        .collect();
    assert_eq!(records.len(), 2);
    assert_eq!(
        (records[0].id.as_str(), records[0].images[0].bytes()),
        ("x/2", &b"333"[..])
    );
    assert_eq!(records[1].captions, ["甲", "乙"]);
    assert_eq!(records[1].images.len(), 2);
    assert_eq!(reader.skipped()["picture_without_text"], 1);
}

#[test]
fn lines_name_the_pictures_of_a_tar_and_what_is_named_by_none_is_counted() {
    let tar = crate::tarball::tests::build(&[("a.jpg", b"A"), ("d/b.jpg", b"B"), ("c.jpg", b"C")]);
    let side = r#"{"title": "两张", "images": [{"file": "a.jpg"}, {"file": "b.jpg"}]}
{"title": "没有", "images": [{"file": "z.jpg"}]}"#;
    let dir = folder(&[("p.tar", &tar), ("docs.jsonl", side.as_bytes())]);
    let config = SourceConfig {
        side: Some("docs.jsonl".to_string()),
        captions: Fields::from(["title"]),
        image: Fields::from(["images.file"]),
        ..source("s", Kind::Webdataset, "p.tar")
    };
    let mut reader = open(&config, dir.path()).expect("opens");
    let first = reader
        .next()
        .expect("one")
        .unwrap_or_else(|bad| panic!("{bad:?}"));
    let bytes: Vec<&[u8]> = first.images.iter().map(Picture::bytes).collect();
    assert_eq!(bytes, [b"A", b"B"]);
    let second = reader
        .next()
        .expect("two")
        .unwrap_or_else(|bad| panic!("{bad:?}"));
    assert!(matches!(&second.images[..], [Picture::Absent(name)] if name == "z.jpg"));
    assert!(reader.next().is_none());
    assert_eq!(reader.skipped()["picture_without_line"], 1);
}

#[test]
fn a_json_file_is_a_list_or_holds_one_and_a_broken_one_is_one_bad_record() {
    let dir = folder(&[
        ("1.json", br#"[{"text": "a"}, 5, {"text": "b"}]"#),
        ("2.json", br#"{"data": [{"text": "c"}]}"#),
        ("3.json", br#"{"text": "d"}"#),
        ("4.json", b"[{"),
    ]);
    let config = SourceConfig {
        text: Fields::from(["text"]),
        ..source("s", Kind::Json, "*.json")
    };
    let (records, bad) = read(&config, dir.path());
    let texts: Vec<&str> = records.iter().filter_map(|r| r.text.as_deref()).collect();
    assert_eq!(texts, ["a", "b", "c", "d"]);
    assert_eq!(bad.len(), 2);
}

#[test]
fn a_folder_takes_captions_beside_its_pictures_or_from_one_file() {
    let dir = folder(&[
        ("p/a.png", &png(2, 2, 1)),
        ("p/a.txt", "甲\n乙".as_bytes()),
        ("p/sub/b.png", &png(2, 2, 2)),
        (
            "list.tsv",
            "a.png#0\t一\na.png#1\t二\nnobody.png\t三\nbroken".as_bytes(),
        ),
    ]);
    let (records, _) = read(&source("s", Kind::Folder, "p"), dir.path());
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].captions, ["甲", "乙"]);
    assert!(records[1].captions.is_empty());
    let config = SourceConfig {
        side: Some("list.tsv".to_string()),
        ..source("s", Kind::Folder, "p")
    };
    let (records, bad) = read(&config, dir.path());
    assert_eq!(records[0].captions, ["一", "二"]);
    assert_eq!(bad.len(), 1);
}

#[test]
fn a_picture_named_outside_its_folder_is_absent() {
    let dir = folder(&[
        ("secret.png", &png(2, 2, 1)),
        ("in/a.jsonl", br#"{"text": "a", "image": "../secret.png"}"#),
    ]);
    let config = SourceConfig {
        text: Fields::from(["text"]),
        image: Fields::from(["image"]),
        ..source("s", Kind::Jsonl, "in/a.jsonl")
    };
    let (records, _) = read(&config, dir.path());
    assert!(matches!(records[0].images[0], Picture::Absent(_)));
}

/// A Parquet file of two text columns and a column of bytes.
fn parquet_file() -> Vec<u8> {
    let schema = "message m { required binary id (UTF8); required binary caption (UTF8);
        required group image { required binary bytes; } }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).expect("a writer");
    let mut group = writer.next_row_group().expect("a group");
    let columns: [[&[u8]; 2]; 3] = [
        [b"x1", b"x2"],
        ["红花".as_bytes(), "黄狗".as_bytes()],
        [b"\x89PNG1", b"\x89PNG2"],
    ];
    for column in columns {
        let mut next = group.next_column().expect("reads").expect("a column");
        let values: Vec<ByteArray> = column.iter().map(|v| ByteArray::from(v.to_vec())).collect();
        next.typed::<ByteArrayType>()
            .write_batch(&values, None, None)
            .expect("writes");
        next.close().expect("closes");
    }
    group.close().expect("closes");
    writer.into_inner().expect("finishes")
}

fn parquet_source() -> SourceConfig {
    SourceConfig {
        id: Some("id".to_string()),
        captions: Fields::from(["caption"]),
        image: Fields::from(["image"]),
        ..source("s", Kind::Parquet, "a.parquet")
    }
}

#[test]
fn parquet_rows_give_texts_and_the_bytes_of_pictures() {
    let dir = folder(&[("a.parquet", &parquet_file())]);
    let (records, bad) = read(&parquet_source(), dir.path());
    assert!(bad.is_empty());
    assert_eq!(records[1].id, "x2");
    assert_eq!(records[1].captions, ["黄狗"]);
    assert_eq!(records[1].images[0].bytes(), b"\x89PNG2");
}

#[test]
fn a_parquet_without_the_named_column_is_an_error_that_lists_the_columns() {
    let dir = folder(&[("a.parquet", &parquet_file())]);
    let config = SourceConfig {
        captions: Fields::from(["captions"]),
        ..parquet_source()
    };
    let error = open(&config, dir.path()).err().expect("an error");
    assert!(matches!(error, Error::Column { .. }));
    let text = error.to_string();
    assert!(
        text.contains("did you mean `caption`") && text.contains("id, caption, image"),
        "{text}"
    );
}

#[test]
fn a_damaged_parquet_is_an_error_or_bad_records_and_never_a_panic() {
    let whole = parquet_file();
    for seed in 0..60 {
        let mut bytes = whole.clone();
        let mut stream = m6_store::rng::Key::new(seed).stream();
        let at = stream.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 + stream.below(255) as u8;
        let dir = folder(&[("a.parquet", &bytes)]);
        if let Ok(mut reader) = open(&parquet_source(), dir.path()) {
            let n = std::iter::from_fn(|| reader.next()).take(100).count();
            assert!(n < 100);
        }
    }
}

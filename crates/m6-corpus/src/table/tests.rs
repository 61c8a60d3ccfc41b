//! Tables written and read back, whole and damaged.

use std::path::Path;

use proptest::prelude::*;

use super::*;

fn columns() -> Vec<Column> {
    vec![
        Column::new("id", Kind::Text),
        Column::long("text"),
        Column::new("score", Kind::Float),
        Column::new("n", Kind::Int),
        Column::new("kept", Kind::Bool),
    ]
}

fn write(rows: &[Vec<Cell<'_>>]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), Path::new("t"), &columns()).expect("starts");
    for row in rows {
        writer.push(row).expect("fits");
    }
    writer.finish().expect("ends")
}

fn on_disk(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("t.parquet");
    m6_store::atomic::write_file(&path, bytes).expect("written");
    (dir, path)
}

#[test]
fn cells_come_back_as_they_were_absent_ones_too() {
    let rows = vec![
        vec![
            Cell::Text("甲"),
            Cell::Text("正文\n二行"),
            Cell::Float(0.5),
            Cell::Int(-3),
            Cell::Bool(true),
        ],
        vec![Cell::Null; 5],
        vec![
            Cell::Text(""),
            Cell::Text("x"),
            Cell::Float(f64::INFINITY),
            Cell::Int(i64::MAX),
            Cell::Bool(false),
        ],
    ];
    let (_dir, path) = on_disk(&write(&rows));
    let mut reader = Reader::open_all(&path).expect("opens");
    assert_eq!(reader.n_rows(), 3);
    let batch = reader.next_batch().expect("reads").expect("one group");
    assert!(reader.next_batch().expect("reads").is_none());
    assert_eq!(batch.n_rows(), 3);
    assert_eq!(batch.text(0, 0), "甲");
    assert_eq!(batch.text(1, 0), "正文\n二行");
    assert_eq!(batch.text_or_none(0, 1), None);
    assert_eq!(batch.text_or_none(0, 2), Some(""));
    assert_eq!(batch.float(2, 0), Some(0.5));
    assert_eq!(batch.float(2, 1), None);
    assert_eq!(batch.number(2, 2), Some(f64::INFINITY));
    assert_eq!((batch.int(3, 0), batch.int(3, 1)), (-3, 0));
    assert_eq!(batch.number(3, 2), Some(i64::MAX as f64));
    assert!(batch.flag(4, 0) && !batch.flag(4, 1) && !batch.flag(9, 9));
    assert_eq!(batch.text(2, 0), "", "a number is no text");
}

#[test]
fn columns_are_read_in_the_order_asked_for() {
    let row = vec![
        Cell::Text("a"),
        Cell::Text("b"),
        Cell::Float(1.0),
        Cell::Int(2),
        Cell::Null,
    ];
    let (_dir, path) = on_disk(&write(&[row]));
    let mut reader = Reader::open(&path, &[("n", Kind::Int), ("id", Kind::Text)]).expect("opens");
    let batch = reader.next_batch().expect("reads").expect("one group");
    assert_eq!((batch.int(0, 0), batch.text(1, 0)), (2, "a"));
    for wrong in [("m", Kind::Int), ("n", Kind::Text)] {
        let Err(error) = Reader::open(&path, &[wrong]) else {
            panic!("{wrong:?} is not there");
        };
        assert!(error.to_string().contains(wrong.0), "{error}");
    }
}

#[test]
fn many_rows_make_several_groups() {
    let mut writer = Writer::new(
        Vec::new(),
        Path::new("t"),
        &[Column::new("n", Kind::Int), Column::long("text")],
    )
    .expect("starts");
    let long = "长".repeat(1 << 18);
    for n in 0..40 {
        writer
            .push(&[Cell::Int(n), Cell::Text(&long)])
            .expect("fits");
    }
    assert_eq!(writer.n_rows(), 40);
    let (_dir, path) = on_disk(&writer.finish().expect("ends"));
    let mut reader = Reader::open(&path, &[("n", Kind::Int)]).expect("opens");
    let (mut n_groups, mut seen) = (0, Vec::new());
    while let Some(batch) = reader.next_batch().expect("reads") {
        n_groups += 1;
        seen.extend((0..batch.n_rows()).map(|row| batch.int(0, row)));
    }
    assert!(n_groups > 2, "{n_groups}");
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_row_that_does_not_fit_is_refused() {
    let mut writer = Writer::new(Vec::new(), Path::new("t"), &columns()).expect("starts");
    assert!(writer.push(&[Cell::Int(1)]).is_err());
    let wrong = [Cell::Int(1), Cell::Null, Cell::Null, Cell::Null, Cell::Null];
    let text = writer.push(&wrong).expect_err("an int in a text column");
    assert!(text.to_string().contains("id text"), "{text}");
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let row = vec![
        Cell::Text("a"),
        Cell::Text("b"),
        Cell::Float(1.0),
        Cell::Int(2),
        Cell::Null,
    ];
    assert_eq!(
        write(std::slice::from_ref(&row)),
        write(std::slice::from_ref(&row))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn damage_is_an_error_and_never_a_panic(at in 0usize..2000, byte: u8, cut in 0usize..2000) {
        let rows: Vec<Vec<Cell<'_>>> = (0..50)
            .map(|n| vec![Cell::Text("甲"), Cell::Text("文"), Cell::Float(0.5), Cell::Int(n), Cell::Bool(true)])
            .collect();
        let mut bytes = write(&rows);
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut % 64));
        let (_dir, path) = on_disk(&bytes);
        if let Ok(mut reader) = Reader::open_all(&path) {
            while let Ok(Some(_)) = reader.next_batch() {}
        }
    }
}

//! The stable interface of the single steps of `m6 corpus`: keys and lines that scripts rely on.

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use support::{failed_with, keys, last_json, run, stdout_of};

/// An archive of 60 pages of the sample world, some of them broken, drawn once.
fn archive() -> &'static Path {
    static WORLD: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = WORLD.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("web");
        let args = [
            "corpus", "world", "--pages", "60", "--seed", "1", "--json", "--out",
        ];
        let made = run(&[&args[..], &[out.to_str().expect("UTF-8")]].concat());
        let expected = ["n_bytes", "n_files", "n_keep", "n_pages", "n_pictures"];
        assert_eq!(keys(&last_json(&made)), expected);
        (folder, out.join("world-00000.warc.gz"))
    });
    path
}

fn lines(args: &[&str]) -> Vec<Value> {
    let text = stdout_of(&run(args));
    let parse = |line: &str| serde_json::from_str(line).expect("a line of JSON");
    text.lines().map(parse).collect()
}

#[test]
fn read_gives_a_line_for_every_record_and_for_every_damage() {
    let file = archive().to_str().expect("UTF-8");
    let mut all = lines(&["corpus", "read", file, "--json"]);
    let last = all.pop().expect("a last line");
    assert_eq!(keys(&last), ["bytes", "errors", "records"]);
    let (damaged, records): (Vec<&Value>, Vec<&Value>) =
        all.iter().partition(|line| line.get("error").is_some());
    assert_eq!(last["records"], records.len());
    assert_eq!(last["errors"], damaged.len());
    assert!(damaged.len() >= 2 && records.len() > 100);
    for line in damaged {
        assert_eq!(keys(line), ["error", "offset"]);
    }
    for line in records {
        assert_eq!(keys(line), ["bytes", "mime", "offset", "type", "url"]);
    }
    assert!(all.is_sorted_by_key(|line| line["offset"].as_u64()));
}

#[test]
fn extract_gives_a_line_for_every_page_and_for_every_refusal() {
    let file = archive().to_str().expect("UTF-8");
    let all = lines(&["corpus", "extract", "--batch", file, "--json", "-q"]);
    let (refused, pages): (Vec<&Value>, Vec<&Value>) =
        all.iter().partition(|line| line.get("error").is_some());
    assert!(refused.len() >= 2 && pages.len() > 40);
    for line in refused {
        assert_eq!(keys(line), ["error", "source"]);
    }
    let (mut n_images, mut n_blocks) = (0, 0);
    for page in pages {
        let expected = [
            "blocks", "charset", "images", "lang", "source", "text", "title", "url",
        ];
        assert_eq!(keys(page), expected);
        for image in page["images"].as_array().expect("a list") {
            assert_eq!(keys(image), ["alt", "caption", "caption_role", "src"]);
            n_images += 1;
        }
        n_blocks += page["blocks"].as_array().expect("a list").len();
    }
    assert!(n_images > 20 && n_blocks > 100);
}

#[test]
fn one_page_is_shown_from_a_file_and_one_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.html");
    let text = "春天来了，河边的柳树发了芽，孩子们在草地上放风筝，老人坐在长椅上晒太阳。".repeat(3);
    let html = format!("<meta charset=gbk><title>春天</title><article><p>{text}</p></article>");
    let (bytes, _, _) = encoding_rs::GBK.encode(&html);
    m6_store::atomic::write_file(&page, &bytes).expect("written");
    let path = page.to_str().expect("UTF-8");
    let got = last_json(&run(&["corpus", "extract", path, "--json"]));
    assert_eq!(
        (&got["charset"], &got["text"]),
        (&"gbk".into(), &text.into())
    );
    let missing = failed_with(
        &run(&["corpus", "extract", "no/such/page.html", "--json"]),
        2,
    );
    assert!(missing.contains("no/such/page.html"), "{missing}");
}

#[test]
fn dedup_gives_a_line_for_every_document_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("d.jsonl");
    let text = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。";
    let rows = format!(
        "{{\"id\":\"a\",\"text\":\"{text}\"}}\n{{\"id\":\"b\",\"text\":\"白日依山尽，黄河入海流。欲穷千里目，更上一层楼。\"}}\n{{\"id\":\"c\",\"text\":\"{text}！\"}}\n"
    );
    m6_store::atomic::write_file(&file, rows.as_bytes()).expect("written");
    let path = file.to_str().expect("UTF-8");
    let fields = [
        "--text-field",
        "text",
        "--id-field",
        "id",
        "--threshold",
        "0.8",
        "--json",
        "-q",
    ];
    let got = lines(&[&["corpus", "dedup", "--input", path], &fields[..]].concat());
    let ids: Vec<&str> = got.iter().filter_map(|line| line["id"].as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    for line in &got {
        assert_eq!(keys(line), ["cluster", "id", "jaccard", "kept"]);
    }
    assert_eq!(got[0]["cluster"], got[2]["cluster"]);
    assert_ne!(got[0]["cluster"], got[1]["cluster"]);
    let kept = got.iter().filter(|line| line["kept"] == true).count();
    assert_eq!(kept, 2);
}

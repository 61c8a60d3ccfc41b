//! Archives whole and broken, read by the public interface.
#![allow(clippy::print_stderr)]

use std::io::{Cursor, Read, Write};
use std::path::PathBuf;

use super::*;

mod damage;

fn raw(url: &str, body: &str) -> Vec<u8> {
    let block = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{body}");
    format!(
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\n\
         Content-Type: application/http; msgtype=response\r\nContent-Length: {}\r\n\r\n{block}\r\n\r\n",
        block.len()
    )
    .into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd_frame(bytes: &[u8]) -> Vec<u8> {
    ::zstd::stream::encode_all(bytes, 3).unwrap()
}

/// Three records, each as long as it is likely to be in a crawl.
fn three() -> [Vec<u8>; 3] {
    let text = |seed: u64, n: usize| -> String {
        let mut stream = m6_store::rng::Key::new(seed).stream();
        (0..n)
            .map(|_| char::from(b'a' + stream.below(20) as u8))
            .collect()
    };
    [
        raw("http://a/", &text(1, 300)),
        raw("http://b/", &text(2, 40_000)),
        raw("http://c/", &text(3, 5)),
    ]
}

/// Gives a few bytes at a time, as a slow disk or a pipe may.
struct Drip {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Drip {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let rest = &self.bytes[self.at..];
        let n = rest.len().min(out.len()).min(1 + self.at % 37);
        out[..n].copy_from_slice(&rest[..n]);
        self.at += n;
        Ok(n)
    }
}

/// The items of an archive, which must not depend on how much of it is read at once.
fn items(bytes: &[u8]) -> Vec<Item> {
    let read = |input: Box<dyn Read + Send>| -> Vec<Item> {
        let reader = Reader::from_read(input, Limits::default());
        reader.map(|item| item.expect("memory reads")).collect()
    };
    let bytes = bytes.to_vec();
    let items = read(Box::new(Cursor::new(bytes.clone())));
    assert_eq!(items, read(Box::new(Drip { bytes, at: 0 })));
    items
}

/// One word or two an item: the address and `!` with why a record is cut, or `@offset` for damage.
fn sketch(items: &[Item]) -> Vec<String> {
    let one = |item: &Item| match item {
        Item::Damage(damage) => format!("@{}", damage.offset),
        Item::Record(record) => {
            let url = record.url.as_deref().unwrap_or("-");
            match record.truncated {
                Some(why) => format!("{url}!{}", why.name()),
                None => url.to_string(),
            }
        }
    };
    items.iter().map(one).collect()
}

fn check(name: &str, bytes: &[u8], expected: &[&str]) {
    let items = items(bytes);
    assert_eq!(sketch(&items), expected, "{name}: {items:?}");
}

#[test]
fn every_packing_gives_the_same_records() {
    let [a, b, c] = three();
    let all = [a.clone(), b.clone(), c.clone()].concat();
    let payloads = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let payload = |item| match item {
            Item::Record(record) => record.payload,
            Item::Damage(damage) => panic!("{damage:?}"),
        };
        items(bytes).into_iter().map(payload).collect()
    };
    let expected = payloads(&all);
    assert_eq!(expected.len(), 3);
    assert_eq!(expected[1].len(), 40_000);
    for (name, bytes) in [
        ("gzip", [gzip(&a), gzip(&b), gzip(&c)].concat()),
        ("one member", gzip(&all)),
        (
            "cut over members",
            [gzip(&all[..700]), gzip(&all[700..])].concat(),
        ),
        (
            "padding",
            [gzip(&a), vec![0; 600], gzip(&all[a.len()..])].concat(),
        ),
        (
            "zstd",
            [zstd_frame(&a), zstd_frame(&b), zstd_frame(&c)].concat(),
        ),
        ("one frame", zstd_frame(&all)),
        ("skipped frame", {
            let skip = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
            [skip, zstd_frame(&all)].concat()
        }),
        ("mixed", [gzip(&a), zstd_frame(&b), c.clone()].concat()),
    ] {
        assert!(payloads(&bytes) == expected, "{name}");
    }
}

/// Frames that need a dictionary, and the frame with the dictionary before them.
fn with_dictionary(is_packed: bool) -> (Vec<u8>, u64) {
    let shared = raw("http://shared/", "words that all of the records share");
    let dictionary = [b"shared: ".to_vec(), shared].concat();
    let frame = |record: &[u8]| {
        let mut encoder =
            ::zstd::stream::write::Encoder::with_dictionary(Vec::new(), 3, &dictionary).unwrap();
        encoder.write_all(record).unwrap();
        encoder.finish().unwrap()
    };
    let content = match is_packed {
        true => zstd_frame(&dictionary),
        false => dictionary.clone(),
    };
    let mut bytes = vec![0x5d, 0x2a, 0x4d, 0x18];
    bytes.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(&content);
    bytes.extend_from_slice(&frame(&raw("http://one/", "words that all share")));
    let second = bytes.len() as u64;
    bytes.extend_from_slice(&frame(&raw("http://two/", "records share")));
    (bytes, second)
}

#[test]
fn zstd_dictionaries_are_used_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    for is_packed in [false, true] {
        let (bytes, second) = with_dictionary(is_packed);
        check("dictionary", &bytes, &["http://one/", "http://two/"]);
        let path = folder.path().join("a.warc.zst");
        m6_store::atomic::write_file(&path, &bytes).unwrap();
        let reader = Reader::at(&path, second, Limits::default()).unwrap();
        let found: Vec<Item> = reader.map(Result::unwrap).collect();
        assert_eq!(sketch(&found), ["http://two/"]);
        let limits = Limits {
            dictionary: 10,
            ..Limits::default()
        };
        let reader = Reader::open(&path, limits).unwrap();
        let found: Vec<Item> = reader.map(Result::unwrap).collect();
        assert!(
            found.iter().all(|item| matches!(item, Item::Damage(_))),
            "{found:?}"
        );
    }
}

#[test]
fn other_files_are_refused_with_a_reason() {
    for (bytes, part) in [
        (&b"\x04\x22\x4d\x18rest"[..], "LZ4"),
        (b"PK\x03\x04rest", "ZIP"),
        (b"BZh91AY", "bzip2"),
        (b"<!DOCTYPE html><p>", "<!DOCTYPE"),
    ] {
        match &items(bytes)[..] {
            [Item::Damage(damage)] => assert!(damage.reason.contains(part), "{damage:?}"),
            found => panic!("{found:?}"),
        }
    }
    assert!(items(b"").is_empty());
    assert!(items(b"\r\n\r\n\0\0").is_empty());
}

#[test]
fn long_payloads_are_cut_at_the_limit_and_the_next_record_found() {
    let [a, b, c] = three();
    for bytes in [
        [a.clone(), b.clone(), c.clone()].concat(),
        [gzip(&a), gzip(&b), gzip(&c)].concat(),
        zstd_frame(&[a, b, c].concat()),
    ] {
        for (payload, expected) in [
            (39_999, "http://b/!payload_limit"),
            (40_000, "http://b/"),
            (40_001, "http://b/"),
        ] {
            let limits = Limits {
                payload,
                ..Limits::default()
            };
            let found: Vec<Item> = Reader::from_read(Cursor::new(bytes.clone()), limits)
                .map(Result::unwrap)
                .collect();
            assert_eq!(sketch(&found), ["http://a/", expected, "http://c/"]);
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=gbk\r\n\r\n";
    let block = [head.as_bytes(), b"<p>"].concat();
    for compression in [Compression::None, Compression::Gzip] {
        let mut writer = Writer::new(Vec::new(), compression);
        let mut offsets = Vec::new();
        for url in ["http://a/", "http://b/\r\nEvil: 1"] {
            let record = NewRecord {
                kind: Kind::Response,
                url: Some(url),
                date: "2021-03-01T00:00:00Z",
                content_type: "application/http; msgtype=response",
                fields: &[("WARC-IP-Address", "192.0.2.1")],
                block: &block,
            };
            offsets.push(writer.write(&record).unwrap());
        }
        let found = items(&writer.finish().unwrap());
        assert_eq!(sketch(&found), ["http://a/", "http://b/  Evil: 1"]);
        let mut ids = Vec::new();
        for (item, offset) in found.iter().zip(offsets) {
            let Item::Record(record) = item else {
                panic!("{item:?}")
            };
            assert_eq!(record.place, Place::from(offset));
            assert_eq!(record.payload, b"<p>");
            assert_eq!(record.mime.as_deref(), Some("text/html"));
            assert_eq!(record.http.as_ref().unwrap().charset(), Some("gbk"));
            assert_eq!(record.headers.get("WARC-IP-Address"), Some("192.0.2.1"));
            ids.push(record.headers.get("WARC-Record-ID").unwrap().to_string());
        }
        assert!(ids[0] != ids[1] && ids[0].len() == 47, "{ids:?}");
    }
}

/// The folder of real archives, if it is here.
fn shared() -> Option<PathBuf> {
    let root = std::env::var_os("M6_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let folder = root.join("data/warc");
    if !folder.is_dir() {
        eprintln!("skipped: {} is absent (set M6_SHARED)", folder.display());
        return None;
    }
    Some(folder)
}

/// File, records, damage rows.
const REAL: [(&str, usize, usize); 26] = [
    // Made by hand: no record has the length it says.
    ("cc_net__sample.warc.txt", 4, 4),
    ("dolma__sample-0000.warc.gz", 48, 0),
    ("jwarc__cc.warc.gz", 1, 0),
    ("jwarc__gzip_extra_sl.warc.gz", 1, 0),
    // Of its four records three have no length that is one.
    ("warcio__bad.arc", 1, 3),
    ("warcio__example-bad-non-chunked.warc.gz", 6, 0),
    ("warcio__example-bad.warc.gz.bad", 6, 0),
    ("warcio__example-digest.warc", 4, 0),
    ("warcio__example-iana.org-chunked.warc", 3, 0),
    ("warcio__example-resource.warc.gz", 3, 0),
    ("warcio__example-space-in-target-uri.warc.gz", 2, 0),
    // 13 carriage returns were lost: the last record is that much too short.
    ("warcio__example-space-in-url.arc", 2, 1),
    // The length of one record is 2 bytes too small.
    ("warcio__example-trunc.warc", 4, 1),
    ("warcio__example-wget-bad-target-uri.warc.gz", 6, 0),
    ("warcio__example-wrong-chunks.warc.gz", 2, 0),
    ("warcio__example.arc", 2, 0),
    ("warcio__example.arc.gz", 2, 0),
    ("warcio__example.warc", 6, 0),
    ("warcio__example.warc.gz", 6, 0),
    ("warcio__post-test.warc.gz", 6, 0),
    ("whirlwind-python__whirlwind.warc", 4, 0),
    ("whirlwind-python__whirlwind.warc.gz", 4, 0),
    ("whirlwind-python__whirlwind.warc.wat", 2, 0),
    ("whirlwind-python__whirlwind.warc.wat.gz", 2, 0),
    ("whirlwind-python__whirlwind.warc.wet", 2, 0),
    ("whirlwind-python__whirlwind.warc.wet.gz", 2, 0),
];

#[test]
fn real_archives_are_read_and_resumed_at_every_record() {
    let Some(folder) = shared() else { return };
    for (name, n_records, n_damages) in REAL {
        let path = folder.join(name);
        let mut reader = Reader::open(&path, Limits::default()).unwrap();
        let mut all = Vec::new();
        let mut next_places = Vec::new();
        while let Some(item) = reader.next() {
            all.push(item.unwrap());
            next_places.push(reader.place());
        }
        let is_record = |item: &&Item| matches!(item, Item::Record(_));
        let n_found = all.iter().filter(is_record).count();
        let found = (n_found, all.len() - n_found);
        assert_eq!(found, (n_records, n_damages), "{name}: {:?}", sketch(&all));
        for (i, item) in all.iter().enumerate() {
            let Item::Record(record) = item else { continue };
            let mut again = Reader::at(&path, record.place, Limits::default()).unwrap();
            assert_eq!(again.next().unwrap().unwrap(), *item, "{name} {i}");
            if !matches!(all.get(i + 1), Some(Item::Damage(_))) {
                let mut next = Reader::at(&path, next_places[i], Limits::default()).unwrap();
                let next = next.next().map(Result::unwrap);
                assert_eq!(next.as_ref(), all.get(i + 1), "{name} after {i}");
            }
            if let Err(error) = record.body(10_000_000) {
                panic!("{name} {i}: {error}");
            }
        }
    }
}

#[test]
fn bodies_of_real_records_are_pages() {
    let Some(folder) = shared() else { return };
    for (name, url) in [
        ("warcio__example.warc.gz", "http://example.com/"),
        (
            "warcio__example-iana.org-chunked.warc",
            "http://www.iana.org/",
        ),
        (
            "warcio__example-wrong-chunks.warc.gz",
            "http://example.com/",
        ),
        ("warcio__example.arc.gz", "http://example.com/"),
    ] {
        let reader = Reader::open(&folder.join(name), Limits::default()).unwrap();
        let page = reader.map(Result::unwrap).find_map(|item| match item {
            Item::Record(record) if record.kind == Kind::Response => Some(record),
            _ => None,
        });
        let record = page.unwrap();
        assert_eq!(record.url.as_deref(), Some(url), "{name}");
        assert_eq!(record.mime.as_deref(), Some("text/html"), "{name}");
        let body = record.body(1 << 20).unwrap();
        let text = String::from_utf8_lossy(&body.bytes);
        assert_eq!(body.problem, None, "{name}");
        assert!(text.trim_end().ends_with("</html>"), "{name}: {text}");
        assert!(
            text.trim_start().starts_with("<!doctype html>"),
            "{name}: {text}"
        );
    }
}

#[test]
fn the_assembled_crawl_is_read_to_its_end() {
    let Some(folder) = shared() else { return };
    let path = folder.join("assembled-zh.warc.gz");
    let (mut n_pages, mut n_bytes) = (0, 0);
    for item in Reader::open(&path, Limits::default()).unwrap() {
        let Item::Record(record) = item.unwrap() else {
            panic!("damage in a sound file")
        };
        assert_eq!(record.truncated, None);
        n_pages += usize::from(record.kind == Kind::Response);
        n_bytes += record.body(50_000_000).unwrap().bytes.len();
    }
    assert!(n_pages > 10 && n_bytes > 3_864_976, "{n_pages} {n_bytes}");
}

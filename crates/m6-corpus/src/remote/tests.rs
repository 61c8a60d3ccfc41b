//! Transfers, against a store in memory and against a server that counts and refuses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use super::cache::Entry;
use super::{Address, Client, Object, PIECE};
use crate::Error;

fn memory() -> Client {
    Client::in_memory("b")
}

/// Bytes that differ from place to place.
fn noise(n: usize) -> Vec<u8> {
    let mut stream = m6_store::rng::Key::new(n as u64).child("noise").stream();
    (0..n).map(|_| stream.below(256) as u8).collect()
}

fn at(address: &str) -> Address {
    Address::parse(std::path::Path::new(address)).expect("an address")
}

#[test]
fn a_file_of_several_parts_comes_back_the_same_with_its_hash() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("big");
    let client = memory();
    for n in [0, 10, PIECE as usize, 2 * PIECE as usize + 5] {
        let bytes = noise(n);
        m6_store::atomic::write_file(&path, &bytes).expect("written");
        let hash = m6_store::hash::hash_bytes(&bytes);
        client
            .put_file("x/语料.bin", &path, &hash)
            .expect("uploads");
        let known = client.hash_of("x/语料.bin").expect("asks");
        assert_eq!(known, Some((n as u64, hash)));
        let object = client.head("x/语料.bin").expect("asks").expect("there");
        let read = client.read(&object.key, Some(&object.etag), 0..object.size);
        assert!(read.expect("reads") == bytes, "{n} bytes");
    }
    assert_eq!(client.hash_of("x/none").expect("asks"), None);
    client.put("x/plain", b"1".to_vec()).expect("writes");
    assert_eq!(client.hash_of("x/plain").expect("asks"), None);
    client.delete("x/plain").expect("removes");
    client.delete("x/plain").expect("nothing to remove");
    assert_eq!(client.get("x/plain").expect("asks"), None);
}

#[test]
fn a_download_goes_on_where_it_ended_and_a_changed_object_is_another() {
    let dir = tempfile::tempdir().expect("a folder");
    let client = memory();
    let stop = AtomicBool::new(false);
    let bytes = noise(3 * PIECE as usize + 7);
    client.put("in/a.bin", bytes.clone()).expect("writes");
    let entry = Entry::find(&client, &at("s3://b/in/a.bin")).expect("asks");
    let entry = entry.expect("there");
    // A killed download left the first pieces, the last of them torn. What is sound is not asked for again, so it is told apart here.
    let place = dir.path().join(entry.id()).join("a.bin");
    m6_store::atomic::create_dir(place.parent().expect("a parent")).expect("a folder");
    let mut part = bytes[..2 * PIECE as usize + 100].to_vec();
    part[0] ^= 1;
    part[PIECE as usize + 3] ^= 1;
    m6_store::atomic::write_file(&place, &part).expect("written");
    let brought = entry.bring(&client, dir.path(), &stop).expect("downloads");
    let mut expected = bytes.clone();
    expected[0] ^= 1;
    assert!(std::fs::read(&brought).expect("reads") == expected);

    // What is there is not asked for again, even when the store has lost it.
    client.delete("in/a.bin").expect("removes");
    let again = entry.bring(&client, dir.path(), &stop).expect("is there");
    assert_eq!(again, brought);

    client.put("in/a.bin", b"another".to_vec()).expect("writes");
    let changed = Entry::find(&client, &at("s3://b/in/a.bin"))
        .expect("asks")
        .expect("there");
    assert_ne!(changed.identity(), entry.identity());
    let other = changed
        .bring(&client, dir.path(), &stop)
        .expect("downloads");
    assert_eq!(std::fs::read(other).expect("reads"), b"another");
    // The old state cannot be had any more, and is not mixed with the new one.
    std::fs::remove_file(brought).expect("removed");
    let error = entry
        .bring(&client, dir.path(), &stop)
        .expect_err("changed");
    assert!(error.to_string().contains("changed"), "{error}");
}

#[test]
fn a_folder_of_objects_is_a_folder_here() {
    let dir = tempfile::tempdir().expect("a folder");
    let client = memory();
    for (key, text) in [
        ("in/p/1.html", "one"),
        ("in/p/sub/2.html", "two"),
        ("in/px", "no"),
    ] {
        client.put(key, text.as_bytes().to_vec()).expect("writes");
    }
    // What some tools put for a folder.
    client.put("in/p/sub", Vec::new()).expect("writes");
    let entry = Entry::find(&client, &at("s3://b/in/p"))
        .expect("asks")
        .expect("there");
    assert_eq!((entry.objects.len(), entry.size()), (2, 6));
    let place = entry
        .bring(&client, dir.path(), &AtomicBool::new(false))
        .expect("downloads");
    assert_eq!(place.file_name().expect("a name"), "p");
    assert_eq!(
        std::fs::read(place.join("sub/2.html")).expect("reads"),
        b"two"
    );
    let stopped = Entry::find(&client, &at("s3://b/in"))
        .expect("asks")
        .expect("there");
    let ended = stopped.bring(&client, dir.path(), &AtomicBool::new(true));
    assert!(matches!(ended, Err(Error::Interrupted)));
    assert_eq!(
        Entry::find(&client, &at("s3://b/none")).expect("asks"),
        None
    );
}

#[test]
fn names_that_lead_out_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let entry = Entry {
        address: at("s3://b/in"),
        objects: vec![Object {
            key: "in/../../x".to_string(),
            size: 1,
            etag: "e".to_string(),
        }],
    };
    let error = entry
        .bring(&memory(), dir.path(), &AtomicBool::new(false))
        .expect_err("refused");
    assert!(error.to_string().contains("leads out"), "{error}");
}

/// A server that gives the answers in turn, each to one request; the request lines that came.
fn server(answers: Vec<Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&asked);
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
            while reader.read_line(&mut head).is_ok_and(|n| n > 2) {}
            told.lock().expect("told").push(head);
            stream.write_all(&answer).expect("answers");
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = reader.read_to_end(&mut Vec::new());
        }
    });
    (address, asked)
}

fn real(endpoint: &str, allow_http: bool) -> Client {
    let store = object_store::aws::AmazonS3Builder::new()
        .with_bucket_name("b")
        .with_endpoint(endpoint)
        .with_region("us-east-1")
        .with_access_key_id("id")
        .with_secret_access_key("secret")
        .with_allow_http(allow_http)
        .with_http_connector(super::http::Connector)
        .build()
        .expect("settings");
    Client::over("b", Arc::new(store))
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let n = body.len();
    let mut out =
        format!("HTTP/1.1 {status}\r\ncontent-length: {n}\r\nconnection: close\r\n{headers}\r\n")
            .into_bytes();
    out.extend(body);
    out
}

#[test]
fn a_server_that_fails_once_is_asked_again_and_packed_bytes_stay_packed() {
    let body = b"\x1f\x8b not unpacked";
    let n = body.len();
    let headers = format!(
        "etag: \"e\"\r\nlast-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\ncontent-encoding: gzip\r\ncontent-range: bytes 0-{}/{n}\r\n",
        n - 1
    );
    let (endpoint, asked) = server(vec![
        answer("503 Slow Down", "", b"SlowDown"),
        answer("206 Partial Content", &headers, body),
    ]);
    let client = real(&endpoint, true);
    let read = client.read("k", Some("\"e\""), 0..n as u64);
    assert_eq!(read.expect("reads at the second attempt"), body);
    let asked = asked.lock().expect("asked");
    assert_eq!(asked.len(), 2);
    let head = asked[1].to_lowercase();
    assert!(
        head.starts_with("get /b/k ") && head.contains("if-match: \"e\""),
        "{head}"
    );
    assert!(
        head.contains("range: bytes=0-") && head.contains("authorization: aws4-hmac"),
        "{head}"
    );
}

#[test]
fn refusals_say_what_to_set() {
    let (endpoint, _) = server(vec![answer(
        "403 Forbidden",
        "",
        b"<Code>AccessDenied</Code>",
    )]);
    let error = real(&endpoint, true)
        .list("x")
        .expect_err("refused")
        .to_string();
    for part in [
        "s3://b/x",
        "cannot list",
        "AWS_ACCESS_KEY_ID",
        "AWS_ENDPOINT_URL",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // Plain HTTP is not spoken unless asked for: nothing is sent.
    let error = real("http://127.0.0.1:9", false)
        .get("x")
        .expect_err("refused")
        .to_string();
    assert!(error.contains("AWS_ALLOW_HTTP"), "{error}");
}

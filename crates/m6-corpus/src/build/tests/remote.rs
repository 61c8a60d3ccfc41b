//! Builds from and to an object store, against one in memory.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fixture::{build, input, out, put, text};
use crate::build::{Config, Options, Slice, Summary, finished, plan, run};
use crate::remote::{Address, Client, Stores};
use crate::{Error, Result};

fn address(text: &str) -> Address {
    Address::parse(Path::new(text)).expect("an address")
}

/// Puts every file below a folder into the store.
fn upload(client: &Client, folder: &Path, prefix: &str) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let key = format!("{prefix}/{name}");
        match path.is_dir() {
            true => upload(client, &path, &key),
            false => client
                .put(&key, std::fs::read(&path).expect("reads"))
                .expect("writes"),
        }
    }
}

/// The fixture's input in a store, and its configuration as a local and as a remote one.
fn remote_input() -> (tempfile::TempDir, Config, Config, Stores) {
    let (dir, local) = input();
    let stores = Stores::with(Client::in_memory("b"));
    upload(&stores.of("b").expect("there"), &local.root, "in");
    let remote = Config {
        root: "s3://b/in".into(),
        ..local.clone()
    };
    (dir, local, remote, stores)
}

fn to_store(
    config: &Config,
    scratch: &Path,
    stores: &Stores,
    slice: Option<&str>,
) -> Result<Summary> {
    let options = Options {
        mirror: Some(&address("s3://b/out")),
        stores,
        slice: slice.map(|slice| slice.parse::<Slice>().expect("a slice")),
        stop: &AtomicBool::new(false),
    };
    run(config, scratch, &options, &mut |_| {})
}

#[test]
fn remote_files_are_listed_and_counted_without_being_read() {
    let (_dir, local, remote, stores) = remote_input();
    let none = Stores::default();
    assert_eq!(
        plan(&remote, &stores).expect("listed"),
        plan(&local, &none).expect("there")
    );
    let mut missing = remote.clone();
    missing.sources[0].path = ["no-*.jsonl"].into();
    missing.sources[1].pictures_from = ["nothing"].into();
    let error = plan(&missing, &stores).expect_err("missing").to_string();
    assert!(
        error.contains("`rows`") && error.contains("s3://b/in/no-*.jsonl"),
        "{error}"
    );
    assert!(
        error.contains("`pages`") && error.contains("s3://b/in/nothing"),
        "{error}"
    );
}

#[test]
fn a_remote_build_makes_the_bytes_of_a_local_one() {
    let (dir, local, remote, stores) = remote_input();
    let expected = build(&local, &out(&dir, "local"));
    let scratch = out(&dir, "scratch");
    let made = to_store(&remote, &scratch, &stores, None).expect("builds");
    assert_eq!(made.digest, expected.digest);

    // The corpus lies in the store, whole.
    let client = stores.of("b").expect("there");
    let manifest = finished(&scratch).expect("finished");
    for file in &manifest.files {
        let known = client.hash_of(&format!("out/{}", file.name)).expect("asks");
        assert_eq!(
            known,
            Some((file.size, file.blake3.clone())),
            "{}",
            file.name
        );
    }
    for name in [
        "stats.json",
        "report.html",
        "prepare.toml",
        "README.md",
        "manifest.json",
    ] {
        let there = client
            .get(&format!("out/{name}"))
            .expect("asks")
            .expect("there");
        assert_eq!(
            there,
            std::fs::read(scratch.join(name)).expect("reads"),
            "{name}"
        );
    }

    // Another machine finds everything; a store that lost its manifest gets it again.
    client.delete("out/manifest.json").expect("removes");
    let again = to_store(&remote, &out(&dir, "other"), &stores, None).expect("builds");
    assert_eq!((again.made, &again.digest), (0, &expected.digest));
    assert!(client.head("out/manifest.json").expect("asks").is_some());
}

#[test]
fn slices_on_two_machines_share_one_output_and_nothing_is_made_twice() {
    let (dir, local, mut remote, stores) = remote_input();
    remote.shard_mb = 1;
    let expected = build(&local, &out(&dir, "local"));
    let first = to_store(&remote, &out(&dir, "a"), &stores, Some("0/2")).expect("builds");
    let second = to_store(&remote, &out(&dir, "b"), &stores, Some("1/2")).expect("builds");
    assert!(first.made > 0 && second.made > 0, "{first:?} {second:?}");
    let repeated = to_store(&remote, &out(&dir, "c"), &stores, Some("1/2")).expect("builds");
    assert_eq!((repeated.made, repeated.found), (0, second.made));
    let whole = to_store(&remote, &out(&dir, "d"), &stores, None).expect("builds");
    assert_eq!(whole.digest, expected.digest);
    assert_eq!(whole.found, first.made + second.made);
    // Of the inputs the last machine needed the pictures only: the texts were read elsewhere.
    let objects = std::fs::read_dir(out(&dir, "d").join("work/objects")).expect("a cache");
    let addresses: Vec<String> = objects
        .map(|entry| {
            let path = entry.expect("an entry").path().join("object.json");
            let done = std::fs::read(path).expect("a whole download");
            let done: serde_json::Value = serde_json::from_slice(&done).expect("JSON");
            done["address"].as_str().expect("an address").to_string()
        })
        .collect();
    assert_eq!(addresses, ["s3://b/in"]);
}

#[test]
fn large_objects_are_cut_as_files_are_and_lines_are_counted_once() {
    let (dir, mut local, mut remote, stores) = remote_input();
    let client = stores.of("b").expect("there");
    let mut lines = String::new();
    for n in 0..5000u64 {
        let row = serde_json::json!({"id": n.to_string(), "url": format!("http://c.cn/{n}"), "title": "又一个足够长的标题", "text": text(2000 + n, 8)});
        lines.push_str(&format!("{row}\n"));
    }
    put(&local.root.join("b.jsonl"), lines.as_bytes());
    client
        .put("in/b.jsonl", lines.into_bytes())
        .expect("writes");
    for config in [&mut local, &mut remote] {
        config.shard_mb = 1;
        config.sources[0].path = ["b.jsonl"].into();
    }
    let expected = build(&local, &out(&dir, "local"));
    assert!(expected.shards >= 4, "{}", expected.shards);
    let part = to_store(&remote, &out(&dir, "a"), &stores, Some("0/2")).expect("builds");
    let whole = to_store(&remote, &out(&dir, "b"), &stores, None).expect("builds");
    assert_eq!(
        (whole.shards, &whole.digest),
        (expected.shards, &expected.digest)
    );
    // Its cuts, and what the slice made.
    assert_eq!(whole.found, part.made);
    assert_eq!(
        client
            .list("out/work/cuts")
            .expect("lists")
            .iter()
            .filter(|object| object.key.ends_with("MANIFEST.json"))
            .count(),
        1
    );
}

#[test]
fn a_run_killed_between_commit_and_upload_is_made_good() {
    let (dir, local, _, stores) = remote_input();
    let scratch = out(&dir, "scratch");
    let made = build(&local, &scratch);
    let sent = to_store(&local, &scratch, &stores, None).expect("uploads");
    assert_eq!((sent.made, &sent.digest), (0, &made.digest));
    let client = stores.of("b").expect("there");
    assert!(client.head("out/manifest.json").expect("asks").is_some());

    // A manifest of a result without its files would be a lie; nothing is taken on trust.
    let listed = client.list("out/work/extract").expect("lists");
    let data = listed
        .iter()
        .find(|object| object.key.contains("docs.parquet"))
        .expect("a table");
    client
        .put(&data.key, vec![0; data.size as usize])
        .expect("damages");
    let error = to_store(&local, &out(&dir, "other"), &stores, None).expect_err("damaged");
    assert!(
        error.to_string().contains("MANIFEST.json beside it"),
        "{error}"
    );
}

#[test]
fn stopped_anywhere_it_goes_on_to_the_same_bytes() {
    let (dir, local, remote, stores) = remote_input();
    let expected = build(&local, &out(&dir, "local")).digest;
    let place = address("s3://b/out");
    for n_steps in [1, 5, 12, 20] {
        let (stop, mut n_seen) = (AtomicBool::new(false), 0);
        let options = Options {
            mirror: Some(&place),
            stores: &stores,
            slice: None,
            stop: &stop,
        };
        let mut watch = |_| {
            n_seen += 1;
            stop.store(n_seen >= n_steps, Ordering::Relaxed);
        };
        let ended = run(&remote, &out(&dir, "stopped"), &options, &mut watch);
        assert!(
            matches!(ended, Err(Error::Interrupted)),
            "{n_steps}: {ended:?}"
        );
        let client = stores.of("b").expect("there");
        assert_eq!(client.head("out/manifest.json").expect("asks"), None);
    }
    let rest = to_store(&remote, &out(&dir, "stopped"), &stores, None).expect("builds");
    assert_eq!(rest.digest, expected);
}

#[test]
fn a_place_with_something_else_in_it_is_refused_and_old_files_are_removed() {
    let (dir, local, _, stores) = remote_input();
    let client = stores.of("b").expect("there");
    client
        .put("out/thesis.tex", b"mine".to_vec())
        .expect("writes");
    let error = to_store(&local, &out(&dir, "scratch"), &stores, None).expect_err("refused");
    assert!(
        error.to_string().contains("something else than a corpus"),
        "{error}"
    );
    client.delete("out/thesis.tex").expect("removes");
    client.put("out/work/x", Vec::new()).expect("writes");
    client
        .put("out/text/old.jsonl", b"old".to_vec())
        .expect("writes");
    to_store(&local, &out(&dir, "scratch"), &stores, None).expect("builds");
    assert_eq!(client.head("out/text/old.jsonl").expect("asks"), None);
}

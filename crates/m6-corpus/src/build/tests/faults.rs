//! Builds that are stopped, disturbed, or given what they cannot follow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fixture::{build, build_with, input, out, put};
use crate::Error;
use crate::build::config::Paths;
use crate::build::{Options, finished, run};
use crate::remote::Stores;

#[test]
fn a_build_stopped_anywhere_goes_on_to_the_same_bytes() {
    let (dir, config) = input();
    let expected = build(&config, &out(&dir, "whole")).digest;
    for n_steps in [1, 4, 9, 15] {
        let stopped = out(&dir, &format!("stopped-{n_steps}"));
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let mut n_seen = 0;
        let mut watch = move |_| {
            n_seen += 1;
            seen.store(n_seen >= n_steps, Ordering::Relaxed);
        };
        let options = Options {
            mirror: None,
            stores: &Stores::default(),
            slice: None,
            stop: &stop,
        };
        let ended = run(&config, &stopped, &options, &mut watch);
        assert!(
            matches!(ended, Err(Error::Interrupted)),
            "after {n_steps}: {ended:?}"
        );
        assert!(finished(&stopped).is_none());
        let rest = build(&config, &stopped);
        assert_eq!(rest.digest, expected, "after {n_steps}");
    }
}

#[test]
fn a_removed_file_is_put_back_and_a_half_published_folder_is_no_corpus() {
    let (dir, config) = input();
    let out = out(&dir, "out");
    let first = build(&config, &out);
    let file = finished(&out).expect("finished").files[0].name.clone();
    std::fs::remove_file(out.join(&file)).expect("removed");
    assert!(finished(&out).is_none());
    let again = build(&config, &out);
    assert_eq!((again.made, &again.digest), (0, &first.digest));
    assert!(out.join(file).is_file());
    std::fs::remove_file(out.join("manifest.json")).expect("removed");
    assert!(finished(&out).is_none());
    assert_eq!(build(&config, &out).digest, first.digest);
}

#[test]
fn a_second_process_on_one_folder_is_refused() {
    let (dir, config) = input();
    let out = out(&dir, "out");
    m6_store::atomic::create_dir(&out).expect("a folder");
    let held = m6_store::lock::FolderLock::acquire(&out).expect("free");
    let refused = build_with(&config, &out, None, &mut |_| {});
    assert!(matches!(
        refused,
        Err(Error::Store(m6_store::Error::Locked { .. }))
    ));
    drop(held);
    build(&config, &out);
}

#[test]
fn missing_files_are_named_before_any_work() {
    let (dir, mut config) = input();
    config.sources[0].path = Paths::from(["none.jsonl"]);
    config.sources[1].path = Paths::from(["nowhere/*.html"]);
    let out = out(&dir, "out");
    let error = build_with(&config, &out, None, &mut |_| {}).expect_err("two are missing");
    let text = error.to_string();
    assert!(
        text.contains("none.jsonl") && text.contains("nowhere"),
        "{text}"
    );
    config.memory_mb = 1;
    let error = build_with(&config, &out, None, &mut |_| {}).expect_err("too little memory");
    assert!(error.to_string().contains("memory_mb"), "{error}");
}

#[test]
fn a_source_that_is_mostly_damaged_stops_the_build() {
    let (dir, config) = input();
    put(
        &config.root.join("a.jsonl"),
        "{damaged\n".repeat(30).as_bytes(),
    );
    let error = build_with(&config, &out(&dir, "out"), None, &mut |_| {})
        .expect_err("all lines are damaged");
    let text = error.to_string();
    assert!(
        text.contains("bad_limit") && text.contains("`rows`"),
        "{text}"
    );
}

//! Tests of the lists.

use super::*;
use crate::rules::testing::{self, list};

fn words(text: &str, lists: &Lists) -> Vec<(String, u8)> {
    lists
        .find(text)
        .into_iter()
        .map(|hit| (text[hit.range].to_owned(), hit.tier))
        .collect()
}

#[test]
fn entries_are_found_whole_longest_and_in_their_tier() {
    let dir = tempfile::tempdir().unwrap();
    let lists = Lists::load(&[
        list(dir.path(), "hints", 3, "招聘\n兼职\n成人"),
        list(
            dir.path(),
            "bad",
            1,
            "\u{FEFF}# a comment\n\n成人av\nAV\n性\n兼职\r\n13.",
        ),
    ])
    .unwrap();
    let check = |text: &str, expected: &[(&str, u8)]| {
        let expected: Vec<(String, u8)> = expected
            .iter()
            .map(|(word, tier)| ((*word).to_owned(), *tier))
            .collect();
        assert_eq!(words(text, &lists), expected, "{text:?}");
    };
    check("高薪招聘,兼职", &[("招聘", 3), ("兼职", 1)]);
    check("成人AV", &[("成人AV", 1)]);
    check("成人avatar", &[("成人", 3)]);
    check("性格", &[]);
    check("2013.", &[]);
    check("第13.章", &[("13.", 1)]);
    check("", &[]);
    assert_eq!(lists.count("招聘兼职招聘"), [1, 0, 2]);
    let file = &lists.files()[1];
    assert_eq!((file.n_entries, file.n_ignored), (4, 1));
    assert!(lists.has_tier(3) && !lists.has_tier(2) && !lists.has_hosts());
}

#[test]
fn hosts_stand_for_what_is_below_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = list(dir.path(), "hosts", 1, "bad.cn\n.worse.com");
    source.kind = Kind::Hosts;
    let lists = Lists::load(&[source]).unwrap();
    for (url, expected) in [
        ("http://bad.cn/x", true),
        ("https://a.b.BAD.cn:81", true),
        ("http://notbad.cn/", false),
        ("http://www.worse.com", true),
        ("", false),
    ] {
        assert_eq!(lists.lists_host(url), expected, "{url}");
    }
    assert!(lists.find("bad.cn").is_empty() && lists.has_hosts());
}

#[test]
fn wrong_lists_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let wrong_tier = Lists::load(&[list(dir.path(), "x", 4, "词语")])
        .unwrap_err()
        .to_string();
    assert!(
        wrong_tier.contains("`x`") && wrong_tier.contains("tier 4"),
        "{wrong_tier}"
    );
    let mut missing = list(dir.path(), "y", 1, "");
    missing.path = dir.path().join("none.txt");
    assert!(
        Lists::load(&[missing])
            .unwrap_err()
            .to_string()
            .contains("none.txt")
    );
    assert!(Lists::load(&[]).unwrap().find("词语").is_empty());
}

#[test]
fn nested_entries_do_not_run_away() {
    let dir = tempfile::tempdir().unwrap();
    let entries: Vec<String> = (2..200).map(|n| "啊".repeat(n)).collect();
    let lists = Lists::load(&[list(dir.path(), "nested", 1, &entries.join("\n"))]).unwrap();
    assert!(lists.find(&"啊".repeat(20_000)).len() <= MAX_MATCHES);
}

#[test]
fn the_lists_of_the_project_load() {
    let Some(shared) = testing::shared() else {
        return;
    };
    let source = |name: &str, tier, kind| ListSource {
        name: name.to_owned(),
        path: shared.join(format!("data/lists/{name}.txt")),
        tier,
        kind,
        min_chars: 2,
    };
    let lists = Lists::load(&[
        source("ldnoobw-zh", 1, Kind::Words),
        source("konsheng-ads", 3, Kind::Words),
        source("konsheng-bad-hosts", 1, Kind::Hosts),
    ])
    .unwrap();
    let sizes: Vec<u64> = lists
        .files()
        .iter()
        .map(|file| file.n_entries + file.n_ignored)
        .collect();
    assert_eq!(sizes, [319, 120, 3000]);
    assert!(lists.lists_host("http://www.0000-qq.cn/a"));
    let [strict, middle, hints] = lists.count("本店代开发票");
    assert!(strict + middle == 0 && hints > 0);
}

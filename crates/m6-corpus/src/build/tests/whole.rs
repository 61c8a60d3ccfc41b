//! What comes out of a build.

use std::collections::BTreeMap;

use super::fixture::{build, build_with, input, out};
use crate::build::compare::compare;
use crate::build::why::why;
use crate::build::{MANIFEST_NAME, Slice, finished};

#[test]
fn every_record_is_told_about_and_the_good_ones_are_kept() {
    let (dir, config) = input();
    let out = out(&dir, "out");
    let stats = build(&config, &out).stats.expect("a whole build");
    let count = |word: &str| stats.records.get(word).copied().unwrap_or(0);
    // 40 good rows and 6 pages stay; a copy, a near copy, an address seen twice and a short text go.
    assert_eq!(
        (
            count("kept"),
            count("dropped"),
            count("damaged"),
            count("skipped")
        ),
        (46, 4, 1, 1)
    );
    let rules: BTreeMap<&str, u64> = stats
        .funnel
        .iter()
        .filter(|row| row.stage == "duplicates" && row.verdict == "drop")
        .map(|row| (row.rule.as_str(), row.count))
        .collect();
    assert_eq!(
        rules,
        BTreeMap::from([("near_text", 1), ("same_text", 1), ("same_url", 1)])
    );
    let table: BTreeMap<(&str, &str), u64> = stats
        .table
        .iter()
        .map(|row| ((row.source.as_str(), row.modality.as_str()), row.passages))
        .collect();
    assert_eq!(table[&("Forum discussion", "text")], 40);
    // Of four pictures two are one; a page that keeps its picture goes out as a document, the others as texts.
    assert_eq!(table[&("pages", "pairs")], 3);
    assert_eq!(
        (table[&("pages", "documents")], table[&("pages", "text")]),
        (3, 3)
    );
    sums_add_up(&stats);
    let manifest = finished(&out).expect("finished");
    for name in [
        "stats.json",
        "report.html",
        "README.md",
        "prepare.toml",
        MANIFEST_NAME,
    ] {
        assert!(out.join(name).is_file(), "{name}");
    }
    assert!(
        manifest
            .files
            .iter()
            .any(|file| file.name.starts_with("text/rows/train-"))
    );
    assert!(
        manifest
            .files
            .iter()
            .any(|file| file.name.starts_with("pairs/pages/"))
    );
    assert!(
        manifest
            .files
            .iter()
            .any(|file| file.name.starts_with("documents/pages/"))
    );
    let report = std::fs::read_to_string(out.join("report.html")).expect("a report");
    assert!(report.contains("Forum discussion") && report.contains("data:image/jpeg;base64,"));
}

/// What goes into a stage comes out of it, one way or the other.
pub(super) fn sums_add_up(stats: &crate::build::Stats) {
    let sum = |stage: &str, verdicts: &[&str]| -> u64 {
        let rows = stats.funnel.iter().filter(|row| row.stage == stage);
        rows.filter(|row| verdicts.contains(&row.verdict.as_str()))
            .map(|row| row.count)
            .sum()
    };
    let fate = |word: &str| stats.records.get(word).copied().unwrap_or(0);
    assert_eq!(
        fate("read"),
        ["kept", "dropped", "refused", "skipped", "damaged"]
            .map(fate)
            .iter()
            .sum::<u64>()
    );
    let extracted = sum("extract", &["keep"]);
    assert_eq!(extracted, fate("kept") + fate("dropped"));
    assert_eq!(extracted, sum("rules", &["keep", "drop"]));
    assert_eq!(
        sum("rules", &["keep"]),
        sum("duplicates", &["keep", "drop"])
    );
    let later = sum("lines", &["drop"]) + sum("decontaminate", &["drop"]) + sum("mix", &["drop"]);
    assert_eq!(
        sum("duplicates", &["keep"]),
        later + sum("split", &["train", "held_out"])
    );
    assert_eq!(sum("split", &["train", "held_out"]), fate("kept"));
    for source in stats.sources.values() {
        assert_eq!(
            source["read"],
            source
                .iter()
                .filter(|(word, _)| *word != "read")
                .map(|(_, n)| n)
                .sum::<u64>()
        );
    }
    let total = stats.table.last().expect("a total");
    let rows = &stats.table[..stats.table.len() - 1];
    assert_eq!(total.tokens, rows.iter().map(|row| row.tokens).sum::<u64>());
    assert_eq!(
        total.passages,
        rows.iter().map(|row| row.passages).sum::<u64>()
    );
}

#[test]
fn a_records_life_is_found_by_name_and_by_address() {
    let (dir, config) = input();
    let out = out(&dir, "out");
    build(&config, &out);
    let lives = why(&out, "http://x.cn/copy").expect("a finished corpus");
    assert_eq!(lives.len(), 1);
    assert_eq!(
        (lives[0].record_id.as_str(), lives[0].fate.as_str()),
        ("rows/40", "dropped")
    );
    assert!(
        lives[0]
            .duplicate_of
            .as_deref()
            .is_some_and(|kept| kept.starts_with("rows/"))
    );
    let last = lives[0].steps.last().expect("steps");
    assert_eq!(
        (last.stage.as_str(), last.rule.as_str(), last.value),
        ("duplicates", "same_text", Some(1.0))
    );
    let short = why(&out, "rows/43").expect("reads");
    let last = short[0].steps.last().expect("steps");
    assert_eq!(
        (last.stage.as_str(), last.verdict.as_str()),
        ("rules", "drop")
    );
    assert!(last.value < last.threshold, "{last:?}");
    let page = why(&out, "pages/0.html").expect("reads");
    assert!(
        page[0]
            .steps
            .iter()
            .any(|step| step.record_id == "pages/0.html#0" && step.stage == "pairs")
    );
    assert_eq!(why(&out, "no such record").expect("reads"), []);
    assert!(why(dir.path(), "x").is_err(), "not a corpus");
}

#[test]
fn what_is_unchanged_is_not_made_again() {
    let (dir, mut config) = input();
    let out = out(&dir, "out");
    let first = build(&config, &out);
    assert!(first.made > 0);
    let again = build(&config, &out);
    assert_eq!((again.made, &again.digest), (0, &first.digest));
    // Another threshold touches neither extraction nor numbers.
    let mut stages = Vec::new();
    config.rules.off = vec!["short-content".to_string()];
    let changed = build_with(&config, &out, None, &mut |progress| {
        if stages.last() != Some(&progress.stage) {
            stages.push(progress.stage);
        }
    });
    let changed = changed.expect("builds");
    assert!(
        changed.made > 0 && changed.made < first.made,
        "{} of {}",
        changed.made,
        first.made
    );
    assert!(stages.starts_with(&["extract"]), "{stages:?}");
    assert_ne!(changed.digest, first.digest);
    config.mix.per_host = 2;
    let capped = build(&config, &out);
    assert!(capped.made < changed.made, "only the last stages");
    let stats = capped.stats.expect("a whole build");
    assert!(stats.funnel.iter().any(|row| row.rule == "cap_per_host"));
}

#[test]
fn threads_memory_and_slices_change_nothing() {
    let (dir, mut config) = input();
    config.shard_mb = 1;
    let first = build(&config, &out(&dir, "a"));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .expect("a pool");
    config.memory_mb = 256;
    let second = pool.install(|| build(&config, &out(&dir, "b")));
    assert_eq!(first.digest, second.digest);
    let sliced = out(&dir, "c");
    let mut n_made = 0;
    for index in 0..2 {
        let slice = Some(Slice { index, count: 2 });
        let part = build_with(&config, &sliced, slice, &mut |_| {}).expect("builds");
        assert!(part.digest.is_none());
        n_made += part.made;
    }
    let whole = build(&config, &sliced);
    assert_eq!(
        (whole.digest.as_ref(), whole.found),
        (first.digest.as_ref(), n_made)
    );
}

#[test]
fn a_diff_says_what_moved() {
    let (dir, mut config) = input();
    let (first, second) = (out(&dir, "a"), out(&dir, "b"));
    build(&config, &first);
    config.dedup.text = false;
    build(&config, &second);
    let difference = compare(&first, &second, 2).expect("two corpora");
    let moved: Vec<(&str, &str, u64)> = difference
        .moved
        .iter()
        .map(|moved| (moved.from.as_str(), moved.to.as_str(), moved.count))
        .collect();
    assert_eq!(
        moved,
        [
            ("dropped by near_text", "kept", 1),
            ("dropped by same_text", "kept", 1)
        ]
    );
    assert!(
        difference.moved[0].examples[0]
            .record_id
            .starts_with("rows/")
    );
    assert_eq!(difference.same.get("kept"), Some(&46));
    let same = compare(&first, &first, 2).expect("one corpus");
    assert!(same.moved.is_empty());
}

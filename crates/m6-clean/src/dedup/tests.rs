//! The whole of de-duplication against brute force, on drawn texts and on real ones.

use super::shingle::Shingles;
use super::*;
use m6_store::rng::{Key, Stream};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Characters of drawn texts.
const N_LETTERS: u64 = 400;

fn letter(stream: &mut Stream) -> char {
    // The product of two uniform numbers makes some characters frequent, as in real text.
    let rank = (stream.f64() * stream.f64() * N_LETTERS as f64) as u32;
    char::from_u32(0x4E00 + rank).unwrap_or('一')
}

/// Replaces, drops and adds characters, each with a chance of a third of `rate`.
fn edit(text: &str, rate: f64, stream: &mut Stream) -> String {
    let mut edited = String::new();
    for c in text.chars() {
        let draw = stream.f64() / rate * 3.0;
        if draw >= 2.0 {
            edited.push(c);
        }
        if draw < 1.0 || (2.0..3.0).contains(&draw) {
            edited.push(letter(stream));
        }
    }
    edited
}

/// Documents of which about a third are edited copies of earlier ones, from nearly the same to hardly alike.
fn drawn(n: usize, seed: u64) -> Vec<String> {
    let key = Key::new(seed);
    let mut texts: Vec<String> = Vec::new();
    for i in 0..n {
        let mut stream = key.at(i as u64).stream();
        let text = if i > 10 && stream.bool(0.35) {
            let earlier = stream.below(i as u64) as usize;
            let rate = stream.f64().powi(2) * 0.08;
            edit(&texts[earlier], rate, &mut stream)
        } else {
            (0..stream.range(0usize, 300))
                .map(|_| letter(&mut stream))
                .collect()
        };
        texts.push(text);
    }
    texts
}

/// Pairs at or above the threshold, found by counting shared shingles of all pairs.
fn brute_force(texts: &[String], threshold: f64) -> BTreeSet<(u32, u32)> {
    let shingles: Vec<Shingles> = texts.iter().map(|text| Shingles::of(text, 5)).collect();
    let mut pairs = BTreeSet::new();
    for b in 0..texts.len() {
        for a in 0..b {
            if shingles[a].jaccard(&shingles[b]) >= threshold {
                pairs.insert((a as u32, b as u32));
            }
        }
    }
    pairs
}

/// Clusters that the pairs make, as the least member of each document's cluster.
fn joined(n: usize, pairs: &BTreeSet<(u32, u32)>) -> Vec<u32> {
    let mut sets = Sets::new(n as u32);
    for (a, b) in pairs {
        sets.join(*a, *b);
    }
    sets.into_roots()
}

fn run(texts: &[String], options: &Options) -> Outcome {
    dedup(texts, options, &mut |_| ()).expect("an outcome")
}

fn roots(outcome: &Outcome) -> Vec<u32> {
    let mut first = HashMap::new();
    let places = outcome.places.iter().enumerate();
    places
        .map(|(i, place)| {
            place.map_or(i as u32, |place| {
                *first.entry(place.cluster).or_insert(i as u32)
            })
        })
        .collect()
}

#[test]
fn clusters_are_those_of_brute_force() {
    let texts = drawn(900, 1);
    for threshold in [0.5, 0.8, 0.95] {
        let expected = brute_force(&texts, threshold);
        assert!(
            expected.len() > 20,
            "{} pairs at {threshold}",
            expected.len()
        );
        let options = Options {
            threshold,
            ..Options::default()
        };
        let outcome = run(&texts, &options);
        assert_eq!(
            roots(&outcome),
            joined(texts.len(), &expected),
            "{threshold}"
        );
        let stats = outcome.stats;
        assert!(stats.n_checked <= stats.n_candidates && stats.n_alike <= stats.n_checked);
        assert_eq!(stats.n_damaged, 0);
    }
}

#[test]
fn places_say_what_the_texts_are() {
    let texts = drawn(500, 2);
    let outcome = run(&texts, &Options::default());
    let mut kept: HashMap<u32, usize> = HashMap::new();
    for (i, place) in outcome.places.iter().enumerate() {
        let place = place.expect("a sound document");
        if place.kept {
            assert_eq!(place.jaccard, 1.0);
            assert_eq!(
                kept.insert(place.cluster, i),
                None,
                "one is kept of cluster {}",
                place.cluster
            );
        }
    }
    assert_eq!(kept.len() as u64, outcome.stats.n_clusters);
    let mut n_dropped = 0;
    for (text, place) in texts.iter().zip(&outcome.places) {
        let place = place.expect("a sound document");
        let best = &texts[kept[&place.cluster]];
        let expected = Shingles::of(text, 5).jaccard(&Shingles::of(best, 5));
        assert_eq!(place.jaccard, expected as f32);
        assert!(text.chars().count() <= best.chars().count());
        n_dropped += u32::from(!place.kept);
    }
    assert!(n_dropped > 30, "{n_dropped}");
}

#[test]
fn nothing_goes_that_is_not_like_one_that_stays_when_asked_so() {
    let texts = drawn(900, 6);
    let strict = Options {
        link: Link::Kept,
        ..Options::default()
    };
    let (strict, chained) = (run(&texts, &strict), run(&texts, &Options::default()));
    let lowest = |outcome: &Outcome| {
        outcome
            .places
            .iter()
            .flatten()
            .map(|p| p.jaccard)
            .fold(1.0, f32::min)
    };
    assert!(lowest(&strict) >= 0.8 && lowest(&chained) < 0.8);
    assert!(strict.stats.n_clusters > chained.stats.n_clusters);
    let roots = roots(&chained);
    let mut of_cluster = HashMap::new();
    for (place, root) in strict.places.iter().flatten().zip(roots) {
        assert_eq!(
            *of_cluster.entry(place.cluster).or_insert(root),
            root,
            "within one chain"
        );
    }
}

#[test]
fn threads_and_budgets_change_nothing() {
    let texts = drawn(3000, 3);
    let expected = run(&texts, &Options::default());
    for (n_threads, memory) in [
        (1, 512_000_000),
        (3, 512_000_000),
        (1, 1 << 20),
        (2, 100_000),
        (2, 0),
    ] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .expect("a pool");
        let options = Options {
            memory,
            ..Options::default()
        };
        let got = pool.install(|| run(&texts, &options));
        assert!(
            got.places == expected.places,
            "{n_threads} threads, {memory} bytes"
        );
        let (a, b) = (got.stats, expected.stats);
        assert_eq!(
            (a.n_candidates, a.n_clusters, a.n_exact),
            (b.n_candidates, b.n_clusters, b.n_exact)
        );
    }
}

#[test]
fn exact_copies_and_empty_texts_are_found_without_bands() {
    let texts = [
        "",
        "一二三四五六七",
        "一二 三四五\n六七",
        " \u{3000}",
        "一",
        "二",
        "一",
    ]
    .map(String::from);
    let outcome = run(&texts, &Options::default());
    assert_eq!(roots(&outcome), [0, 1, 1, 0, 4, 5, 4]);
    assert_eq!(outcome.stats.n_exact, 3);
    assert_eq!(outcome.stats.n_clusters, 4);
    assert!(
        outcome
            .places
            .iter()
            .flatten()
            .all(|place| place.jaccard == 1.0)
    );
    assert!(run(&[], &Options::default()).places.is_empty());
}

#[test]
fn options_out_of_range_are_refused_all_at_once() {
    let options = Options {
        threshold: 0.0,
        shingle: 7,
        recall: f64::NAN,
        ..Options::default()
    };
    let error = dedup(&["一"][..], &options, &mut |_| ())
        .expect_err("bad options")
        .to_string();
    for part in ["threshold 0", "shingle 7", "recall NaN"] {
        assert!(error.contains(part), "{error}");
    }
}

/// One text of many that differ in a few characters: every band is one wide bucket.
#[test]
fn a_template_of_many_pages_is_one_cluster() {
    let mut stream = Key::new(4).stream();
    let template: String = (0..400).map(|_| letter(&mut stream)).collect();
    let texts: Vec<String> = (0..400).map(|i| format!("{template}第{i}号")).collect();
    let outcome = run(&texts, &Options::default());
    assert_eq!(outcome.stats.n_clusters, 1);
    assert!(outcome.stats.n_wide_buckets > 0);
    assert!(outcome.stats.n_checked < 10_000, "{:?}", outcome.stats);
}

#[test]
fn unchecked_candidates_are_joined_as_they_are() {
    let texts = drawn(300, 5);
    let options = Options {
        verify: false,
        ..Options::default()
    };
    let (loose, checked) = (run(&texts, &options), run(&texts, &Options::default()));
    assert!(loose.stats.n_clusters < checked.stats.n_clusters);
    assert_eq!(loose.stats.n_checked, 0);
}

#[test]
fn lines_of_a_file_are_compared_and_damaged_ones_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.jsonl");
    let text = "今天下雨，路上的人都打着伞。";
    let lines = format!(
        "{{\"id\":\"a\",\"text\":\"{text}\",\"score\":1}}\nbroken\n{{\"id\":2,\"text\":\"{text} \",\"score\":3}}\n{{\"id\":3,\"text\":\"别的\"}}\n"
    );
    m6_store::atomic::write_file(&path, lines.as_bytes()).expect("written");
    let fields = Fields {
        text: "text".into(),
        id: "id".into(),
        quality: Some("score".into()),
    };
    let documents = JsonLines::open(&path, fields).expect("opened");
    let mut n_seen = 0;
    let outcome = dedup(&documents, &Options::default(), &mut |n| n_seen = n).expect("an outcome");
    let place = |cluster, kept| {
        Some(Place {
            cluster,
            kept,
            jaccard: 1.0,
        })
    };
    assert_eq!(
        outcome.places,
        [place(0, false), None, place(0, true), place(1, true)]
    );
    assert_eq!(
        (outcome.stats.n_damaged, outcome.stats.n_documents, n_seen),
        (1, 4, 4)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_texts_have_a_place(texts in prop::collection::vec("\\PC{0,30}", 0..30), threshold in 0.01f64..1.0) {
        let options = Options { threshold, memory: 1000, ..Options::default() };
        let outcome = run(&texts, &options);
        prop_assert_eq!(outcome.places.len(), texts.len());
        let n_kept = outcome.places.iter().flatten().filter(|place| place.kept).count();
        prop_assert_eq!(n_kept as u64, outcome.stats.n_clusters);
    }
}

/// The folder of real data beside the checkout, or a line that says what was skipped.
fn real_data(what: &str) -> Option<PathBuf> {
    let root = std::env::var_os("M6_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = root.join("data").join(what);
    if path.exists() {
        return Some(path);
    }
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    {
        eprintln!("skipped: {} is not here (set M6_SHARED)", path.display());
    }
    None
}

/// Both texts of every pair of two editions of Tang poems, and the label of the pair.
fn poems(path: &Path) -> (Vec<String>, Vec<String>) {
    let (mut texts, mut labels) = (Vec::new(), Vec::new());
    for line in std::fs::read_to_string(path).expect("readable").lines() {
        let row: Value = serde_json::from_str(line).expect("JSON");
        let field = |name: &str| row[name].as_str().expect("a string").to_string();
        texts.extend([field("a"), field("b")]);
        labels.push(field("label"));
    }
    (texts, labels)
}

#[test]
fn poems_of_two_editions_are_clustered_as_by_brute_force() {
    let Some(path) = real_data("neardup/poem-editions.jsonl") else {
        return;
    };
    let (texts, labels) = poems(&path);
    let threshold = 0.3;
    let expected = brute_force(&texts, threshold);
    let options = Options {
        threshold,
        ..Options::default()
    };
    let got = roots(&run(&texts, &options));
    let n_found = expected
        .iter()
        .filter(|(a, b)| got[*a as usize] == got[*b as usize])
        .count();
    assert!(
        n_found as f64 >= 0.99 * expected.len() as f64,
        "{n_found} of {}",
        expected.len()
    );
    assert_eq!(got, joined(texts.len(), &expected));
    let share = |label: &str| {
        let pairs = (0..labels.len()).filter(|i| labels[*i] == label);
        let (n, n_joined) = pairs.fold((0, 0), |(n, joined), i| {
            (n + 1, joined + u32::from(got[2 * i] == got[2 * i + 1]))
        });
        f64::from(n_joined) / f64::from(n)
    };
    assert!(share("near_dup") > 0.99, "{}", share("near_dup"));
    assert!(share("different") < 0.01, "{}", share("different"));
}

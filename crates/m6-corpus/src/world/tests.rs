//! The rendered world: its shares, its bytes, and that its truth can be read back from its archives.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use m6_clean::archive::{Item, Limits, Reader, Record};

fn small() -> Options {
    Options {
        seed: 7,
        n_pages: 300,
        pages_per_file: 120,
        side: 72,
    }
}

fn rendered(options: Options) -> Vec<WorldFile> {
    files(options).map(|file| file.unwrap()).collect()
}

fn is_page(row: &TruthRow) -> bool {
    row.kind != "picture" && row.kind != "decoration"
}

#[test]
fn the_same_options_give_the_same_bytes_for_any_number_of_threads() {
    let options = Options {
        n_pages: 40,
        pages_per_file: 25,
        ..small()
    };
    let one = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let three = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    let first = one.install(|| rendered(options));
    assert!(first == three.install(|| rendered(options)));
    let other = rendered(Options { seed: 8, ..options });
    assert!(first[0].bytes != other[0].bytes);
    assert_eq!(first.len(), 2);
}

#[test]
fn every_kind_is_planted_and_addresses_are_unique() {
    let files = rendered(small());
    let rows: Vec<&TruthRow> = files.iter().flat_map(|file| &file.truth).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    rows.iter()
        .for_each(|row| *counts.entry(&row.kind).or_default() += 1);
    for (kind, _) in PageKind::SHARES {
        assert!(counts.contains_key(kind.name()), "{kind:?}: {counts:?}");
        assert_eq!(kind.is_good(), kind.why().is_empty(), "{kind:?}");
    }
    let pages: Vec<&&TruthRow> = rows.iter().filter(|row| is_page(row)).collect();
    assert_eq!(pages.len(), 300);
    let urls: BTreeSet<&str> = pages.iter().map(|row| row.url.as_str()).collect();
    assert_eq!(urls.len(), pages.len());
    let lying = pages.iter().filter(|row| row.charset_lies).count();
    assert!((20..90).contains(&lying), "{lying}");
    let charsets: BTreeSet<&str> = pages.iter().map(|row| row.charset.as_str()).collect();
    assert_eq!(charsets, BTreeSet::from(["UTF-8", "gb18030", "Big5"]));
}

/// Jaccard of character 5-grams without white space.
fn alike(a: &str, b: &str) -> f64 {
    let grams = |text: &str| -> BTreeSet<String> {
        let characters: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
        characters
            .windows(5)
            .map(|gram| gram.iter().collect())
            .collect()
    };
    let (a, b) = (grams(a), grams(b));
    a.intersection(&b).count() as f64 / a.union(&b).count().max(1) as f64
}

#[test]
fn duplicates_are_alike_and_other_pages_are_not() {
    let files = rendered(Options {
        n_pages: 600,
        ..small()
    });
    let pages: Vec<&TruthRow> = files
        .iter()
        .flat_map(|file| &file.truth)
        .filter(|row| is_page(row))
        .collect();
    let by_id: BTreeMap<&str, &TruthRow> =
        pages.iter().map(|row| (row.id.as_str(), *row)).collect();
    let mut n_pairs = 0;
    for row in &pages {
        let Some(original) = &row.duplicate_of else {
            continue;
        };
        let original = by_id[original.as_str()];
        assert!(original.keep && !row.keep);
        match row.kind.as_str() {
            "exact_duplicate" => assert_eq!(row.text, original.text),
            _ => {
                let jaccard = alike(&row.text, &original.text);
                assert!(
                    row.text != original.text && jaccard > 0.8,
                    "{jaccard}\n{}\n{}",
                    row.text,
                    original.text
                );
                n_pairs += 1;
            }
        }
    }
    assert!(n_pairs > 15, "{n_pairs}");
    let good: Vec<&&TruthRow> = pages.iter().filter(|row| row.keep).collect();
    for (i, a) in good.iter().enumerate().take(120) {
        for b in good.iter().skip(i + 1).take(120) {
            assert!(alike(&a.text, &b.text) < 0.7, "{}\n{}", a.text, b.text);
        }
    }
}

#[test]
fn good_texts_are_long_enough_and_others_have_their_marks() {
    for row in rendered(small()).iter().flat_map(|file| &file.truth) {
        let n_chars = row.text.chars().count();
        match row.kind.as_str() {
            kind if row.keep && kind != "picture" => {
                assert!(n_chars >= 50, "{}: {}", row.kind, row.text)
            }
            "short" => assert!(n_chars < 15),
            "english" => assert!(row.text.is_ascii()),
            "traditional" => assert!(
                row.simplified
                    .as_ref()
                    .is_some_and(|text| *text != row.text)
            ),
            _ => {}
        }
        assert!(!row.text.contains('\0'));
        assert!(
            row.images
                .iter()
                .all(|image| image.src.starts_with("http://") && !image.caption.is_empty())
        );
    }
}

/// Reads an archive; records by address, and how many places were broken.
fn read(file: &WorldFile) -> (BTreeMap<String, Record>, usize) {
    let (mut records, mut n_broken) = (BTreeMap::new(), 0);
    for item in Reader::from_read(std::io::Cursor::new(file.bytes.clone()), Limits::default()) {
        match item.unwrap() {
            Item::Record(record) => {
                if let Some(url) = record.url.clone() {
                    records.insert(url, *record);
                }
            }
            Item::Damage(_) => n_broken += 1,
        }
    }
    (records, n_broken)
}

#[test]
fn whole_records_are_read_back_and_damaged_ones_are_noticed() {
    for file in rendered(small()) {
        let (records, n_broken) = read(&file);
        let damaged = file.truth.iter().filter(|row| row.why == "damaged");
        let unnoticed = damaged.clone().filter(|row| {
            let record = records.get(&row.url);
            record.is_some_and(|record| record.truncated.is_none())
        });
        assert!(n_broken > 0);
        // A wrong byte may leave a record readable up to the checksum, which is a row of its own then.
        assert!(unnoticed.count() <= n_broken, "{n_broken} rows");
        for row in file.truth.iter().filter(|row| row.why != "damaged") {
            let record = records.get(&row.url);
            let record = record.unwrap_or_else(|| panic!("{} ({})", row.url, row.kind));
            assert!(record.truncated.is_none(), "{}", row.url);
            assert!(record.http.is_some());
        }
    }
}

#[test]
fn the_truth_stands_in_the_pages() {
    for file in rendered(small()) {
        let (records, _) = read(&file);
        for row in file.truth.iter().filter(|row| row.keep && is_page(row)) {
            let record = &records[&row.url];
            let encoding = encoding_rs::Encoding::for_label(row.charset.as_bytes()).unwrap();
            let (html, _, is_broken) = encoding.decode(&record.payload);
            assert!(!is_broken, "{}", row.url);
            // A character outside the charset stands as a reference.
            let html = html_escape::decode_html_entities(&html).replace('\0', "");
            for line in row.text.lines().chain([row.title.as_str()]) {
                assert!(html.contains(line), "{}: {line}", row.url);
            }
            for image in &row.images {
                let name = image.src.rsplit('/').next().unwrap();
                assert!(
                    html.contains(name) && html.contains(&image.caption),
                    "{}",
                    row.url
                );
                let picture = &records[&image.src];
                let header =
                    m6_image::header(&picture.payload, &m6_image::Limits::default()).unwrap();
                assert_eq!((header.width, header.height), (72, 72));
            }
            if row.kind == "nul" && row.text.contains('，') {
                assert!(record.payload.contains(&0));
            }
        }
    }
}

#[test]
fn a_written_world_is_whole_and_says_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("world");
    let options = Options {
        n_pages: 30,
        pages_per_file: 20,
        ..small()
    };
    let summary = write(&out, options).unwrap();
    assert_eq!((summary.n_files, summary.n_pages), (2, 30));
    let truth = std::fs::read_to_string(out.join(TRUTH_NAME)).unwrap();
    let rows: Vec<TruthRow> = truth
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected: Vec<TruthRow> = rendered(options)
        .into_iter()
        .flat_map(|file| file.truth)
        .collect();
    assert!(rows == expected);
    assert!(
        write(&out, options).is_err(),
        "a folder that is not empty is left alone"
    );
}

/// How much of one text is in the other, as counts of characters without white space: 1 for equal texts.
fn f1(found: &str, wanted: &str) -> f64 {
    let counts = |text: &str| {
        let mut counts: BTreeMap<char, usize> = BTreeMap::new();
        let characters = text.chars().filter(|c| !c.is_whitespace());
        characters.for_each(|c| *counts.entry(c).or_default() += 1);
        counts
    };
    let (a, b) = (counts(found), counts(wanted));
    let both: usize = a
        .iter()
        .map(|(c, n)| (*n).min(b.get(c).copied().unwrap_or_default()))
        .sum();
    let all: usize = a.values().chain(b.values()).sum();
    2.0 * both as f64 / all.max(1) as f64
}

/// From archive to text and pictures, as a build goes: what was planted is found, whatever the charset says.
#[test]
fn extraction_finds_what_was_planted() {
    let (mut scores, mut n_pictures, mut n_found) = (Vec::new(), 0, 0);
    for file in rendered(small()) {
        let (records, _) = read(&file);
        for row in file.truth.iter().filter(|row| row.keep && is_page(row)) {
            let record = &records[&row.url];
            let http = record.http.as_ref().and_then(|head| head.charset());
            let options = m6_clean::page::Options::default();
            let page =
                m6_clean::page::extract_bytes(&record.payload, http, Some(&row.url), &options);
            let page = page.unwrap_or_else(|refusal| panic!("{}: {refusal}", row.url));
            let score = f1(&page.text, &row.text);
            assert!(score > 0.5, "{}: {score}\n{}", row.url, page.text);
            scores.push(score);
            let srcs: BTreeSet<&str> = page.images.iter().map(|i| i.src.as_str()).collect();
            n_pictures += row.images.len();
            n_found += row
                .images
                .iter()
                .filter(|i| srcs.contains(i.src.as_str()))
                .count();
        }
    }
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    assert!(mean > 0.85, "{mean} over {} pages", scores.len());
    assert_eq!(n_found, n_pictures);
}

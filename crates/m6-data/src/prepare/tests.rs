//! Whole runs of `prepare` on small sources.

use std::path::Path;

use super::*;
use crate::config::{Fields, Kind, SourceConfig};
use crate::manifest::SourceReport;
use crate::testing::{
    bomb, config, folder, line_source, lines, png, quarantine, shard, shard_source, shared_data,
    source, tokenizer,
};
use crate::{Loader, LoaderConfig, Split};

/// Prepares under another name each time.
fn run(config: &DataConfig, out: &Path) -> Result<Summary> {
    prepare(config, &tokenizer(), None, out, false, &mut |_| {})
}

fn balanced(report: &SourceReport) {
    let out = report.records + report.quarantined + report.n_skipped();
    assert_eq!(report.records_in, out, "{report:?}");
}

fn tree(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).expect("lists") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        match path.is_dir() {
            true => out.extend(
                tree(&path)
                    .into_iter()
                    .map(|(n, b)| (format!("{name}/{n}"), b)),
            ),
            false => out.push((name, std::fs::read(&path).expect("reads"))),
        }
    }
    out.sort();
    out
}

#[test]
fn preparing_twice_and_with_any_number_of_threads_gives_the_same_bytes() {
    let dir = folder(&[("a.jsonl", lines(700).as_bytes()), ("b.tar", &shard(30))]);
    let mut config = config(dir.path(), line_source("a", "a.jsonl"));
    config.sources.push(shard_source("b", "b.tar"));
    let mut trees = Vec::new();
    for (at, n_threads) in [1, 2, 2].into_iter().enumerate() {
        let out = dir.path().join(format!("out{at}"));
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build();
        pool.expect("a pool")
            .install(|| run(&config, &out))
            .expect("prepares");
        m6_store::manifest::verify(&out).expect("all hashes hold");
        trees.push(tree(&out));
    }
    assert!(trees[0].len() > 10);
    assert!(trees[0] == trees[1] && trees[1] == trees[2]);
}

#[test]
fn every_record_is_kept_quarantined_or_skipped_and_each_bad_one_has_a_line() {
    let mut bytes = lines(20).into_bytes();
    bytes.extend(b"{broken\n{\"id\": \"nothing\"}\n{\"text\": \"\xff\"}\n");
    let dir = folder(&[("a.jsonl", &bytes)]);
    let out = dir.path().join("out");
    let summary = run(&config(dir.path(), line_source("a", "a.jsonl")), &out).expect("prepares");
    let report = &summary.sources[0];
    balanced(report);
    assert_eq!(
        (report.records_in, report.records, report.quarantined),
        (23, 20, 2)
    );
    assert_eq!(report.skipped["no_text"], 1);
    assert_eq!(report.passages, 20 * 5);
    let lines = quarantine(&out);
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (lines[1]["source"].as_str(), lines[1]["reason"].as_str()),
        (Some("a"), Some("utf8"))
    );
    assert_eq!(lines[0]["bytes_base64"], "e2Jyb2tlbg==");
}

#[test]
fn a_picture_bomb_in_a_tar_is_refused_before_it_is_decoded() {
    let caption = br#"{"captions": ["hello"]}"#;
    let json = "{\"captions\": [\"红花\"]}".as_bytes();
    let tar = crate::tarball::tests::build(&[
        ("a.png", &png(4, 4, 9)),
        ("a.json", json),
        ("bomb.png", &bomb()),
        ("bomb.json", json),
        ("c.png", b"no picture at all"),
        ("c.json", caption),
        ("d.png", &png(4, 4, 9)),
        ("d.json", json),
    ]);
    let dir = folder(&[("a.tar", &tar)]);
    let out = dir.path().join("out");
    let summary = run(&config(dir.path(), shard_source("a", "a.tar")), &out).expect("prepares");
    let report = &summary.sources[0];
    balanced(report);
    assert_eq!(
        (report.images, report.quarantined, report.bad["picture"]),
        (2, 2, 2)
    );
    assert!(
        quarantine(&out)[0]["where"]
            .as_str()
            .is_some_and(|w| w.ends_with("a.tar/bomb"))
    );
}

#[test]
fn a_document_outlives_one_bad_picture() {
    let tar = crate::tarball::tests::build(&[("a.png", &png(4, 4, 9)), ("b.png", b"broken")]);
    let line = r#"{"text": "红花", "images": ["a.png", "b.png", "gone.png"]}"#;
    let dir = folder(&[("p.tar", &tar), ("d.jsonl", line.as_bytes())]);
    let source = SourceConfig {
        side: Some("d.jsonl".to_string()),
        text: Fields::from(["text"]),
        image: Fields::from(["images"]),
        ..source("d", Kind::Webdataset, "p.tar")
    };
    let out = dir.path().join("out");
    let report = &run(&config(dir.path(), source), &out)
        .expect("prepares")
        .sources[0];
    balanced(report);
    assert_eq!(
        (report.records, report.images, report.bad_pictures),
        (1, 1, 2)
    );
    assert_eq!(report.bad["missing_picture"], 1);
    assert_eq!(quarantine(&out).len(), 2);
}

#[test]
fn too_many_bad_records_stop_the_run_with_the_place_and_a_kept_quarantine() {
    let dir = folder(&[("a.jsonl", b"{\n{\n{\"text\": \"\xe7\xba\xa2\"}\n")]);
    let out = dir.path().join("out");
    let error = run(&config(dir.path(), line_source("a", "a.jsonl")), &out).expect_err("stops");
    let text = error.to_string();
    for part in ["2 of 3", "bad_limit = 0.5", "a.jsonl:1"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!out.exists(), "nothing half made is left");
    let kept = std::fs::read_to_string(dir.path().join("out.quarantine.jsonl")).expect("kept");
    assert_eq!(kept.lines().count(), 2);
}

#[test]
fn an_empty_source_and_one_whose_fields_name_nothing_are_errors() {
    let dir = folder(&[("a.jsonl", b"\n\n"), ("b.jsonl", b"{\"title\": \"x\"}\n")]);
    let out = dir.path().join("out");
    let error = run(&config(dir.path(), line_source("a", "a.jsonl")), &out).expect_err("empty");
    assert!(
        error
            .to_string()
            .contains("`a` gave no usable record (0 seen"),
        "{error}"
    );
    let error = run(&config(dir.path(), line_source("b", "b.jsonl")), &out).expect_err("empty");
    assert!(error.to_string().contains("do the fields"), "{error}");
}

#[test]
fn a_missing_file_and_a_taken_folder_fail_before_any_work() {
    let dir = folder(&[("a.jsonl", lines(3).as_bytes()), ("out/x", b"")]);
    let missing = config(dir.path(), line_source("a", "aa.jsonl"));
    let error = run(&missing, &dir.path().join("new")).expect_err("missing");
    assert!(
        error.to_string().contains("did you mean `a.jsonl`"),
        "{error}"
    );
    let good = config(dir.path(), line_source("a", "a.jsonl"));
    assert!(run(&good, &dir.path().join("out")).is_err());
}

#[test]
fn the_sample_world_feeds_every_task() {
    let dir = folder(&[]);
    let world = SourceConfig {
        name: "world".to_string(),
        n: 24,
        held_out: 0.25,
        ..SourceConfig::default()
    };
    let mut config = config(dir.path(), world);
    config.row_len = 256;
    let out = dir.path().join("out");
    let mut trainer = m6_text::train::WordPieceTrainer::new(600);
    let mut reader = crate::open(&config.sources[0], dir.path()).expect("opens");
    while let Some(Ok(record)) = reader.next() {
        record
            .captions
            .iter()
            .chain(&record.text)
            .for_each(|text| trainer.feed(text));
    }
    let tokenizer = trainer.train().expect("a vocabulary");
    let summary = prepare(&config, &tokenizer, None, &out, false, &mut |_| {}).expect("prepares");
    let report = &summary.sources[0];
    assert_eq!((report.records, report.images), (24, 24));
    // Every task but the five over image codes, which need a coder, and those of finetuning, which are named.
    assert_eq!(report.tasks.len(), 5);
    for (task, rows) in &report.tasks {
        assert!(rows.splits["train"].rows > 0, "{task}");
    }
}

/// The sources of `configs/real.toml`, below the real data.
fn real(data: &Path) -> DataConfig {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/real.toml");
    let text = std::fs::read_to_string(path).expect("configs/real.toml");
    let table: toml::Table = toml::from_str(&text).expect("TOML");
    let mut config: DataConfig = table["data"].clone().try_into().expect("a [data] table");
    config.root = data.to_path_buf();
    config
}

#[test]
fn every_source_of_the_real_configuration_opens_and_yields_records() {
    let Some(data) = shared_data("real sources") else {
        return;
    };
    let config = real(&data);
    assert_eq!(config.validate(), Vec::<String>::new());
    assert!(config.sources.len() >= 10);
    for source in &config.sources {
        let mut reader = crate::open(source, &data).unwrap_or_else(|error| panic!("{error}"));
        let mut n_useful = 0;
        for _ in 0..50 {
            match reader.next() {
                Some(Ok(record)) => {
                    let said = record.text.is_some() || !record.captions.is_empty();
                    n_useful += usize::from(said || !record.qa.is_empty());
                }
                Some(Err(bad)) => panic!("{}: {bad:?}", source.name),
                None => break,
            }
        }
        assert!(
            n_useful > 25,
            "{}: {n_useful} useful records of the first 50",
            source.name
        );
    }
}

/// Some ten seconds of work: `cargo test --release -p m6-data -- --ignored --nocapture`.
#[test]
#[ignore = "prepares all real data"]
#[allow(clippy::print_stderr)]
fn the_whole_real_configuration_prepares_without_a_bad_record() {
    let Some(data) = shared_data("all real data") else {
        return;
    };
    let vocabulary = data.join("vocab/bert-base-chinese-vocab.txt");
    let tokenizer = Tokenizer::from_file(&vocabulary).expect("a tokenizer");
    let dir = folder(&[]);
    let out = dir.path().join("out");
    let begin = std::time::Instant::now();
    let summary =
        prepare(&real(&data), &tokenizer, None, &out, false, &mut |_| {}).expect("prepares");
    summary.sources.iter().for_each(balanced);
    assert!(summary.sources.iter().all(|source| source.bad.is_empty()));
    let seconds = begin.elapsed().as_secs_f64();
    let loader = Loader::open(&out, &LoaderConfig::default(), Split::Train).expect("opens");
    let rows = loader.next_rows(&mut Default::default(), 1000);
    let begin = std::time::Instant::now();
    let n_positions: usize = rows
        .chunks(8)
        .map(|rows| loader.batch(rows).expect("a batch").n_positions())
        .sum();
    let per_second = n_positions as f64 / begin.elapsed().as_secs_f64();
    let stats = loader.stats(&rows[..32]).expect("counts");
    eprintln!("{}", summary.card());
    eprintln!(
        "prepared in {seconds:.1} s, peak {:.0} MB",
        m6_store::mem::peak_rss_mb()
    );
    eprintln!(
        "{per_second:.0} positions a second; padded over packed {:.2}",
        stats.saving()
    );
}

#[test]
fn the_small_real_sources_prepare_and_load() {
    let Some(data) = shared_data("real data") else {
        return;
    };
    let mut config = real(&data);
    config.image_side = 32;
    let small = ["flowers", "recipes", "cmrc"];
    config
        .sources
        .retain(|source| small.contains(&source.name.as_str()));
    assert_eq!(config.sources.len(), small.len());
    let vocabulary = data.join("vocab/bert-base-chinese-vocab.txt");
    let tokenizer = Tokenizer::from_file(&vocabulary).expect("a tokenizer");
    let dir = folder(&[]);
    let out = dir.path().join("out");
    let summary = prepare(&config, &tokenizer, None, &out, false, &mut |_| {}).expect("prepares");
    summary.sources.iter().for_each(balanced);
    assert_eq!(
        summary
            .sources
            .iter()
            .map(|source| source.quarantined)
            .sum::<u64>(),
        0
    );
    let loader = Loader::open(&out, &LoaderConfig::default(), Split::Train).expect("opens");
    let rows = loader.next_rows(&mut Default::default(), 24);
    let batch = loader.batch(&rows).expect("a batch");
    assert!(!batch.picture_at.is_empty() && batch.labels.len() > 1000);
}

/// The world in 16 pixels for a coder that sees 8 of them as 2 x 2 codes.
fn coded(tasks: &[&str]) -> DataConfig {
    DataConfig {
        sources: vec![SourceConfig {
            name: "world".to_string(),
            n: 300,
            held_out: 0.1,
            tasks: tasks.iter().map(|task| (task.to_string(), 1.0)).collect(),
            ..SourceConfig::default()
        }],
        image_side: 16,
        grid: 2,
        row_len: 96,
        ..DataConfig::default()
    }
}

/// The code of a cell of a picture of 16 pixels is its first red level.
fn cell_codes(pixels: &[u8], times: usize) -> std::result::Result<Vec<u16>, String> {
    let grid = 2 * times;
    let cell = 16 / grid;
    let of = |picture: &[u8], place: usize| {
        u16::from(picture[place / grid * cell * 16 + place % grid * cell])
    };
    let each = pixels.chunks_exact(768);
    Ok(each
        .flat_map(|picture| (0..grid * grid).map(move |place| of(picture, place)))
        .collect())
}

fn coder(fine: usize) -> PictureCoder<'static> {
    PictureCoder {
        id: "hash".to_string(),
        codebook_size: 256,
        grid: 2,
        side: 8,
        fine,
        files: vec![("config.json".to_string(), b"{}".to_vec())],
        encode: &cell_codes,
    }
}

#[test]
fn a_coder_gives_every_picture_its_codes_and_is_kept_with_the_data() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("out");
    let config = coded(&["text_to_image", "masked_image", "codes_to_text"]);
    let coder = coder(0);
    let made = prepare(
        &config,
        &tokenizer(),
        Some(&coder),
        &out,
        false,
        &mut |_| {},
    );
    let summary = made.expect("prepares");
    assert_eq!(summary.config.codes.n_codes(), 4);
    assert!(out.join("vqgan/config.json").is_file());
    let loader = crate::Loader::open(&out, &crate::LoaderConfig::default(), crate::Split::Train)
        .expect("opens");
    let rows = loader.next_rows(&mut crate::Cursor::default(), 12);
    let batch = loader.batch(&rows).expect("loads");
    assert!(batch.segments.contains(&3) && batch.segments.contains(&4));
    let set = crate::PictureSet::open(&out, crate::Split::Train).expect("opens");
    assert_eq!(
        set.len() as u64,
        summary.sources[0].images - summary.sources[0].held_out
    );
    let refused = PictureCoder {
        encode: &|_, _| Ok(vec![1, 2, 3]),
        ..coder
    };
    let error = prepare(
        &config,
        &tokenizer(),
        Some(&refused),
        &dir.path().join("no"),
        false,
        &mut |_| {},
    )
    .expect_err("too few codes");
    assert!(error.to_string().contains("3 codes for"), "{error}");
}

#[test]
fn finer_codes_are_stored_beside_the_codes_and_reach_the_batch() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("out");
    let config = coded(&["super_resolution", "masked_super_resolution"]);
    let made = prepare(
        &config,
        &tokenizer(),
        Some(&coder(2)),
        &out,
        false,
        &mut |_| {},
    );
    let codes = made.expect("prepares").config.codes;
    assert_eq!((codes.n_codes(), codes.n_fine()), (4, 16));
    let loader = crate::Loader::open(&out, &crate::LoaderConfig::default(), crate::Split::Train)
        .expect("opens");
    let rows = loader.next_rows(&mut crate::Cursor::default(), 12);
    let batch = loader.batch(&rows).expect("loads");
    let mut n_checked = 0;
    for target in &batch.targets {
        let [prefix, from, to] = target.map(|at| at as usize);
        assert_eq!(to - from, 16);
        assert!(batch.segments[from..to].iter().all(|s| *s == 6));
        let first = batch.prefixes[prefix][0] as usize;
        let at = batch.loss_at.partition_point(|at| (*at as usize) < from);
        let told = &batch.labels[at..at + 16];
        // The coder sees the same first level of every second fine cell as of the coarse one.
        for place in 0..4 {
            let fine = place / 2 * 8 + place % 2 * 2;
            assert_eq!(batch.tokens[first + place], told[fine]);
            n_checked += 1;
        }
    }
    assert!(n_checked > 0 && batch.segments.contains(&5));
}

#[test]
fn finer_codes_that_cannot_be_had_are_refused_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let refused = |config: &DataConfig, fine: usize, parts: &[&str]| {
        let out = dir.path().join("no");
        let coder = coder(fine);
        let made = prepare(config, &tokenizer(), Some(&coder), &out, false, &mut |_| {});
        let text = made.expect_err("refused").to_string();
        for part in parts {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!out.exists());
    };
    let config = coded(&["super_resolution"]);
    refused(
        &config,
        0,
        &["super_resolution needs finer codes", "data.codes.fine = 2"],
    );
    refused(&config, 4, &["32 pixels", "data.image_side = 16"]);
    let short = DataConfig {
        row_len: 20,
        ..config.clone()
    };
    refused(&short, 2, &["data.row_len = 20", "28 or more"]);
    let many = DataConfig {
        codes: crate::config::CodesConfig {
            fine: 9,
            ..crate::config::CodesConfig::default()
        },
        ..config.clone()
    };
    refused(&many, 2, &["data.codes.fine = 9"]);
    // Pictures of 5 x 9 pixels would have to be enlarged to 16.
    let root = folder(&[("p.tar", &shard(6))]);
    let small = DataConfig {
        root: root.path().to_path_buf(),
        sources: vec![SourceConfig {
            tasks: [("super_resolution".to_string(), 1.0)].into(),
            ..shard_source("small", "p.tar")
        }],
        ..config
    };
    refused(
        &small,
        2,
        &["`small`", "all its 6 described pictures", "16 x 16"],
    );
}

#[test]
fn verse_is_asked_for_by_title_and_first_line_and_other_poems_are_passed_over() {
    let poems = [
        ("山", "一二三四五，花猫狗鸟山。水火木在有，是什么几个。"),
        ("火", "一二三四五，花猫狗鸟。"),
    ];
    let text: String = poems
        .iter()
        .map(|(title, text)| format!("{{\"title\":\"{title}\",\"text\":\"{text}\"}}\n"))
        .collect();
    let dir = folder(&[("poems.jsonl", text.as_bytes())]);
    let source = SourceConfig {
        name: "poems".to_string(),
        kind: Kind::Jsonl,
        path: Fields::from(["poems.jsonl"]),
        question: Some("title".to_string()),
        answer: Some("text".to_string()),
        tasks: [("poem".to_string(), 1.0)].into(),
        held_out: 0.0,
        ..SourceConfig::default()
    };
    let config = config(dir.path(), source);
    let out = dir.path().join("out");
    let report = run(&config, &out).expect("prepares").sources.remove(0);
    balanced(&report);
    assert_eq!(report.skipped["no_verse_of_equal_lines"], 1);
    assert_eq!(report.tasks["poem"].splits["train"].examples, 1);
    let loader = Loader::open(&out, &LoaderConfig::default(), Split::Train).expect("opens");
    let rows = loader.next_rows(&mut crate::Cursor::default(), 40);
    let vocabulary = tokenizer();
    let mut asked = std::collections::BTreeSet::new();
    for row in rows {
        let batch = loader.batch(&[row]).expect("reads");
        let text = vocabulary.decode(&batch.tokens);
        // Words that the vocabulary lacks vanish.
        let verse = "一二三四五，花猫狗鸟山。水火木在有，是什么几个。";
        let question = text.strip_suffix(verse).expect("the verse comes last");
        asked.insert(question.to_string());
    }
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    assert_eq!(asked, ["五四，一二三四五。", "五四，山。"]);
}

//! What a loader promises: a cursor is the whole state, and batches depend on nothing else.

use std::collections::{BTreeMap, BTreeSet};

use tempfile::TempDir;

use super::*;
use crate::batch::NO_TOKEN;
use crate::testing::{config, folder, line_source, lines, prepare, shard, shard_source};

/// Two sources, prepared once.
fn prepared() -> (TempDir, PathBuf) {
    let dir = folder(&[("a.jsonl", lines(120).as_bytes()), ("b.tar", &shard(40))]);
    let mut config = config(dir.path(), line_source("a", "a.jsonl"));
    let mut pictures = shard_source("b", "b.tar");
    pictures.weight = 2.0;
    pictures.held_out = 0.3;
    config.sources.push(pictures);
    prepare(&config, dir.path()).expect("prepares");
    let out = dir.path().join("out");
    (dir, out)
}

fn open(out: &Path, split: Split) -> Loader {
    Loader::open(out, &LoaderConfig::default(), split).expect("opens")
}

#[test]
fn going_on_from_a_cursor_gives_the_rows_that_one_run_gives() {
    let (_dir, out) = prepared();
    let loader = open(&out, Split::Train);
    let mut cursor = Cursor::default();
    let whole = loader.next_rows(&mut cursor, 2500);
    let end = cursor;
    let mut cursor = Cursor::default();
    let mut parts = Vec::new();
    for n in [1, 6, 500, 993, 1000] {
        let text = serde_json::to_string(&cursor).expect("serialises");
        cursor = serde_json::from_str(&text).expect("parses");
        parts.extend(open(&out, Split::Train).next_rows(&mut cursor, n));
    }
    assert_eq!(whole, parts);
    assert_eq!(cursor, end);
    assert_eq!(cursor.drawn.values().sum::<u64>(), 2500);
}

#[test]
fn ranks_and_threads_do_not_change_what_is_learned() {
    let (_dir, out) = prepared();
    let loader = open(&out, Split::Train);
    let rows = loader.next_rows(&mut Cursor::default(), 32);
    let one_by_one: Vec<Batch> = rows
        .iter()
        .map(|row| loader.batch(&[*row]).expect("a batch"))
        .collect();
    for world in [1, 2, 4] {
        let mut united: Vec<Option<Batch>> = vec![None; rows.len()];
        for rank in 0..world {
            let mut cursor = Cursor::default();
            let all = open(&out, Split::Train).next_rows(&mut cursor, 32);
            for at in (rank..32).step_by(world) {
                united[at] = Some(loader.batch(&all[at..=at]).expect("a batch"));
            }
        }
        let united: Vec<Batch> = united.into_iter().flatten().collect();
        assert_eq!(united, one_by_one);
    }
    let batches = [1, 2].map(|n| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n)
            .build()
            .expect("a pool");
        pool.install(|| loader.batch(&rows).expect("a batch"))
    });
    assert_eq!(batches[0], batches[1]);
    let tokens: Vec<u32> = one_by_one
        .iter()
        .flat_map(|batch| batch.tokens.clone())
        .collect();
    assert_eq!(batches[0].tokens, tokens);
}

#[test]
fn an_epoch_visits_every_row_of_a_table_once_and_the_next_in_another_order() {
    let (_dir, out) = prepared();
    let loader = open(&out, Split::Train);
    let rows = loader.next_rows(&mut Cursor::default(), 4000);
    let mut visits: BTreeMap<(u16, u8, u64), Vec<u64>> = BTreeMap::new();
    for row in rows {
        visits
            .entry((row.source, row.task, row.epoch))
            .or_default()
            .push(row.row);
    }
    let mut n_whole = 0;
    for ((source, task, epoch), rows) in &visits {
        if !visits.contains_key(&(*source, *task, epoch + 1)) {
            continue;
        }
        let n_rows = loader.shards[usize::from(*source)].n_rows(usize::from(*task), false);
        let distinct: BTreeSet<u64> = rows.iter().copied().collect();
        assert_eq!((rows.len() as u64, distinct.len() as u64), (n_rows, n_rows));
        assert!(n_rows < 8 || rows != &visits[&(*source, *task, epoch + 1)]);
        n_whole += 1;
    }
    assert!(n_whole > 10);
}

#[test]
fn sources_and_tasks_keep_their_weights() {
    let (_dir, out) = prepared();
    let loader = open(&out, Split::Train);
    let rows = loader.next_rows(&mut Cursor::default(), 3000);
    let of_b = rows.iter().filter(|row| row.source == 1).count();
    assert!((1998..=2002).contains(&of_b), "{of_b}");
    let overrides = LoaderConfig {
        weights: BTreeMap::from([("a".to_string(), 0.0)]),
        tasks: BTreeMap::from([("answer".to_string(), 0.0)]),
        ..LoaderConfig::default()
    };
    let loader = Loader::open(&out, &overrides, Split::Train).expect("opens");
    let rows = loader.next_rows(&mut Cursor::default(), 100);
    assert!(rows.iter().all(|row| row.source == 1 && row.task != 4));
    let wrong = LoaderConfig {
        tasks: BTreeMap::from([("answers".to_string(), 0.0)]),
        ..LoaderConfig::default()
    };
    let error = Loader::open(&out, &wrong, Split::Train)
        .err()
        .expect("unknown");
    assert!(
        error.to_string().contains("did you mean `answer`"),
        "{error}"
    );
}

/// Identities of the records in some rows.
fn identities(loader: &Loader, rows: &[RowRef]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for row in rows {
        let shard = loader.shard(row).expect("a shard");
        for part in shard.row(row).expect("a row") {
            let id = shard.with_entry(part.record, |entry| entry.id.to_string());
            out.insert(format!("{}/{}", shard.name, id.expect("a record")));
        }
    }
    out
}

#[test]
fn held_out_records_are_never_in_training_rows() {
    let (_dir, out) = prepared();
    let train = open(&out, Split::Train);
    let seen = identities(&train, &train.next_rows(&mut Cursor::default(), 3000));
    let held = open(&out, Split::HeldOut);
    let mut kept_out = BTreeSet::new();
    for task in held.task_names() {
        kept_out.extend(identities(&held, &held.held_out_rows(task, 1000)));
    }
    let drawn = held.next_rows(&mut Cursor::default(), 500);
    assert_eq!(identities(&held, &drawn), kept_out);
    assert!(kept_out.len() > 10);
    assert!(seen.is_disjoint(&kept_out));
    let n_records: u64 = train
        .manifest()
        .sources
        .iter()
        .map(|source| source.records)
        .sum();
    assert_eq!((seen.len() + kept_out.len()) as u64, n_records);
    assert_eq!(held_out_pictures(&out, 5).expect("pictures").len(), 5);
}

#[test]
fn rows_fit_and_one_epoch_of_lm_holds_every_token_of_every_text_once() {
    let (dir, out) = prepared();
    let loader = open(&out, Split::Train);
    let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
    for split in [false, true] {
        for row in 0..loader.shards[0].n_rows(0, split) {
            let row = RowRef {
                source: 0,
                task: 0,
                held_out: split,
                epoch: 0,
                row,
            };
            let batch = loader.batch(&[row]).expect("a batch");
            assert!(batch.n_positions() <= loader.manifest().config.row_len);
            for (label, at) in batch.labels.iter().zip(&batch.loss_at) {
                assert_eq!(batch.segments[*at as usize], 2);
                *counts.entry(*label).or_default() += 1;
            }
        }
    }
    let text = std::fs::read_to_string(dir.path().join("a.jsonl")).expect("reads");
    let tokenizer = crate::testing::tokenizer();
    let mut wanted: BTreeMap<u32, u64> = BTreeMap::new();
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        for id in tokenizer.encode(value["text"].as_str().expect("a text")) {
            *wanted.entry(id).or_default() += 1;
        }
    }
    counts.remove(&tokenizer.special().sep);
    assert_eq!(counts, wanted);
}

#[test]
fn noise_is_new_every_epoch_and_the_same_for_the_same_row() {
    let (_dir, out) = prepared();
    let loader = open(&out, Split::Train);
    let row = |epoch| RowRef {
        source: 0,
        task: 1,
        held_out: false,
        epoch,
        row: 0,
    };
    let batch = |epoch| loader.batch(&[row(epoch)]).expect("a batch");
    assert_eq!(batch(0), batch(0));
    assert_ne!(batch(0).tokens, batch(1).tokens);
    assert_eq!(batch(0).labels, batch(1).labels);
}

#[test]
fn patches_carry_their_picture_and_mirroring_is_keyed() {
    let (_dir, out) = prepared();
    let loader = open(&out, Split::Train);
    let rows: Vec<RowRef> = (0..4)
        .map(|row| RowRef {
            source: 1,
            task: 2,
            held_out: false,
            epoch: 0,
            row,
        })
        .collect();
    let batch = loader.batch(&rows).expect("a batch");
    assert_eq!(batch.pictures.len(), batch.picture_at.len() * 3 * 8 * 8);
    for &at in &batch.picture_at {
        let patches = &batch.positions[at as usize..at as usize + 4];
        assert_eq!(patches, [0, 1, 2, 3]);
        assert_eq!(batch.tokens[at as usize], NO_TOKEN);
    }
    let flipping = LoaderConfig {
        flip: true,
        ..LoaderConfig::default()
    };
    let flipping = Loader::open(&out, &flipping, Split::Train).expect("opens");
    assert_eq!(
        flipping.batch(&rows).expect("a batch"),
        flipping.batch(&rows).expect("a batch")
    );
    let stats = loader.stats(&rows).expect("counts");
    assert_eq!(stats.packed, batch.n_positions() as u64);
    assert!(stats.padded > stats.packed);
}

#[test]
fn damaged_tables_are_errors_that_name_the_place() {
    let (_dir, out) = prepared();
    let row = RowRef {
        source: 0,
        task: 0,
        held_out: false,
        epoch: 0,
        row: 1 << 40,
    };
    let error = open(&out, Split::Train)
        .batch(&[row])
        .expect_err("no such row");
    assert!(error.to_string().contains("row of lm"), "{error}");
    // Every record number of the table is made to point nowhere.
    let path = out.join("a/rows-lm-train.bin");
    let mut bytes = std::fs::read(&path).expect("reads");
    bytes.fill(0xff);
    m6_store::atomic::write_file(&path, &bytes).expect("writes");
    let error = open(&out, Split::Train)
        .batch(&[RowRef { row: 0, ..row }])
        .expect_err("damaged");
    assert!(error.to_string().contains("no such record"), "{error}");
}

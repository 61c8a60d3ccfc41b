//! Bad input through the built binary: counted, quarantined or refused with a message that says what to do; never a panic.

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{failed_with, last_json, m6, pretrain, run, sets, shared_data, stdout_of};

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    m6_store::atomic::write_file(path, bytes).expect("written");
}

fn png(side: usize) -> Vec<u8> {
    let pixels = m6_image::Rgb8 {
        width: side,
        height: side,
        data: vec![90; side * side * 3],
    };
    m6_image::encode_png(&pixels, &[]).expect("encodes")
}

/// A PNG whose header claims 100,000 x 100,000 pixels.
fn bomb() -> Vec<u8> {
    let mut bytes = png(8);
    for at in [16, 20] {
        bytes[at..at + 4].copy_from_slice(&100_000u32.to_be_bytes());
    }
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder
            .append_data(&mut header, name, *bytes)
            .expect("appended");
    }
    builder.into_inner().expect("finished")
}

/// A configuration with one source over `folder`.
fn config(folder: &Path, source: &str) -> PathBuf {
    let path = folder.join("config.toml");
    let text = format!(
        "extends = \"m6-tiny\"\n[tokenizer]\nvocab_size = 300\nmin_frequency = 1\n[data]\nroot = \"{}\"\nimage_side = 32\ngrid = 2\n\
         bad_limit = 0.9\n[[data.sources]]\nname = \"s\"\nlicence = \"test\"\n{source}\n",
        folder.display()
    );
    write(&path, text.as_bytes());
    path
}

fn prepare(folder: &Path, source: &str) -> std::process::Output {
    let config = config(folder, source);
    let out = folder.join("data");
    run(&[
        "prepare",
        config.to_str().expect("UTF-8"),
        "--out",
        out.to_str().expect("UTF-8"),
        "--json",
        "-q",
    ])
}

fn quarantine(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("data/quarantine.jsonl")).expect("a quarantine");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

const PAIRS: &str = "kind = \"webdataset\"\npath = \"pairs.tar\"\ncaptions = \"captions\"\n";

fn pair_entries<'a>(
    picture: &'a [u8],
    json: &'a [u8],
    names: &'a [(String, String)],
) -> Vec<(&'a str, &'a [u8])> {
    names
        .iter()
        .flat_map(|(p, j)| [(p.as_str(), picture), (j.as_str(), json)])
        .collect()
}

#[test]
fn a_truncated_tar_gives_what_was_whole_and_says_what_was_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let names: Vec<(String, String)> = (0..6)
        .map(|i| (format!("{i}.png"), format!("{i}.json")))
        .collect();
    let picture = png(40);
    let json = "{\"captions\":[\"一只红色的小鸟\",\"小鸟\"]}".as_bytes();
    let whole = tar_of(&pair_entries(&picture, json, &names));
    write(
        &folder.path().join("pairs.tar"),
        &whole[..whole.len() * 3 / 5],
    );
    let row = last_json(&prepare(folder.path(), PAIRS));
    let kept = row["sources"][0]["records"].as_u64().expect("a count");
    assert!((2..6).contains(&kept), "{row}");
    assert!(!quarantine(folder.path()).is_empty());
}

#[test]
fn a_picture_bomb_is_quarantined_before_its_pixels_are_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = "{\"captions\":[\"一只红色的小鸟\"]}".as_bytes();
    let (good, bad) = (png(40), bomb());
    let tar = tar_of(&[
        ("a.png", &good),
        ("a.json", json),
        ("b.png", &bad),
        ("b.json", json),
    ]);
    write(&folder.path().join("pairs.tar"), &tar);
    let row = last_json(&prepare(folder.path(), PAIRS));
    assert_eq!(row["sources"][0]["records"], 1, "{row}");
    let line = &quarantine(folder.path())[0];
    assert!(
        line["detail"]
            .as_str()
            .expect("a detail")
            .contains("pixels"),
        "{line}"
    );
}

#[test]
fn broken_lines_nuls_and_invalid_utf8_are_quarantined_by_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = Vec::new();
    for i in 0..8 {
        text.extend(format!("{{\"text\":\"第{i}句话写在这里，长短合适。\"}}\n").as_bytes());
    }
    text.extend(b"{\"text\": \"never closed\n\0\0\0\0\n{\"text\":\"\xff\xfe\"}\n[1,2]\n");
    write(&folder.path().join("t.jsonl"), &text);
    let row = last_json(&prepare(
        folder.path(),
        "kind = \"jsonl\"\npath = \"t.jsonl\"\ntext = \"text\"\n",
    ));
    assert_eq!(row["sources"][0]["records"], 8, "{row}");
    let lines = quarantine(folder.path());
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines.iter().all(|line| line["where"]
            .as_str()
            .is_some_and(|w| w.contains("t.jsonl"))),
        "{lines:?}"
    );
}

#[test]
fn an_empty_source_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("t.jsonl"), b"");
    let output = prepare(
        folder.path(),
        "kind = \"jsonl\"\npath = \"t.jsonl\"\ntext = \"text\"\n",
    );
    let stderr = failed_with(&output, 3);
    assert!(stderr.contains("no record"), "{stderr}");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = prepare(
        folder.path(),
        "kind = \"jsonl\"\npath = \"t.jsonl\"\ncaptoins = \"c\"\n",
    );
    let stderr = failed_with(&output, 2);
    assert!(
        stderr.contains("captoins") && stderr.contains("did you mean `captions`"),
        "{stderr}"
    );
}

#[test]
fn an_output_folder_with_something_in_it_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("run/precious.txt"), b"mine");
    let stderr = failed_with(&pretrain(&folder.path().join("run"), &[]), 2);
    assert!(
        stderr.contains("not empty") && stderr.contains("--overwrite"),
        "{stderr}"
    );
    assert!(folder.path().join("run/precious.txt").exists());
}

#[test]
fn a_second_process_on_the_same_run_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let data = shared_data().to_str().expect("UTF-8");
    let mut first = m6()
        .args([
            "pretrain",
            "m6-nano",
            "--data",
            data,
            "--out",
            out.to_str().expect("UTF-8"),
            "-q",
        ])
        .args(sets(&support::SMALL))
        .args([
            "--set",
            "train.steps=100000",
            "--set",
            "train.checkpoint_every=1",
        ])
        .spawn()
        .expect("starts");
    let begun = std::time::Instant::now();
    while !out.join("checkpoints/step-00000001").exists() && begun.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let second = pretrain(
        &out,
        &[
            "--resume",
            "--set",
            "train.steps=100000",
            "--set",
            "train.checkpoint_every=1",
        ],
    );
    first.kill().expect("killed");
    first.wait().expect("ended");
    let stderr = failed_with(&second, 2);
    assert!(
        stderr.contains("in use") || stderr.contains("lock"),
        "{stderr}"
    );
}

#[test]
fn weights_with_a_lying_header_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    last_json(&pretrain(&out, &[]));
    let checkpoint = out.join("checkpoints/step-00000008");
    let model = folder.path().join("model");
    std::fs::create_dir(&model).expect("a folder");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(checkpoint.join(name), model.join(name)).expect("copied");
    }
    let text = |path: &Path| {
        run(&[
            "generate",
            "text",
            "--model",
            path.to_str().expect("UTF-8"),
            "--prompt",
            "圆",
        ])
    };
    assert!(
        text(&model).status.success(),
        "an exported model without a manifest can be used"
    );
    let sound = std::fs::read(model.join("model.safetensors")).expect("readable");
    let mut huge = sound.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut short = sound.clone();
    short.truncate(sound.len() - 100);
    for lie in [huge, short, vec![0; 4]] {
        write(&model.join("model.safetensors"), &lie);
        let stderr = failed_with(&text(&model), 3);
        assert!(stderr.contains("model.safetensors"), "{stderr}");
    }
}

#[test]
fn a_vocabulary_of_another_size_than_the_checkpoint_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    last_json(&pretrain(&out, &[]));
    let model = folder.path().join("model");
    std::fs::create_dir(&model).expect("a folder");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(
            out.join("checkpoints/step-00000008").join(name),
            model.join(name),
        )
        .expect("copied");
    }
    let tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "圆"]
        .map(String::from)
        .to_vec();
    let tokenizer = m6_text::Tokenizer::from_tokens(tokens).expect("a vocabulary");
    write(
        &model.join("tokenizer.json"),
        tokenizer.to_json().as_bytes(),
    );
    let output = run(&[
        "generate",
        "text",
        "--model",
        model.to_str().expect("UTF-8"),
        "--prompt",
        "圆",
    ]);
    let stderr = failed_with(&output, 2);
    assert!(stderr.contains('6') && stderr.contains("vocab"), "{stderr}");
}

#[test]
fn a_full_disk_stops_the_run_and_keeps_what_was_committed() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).expect("a folder");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m", "none"])
        .arg(&disk)
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        #[allow(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: mounting a small tmpfs needs root");
        }
        return;
    }
    let out = disk.join("run");
    // Each checkpoint is about 4.5 MB; the ballast leaves room for some of them, not for all.
    write(&disk.join("ballast"), &vec![0; 10_000_000]);
    let output = pretrain(
        &out,
        &[
            "--set",
            "train.keep=100",
            "--set",
            "train.checkpoint_every=1",
            "--set",
            "train.steps=40",
        ],
    );
    let found = m6_store::checkpoints::latest_valid(&out.join("checkpoints"));
    let unmounted = || {
        Command::new("umount")
            .arg(&disk)
            .status()
            .is_ok_and(|status| status.success())
    };
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    assert!(unmounted(), "the small disk is taken down again");
    assert!(matches!(code, Some(2 | 3)), "{code:?} {stderr}");
    assert!(
        stderr.contains("space") && stderr.contains("checkpoint") && !stderr.contains("panicked"),
        "{stderr}"
    );
    assert!(
        found.expect("the folder can be scanned").is_some(),
        "a whole checkpoint is left: {stderr}"
    );
}

#[test]
fn a_missing_file_and_a_missing_config_name_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let stderr = failed_with(
        &prepare(
            folder.path(),
            "kind = \"jsonl\"\npath = \"gone.jsonl\"\ntext = \"text\"\n",
        ),
        2,
    );
    assert!(stderr.contains("gone.jsonl"), "{stderr}");
    let stderr = failed_with(&run(&["plan", "m6-tny"]), 2);
    assert!(
        stderr.contains("m6-tny") && stderr.contains("m6-tiny"),
        "{stderr}"
    );
    let listed = stdout_of(&run(&["preset", "list"]));
    assert!(listed.contains("m6-100b"));
}

//! `m6 corpus build`, `why` and `diff` through the built binary: what scripts rely on, and hostile input, each within the memory
//! budget.

mod support;

use flate2::write::GzEncoder;
use m6_clean::archive::{Compression, Kind, NewRecord, Writer};
use m6_store::rng::Key;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use support::{failed_with, keys, last_json, m6, run, stdout_of};

/// Memory that every build here is told to keep to, in MiB.
const MEMORY_MB: u64 = 256;

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    m6_store::atomic::write_file(path, bytes).expect("written");
}

/// Sentences that share next to nothing with those of another seed.
fn text(seed: u64, n: usize) -> String {
    let mut stream = Key::new(seed).child("text").stream();
    let mut out = String::new();
    for at in 0..n {
        for _ in 0..18 {
            out.push(char::from_u32(0x4e00 + stream.below(1000) as u32).expect("a character"));
        }
        out.push_str(if at % 4 == 3 { "。\n" } else { "。" });
    }
    out.trim_end().to_string()
}

fn page(body: &str) -> String {
    format!(
        "<html><head><meta charset=utf-8><title>一个足够长的标题</title></head><body><article>{body}</article></body></html>"
    )
}

/// A page with a good text.
fn good_page(seed: u64) -> String {
    page(&format!(
        "<p>{}</p>",
        text(seed, 12).replace('\n', "</p><p>")
    ))
}

/// Input below `in/`, one source over it, output in `out/`.
struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    fn new(source: &str) -> Self {
        let case = Self {
            dir: tempfile::tempdir().expect("a folder"),
        };
        let root = serde_json::to_string(&case.path("in")).expect("a path");
        let config = format!(
            "[corpus]\nroot = {root}\nmemory_mb = {MEMORY_MB}\nrules.pack = \"m6\"\n\n[[corpus.sources]]\n{source}\n"
        );
        write(&case.path("c.toml"), config.as_bytes());
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn args(&self, out: &str) -> Vec<String> {
        let args = [
            "corpus",
            "build",
            &self.arg("c.toml"),
            "--out",
            &self.arg(out),
            "--json",
            "-q",
        ];
        args.map(str::to_string).into()
    }

    /// Builds; the answer. The memory of the process stayed within the budget.
    fn build(&self) -> Value {
        let (output, peak) = watched(&self.args("out"));
        let answer = last_json(&output);
        assert!(
            peak <= MEMORY_MB << 10,
            "{peak} KiB of memory, told to keep to {MEMORY_MB} MiB"
        );
        answer
    }
}

/// Runs the binary; what it said, and the most memory it held, mapped files and all, in KiB (0 where the system does not tell).
fn watched(args: &[String]) -> (Output, u64) {
    let mut command = m6();
    let command = command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().expect("the binary starts");
    let path = format!("/proc/{}/status", child.id());
    let waiter = std::thread::spawn(move || child.wait_with_output().expect("it ends"));
    let mut peak = 0;
    while !waiter.is_finished() {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let digits = line.map(|line| line.trim().trim_end_matches(" kB").to_string());
        peak = peak.max(digits.and_then(|digits| digits.parse().ok()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    (waiter.join().expect("the waiter ends"), peak)
}

/// Rows of the funnel of one stage: verdict, rule, count.
fn funnel(answer: &Value, stage: &str) -> Vec<(String, String, u64)> {
    let text = |row: &Value, key: &str| row[key].as_str().expect("text").to_string();
    let rows = answer["funnel"].as_array().expect("a funnel").iter();
    let rows = rows.filter(|row| row["stage"] == stage);
    rows.map(|row| {
        (
            text(row, "verdict"),
            text(row, "rule"),
            row["count"].as_u64().expect("a count"),
        )
    })
    .collect()
}

fn count(answer: &Value, fate: &str) -> u64 {
    answer["records"][fate].as_u64().unwrap_or(0)
}

const PAGES: &str = "name = \"pages\"\nkind = \"pages\"\npath = \"pages\"";

/// Thirty good rows, a copy of one of them, and a damaged line.
fn rows_with_a_copy() -> Case {
    let case = Case::new(
        "name = \"rows\"\npath = \"a.jsonl\"\nfields = { text = [\"text\"], url = \"url\" }",
    );
    let line = |n: u64, text: &str| {
        format!(
            "{}\n",
            serde_json::json!({"id": n.to_string(), "url": format!("http://h.cn/{n}"), "text": text})
        )
    };
    let mut lines: String = (0..30).map(|n| line(n, &text(n, 8))).collect();
    lines.push_str(&line(30, &text(3, 8)));
    lines.push_str("{damaged\n");
    write(&case.path("in/a.jsonl"), lines.as_bytes());
    case
}

#[test]
fn a_build_gives_what_scripts_rely_on() {
    let case = rows_with_a_copy();
    let answer = case.build();
    for key in [
        "digest",
        "table",
        "funnel",
        "records",
        "sources",
        "histograms",
        "charsets",
        "languages",
        "hosts",
        "clusters",
        "times",
    ] {
        assert!(answer.get(key).is_some(), "{key}");
    }
    assert_eq!(
        keys(&answer["table"][0]),
        [
            "avg_length",
            "images",
            "modality",
            "passages",
            "source",
            "tokens"
        ]
    );
    assert_eq!(
        keys(&answer["funnel"][0]),
        ["count", "rule", "stage", "verdict"]
    );
    assert_eq!(
        (
            count(&answer, "kept"),
            count(&answer, "dropped"),
            count(&answer, "damaged")
        ),
        (30, 1, 1)
    );
    let stats: Value =
        serde_json::from_slice(&std::fs::read(case.path("out/stats.json")).expect("stats"))
            .expect("JSON");
    assert_eq!(stats["funnel"], answer["funnel"]);
    for name in [
        "report.html",
        "manifest.json",
        "README.md",
        "prepare.toml",
        "ledger/00000.parquet",
        "text/rows/train-00000.jsonl",
    ] {
        assert!(case.path("out").join(name).is_file(), "{name}");
    }
}

#[test]
fn why_tells_a_life_and_diff_what_moved() {
    let case = rows_with_a_copy();
    case.build();
    let why = run(&[
        "corpus",
        "why",
        "http://h.cn/30",
        &case.arg("out"),
        "--json",
    ]);
    let life = last_json(&why);
    assert_eq!(
        (life["fate"].as_str(), life["duplicate_of"].as_str()),
        (Some("dropped"), Some("rows/3"))
    );
    let told = stdout_of(&run(&["corpus", "why", "rows/30", &case.arg("out")]));
    assert!(told.contains("same_text"), "{told}");
    failed_with(&run(&["corpus", "why", "rows/99", &case.arg("out")]), 1);
    let mut changed = case.args("other");
    changed.extend(["--set".to_string(), "corpus.dedup.text=false".to_string()]);
    last_json(&watched(&changed).0);
    let diff = last_json(&run(&[
        "corpus",
        "diff",
        &case.arg("out"),
        &case.arg("other"),
        "--json",
    ]));
    assert_eq!(diff["moved"][0]["from"], "dropped by same_text");
    assert_eq!(diff["moved"][0]["count"], 1);
}

#[test]
fn a_page_of_50_mb_is_refused_alone() {
    let case = Case::new(PAGES);
    let paragraph = format!("<p>{}</p>", text(1, 4));
    let huge = page(&paragraph.repeat(50_000_000 / paragraph.len() + 1));
    assert!(huge.len() >= 50_000_000);
    write(&case.path("in/pages/huge.html"), huge.as_bytes());
    write(&case.path("in/pages/good.html"), good_page(2).as_bytes());
    let answer = case.build();
    assert_eq!(count(&answer, "kept"), 1, "{}", answer["records"]);
    assert_eq!(count(&answer, "read"), 2, "{}", answer["records"]);
}

#[test]
fn a_page_nested_100_000_deep_is_read() {
    let case = Case::new(PAGES);
    let inner = format!("<p>{}</p>", text(3, 12).replace('\n', "</p><p>"));
    let deep = format!(
        "{}{inner}{}",
        "<div>".repeat(100_000),
        "</div>".repeat(100_000)
    );
    write(&case.path("in/pages/deep.html"), page(&deep).as_bytes());
    write(&case.path("in/pages/good.html"), good_page(2).as_bytes());
    let answer = case.build();
    assert_eq!(
        count(&answer, "kept"),
        2,
        "{} {}",
        answer["records"],
        answer["funnel"]
    );
}

/// Bytes that are zero, packed.
fn bomb(n_bytes: usize) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    let block = vec![0; 1 << 20];
    for _ in 0..n_bytes >> 20 {
        out.write_all(&block).expect("packed");
    }
    out.finish().expect("packed")
}

fn response(url: &str, head: &str, body: &[u8], out: &mut Writer<Vec<u8>>) {
    let block = [format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes(), body].concat();
    let record = NewRecord {
        kind: Kind::Response,
        url: Some(url),
        date: "2024-01-01T00:00:00Z",
        content_type: "application/http; msgtype=response",
        fields: &[],
        block: &block,
    };
    out.write(&record).expect("written");
}

#[test]
fn gzip_bombs_are_stopped_and_the_next_page_is_read() {
    const BYTES: usize = 512 << 20;
    let html = "Content-Type: text/html\r\n";
    let case = Case::new("name = \"web\"\nkind = \"archive\"\npath = \"a.warc.gz\"");
    let mut archive = Writer::new(Vec::new(), Compression::Gzip);
    response(
        "http://a.example/1",
        html,
        good_page(1).as_bytes(),
        &mut archive,
    );
    // A body that says it is packed.
    let packed = format!("{html}Content-Encoding: gzip\r\n");
    response("http://a.example/bomb", &packed, &bomb(BYTES), &mut archive);
    response(
        "http://a.example/2",
        html,
        good_page(2).as_bytes(),
        &mut archive,
    );
    let mut bytes = archive.finish().expect("ends");
    // A member whose record never ends.
    bytes.extend(bomb(BYTES));
    let mut rest = Writer::new(Vec::new(), Compression::Gzip);
    response(
        "http://a.example/3",
        html,
        good_page(3).as_bytes(),
        &mut rest,
    );
    bytes.extend(rest.finish().expect("ends"));
    write(&case.path("in/a.warc.gz"), &bytes);
    let answer = case.build();
    assert_eq!(
        count(&answer, "kept"),
        3,
        "{} {}",
        answer["records"],
        answer["funnel"]
    );
    assert!(count(&answer, "damaged") >= 1, "{}", answer["records"]);
}

fn png(side: usize) -> Vec<u8> {
    let mut stream = Key::new(9).child("picture").stream();
    let data = (0..side * side * 3)
        .map(|_| stream.below(256) as u8)
        .collect();
    let pixels = m6_image::Rgb8 {
        width: side,
        height: side,
        data,
    };
    m6_image::encode_png(&pixels, &[]).expect("encodes")
}

/// A PNG whose header claims 100,000 x 100,000 pixels.
fn picture_bomb() -> Vec<u8> {
    let mut bytes = png(8);
    for at in [16, 20] {
        bytes[at..at + 4].copy_from_slice(&100_000u32.to_be_bytes());
    }
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    bytes
}

#[test]
fn a_picture_bomb_is_refused_and_the_others_are_kept() {
    let case = Case::new(&format!(
        "{PAGES}\npictures_from = \"img\"\nmodality = [\"text\", \"pairs\"]"
    ));
    let figure = |name: &str| {
        format!(
            "<figure><img src='{name}.png'><figcaption>一只在树下休息的小花猫</figcaption></figure>"
        )
    };
    let body = format!(
        "<p>{}</p>{}{}",
        text(5, 12).replace('\n', "</p><p>"),
        figure("bomb"),
        figure("good")
    );
    write(&case.path("in/pages/a.html"), page(&body).as_bytes());
    write(&case.path("in/img/bomb.png"), &picture_bomb());
    write(&case.path("in/img/good.png"), &png(200));
    let answer = case.build();
    let pictures = funnel(&answer, "pictures");
    assert!(
        pictures
            .iter()
            .any(|(verdict, rule, n)| verdict == "refused" && rule == "picture_pixels" && *n == 1),
        "{pictures:?}"
    );
    assert!(
        pictures
            .iter()
            .any(|(verdict, _, n)| verdict == "keep" && *n == 1),
        "{pictures:?}"
    );
}

#[test]
fn a_second_process_on_one_output_is_refused() {
    let case = Case::new(PAGES);
    write(&case.path("in/pages/good.html"), good_page(2).as_bytes());
    let out = case.path("out");
    std::fs::create_dir_all(out.join("work")).expect("made");
    let held = m6_store::lock::FolderLock::acquire(&out).expect("free");
    let (refused, _) = watched(&case.args("out"));
    failed_with(&refused, 2);
    drop(held);
    assert_eq!(count(&case.build(), "kept"), 1);
}

/// Enough records that whatever stays of a piece, or is mapped of all, shows.
#[test]
#[ignore = "writes 1 GB and takes minutes; run with --ignored when the builder's memory changes"]
fn a_large_file_of_json_lines_keeps_to_the_budget() {
    let case = Case::new(
        "name = \"rows\"\npath = \"a.jsonl\"\nfields = { id = \"id\", text = [\"text\"] }",
    );
    let path = case.path("in/a.jsonl");
    write(&path, b"");
    let file = std::fs::File::create(&path).expect("made");
    let mut out = std::io::BufWriter::new(file);
    for n in 0..150_000 {
        // Of all lengths, since it is those that scatter what is freed.
        let row =
            serde_json::json!({"id": n.to_string(), "text": text(n, 12 + n as usize * 7 % 90)});
        writeln!(out, "{row}").expect("written");
    }
    out.flush().expect("written");
    assert!(std::fs::metadata(&path).expect("there").len() > 400_000_000);
    let answer = case.build();
    assert!(count(&answer, "kept") > 100_000, "{}", answer["records"]);
}

/// A file system of a few megabytes of which nobody else sees anything, where the system lets a user make one.
const SMALL_DISK: &str = "mount -t tmpfs -o size=$SIZE tmpfs \"$DISK\" && { \"$M6\" \"$@\"; first=$?; ls \"$DISK/out/manifest.json\" 2>/dev/null; \
    mount -o remount,size=256m \"$DISK\" && \"$M6\" \"$@\" > \"$ANSWER\" && echo \"$first\"; }";

#[test]
#[cfg(target_os = "linux")]
#[allow(clippy::print_stderr)] // Says that nothing was tested.
fn a_full_disk_ends_the_build_and_room_lets_it_go_on() {
    let case = Case::new("name = \"rows\"\npath = \"a.jsonl\"\nfields = { text = [\"text\"] }");
    let lines: String = (0..3000)
        .map(|n| format!("{}\n", serde_json::json!({"text": text(n, 12)})))
        .collect();
    write(&case.path("in/a.jsonl"), lines.as_bytes());
    let expected = case.build();
    std::fs::create_dir_all(case.path("disk")).expect("made");
    let mut command = std::process::Command::new("unshare");
    let command = command
        .args(["-rm", "sh", "-c", SMALL_DISK, "sh"])
        .args(case.args("disk/out"))
        .env("M6", env!("CARGO_BIN_EXE_m6"))
        .env("SIZE", "2m")
        .env("DISK", case.path("disk"))
        .env("ANSWER", case.path("answer.json"));
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped: there is no unshare here: {error}");
            return;
        }
    };
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if stderr.contains("unshare") || stderr.contains("mount:") {
        eprintln!("skipped: no file system can be made here: {stderr}");
        return;
    }
    // The first run failed without a manifest, and said why; the second made what a run with room makes.
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "3",
        "{stderr}"
    );
    assert!(
        stderr.contains("error:") && stderr.contains("space"),
        "{stderr}"
    );
    let answer: Value =
        serde_json::from_slice(&std::fs::read(case.path("answer.json")).expect("an answer"))
            .expect("JSON");
    assert_eq!(answer["digest"], expected["digest"]);
}

#[cfg(not(feature = "s3"))]
#[test]
fn addresses_are_refused_with_how_to_build_for_them() {
    let case = Case::new(
        "name = \"rows\"\nkind = \"jsonl\"\npath = \"s3://bucket/rows.jsonl\"\nfields = { text = [\"text\"] }",
    );
    let config = case.arg("c.toml");
    for out in [case.arg("out"), "s3://bucket/corpus".to_string()] {
        let refused = run(&["corpus", "build", &config, "--out", &out, "--dry-run"]);
        let text = failed_with(&refused, 2);
        assert!(
            text.contains("s3://bucket") && text.contains("--features s3"),
            "{text}"
        );
    }
    let local = run(&[
        "corpus",
        "build",
        &config,
        "--out",
        &case.arg("out"),
        "--scratch",
        &case.arg("x"),
    ]);
    assert!(failed_with(&local, 2).contains("--scratch"));
}

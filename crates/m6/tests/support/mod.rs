//! The built binary in a temporary folder, and a small prepared data set that tests share.
#![allow(dead_code, reason = "each test file uses its part of the support")]

pub mod pictures;

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The binary under test.
pub fn m6() -> Command {
    Command::new(env!("CARGO_BIN_EXE_m6"))
}

/// Runs it; stdout, stderr and status.
pub fn run(args: &[&str]) -> Output {
    m6().args(args).output().expect("the binary starts")
}

/// Runs it with text on stdin.
pub fn run_with_input(args: &[&str], input: &[u8]) -> Output {
    let mut child = m6()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // The binary may stop reading at a bad line; that is what some tests are about.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("the writer ends");
    output
}

/// Asserts success and gives stdout.
pub fn stdout_of(output: &Output) -> String {
    assert!(
        output.status.success(),
        "status {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// The last line of stdout as JSON.
pub fn last_json(output: &Output) -> Value {
    let text = stdout_of(output);
    serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
}

/// stderr of a run that must have failed with this code, without a panic.
pub fn failed_with(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(stderr.contains("error:"), "{stderr}");
    stderr
}

/// Keys of an object in order of name.
pub fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> = value
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    keys.sort();
    keys
}

/// Settings that make everything small.
pub const SMALL: [&str; 9] = [
    "data.sources.world.n=120",
    "train.steps=8",
    "train.warmup_steps=2",
    "train.eval_every=8",
    "train.checkpoint_every=3",
    "train.sample_every=0",
    "train.rows_per_batch=4",
    "model.n_layers=2",
    "model.d_model=64",
];

/// `--set` before each of the settings.
pub fn sets<'a>(settings: &[&'a str]) -> Vec<&'a str> {
    settings.iter().flat_map(|s| ["--set", *s]).collect()
}

/// A folder with `data` prepared from the sample world, made once for a test process.
pub fn shared_data() -> &'static Path {
    static DATA: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = DATA.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("data");
        let mut args = vec![
            "prepare",
            "m6-nano",
            "--out",
            path.to_str().expect("UTF-8"),
            "-q",
        ];
        args.extend(sets(&SMALL));
        stdout_of(&run(&args));
        (folder, path)
    });
    path
}

/// Trains on the shared data into `out`.
pub fn pretrain(out: &Path, more: &[&str]) -> Output {
    let data = shared_data().to_str().expect("UTF-8");
    let mut args = vec![
        "pretrain",
        "m6-nano",
        "--data",
        data,
        "--out",
        out.to_str().expect("UTF-8"),
        "-q",
        "--json",
    ];
    args.extend(sets(&SMALL));
    args.extend(more);
    run(&args)
}

/// Writes a file of a test and gives its path as text.
pub fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    m6_store::atomic::write_file(&path, text.as_bytes()).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

/// Writes a picture of one grey and gives its path as text.
pub fn written_png(folder: &Path, name: &str, side: usize, grey: u8) -> String {
    let pixels = m6_image::Rgb8 {
        width: side,
        height: side,
        data: vec![grey; side * side * 3],
    };
    let png = m6_image::encode_png(&pixels, &[]).expect("encodes");
    let path = folder.join(name);
    m6_store::atomic::write_file(&path, &png).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

/// The folder of real data beside the checkout, or a line that says what was skipped.
pub fn real_data(what: &str) -> Option<PathBuf> {
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

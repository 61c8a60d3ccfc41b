//! What the tests of several modules share: a tokenizer, pictures, folders of sources, the real data.

use std::path::{Path, PathBuf};

use m6_image::{Rgb8, encode_png};
use m6_text::Tokenizer;
use tempfile::TempDir;

use crate::config::{DataConfig, Fields, Kind, SourceConfig};
use crate::manifest::Summary;

/// Characters of the test vocabulary.
const LETTERS: &str =
    "一二三四五六七八九十红黄蓝绿圆方花猫狗鸟山水火木在有的是什么几个颜色？，。、";

/// A tokenizer of a few characters.
pub(crate) fn tokenizer() -> Tokenizer {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_string);
    let letters = LETTERS.chars().map(String::from);
    Tokenizer::from_tokens(special.into_iter().chain(letters).collect()).expect("a vocabulary")
}

/// A PNG of one colour.
pub(crate) fn png(width: usize, height: usize, shade: u8) -> Vec<u8> {
    let image = Rgb8 {
        width,
        height,
        data: vec![shade; width * height * 3],
    };
    encode_png(&image, &[]).expect("encodes")
}

/// A PNG that claims a million pixels a side.
pub(crate) fn bomb() -> Vec<u8> {
    let mut bytes = png(2, 2, 0);
    bytes[16..20].copy_from_slice(&1_000_000u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&1_000_000u32.to_be_bytes());
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// A folder with these files.
pub(crate) fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("makes folders");
        m6_store::atomic::write_file(&path, bytes).expect("writes");
    }
    dir
}

/// A small configuration of one source.
pub(crate) fn config(root: &Path, source: SourceConfig) -> DataConfig {
    DataConfig {
        root: root.to_path_buf(),
        row_len: 64,
        image_side: 8,
        grid: 2,
        max_text: 24,
        bad_limit: 0.5,
        sources: vec![source],
        ..DataConfig::default()
    }
}

/// A source with this name, kind and path; the rest is the default.
pub(crate) fn source(name: &str, kind: Kind, path: &str) -> SourceConfig {
    SourceConfig {
        name: name.to_string(),
        kind,
        path: Fields::from([path]),
        held_out: 0.0,
        ..SourceConfig::default()
    }
}

/// Lines of short texts, each with captions and a question.
pub(crate) fn lines(n: usize) -> String {
    let letters: Vec<char> = LETTERS.chars().collect();
    let mut stream = m6_store::rng::Key::new(77).stream();
    let mut word = |most: u64| -> String {
        let n = 1 + stream.below(most);
        (0..n).map(|_| *stream.choose(&letters)).collect()
    };
    let mut out = String::new();
    for id in 0..n {
        let record = serde_json::json!({
            "id": format!("r{id}"), "text": word(90), "captions": [word(9), word(12)],
            "question": word(6), "answer": word(3),
        });
        out.push_str(&record.to_string());
        out.push('\n');
    }
    out
}

/// The source that reads [`lines`].
pub(crate) fn line_source(name: &str, path: &str) -> SourceConfig {
    SourceConfig {
        text: Fields::from(["text"]),
        captions: Fields::from(["captions"]),
        question: Some("question".to_string()),
        answer: Some("answer".to_string()),
        held_out: 0.2,
        ..source(name, Kind::Jsonl, path)
    }
}

/// A tar of `n` pictures with captions and questions.
pub(crate) fn shard(n: usize) -> Vec<u8> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for at in 0..n {
        files.push((format!("p{at:03}.png"), png(5, 9, at as u8)));
        let json = serde_json::json!({
            "captions": ["红花在山。", "一个圆，黄色", "有猫"], "q": "什么颜色？", "a": "蓝",
        });
        files.push((format!("p{at:03}.json"), json.to_string().into_bytes()));
    }
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(n, b)| (n.as_str(), b.as_slice()))
        .collect();
    crate::tarball::tests::build(&files)
}

/// The source that reads [`shard`].
pub(crate) fn shard_source(name: &str, path: &str) -> SourceConfig {
    SourceConfig {
        captions: Fields::from(["captions"]),
        question: Some("q".to_string()),
        answer: Some("a".to_string()),
        ..source(name, Kind::Webdataset, path)
    }
}

/// Prepares into `<dir>/out`.
pub(crate) fn prepare(config: &DataConfig, dir: &Path) -> crate::Result<Summary> {
    crate::prepare(
        config,
        &tokenizer(),
        None,
        &dir.join("out"),
        false,
        &mut |_| {},
    )
}

/// The quarantine lines of a prepared folder.
pub(crate) fn quarantine(dir: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.join("quarantine.jsonl")).expect("reads");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line"))
        .collect()
}

/// The real data, or `None` after one line that says it is skipped.
#[allow(clippy::print_stderr)]
pub(crate) fn shared_data(test: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("M6_SHARED").map(PathBuf::from);
    let data = shared
        .unwrap_or_else(|| workspace.join("../shared"))
        .join("data");
    if data.is_dir() {
        return Some(data);
    }
    eprintln!("{test}: skipped, there is no {}", data.display());
    None
}

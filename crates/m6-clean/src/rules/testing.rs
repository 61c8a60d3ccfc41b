//! What several test modules of the rules need.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use super::lists::{Kind, ListSource};

/// The folder of real data (`M6_SHARED`, or `shared` beside the workspace); without it one clear line and `None`.
pub(crate) fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("M6_SHARED").map_or_else(beside, PathBuf::from);
    if folder.join("data").is_dir() {
        return Some(folder);
    }
    // Ignoring a failed write: there is nowhere else to say it.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: no real data at {} (set M6_SHARED)",
        folder.display()
    );
    None
}

/// The string field `field` of the first `limit` lines of a JSONL file under `shared/data`.
pub(crate) fn texts(shared: &Path, file: &str, field: &str, limit: usize) -> Vec<String> {
    let reader = BufReader::new(std::fs::File::open(shared.join("data").join(file)).unwrap());
    let rows = reader
        .lines()
        .take(limit)
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
    rows.filter_map(|row| row[field].as_str().map(str::to_owned))
        .collect()
}

/// A word list written to a file of its own.
pub(crate) fn list(dir: &Path, name: &str, tier: u8, entries: &str) -> ListSource {
    let path = dir.join(format!("{name}.txt"));
    m6_store::atomic::write_file(&path, entries.as_bytes()).unwrap();
    ListSource {
        name: name.to_owned(),
        path,
        tier,
        kind: Kind::Words,
        min_chars: 2,
    }
}

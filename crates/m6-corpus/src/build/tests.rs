//! Small builds from files to a finished corpus, and one of real data where it is at hand.

mod faults;
mod fixture;
#[cfg(feature = "s3")]
mod remote;
mod whole;

use std::path::{Path, PathBuf};

use super::Config;
use fixture::build;

/// The folder of shared data, if there is one.
fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("M6_SHARED")
        .map_or(beside, PathBuf::from)
        .join("data");
    folder.is_dir().then_some(folder)
}

const CONFIG: &str = r#"
[[sources]]
name = "recipes"
kind = "jsonl"
path = "howtocook/docs.jsonl"
format = "markdown"
fields = { title = "title", text = ["markdown"], pictures = ["images"] }
pictures_from = "howtocook/docs.tar"
modality = ["text", "pairs", "documents"]

[[sources]]
name = "pages"
kind = "pages"
path = "html/pages.tar.gz"
index = "html/pages.jsonl"
modality = ["text"]

[[sources]]
name = "web"
kind = "archive"
path = "warc/assembled-zh.warc.gz"
modality = ["text"]
"#;

#[test]
#[allow(clippy::print_stderr)] // Says that nothing was tested.
fn recipes_and_pages_become_a_corpus() {
    let Some(root) = shared() else {
        eprintln!("skipped: no shared data here, and M6_SHARED is not set");
        return;
    };
    let mut config: Config = toml::from_str(CONFIG).expect("parses");
    config.root = root;
    let dir = tempfile::tempdir().expect("a folder");
    let stats = build(&config, dir.path()).stats.expect("a whole build");
    let kept = |name: &str| stats.sources[name].get("kept").copied().unwrap_or(0);
    assert!(kept("recipes") > 150, "{:?}", stats.sources);
    // The archive holds the same pages as the tar, which comes first.
    assert!(kept("pages") > 100, "{:?}", stats.sources);
    assert!(kept("web") * 2 < kept("pages"), "{:?}", stats.sources);
    whole::sums_add_up(&stats);
    let pairs = stats
        .table
        .iter()
        .find(|row| row.source == "recipes" && row.modality == "pairs");
    assert!(
        pairs.is_some_and(|row| row.images > 100),
        "{:?}",
        stats.table
    );
}

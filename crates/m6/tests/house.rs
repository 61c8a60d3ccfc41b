//! The shape of the house, checked: dependency edges, file sizes, who may print, dial out or name the tensor backend.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Floor of each crate; an arrow may only point to a lower floor.
const FLOORS: [(&str, u8); 12] = [
    ("m6-store", 0),
    ("m6-image", 0),
    ("m6-clean", 1),
    ("m6-nn", 1),
    ("m6-text", 1),
    ("m6-world", 1),
    ("m6-model", 2),
    ("m6-corpus", 2),
    ("m6-data", 2),
    ("m6-train", 3),
    ("m6-eval", 3),
    ("m6", 5),
];

fn floor(name: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(crate_name, _)| *crate_name == name)
        .map(|(_, floor)| *floor)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace folder")
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

/// Rust files below a crate's `src`.
fn sources(crate_name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates").join(crate_name).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                // Files of tests only may print what they skipped.
                false if path.ends_with("tests.rs") || path.ends_with("testing.rs") => {}
                false if path.extension().is_some_and(|e| e == "rs") => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

#[test]
fn arrows_point_down_only() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let names: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(
        names,
        FLOORS.iter().map(|(name, _)| *name).collect(),
        "every crate has a floor"
    );
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let below = dependency["name"].as_str().expect("a name");
            if let (Some(from), Some(to)) = (floor(name), floor(below)) {
                assert!(
                    to < from,
                    "{name} (floor {from}) must not depend on {below} (floor {to})"
                );
            }
        }
    }
}

#[test]
fn only_m6_nn_names_the_tensor_backend() {
    let metadata = metadata();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let names_backend = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            .any(|d| matches!(d["name"].as_str(), Some("candle-core" | "gemm")));
        assert_eq!(names_backend, name == "m6-nn", "{name}");
    }
}

#[test]
fn files_are_of_a_size_one_reads_in_a_sitting() {
    for (name, _) in FLOORS {
        for path in sources(name) {
            let n_lines = std::fs::read_to_string(&path)
                .expect("readable")
                .lines()
                .count();
            assert!(n_lines <= 600, "{} has {n_lines} lines", path.display());
        }
    }
}

/// Crates whose sources hold one of the words outside comments and tests.
fn who_says(words: &[&str]) -> BTreeSet<String> {
    who_says_outside(&[], words)
}

/// Files that hold nothing but tests.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let is_in_tests = path.components().any(|part| part.as_os_str() == "tests");
    is_in_tests || name.ends_with("tests") || name.starts_with("testing")
}

/// The same, but files whose path holds one of `rooms` may.
fn who_says_outside(rooms: &[&str], words: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, _) in FLOORS {
        for path in sources(name) {
            let shown = path.to_string_lossy();
            if rooms.iter().any(|room| shown.contains(room)) {
                continue;
            }
            if is_test(&path) {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("readable");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let says = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .any(|line| words.iter().any(|word| line.contains(word)));
            if says {
                found.insert(name.to_string());
            }
        }
    }
    found
}

#[test]
fn only_the_fetcher_and_the_stores_dial_out_and_nobody_listens() {
    let rooms = ["m6-corpus/src/fetch/", "m6-corpus/src/remote/"];
    let words = [
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "reqwest",
        "ureq",
        "object_store",
        "tokio",
    ];
    assert_eq!(who_says_outside(&rooms, &words), BTreeSet::new());
}

#[test]
fn only_the_ranks_of_m6_nn_speak_to_other_processes() {
    let words = ["use mpi::", "ffi::MPI", "mpi_sys"];
    let outside = who_says_outside(&["m6-nn/src/dist/"], &words);
    assert_eq!(outside, BTreeSet::new());
    let metadata = metadata();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let mut below = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter();
        let mpi = below.find(|d| d["name"] == "mpi");
        assert_eq!(mpi.is_some(), name == "m6-nn", "{name}");
        assert!(
            mpi.is_none_or(|mpi| mpi["optional"] == true),
            "MPI is a feature"
        );
    }
}

#[test]
fn the_model_does_no_io_and_looks_at_no_clock() {
    // Whoever opens a file names `std::fs` first.
    let io = who_says(&["std::fs", "Instant::now", "SystemTime"]);
    assert!(!io.contains("m6-model"), "{io:?}");
    let prints = who_says(&["println!", "eprintln!", "std::io::stdout"]);
    assert!(
        prints.is_subset(&BTreeSet::from(["m6".to_string()])),
        "{prints:?}"
    );
}

#[test]
fn training_names_no_task_and_data_names_no_tensor() {
    let tasks = who_says(&[
        "\"denoise\"",
        "\"image_to_text\"",
        "\"multimodal\"",
        "\"lm\"",
    ]);
    assert!(!tasks.contains("m6-train"), "{tasks:?}");
    assert!(!who_says(&["Tensor"]).contains("m6-data"));
}

#[test]
fn the_default_build_stays_small() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "-p",
            "m6",
            "-e",
            "normal,build",
            "--prefix",
            "none",
            "--offline",
            "--format",
            "{p}",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let packages: BTreeSet<&str> = text
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    assert!(
        (10..=350).contains(&packages.len()),
        "{} packages in the default build",
        packages.len()
    );
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut n_links = 0;
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "docs/paper-map.md",
        "docs/benchmarks.md",
    ] {
        let text = std::fs::read_to_string(root().join(name)).expect(name);
        let folder = root().join(name).parent().expect("a folder").to_path_buf();
        for piece in text.split("](").skip(1) {
            let target = piece
                .split(')')
                .next()
                .unwrap_or_default()
                .split('#')
                .next()
                .unwrap_or_default();
            if target.is_empty() || target.starts_with("http") {
                continue;
            }
            assert!(
                folder.join(target).exists(),
                "{name} links to {target}, which is not there"
            );
            n_links += 1;
        }
    }
    assert!(n_links > 20, "{n_links} links");
}

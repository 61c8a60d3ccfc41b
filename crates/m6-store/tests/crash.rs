//! A process killed at any moment loses nothing that was committed and leaves nothing half-written.
#![cfg(unix)]

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use m6_store::atomic::{AppendLog, DirCommit, sweep_stale, write_file};
use m6_store::checkpoints;
use m6_store::rng::Key;

const CHILD_DIR: &str = "M6_STORE_CRASH_CHILD_DIR";

/// Runs as the child only: commits checkpoints, files and log lines until it is killed.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let dir = Path::new(&dir);
    let mut log = AppendLog::open(&dir.join("log")).unwrap();
    let first = checkpoints::list(dir)
        .unwrap()
        .last()
        .map_or(0, |(step, _)| step + 1);
    for step in first.. {
        let content = step.to_le_bytes().repeat(5_000);
        let commit = DirCommit::begin(&dir.join(checkpoints::step_dir_name(step))).unwrap();
        for name in ["a.bin", "sub/b.bin"] {
            commit.file(name).unwrap().write_all(&content).unwrap();
        }
        commit.commit().unwrap();
        write_file(&dir.join("newest"), &content).unwrap();
        let replaced = DirCommit::begin_replacing(&dir.join("current")).unwrap();
        replaced.file("c.bin").unwrap().write_all(&content).unwrap();
        replaced.commit().unwrap();
        log.line(&format!("{{\"step\":{step}}}")).unwrap();
        checkpoints::prune(dir, 3).unwrap();
    }
}

fn start_child(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_writes_until_it_is_killed"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a new process finds: the newest step, after checking that all it finds is whole.
fn inspect(dir: &Path) -> Option<u64> {
    let scan = checkpoints::scan(dir).unwrap();
    assert!(scan.skipped.is_empty(), "half-written: {:?}", scan.skipped);
    for (step, path) in checkpoints::list(dir).unwrap() {
        m6_store::manifest::verify(&path).unwrap();
        let content = std::fs::read(path.join("sub/b.bin")).unwrap();
        assert_eq!(content, step.to_le_bytes().repeat(5_000));
    }
    if dir.join("current").exists() {
        m6_store::manifest::verify(&dir.join("current")).unwrap();
    }
    if let Ok(newest) = std::fs::read(dir.join("newest")) {
        assert_eq!(newest, newest[..8].repeat(5_000), "a mixed or short file");
    }
    let mut log = AppendLog::open(&dir.join("log")).unwrap();
    let is_line = |line: &str| line.starts_with("{\"step\":") && line.ends_with('}');
    let n_kept = log.truncate_after(is_line).unwrap();
    assert_eq!(log.truncate_after(|_| true).unwrap(), n_kept);
    scan.valid.map(|(step, _)| step)
}

#[test]
fn killed_at_random_moments_nothing_committed_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut delays = Key::new(11).child("kill").stream();
    let mut newest = None;
    for _ in 0..15 {
        let mut child = start_child(dir.path());
        std::thread::sleep(Duration::from_micros(delays.range(5_000, 60_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = inspect(dir.path());
        assert!(
            found >= newest,
            "step {newest:?} was committed, {found:?} is left"
        );
        newest = found;
    }
    assert!(newest.is_some(), "no child came as far as one commit");
    sweep_stale(dir.path()).unwrap();
    let left = std::fs::read_dir(dir.path()).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    let is_temporary = |name: &std::ffi::OsString| name.to_string_lossy().starts_with(".tmp-");
    assert!(!names.iter().any(is_temporary), "{names:?}");
}

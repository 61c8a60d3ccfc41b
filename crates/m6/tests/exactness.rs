//! Killed runs go on to the last bit, whatever the number of threads. The long form is bench/kill_resume.py.

mod support;

use std::path::Path;
use std::time::Duration;
use support::{last_json, m6, pretrain, sets, shared_data};

const MORE: [&str; 6] = [
    "--set",
    "model.dropout=0.1",
    "--set",
    "train.accum=2",
    "--set",
    "train.steps=24",
];

fn weights(run: &Path) -> Vec<Vec<u8>> {
    let checkpoint = run.join("checkpoints/step-00000024");
    ["model.safetensors", "optimizer.safetensors"]
        .map(|name| std::fs::read(checkpoint.join(name)).expect("the last checkpoint"))
        .to_vec()
}

#[test]
fn a_run_killed_at_any_moment_ends_in_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let begun = std::time::Instant::now();
    last_json(&pretrain(&whole, &MORE));
    let length = begun.elapsed();
    let data = shared_data().to_str().expect("UTF-8");
    for (i, share) in [0.1, 0.5, 0.35, 0.7].into_iter().enumerate() {
        let mut command = m6();
        command.args([
            "pretrain",
            "m6-nano",
            "--data",
            data,
            "--out",
            killed.to_str().expect("UTF-8"),
            "-q",
        ]);
        command.args(sets(&support::SMALL)).args(MORE);
        if i > 0 {
            command.arg("--resume");
        }
        let mut child = command.spawn().expect("starts");
        std::thread::sleep(Duration::from_secs_f64(length.as_secs_f64() * share));
        // It may have finished already; then the resume below has nothing to do.
        let _ = child.kill();
        child.wait().expect("ended");
    }
    let more: Vec<&str> = MORE.into_iter().chain(["--resume"]).collect();
    last_json(&pretrain(&killed, &more));
    assert_eq!(weights(&whole), weights(&killed));
}

#[test]
fn one_thread_and_two_end_in_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    for (out, threads) in [(&one, "1"), (&two, "2")] {
        let more: Vec<&str> = MORE.into_iter().chain(["--threads", threads]).collect();
        last_json(&pretrain(out, &more));
    }
    assert_eq!(weights(&one), weights(&two));
}

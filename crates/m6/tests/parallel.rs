//! Processes under `mpirun` against one. Needs `--features mpi`, Open MPI, and nothing else; more processes than cores are fine.
#![cfg(feature = "mpi")]

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{failed_with, last_json, sets, shared_data, stdout_of};

/// A global batch of four micro-batches, so that 1, 2, 3 and 4 processes can share it.
const MORE: [&str; 4] = [
    "train.accum=4",
    "train.rows_per_batch=8",
    "model.dropout=0.1",
    "parallel.exact=true",
];

/// `m6` as `n` processes.
fn mpirun(n: usize) -> Command {
    let mut command = Command::new("mpirun");
    // Open MPI refuses to run as root, which is all there is in many a container.
    command
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .args(["--oversubscribe", "--bind-to", "none", "-n", &n.to_string()])
        .arg(env!("CARGO_BIN_EXE_m6"));
    command
}

fn pretrain(n: usize, out: &Path, settings: &[&str], resume: bool) -> Command {
    let mut command = mpirun(n);
    let data = shared_data().to_str().expect("UTF-8");
    let out = out.to_str().expect("UTF-8");
    command.args(["pretrain", "m6-nano", "--data", data, "--out", out]);
    command.args(["-q", "--json", "--threads", "1"]);
    command
        .args(sets(&support::SMALL))
        .args(sets(&MORE))
        .args(sets(settings));
    if resume {
        command.arg("--resume");
    }
    command
}

fn run(n: usize, out: &Path, settings: &[&str]) -> Value {
    let output = pretrain(n, out, settings, false)
        .output()
        .expect("mpirun starts");
    let text = stdout_of(&output);
    assert_eq!(text.lines().count(), 1, "one process speaks: {text}");
    last_json(&output)
}

fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn losses(run: &Path) -> Vec<f64> {
    let number = |line: &Value| line["loss"].as_f64().expect("a loss");
    metrics(run).iter().map(number).collect()
}

fn weights(run: &Path, step: u64) -> Vec<u8> {
    let checkpoint = run.join(format!("checkpoints/step-{step:08}"));
    std::fs::read(checkpoint.join("model.safetensors")).expect("weights")
}

/// The process of a rank, once it has given a sign of life.
fn process_of(run: &Path, rank: usize) -> u32 {
    let path = run.join(format!("ranks/rank-{rank:05}"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if let Some(process) = text.split_whitespace().nth(2) {
            return process.parse().expect("a number");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no sign of life of rank {rank}");
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args([name, &process.to_string()])
        .status();
    assert!(sent.expect("kill runs").success(), "{name} {process}");
}

/// Waits for a job that must end by itself.
fn wait(child: Child, limit: Duration) -> (Output, Duration) {
    let begun = Instant::now();
    let pid = child.id();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(limit) {
        Ok(output) => (output.expect("it ends"), begun.elapsed()),
        Err(_) => {
            signal(pid, "-KILL");
            panic!("the job goes on after {limit:?}");
        }
    }
}

fn wait_for_steps(run: &Path, n: usize) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let path = run.join("metrics.jsonl");
    while std::fs::read_to_string(&path)
        .unwrap_or_default()
        .lines()
        .count()
        < n
    {
        assert!(Instant::now() < deadline, "no {n} steps");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn any_number_of_processes_learns_what_one_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let steps = [
        "train.steps=50",
        "train.eval_every=25",
        "train.checkpoint_every=0",
    ];
    let one = folder.path().join("one");
    run(1, &one, &steps);
    let expected = losses(&one);
    assert_eq!(expected.len(), 50);
    for (n, zero) in [
        (2, 0),
        (2, 1),
        (2, 2),
        (2, 3),
        (4, 0),
        (4, 1),
        (4, 2),
        (4, 3),
    ] {
        let many = folder.path().join(format!("{n}-{zero}"));
        let (data, zero) = (
            format!("parallel.data={n}"),
            format!("parallel.zero={zero}"),
        );
        let settings = [&steps[..], &[&data, &zero]].concat();
        let told = run(n, &many, &settings);
        assert_eq!(told["steps"], 50);
        assert_eq!(losses(&many), expected, "{data} {zero}");
        assert!(weights(&many, 50) == weights(&one, 50), "{data} {zero}");
        let line = &metrics(&many)[0];
        assert!(line["comm_s"].as_f64().is_some_and(|s| s > 0.0), "{line}");
        assert!(!many.join("ranks").exists());
    }
}

/// Experts in every second block, of which every rank has a part.
const EXPERTS: [&str; 2] = ["model.experts.n_experts=8", "model.d_ff=512"];

#[test]
fn experts_that_are_spread_learn_what_one_process_learns() {
    let folder = tempfile::tempdir().expect("a folder");
    let steps = ["train.steps=50", "train.checkpoint_every=0"];
    let steps = [&steps[..], &EXPERTS].concat();
    let one = folder.path().join("one");
    run(1, &one, &steps);
    for (n, zero) in [(2, 1), (2, 3), (4, 2)] {
        let many = folder.path().join(format!("{n}-{zero}"));
        let mesh = [
            format!("parallel.expert={n}"),
            format!("parallel.zero={zero}"),
        ];
        let settings = [&steps[..], &[mesh[0].as_str(), &mesh[1]]].concat();
        run(n, &many, &settings);
        assert_eq!(losses(&many), losses(&one), "{mesh:?}");
        assert!(weights(&many, 50) == weights(&one, 50), "{mesh:?}");
    }
}

#[test]
fn a_mesh_of_groups_agrees_with_one_process_within_a_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let steps = ["train.steps=50", "train.checkpoint_every=0"];
    let steps = [&steps[..], &EXPERTS, &["parallel.exact=false"]].concat();
    let one = folder.path().join("one");
    run(1, &one, &steps);
    for (expert, zero) in [(2, 0), (2, 2), (4, 3)] {
        let many = folder.path().join(format!("{expert}-{zero}"));
        let mesh = [
            format!("parallel.expert={expert}"),
            format!("parallel.zero={zero}"),
        ];
        run(
            4,
            &many,
            &[&steps[..], &[mesh[0].as_str(), &mesh[1]]].concat(),
        );
        for (one, many) in losses(&one).into_iter().zip(losses(&many)) {
            let same = (one - many).abs() <= 2e-3 * one.abs();
            assert!(same, "{mesh:?}: {one} {many}");
        }
    }
}

#[test]
fn split_matrices_agree_with_one_process_within_a_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let steps = [
        "train.steps=50",
        "train.checkpoint_every=25",
        "model.n_heads=4",
        "train.optimizer=\"adamw\"",
        "parallel.exact=false",
    ];
    let steps = [&steps[..], &EXPERTS].concat();
    let one = folder.path().join("one");
    run(1, &one, &steps);
    // Ranks that share matrices, that share experts, ZeRO; the last three have both kinds, or groups of data ranks.
    for (n, tensor, expert, zero) in [
        (2, 2, 1, 0),
        (4, 4, 1, 0),
        (4, 2, 1, 1),
        (4, 2, 1, 3),
        (4, 2, 2, 2),
    ] {
        let many = folder.path().join(format!("{n}-{tensor}-{expert}-{zero}"));
        let mesh = [
            format!("parallel.data={}", n / tensor),
            format!("parallel.tensor={tensor}"),
            format!("parallel.expert={expert}"),
            format!("parallel.zero={zero}"),
        ];
        let settings: Vec<&str> = steps
            .iter()
            .copied()
            .chain(mesh.iter().map(String::as_str))
            .collect();
        run(n, &many, &settings);
        for (one, many) in losses(&one).into_iter().zip(losses(&many)) {
            let same = (one - many).abs() <= 2e-3 * one.abs();
            assert!(same, "{mesh:?}: {one} {many}");
        }
        // On as one process from the middle of it.
        std::fs::remove_dir_all(many.join("checkpoints/step-00000050")).expect("there");
        let output = pretrain(1, &many, &steps, true)
            .output()
            .expect("mpirun starts");
        assert_eq!(last_json(&output)["steps"], 50, "{mesh:?}");
        let (whole, moved) = (losses(&one)[49], losses(&many)[49]);
        assert!(
            (whole - moved).abs() <= 2e-3 * whole,
            "{mesh:?}: {whole} {moved}"
        );
    }
}

#[test]
fn without_exactness_the_losses_agree_within_a_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let steps = [
        "train.steps=50",
        "train.checkpoint_every=0",
        "parallel.exact=false",
    ];
    let one = folder.path().join("one");
    run(1, &one, &steps);
    for (n, zero) in [
        (2, "parallel.zero=0"),
        (4, "parallel.zero=1"),
        (2, "parallel.zero=3"),
    ] {
        let many = folder.path().join(format!("{n}-{zero}"));
        run(n, &many, &[&steps[..], &[zero]].concat());
        for (one, many) in losses(&one).into_iter().zip(losses(&many)) {
            assert!(
                (one - many).abs() <= 2e-3 * one.abs(),
                "{n} {zero}: {one} {many}"
            );
        }
    }
}

#[test]
fn a_killed_job_goes_on_under_another_mesh() {
    let folder = tempfile::tempdir().expect("a folder");
    let steps = [
        "train.steps=60",
        "train.checkpoint_every=5",
        "train.eval_every=0",
        EXPERTS[0],
        EXPERTS[1],
    ];
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    run(1, &whole, &steps);
    let mut resume = false;
    // Ranks, ranks that share the experts, ZeRO, steps until the kill.
    let meshes = [(4, 4, 2, 7), (2, 1, 3, 16), (2, 2, 1, 29)];
    for (i, (n, expert, zero, n_steps)) in meshes.into_iter().enumerate() {
        let mesh = [
            format!("parallel.expert={expert}"),
            format!("parallel.zero={zero}"),
        ];
        let settings = [&steps[..], &[mesh[0].as_str(), &mesh[1]]].concat();
        let mut job = pretrain(n, &killed, &settings, resume);
        let job = job.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let job = job.expect("mpirun starts");
        wait_for_steps(&killed, n_steps);
        signal(process_of(&killed, i % n), "-KILL");
        let (output, _) = wait(job, Duration::from_secs(30));
        assert!(!output.status.success());
        resume = true;
    }
    let output = pretrain(2, &killed, &steps, true)
        .output()
        .expect("mpirun starts");
    assert_eq!(last_json(&output)["steps"], 60);
    assert_eq!(losses(&killed), losses(&whole));
    assert!(weights(&killed, 60) == weights(&whole, 60));
}

#[test]
fn a_process_that_hangs_is_named_and_ends_the_job() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let steps = [
        "train.steps=100000",
        "train.checkpoint_every=10",
        "train.eval_every=0",
    ];
    let mut job = pretrain(3, &out, &steps, false);
    let job = job.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let job = job.expect("mpirun starts");
    wait_for_steps(&out, 12);
    signal(process_of(&out, 1), "-STOP");
    let (output, seconds) = wait(job, Duration::from_secs(30));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(stderr.contains("rank 1 (process "), "{seconds:?}: {stderr}");
    assert!(stderr.contains("checkpoints/step-"), "{stderr}");
    let mut again = pretrain(2, &out, &["train.steps=100000"], true);
    let mut again = again
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    // The steps after the checkpoint are made once more.
    wait_for_steps(&out, 14);
    again.kill().expect("killed");
    again.wait().expect("ended");
}

#[test]
fn a_wrong_number_of_processes_is_said_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let out: PathBuf = folder.path().join("run");
    let output = pretrain(2, &out, &["parallel.data=3"], false).output();
    let stderr = failed_with(&output.expect("mpirun starts"), 2);
    assert_eq!(stderr.matches("mpirun -n 3").count(), 1, "{stderr}");
    let alone = support::pretrain(&out, &["--set", "parallel.data=2"]);
    let stderr = failed_with(&alone, 2);
    assert!(stderr.contains("mpirun -n 2"), "{stderr}");
}

#[test]
fn exchanges_are_timed() {
    let mut bench = mpirun(2);
    bench.args(["bench", "comm", "--mb", "4", "--iters", "3", "--json"]);
    let output = bench.output().expect("mpirun starts");
    let row = last_json(&output);
    assert_eq!(stdout_of(&output).lines().count(), 1);
    assert_eq!(row["ranks"], 2);
    for key in [
        "all_to_all_ms",
        "all_gather_ms",
        "all_reduce_ms",
        "all_reduce_gb_s",
    ] {
        assert!(row[key].as_f64().is_some_and(|v| v > 0.0), "{row}");
    }
}

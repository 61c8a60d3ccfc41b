//! Models with experts through the built binary: trained, killed and resumed, finetuned, scored, written with, shown.

mod support;

use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use support::{
    failed_with, keys, last_json, m6, pretrain, run, sets, shared_data, stdout_of, written,
};

/// Experts in both blocks, with everything drawn that can be.
const EXPERTS: [&str; 9] = [
    "model.experts.n_experts=4",
    "model.experts.top_k=2",
    "model.experts.moe_every=1",
    "model.experts.jitter=0.05",
    "model.experts.second_policy=random",
    "model.experts.capacity_factor=0.9",
    "model.d_ff=128",
    "model.dropout=0.1",
    "train.log_every=2",
];

fn with_experts<'a>(more: &[&'a str]) -> Vec<&'a str> {
    sets(&EXPERTS)
        .into_iter()
        .chain(more.iter().copied())
        .collect()
}

fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_run_with_experts_goes_through_every_verb() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, tuned) = (folder.path().join("run"), folder.path().join("tuned"));
    last_json(&pretrain(&out, &with_experts(&[])));
    let lines = metrics(&out);
    assert_eq!(lines.len(), 8);
    for (i, line) in lines.iter().enumerate() {
        let number = |name: &str| line[name].as_f64().unwrap_or_else(|| panic!("no {name}"));
        assert!((0.0..0.9).contains(&number("moe/dropped")));
        assert!(number("moe/load_cv") >= 0.0 && number("moe/z_loss") > 0.0);
        assert!((0.9..4.0).contains(&number("moe/aux_loss")), "{line}");
        // Loads come on the steps that log.
        let logs = (i + 1) % 2 == 0;
        for block in 0..2 {
            let load = line[format!("moe/load/{block}")].as_array();
            assert_eq!(load.map(Vec::len), logs.then_some(4), "{line}");
        }
    }

    let page = last_json(&run(&["report", "run", text(&out), "--json"]));
    assert_eq!(keys(&page), ["expert_layers", "report", "updates"]);
    assert_eq!(
        (&page["expert_layers"], &page["updates"]),
        (&2.into(), &8.into())
    );
    let html = std::fs::read_to_string(out.join("report.html")).expect("the page");
    // Two blocks of four experts on four steps that log.
    assert_eq!(html.matches("<rect").count(), 2 * 4 * 4);
    assert!(html.contains("moe/dropped") && html.contains("Load of the experts of block 1"));

    // The model of the checkpoint is the base of the configuration, so that its experts come along.
    let settings = "[train]\nsteps = 2\nwarmup_steps = 1\nrows_per_batch = 2\neval_rows = 2\n";
    let config = written(folder.path(), "finetune.toml", settings);
    let data = text(shared_data());
    let mut args = vec![
        "finetune",
        "vqa",
        &config,
        "--from",
        text(&out),
        "--data",
        data,
    ];
    args.extend(["-q", "--json", "--out"]);
    let refused = folder.path().join("refused");
    let with_adapters = [&args[..], &[text(&refused), "--set", "model.lora.rank=2"]].concat();
    assert!(failed_with(&run(&with_adapters), 2).contains("adapters of experts"));
    last_json(&run(&[&args[..], &[text(&tuned)]].concat()));
    assert!(metrics(&tuned)[0]["moe/dropped"].is_number());

    let asked = [
        "generate",
        "answer",
        "--model",
        text(&tuned),
        "--question",
        "图里有什么？",
    ];
    let asked = run(&[&asked[..], &["--json", "--max-tokens", "6"]].concat());
    assert!(last_json(&asked)["text"].is_string());
    let eval = [
        "eval",
        "vqa",
        "--model",
        text(&tuned),
        "--data",
        data,
        "--n",
        "4",
        "--json",
    ];
    stdout_of(&run(&eval));
    let exported = folder.path().join("exported");
    stdout_of(&run(&[
        "export",
        "--model",
        text(&tuned),
        "--out",
        text(&exported),
    ]));
    let file = exported.join("model.safetensors");
    let tensors = last_json(&run(&["inspect", text(&file), "--json"]));
    let shape = &tensors["tensors"]["blocks.1.moe.up.weight"];
    assert_eq!(*shape, serde_json::json!([4, 128, 64]));
}

fn weights(run: &Path) -> Vec<Vec<u8>> {
    let checkpoint = run.join("checkpoints/step-00000016");
    ["model.safetensors", "optimizer.safetensors"]
        .map(|name| std::fs::read(checkpoint.join(name)).expect("the last checkpoint"))
        .to_vec()
}

const LONGER: [&str; 4] = ["--set", "train.steps=16", "--set", "train.accum=2"];

#[test]
fn killed_runs_and_any_number_of_threads_end_in_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let begun = std::time::Instant::now();
    let one = with_experts(&[&LONGER[..], &["--threads", "1"]].concat());
    last_json(&pretrain(&path("one"), &one));
    let length = begun.elapsed().as_secs_f64();
    let two = with_experts(&[&LONGER[..], &["--threads", "2"]].concat());
    last_json(&pretrain(&path("two"), &two));
    assert_eq!(weights(&path("one")), weights(&path("two")));
    // The same with blocks computed a second time in the backward pass.
    let again = ["--set", "train.activation_checkpointing=true"];
    last_json(&pretrain(
        &path("again"),
        &with_experts(&[&LONGER[..], &again].concat()),
    ));
    assert_eq!(weights(&path("one")), weights(&path("again")));

    for (i, share) in [0.4, 0.6].into_iter().enumerate() {
        let mut command = m6();
        command.args(["pretrain", "m6-nano", "--data", text(shared_data()), "-q"]);
        command.args(["--out", text(&path("killed"))]);
        command
            .args(sets(&support::SMALL))
            .args(with_experts(&LONGER));
        if i > 0 {
            command.arg("--resume");
        }
        let mut child = command.spawn().expect("starts");
        std::thread::sleep(Duration::from_secs_f64(length * share));
        // It may have finished already; then the resume below has nothing to do.
        let _ = child.kill();
        child.wait().expect("ended");
    }
    let resume = with_experts(&[&LONGER[..], &["--resume"]].concat());
    last_json(&pretrain(&path("killed"), &resume));
    assert_eq!(weights(&path("one")), weights(&path("killed")));
}

#[test]
fn a_model_that_cannot_be_held_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    // A million experts a block: terabytes.
    let more = sets(&["model.experts.n_experts=1000000", "model.d_ff=4096"]);
    let output = pretrain(&out, &with_experts(&more));
    let error = failed_with(&output, 2);
    assert!(
        error.contains("B parameters") && error.contains("m6 plan"),
        "{error}"
    );
    assert!(!out.exists());
}

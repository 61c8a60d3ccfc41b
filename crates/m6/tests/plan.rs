//! `m6 plan`: counts of the paper's models, keys of plans for many devices, what fits and what would. Scripts rely on the keys.

mod support;

use serde_json::json;
use support::{failed_with, keys, last_json, run, stdout_of};

#[test]
fn plans_count_what_the_paper_counts() {
    for (preset, millions) in [
        ("m6-base", 327.0),
        ("m6-10b", 10_160.0),
        ("m6-100b", 103_000.0),
        ("m6-100b-every", 206_000.0),
        ("m6-t-1t", 1_003_000.0),
        ("m6-10t", 10_050_000.0),
    ] {
        let row = last_json(&run(&["plan", preset, "--json"]));
        let total = row["params_total"].as_f64().expect("a number");
        let transformer = row["params_transformer"]
            .as_f64()
            .expect("counted without the patch network");
        assert!(row["params_active"].as_f64().expect("a number") <= total && transformer < total);
        let share = transformer / 1e6 / millions;
        assert!((0.998..1.005).contains(&share), "{preset}: {transformer}");
    }
}

#[test]
fn plans_count_the_moments_of_the_configured_optimizer() {
    let moments = |optimizer: &str, gpus: &[&str]| {
        let set = format!("train.optimizer={optimizer}");
        let args = ["plan", "m6-tiny", "--set", &set, "--json"];
        let row = last_json(&run(&[&args, gpus].concat()));
        let n = row["params_total"].as_f64().unwrap();
        let bytes = match gpus.is_empty() {
            true => &row["bytes"]["optimizer"],
            false => &row["bytes_per_rank"]["moments"],
        };
        bytes.as_f64().unwrap() / n
    };
    for gpus in [&[][..], &["--gpus", "1", "--gpu", "cpu"]] {
        let all = ["adamw", "muon", "adamw8", "adafactor"].map(|name| moments(name, gpus));
        let expected = [7.9..8.01, 4.0..7.9, 2.0..2.2, 0.0..0.1];
        for (got, expected) in all.iter().zip(expected) {
            assert!(expected.contains(got), "{all:?}");
        }
    }
}

#[test]
fn a_mesh_is_planned_as_the_configuration_sets_it() {
    let mesh = |more: &[&str]| {
        let args = ["plan", "m6-100b", "--gpus", "128", "--json"];
        last_json(&run(&[&args, more].concat()))["mesh"].clone()
    };
    let set = ["--set", "parallel.zero=2", "--set", "parallel.expert=16"];
    let asked = json!({"data": 128, "expert": 16, "tensor": 1, "zero": 2});
    assert_eq!(mesh(&set), asked);
    assert_eq!(mesh(&["--mesh", "expert=16,zero=2"]), asked);
    assert_eq!(mesh(&[&set[..], &["--mesh", "zero=1"]].concat())["zero"], 1);
}

#[test]
fn plans_for_many_devices_add_their_keys() {
    let alone = last_json(&run(&["plan", "m6-100b", "--json"]));
    let args = [
        "plan",
        "m6-100b",
        "--gpus",
        "128",
        "--gpu",
        "a100",
        "--mesh",
        "expert=128",
        "--json",
    ];
    let row = last_json(&run(&args));
    let added = [
        "accum",
        "activation_checkpointing",
        "bytes_per_rank",
        "comm_bytes_per_step",
        "efficiency",
        "fits",
        "gpu",
        "gpus",
        "links",
        "measured",
        "mesh",
        "micro_batch",
        "nearest",
        "precision",
        "samples_per_s",
        "samples_per_step",
        "search",
        "seconds",
        "seq",
        "step_seconds",
        "tokens_per_day",
    ];
    let mut expected = keys(&alone);
    expected.extend(added.map(str::to_string));
    expected.sort();
    assert_eq!(keys(&row), expected);
    // What is there without devices stays as it is.
    for key in keys(&alone) {
        let (a, b) = (&alone[&key], &row[&key]);
        match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => assert!((a / b - 1.0).abs() < 1e-12, "{key}: {a} and {b}"),
            _ => assert_eq!(a, b, "{key}"),
        }
    }
    let bytes = [
        "activations",
        "buffers",
        "gradients",
        "moments",
        "total",
        "weights",
    ];
    assert_eq!(keys(&row["bytes_per_rank"]), bytes);
    let kinds = [
        "all_to_all",
        "expert_gradients",
        "gradients",
        "tensor",
        "weights",
    ];
    assert_eq!(keys(&row["comm_bytes_per_step"]), kinds);
    assert_eq!(keys(&row["mesh"]), ["data", "expert", "tensor", "zero"]);
    assert_eq!(row["fits"], json!(true));
    assert_eq!(row["seconds"]["pipeline"], json!(0.0));
    let samples = row["samples_per_step"].as_f64().expect("a number");
    let step = row["step_seconds"].as_f64().expect("a number");
    let rate = row["samples_per_s"].as_f64().expect("a number");
    assert!((rate * step / samples - 1.0).abs() < 1e-9);
}

#[test]
fn a_plan_that_does_not_fit_names_one_that_does_and_a_search_the_best() {
    let row = last_json(&run(&["plan", "m6-10b", "--gpus", "8", "--json"]));
    assert_eq!(row["fits"], json!(false));
    assert_eq!(row["nearest"]["fits"], json!(true));
    let text = stdout_of(&run(&["plan", "m6-10b", "--gpus", "8"]));
    assert!(
        text.contains("does not fit") && text.contains("nearest"),
        "{text}"
    );
    let best = last_json(&run(&[
        "plan", "m6-10b", "--gpus", "64", "--search", "--json",
    ]));
    let rates: Vec<f64> = best["search"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|plan| plan["samples_per_s"].as_f64().expect("a number"))
        .collect();
    assert!(
        rates.len() > 1 && rates.is_sorted_by(|a, b| a >= b),
        "{rates:?}"
    );
    assert_eq!(best["samples_per_s"], best["search"][0]["samples_per_s"]);
    let stderr = failed_with(
        &run(&["plan", "m6-10b", "--gpus", "8", "--gpu", "h1000"]),
        2,
    );
    assert!(stderr.contains("did you mean `h100`"), "{stderr}");
    let wrong = ["plan", "m6-10b", "--gpus", "8", "--mesh", "data=3,tensor=3"];
    let stderr = failed_with(&run(&wrong), 2);
    assert!(
        stderr.contains("9 ranks") && stderr.contains("n_heads = 128"),
        "{stderr}"
    );
    failed_with(&run(&["plan", "m6-10b", "--search"]), 2);
}

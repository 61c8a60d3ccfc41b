//! `m6 bench`: the keys of each workload, and that it does what it says. Scripts rely on the keys.

mod support;

use serde_json::json;
use support::{failed_with, keys, last_json, run};

#[test]
fn benches_say_their_time_memory_and_loss() {
    let row = last_json(&run(&["bench", "decode", "--iters", "2", "--json"]));
    assert_eq!(
        keys(&row),
        ["bench", "best_ms", "loss", "median_ms", "ms", "rss_mb"]
    );
}

#[test]
fn the_bench_of_experts_says_what_it_dropped() {
    let bench = |more: &[&str]| {
        let args = ["bench", "moe", "--tokens", "256", "--d-model", "32"];
        let more = [&args, &["--d-ff", "64", "--iters", "2", "--json"][..], more].concat();
        last_json(&run(&more))
    };
    let row = bench(&["--experts", "8", "--top-k", "1"]);
    let names = [
        "bench",
        "best_ms",
        "capacity_factor",
        "d_ff",
        "d_model",
        "dropped",
        "experts",
        "loss",
        "median_ms",
        "ms",
        "rss_mb",
        "tokens",
        "tokens_per_s",
        "top_k",
    ];
    assert_eq!(keys(&row), names);
    assert_eq!(row["ms"].as_array().map(Vec::len), Some(2));
    assert!(row["loss"][0].as_f64() > Some(0.0) && row["loss"][0] == row["loss"][1]);
    let tight = bench(&["--top-k", "2", "--capacity-factor", "0.5"]);
    assert!(tight["dropped"].as_f64() > Some(0.4), "{tight}");
    assert_eq!(bench(&["--top-k", "2", "--dropless"])["dropped"], 0.0);
    failed_with(&run(&["bench", "moe", "--experts", "4", "--top-k", "5"]), 2);
}

#[test]
fn the_bench_of_a_vqgan_trains_the_discriminator_only_when_asked() {
    let bench = |more: &[&str]| {
        let args = ["bench", "vqgan", "--batch", "1", "--iters", "3", "--json"];
        last_json(&run(&[&args, more].concat()))
    };
    let (alone, against) = (bench(&[]), bench(&["--adversary"]));
    let names = [
        "adversary",
        "batch",
        "bench",
        "best_ms",
        "disc_params",
        "loss",
        "median_ms",
        "ms",
        "params",
        "rss_mb",
    ];
    assert_eq!(keys(&alone), names);
    assert_eq!(keys(&against), names);
    assert_eq!(
        (&alone["adversary"], &against["adversary"]),
        (&json!(false), &json!(true))
    );
    // The first loss is of the same weights; the adversary's pull shows after the first update.
    assert_eq!(alone["loss"][0], against["loss"][0]);
    assert_ne!(alone["loss"][2], against["loss"][2]);
}

#[test]
fn the_bench_of_drawing_counts_pictures() {
    let row = last_json(&run(&[
        "bench",
        "draw",
        "--batch",
        "2",
        "--guidance",
        "3",
        "--layers",
        "1",
        "--width",
        "32",
        "--heads",
        "2",
        "--iters",
        "1",
        "--json",
    ]));
    assert_eq!(
        keys(&row),
        [
            "batch",
            "bench",
            "best_ms",
            "codes",
            "decode_best_ms",
            "decode_median_ms",
            "decode_ms",
            "decoded_pictures_per_s",
            "guidance",
            "median_ms",
            "ms",
            "params",
            "pictures_per_s",
            "rss_mb",
        ]
    );
    assert_eq!((&row["codes"], &row["batch"]), (&json!(64), &json!(2)));
    let ms = row["median_ms"].as_f64().expect("a number");
    let rate = row["pictures_per_s"].as_f64().expect("a number");
    assert!((rate * ms - 2000.0).abs() < 1e-6, "{row}");
    assert!(
        failed_with(&run(&["bench", "draw", "--width", "30", "--heads", "4"]), 2)
            .contains("n_heads")
    );
}

//! What drawn pictures are worth: what their pixels show, how far they are from real ones, whether a matcher finds their prompts.

mod support;

use serde_json::Value;
use std::path::Path;
use support::pictures::{DATA, MODEL, m6, world};
use support::{failed_with, keys, last_json, run, stdout_of};

#[test]
fn measuring_knows_the_truth_and_reads_back_what_it_wrote() {
    let out = world().path("measured");
    let truth = last_json(&run(&[
        "eval", "image", "--world", "--n", "60", "--json", "--out", &out,
    ]));
    for key in ["color", "shape", "count", "position", "all"] {
        let (own, shuffled) = (&truth[key], &truth["control"]["shuffled"][key]);
        assert!(own.as_f64().is_some_and(|v| v > 0.97), "{key} {own}");
        assert!(
            shuffled.as_f64().is_some_and(|v| v < 0.5),
            "{key} {shuffled}"
        );
    }
    let prompts = format!("{out}/prompts.jsonl");
    let again = last_json(&run(&[
        "eval",
        "image",
        "--measure",
        &out,
        "--prompts",
        &prompts,
        "--json",
    ]));
    assert_eq!(again, truth);
    let model = world().path("model");
    let row = last_json(&run(&[
        "eval",
        "image",
        "--model",
        &model,
        "--world",
        "--n",
        "3",
        "--best-of",
        "2",
        "--json",
    ]));
    assert_eq!(
        keys(&row),
        ["all", "color", "control", "count", "n", "position", "shape"]
    );
}

/// Pictures of the sample world in a new folder.
fn truth(name: &str, seed: &str) -> String {
    let out = world().path(name);
    stdout_of(&run(&[
        "eval", "image", "--world", "--n", "12", "--seed", seed, "--out", &out,
    ]));
    out
}

fn apart(measure: &str, real: &str, features: &str) -> Value {
    last_json(&run(&[
        "eval",
        "image",
        "--measure",
        measure,
        "--real",
        real,
        "--features",
        features,
        "--json",
    ]))
}

/// Twelve pictures that nobody takes for the world's: dark stripes.
fn dark_pictures(name: &str) -> String {
    let folder = world().root().join(name);
    std::fs::create_dir(&folder).expect("a folder");
    for i in 0..12_usize {
        let value = |at: usize| match (at % 32).is_multiple_of(i + 2) {
            true => 90,
            false => 5,
        };
        let data = (0..32 * 32).flat_map(|at| [value(at); 3]).collect();
        let image = m6_image::Rgb8::from_hwc(32, 32, data).expect("fits");
        let png = m6_image::encode_png(&image, &[]).expect("encodes");
        m6_store::atomic::write_file(&folder.join(format!("{i}.png")), &png).expect("written");
    }
    world().path(name)
}

#[test]
fn sets_of_pictures_are_compared_by_the_features_of_a_named_network() {
    let model = world().path("model");
    let (one, other) = (truth("set-one", "1"), truth("set-other", "2"));
    let dark = dark_pictures("set-dark");
    let same = apart(&one, &one, &model);
    assert_eq!(
        keys(&same),
        [
            "coverage",
            "density",
            "frechet_distance",
            "precision",
            "recall"
        ]
    );
    let distance = |row: &Value| row["frechet_distance"]["value"].as_f64().expect("a number");
    assert!(distance(&same) < 1e-6, "{same}");
    assert_eq!(
        (&same["precision"], &same["recall"], &same["coverage"]),
        (&1.0.into(), &1.0.into(), &1.0.into())
    );
    // The sheet of all pictures is none of them.
    let figure = &same["frechet_distance"];
    assert_eq!((&figure["n"], &figure["n_real"]), (&12.into(), &12.into()));
    let name = figure["features"].as_str().expect("a name");
    assert!(
        name.contains(&model) && name.contains("not Inception"),
        "{name}"
    );
    let unseen = apart(&other, &one, &model);
    let bad = apart(&dark, &one, &model);
    assert!(
        distance(&same) < distance(&unseen) && distance(&unseen) < distance(&bad),
        "{unseen} {bad}"
    );
    assert!(bad["recall"].as_f64() < Some(0.5), "{bad}");
    let prompts = format!("{other}/prompts.jsonl");
    let both = last_json(&run(&[
        "eval",
        "image",
        "--measure",
        &other,
        "--prompts",
        &prompts,
        "--real",
        &one,
        "--features",
        &model,
        "--json",
    ]));
    assert_eq!(both["frechet_distance"], unseen["frechet_distance"]);
    assert!(both["color"].as_f64().is_some_and(|v| v > 0.97), "{both}");
}

/// A file of Inception's names and shapes with weights by a formula; its features mean nothing, but are features.
fn inception_file(path: &str) {
    let shapes = include_str!("../../m6-model/tests/fixtures/inception_shapes.txt");
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, shape)| {
            let shape: Vec<usize> = shape.split('x').map(|n| n.parse().expect("size")).collect();
            let fan_in: usize = shape[1..].iter().product();
            let value = |i: usize| match shape.len() {
                4 => {
                    let u = (i.wrapping_mul(2_654_435_761) >> 7) % 1001;
                    (u as f32 / 1000.0 - 0.5) * (24.0 / fan_in as f32).sqrt()
                }
                _ if name.ends_with("weight") || name.ends_with("running_var") => 1.0,
                _ => 0.0,
            };
            let n: usize = shape.iter().product();
            let bytes = (0..n).flat_map(|i| value(i).to_le_bytes()).collect();
            (name.to_owned(), shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes);
        (name.as_str(), view.expect("as many numbers"))
    });
    let file = safetensors::serialize(views, None).expect("serialises");
    m6_store::atomic::write_file(Path::new(path), &file).expect("written");
}

#[test]
fn only_the_features_of_inception_make_a_fid() {
    let file = world().path("inception.safetensors");
    inception_file(&file);
    let one = truth("fid-one", "3");
    let row = apart(&one, &one, &file);
    assert_eq!(row["fid"]["features"], "inception");
    let value = row["fid"]["value"].as_f64().expect("a number");
    assert!(value < 1e-3 && row["frechet_distance"].is_null(), "{row}");
    assert_eq!(row["recall"], 1.0);
    let text = failed_with(
        &run(&["eval", "image", "--measure", &one, "--real", &one]),
        2,
    );
    assert!(text.contains("--features"), "{text}");
    let text = failed_with(&run(&["eval", "image", "--measure", &one]), 2);
    assert!(text.contains("--real"), "{text}");
}

/// Prompts with their real pictures, of the sample world.
fn world_prompts(name: &str) -> (String, String) {
    let dir = truth(name, "4");
    let prompts = format!("{dir}/prompts.jsonl");
    (dir, prompts)
}

fn retrieval(model: &str, prompts: &str, more: &[&str]) -> std::process::Output {
    let args = [
        "eval",
        "image",
        "--retrieval",
        "--model",
        model,
        "--prompts",
        prompts,
        "--json",
    ];
    run(&[&args[..], more].concat())
}

#[test]
fn retrieval_has_its_figures_beside_real_shuffled_and_chance() {
    let model = world().path("model");
    let (real, prompts) = world_prompts("retrieval-real");
    let out = world().path("retrieval-out");
    let more = ["--real", &real, "--out", &out, "--best-of", "2"];
    let row = last_json(&retrieval(&model, &prompts, &more));
    assert_eq!(keys(&row), ["retrieval"]);
    let found = &row["retrieval"];
    let names = [
        "candidates",
        "chance",
        "drawn",
        "matcher",
        "n",
        "real",
        "shuffled",
    ];
    assert_eq!(keys(found), names);
    assert_eq!(found["n"], 12);
    assert_eq!(keys(&found["matcher"]), ["by", "model"]);
    assert_eq!(found["matcher"]["by"], "codes");
    for name in ["drawn", "real", "shuffled", "chance"] {
        assert_eq!(keys(&found[name]), ["image_to_text", "text_to_image"]);
        for way in ["image_to_text", "text_to_image"] {
            let figures = &found[name][way];
            assert_eq!(keys(figures), ["median_rank", "r1", "r10", "r5"]);
            assert!(
                figures["median_rank"].as_f64().is_some_and(|r| r >= 1.0),
                "{found}"
            );
        }
    }
    for name in ["grid.png", "prompts.jsonl", "00011.png"] {
        assert!(Path::new(&out).join(name).is_file(), "{name}");
    }
    // Fewer candidates; the same on any number of threads; plain lines, no real picture.
    let plain = world().path("retrieval-plain.txt");
    let lines = "红色的圆形\n绿色的树\n蓝色的方形\n红色的圆形\n";
    m6_store::atomic::write_file(Path::new(&plain), lines.as_bytes()).expect("written");
    let few = |threads: &str| {
        let more = [
            "--distractors",
            "2",
            "--threads",
            threads,
            "--matcher",
            &model,
        ];
        last_json(&retrieval(&model, &plain, &more))
    };
    let two = few("2");
    assert_eq!(two, few("1"));
    let two = &two["retrieval"];
    assert_eq!((&two["n"], &two["candidates"]), (&4.into(), &3.into()));
    assert!(two.get("real").is_none());
    // A prompt that stands there twice is no candidate against itself: its two pictures have two rivals, the others three.
    let all = last_json(&retrieval(&model, &plain, &[]));
    let chance = &all["retrieval"]["chance"]["image_to_text"]["r1"];
    let expected = (2.0 / 3.0 + 2.0 / 4.0) / 4.0;
    assert!(
        chance
            .as_f64()
            .is_some_and(|r1| (r1 - expected).abs() < 1e-12),
        "{chance} instead of {expected}"
    );
}

#[test]
fn retrieval_that_cannot_be_is_refused_with_a_reason() {
    let model = world().path("model");
    let (real, prompts) = world_prompts("retrieval-refused");
    let file = |name: &str, text: &str| {
        let path = world().path(name);
        m6_store::atomic::write_file(Path::new(&path), text.as_bytes()).expect("written");
        path
    };
    let refused = |prompts: &str, more: &[&str], code: i32, part: &str| {
        let text = failed_with(&retrieval(&model, prompts, more), code);
        assert!(text.contains(part), "{part} is not in {text}");
    };
    refused(&file("one.txt", "红色的圆形\n"), &[], 2, "at least 2");
    refused(&file("twice.txt", "树\n树\n"), &[], 2, "at least 2");
    refused(&file("bad.jsonl", "{\"file\":1}\n"), &[], 3, "line 1");
    refused(
        &file("plain.txt", "树\n圆形\n"),
        &["--real", &real],
        2,
        "no real picture",
    );
    let gone =
        "{\"prompt\":\"树\",\"file\":\"gone.png\"}\n{\"prompt\":\"圆形\",\"file\":\"00000.png\"}\n";
    refused(&file("gone.jsonl", gone), &["--real", &real], 2, "gone.png");
    let text = failed_with(
        &run(&["eval", "image", "--retrieval", "--model", &model]),
        2,
    );
    assert!(text.contains("--prompts"), "{text}");
    let text = failed_with(&run(&["eval", "image", "--model", &model]), 2);
    assert!(text.contains("--retrieval"), "{text}");
    // A model that learned only to draw.
    let drawer = world().path("drawer");
    let (data, vqgan) = (world().path("data-drawer"), world().path("vqgan"));
    let codes = format!("data.codes.vqgan={vqgan}");
    let only: [&str; 1] = ["data.sources.world.tasks={text_to_image=1.0}"];
    stdout_of(&m6(
        &["prepare", "m6-nano", "--out", &data, "-q"],
        &[&DATA[..4], &only, &[&codes]],
    ));
    let args = [
        "pretrain", "m6-nano", "--data", &data, "--out", &drawer, "-q", "--json",
    ];
    stdout_of(&m6(&args, &[&DATA[..4], &only, &MODEL, &[&codes]]));
    refused(
        &prompts,
        &["--matcher", &drawer],
        2,
        "neither image_to_text nor codes_to_text",
    );
}

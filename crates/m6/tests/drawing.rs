//! Pictures to codes and words to pictures, through the built binary on a small piece of the sample world.

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use support::{failed_with, keys, last_json, run, sets, stdout_of};

const DATA: [&str; 5] = [
    "data.sources.world.n=60",
    "data.sources.world.held_out=0.2",
    "data.image_side=32",
    "data.grid=4",
    "data.sources.world.tasks={text_to_image=2.0, masked_image=1.0, codes_to_text=1.0}",
];
const VQGAN: [&str; 9] = [
    "vqgan.image_side=32",
    "vqgan.ch=8",
    "vqgan.ch_mult=[1,1,2]",
    "vqgan.norm_groups=4",
    "vqgan.codebook_size=32",
    "train.steps=4",
    "train.rows_per_batch=4",
    "train.warmup_steps=1",
    "adversary.disc_ch=8",
];
const MODEL: [&str; 9] = [
    "model.patches.image_side=32",
    "model.patches.grid=4",
    "model.n_layers=1",
    "model.d_model=32",
    "model.patches.widths=[8,8,8]",
    "model.patches.blocks=[0,0,0]",
    "train.steps=4",
    "train.warmup_steps=1",
    "train.sample_every=0",
];

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn path(&self, name: &str) -> String {
        self.folder
            .path()
            .join(name)
            .to_str()
            .expect("UTF-8")
            .to_string()
    }
}

fn m6(args: &[&str], settings: &[&[&str]]) -> std::process::Output {
    let settings: Vec<&str> = settings.concat();
    let mut all = args.to_vec();
    all.extend(sets(&settings));
    run(&all)
}

/// A trained VQGAN and a model that draws with it; trained too little to draw anything, which these tests do not ask.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let world = World {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let [pictures, vqgan, data, model] =
            ["pictures", "vqgan", "data", "model"].map(|n| world.path(n));
        stdout_of(&m6(
            &["prepare", "m6-nano", "--out", &pictures, "-q"],
            &[&DATA],
        ));
        let args = [
            "vqgan", "train", "vqgan-64", "--data", &pictures, "--out", &vqgan, "-q", "--json",
        ];
        let done = last_json(&m6(&args, &[&VQGAN]));
        assert!(
            done["eval"]["psnr"].as_f64().is_some_and(|v| v > 0.0),
            "{done}"
        );
        assert!(Path::new(&vqgan).join("samples").is_dir());
        let codes = format!("data.codes.vqgan={vqgan}");
        stdout_of(&m6(
            &["prepare", "m6-nano", "--out", &data, "-q"],
            &[&DATA, &[&codes]],
        ));
        let args = [
            "pretrain", "m6-nano", "--data", &data, "--out", &model, "-q", "--json",
        ];
        let done = last_json(&m6(&args, &[&DATA, &MODEL, &[&codes]]));
        for task in ["text_to_image", "masked_image", "codes_to_text"] {
            assert!(
                done["eval"][task].as_f64().is_some_and(f64::is_finite),
                "{done}"
            );
        }
        world
    })
}

fn draw(out: &str, more: &[&str]) -> Vec<Value> {
    let model = world().path("model");
    let mut args = vec![
        "generate", "image", "--model", &model, "--out", out, "--json",
    ];
    args.extend(more);
    let text = stdout_of(&run(&args));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn bytes(out: &str, line: &Value) -> Vec<u8> {
    std::fs::read(Path::new(out).join(line["file"].as_str().expect("a name"))).expect("written")
}

#[test]
fn reconstruction_has_its_figures_and_encode_its_codes() {
    let (vqgan, out) = (world().path("vqgan"), world().path("rebuilt"));
    let drawn = world().path("of-truth");
    stdout_of(&run(&[
        "eval", "image", "--world", "--n", "6", "--out", &drawn,
    ]));
    let args = [
        "vqgan",
        "reconstruct",
        "--model",
        &vqgan,
        "--images",
        &drawn,
        "--out",
        &out,
        "--json",
    ];
    let row = last_json(&run(&args));
    for key in ["n", "psnr", "ssim", "codebook_usage", "perplexity"] {
        assert!(row.get(key).is_some(), "{key} is not in {row}");
    }
    // The folder holds a picture called grid as well, which the grid must not take the place of.
    for name in [
        "grid.png",
        "figures.json",
        "pictures/grid.png",
        "pictures/00005.png",
    ] {
        assert!(Path::new(&out).join(name).is_file(), "{name}");
    }
    let picture = format!("{drawn}/00000.png");
    let row = last_json(&run(&[
        "vqgan", "encode", "--model", &vqgan, "--image", &picture, "--json",
    ]));
    assert_eq!(keys(&row), ["codes", "grid", "id"]);
    assert_eq!(row["codes"].as_array().map(Vec::len), Some(64));
}

#[test]
fn the_same_seed_draws_the_same_bytes_and_each_picture_its_own() {
    let (a, b) = (world().path("a"), world().path("b"));
    let how = [
        "--prompt",
        "左边有一个红色圆形",
        "--n",
        "3",
        "--seed",
        "5",
        "--threads",
    ];
    let first = draw(&a, &[&how[..], &["2"]].concat());
    let again = draw(&b, &[&how[..], &["1", "--batch", "2"]].concat());
    assert_eq!(first.len(), 3);
    assert_eq!(
        keys(&first[0]),
        ["file", "logprob", "prompt", "rerank", "seed"]
    );
    for (x, y) in first.iter().zip(&again) {
        assert_eq!(x, y);
        assert!(bytes(&a, x) == bytes(&b, y));
    }
    let score = |line: &Value| line["rerank"].as_f64().expect("ranked by codes_to_text");
    assert!(score(&first[0]) >= score(&first[1]) && score(&first[1]) >= score(&first[2]));
    let alone = world().path("alone");
    let seed = first[2]["seed"].to_string();
    let one = draw(&alone, &["--prompt", "左边有一个红色圆形", "--seed", &seed]);
    assert_eq!(
        one[0]["logprob"], first[2]["logprob"],
        "a picture is drawn again by its own seed"
    );
    let png = bytes(&a, &first[0]);
    assert!(png.windows(6).any(|w| w == b"Prompt") && png.windows(4).any(|w| w == b"Seed"));
    for name in ["grid.png", "pictures.jsonl"] {
        assert!(Path::new(&a).join(name).is_file(), "{name}");
    }
}

/// A Chinese-CLIP with random weights, written by `reference/clip.py`.
const CLIP: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../m6-model/tests/fixtures/clip"
);

#[test]
fn a_chinese_clip_ranks_the_same_pictures_by_its_own_score() {
    let (by_model, by_clip, again) = (
        world().path("by-model"),
        world().path("by-clip"),
        world().path("by-clip-again"),
    );
    let how = ["--prompt", "左边有一个红色圆形", "--n", "4", "--seed", "9"];
    let clip = ["--rerank", "clip", "--clip", CLIP];
    let plain = draw(&by_model, &how);
    let ranked = draw(&by_clip, &[&how[..], &clip].concat());
    let score = |line: &Value| line["rerank"].as_f64().expect("a score");
    assert!(ranked.windows(2).all(|w| score(&w[0]) >= score(&w[1])));
    assert!(ranked.iter().all(|line| score(line).abs() <= 1.0));
    assert!(
        score(&ranked[0]) > score(&ranked[3]),
        "four pictures of one score: {ranked:?}"
    );
    // The pictures are the same, whoever ranks them.
    let seeds = |lines: &[Value]| -> std::collections::BTreeSet<u64> {
        lines.iter().filter_map(|l| l["seed"].as_u64()).collect()
    };
    assert_eq!(seeds(&plain), seeds(&ranked));
    let more = ["--batch", "3", "--threads", "1"];
    let same = draw(&again, &[&how[..], &clip, &more].concat());
    assert_eq!(ranked, same);
    let png = bytes(&by_clip, &ranked[0]);
    let named = br#""rerank":"clip""#;
    assert!(png.windows(named.len()).any(|w| w == named));
}

#[test]
fn a_chinese_clip_that_cannot_be_read_is_named() {
    let model = world().path("model");
    let out = world().path("no-clip");
    let refused = |more: &[&str], code: i32, parts: &[&str]| {
        let args = [
            "generate", "image", "--model", &model, "--prompt", "红", "--n", "2",
        ];
        let failed = run(&[&args[..], &["--out", &out], more].concat());
        let text = failed_with(&failed, code);
        for part in parts {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    };
    let empty = tempfile::tempdir().expect("a folder");
    let empty_dir = empty.path().to_str().expect("UTF-8");
    refused(
        &["--rerank", "clip"],
        2,
        &["--clip DIR", "ChineseCLIPModel"],
    );
    refused(&["--clip", CLIP], 2, &["--rerank clip"]);
    refused(
        &["--rerank", "clip", "--clip", empty_dir],
        3,
        &["config.json"],
    );
    for name in ["config.json", "vocab.txt"] {
        let from = Path::new(CLIP).join(name);
        std::fs::copy(from, empty.path().join(name)).expect("copied");
    }
    m6_store::atomic::write_file(&empty.path().join("pytorch_model.bin"), b"x").expect("written");
    let parts = ["pytorch_model.bin", "model.safetensors", "save_pretrained"];
    refused(&["--rerank", "clip", "--clip", empty_dir], 3, &parts);
    m6_store::atomic::write_file(&empty.path().join("model.safetensors"), b"x").expect("written");
    refused(
        &["--rerank", "clip", "--clip", empty_dir],
        3,
        &["model.safetensors"],
    );
    assert!(!Path::new(&out).exists());
}

#[test]
fn inpainting_keeps_every_code_outside_of_the_mask() {
    let truth = world().path("truth");
    stdout_of(&run(&[
        "eval", "image", "--world", "--n", "1", "--out", &truth,
    ]));
    let picture = format!("{truth}/00000.png");
    let mask = |name: &str, white: fn(usize) -> bool| -> PathBuf {
        let data = (0..32 * 32)
            .flat_map(|i| [if white(i % 32) { 255 } else { 0 }; 3])
            .collect();
        let image = m6_image::Rgb8::from_hwc(32, 32, data).expect("fits");
        let path = world().folder.path().join(name);
        let png = m6_image::encode_png(&image, &[]).expect("encodes");
        m6_store::atomic::write_file(&path, &png).expect("written");
        path
    };
    let right = mask("right.png", |x| x >= 16);
    let vqgan = world().path("vqgan");
    let own = last_json(&run(&[
        "vqgan", "encode", "--model", &vqgan, "--image", &picture, "--json",
    ]));
    for method in ["ar", "parallel"] {
        let out = world().path(&format!("inpainted-{method}"));
        let how = [
            "--prompt",
            "右边有两棵绿色的树",
            "--inpaint",
            &picture,
            "--mask",
            right.to_str().expect("UTF-8"),
            "--decode",
            method,
            "--steps",
            "4",
            "--progress-images",
            "2",
        ];
        draw(&out, &how);
        let line =
            std::fs::read_to_string(Path::new(&out).join("pictures.jsonl")).expect("written");
        let line: Value = serde_json::from_str(line.trim()).expect("JSON");
        for place in (0..64).filter(|p| p % 8 < 4) {
            assert_eq!(
                line["codes"][place], own["codes"][place],
                "{method}: place {place}"
            );
        }
        assert!(Path::new(&out).join("progress/0002.png").is_file());
    }
    let model = world().path("model");
    for (name, white) in [
        ("all.png", (|_| true) as fn(usize) -> bool),
        ("none.png", |_| false),
    ] {
        let mask = mask(name, white);
        let out = world().path("never");
        let output = run(&[
            "generate",
            "image",
            "--model",
            &model,
            "--prompt",
            "树",
            "--inpaint",
            &picture,
            "--mask",
            mask.to_str().expect("UTF-8"),
            "--out",
            &out,
        ]);
        let text = failed_with(&output, 2);
        assert!(text.contains("of the 64 codes"), "{text}");
        assert!(!Path::new(&out).exists());
    }
}

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
    let folder = world().folder.path().join(name);
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

#[test]
fn what_cannot_be_drawn_is_refused_with_a_reason() {
    let (model, vqgan, data) = (
        world().path("model"),
        world().path("vqgan"),
        world().path("data"),
    );
    let out = world().path("refused");
    let refused = |more: &[&str], code: i32, word: &str| {
        let mut args = vec!["generate", "image", "--model", &model, "--out", &out];
        args.extend(more);
        let text = failed_with(&run(&args), code);
        assert!(text.contains(word), "{word} is not in {text}");
        assert!(!Path::new(&out).exists());
    };
    let long = "红".repeat(500);
    refused(&[], 2, "no prompt");
    refused(&["--prompt", ""], 2, "no character");
    refused(
        &[
            "--prompt",
            "\u{7}\u{0}\u{1b}"
                .trim_matches('\0')
                .replace('\0', "")
                .as_str(),
        ],
        2,
        "no character",
    );
    refused(&["--prompt", &long], 2, "tokens, the model reads at most");
    refused(&["--prompt", "树", "--guidance", "nan"], 2, "guidance");
    let text = world().folder.path().join("text.png");
    m6_store::atomic::write_file(&text, b"no picture").expect("written");
    refused(
        &["--prompt", "树", "--prime", text.to_str().expect("UTF-8")],
        3,
        "text.png",
    );
    // Another codebook than the model learned.
    let other = world().path("other");
    let pictures = world().path("pictures");
    stdout_of(&m6(
        &[
            "vqgan", "train", "vqgan-64", "--data", &pictures, "--out", &other, "-q", "--seed", "9",
        ],
        &[&VQGAN],
    ));
    refused(&["--prompt", "树", "--vqgan", &other], 3, "another hash");
    let output = run(&[
        "generate", "image", "--model", &vqgan, "--prompt", "树", "--out", &out,
    ]);
    failed_with(&output, 3);
    let output = run(&[
        "vqgan", "train", "vqgan-64", "--data", &data, "--out", &other, "-q",
    ]);
    assert!(failed_with(&output, 2).contains("--resume"));
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

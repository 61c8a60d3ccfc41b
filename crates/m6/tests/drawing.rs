//! Pictures to codes and words to pictures, through the built binary on a small piece of the sample world.

mod support;

use serde_json::Value;
use std::path::{Path, PathBuf};
use support::pictures::{VQGAN, draw, m6, world};
use support::{failed_with, keys, last_json, run, stdout_of};

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
        let path = world().root().join(name);
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
    let text = world().root().join("text.png");
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

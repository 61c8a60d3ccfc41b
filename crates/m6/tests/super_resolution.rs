//! Finer codes from pictures to larger pictures, through the built binary on a small piece of the sample world.

mod support;

use serde_json::Value;
use std::path::Path;
use std::sync::OnceLock;
use support::pictures::{VQGAN, World, m6};
use support::{failed_with, keys, last_json, run, stdout_of};

const DATA: [&str; 6] = [
    "data.sources.world.n=40",
    "data.sources.world.held_out=0.2",
    "data.image_side=64",
    "data.grid=8",
    "data.row_len=360",
    "data.sources.world.tasks={text_to_image=1.0, super_resolution=1.0, masked_super_resolution=1.0}",
];
const MODEL: [&str; 9] = [
    "model.patches.image_side=64",
    "model.patches.grid=8",
    "model.n_layers=1",
    "model.d_model=32",
    "model.patches.widths=[8,8,8]",
    "model.patches.blocks=[0,0,0]",
    "train.steps=4",
    "train.warmup_steps=1",
    "train.sample_every=0",
];
const FINE: [&str; 1] = ["data.codes.fine=2"];

fn codes() -> String {
    format!("data.codes.vqgan={}", world_path("vqgan"))
}

fn world_path(name: &str) -> String {
    folder().path(name)
}

fn folder() -> &'static World {
    static FOLDER: OnceLock<World> = OnceLock::new();
    FOLDER.get_or_init(World::new)
}

fn prepare(out: &str, more: &[&[&str]]) -> std::process::Output {
    let args = ["prepare", "m6-nano", "--out", out, "-q"];
    m6(&args, &[&[&DATA[..]], more].concat())
}

fn pretrain(data: &str, out: &str, more: &[&[&str]]) -> Value {
    let args = [
        "pretrain", "m6-nano", "--data", data, "--out", out, "-q", "--json",
    ];
    last_json(&m6(&args, &[&[&DATA[..], &MODEL], more].concat()))
}

/// A VQGAN, a model with finer codes and one without; trained too little to draw anything, which these tests do not ask.
fn world() -> &'static World {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let [pictures, vqgan, data, model] = ["pictures", "vqgan", "data", "model"].map(world_path);
        stdout_of(&prepare(&pictures, &[]));
        let args = [
            "vqgan", "train", "vqgan-64", "--data", &pictures, "--out", &vqgan, "-q",
        ];
        stdout_of(&m6(&args, &[&VQGAN]));
        stdout_of(&prepare(&data, &[&FINE, &[&codes()]]));
        let done = pretrain(&data, &model, &[]);
        for task in ["super_resolution", "masked_super_resolution"] {
            let loss = done["eval"][task].as_f64();
            assert!(loss.is_some_and(f64::is_finite), "{done}");
        }
        let (data, plain) = (world_path("data-plain"), world_path("plain"));
        let only = ["data.sources.world.tasks={text_to_image=1.0}"];
        stdout_of(&prepare(&data, &[&only, &[&codes()]]));
        pretrain(&data, &plain, &[&only]);
    });
    folder()
}

fn generate(model: &str, out: &str, more: &[&str]) -> std::process::Output {
    let args = [
        "generate", "image", "--model", model, "--out", out, "--json",
    ];
    run(&[&args[..], more].concat())
}

fn drawn(model: &str, out: &str, more: &[&str]) -> Vec<Value> {
    let text = stdout_of(&generate(model, out, more));
    let line = |line: &str| serde_json::from_str(line).expect("JSON");
    text.lines().map(line).collect()
}

fn bytes(out: &str, line: &Value) -> Vec<u8> {
    std::fs::read(Path::new(out).join(line["file"].as_str().expect("a name"))).expect("written")
}

fn picture(out: &str, line: &Value) -> m6_image::Rgb8 {
    m6_image::decode(&bytes(out, line), &m6_image::Limits::default()).expect("a picture")
}

fn filed(out: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(out).join("pictures.jsonl")).expect("written");
    let line = |line: &str| serde_json::from_str(line).expect("JSON");
    text.lines().map(line).collect()
}

/// A picture of this side as a file.
fn file_of(name: &str, side: usize) -> String {
    let data = (0..3 * side * side).map(|i| (i * 7 % 256) as u8).collect();
    let image = m6_image::Rgb8::from_hwc(side, side, data).expect("fits");
    let png = m6_image::encode_png(&image, &[]).expect("encodes");
    let path = world_path(name);
    m6_store::atomic::write_file(Path::new(&path), &png).expect("written");
    path
}

#[test]
fn a_drawing_is_drawn_again_in_finer_codes_with_the_same_bytes_for_the_same_seed() {
    let model = world().path("model");
    let how = ["--prompt", "左边有一个红色圆形", "--n", "3", "--seed", "5"];
    let coarse = world_path("coarse");
    let first = drawn(&model, &coarse, &how);
    for method in ["ar", "parallel"] {
        let fine = ["--fine", "--fine-decode", method, "--fine-temperature", "1"];
        let (a, b) = (
            world_path(&format!("a-{method}")),
            world_path(&format!("b-{method}")),
        );
        let wide = drawn(&model, &a, &[&how[..], &fine].concat());
        let more = ["--threads", "1", "--batch", "2"];
        let again = drawn(&model, &b, &[&how[..], &fine, &more].concat());
        assert_eq!(wide, again);
        let names = [
            "file",
            "fine_logprob",
            "logprob",
            "prompt",
            "rerank",
            "seed",
        ];
        assert_eq!(keys(&wide[0]), names);
        for (line, small) in wide.iter().zip(&first) {
            assert!(bytes(&a, line) == bytes(&b, line));
            assert_eq!(line["logprob"], small["logprob"], "the first stage stays");
            let (large, small) = (picture(&a, line), picture(&coarse, small));
            assert_eq!((large.width, large.height), (64, 64));
            assert_eq!((small.width, small.height), (32, 32));
        }
        let png = bytes(&a, &wide[0]);
        for part in [&b"Prompt"[..], b"Seed", b"\"fine\":"] {
            assert!(png.windows(part.len()).any(|w| w == part), "{part:?}");
        }
        let line = &filed(&a)[0];
        let n = |key: &str| line[key].as_array().map(Vec::len);
        assert_eq!((n("codes"), n("fine_codes")), (Some(64), Some(256)));
    }
}

#[test]
fn a_second_model_draws_the_finer_codes_of_the_first() {
    let (model, plain) = (world().path("model"), world().path("plain"));
    let how = ["--prompt", "右边有两棵绿色的树", "--seed", "2", "--fine"];
    let own = world_path("own");
    let other = world_path("other");
    let second = ["--fine-model", &model];
    let line = drawn(&plain, &other, &[&how[..], &second].concat()).remove(0);
    assert_eq!(picture(&other, &line).width, 64);
    drawn(&model, &own, &how);
    assert_ne!(filed(&own)[0]["codes"], filed(&other)[0]["codes"]);
}

#[test]
fn a_model_without_finer_codes_goes_on_with_them() {
    let (plain, data) = (world().path("plain"), world().path("data"));
    let tuned = world_path("tuned");
    let init = format!("init.model={plain}");
    let done = pretrain(&data, &tuned, &[&[&init]]);
    assert!(done["eval"]["super_resolution"].is_number(), "{done}");
    let weights = |run: &str| {
        let path = Path::new(run).join("checkpoints/step-00000004/config.json");
        std::fs::read_to_string(path).expect("written")
    };
    assert!(weights(&tuned).contains("\"fine\": 2") && !weights(&plain).contains("\"fine\""));
    let out = world_path("by-tuned");
    let small = file_of("for-tuned.png", 32);
    drawn(&tuned, &out, &["--enlarge", &small]);
}

#[test]
fn a_picture_is_enlarged_with_or_without_words() {
    let model = world().path("model");
    let (one, two) = (file_of("one.png", 32), file_of("two.png", 32));
    let vqgan = world().path("vqgan");
    let own = last_json(&run(&[
        "vqgan", "encode", "--model", &vqgan, "--image", &one, "--json",
    ]));
    let both = ["--enlarge", &one, "--enlarge", &two];
    let (out, worded, single) = (
        world_path("enlarged"),
        world_path("worded"),
        world_path("single"),
    );
    let silent = drawn(&model, &out, &both);
    assert_eq!(silent.len(), 2);
    let names = ["enlarged", "file", "fine_logprob", "prompt", "seed"];
    assert_eq!(keys(&silent[0]), names);
    assert!(silent[0]["prompt"].is_null());
    assert_eq!(picture(&out, &silent[1]).height, 64);
    assert_eq!(filed(&out)[0]["codes"], own["codes"]);
    let told = drawn(
        &model,
        &worded,
        &[&both[..], &["--prompt", "红色"]].concat(),
    );
    assert_eq!(told[1]["prompt"], "红色");
    assert_ne!(told[0]["fine_logprob"], silent[0]["fine_logprob"]);
    let seed = silent[1]["seed"].to_string();
    let alone = drawn(&model, &single, &["--enlarge", &two, "--seed", &seed]);
    assert!(bytes(&single, &alone[0]) == bytes(&out, &silent[1]));
}

#[test]
fn what_lies_outside_of_the_mask_stays_in_finer_codes_as_well() {
    let model = world().path("model");
    let (large, mask) = (file_of("large.png", 64), world_path("mask.png"));
    let data = (0..64 * 64).flat_map(|i| [if i % 64 >= 32 { 255 } else { 0 }; 3]);
    let image = m6_image::Rgb8::from_hwc(64, 64, data.collect()).expect("fits");
    let png = m6_image::encode_png(&image, &[]).expect("encodes");
    m6_store::atomic::write_file(Path::new(&mask), &png).expect("written");
    let how = ["--prompt", "红色", "--fine", "--mask", &mask];
    for method in ["ar", "parallel"] {
        let out = world_path(&format!("inpainted-{method}"));
        let more = ["--inpaint", &large, "--fine-decode", method];
        drawn(&model, &out, &[&how[..], &more].concat());
        let again = world_path(&format!("again-{method}"));
        let seed = ["--seed", "9", "--fine-temperature", "1"];
        drawn(&model, &again, &[&how[..], &more, &seed].concat());
        let (a, b) = (
            &filed(&out)[0]["fine_codes"],
            &filed(&again)[0]["fine_codes"],
        );
        assert_ne!(a, b);
        for place in (0..256).filter(|p| p % 16 < 8) {
            assert_eq!(a[place], b[place], "{method}: place {place}");
        }
    }
    let small = file_of("small.png", 32);
    let never = world_path("never-inpainted");
    let more = ["--inpaint", &small];
    let text = failed_with(&generate(&model, &never, &[&how[..], &more].concat()), 2);
    assert!(text.contains("64 x 64"), "{text}");
}

#[test]
fn enlargements_are_compared_with_the_true_pictures() {
    let (model, out) = (world().path("model"), world_path("sheet"));
    let eval = |more: &[&str]| {
        let args = [
            "eval",
            "image",
            "--model",
            &model,
            "--enlarge",
            "--n",
            "5",
            "--json",
        ];
        run(&[&args[..], more].concat())
    };
    let row = last_json(&eval(&["--world", "--out", &out]));
    let row = &row["enlarge"];
    let names = [
        "bicubic",
        "bicubic_of_pictures",
        "ceiling",
        "drawn",
        "from",
        "n",
        "seconds",
        "to",
    ];
    assert_eq!(keys(row), names);
    assert_eq!(
        (&row["n"], &row["from"], &row["to"]),
        (&5.into(), &32.into(), &64.into())
    );
    for name in ["drawn", "bicubic", "ceiling", "bicubic_of_pictures"] {
        assert_eq!(keys(&row[name]), ["psnr", "ssim"]);
        assert!(row[name]["psnr"].as_f64().is_some_and(|v| v > 3.0), "{row}");
    }
    // Small true pictures say far more than codes of a VQGAN of four updates.
    assert!(row["bicubic_of_pictures"]["ssim"].as_f64() > row["drawn"]["ssim"].as_f64());
    assert!(Path::new(&out).join("grid.png").is_file());
    let folder = tempfile::tempdir().expect("a folder");
    let real = folder.path().to_str().expect("UTF-8");
    assert!(failed_with(&eval(&["--real", real]), 2).contains("64 x 64"));
    std::fs::copy(file_of("real.png", 80), folder.path().join("real.png")).expect("copied");
    let row = last_json(&eval(&["--real", real]));
    assert_eq!(row["enlarge"]["n"], 1);
    assert!(failed_with(&eval(&[]), 2).contains("--world or --real"));
}

#[test]
fn what_cannot_be_refined_is_refused_with_a_reason() {
    let (model, plain) = (world().path("model"), world().path("plain"));
    let out = world_path("refused");
    let refused = |model: &str, more: &[&str], parts: &[&str]| {
        let text = failed_with(&generate(model, &out, more), 2);
        for part in parts {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(!Path::new(&out).exists());
    };
    let small = file_of("of-32.png", 32);
    let wrong = file_of("of-48.png", 48);
    let none = ["no finer codes", "data.codes.fine=2"];
    refused(&plain, &["--prompt", "树", "--fine"], &none);
    refused(&plain, &["--enlarge", &small], &none);
    refused(
        &model,
        &["--enlarge", &wrong],
        &["48 x 48", "32 x 32", "64 x 64"],
    );
    let prompts = ["--enlarge", &small, "--prompt", "树", "--prompt", "花"];
    refused(&model, &prompts, &["2 prompts for 1 pictures"]);
    refused(
        &model,
        &["--enlarge", &small, "--fine"],
        &["cannot be used with"],
    );
    let args = ["--prompt", "树", "--fine-model", &model];
    refused(&model, &args, &["--fine"]);
    let data = world_path("refused-data");
    let text = failed_with(&prepare(&data, &[&[&codes()]]), 2);
    assert!(text.contains("needs finer codes"), "{text}");
    let short = ["data.row_len=256"];
    let text = failed_with(&prepare(&data, &[&FINE, &short, &[&codes()]]), 2);
    assert!(text.contains("64 codes and 256 finer codes"), "{text}");
    let little = ["data.image_side=32"];
    let text = failed_with(&prepare(&data, &[&FINE, &little, &[&codes()]]), 2);
    assert!(text.contains("data.image_side = 32"), "{text}");
    // Learned one of both tasks only.
    let (data, ar) = (world_path("data-ar"), world_path("ar"));
    let only = ["data.sources.world.tasks={super_resolution=1.0}"];
    stdout_of(&prepare(&data, &[&FINE, &only, &[&codes()]]));
    pretrain(&data, &ar, &[&only, &["model.codes.joint=true"]]);
    let how = ["--enlarge", &small, "--fine-decode", "parallel"];
    refused(&ar, &how, &["did not learn masked_super_resolution"]);
    let alone = world_path("by-ar");
    drawn(&ar, &alone, &["--enlarge", &small]);
}

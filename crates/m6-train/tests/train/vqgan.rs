//! Training a VQGAN: exact, resumable, and watched.

use crate::fixture::{self, Stop, Watch, metrics_without_time, small_train};
use m6_model::VqganConfig;
use m6_model::vqgan::Perceptual;
use m6_nn::{Device, Param, Params, Tensor};
use m6_train::vqgan::{
    AdversaryConfig, VqganSpec, load_perceptual, load_vqgan, rebuild, train_vqgan,
};
use m6_train::{Observer, OptimizerKind, Outcome, Result, Silent, TrainConfig};
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn sizes() -> VqganConfig {
    VqganConfig {
        image_side: 16,
        ch: 8,
        ch_mult: vec![1, 2],
        attn_sides: vec![8],
        z_channels: 8,
        norm_groups: 4,
        codebook_size: 24,
        code_dim: 4,
        restart_after: 3,
        ..VqganConfig::default()
    }
}

fn train() -> TrainConfig {
    TrainConfig {
        steps: 12,
        rows_per_batch: 3,
        lr: 2e-3,
        flip: true,
        eval_every: 6,
        checkpoint_every: 4,
        keep: 10,
        ..small_train()
    }
}

/// The discriminator enters half-way, and features are compared by a small patch network.
fn run(
    dir: &Path,
    resume: bool,
    flag: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let network = Perceptual::new(fixture::resnet_model())?;
    run_with(
        (network, "a test".into()),
        &train(),
        dir,
        resume,
        flag,
        observer,
    )
}

fn run_with(
    perceptual: (Perceptual, serde_json::Value),
    train_cfg: &TrainConfig,
    dir: &Path,
    resume: bool,
    flag: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let adversary = AdversaryConfig {
        disc_start: 5,
        disc_ch: 8,
        disc_layers: 1,
        ..AdversaryConfig::default()
    };
    train_vqgan(
        VqganSpec {
            vqgan_cfg: &sizes(),
            adversary: &adversary,
            train_cfg,
            data_dir: fixture::data_dir(),
            perceptual: Some(perceptual),
            run_dir: dir,
            resume,
            overwrite: false,
            stop: flag,
            config_toml: "",
            resolved_toml: "",
        },
        observer,
    )
}

fn assert_same(a: &Path, b: &Path) {
    for file in [
        "model.safetensors",
        "discriminator.safetensors",
        "optimizer.safetensors",
        "discriminator.optimizer.safetensors",
    ] {
        let read = |run| std::fs::read(fixture::checkpoint(run, 12).join(file)).unwrap();
        assert!(read(a) == read(b), "{file} differs");
    }
    assert_eq!(metrics_without_time(a), metrics_without_time(b));
}

#[test]
fn a_stopped_vqgan_goes_on_to_the_last_bit_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let never = AtomicBool::new(false);
    let (whole, halves) = (dir.path().join("whole"), dir.path().join("halves"));
    let pool = |n| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(n)
            .build()
            .unwrap()
    };
    let done = pool(2)
        .install(|| run(&whole, false, &never, &mut Silent))
        .unwrap();
    assert_eq!(done.steps, 12);
    for figure in ["psnr", "ssim", "codebook_usage", "perplexity"] {
        assert!(done.eval[figure].is_finite(), "{figure}");
    }
    let mut stop = Stop::after(7);
    let flag = stop.flag().unwrap();
    let stopped = pool(1)
        .install(|| run(&halves, false, flag, &mut stop))
        .unwrap();
    assert!(stopped.interrupted && stopped.steps == 7);
    pool(1)
        .install(|| run(&halves, true, &never, &mut Silent))
        .unwrap();
    assert_same(&whole, &halves);
    let text = std::fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    assert!(text.contains("\"loss/perceptual\"") && text.contains("\"loss/discriminator\""));
}

#[test]
fn a_vqgan_resumes_to_the_last_bit_with_optimizers_that_keep_little() {
    for optimizer in [OptimizerKind::AdamW8, OptimizerKind::Adafactor] {
        let dir = tempfile::tempdir().unwrap();
        let (whole, halves) = (dir.path().join("whole"), dir.path().join("halves"));
        let config = TrainConfig {
            optimizer,
            ..train()
        };
        let run = |dir: &Path, resume, flag: &AtomicBool, observer: &mut dyn Observer| {
            let network = Perceptual::new(fixture::resnet_model()).unwrap();
            let network = (network, "a test".into());
            run_with(network, &config, dir, resume, flag, observer).unwrap()
        };
        let never = AtomicBool::new(false);
        assert_eq!(run(&whole, false, &never, &mut Silent).steps, 12);
        let mut stop = Stop::after(7);
        let flag = stop.flag().unwrap();
        run(&halves, false, flag, &mut stop);
        run(&halves, true, &never, &mut Silent);
        assert_same(&whole, &halves);
    }
}

#[test]
fn a_trained_vqgan_loads_and_another_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let never = AtomicBool::new(false);
    let path = dir.path().join("run");
    run(&path, false, &never, &mut Silent).unwrap();
    let loaded = load_vqgan(&path).unwrap();
    let picture = vec![120u8; 3 * 16 * 16];
    let (figures, rebuilt) = rebuild(&loaded.vqgan, &[&picture]).unwrap();
    assert_eq!((figures.n, rebuilt[0].len()), (1, picture.len()));
    let elsewhere = load_vqgan(dir.path()).err().unwrap().to_string();
    assert!(elsewhere.contains("holds no model"), "{elsewhere}");
    let language = dir.path().join("language");
    fixture::run(&language, &small_train(), &mut Silent).unwrap();
    let error = load_vqgan(&language).err().unwrap().to_string();
    assert!(
        error.contains("config.json") && error.contains("vqgan"),
        "{error}"
    );
}

/// VGG16 in torchvision's names, with weights by a formula.
fn vgg_file() -> Vec<u8> {
    let mut params = Params::new();
    let mut add = |name: String, shape: &[usize], scale: f32| {
        let n: usize = shape.iter().product();
        let value = |i: usize| ((i.wrapping_mul(2_654_435_761) >> 7) % 1001) as f32 / 1000.0 - 0.5;
        let values = (0..n).map(|i| scale * value(i)).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        params
            .insert(Param::new(name, &tensor, false).unwrap())
            .unwrap();
    };
    let layers = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28];
    let widths = [
        64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512,
    ];
    let mut c_in = 3;
    for (at, c) in layers.into_iter().zip(widths) {
        let scale = (24.0 / (9 * c_in) as f32).sqrt();
        add(format!("features.{at}.weight"), &[c, c_in, 3, 3], scale);
        add(format!("features.{at}.bias"), &[c], 0.1);
        c_in = c;
    }
    params.to_safetensors().unwrap()
}

#[test]
fn a_file_of_vgg_compares_features_and_the_run_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vgg16.safetensors");
    m6_store::atomic::write_file(&file, &vgg_file()).unwrap();
    let loaded = load_perceptual(&file).unwrap();
    let name = "VGG16 without the weights of LPIPS";
    assert!(
        loaded.description.contains(name) && loaded.description.contains("vgg16.safetensors"),
        "{}",
        loaded.description
    );
    let (path, never) = (dir.path().join("run"), AtomicBool::new(false));
    let steps = TrainConfig {
        steps: 2,
        eval_every: 0,
        ..train()
    };
    let found = (loaded.network, loaded.identity);
    run_with(found, &steps, &path, false, &never, &mut Silent).unwrap();
    let state = std::fs::read_to_string(fixture::checkpoint(&path, 2).join("state.json")).unwrap();
    assert!(state.contains(name), "{state}");
    let metrics = std::fs::read_to_string(path.join("metrics.jsonl")).unwrap();
    assert!(metrics.contains("\"loss/perceptual\""), "{metrics}");

    m6_store::atomic::write_file(&file, b"{}").unwrap();
    let error = load_perceptual(&file).err().unwrap().to_string();
    assert!(error.contains("vgg16.safetensors"), "{error}");
    assert!(load_perceptual(&dir.path().join("nowhere")).is_err());
}

//! Training a VQGAN: exact, resumable, and watched.

use crate::fixture::{self, Stop, Watch, metrics_without_time, small_train};
use m6_model::VqganConfig;
use m6_model::vqgan::Perceptual;
use m6_train::vqgan::{AdversaryConfig, VqganSpec, load_vqgan, rebuild, train_vqgan};
use m6_train::{Observer, Outcome, Result, Silent, TrainConfig};
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
            train_cfg: &train(),
            data_dir: fixture::data_dir(),
            perceptual: Some((Perceptual::new(fixture::resnet_model())?, "a test".into())),
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

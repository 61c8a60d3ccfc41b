//! `m6 bench vqgan`: updates of a VQGAN on one batch.

use super::args::BenchVqganArgs;
use super::best_and_median;
use crate::cli::Common;
use crate::config;
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::Terminal;
use m6_model::Vqgan;
use m6_model::vqgan::{CodebookUpdate, Discriminator, VqganConfig, to_tensor};
use m6_nn::threads::on_pool;
use m6_store::rng::Key;
use m6_train::vqgan::{AdversaryConfig, VqganTrainer};
use m6_train::{ScheduleKind, TrainConfig};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// Preset whose sizes are timed.
const PRESET: &str = "vqgan-64";

/// Runs the verb.
pub fn run(args: &BenchVqganArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let seed = common.seed.unwrap_or(1);
    let preset = config::load(PRESET, &common.set)?.config;
    // The quantiser of taming-transformers, which the peer has: the first losses can be compared digit by digit.
    let cfg = VqganConfig {
        l2_norm: false,
        codebook_update: CodebookUpdate::Loss,
        restart_after: 0,
        ..preset.vqgan
    };
    let adversary = AdversaryConfig {
        disc_start: 0,
        disc_weight: if args.adversary { 0.8 } else { 0.0 },
        perceptual: String::new(),
        ..preset.adversary
    };
    let train = TrainConfig {
        schedule: ScheduleKind::Constant,
        warmup_steps: 0,
        grad_clip: 0.0,
        seed,
        ..preset.train
    };
    let vqgan = Vqgan::new(&cfg, seed).or_usage()?;
    let pictures = match &args.weights {
        Some(folder) => open(folder, &vqgan, args.batch)?,
        None => drawn(seed, args.batch * cfg.picture_bytes()),
    };
    let n_params = vqgan.params().n_elements();
    let n_disc_params = Discriminator::new(adversary.disc_ch, adversary.disc_layers, seed)
        .or_usage()?
        .params()
        .n_elements();
    let mut trainer = VqganTrainer::new(vqgan, None, &adversary, &train).or_usage()?;
    let x = to_tensor(&pictures, cfg.image_side).or_usage()?;
    let (mut ms, mut loss) = (Vec::new(), Vec::new());
    for step in 1..=args.iters {
        let start = Instant::now();
        let outcome = on_pool(|| trainer.step(step, &x, None)).or_fail(Code::Numerics)?;
        ms.push(start.elapsed().as_secs_f64() * 1e3);
        loss.push(outcome.loss);
    }
    let (best, median) = best_and_median(&ms);
    let rss_mb = m6_store::mem::peak_rss_mb().round();
    if terminal.json() {
        terminal.object(&json!({
            "bench": "vqgan", "adversary": args.adversary, "batch": args.batch, "params": n_params,
            "disc_params": n_disc_params, "ms": ms, "median_ms": median, "best_ms": best, "loss": loss, "rss_mb": rss_mb,
        }));
    } else {
        let with = if args.adversary { "with" } else { "without" };
        terminal.data(&format!(
            "vqgan, {} pictures, {with} adversary: best {best:.1} ms, median {median:.1} ms of {}, loss {:?}, peak {rss_mb} MB\n",
            args.batch,
            ms.len(),
            &loss[..loss.len().min(3)],
        ));
    }
    Ok(())
}

/// Loads the weights of a folder; gives its first `n` pictures.
fn open(folder: &Path, vqgan: &Vqgan, n: usize) -> Result<Vec<u8>> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|e| {
            Failure::usage(format!("cannot read {}: {e}", path.display()))
                .hint("bench/drawing.py writes it")
        })
    };
    vqgan.load(&read("vqgan.safetensors")?).or_data()?;
    let mut pictures = read("pictures.u8")?;
    let (n_held, n_wanted) = (pictures.len(), n * vqgan.config().picture_bytes());
    if n_held < n_wanted {
        return Err(Failure::data(format!(
            "{} holds {n_held} bytes, {n} pictures need {n_wanted}",
            folder.join("pictures.u8").display()
        )));
    }
    pictures.truncate(n_wanted);
    Ok(pictures)
}

/// Bytes of pictures of noise.
fn drawn(seed: u64, n_bytes: usize) -> Vec<u8> {
    let mut stream = Key::new(seed).child("bench pictures").stream();
    (0..n_bytes).map(|_| stream.below(256) as u8).collect()
}

//! `m6 bench draw`: pictures from words with weights drawn from a seed.

use super::args::BenchDrawArgs;
use super::best_and_median;
use crate::error::{OrFail, Result};
use crate::out::Terminal;
use m6_model::{
    CodesConfig, DrawOptions, DrawPrompt, Model, ModelConfig, PatchConfig, PatchKind, Vqgan,
    VqganConfig, draw,
};
use m6_store::rng::Key;
use serde_json::json;
use std::time::Instant;

/// Entries of the word table; a word is looked up, so that their number costs nothing.
const VOCAB_SIZE: usize = 4096;

/// Runs the verb.
pub fn run(args: &BenchDrawArgs, seed: u64, terminal: &Terminal) -> Result<()> {
    let vqgan_cfg = VqganConfig {
        image_side: if args.codes == "64" { 64 } else { 128 },
        ..VqganConfig::default()
    };
    let vqgan = Vqgan::new(&vqgan_cfg, seed).or_usage()?;
    let model = Model::new(&model_config(args, &vqgan_cfg), seed).or_usage()?;
    let prompts = prompts(args, seed);
    let (mut draw_ms, mut decode_ms) = (Vec::new(), Vec::new());
    for i in 0..args.iters {
        let options = DrawOptions {
            guidance: args.guidance,
            temperature: 1.0,
            top_k: args.top_k,
            seed: seed.wrapping_add(i),
            streams: (0..args.batch as u64).collect(),
            ..DrawOptions::default()
        };
        let start = Instant::now();
        let drawn = draw(&model, &prompts, &options, &mut |_, _| {}).or_usage()?;
        draw_ms.push(start.elapsed().as_secs_f64() * 1e3);
        let codes: Vec<u32> = drawn.into_iter().flat_map(|d| d.codes).collect();
        let start = Instant::now();
        vqgan.decode(&codes).or_usage()?;
        decode_ms.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let (best, median) = best_and_median(&draw_ms);
    let (decode_best, decode_median) = best_and_median(&decode_ms);
    let per_s = |ms: f64| args.batch as f64 * 1e3 / ms;
    if terminal.json() {
        terminal.object(&json!({
            "bench": "draw", "codes": vqgan_cfg.n_codes(), "batch": args.batch, "guidance": args.guidance,
            "params": model.params().n_elements(), "ms": draw_ms, "median_ms": median, "best_ms": best,
            "decode_ms": decode_ms, "decode_median_ms": decode_median, "decode_best_ms": decode_best,
            "pictures_per_s": per_s(median), "decoded_pictures_per_s": per_s(median + decode_median),
            "rss_mb": m6_store::mem::peak_rss_mb().round(),
        }));
    } else {
        terminal.data(&format!(
            "{} pictures of {} codes: best {best:.1} ms, median {median:.1} ms of {}, {:.2} pictures/s; the VQGAN's decoder best \
             {decode_best:.1} ms, median {decode_median:.1} ms, with it {:.2} pictures/s\n",
            args.batch,
            vqgan_cfg.n_codes(),
            draw_ms.len(),
            per_s(median),
            per_s(median + decode_median),
        ));
    }
    Ok(())
}

/// A transformer over the codes of the VQGAN, with the smallest patch network, since no picture is read.
fn model_config(args: &BenchDrawArgs, vqgan: &VqganConfig) -> ModelConfig {
    ModelConfig {
        vocab_size: VOCAB_SIZE,
        d_model: args.width,
        n_layers: args.layers,
        n_heads: args.heads,
        d_ff: 4 * args.width,
        max_len: args.words,
        dropout: 0.0,
        patches: PatchConfig {
            kind: PatchKind::Linear,
            image_side: 64,
            grid: 4,
            ..PatchConfig::default()
        },
        codes: CodesConfig {
            codebook_size: vqgan.codebook_size,
            grid: vqgan.code_grid(),
            ..CodesConfig::default()
        },
        ..ModelConfig::default()
    }
}

/// Other words for every picture.
fn prompts(args: &BenchDrawArgs, seed: u64) -> Vec<DrawPrompt> {
    let mut stream = Key::new(seed).child("bench words").stream();
    let mut prompt = |_| DrawPrompt {
        text: (0..args.words)
            .map(|_| stream.below(VOCAB_SIZE as u64) as u32)
            .collect(),
        ..DrawPrompt::default()
    };
    (0..args.batch).map(&mut prompt).collect()
}

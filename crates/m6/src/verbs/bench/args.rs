//! Arguments of `m6 bench`.

use clap::builder::TypedValueParser;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `m6 bench ...`.
#[derive(Subcommand, Debug)]
pub enum BenchVerb {
    /// Training step of a 40.7 M decoder: 6 layers, d 512, vocabulary 21,128, 8 x 256 tokens.
    Train(BenchArgs),
    /// One token with a KV cache through the same decoder.
    Decode(BenchArgs),
    /// Forward and backward of a VQGAN-like convolution stack, 8 x 3 x 64 x 64.
    Conv(BenchArgs),
    /// Forward and backward of one layer of experts, gradients included.
    Moe(BenchMoeArgs),
    /// One update of the VQGAN of preset vqgan-64 with the quantiser of taming-transformers, with or without its adversary.
    Vqgan(BenchVqganArgs),
    /// Pictures from words with a transformer drawn from the seed: codes one after the other, then the VQGAN's decoder.
    Draw(BenchDrawArgs),
    /// Text to ids, in memory.
    Tokenizer(BenchTokenizerArgs),
    /// Exchanges of gradients between the processes that mpirun or srun started.
    Comm(BenchCommArgs),
    /// Packed rows against one padded sample a row, on prepared data.
    Packing(BenchPackingArgs),
}

/// `m6 bench train|decode|conv`.
#[derive(Args, Debug, Clone)]
pub struct BenchArgs {
    /// Folder with lm.safetensors and conv.safetensors; weights are drawn from the seed without it.
    #[arg(long, value_name = "DIR")]
    pub weights: Option<PathBuf>,
    /// Timed iterations.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub iters: Option<u64>,
}

/// `m6 bench moe`.
#[derive(Args, Debug, Clone)]
pub struct BenchMoeArgs {
    /// Tokens.
    #[arg(long, default_value_t = 2048, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 20).map(|n| n as usize))]
    pub tokens: usize,
    /// Width of a token.
    #[arg(long, default_value_t = 512, value_name = "D", value_parser = clap::value_parser!(u64).range(1..=16_384).map(|n| n as usize))]
    pub d_model: usize,
    /// Width inside an expert.
    #[arg(long, default_value_t = 2048, value_name = "F", value_parser = clap::value_parser!(u64).range(1..=65_536).map(|n| n as usize))]
    pub d_ff: usize,
    /// Experts.
    #[arg(long, default_value_t = 8, value_name = "E", value_parser = clap::value_parser!(u64).range(1..=4096).map(|n| n as usize))]
    pub experts: usize,
    /// Experts of a token.
    #[arg(long, default_value_t = 1, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=64).map(|n| n as usize))]
    pub top_k: usize,
    /// Room of an expert relative to an even share of the tokens.
    #[arg(long, default_value_t = 1.25, value_name = "C", value_parser = positive)]
    pub capacity_factor: f64,
    /// Drops no token.
    #[arg(long, conflicts_with = "capacity_factor")]
    pub dropless: bool,
    /// Folder with moe8.safetensors (by the number of experts); weights are drawn from the seed without it.
    #[arg(long, value_name = "DIR")]
    pub weights: Option<PathBuf>,
    /// Timed iterations.
    #[arg(long, default_value_t = 6, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub iters: u64,
}

/// A number above 0.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() && x > 0.0 => Ok(x),
        _ => Err("expected a number above 0".into()),
    }
}

/// `m6 bench packing`.
#[derive(Args, Debug, Clone)]
pub struct BenchPackingArgs {
    /// Preset name or TOML file.
    pub config: String,
    /// Prepared data.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Draws from this source alone.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Draws examples of this task alone.
    #[arg(long, value_name = "NAME")]
    pub task: Option<String>,
    /// Timed steps of each kind.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub iters: u64,
}

/// `m6 bench comm`.
#[derive(Args, Debug, Clone)]
pub struct BenchCommArgs {
    /// Numbers (f32) that each rank has, in megabytes.
    #[arg(long, default_value_t = 64, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub mb: u64,
    /// Timed exchanges of each kind.
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub iters: u64,
}

/// `m6 bench tokenizer`.
#[derive(Args, Debug, Clone)]
pub struct BenchTokenizerArgs {
    /// vocab.txt or tokenizer.json.
    #[arg(long, value_name = "FILE")]
    pub vocab: PathBuf,
    /// Text file; every line is one text.
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
}

/// `m6 bench vqgan`.
#[derive(Args, Debug, Clone)]
pub struct BenchVqganArgs {
    /// Trains against the discriminator, with the adaptive weight, and the discriminator too.
    #[arg(long)]
    pub adversary: bool,
    /// Pictures of an update.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256).map(|n| n as usize))]
    pub batch: usize,
    /// Folder with vqgan.safetensors and pictures.u8; both are drawn from the seed without it.
    #[arg(long, value_name = "DIR")]
    pub weights: Option<PathBuf>,
    /// Timed updates.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub iters: u64,
}

/// `m6 bench draw`.
#[derive(Args, Debug, Clone)]
pub struct BenchDrawArgs {
    /// Codes of a picture: 64 (64 pixels a side) or 256 (128).
    #[arg(long, default_value = "64", value_parser = ["64", "256"])]
    pub codes: String,
    /// Pictures drawn together.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256).map(|n| n as usize))]
    pub batch: usize,
    /// Guidance; 1 is none, any other runs every prompt beside one without text.
    #[arg(long, default_value_t = 1.0, value_name = "G")]
    pub guidance: f64,
    /// Blocks of the transformer.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64).map(|n| n as usize))]
    pub layers: usize,
    /// Width of the transformer; the feed-forward layers are four times as wide.
    #[arg(long, default_value_t = 512, value_name = "D", value_parser = clap::value_parser!(u64).range(8..=4096).map(|n| n as usize))]
    pub width: usize,
    /// Attention heads; divides the width.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64).map(|n| n as usize))]
    pub heads: usize,
    /// Words of a prompt.
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256).map(|n| n as usize))]
    pub words: usize,
    /// Draws among the K likeliest of 512 codes; 0 among all.
    #[arg(long, default_value_t = 100, value_name = "K")]
    pub top_k: usize,
    /// Timed batches.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub iters: u64,
}

//! Flags of `m6 plan`.

use clap::{Args, ValueEnum};
use m6_model::plan::{Moments, Precision};

/// `m6 plan`.
#[derive(Args, Debug, Clone)]
pub struct PlanArgs {
    /// Preset name or TOML file.
    pub config: String,
    /// Devices to plan for; without it only what does not depend on devices is counted.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub gpus: Option<u32>,
    /// What they are: v100, a100, a100-40, h100, h200 or cpu.
    #[arg(long, value_name = "NAME", default_value = "a100")]
    pub gpu: String,
    /// Arrangement, such as data=16,expert=16,tensor=8,zero=1; default what `[parallel]` sets. What is left out: tensor 1, zero 0, data and expert as many as there can be.
    #[arg(long, value_name = "AXES", requires = "gpus", default_value = "")]
    pub mesh: String,
    /// Positions of a sample: the patches of one picture, the rest words.
    #[arg(long, value_name = "N", default_value_t = 272)]
    pub seq: usize,
    /// Samples of a micro-batch on a data rank; default that of the configuration, or less where the batch is shared out further.
    #[arg(long, value_name = "N", requires = "gpus", value_parser = clap::value_parser!(u32).range(1..))]
    pub micro_batch: Option<u32>,
    /// Number type of weights in use and of activations; default 16 bits on GPUs, f32 on cpu.
    #[arg(long, value_enum, requires = "gpus")]
    pub precision: Option<PrecisionArg>,
    /// Keep and send gradients in --precision instead of f32.
    #[arg(long, requires = "gpus")]
    pub half_gradients: bool,
    /// Optimizer; default that of the configuration.
    #[arg(long, value_enum, requires = "gpus")]
    pub optimizer: Option<OptimizerArg>,
    /// Share of the peak that computing reaches.
    #[arg(long, value_name = "SHARE", requires = "gpus", default_value_t = 0.4)]
    pub efficiency: f64,
    /// Search all arrangements, micro-batches and activation checkpointing for the fastest that fits.
    #[arg(long, requires = "gpus", conflicts_with_all = ["mesh", "micro_batch"])]
    pub search: bool,
    /// A measured throughput, to say what efficiency it means.
    #[arg(long, value_name = "SAMPLES_PER_S", requires = "gpus")]
    pub measured: Option<f64>,
    /// Memory of a device in place of the table's.
    #[arg(long, value_name = "GB", requires = "gpus")]
    pub gpu_memory_gb: Option<f64>,
    /// Peak of a device in place of the table's.
    #[arg(long, value_name = "TFLOPS", requires = "gpus")]
    pub peak_tflops: Option<f64>,
    /// Devices of a node in place of the table's.
    #[arg(long, value_name = "N", requires = "gpus")]
    pub gpus_per_node: Option<usize>,
    /// GB/s of a device inside its node, one direction, in place of the table's.
    #[arg(long, value_name = "RATE", requires = "gpus")]
    pub inner_gb_s: Option<f64>,
    /// GB/s of a device to other nodes, one direction, in place of the table's.
    #[arg(long, value_name = "RATE", requires = "gpus")]
    pub outer_gb_s: Option<f64>,
}

/// Number types by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PrecisionArg {
    /// 4 bytes.
    F32,
    /// 2 bytes, the range of f32.
    Bf16,
    /// 2 bytes, with a loss scale.
    F16,
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Self {
        match arg {
            PrecisionArg::F32 => Self::F32,
            PrecisionArg::Bf16 => Self::Bf16,
            PrecisionArg::F16 => Self::F16,
        }
    }
}

/// Optimizers by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OptimizerArg {
    /// Two moments in f32.
    Adamw,
    /// One for matrices between vectors.
    Muon,
    /// Means of rows and columns.
    Adafactor,
    /// Two moments of 8 bits.
    Adamw8,
}

impl From<OptimizerArg> for Moments {
    fn from(arg: OptimizerArg) -> Self {
        match arg {
            OptimizerArg::Adamw => Self::AdamW,
            OptimizerArg::Muon => Self::Muon,
            OptimizerArg::Adafactor => Self::Adafactor,
            OptimizerArg::Adamw8 => Self::AdamW8,
        }
    }
}

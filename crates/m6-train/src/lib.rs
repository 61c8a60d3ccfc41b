//! The training loop: schedule, accumulate, clip, guard, checkpoint, resume, observe.
//!
//! [`pretrain`] is the whole of it: batches from `m6-data` go through the model of `m6-model` and the optimizer of `m6-nn`, and
//! everything durable goes through `m6-store`. The crate names no task: task names are data of the loader.
//!
//! A run is exact: the same seed gives the same bytes, for any number of threads, and a run that was killed and
//! resumed ends with the weights, moments and losses of one that was not.

mod blockwise;
mod checkpoint;
mod config;
mod ema;
mod error;
mod evaluate;
mod evaluation;
mod experts;
mod export;
mod init;
mod load;
mod metrics;
mod parallel;
mod prefetch;
mod resume;
mod reword;
mod run;
mod schedule;
mod setup;
mod spike;
mod step;
mod tensorboard;
mod untie;
pub mod vqgan;

pub use checkpoint::{Best, CHECKPOINT_VERSION, SavedConfig, TrainState};
pub use config::{BestBy, OptimizerKind, TrainConfig};
pub use ema::Ema;
pub use error::{Error, ErrorKind, Result};
pub use evaluate::{HeldOut, TaskLoss, evaluate};
pub use experts::ExpertReport;
pub use export::export_model;
pub use load::{
    Adapters, LoadedModel, load_clip, load_model, load_with, saved_config, tokenizer_file,
};
pub use metrics::{METRICS_FILE, StepReport};
pub use parallel::{ClipBy, ParallelConfig, RankShare, rank_shares};
pub use resume::{OpenMode, RunFolder};
pub use reword::Reword;
pub use run::{Observer, Outcome, Silent, pretrain};
pub use schedule::{Schedule, ScheduleKind};
pub use setup::PretrainSpec;
pub use spike::SpikeGuard;
pub use step::{StepOutcome, Trainer};
pub use tensorboard::EventWriter;

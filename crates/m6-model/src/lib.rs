//! The unified transformer of M6, its patch networks and generation. No files, no clock.
//!
//! A model is built from a [`ModelConfig`] and a seed; it takes a [`ModelInput`] of plain arrays. One stack of blocks serves
//! all tasks: picture patches (V) and source text (Tm) see each other, target text (Td) sees them and its own past (paper
//! section 2.2). [`generate()`] continues prompts with a cache of keys and values; [`count()`] and [`flops`](flops::flops) answer
//! questions about a configuration without building it.

mod adapters;
pub mod clip;
pub mod config;
pub mod count;
mod error;
mod experts;
pub mod features;
pub mod flops;
mod frozen;
pub mod generate;
mod heads;
mod input;
mod learning;
mod load;
mod model;
mod params;
mod patches;
pub mod plan;
pub mod spec;
mod split;
mod transformer;
pub mod vqgan;

pub use clip::{ChineseClip, ClipFiles};
pub use config::{
    AdapterSite, CodesConfig, ExpertsConfig, HeadsConfig, LoraConfig, ModelConfig, PatchConfig,
    PatchKind, PatchScope, RenormalizeGates, SecondPolicy,
};
pub use count::{Counts, count};
pub use error::{Error, Result};
pub use experts::ExpertLoad;
pub use generate::{
    DrawMethod, DrawOptions, DrawPrompt, Drawn, GenerateOptions, Generated, Prompt, draw, generate,
    generate_with, rules, score_target, score_targets,
};
pub use heads::MatchPair;
pub use input::{
    ModelInput, SEGMENT_CODE_READ, SEGMENT_CODE_WRITTEN, SEGMENT_FINE_READ, SEGMENT_FINE_WRITTEN,
    SEGMENT_PICTURE, SEGMENT_POOL_PICTURE, SEGMENT_POOL_TEXT, SEGMENT_SOURCE, SEGMENT_TARGET,
    SEGMENT_VERDICT,
};
pub use model::{ForwardOptions, Model, Output};
pub use split::split_part;
pub use vqgan::{Vqgan, VqganConfig};

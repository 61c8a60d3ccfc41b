//! `m6 corpus ...`: one file a verb.

pub mod build;
pub mod dedup;
pub mod diff;
pub mod extract;
pub mod fetch;
pub mod normalize;
pub mod read;
pub mod train_classifier;
pub mod train_lm;
pub mod why;
pub mod world;

mod memory;
mod texts;

use crate::cli::Common;
use crate::error::Result;
use crate::out::Terminal;
use clap::Subcommand;

/// `m6 corpus ...`.
#[derive(Subcommand, Debug)]
pub enum CorpusVerb {
    /// Raw sources of a configuration to clean shards, a ledger and a report.
    Build(build::BuildArgs),
    /// The life of one record through all stages.
    Why(why::WhyArgs),
    /// What moved between two builds, with examples.
    Diff(diff::DiffArgs),
    /// Records of a WARC, ARC, WET or WAT file.
    Read(read::ReadArgs),
    /// Title, text, blocks and pictures of pages.
    Extract(extract::ExtractArgs),
    /// Pictures of a list of addresses, off the web, politely.
    Fetch(fetch::FetchArgs),
    /// Script conversion and cleaning, line by line from stdin.
    Normalize(normalize::NormalizeArgs),
    /// Near-duplicate clusters of a JSONL file.
    Dedup(dedup::DedupArgs),
    /// A character language model for the column `perplexity`.
    TrainLm(train_lm::TrainLmArgs),
    /// A linear classifier of good and bad text for the column `quality`.
    TrainClassifier(train_classifier::TrainClassifierArgs),
    /// The sample world as web archives, with what is true of every record.
    World(world::WorldArgs),
}

/// Runs the verb.
pub fn run(verb: &CorpusVerb, common: &Common, terminal: &Terminal) -> Result<()> {
    match verb {
        CorpusVerb::Build(args) => build::run(args, common, terminal),
        CorpusVerb::Why(args) => why::run(args, common, terminal),
        CorpusVerb::Diff(args) => diff::run(args, common, terminal),
        CorpusVerb::Read(args) => read::run(args, common, terminal),
        CorpusVerb::Extract(args) => extract::run(args, common, terminal),
        CorpusVerb::Fetch(args) => fetch::run(args, common, terminal),
        CorpusVerb::Normalize(args) => normalize::run(args, common, terminal),
        CorpusVerb::Dedup(args) => dedup::run(args, common, terminal),
        CorpusVerb::TrainLm(args) => train_lm::run(args, common, terminal),
        CorpusVerb::TrainClassifier(args) => train_classifier::run(args, common, terminal),
        CorpusVerb::World(args) => world::run(args, common, terminal),
    }
}

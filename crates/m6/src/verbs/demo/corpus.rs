//! The demo's corpus: the sample world as a piece of the web, and what the builder makes of it.

use super::PRESET;
use crate::cli::{Common, DemoArgs};
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use crate::verbs::corpus::build;
use m6_corpus::build::Stats;
use m6_corpus::world::{self, Options};

/// Pages of the world; with `--short` a tenth.
const N_PAGES: u64 = 4000;

/// Draws the pages into `web` and builds them into `corpus`, both in the demo's folder.
pub fn make(args: &DemoArgs, common: &Common, terminal: &Terminal) -> Result<Stats> {
    let (web, out) = (args.out.join("web"), args.out.join("corpus"));
    let options = Options {
        seed: common.seed.unwrap_or(Options::default().seed),
        n_pages: if args.short { N_PAGES / 10 } else { N_PAGES },
        pages_per_file: 500,
        ..Options::default()
    };
    let drawn = world::write(&web, options).or_data()?;
    let root = toml::Value::String(web.display().to_string());
    let config = build::load(PRESET, &[format!("corpus.root={root}")], common.seed)?;
    let built = build::make(&config, &out, terminal)?;
    let stats = built
        .stats
        .ok_or_else(|| Failure::usage("the build made a slice, not a corpus"))?;
    if let Some(truth) = &stats.truth {
        terminal.say(&format!(
            "{} pages with {} pictures; kept: precision {:.3}, recall {:.3}, text F1 {:.3} (planted truth); {}",
            drawn.n_pages,
            drawn.n_pictures,
            truth.precision,
            truth.recall,
            truth.text.f1_mean,
            out.join("report.html").display()
        ));
    }
    Ok(stats)
}

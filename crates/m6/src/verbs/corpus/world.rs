//! `m6 corpus world`: the sample world as a piece of the web, with the truth of every record.

use crate::cli::Common;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use crate::verbs::common::bytes;
use clap::Args;
use m6_corpus::world::{self, Options, TRUTH_NAME};
use std::path::PathBuf;

/// Sides of pictures that the world draws, in pixels.
const SIDES: std::ops::RangeInclusive<usize> = 16..=1024;

/// `m6 corpus world`.
#[derive(Args, Debug, Clone)]
pub struct WorldArgs {
    /// Folder to write; it appears whole or not at all.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Pages; their pictures come on top.
    #[arg(long, value_name = "N", default_value_t = Options::default().n_pages)]
    pub pages: u64,
    /// Pages in one archive.
    #[arg(long, value_name = "N", default_value_t = Options::default().pages_per_file)]
    pub per_file: u64,
    /// Side of the pictures in pixels, 16 to 1024.
    #[arg(long, value_name = "N", default_value_t = Options::default().side)]
    pub side: usize,
}

/// Runs the verb: archives and their truth, and on stdout what was written.
///
/// # Errors
/// Numbers that cannot be followed, or a folder with something in it (exit code 2); a disk that does not take it (3).
pub fn run(args: &WorldArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let options = options(args, common)?;
    if std::fs::read_dir(&args.out).is_ok_and(|mut entries| entries.next().is_some()) {
        let out = args.out.display();
        return Err(Failure::usage(format!(
            "{out} is not empty; choose another --out"
        )));
    }
    if common.dry_run {
        let (n, per_file) = (options.n_pages, options.pages_per_file);
        terminal.say(&format!(
            "would draw {n} pages in {} archives",
            n.div_ceil(per_file)
        ));
        return Ok(());
    }
    let summary = world::write(&args.out, options).or_data()?;
    if terminal.json() {
        terminal.object(&summary);
        return Ok(());
    }
    terminal.data(&format!(
        "{} pages, of them {} to keep, and {} pictures in {} archives of {}; the truth is in {}\n",
        summary.n_pages,
        summary.n_keep,
        summary.n_pictures,
        summary.n_files,
        bytes(summary.n_bytes as f64),
        args.out.join(TRUTH_NAME).display()
    ));
    Ok(())
}

fn options(args: &WorldArgs, common: &Common) -> Result<Options> {
    if args.pages == 0 || args.per_file == 0 {
        return Err(Failure::usage("--pages and --per-file are at least 1"));
    }
    if !SIDES.contains(&args.side) {
        let (least, most) = (SIDES.start(), SIDES.end());
        return Err(Failure::usage(format!(
            "--side {} is not {least} to {most} pixels",
            args.side
        )));
    }
    Ok(Options {
        seed: common.seed.unwrap_or(Options::default().seed),
        n_pages: args.pages,
        pages_per_file: args.per_file,
        side: args.side,
    })
}

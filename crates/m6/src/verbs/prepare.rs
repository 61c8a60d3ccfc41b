//! `m6 prepare CONFIG --out DIR`.

use super::common as shared;
use crate::cli::{Common, PrepareArgs};
use crate::config::{self, RunConfig};
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::Terminal;
use m6_text::Tokenizer;
use m6_text::train::WordPieceTrainer;
use serde_json::json;
use std::path::Path;

/// Runs the verb.
pub fn run(args: &PrepareArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let mut config = config::load(&args.config, &common.set)?.config;
    if let Some(seed) = common.seed {
        config.data.seed = seed;
    }
    shared::check_out(&args.out.out, args.out.overwrite)?;
    if config.data.sources.is_empty() {
        return Err(Failure::usage(format!(
            "{}: there is no [[data.sources]] to read",
            args.config
        )));
    }
    if common.dry_run {
        for source in &config.data.sources {
            m6_data::open(source, &config.data.root).or_usage()?;
        }
        terminal.say(&format!(
            "{} sources open; would write {}",
            config.data.sources.len(),
            args.out.out.display()
        ));
        return Ok(());
    }
    let summary = prepare(&config, &args.out.out, args.out.overwrite, terminal)?;
    if terminal.json() {
        terminal.object(&summary);
    } else {
        terminal.data(&table(&summary));
    }
    Ok(())
}

/// The vocabulary the configuration names, or one trained on its sources.
pub fn tokenizer_of(config: &RunConfig, terminal: &Terminal) -> Result<Tokenizer> {
    let wanted = &config.tokenizer;
    if !wanted.file.is_empty() {
        let path = config.data.root.join(&wanted.file);
        let path = if path.exists() {
            path
        } else {
            Path::new(&wanted.file).to_path_buf()
        };
        let path = match path.is_dir() {
            true => m6_train::tokenizer_file(&path).or_usage()?,
            false => path,
        };
        return Tokenizer::from_file(&path).or_data();
    }
    let mut trainer = WordPieceTrainer::new(wanted.vocab_size);
    trainer.min_frequency = wanted.min_frequency;
    let n = shared::feed_sources(&config.data, &mut trainer, terminal)?;
    if n == 0 {
        return Err(Failure::data(
            "the sources hold no record to train a vocabulary on",
        ));
    }
    let tokenizer = trainer.train().or_data()?;
    terminal.say(&format!(
        "vocabulary: {} entries trained on {n} records",
        tokenizer.vocab_size()
    ));
    Ok(tokenizer)
}

/// Only prepared data is overwritten, never a folder of something else.
fn check_replaceable(out: &Path, overwrite: bool) -> Result<()> {
    let is_full = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if !overwrite || !is_full || out.join(m6_data::MANIFEST_FILE).is_file() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} holds something else than prepared data; it is not overwritten",
        out.display()
    ))
    .hint("choose another --out, or remove the folder yourself"))
}

/// Prepares the configured sources into `out`; the folder appears whole or not at all.
pub fn prepare(
    config: &RunConfig,
    out: &Path,
    overwrite: bool,
    terminal: &Terminal,
) -> Result<m6_data::Summary> {
    check_replaceable(out, overwrite)?;
    let tokenizer = tokenizer_of(config, terminal)?;
    let vqgan = match config.data.codes.vqgan.as_str() {
        "" => None,
        path => Some(super::vqgan::load(Path::new(path), terminal)?),
    };
    let side = config.data.image_side;
    let encode =
        |pixels: &[u8], times: usize| super::vqgan::codes(vqgan.as_ref(), pixels, side, times);
    let coder = match &vqgan {
        Some(loaded) => Some(m6_data::PictureCoder {
            id: super::vqgan::identity(loaded)?,
            codebook_size: loaded.vqgan.config().codebook_size,
            grid: loaded.vqgan.config().code_grid(),
            side: loaded.vqgan.config().image_side,
            fine: config.data.codes.fine,
            files: m6_train::vqgan::export_vqgan(&loaded.vqgan).or_data()?,
            encode: &encode,
        }),
        None => None,
    };
    let mut bar = terminal.progress(config.data.sources.len() as u64, "prepare");
    let summary = m6_data::prepare(
        &config.data,
        &tokenizer,
        coder.as_ref(),
        out,
        overwrite,
        &mut |p: m6_data::Progress<'_>| {
            bar.at(
                p.source_index as u64,
                &format!("{} {} records, {} quarantined", p.source, p.records, p.bad),
            );
        },
    );
    let summary = summary.map_err(|error| {
        let code = match error {
            m6_data::Error::Config(_) => Code::Usage,
            _ => Code::Data,
        };
        Err::<(), _>(error).or_fail(code).expect_err("it is one")
    })?;
    bar.finish();
    terminal.say(&format!("prepared data in {}", out.display()));
    Ok(summary)
}

/// The manifest's columns, which are those of the paper's table of its corpus (section 1.1).
fn table(summary: &m6_data::Summary) -> String {
    let mut text = format!(
        "{:16} {:>9} {:>9} {:>11} {:>9} {:>10} {:>5}\n",
        "source", "records", "passages", "tokens", "images", "avg length", "bad"
    );
    for source in &summary.sources {
        text.push_str(&format!(
            "{:16} {:>9} {:>9} {:>11} {:>9} {:>10.1} {:>5}\n",
            source.name,
            source.records,
            source.passages,
            source.tokens,
            source.images,
            source.avg_length,
            source.quarantined
        ));
    }
    text
}

/// The summary as the demo's report shows it.
pub fn as_json(summary: &m6_data::Summary) -> serde_json::Value {
    json!(summary)
}

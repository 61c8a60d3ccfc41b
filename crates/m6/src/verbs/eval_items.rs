//! Pairs of picture and text that an evaluation reads, as an exam in captions finds them.

use super::exams::{Asked, Sets, layout_of};
use crate::cli::Common;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use clap::Args;
use m6_eval::ExamTask;
use m6_train::LoadedModel;
use std::collections::BTreeSet;

/// What is read.
#[derive(Args, Debug, Clone)]
pub struct PairArgs {
    /// Pictures with texts: prepared data or a configuration (the held-out records of its sources), a file (.tar, .jsonl, .json, .parquet)
    /// or a folder of pictures (all of them), or `world` for unseen combinations of the sample world. Fields of a file: --set
    /// source.KEY=FIELD.
    #[arg(long, value_name = "SOURCE")]
    pub data: String,
    /// Only this source of the configuration; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub source: Vec<String>,
    /// Records to read, 0 for all.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub n: usize,
}

/// A picture with the texts that belong to it.
pub struct Item {
    /// Identity of the record.
    pub id: String,
    /// Its first picture as the model takes it.
    pub picture: Vec<u8>,
    /// Its texts as the model reads them: ids, cut as in training.
    pub texts: Vec<Vec<u32>>,
}

/// The records that `args` name. Those without picture or text are passed over and told.
pub fn read(
    args: &PairArgs,
    common: &Common,
    loaded: &LoadedModel,
    terminal: &Terminal,
) -> Result<Vec<Item>> {
    let layout = layout_of(loaded)?;
    let sets = Sets::of(&common.set);
    if let Some(set) = sets.generate.first() {
        return Err(Failure::usage(format!(
            "--set generate.{set}: nothing is written here"
        )));
    }
    let most = (args.n > 0).then_some(args.n);
    let task = ExamTask::Caption;
    let asked = Asked::find(task, &args.data, &args.source, &sets, most)?;
    let found = asked
        .read(task, &layout, most.unwrap_or(usize::MAX))
        .or_data()?;
    let picture_bytes = loaded.model.config().patches.picture_bytes();
    let (mut items, mut ids, mut n_empty) = (Vec::new(), BTreeSet::new(), 0);
    for item in found.items {
        let texts = item.answers.iter().map(|text| {
            let mut ids = loaded.tokenizer.encode(text);
            ids.truncate(layout.max_text);
            ids
        });
        let texts: Vec<Vec<u32>> = texts.filter(|ids| !ids.is_empty()).collect();
        let Some(picture) = item.pictures.get(..picture_bytes) else {
            return Err(Failure::data(format!(
                "{}: its picture has {} bytes, the model takes {picture_bytes}",
                item.id,
                item.pictures.len()
            )));
        };
        if texts.is_empty() {
            n_empty += 1;
            continue;
        }
        if !ids.insert(item.id.clone()) {
            return Err(Failure::data(format!(
                "{}: the id `{}` is there twice",
                args.data, item.id
            )));
        }
        items.push(Item {
            id: item.id,
            picture: picture.to_vec(),
            texts,
        });
    }
    let n_passed = found.bad.len() + found.n_passed_over + n_empty;
    if n_passed > 0 {
        let first = found.bad.first();
        let first = first.map_or("without picture or text".to_owned(), String::clone);
        terminal.say(&format!(
            "warning: {n_passed} record(s) passed over, the first: {first}"
        ));
    }
    if items.len() < 2 {
        return Err(Failure::data(format!(
            "{} has {} record(s) with a picture and a text; at least 2 are needed to tell apart",
            args.data,
            items.len()
        )));
    }
    Ok(items)
}

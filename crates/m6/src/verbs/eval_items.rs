//! Records with pictures and texts that an evaluation reads: from a file, or of the sample world.

use super::common as shared;
use crate::error::{Failure, OrFail, Result};
use crate::out::Terminal;
use m6_data::{DataConfig, Fields, Kind, SourceConfig, WorldSplit};
use m6_train::LoadedModel;
use std::collections::BTreeSet;
use std::path::Path;

/// Pictures of the sample world that are drawn where the command line names none.
const N_DRAWN: u64 = 500;

/// A picture with the texts that belong to it.
pub struct Item {
    /// Identity of the record.
    pub id: String,
    /// Its first picture as the model takes it.
    pub picture: Vec<u8>,
    /// Its texts as the model reads them: ids, cut as in training.
    pub texts: Vec<Vec<u32>>,
}

/// The records of `data`, at most `most` (0: all): a tar or JSON lines of pictures with `captions`, a folder of pictures with texts beside
/// them, or the word `world` for unseen combinations of the sample world. Records without picture or text are passed over and told.
pub fn read(
    data: &Path,
    most: usize,
    loaded: &LoadedModel,
    terminal: &Terminal,
) -> Result<Vec<Item>> {
    let source = source_of(data, most)?;
    let root = data.parent().unwrap_or(Path::new("."));
    let mut reader = m6_data::open(&source, root).or_usage()?;
    let side = loaded.model.config().patches.image_side;
    let (fit, limit) = (shared::fit_of(loaded), DataConfig::default().max_pixels);
    let max_text = loaded.config.data["max_text"].as_u64();
    let max_text = max_text.map_or(loaded.model.config().max_len, |n| n as usize);
    let (mut items, mut ids, mut passed) = (Vec::new(), BTreeSet::new(), Vec::new());
    while let Some(record) = reader.next() {
        if most > 0 && items.len() == most {
            break;
        }
        let record = match record {
            Ok(record) => record,
            Err(bad) => {
                passed.push(format!("{}: {}", bad.where_, bad.detail));
                continue;
            }
        };
        let texts = match record.captions.is_empty() {
            true => record.text.into_iter().collect(),
            false => record.captions,
        };
        let texts: Vec<Vec<u32>> = texts
            .iter()
            .map(|text| {
                let mut ids = loaded.tokenizer.encode(text);
                ids.truncate(max_text);
                ids
            })
            .filter(|ids| !ids.is_empty())
            .collect();
        let Some(picture) = record.images.first().filter(|_| !texts.is_empty()) else {
            passed.push(format!("{}: no picture or no text", record.place));
            continue;
        };
        match picture.square(side, fit, limit) {
            Ok(picture) if ids.insert(record.id.clone()) => items.push(Item {
                id: record.id,
                picture,
                texts,
            }),
            Ok(_) => {
                return Err(Failure::data(format!(
                    "{}: the id `{}` is there twice",
                    record.place, record.id
                )));
            }
            Err((_, detail)) => passed.push(format!("{}: {detail}", record.place)),
        }
    }
    if let Some(first) = passed.first() {
        terminal.say(&format!(
            "warning: {} record(s) passed over, the first: {first}",
            passed.len()
        ));
    }
    if items.len() < 2 {
        return Err(Failure::data(format!(
            "{} has {} record(s) with a picture and a text; at least 2 are needed to tell apart",
            data.display(),
            items.len()
        ))
        .hint("a .tar of id.jpg + id.json, or a .jsonl, with the fields `image` and `captions`"));
    }
    Ok(items)
}

fn source_of(data: &Path, most: usize) -> Result<SourceConfig> {
    let name = data.file_name().map(|name| name.to_string_lossy());
    let name = name.unwrap_or_default().into_owned();
    let base = SourceConfig {
        name: "data".into(),
        path: Fields::from([name.as_str()]),
        ..SourceConfig::default()
    };
    if data == Path::new("world") {
        return Ok(SourceConfig {
            path: Fields::default(),
            split: WorldSplit::HeldOut,
            n: if most > 0 { most as u64 } else { N_DRAWN },
            ..base
        });
    }
    if !data.exists() {
        return Err(
            Failure::usage(format!("there is no {}", data.display())).hint(
                "--data FILE.tar, FILE.jsonl or a folder of pictures, or `world` for the sample world",
            ),
        );
    }
    let captions = Fields::from(["captions"]);
    let extension = data.extension().and_then(|e| e.to_str()).unwrap_or("");
    match (data.is_dir(), extension) {
        (true, _) => Ok(SourceConfig {
            kind: Kind::Folder,
            ..base
        }),
        (_, "tar") => Ok(SourceConfig {
            kind: Kind::Webdataset,
            id: Some("id".into()),
            captions,
            ..base
        }),
        (_, "jsonl") => Ok(SourceConfig {
            kind: Kind::Jsonl,
            id: Some("id".into()),
            image: Fields::from(["image"]),
            captions,
            ..base
        }),
        _ => Err(Failure::usage(format!(
            "{}: cannot tell its form from its name; expected .tar, .jsonl or a folder",
            data.display()
        ))),
    }
}

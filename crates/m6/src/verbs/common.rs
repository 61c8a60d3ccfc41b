//! What several verbs share: lines of files, pictures from paths, a loaded model, output folders.

use crate::cli::PictureArgs;
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::Terminal;
use m6_data::DataConfig;
use m6_image::{Fit, Limits};
use m6_text::train::WordPieceTrainer;
use m6_train::{Error, ErrorKind, LoadedModel};
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

/// Lines of a text file; errors name the file and the line.
pub fn lines(path: &Path) -> Result<impl Iterator<Item = Result<String>>> {
    let file = std::fs::File::open(path)
        .map_err(|e| Failure::usage(format!("cannot open {}: {e}", path.display())))?;
    let name = path.display().to_string();
    Ok(std::io::BufReader::new(file)
        .lines()
        .enumerate()
        .map(move |(i, line)| {
            line.map_err(|e| Failure::data(format!("{name} line {}: {e}", i + 1)))
        }))
}

/// Gives every text of the configured sources to the trainer; returns the number of records read.
pub fn feed_sources(
    data: &DataConfig,
    trainer: &mut WordPieceTrainer,
    terminal: &Terminal,
) -> Result<u64> {
    let (mut n_records, mut n_bad) = (0, 0);
    for source in &data.sources {
        let mut reader = m6_data::open(source, &data.root).or_usage()?;
        while let Some(record) = reader.next() {
            let Ok(record) = record else {
                n_bad += 1;
                continue;
            };
            n_records += 1;
            let qa = record.qa.iter().flat_map(|qa| [&qa.question, &qa.answer]);
            for text in record.text.iter().chain(&record.captions).chain(qa) {
                trainer.feed(text);
            }
        }
    }
    if n_bad > 0 {
        terminal.say(&format!("vocabulary: {n_bad} unreadable records passed over; `m6 prepare` quarantines them by reason"));
    }
    Ok(n_records)
}

/// A picture ready for a model: 3 x side x side bytes.
pub struct Picture {
    /// Name without folder and extension.
    pub id: String,
    /// CHW bytes.
    pub chw: Vec<u8>,
}

/// One picture's bytes as the model takes them.
pub fn picture(id: &str, bytes: &[u8], side: usize, fit: Fit) -> Result<Picture> {
    let decoded = m6_image::decode(bytes, &Limits::default())
        .map_err(|e| Failure::data(format!("{id}: {e}")))?;
    let chw = m6_image::to_chw(&m6_image::resize_square(&decoded, side, fit));
    Ok(Picture {
        id: id.to_string(),
        chw,
    })
}

fn is_picture(path: &Path) -> bool {
    let ext = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default()
        .to_lowercase();
    ["jpg", "jpeg", "png", "webp", "gif", "bmp"].contains(&ext.as_str())
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

/// The pictures the arguments name, in order of name; one that cannot be decoded is told and passed over unless it is the only one.
pub fn pictures(
    args: &PictureArgs,
    side: usize,
    fit: Fit,
    terminal: &Terminal,
) -> Result<Vec<Picture>> {
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    for path in &args.image {
        found.push((stem(path), read(path)?));
    }
    if let Some(dir) = &args.images {
        let entries = std::fs::read_dir(dir)
            .map_err(|e| Failure::usage(format!("cannot read {}: {e}", dir.display())))?;
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| is_picture(p))
            .collect();
        paths.sort();
        for path in paths {
            found.push((stem(&path), read(&path)?));
        }
    }
    if let Some(tar) = &args.tar {
        found.extend(tar_pictures(tar)?);
    }
    let n_found = found.len();
    let mut pictures = Vec::with_capacity(n_found);
    for (id, bytes) in found {
        match picture(&id, &bytes, side, fit) {
            Ok(picture) => pictures.push(picture),
            Err(failure) if n_found == 1 => return Err(failure),
            Err(failure) => terminal.say(&format!("passed over {}", failure.chain.join(": "))),
        }
    }
    Ok(pictures)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))
}

fn tar_pictures(path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let file = std::fs::File::open(path)
        .map_err(|e| Failure::usage(format!("cannot open {}: {e}", path.display())))?;
    let damaged =
        |e: std::io::Error| Failure::data(format!("{}: damaged tar: {e}", path.display()));
    let mut archive = tar::Archive::new(std::io::BufReader::new(file));
    let mut found = Vec::new();
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.into_owned();
        if is_picture(&name) {
            let mut bytes = Vec::new();
            // A header may claim any size: read what is there, up to the limit of one encoded picture.
            entry
                .by_ref()
                .take(Limits::default().max_bytes)
                .read_to_end(&mut bytes)
                .map_err(damaged)?;
            found.push((stem(&name), bytes));
        }
    }
    found.sort();
    Ok(found)
}

/// Loads a model and says which damaged checkpoints were passed over.
pub fn load_model(path: &Path, terminal: &Terminal) -> Result<LoadedModel> {
    let loaded = m6_train::load_model(path).or_fail(Code::Data)?;
    for warning in &loaded.warnings {
        terminal.say(&format!("warning: {warning}"));
    }
    Ok(loaded)
}

/// The exit code of a training error.
pub fn code_of(error: &Error) -> Code {
    match error.kind() {
        ErrorKind::Numerics => Code::Numerics,
        ErrorKind::Usage => Code::Usage,
        ErrorKind::Data | ErrorKind::System => Code::Data,
    }
}

/// How the model's training data made pictures square.
pub fn fit_of(model: &LoadedModel) -> Fit {
    let fit = model
        .config
        .data
        .get("fit")
        .and_then(|fit| serde_json::from_value::<m6_data::Fit>(fit.clone()).ok());
    fit.map_or(Fit::Stretch, Fit::from)
}

/// Moves every text on by one picture: the control that has the style of the captions but not the picture.
pub fn shift_texts(candidates: &mut [(String, String)]) {
    let texts: Vec<String> = candidates.iter().map(|(_, text)| text.clone()).collect();
    let n = texts.len().max(1);
    for (i, (_, text)) in candidates.iter_mut().enumerate() {
        text.clone_from(&texts[(i + 1) % n]);
    }
}

/// Refuses an output folder that has something in it.
pub fn check_out(out: &Path, may_be_full: bool) -> Result<()> {
    let full = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if full && !may_be_full {
        return Err(
            Failure::usage(format!("{} is not empty", out.display())).hint(
                "--overwrite replaces it, --resume goes on with a run, or choose another --out",
            ),
        );
    }
    Ok(())
}

/// Bytes with a unit.
pub fn bytes(n: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (n, 0);
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifting_gives_each_picture_the_next_ones_text() {
        let mut rows: Vec<(String, String)> = [("a", "1"), ("b", "2"), ("c", "3")]
            .map(|(i, t)| (i.into(), t.into()))
            .into();
        shift_texts(&mut rows);
        let texts: Vec<&str> = rows.iter().map(|(_, t)| t.as_str()).collect();
        assert_eq!(texts, ["2", "3", "1"]);
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes(1_500_000.0), "1.5 MB");
        assert_eq!(bytes(12.0), "12.0 B");
    }
}

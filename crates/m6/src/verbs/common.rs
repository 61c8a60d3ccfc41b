//! What several verbs share: lines of files, pictures from paths, a loaded model, output folders.

use crate::cli::PictureArgs;
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::Terminal;
use m6_data::DataConfig;
use m6_image::{Fit, Limits};
use m6_store::atomic::DirCommit;
use m6_text::train::WordPieceTrainer;
use m6_train::{Error, ErrorKind, LoadedModel};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

/// What the command line gives itself, and then every line of a file.
pub fn with_lines(given: &[String], file: Option<&Path>) -> Result<Vec<String>> {
    let mut texts = given.to_vec();
    if let Some(path) = file {
        for (i, line) in lines(path)?.enumerate() {
            let line = line?;
            if line.trim().is_empty() {
                let place = format!("{} line {}: nothing but blanks", path.display(), i + 1);
                return Err(Failure::usage(place).hint("one a line; take the empty line out"));
            }
            texts.push(line);
        }
        if texts.is_empty() {
            return Err(Failure::usage(format!("{}: no line", path.display())));
        }
    }
    Ok(texts)
}

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

/// Pictures for a model, and what could not be read of what was named.
pub struct Pictures {
    /// In order of name.
    pub found: Vec<Picture>,
    /// One line each.
    pub problems: Vec<String>,
}

impl Pictures {
    /// A failed check when something could not be read; the others have been served by then.
    pub fn verdict(&self) -> Result<()> {
        if self.problems.is_empty() {
            return Ok(());
        }
        let n = self.problems.len();
        Err(Failure::new(
            Code::Check,
            format!(
                "{n} of what was named could not be read: {}",
                self.problems.join("; ")
            ),
        ))
    }
}

/// Files of a folder that are named like pictures, in order of name.
pub fn picture_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir)
        .map_err(|e| Failure::usage(format!("cannot read {}: {e}", dir.display())))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| is_picture(p))
        .collect();
    paths.sort();
    Ok(paths)
}

/// The pictures the arguments name.
pub fn pictures(args: &PictureArgs, side: usize, fit: Fit) -> Result<Pictures> {
    let mut named: Vec<(String, Vec<u8>)> = Vec::new();
    let mut problems = Vec::new();
    for path in &args.image {
        named.push((stem(path), read(path)?));
    }
    if let Some(dir) = &args.images {
        for path in picture_files(dir)? {
            named.push((stem(&path), read(&path)?));
        }
    }
    if let Some(tar) = &args.tar {
        let (members, faults) = tar_pictures(tar)?;
        named.extend(members);
        problems.extend(faults);
    }
    let n_named = named.len();
    let mut found = Vec::with_capacity(n_named);
    for (id, bytes) in named {
        match picture(&id, &bytes, side, fit) {
            Ok(picture) => found.push(picture),
            Err(failure) if n_named == 1 => return Err(failure),
            Err(failure) => problems.push(failure.chain.join(": ")),
        }
    }
    Ok(Pictures { found, problems })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))
}

/// Pictures of a tar in order of name, and its broken places.
fn tar_pictures(path: &Path) -> Result<(Vec<(String, Vec<u8>)>, Vec<String>)> {
    let map = m6_store::mmap::Mmap::open(path).or_usage()?;
    let (members, faults) = m6_data::tar_index(&map);
    let faults = faults
        .iter()
        .map(|fault| {
            format!(
                "{} at byte {}: {}",
                path.display(),
                fault.offset,
                fault.detail
            )
        })
        .collect();
    let mut found: Vec<(String, Vec<u8>)> = members
        .into_iter()
        .filter(|member| is_picture(Path::new(&member.name)))
        .map(|member| (stem(Path::new(&member.name)), map[member.range].to_vec()))
        .collect();
    found.sort();
    Ok((found, faults))
}

/// Loads a model and says which damaged checkpoints were passed over.
pub fn load_model(path: &Path, terminal: &Terminal) -> Result<LoadedModel> {
    let loaded = m6_train::load_model(path).map_err(|error| {
        let code = code_of(&error);
        Err::<(), _>(error).or_fail(code).expect_err("it is one")
    })?;
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

/// Writes one file of a folder in the making.
pub fn put(commit: &DirCommit, name: &str, bytes: &[u8]) -> Result<()> {
    let mut file = commit.file(name).or_usage()?;
    file.write_all(bytes).or_usage()?;
    file.finish().or_usage()
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

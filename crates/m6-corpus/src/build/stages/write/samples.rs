//! Kept records as the files that training reads.

use std::collections::BTreeMap;
use std::io::Write;

use m6_store::atomic::{DirCommit, FileWriter};
use serde::Serialize;

use crate::build::config::{Modality, TextForm};
use crate::build::docs::Doc;
use crate::table::{Cell, Column, Kind, Writer};
use crate::{Error, Result};

/// Mode of the members of tars.
const MODE: u32 = 0o644;
/// Columns of text files in Parquet, and keys of those in JSON lines.
const TEXT_COLUMNS: [&str; 6] = ["id", "url", "title", "text", "source", "lang"];

/// Part of the data a sample belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// To train on.
    Train,
    /// Kept apart, by host.
    HeldOut,
}

impl Split {
    /// The word in file names and in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::HeldOut => "held_out",
        }
    }
}

/// Name of a file of samples inside a shard's folder.
pub fn file_name(modality: Modality, split: Split, form: TextForm) -> String {
    let extension = match modality {
        Modality::Text => form.extension(),
        Modality::Pairs | Modality::Documents => "tar",
    };
    format!("{}.{}.{extension}", modality.folder(), split.name())
}

/// A picture with its caption, `id.json` beside `id.jpg`.
#[derive(Debug, Serialize)]
pub struct Pair<'a> {
    /// The record and the place of the picture in it.
    pub id: String,
    /// Address of the page.
    pub url: &'a str,
    /// Address of the picture.
    pub image_url: &'a str,
    /// Name of the source.
    pub source: &'a str,
    /// Licence of the source.
    pub licence: &'a str,
    /// The chosen caption first; behind it only others that came with the picture as captions.
    pub captions: Vec<&'a str>,
    /// Where it is from.
    pub caption_role: &'a str,
    /// Headline of the record.
    pub title: &'a str,
    /// Width of the original.
    pub width: u32,
    /// Height of the original.
    pub height: u32,
}

/// A record with its pictures in their places, `id.json` beside `id.0.jpg`, `id.1.jpg`, ...
#[derive(Debug, Serialize)]
pub struct Document<'a> {
    /// The record.
    pub id: &'a str,
    /// Its address.
    pub url: &'a str,
    /// Name of the source.
    pub source: &'a str,
    /// Licence of the source.
    pub licence: &'a str,
    /// Headline.
    pub title: &'a str,
    /// The whole text.
    pub text: &'a str,
    /// Text and pictures in reading order.
    pub content: Vec<Piece>,
}

/// A piece of a [`Document`].
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// Lines of text.
    Text(String),
    /// The n-th picture of the sample.
    Image(usize),
}

/// Ends the open piece of text.
fn flush(open: &mut String, out: &mut Vec<Piece>) {
    if !open.is_empty() {
        out.push(Piece::Text(std::mem::take(open)));
    }
}

/// Text and pictures in their order; `lines` says for each picture how many lines stand before it.
pub fn interleave(text: &str, lines: &[usize]) -> Vec<Piece> {
    let (mut out, mut open, mut next) = (Vec::new(), String::new(), 0);
    for (n, line) in text.lines().enumerate() {
        while lines.get(next).is_some_and(|before| *before <= n) {
            flush(&mut open, &mut out);
            out.push(Piece::Image(next));
            next += 1;
        }
        if !open.is_empty() {
            open.push('\n');
        }
        open.push_str(line);
    }
    flush(&mut open, &mut out);
    out.extend((next..lines.len()).map(Piece::Image));
    out
}

enum TextFile {
    Lines(FileWriter),
    Table(Box<Writer<FileWriter>>),
}

/// The sample files of one shard; each is begun with its first sample.
pub struct Samples<'a> {
    commit: &'a DirCommit,
    form: TextForm,
    shard: usize,
    texts: BTreeMap<Split, TextFile>,
    tars: BTreeMap<(Modality, Split), (tar::Builder<FileWriter>, u64)>,
}

impl<'a> Samples<'a> {
    /// No sample yet.
    pub fn new(commit: &'a DirCommit, form: TextForm, shard: usize) -> Self {
        Self {
            commit,
            form,
            shard,
            texts: BTreeMap::new(),
            tars: BTreeMap::new(),
        }
    }

    /// Adds a passage of text.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn text(&mut self, split: Split, source: &str, doc: &Doc, text: &str) -> Result<()> {
        let values: [&str; 6] = [&doc.id, &doc.url, &doc.title, text, source, &doc.lang];
        if !self.texts.contains_key(&split) {
            let file = self.begin_text(split)?;
            self.texts.insert(split, file);
        }
        match self.texts.get_mut(&split) {
            Some(TextFile::Lines(file)) => {
                let row: serde_json::Map<String, serde_json::Value> = TEXT_COLUMNS
                    .iter()
                    .zip(values)
                    .map(|(key, value)| (key.to_string(), value.into()))
                    .collect();
                let line = format!("{}\n", serde_json::Value::Object(row));
                file.write_all(line.as_bytes())
                    .map_err(|source| self.failed(source))
            }
            Some(TextFile::Table(table)) => table.push(&values.map(Cell::Text)),
            None => Ok(()),
        }
    }

    fn begin_text(&self, split: Split) -> Result<TextFile> {
        let name = file_name(Modality::Text, split, self.form);
        let file = self.commit.file(&name)?;
        Ok(match self.form {
            TextForm::Jsonl => TextFile::Lines(file),
            TextForm::Parquet => {
                let columns = TEXT_COLUMNS.map(|name| match name {
                    "source" | "lang" => Column::new(name, Kind::Text),
                    _ => Column::long(name),
                });
                let path = self.commit.path().join(&name);
                TextFile::Table(Box::new(Writer::new(file, &path, &columns)?))
            }
        })
    }

    /// Adds a sample of pictures: what is said about them, and the JPEGs.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn pictures(
        &mut self,
        modality: Modality,
        split: Split,
        about: &impl Serialize,
        jpegs: &[&[u8]],
    ) -> Result<()> {
        let json = serde_json::to_vec(about).unwrap_or_default();
        let place = (modality, split);
        if !self.tars.contains_key(&place) {
            let file = self.commit.file(&file_name(modality, split, self.form))?;
            self.tars.insert(place, (tar::Builder::new(file), 0));
        }
        let path = self.commit.path().to_owned();
        let Some((tar, n)) = self.tars.get_mut(&place) else {
            return Ok(());
        };
        let stem = format!("{:06}-{n:07}", self.shard);
        *n += 1;
        let mut add = |name: String, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(MODE);
            header.set_mtime(0);
            let added = tar.append_data(&mut header, &name, bytes);
            added.map_err(|source| Error::Io {
                path: path.join(name),
                source,
            })
        };
        for (i, jpeg) in jpegs.iter().enumerate() {
            let name = match modality {
                Modality::Documents => format!("{stem}.{i}.jpg"),
                _ => format!("{stem}.jpg"),
            };
            add(name, jpeg)?;
        }
        add(format!("{stem}.json"), &json)
    }

    /// Ends every file.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn finish(self) -> Result<()> {
        let folder = self.commit.path().to_owned();
        for file in self.texts.into_values() {
            match file {
                TextFile::Lines(file) => file.finish()?,
                TextFile::Table(table) => table.finish()?.finish()?,
            }
        }
        for (tar, _) in self.tars.into_values() {
            let file = tar.into_inner().map_err(|source| Error::Io {
                path: folder.clone(),
                source,
            })?;
            file.finish()?;
        }
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::Io {
            path: self.commit.path().to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stand_between_their_lines() {
        let text = |text: &str| Piece::Text(text.to_string());
        for (lines, expected) in [
            (vec![], vec![text("一\n二\n三")]),
            (
                vec![0, 2, 2, 9],
                vec![
                    Piece::Image(0),
                    text("一\n二"),
                    Piece::Image(1),
                    Piece::Image(2),
                    text("三"),
                    Piece::Image(3),
                ],
            ),
        ] {
            assert_eq!(interleave("一\n二\n三", &lines), expected);
        }
        assert_eq!(interleave("", &[0]), [Piece::Image(0)]);
    }

    #[test]
    fn samples_lie_in_one_file_a_kind_and_split() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("shard");
        let commit = DirCommit::begin(&folder).expect("begins");
        let mut samples = Samples::new(&commit, TextForm::Jsonl, 3);
        let doc = Doc {
            id: "s/1".into(),
            ..Doc::default()
        };
        for split in [Split::Train, Split::Train, Split::HeldOut] {
            samples.text(split, "s", &doc, "正文").expect("written");
        }
        let about = serde_json::json!({"id": "s/1#0"});
        samples
            .pictures(Modality::Pairs, Split::Train, &about, &[b"jpeg"])
            .expect("written");
        samples.finish().expect("ends");
        commit.commit().expect("commits");
        let lines = std::fs::read_to_string(folder.join("text.train.jsonl")).expect("reads");
        assert_eq!(lines.lines().count(), 2);
        assert!(lines.contains("\"text\":\"正文\""), "{lines}");
        assert!(folder.join("text.held_out.jsonl").is_file());
        let tar = std::fs::File::open(folder.join("pairs.train.tar")).expect("opens");
        let mut archive = tar::Archive::new(tar);
        let names: Vec<String> = archive
            .entries()
            .expect("a tar")
            .map(|entry| {
                entry
                    .expect("a member")
                    .path()
                    .expect("a name")
                    .display()
                    .to_string()
            })
            .collect();
        assert_eq!(names, ["000003-0000000.jpg", "000003-0000000.json"]);
    }
}

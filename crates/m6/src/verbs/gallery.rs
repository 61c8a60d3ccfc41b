//! A folder of drawn pictures: PNGs that say what they are, a sheet of all, and their lines.

use super::common as shared;
use crate::cli::OutDir;
use crate::error::{OrFail, Result};
use crate::out::Terminal;
use m6_image::Rgb8;
use m6_store::atomic::DirCommit;
use serde_json::Value;
use std::path::PathBuf;

/// Keys of a line that are only written to `pictures.jsonl`.
const FILED: [&str; 2] = ["codes", "fine_codes"];

/// A picture and what is told of it.
pub struct Card {
    /// File inside the folder.
    pub file: String,
    /// The picture.
    pub image: Rgb8,
    /// What it was asked to show.
    pub prompt: String,
    /// Seed with which it alone is drawn again.
    pub seed: u64,
    /// Its line of `pictures.jsonl` and, without its codes, of `--json`.
    pub line: Value,
}

/// The folder in the making.
pub struct Gallery {
    commit: DirCommit,
    out: PathBuf,
}

impl Gallery {
    /// Begins a new folder, or one that takes the place of what is there.
    pub fn begin(out: &OutDir) -> Result<Self> {
        let commit = match out.overwrite {
            true => DirCommit::begin_replacing(&out.out),
            false => DirCommit::begin(&out.out),
        };
        Ok(Self {
            commit: commit.or_usage()?,
            out: out.out.clone(),
        })
    }

    /// For what else belongs into it.
    pub fn commit(&self) -> &DirCommit {
        &self.commit
    }

    /// Writes everything, the sheet with `n` pictures in a row when it is more than 1, and tells of it.
    pub fn finish(
        self,
        mut cards: Vec<Card>,
        settings: &Value,
        n: usize,
        terminal: &Terminal,
    ) -> Result<()> {
        let settings = settings.to_string();
        for card in &cards {
            let seed = card.seed.to_string();
            let about = [
                ("Prompt", card.prompt.as_str()),
                ("Seed", &seed),
                ("Settings", &settings),
                ("Software", concat!("m6 ", env!("CARGO_PKG_VERSION"))),
            ];
            self.put(&card.file, &card.image, &about)?;
        }
        let lines: String = cards
            .iter()
            .map(|card| format!("{}\n", card.line))
            .collect();
        let cells: Vec<Rgb8> = cards.iter().map(|card| card.image.clone()).collect();
        let columns = match n {
            0 | 1 => cells.len().isqrt().max(4),
            n => n,
        };
        self.put("grid.png", &m6_image::grid(&cells, columns.min(16), 2), &[])?;
        shared::put(&self.commit, "pictures.jsonl", lines.as_bytes())?;
        self.commit.commit().or_usage()?;
        for card in &mut cards {
            if terminal.json() {
                if let Some(line) = card.line.as_object_mut() {
                    FILED.iter().for_each(|key| drop(line.remove(*key)));
                }
                terminal.object(&card.line);
            } else {
                let path = self.out.join(&card.file);
                terminal.data(&format!("{}  {}\n", path.display(), card.prompt));
            }
        }
        Ok(())
    }

    fn put(&self, name: &str, image: &Rgb8, about: &[(&str, &str)]) -> Result<()> {
        let png = m6_image::encode_png(image, about).or_usage()?;
        shared::put(&self.commit, name, &png)
    }
}

//! A task turns a record into an example; the tasks differ only here.
//!
//! When data is prepared, a task cuts a record into [`Item`]s and bounds their length, so that rows can be
//! packed once. When a row is loaded, the task makes the [`Example`] of an item, with noise
//! that depends only on a key. To add a task: write one file, list it in [`all`] and [`NAMES`].

mod answer;
mod classify;
mod codes_to_text;
mod denoise;
mod image_to_text;
mod lm;
mod masked_image;
mod matching;
mod multimodal;
pub mod noise;
mod poem;
mod retrieval;
mod super_resolution;
mod text_to_image;
mod windows;

use std::collections::BTreeMap;

use m6_store::rng::Key;
use m6_text::Special;

use crate::config::{DataConfig, TaskOptions};
use crate::entry::Entry;

/// Names of the tasks; a task's index is its place here.
pub const NAMES: [&str; 14] = [
    "lm",
    "denoise",
    "image_to_text",
    "multimodal",
    "answer",
    "text_to_image",
    "masked_image",
    "codes_to_text",
    "super_resolution",
    "masked_super_resolution",
    "match",
    "retrieval",
    "poem",
    "classify",
];

/// The tasks, in the order of [`NAMES`].
pub fn all() -> [&'static dyn Task; 14] {
    [
        &lm::Lm,
        &denoise::Denoise,
        &image_to_text::ImageToText,
        &multimodal::Multimodal,
        &answer::Answer,
        &text_to_image::TextToImage,
        &masked_image::MaskedImage,
        &codes_to_text::CodesToText,
        &super_resolution::SuperResolution,
        &super_resolution::MaskedSuperResolution,
        &matching::Matching,
        &retrieval::Retrieval,
        &poem::Poem,
        &classify::Classify,
    ]
}

/// Index of a task by its name.
pub fn index(name: &str) -> Option<usize> {
    NAMES.iter().position(|task| *task == name)
}

/// What one record and the tokens around it may take in a row.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Tokens and patches of a row, at most.
    pub row_len: usize,
    /// Positions of one picture.
    pub n_patches: usize,
    /// Pictures of one example, at most.
    pub max_images: usize,
    /// Tokens of one text, at most.
    pub max_text: usize,
    /// Special ids.
    pub special: Special,
    /// Key of the offsets at which long texts are cut.
    pub windows: Key,
    /// Entries of the codebook of image codes; 0 without codes.
    pub codebook_size: usize,
    /// Codes of a picture.
    pub n_codes: usize,
    /// Finer codes of a picture; 0 without them.
    pub n_fine: usize,
}

impl Layout {
    /// The layout of a configuration and the special ids of a tokenizer.
    pub fn new(config: &DataConfig, special: Special) -> Self {
        Self {
            row_len: config.row_len,
            n_patches: config.n_patches(),
            max_images: config.max_images,
            max_text: config.max_text,
            special,
            windows: Key::new(config.seed).child("windows"),
            codebook_size: config.codes.codebook_size,
            n_codes: config.codes.n_codes(),
            n_fine: config.codes.n_fine(),
        }
    }

    /// The code that begins a picture to be written.
    pub fn begin_code(&self) -> u32 {
        self.codebook_size as u32
    }

    /// The code that stands for a hidden one.
    pub fn mask_code(&self) -> u32 {
        self.codebook_size as u32 + 1
    }

    /// Pictures of a record that an example shows: pictures take at most half of a row, except the first.
    pub fn n_shown(&self, entry: &Entry) -> usize {
        n_shown(
            entry.n_images(),
            self.max_images,
            self.row_len,
            self.n_patches,
        )
    }

    /// Positions left in a row beside the pictures that are shown.
    pub fn room(&self, n_shown: usize) -> usize {
        self.row_len.saturating_sub(n_shown * self.n_patches)
    }
}

/// Of `n` pictures, those that an example shows.
pub(crate) fn n_shown(n: usize, max_images: usize, row_len: usize, n_patches: usize) -> usize {
    n.min(max_images).min((row_len / 2 / n_patches).max(1))
}

/// A part of a record that makes one example; what `a` and `b` mean is the task's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// First number.
    pub a: u32,
    /// Second number.
    pub b: u32,
    /// Positions the example takes at most.
    pub len: u32,
}

/// What a task made of a record when it was prepared.
#[derive(Debug, Default)]
pub struct Plan {
    /// The examples.
    pub items: Vec<Item>,
    /// Things that were cut to fit, counted by rule.
    pub cuts: BTreeMap<&'static str, u64>,
}

impl Plan {
    fn item(&mut self, a: usize, b: usize, len: usize) {
        self.items.push(Item {
            a: a as u32,
            b: b as u32,
            len: len as u32,
        });
    }

    fn cut(&mut self, rule: &'static str, n: usize) {
        if n > 0 {
            *self.cuts.entry(rule).or_default() += n as u64;
        }
    }
}

/// One sample: a prefix that is seen whole (pictures, then source), and targets that see the
/// prefix and their own past (paper section 2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// Which pictures of the record are shown.
    pub images: Vec<usize>,
    /// Image codes that are read, by place; [`Layout::mask_code`] where one is hidden.
    pub codes: Vec<u32>,
    /// Finer codes that are read, by place of their own grid, hidden ones in the same way.
    pub fine: Vec<u32>,
    /// Hidden codes to tell: place and code. Places of `fine` follow those of `codes`.
    pub hidden: Vec<(u32, u32)>,
    /// Image codes to write, in raster order.
    pub drawn: Vec<u32>,
    /// Finer codes to write, in raster order.
    pub refined: Vec<u32>,
    /// The masked text or question (segment Tm).
    pub source: Vec<u32>,
    /// The texts to write (segment Td), without specials.
    pub targets: Vec<Vec<u32>>,
    /// What is asked of the prefix.
    pub ask: Ask,
}

/// What is asked of what an example shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ask {
    /// To write its targets or codes.
    #[default]
    Write,
    /// Whether pictures and source belong together; this is the right answer.
    Verdict(bool),
    /// A vector for the pictures alone and one for the source alone, nearer to each other than to those of other groups.
    Pair(u32),
}

impl Example {
    /// Whether it shows pictures and words and has texts written, and nothing else.
    pub fn is_text(&self) -> bool {
        let codes = [&self.codes, &self.fine, &self.drawn, &self.refined];
        self.ask == Ask::Write && self.hidden.is_empty() && codes.iter().all(|ids| ids.is_empty())
    }

    /// Positions this example takes.
    pub fn n_positions(&self, n_patches: usize) -> usize {
        let targets: usize = self.targets.iter().map(|target| target.len() + 1).sum();
        let targets = targets
            + match self.ask {
                Ask::Write => 0,
                Ask::Verdict(_) => 1,
                Ask::Pair(_) => 2,
            };
        self.images.len() * n_patches
            + self.codes.len()
            + self.fine.len()
            + self.drawn.len()
            + self.refined.len()
            + self.source.len()
            + targets
    }
}

/// A way of learning from records.
pub trait Task: Send + Sync {
    /// Name in configurations, folders and metrics.
    fn name(&self) -> &'static str;

    /// The examples of a record and the positions each takes at most.
    fn items(&self, entry: &Entry, layout: &Layout, plan: &mut Plan);

    /// The example of an item. Everything random is drawn from `key`.
    fn example(
        &self,
        entry: &Entry,
        item: &Item,
        layout: &Layout,
        options: &TaskOptions,
        key: Key,
    ) -> Example;

    /// The same where other records of the source may be shown; most tasks look at none.
    fn example_among(
        &self,
        entry: &Entry,
        _peers: &dyn Peers,
        item: &Item,
        layout: &Layout,
        options: &TaskOptions,
        key: Key,
    ) -> Example {
        self.example(entry, item, layout, options, key)
    }
}

/// The records of a source, of which those of one split may be looked at.
pub trait Peers {
    /// Records of both splits.
    fn n_records(&self) -> u64;

    /// Shows a record to `f`, unless it is of the other split or cannot be read.
    fn visit(&self, record: u64, f: &mut dyn FnMut(&Entry));
}

/// Ids as the model sees them.
fn widen(ids: &[u16]) -> Vec<u32> {
    ids.iter().map(|&id| u32::from(id)).collect()
}

#[cfg(test)]
pub(crate) mod tests;

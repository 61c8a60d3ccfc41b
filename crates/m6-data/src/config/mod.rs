//! The `[data]` table: where records come from and how rows are laid out.

mod formats;
mod source;
mod validate;

#[cfg(test)]
pub(crate) use formats::names as format_names;
pub use source::{Fields, Kind, SourceConfig, WorldSplit};
pub(crate) use validate::options as options_problems;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything `prepare` needs. Every default is ours: the paper gives only the noise ratio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Folder that source paths are relative to (`.`).
    pub root: PathBuf,
    /// Tokens and patches a row holds at most (512).
    pub row_len: usize,
    /// Key of packing order and text windows (1).
    pub seed: u64,
    /// Side to which pictures are scaled, in pixels (128).
    pub image_side: usize,
    /// Patches per side; a picture is `grid * grid` positions (8).
    pub grid: usize,
    /// Pictures kept of one record (4).
    pub max_images: usize,
    /// Longest text of one example, in tokens (256); a task lowers it where its example must fit a row.
    pub max_text: usize,
    /// How a picture that is not square becomes one (`stretch`: nothing is lost).
    pub fit: Fit,
    /// Pictures of more pixels than this are refused before decoding (64 Mi).
    pub max_pixels: u64,
    /// Share of bad records of one source above which preparing stops (0.05).
    pub bad_limit: f64,
    /// What the tasks draw at random.
    pub tasks: TaskOptions,
    /// Image codes of the pictures; data without them is described as before there were any.
    #[serde(skip_serializing_if = "CodesConfig::is_none")]
    pub codes: CodesConfig,
    /// The sources, in order.
    pub sources: Vec<SourceConfig>,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            root: PathBuf::from("."),
            row_len: 512,
            seed: 1,
            image_side: 128,
            grid: 8,
            max_images: 4,
            max_text: 256,
            fit: Fit::Stretch,
            max_pixels: 64 << 20,
            bad_limit: 0.05,
            tasks: TaskOptions::default(),
            codes: CodesConfig::default(),
            sources: Vec::new(),
        }
    }
}

impl DataConfig {
    /// Positions one picture takes.
    pub fn n_patches(&self) -> usize {
        self.grid * self.grid
    }

    /// Bytes of one stored picture: 3 channels of `image_side` squared.
    pub fn picture_bytes(&self) -> usize {
        3 * self.image_side * self.image_side
    }

    /// Of a record's `n` pictures, those that an example shows, from the first on.
    pub fn n_shown(&self, n: usize) -> usize {
        crate::tasks::n_shown(n, self.max_images, self.row_len, self.n_patches())
    }

    /// This configuration with every source's `format` written out.
    pub fn resolved(&self) -> Self {
        Self {
            sources: self.sources.iter().map(SourceConfig::resolved).collect(),
            ..self.clone()
        }
    }

    /// Every problem of this configuration, empty when there is none. Files are not looked at.
    pub fn validate(&self) -> Vec<String> {
        validate::problems(self)
    }
}

/// Image codes beside the pictures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodesConfig {
    /// Run or checkpoint of the VQGAN that encodes the pictures when data is prepared; empty (default) for none. In prepared data the
    /// hash of its weights.
    pub vqgan: String,
    /// Entries of its codebook; `prepare` fills it in.
    pub codebook_size: usize,
    /// Codes per side of a picture; `prepare` fills it in.
    pub grid: usize,
    /// Finer codes per side of a code, 2 to 8: pictures are encoded at so many times the side of the VQGAN as well (super-resolution), for
    /// which they must be stored that large, `image_side >= fine * side`. 0 (default) or 1 for none.
    #[serde(skip_serializing_if = "is_own_grid")]
    pub fine: usize,
}

fn is_own_grid(fine: &usize) -> bool {
    *fine <= 1
}

impl CodesConfig {
    /// Whether there are no codes.
    pub fn is_none(&self) -> bool {
        self.vqgan.is_empty()
    }

    /// Codes of a picture.
    pub fn n_codes(&self) -> usize {
        self.grid * self.grid
    }

    /// Whether there are finer codes as well.
    pub fn has_fine(&self) -> bool {
        !self.is_none() && !is_own_grid(&self.fine)
    }

    /// Finer codes of a picture; 0 without them.
    pub fn n_fine(&self) -> usize {
        match self.has_fine() {
            true => self.n_codes() * self.fine * self.fine,
            false => 0,
        }
    }
}

/// How a picture that is not square becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// Scale both sides separately.
    Stretch,
    /// Scale, then cut the middle.
    Crop,
    /// Scale, then fill with white.
    Pad,
}

impl From<Fit> for m6_image::Fit {
    fn from(fit: Fit) -> Self {
        match fit {
            Fit::Stretch => m6_image::Fit::Stretch,
            Fit::Crop => m6_image::Fit::Crop,
            Fit::Pad => m6_image::Fit::Pad,
        }
    }
}

/// Law of the length of a masked span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanLaw {
    /// Poisson with mean `span_mean`, at least 1 (ours; the paper is silent, OFA and CogView2 use 3).
    Poisson,
    /// Always `span_mean`, rounded.
    Fixed,
}

/// What the tasks draw at random when a row is loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskOptions {
    /// Share of the text that is masked (0.15, paper section 3.1).
    pub noise_ratio: f64,
    /// Law of the span length (`poisson`, ours).
    pub span_law: SpanLaw,
    /// Mean span length in tokens (3, ours).
    pub span_mean: f64,
    /// Share of `answer` examples with a picture that are shown without it (0.1, ours), so
    /// that the blind control of an evaluation is in distribution.
    pub blind_p: f64,
    /// Share of `text_to_image`, `masked_image` and both super-resolution examples that are drawn without their text (0.1, ours), so that guidance knows what
    /// the model says on its own.
    pub unconditional_p: f64,
    /// Share of the swapped texts of `match` that are hard: the one of a few that shares most words with the record's own (0.5, ours).
    /// Written only where it is another.
    #[serde(skip_serializing_if = "is_half")]
    pub hard_negatives: f64,
}

fn is_half(share: &f64) -> bool {
    *share == 0.5
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self {
            noise_ratio: 0.15,
            span_law: SpanLaw::Poisson,
            span_mean: 3.0,
            blind_p: 0.1,
            unconditional_p: 0.1,
            hard_negatives: 0.5,
        }
    }
}

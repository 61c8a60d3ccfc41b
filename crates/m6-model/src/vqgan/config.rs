//! Shape of a VQGAN. Pure data.

use super::MAX_SIDE;
use serde::{Deserialize, Serialize};

/// How the codebook follows the vectors it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodebookUpdate {
    /// By the gradient of the codebook loss (van den Oord; taming-transformers).
    Loss,
    /// By a running average of the vectors that each code was chosen for.
    Ema,
}

/// Shape of a VQGAN in the layout of taming-transformers; the defaults draw 64 pixels as 64 codes on two cores (ours).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VqganConfig {
    /// Pixels per side of the square picture, a multiple of `2 ^ (levels - 1)`. Default 64.
    pub image_side: usize,
    /// Channels at full size. Default 32.
    pub ch: usize,
    /// Channels of each level as multiples of `ch`; each level but the first halves the side. Default `[1, 2, 2, 4]` (f8).
    pub ch_mult: Vec<usize>,
    /// Residual blocks of an encoder level; a decoder level has one more. Default 1.
    pub n_res_blocks: usize,
    /// Sides of the feature maps at which every residual block is followed by attention; the middle always has it.
    /// Default `[8]`.
    pub attn_sides: Vec<usize>,
    /// Channels between encoder and quantiser. Default 64.
    pub z_channels: usize,
    /// Groups of the group norms; divides every width. Default 32 (as taming-transformers).
    pub norm_groups: usize,
    /// Entries of the codebook. Default 512.
    pub codebook_size: usize,
    /// Length of a codebook vector. Default 8 (LlamaGen).
    pub code_dim: usize,
    /// Whether codes are compared by direction: vectors and codebook on the unit sphere (LlamaGen). Default true; false is the
    /// original distance.
    pub l2_norm: bool,
    /// How the codebook learns. Default `ema`.
    pub codebook_update: CodebookUpdate,
    /// Share that a running average keeps at each update, with `ema`. Default 0.99.
    pub ema_decay: f64,
    /// Weight of the commitment of the vectors to their codes. Default 0.25.
    pub commit_weight: f64,
    /// Weight of the codebook loss, with `loss`. Default 1.
    pub codebook_weight: f64,
    /// Updates that a code may go without being chosen before it is set to a vector of the batch; 0 never. Default 100.
    pub restart_after: u64,
}

impl Default for VqganConfig {
    fn default() -> Self {
        Self {
            image_side: 64,
            ch: 32,
            ch_mult: vec![1, 2, 2, 4],
            n_res_blocks: 1,
            attn_sides: vec![8],
            z_channels: 64,
            norm_groups: 32,
            codebook_size: 512,
            code_dim: 8,
            l2_norm: true,
            codebook_update: CodebookUpdate::Ema,
            ema_decay: 0.99,
            commit_weight: 0.25,
            codebook_weight: 1.0,
            restart_after: 100,
        }
    }
}

impl VqganConfig {
    /// How many times smaller than the picture the grid of codes is, per side.
    pub fn factor(&self) -> usize {
        1 << self.ch_mult.len().saturating_sub(1).min(31)
    }

    /// Codes per side of a picture.
    pub fn code_grid(&self) -> usize {
        self.image_side / self.factor()
    }

    /// Codes of a picture, in raster order.
    pub fn n_codes(&self) -> usize {
        self.code_grid() * self.code_grid()
    }

    /// Bytes of one picture: 3 x side x side, channels first.
    pub fn picture_bytes(&self) -> usize {
        3 * self.image_side * self.image_side
    }

    /// Channels of a level.
    pub(super) fn width(&self, level: usize) -> usize {
        self.ch * self.ch_mult[level]
    }

    /// Every problem, one sentence each; empty when it can be built.
    pub fn validate(&self) -> Vec<String> {
        let mut out = Vec::new();
        let sizes = [
            ("image_side", self.image_side, MAX_SIDE),
            ("ch", self.ch, 4096),
            ("n_res_blocks", self.n_res_blocks, 64),
            ("z_channels", self.z_channels, 1 << 16),
            ("norm_groups", self.norm_groups, 4096),
            ("code_dim", self.code_dim, 1 << 16),
        ];
        for (name, n, most) in sizes {
            if n == 0 || n > most {
                out.push(format!("vqgan.{name} = {n} must be between 1 and {most}"));
            }
        }
        if !(2..=1 << 16).contains(&self.codebook_size) {
            out.push(format!(
                "vqgan.codebook_size = {} must be between 2 and 65536 (codes are stored in 16 bits)",
                self.codebook_size
            ));
        }
        let levels = self.ch_mult.len();
        if !(1..=8).contains(&levels) || self.ch_mult.iter().any(|m| !(1..=64).contains(m)) {
            out.push(format!(
                "vqgan.ch_mult = {:?} must hold 1 to 8 numbers from 1 to 64",
                self.ch_mult
            ));
            return out;
        }
        if !self.image_side.is_multiple_of(self.factor()) {
            out.push(format!(
                "vqgan.image_side = {} is not a multiple of {}, which {levels} levels divide it by",
                self.image_side,
                self.factor()
            ));
        }
        let uneven = |m: &&usize| !(self.ch * **m).is_multiple_of(self.norm_groups.max(1));
        if let Some(m) = self.ch_mult.iter().find(uneven) {
            out.push(format!(
                "vqgan.norm_groups = {} does not divide the {} channels of a level",
                self.norm_groups,
                self.ch * m
            ));
        }
        let numbers = [
            ("ema_decay", self.ema_decay, 1.0),
            ("commit_weight", self.commit_weight, f64::MAX),
            ("codebook_weight", self.codebook_weight, f64::MAX),
        ];
        for (name, x, most) in numbers {
            if !(0.0..=most).contains(&x) {
                out.push(format!("vqgan.{name} = {x} must be from 0 to {most}"));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_from_the_levels() {
        let cfg = VqganConfig::default();
        assert_eq!(cfg.validate(), Vec::<String>::new());
        assert_eq!((cfg.factor(), cfg.code_grid(), cfg.n_codes()), (8, 8, 64));
        let f16 = VqganConfig {
            image_side: 256,
            ch_mult: vec![1, 1, 2, 2, 4],
            ..cfg
        };
        assert_eq!((f16.factor(), f16.n_codes()), (16, 256));
    }

    #[test]
    fn every_problem_comes_at_once() {
        let cfg = VqganConfig {
            image_side: 60,
            ch: 20,
            codebook_size: 1 << 17,
            commit_weight: f64::NAN,
            ..VqganConfig::default()
        };
        let text = cfg.validate().join("\n");
        for word in [
            "image_side",
            "norm_groups",
            "codebook_size",
            "commit_weight",
        ] {
            assert!(text.contains(word), "{word} is not in:\n{text}");
        }
    }
}

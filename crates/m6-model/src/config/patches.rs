//! The patch network's part of the configuration.

use serde::{Deserialize, Serialize};

/// The network that turns a cell of the picture into a feature vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PatchKind {
    /// The pixels of the cell themselves, projected (as in a vision transformer; ours).
    Linear,
    /// A small residual network with group norm and SiLU, trained from scratch (ours).
    Resnet,
    /// ResNet-50 in torchvision's layout with frozen batch statistics (paper section 2.1).
    Resnet50,
}

/// What the patch network looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PatchScope {
    /// Each cell of the grid alone; its feature map is averaged (paper section 2.1).
    Cell,
    /// The whole picture at once, with one position of the feature map per cell (ours; sees over cell borders).
    Picture,
}

/// How a picture becomes `grid * grid` vectors, in raster order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PatchConfig {
    /// Which network. Default `resnet50` (the paper's).
    pub kind: PatchKind,
    /// Cells per side. Default 4 (16 patches; derived from the paper's sequence length 272).
    pub grid: usize,
    /// Pixels per side of the square picture, a multiple of `grid`. Default 256 (ours).
    pub image_side: usize,
    /// Channels of each stage; empty means the kind's own: `resnet` 32 doubling up to 256 with one stage per halving,
    /// `resnet50` [64, 128, 256, 512] (the inner width; a stage puts out four times as much).
    pub widths: Vec<usize>,
    /// Residual blocks of each stage, as many numbers as `widths`; 0 leaves only the strided convolution of `resnet`.
    /// Empty means the kind's own: `resnet` 0 in the first two stages and 1 after, `resnet50` [3, 4, 6, 3].
    pub blocks: Vec<usize>,
    /// Groups of the group norm in `resnet`; divides every width. Default 8 (ours).
    pub norm_groups: usize,
    /// Each cell alone or the whole picture. Default `cell` (the paper's).
    pub scope: PatchScope,
    /// Whether the network learns; the projection to `d_model` always does. Default true (the paper does not say).
    pub trained: bool,
}

impl Default for PatchConfig {
    fn default() -> Self {
        Self {
            kind: PatchKind::Resnet50,
            grid: 4,
            image_side: 256,
            widths: Vec::new(),
            blocks: Vec::new(),
            norm_groups: 8,
            scope: PatchScope::Cell,
            trained: true,
        }
    }
}

impl PatchConfig {
    /// Vectors a picture becomes: `grid * grid`.
    pub fn n_patches(&self) -> usize {
        self.grid * self.grid
    }

    /// Pixels per side of a cell (0 when the grid is 0).
    pub fn cell(&self) -> usize {
        self.image_side.checked_div(self.grid).unwrap_or(0)
    }

    /// Bytes of one picture as the model takes it: 3 x side x side, channels first.
    pub fn picture_bytes(&self) -> usize {
        3 * self.image_side * self.image_side
    }

    /// Width and number of blocks of each stage with the kind's own values filled in; empty for `linear`.
    pub fn stages(&self) -> Vec<(usize, usize)> {
        let (widths, blocks) = match self.kind {
            PatchKind::Linear => return Vec::new(),
            PatchKind::Resnet => {
                let n = match self.widths.len() {
                    0 => self.cell().max(1).ilog2() as usize,
                    n => n,
                };
                let widths = (0..n).map(|i| 32usize << i.min(3)).collect::<Vec<_>>();
                let blocks = (0..n).map(|i| usize::from(i >= 2)).collect::<Vec<_>>();
                (widths, blocks)
            }
            PatchKind::Resnet50 => (vec![64, 128, 256, 512], vec![3, 4, 6, 3]),
        };
        let own = |given: &Vec<usize>, own: Vec<usize>| {
            if given.is_empty() { own } else { given.clone() }
        };
        own(&self.widths, widths)
            .into_iter()
            .zip(own(&self.blocks, blocks))
            .collect()
    }

    /// Length of the vector that the network gives for a cell, before the projection to `d_model`.
    pub fn n_features(&self) -> usize {
        let last = self.stages().last().map_or(0, |s| s.0);
        match self.kind {
            PatchKind::Linear => 3 * self.cell() * self.cell(),
            PatchKind::Resnet => last,
            PatchKind::Resnet50 => last * 4,
        }
    }

    /// How many times smaller than its input the feature map is, per side.
    pub fn total_stride(&self) -> usize {
        match self.kind {
            PatchKind::Linear => self.cell(),
            PatchKind::Resnet => 1 << self.stages().len().min(31),
            PatchKind::Resnet50 => 2 << self.stages().len().min(31),
        }
    }

    /// Adds every problem of this part of the configuration.
    pub(super) fn problems(&self, out: &mut Vec<String>) {
        if self.grid > 1024 || self.image_side > 1 << 16 {
            out.push(format!(
                "patches.grid = {} must be at most 1024 and patches.image_side = {} at most 65536",
                self.grid, self.image_side
            ));
            return;
        }
        if self.grid == 0 || self.image_side == 0 || !self.image_side.is_multiple_of(self.grid) {
            out.push(format!(
                "patches.image_side = {} is not a positive multiple of patches.grid = {}; choose for example {}",
                self.image_side,
                self.grid,
                self.grid.max(1) * 32
            ));
            return;
        }
        if self.kind == PatchKind::Linear {
            return;
        }
        if !self.widths.is_empty()
            && !self.blocks.is_empty()
            && self.widths.len() != self.blocks.len()
        {
            out.push(format!(
                "patches.widths has {} numbers and patches.blocks {}; give one of each per stage",
                self.widths.len(),
                self.blocks.len()
            ));
            return;
        }
        let stages = self.stages();
        if stages.is_empty() || (!self.blocks.is_empty() && self.blocks.len() != stages.len()) {
            out.push(format!(
                "patches.blocks = {:?} does not fit the {} stages of a cell of {} pixels; give patches.widths as well",
                self.blocks,
                stages.len(),
                self.cell()
            ));
            return;
        }
        self.width_problems(&stages, out);
        self.stride_problems(stages.len(), out);
    }

    fn width_problems(&self, stages: &[(usize, usize)], out: &mut Vec<String>) {
        if stages.iter().any(|s| s.0 == 0) {
            out.push(format!(
                "patches.widths = {:?} holds a 0; every stage needs channels",
                self.widths
            ));
        }
        match self.kind {
            PatchKind::Resnet => {
                if self.norm_groups == 0 || stages.iter().any(|s| s.0 % self.norm_groups != 0) {
                    out.push(format!(
                        "patches.norm_groups = {} does not divide every width of {:?}",
                        self.norm_groups,
                        stages.iter().map(|s| s.0).collect::<Vec<_>>()
                    ));
                }
            }
            _ => {
                if stages.iter().any(|s| s.1 == 0) {
                    out.push("patches.blocks holds a 0; every stage of resnet50 needs at least one block".into());
                }
            }
        }
    }

    fn stride_problems(&self, n_stages: usize, out: &mut Vec<String>) {
        let (cell, stride) = (self.cell(), self.total_stride());
        let fits = match self.scope {
            PatchScope::Picture => cell == stride,
            PatchScope::Cell => {
                cell % stride == 0 || (self.kind == PatchKind::Resnet50 && cell >= 8)
            }
        };
        if !fits {
            out.push(format!(
                "patches: {n_stages} stages shrink the picture {stride} times but a cell is {cell} pixels \
                 (image_side {} / grid {}); make image_side {}",
                self.image_side,
                self.grid,
                self.grid * stride
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;

    fn resnet(
        grid: usize,
        side: usize,
        widths: &[usize],
        blocks: &[usize],
        scope: PatchScope,
    ) -> Vec<String> {
        let patches = PatchConfig {
            kind: PatchKind::Resnet,
            grid,
            image_side: side,
            widths: widths.to_vec(),
            blocks: blocks.to_vec(),
            scope,
            ..PatchConfig::default()
        };
        ModelConfig {
            patches,
            ..ModelConfig::default()
        }
        .validate()
    }

    #[test]
    fn resnet_stride_must_equal_the_cell() {
        let none: Vec<String> = Vec::new();
        assert_eq!(
            resnet(
                8,
                128,
                &[32, 64, 128, 256],
                &[0, 0, 0, 0],
                PatchScope::Picture
            ),
            none
        );
        assert_eq!(resnet(8, 128, &[], &[], PatchScope::Picture), none);
        assert_eq!(resnet(8, 128, &[32, 64], &[1, 1], PatchScope::Cell), none);
        assert!(!resnet(8, 128, &[32, 64], &[1, 1], PatchScope::Picture).is_empty());
        assert!(!resnet(8, 128, &[32, 64], &[1], PatchScope::Cell).is_empty());
        assert!(!resnet(8, 128, &[32, 60], &[1, 1], PatchScope::Cell).is_empty());
    }
}

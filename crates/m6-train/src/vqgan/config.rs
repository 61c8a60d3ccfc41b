//! What a VQGAN is trained against.

use serde::{Deserialize, Serialize};

/// The adversary and the perceptual loss (section `[adversary]`); every default is ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdversaryConfig {
    /// Update after which the discriminator plays; before, only the reconstruction is learned. Default 1000.
    pub disc_start: u64,
    /// Weight of the adversary on top of the adaptive weight; 0 trains without one. Default 0.8 (taming-transformers).
    pub disc_weight: f64,
    /// Channels behind the discriminator's first convolution, a multiple of 8. Default 32.
    pub disc_ch: usize,
    /// Convolutions of the discriminator between the first and the last. Default 2.
    pub disc_layers: usize,
    /// Weight of the distance between features; needs `perceptual`. Default 1.
    pub perceptual_weight: f64,
    /// What compares features: a run or exported model (its patch network), or a safetensors file of VGG16, with LPIPS's layers or
    /// without, or of ResNet-50 in torchvision's names; empty trains without. Default empty.
    pub perceptual: String,
}

impl Default for AdversaryConfig {
    fn default() -> Self {
        Self {
            disc_start: 1000,
            disc_weight: 0.8,
            disc_ch: 32,
            disc_layers: 2,
            perceptual_weight: 1.0,
            perceptual: String::new(),
        }
    }
}

impl AdversaryConfig {
    /// Every problem, one sentence each; empty when it can be trained.
    pub fn validate(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (name, x) in [
            ("disc_weight", self.disc_weight),
            ("perceptual_weight", self.perceptual_weight),
        ] {
            if !(x.is_finite() && x >= 0.0) {
                out.push(format!("adversary.{name} = {x} must be 0 or more"));
            }
        }
        out
    }
}

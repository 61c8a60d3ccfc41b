//! Distance between pictures by the features of a network (Zhang and others 2018, LPIPS).

use super::vgg::Vgg16;
use crate::config::{ModelConfig, PatchConfig, PatchKind};
use crate::error::{Error, Result};
use crate::model::Model;
use m6_nn::{Tensor, TensorFile, no_grad};

/// Added under the root when features are put on the unit sphere; LPIPS adds 1e-10 behind it, which has no gradient at 0.
const EPS: f64 = 1e-8;

/// A frozen network whose feature maps are compared.
pub struct Perceptual {
    network: Network,
    name: &'static str,
}

enum Network {
    Patches(Box<Model>),
    Vgg(Vgg16),
}

impl Perceptual {
    /// The patch network of a trained model; it works on pictures of any side.
    ///
    /// # Errors
    /// [`Error::Weights`] when the model cuts pictures into cells without a network.
    pub fn new(model: Model) -> Result<Self> {
        if model.patches.n_maps() == 0 {
            return Err(Error::Weights(
                "patches.kind = linear has no network whose features could be compared".into(),
            ));
        }
        model.params().iter().for_each(|p| p.set_trainable(false));
        Ok(Self {
            network: Network::Patches(Box::new(model)),
            name: "patch network",
        })
    }

    /// VGG16 or ResNet-50 from safetensors bytes with torchvision's names (`features.0.weight` or `layer1.0.conv1.weight`, ...). VGG16's
    /// features are weighed by LPIPS's layers (`lin0.model.1.weight` to `lin4...`) if the file has them; else all channels count
    /// alike. VGG16 takes pictures of 16 pixels a side or more.
    ///
    /// # Errors
    /// [`Error::Weights`] or [`Error::Nn`] when the bytes are no safetensors, hold neither network, or a weight is missing or of another
    /// shape.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self> {
        let file = TensorFile::open(bytes)?;
        if Vgg16::is_in(&file) {
            let vgg = Vgg16::load(&file)?;
            let name = match vgg.lins() {
                [] => "VGG16 without the weights of LPIPS",
                _ => "VGG16 with the weights of LPIPS",
            };
            return Ok(Self {
                network: Network::Vgg(vgg),
                name,
            });
        }
        if !file.has("layer1.0.conv1.weight") && !file.has("patches.layer1.0.conv1.weight") {
            return Err(Error::Weights(
                "neither VGG16 (features.0.weight) nor ResNet-50 (layer1.0.conv1.weight) in torchvision's names".into(),
            ));
        }
        // The transformer around the patch network is never run; it is as small as one can be.
        let around = ModelConfig {
            vocab_size: 2,
            d_model: 8,
            n_layers: 1,
            n_heads: 1,
            d_ff: 8,
            max_len: 8,
            patches: PatchConfig {
                kind: PatchKind::Resnet50,
                ..PatchConfig::default()
            },
            ..ModelConfig::default()
        };
        let model = Model::new(&around, 0)?;
        model.load_patch_network(bytes)?;
        Ok(Self {
            name: "ResNet-50",
            ..Self::new(model)?
        })
    }

    /// What compares: `patch network`, `VGG16 with the weights of LPIPS`, `VGG16 without the weights of LPIPS` or `ResNet-50`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn maps(&self, x_nchw: &Tensor) -> m6_nn::Result<Vec<Tensor>> {
        match &self.network {
            Network::Patches(model) => model.patches.maps(x_nchw),
            Network::Vgg(vgg) => vgg.maps(x_nchw),
        }
    }

    /// What every channel of a stage weighs; `None` when all count alike.
    fn weight(&self, stage: usize) -> Option<&Tensor> {
        match &self.network {
            Network::Patches(_) => None,
            Network::Vgg(vgg) => vgg.lins().get(stage),
        }
    }

    /// Squared difference of the features, each place's vector on the unit sphere, weighed and summed over channels, averaged over
    /// places and pictures, summed over the stages; gradients reach `y` alone. Both `[n, 3, side, side]` in [-1, 1].
    ///
    /// # Errors
    /// When the pictures differ in shape or are too small for the network.
    pub fn distance(&self, x: &Tensor, y: &Tensor) -> m6_nn::Result<Tensor> {
        let wanted = no_grad(|| self.maps(&x.detach()))?;
        let got = self.maps(y)?;
        let mut sum: Option<Tensor> = None;
        for (stage, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
            let mut apart = (on_sphere(got)? - on_sphere(wanted)?.detach())?.sqr()?;
            if let Some(weight) = self.weight(stage) {
                apart = apart.broadcast_mul(weight)?;
            }
            let mean = apart.sum(1)?.mean_all()?;
            sum = Some(match sum {
                Some(sum) => (sum + mean)?,
                None => mean,
            });
        }
        sum.ok_or_else(|| m6_nn::Error::Value {
            op: "perceptual",
            what: "the network has no feature maps".into(),
        })
    }
}

/// Feature vectors of every place `[n, c, h, w]`, each of length 1.
fn on_sphere(x: &Tensor) -> m6_nn::Result<Tensor> {
    let length = (x.sqr()?.sum_keepdim(1)? + EPS)?.sqrt()?;
    Ok(x.broadcast_div(&length)?)
}

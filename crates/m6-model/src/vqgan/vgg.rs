//! VGG16 up to its last convolution, in torchvision's names, as LPIPS looks at it (Simonyan and Zisserman; Zhang and others 2018).

use crate::frozen::FrozenConv;
use crate::patches::to_imagenet;
use m6_nn::{Error, Result, Tensor, TensorFile, ops};

/// Number under `features` and output channels of every convolution; a pooling stands before each stage but the first.
const STAGES: [&[(usize, usize)]; 5] = [
    &[(0, 64), (2, 64)],
    &[(5, 128), (7, 128)],
    &[(10, 256), (12, 256), (14, 256)],
    &[(17, 512), (19, 512), (21, 512)],
    &[(24, 512), (26, 512), (28, 512)],
];

/// Smallest side of a picture: four poolings leave one pixel.
const MIN_SIDE: usize = 16;

pub(super) struct Vgg16 {
    stages: Vec<Vec<FrozenConv>>,
    /// How much each channel of each stage weighs `[1, c, 1, 1]` (LPIPS); empty without.
    lins: Vec<Tensor>,
}

impl Vgg16 {
    /// Whether the file has VGG's first convolution.
    pub fn is_in(file: &TensorFile<'_>) -> bool {
        file.has("features.0.weight")
    }

    /// Reads the convolutions, and the weights of LPIPS if the file has those.
    pub fn load(file: &TensorFile<'_>) -> Result<Self> {
        let (mut stages, mut lins, mut c_in) = (Vec::new(), Vec::new(), 3);
        for (stage, layers) in STAGES.iter().enumerate() {
            let mut convs = Vec::new();
            for &(at, c_out) in *layers {
                let name = format!("features.{at}");
                let shape = [c_out, c_in, 3, 3];
                convs.push(FrozenConv::plain(file, &name, shape, 1, [1, 1])?);
                c_in = c_out;
            }
            stages.push(convs);
            if let Some(name) = lin_name(file, stage) {
                lins.push(file.f32(&name, &[1, c_in, 1, 1])?);
            }
        }
        if lins.is_empty() || lins.len() == STAGES.len() {
            return Ok(Self { stages, lins });
        }
        Err(Error::Load {
            what: "weights of LPIPS",
            problem: format!(
                "the file has {} of the {} layers lin0 to lin4; give all or none",
                lins.len(),
                STAGES.len()
            ),
        })
    }

    /// How much the channels of each stage weigh; empty when they count alike.
    pub fn lins(&self) -> &[Tensor] {
        &self.lins
    }

    /// What each stage gives for pictures `[n, 3, h, w]` in [-1, 1].
    pub fn maps(&self, x_nchw: &Tensor) -> Result<Vec<Tensor>> {
        let (_, _, h, w) = x_nchw.dims4()?;
        if h.min(w) < MIN_SIDE {
            return Err(Error::Value {
                op: "vgg16",
                what: format!("pictures of {w} x {h} pixels; expected {MIN_SIDE} a side at least"),
            });
        }
        let mut x = to_imagenet(x_nchw)?;
        let mut maps = Vec::with_capacity(self.stages.len());
        for (stage, convs) in self.stages.iter().enumerate() {
            if stage > 0 {
                x = ops::max_pool2d(&x, 2, 2, 0)?;
            }
            for conv in convs {
                x = conv.relu(&x)?;
            }
            maps.push(x.clone());
        }
        Ok(maps)
    }
}

/// The name under which the file has the weights of a stage: with or without LPIPS's dropout before it, or plain.
fn lin_name(file: &TensorFile<'_>, stage: usize) -> Option<String> {
    ["model.1.weight", "model.0.weight", "weight"]
        .map(|end| format!("lin{stage}.{end}"))
        .into_iter()
        .find(|name| file.has(name))
}

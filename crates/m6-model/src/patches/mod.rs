//! Pictures to sequences of vectors: cut or map, run the patch network, project to the width of the model.
//!
//! Shapes: n pictures, p patches of a picture, c channels, h w map, d model.

mod pixels;
mod resnet;
mod resnet50;

pub(crate) use pixels::to_imagenet;

use crate::config::{PatchConfig, PatchKind, PatchScope};
use crate::params::{Linear, Lookup};
use m6_nn::{Result, Tensor, ops};
use resnet::Resnet;
use resnet50::Resnet50;

enum Network {
    Linear,
    Resnet(Resnet),
    Resnet50(Resnet50),
}

/// The patch network with its projection.
pub(crate) struct PatchNet {
    cfg: PatchConfig,
    network: Network,
    proj: Linear,
}

impl PatchNet {
    pub fn new(cfg: &PatchConfig, params: &Lookup<'_>) -> Result<Self> {
        let network = match cfg.kind {
            PatchKind::Linear => Network::Linear,
            PatchKind::Resnet => Network::Resnet(Resnet::new(cfg, params)?),
            PatchKind::Resnet50 => Network::Resnet50(Resnet50::new(cfg, params)?),
        };
        Ok(Self {
            cfg: cfg.clone(),
            network,
            proj: params.linear("patches.proj")?,
        })
    }

    /// Vectors of all patches `[n * p, d]` of `n` pictures given as bytes, channels first.
    pub fn forward(&self, pictures: &[u8]) -> Result<Tensor> {
        self.proj
            .forward(&self.features(pictures)?, m6_nn::ops::Act::None)
    }

    /// Feature maps that [`PatchNet::maps`] gives.
    pub fn n_maps(&self) -> usize {
        match &self.network {
            Network::Linear => 0,
            Network::Resnet(net) => net.n_stages(),
            Network::Resnet50(_) => resnet50::N_MAPS,
        }
    }

    /// Feature maps of every stage for whole pictures `[n, 3, h, w]` in [-1, 1], of any size.
    pub fn maps(&self, x_nchw: &Tensor) -> Result<Vec<Tensor>> {
        match &self.network {
            Network::Linear => Ok(Vec::new()),
            Network::Resnet(net) => net.maps(x_nchw),
            Network::Resnet50(net) => net.maps(&to_imagenet(x_nchw)?),
        }
    }

    /// Features before the projection, `[n * p, n_features]`, patches of a picture in raster order.
    pub fn features(&self, pictures: &[u8]) -> Result<Tensor> {
        let x_nchw = pixels::to_tensor(&self.cfg, pictures)?;
        let map_nchw = match &self.network {
            Network::Linear => return Ok(x_nchw.flatten_from(1)?),
            Network::Resnet(net) => net.forward(&x_nchw)?,
            Network::Resnet50(net) => net.forward(&x_nchw)?,
        };
        match self.cfg.scope {
            PatchScope::Cell => ops::global_avg_pool(&map_nchw),
            PatchScope::Picture => ops::nchw_to_rows(&map_nchw),
        }
    }
}

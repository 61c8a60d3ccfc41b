//! One feature vector a picture, by which sets of pictures are compared (`m6_eval::frechet_distance`).
//!
//! Only [`Inception`] gives the numbers that are published as FID; those of a model's own patch network say the same about one model and
//! its pictures, on a scale of their own.

mod inception;

pub use inception::Inception;

use crate::config::PatchKind;
use crate::error::{Error, Result};
use crate::model::Model;
use m6_nn::no_grad;

/// Pictures that go through a patch network at once.
const CHUNK: usize = 32;

impl Model {
    /// Mean feature vector of each picture over its patches, before the projection: `[n, n_features]` row by row, of `n` pictures as
    /// bytes, channels first, of the model's side.
    ///
    /// # Errors
    /// [`Error::Weights`] when the model cuts pictures into cells without a network, [`Error::Input`] when the bytes are no whole number
    /// of pictures, or none.
    pub fn picture_features(&self, pictures: &[u8]) -> Result<Vec<f32>> {
        let patches = &self.config().patches;
        if patches.kind == PatchKind::Linear {
            return Err(Error::Weights(
                "patches.kind = linear has no network whose features could be compared".into(),
            ));
        }
        let mut out = Vec::new();
        for chunk in pictures.chunks((CHUNK * patches.picture_bytes()).max(1)) {
            let rows = no_grad(|| self.patch_features(chunk))?;
            let n = chunk.len() / patches.picture_bytes();
            let mean = |rows: m6_nn::Tensor| {
                let each = rows.reshape((n, patches.n_patches(), ()))?;
                each.mean(1)?.flatten_all()?.to_vec1::<f32>()
            };
            out.extend(mean(rows).map_err(m6_nn::Error::from)?);
        }
        match out.is_empty() {
            true => Err(Error::Input("there is no picture".into())),
            false => Ok(out),
        }
    }
}

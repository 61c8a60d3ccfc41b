//! Distance between pictures by the features of a network (Zhang and others, without learned weights).

use crate::error::{Error, Result};
use crate::model::Model;
use m6_nn::{Tensor, no_grad};

/// Added under the root when features are put on the unit sphere.
const EPS: f64 = 1e-8;

/// A frozen network whose feature maps are compared.
pub struct Perceptual {
    model: Model,
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
        Ok(Self { model })
    }

    /// Mean squared difference of the features, each place's vector on the unit sphere, summed over the stages; gradients reach `y`
    /// alone. Both `[n, 3, side, side]` in [-1, 1].
    pub(super) fn distance(&self, x: &Tensor, y: &Tensor) -> m6_nn::Result<Tensor> {
        let wanted = no_grad(|| self.model.patches.maps(&x.detach()))?;
        let got = self.model.patches.maps(y)?;
        let mut sum: Option<Tensor> = None;
        for (wanted, got) in wanted.iter().zip(&got) {
            let apart = (on_sphere(got)? - on_sphere(wanted)?.detach())?;
            let mean = apart.sqr()?.sum(1)?.mean_all()?;
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

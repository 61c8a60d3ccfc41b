//! What a VQGAN learns from: reconstruction, codebook, and the adversary. One update's gradients, left in the parameters.

use super::perceptual::Perceptual;
use super::{Discriminator, Pass, Vqgan};
use m6_nn::{Error, Result, Tensor, Var, backward, gradient_at};
use m6_store::rng::Key;

/// Added to the adversary's gradient norm before dividing by it, and the largest weight (taming-transformers).
const ADAPTIVE: (f64, f64) = (1e-4, 1e4);

/// How much each part of the loss weighs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdversaryWeights {
    /// Of the distance between features.
    pub perceptual: f64,
    /// Of the adversary, after the adaptive weight; 0 leaves it out.
    pub adversary: f64,
}

/// What one update of encoder, codebook and decoder found.
#[derive(Clone, Debug, Default)]
pub struct GeneratorLosses {
    /// Mean absolute difference on the scale [-1, 1].
    pub l1: f64,
    /// Distance between features, before its weight; 0 without a network.
    pub perceptual: f64,
    /// Commitment and codebook loss, weighted.
    pub codebook: f64,
    /// Minus the mean score of the reconstructions; 0 while the adversary is out.
    pub adversary: f64,
    /// The adaptive weight it got.
    pub adaptive_weight: f64,
    /// Codes of the batch.
    pub codes: Vec<u32>,
    /// Vectors the codes stand for.
    vectors: Vec<f32>,
    /// The reconstructions, for the discriminator's own update.
    rebuilt: Option<Tensor>,
}

impl std::fmt::Display for GeneratorLosses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "l1 {}, perceptual {}, codebook {}, adversary {}",
            self.l1, self.perceptual, self.codebook, self.adversary
        )
    }
}

impl GeneratorLosses {
    /// Whether every part is a number.
    pub fn is_finite(&self) -> bool {
        let parts = [self.l1, self.perceptual, self.codebook, self.adversary];
        parts.iter().all(|v| v.is_finite())
    }
}

impl Vqgan {
    /// Loss and gradients of encoder, codebook and decoder on pictures `[n, 3, side, side]` in [-1, 1].
    ///
    /// The adversary is weighed by how strongly reconstruction and adversary each pull at the last convolution. Both pulls are
    /// taken at the reconstruction first, so the decoder is gone through backward once.
    ///
    /// # Errors
    /// When an operator fails.
    pub fn generator_backward(
        &self,
        x_nchw: &Tensor,
        adversary: Option<&Discriminator>,
        perceptual: Option<&Perceptual>,
        weights: AdversaryWeights,
    ) -> Result<GeneratorLosses> {
        let pass = self.pass(x_nchw)?;
        let leaf = Var::from_tensor(&pass.rebuilt.detach())?;
        let l1 = (leaf.as_tensor() - x_nchw)?.abs()?.mean_all()?;
        let mut out = GeneratorLosses {
            l1: scalar(&l1)?,
            codebook: scalar(&pass.quantized.loss)?,
            ..GeneratorLosses::default()
        };
        let mut loss = l1;
        if let Some(perceptual) = perceptual.filter(|_| weights.perceptual > 0.0) {
            let distance = perceptual.distance(x_nchw, leaf.as_tensor())?;
            out.perceptual = scalar(&distance)?;
            loss = (loss + (distance * weights.perceptual)?)?;
        }
        let mut pull = gradient_at(&loss, &leaf)?;
        if let Some(discriminator) = adversary.filter(|_| weights.adversary > 0.0) {
            discriminator.set_trainable(false);
            let score = discriminator.net.forward(leaf.as_tensor())?.mean_all()?;
            let fooled = gradient_at(&score.neg()?, &leaf)?;
            discriminator.set_trainable(true);
            out.adversary = -scalar(&score)?;
            let ratio = self.pull_at_last(&pass, &pull)?
                / (self.pull_at_last(&pass, &fooled)? + ADAPTIVE.0);
            out.adaptive_weight = ratio.clamp(0.0, ADAPTIVE.1) * weights.adversary;
            pull = (pull + (fooled * out.adaptive_weight)?)?;
        }
        // The inner product with a constant has that constant as its gradient.
        let through = (&pass.rebuilt * pull.detach())?.sum_all()?;
        backward(&(through + &pass.quantized.loss)?, &self.params)?;
        out.codes = pass.quantized.codes;
        out.vectors = pass.quantized.vectors;
        out.rebuilt = Some(pass.rebuilt.detach());
        Ok(out)
    }

    /// Norm of the gradient that an upstream gradient gives the last convolution's weight.
    fn pull_at_last(&self, pass: &Pass, upstream: &Tensor) -> Result<f64> {
        let out = self.decoder.out(&pass.hidden.detach())?;
        self.params.zero_grads();
        backward(&(out * upstream.detach())?.sum_all()?, &self.params)?;
        let norm = self.params.grad_norm_of(self.decoder.last_weight().name());
        self.params.zero_grads();
        Ok(norm)
    }

    /// Moves the codebook after the update that `losses` came from; gives how many unused codes were set anew.
    ///
    /// # Errors
    /// When a parameter cannot be written.
    pub fn follow(&self, losses: &GeneratorLosses, key: Key) -> Result<usize> {
        self.quantizer.follow(&losses.codes, &losses.vectors, key)
    }
}

impl Discriminator {
    /// Hinge loss (Lim and Ye) of pictures against their reconstructions, and its gradients; (loss, mean score of the pictures,
    /// mean score of the reconstructions).
    ///
    /// # Errors
    /// When an operator fails, or `losses` were already used.
    pub fn backward(&self, x_nchw: &Tensor, losses: &mut GeneratorLosses) -> Result<[f64; 3]> {
        let Some(rebuilt) = losses.rebuilt.take() else {
            return Err(Error::Value {
                op: "discriminator",
                what: "the reconstructions were used before".into(),
            });
        };
        let (real, fake) = (self.net.forward(x_nchw)?, self.net.forward(&rebuilt)?);
        let short = real.affine(-1.0, 1.0)?.relu()?.mean_all()?;
        let over = fake.affine(1.0, 1.0)?.relu()?.mean_all()?;
        let loss = ((short + over)? * 0.5)?;
        backward(&loss, &self.params)?;
        Ok([
            scalar(&loss)?,
            scalar(&real.mean_all()?)?,
            scalar(&fake.mean_all()?)?,
        ])
    }
}

fn scalar(x: &Tensor) -> Result<f64> {
    Ok(f64::from(x.detach().to_scalar::<f32>()?))
}

//! One update of a VQGAN: autoencoder, codebook, discriminator.

use super::config::AdversaryConfig;
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::schedule::Schedule;
use crate::step::clip_factor;
use m6_model::vqgan::{AdversaryWeights, Discriminator, Perceptual, Vqgan};
use m6_nn::optimizer::{Optimizer, OptimizerConfig};
use m6_nn::{Param, Tensor};
use m6_store::rng::Key;
use std::collections::BTreeSet;
use std::path::Path;

/// Everything that an update reads and writes, apart from the pictures.
pub struct VqganTrainer {
    pub(super) vqgan: Vqgan,
    pub(super) optimizer: Optimizer,
    pub(super) discriminator: Discriminator,
    pub(super) disc_optimizer: Optimizer,
    perceptual: Option<Perceptual>,
    adversary: AdversaryConfig,
    train: TrainConfig,
    schedule: Schedule,
}

/// What an update found.
pub struct VqganOutcome {
    /// Weighted sum of reconstruction, features and codebook.
    pub loss: f64,
    /// Every part with its name in the metrics.
    pub parts: Vec<(String, f64)>,
    /// Learning rate of the update.
    pub lr: f64,
    /// Norm of the gradient of encoder, codebook and decoder before clipping.
    pub grad_norm: f64,
    /// Codes of the batch.
    pub codes: Vec<u32>,
}

impl VqganTrainer {
    /// A trainer before its first update; the discriminator is drawn from `train.seed`.
    ///
    /// # Errors
    /// When the discriminator's sizes cannot be built.
    pub fn new(
        vqgan: Vqgan,
        perceptual: Option<Perceptual>,
        adversary: &AdversaryConfig,
        train: &TrainConfig,
    ) -> Result<Self> {
        let discriminator =
            Discriminator::new(adversary.disc_ch, adversary.disc_layers, train.seed)?;
        let config = OptimizerConfig {
            betas: train.betas.into(),
            eps: train.eps,
            weight_decay: train.weight_decay,
            momentum: train.momentum,
        };
        let hidden = vqgan.hidden_matrices();
        let rule = |param: &Param| train.optimizer.rule(param.name(), &hidden);
        Ok(Self {
            optimizer: Optimizer::with_rules(vqgan.params(), config, rule),
            // The adversary stays with AdamW, whose steps follow the size of its gradient (ours).
            disc_optimizer: Optimizer::new(discriminator.params(), config, &BTreeSet::new()),
            vqgan,
            discriminator,
            perceptual,
            adversary: adversary.clone(),
            train: train.clone(),
            schedule: train.schedule(),
        })
    }

    /// Makes update `step` (counted from 1) on pictures `[n, 3, side, side]` in [-1, 1].
    ///
    /// # Errors
    /// [`Error::NonFinite`] when a loss or gradient is not finite; it names `last_good`, the newest sound checkpoint.
    pub fn step(
        &mut self,
        step: u64,
        x: &Tensor,
        last_good: Option<&Path>,
    ) -> Result<VqganOutcome> {
        let fault = |what, parameter: String| Error::NonFinite {
            step,
            what,
            task: "vqgan".into(),
            parameter,
            last_good: last_good.map(Path::to_path_buf),
        };
        let lr = self.schedule.lr_at(step);
        let plays = self.adversary.disc_weight > 0.0 && step > self.adversary.disc_start;
        self.vqgan.params().zero_grads();
        let weights = AdversaryWeights {
            perceptual: self.adversary.perceptual_weight,
            adversary: self.adversary.disc_weight,
        };
        let opponent = plays.then_some(&self.discriminator);
        let mut losses =
            self.vqgan
                .generator_backward(x, opponent, self.perceptual.as_ref(), weights)?;
        let grad_norm = self.vqgan.params().grad_norm();
        if !losses.is_finite() || !grad_norm.is_finite() {
            return Err(fault("the loss or its gradient", format!("{losses}")));
        }
        let scale = clip_factor(grad_norm, self.train.grad_clip);
        self.optimizer.step(self.vqgan.params(), lr, scale)?;
        let key = Key::new(self.train.seed).child("codebook").at(step);
        let restarted = self.vqgan.follow(&losses, key)?;
        let mut parts = vec![
            ("l1".to_string(), losses.l1),
            ("codebook".to_string(), losses.codebook),
            ("codes_restarted".to_string(), restarted as f64),
        ];
        if self.perceptual.is_some() {
            parts.push(("perceptual".to_string(), losses.perceptual));
        }
        if plays {
            let [loss, real, fake] = self.play(x, &mut losses, lr)?;
            if !loss.is_finite() {
                return Err(fault("the discriminator's loss", format!("it is {loss}")));
            }
            parts.extend([
                ("adversary".to_string(), losses.adversary),
                ("adaptive_weight".to_string(), losses.adaptive_weight),
                ("discriminator".to_string(), loss),
                ("score_real".to_string(), real),
                ("score_rebuilt".to_string(), fake),
            ]);
        }
        let features = match self.perceptual {
            Some(_) => weights.perceptual * losses.perceptual,
            None => 0.0,
        };
        Ok(VqganOutcome {
            loss: losses.l1 + features + losses.codebook,
            parts,
            lr,
            grad_norm,
            codes: losses.codes,
        })
    }

    /// The discriminator's own update.
    fn play(
        &mut self,
        x: &Tensor,
        losses: &mut m6_model::vqgan::GeneratorLosses,
        lr: f64,
    ) -> Result<[f64; 3]> {
        let params = self.discriminator.params();
        params.zero_grads();
        let found = self.discriminator.backward(x, losses)?;
        let norm = params.grad_norm();
        if found[0].is_finite() && norm.is_finite() {
            let scale = clip_factor(norm, self.train.grad_clip);
            self.disc_optimizer.step(params, lr, scale)?;
        }
        Ok(found)
    }
}

//! Training by AdaGrad (Duchi et al., 2011), one example after another in a drawn order; and measuring on other examples.

use m6_store::rng::Key;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::features::Features;
use super::{BITS, Model, N_GRAMS, Shape, sigmoid};
use crate::{Error, Result};

/// Examples whose n-grams are hashed at a time, in parallel; the updates themselves follow one another.
const CHUNK: usize = 1024;
/// Keeps the first steps of rare n-grams small.
const EPSILON: f64 = 1e-4;

/// A labelled text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The text.
    pub text: String,
    /// True for the class whose probability the model gives.
    pub label: bool,
}

/// How a classifier is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the model looks at.
    pub shape: Shape,
    /// Passes over the examples.
    pub n_epochs: u32,
    /// Step size of AdaGrad.
    pub lr: f64,
    /// Pull of every weight towards 0, in units of its step.
    pub l2: f64,
    /// Seed of the order of the examples.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            shape: Shape::default(),
            n_epochs: 8,
            lr: 0.5,
            l2: 1e-7,
            seed: 0,
        }
    }
}

/// One pass of training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean loss before each example's own update, nats.
    pub loss: f64,
    /// Share of examples on the right side before their update.
    pub accuracy: f64,
}

/// A new model with the course of its training.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model.
    pub model: Model,
    /// One entry a pass.
    pub epochs: Vec<Epoch>,
}

/// How well a model separates the classes of examples it has not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Examples.
    pub n: u64,
    /// Share on the right side of 0.5.
    pub accuracy: f64,
    /// Share of those scored at least 0.5 that are labelled true; 0 when there are none.
    pub precision: f64,
    /// Share of those labelled true that are scored at least 0.5; 0 when there are none.
    pub recall: f64,
    /// Probability that an example labelled true scores higher than one labelled false, ties counted half; 0.5 with one class only.
    pub auc: f64,
    /// Mean loss, nats.
    pub loss: f64,
}

struct Learner<'a> {
    config: &'a Config,
    model: Model,
    /// Sums of squared gradients, of the weights and of the bias.
    squares: Vec<f32>,
    bias_square: f64,
}

/// Trains a classifier; the same examples and settings give the same model for any number of threads.
///
/// # Errors
/// [`Error::Config`] for settings out of range, or unless both labels occur.
pub fn train(examples: &[Example], config: &Config) -> Result<Trained> {
    check(examples, config)?;
    let n_buckets = config.shape.n_buckets();
    let model = Model {
        shape: config.shape,
        bias: 0.0,
        weights: vec![0.0; n_buckets],
        blake3: String::new(),
    };
    let mut learner = Learner {
        config,
        model,
        squares: vec![0.0; n_buckets],
        bias_square: 0.0,
    };
    let key = Key::new(config.seed).child("classifier order");
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let mut epochs = Vec::new();
    for epoch in 0..config.n_epochs {
        key.at(u64::from(epoch)).stream().shuffle(&mut order);
        let (mut loss, mut n_right) = (0.0, 0u64);
        for chunk in order.chunks(CHUNK) {
            let features: Vec<Features> = chunk
                .par_iter()
                .map(|index| Features::of(&examples[*index].text, &config.shape))
                .collect();
            for (index, features) in chunk.iter().zip(&features) {
                let label = examples[*index].label;
                let prob = learner.step(features, label);
                loss += log_loss(prob, label);
                n_right += u64::from((prob >= 0.5) == label);
            }
        }
        let n = examples.len() as f64;
        epochs.push(Epoch {
            loss: loss / n,
            accuracy: n_right as f64 / n,
        });
    }
    Ok(Trained {
        model: learner.model,
        epochs,
    })
}

fn check(examples: &[Example], config: &Config) -> Result<()> {
    let refuse = |problem: String| Err(Error::Config(format!("classifier: {problem}")));
    if !config.shape.is_valid() {
        return refuse(format!(
            "bits must be in {BITS:?}, min_n <= max_n in {N_GRAMS:?}, max_chars above 0; got {:?}",
            config.shape
        ));
    }
    let is_positive = |value: f64| value.is_finite() && value > 0.0;
    if !is_positive(config.lr) || !(0.0..1.0).contains(&config.l2) || config.n_epochs == 0 {
        return refuse("lr and n_epochs must be above 0, l2 in 0..1".to_owned());
    }
    let n_true = examples.iter().filter(|example| example.label).count();
    if n_true == 0 || n_true == examples.len() {
        return refuse(format!(
            "examples of both labels are needed; {n_true} of {} are labelled true",
            examples.len()
        ));
    }
    Ok(())
}

impl Learner<'_> {
    /// Learns from one example and gives the probability it had before.
    fn step(&mut self, features: &Features, label: bool) -> f64 {
        let prob = sigmoid(self.model.margin(features));
        let slope = prob - if label { 1.0 } else { 0.0 };
        let Config { lr, l2, .. } = *self.config;
        self.bias_square += slope * slope;
        // The bias learns slower than all n-grams together: it knows nothing of the text.
        self.model.bias -= (0.1 * lr * slope / (self.bias_square.sqrt() + EPSILON)) as f32;
        let gradient = slope * features.weight;
        for bucket in &features.buckets {
            let bucket = *bucket as usize;
            let (Some(weight), Some(square)) = (
                self.model.weights.get_mut(bucket),
                self.squares.get_mut(bucket),
            ) else {
                continue;
            };
            let gradient = gradient + l2 * f64::from(*weight);
            let sum = f64::from(*square) + gradient * gradient;
            *square = sum as f32;
            *weight -= (lr * gradient / (sum.sqrt() + EPSILON)) as f32;
        }
        prob
    }
}

fn log_loss(prob: f64, label: bool) -> f64 {
    let right = if label { prob } else { 1.0 - prob };
    -libm::log(right.max(1e-15))
}

/// Measures a model on examples it was not trained on.
pub fn evaluate(model: &Model, examples: &[Example]) -> Metrics {
    let mut scored: Vec<(f64, bool)> = examples
        .par_iter()
        .map(|example| (model.score(&example.text), example.label))
        .collect();
    if scored.is_empty() {
        return Metrics::default();
    }
    let n = scored.len() as f64;
    let count = |is_counted: &dyn Fn(f64, bool) -> bool| {
        scored
            .iter()
            .filter(|(prob, label)| is_counted(*prob, *label))
            .count() as f64
    };
    let n_true = count(&|_, label| label);
    let n_hit = count(&|prob, label| label && prob >= 0.5);
    let n_taken = count(&|prob, _| prob >= 0.5);
    let n_right = count(&|prob, label| (prob >= 0.5) == label);
    let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    let loss: f64 = scored
        .iter()
        .map(|(prob, label)| log_loss(*prob, *label))
        .sum();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    Metrics {
        n: scored.len() as u64,
        accuracy: n_right / n,
        precision: ratio(n_hit, n_taken),
        recall: ratio(n_hit, n_true),
        auc: auc(&scored, n_true),
        loss: loss / n,
    }
}

/// The area under the curve of examples sorted by score (Mann and Whitney).
fn auc(scored: &[(f64, bool)], n_true: f64) -> f64 {
    let n_false = scored.len() as f64 - n_true;
    if n_true == 0.0 || n_false == 0.0 {
        return 0.5;
    }
    let (mut below, mut won) = (0.0, 0.0);
    for tied in scored.chunk_by(|a, b| a.0 == b.0) {
        let n_tied_true = tied.iter().filter(|(_, label)| *label).count() as f64;
        let n_tied_false = tied.len() as f64 - n_tied_true;
        won += n_tied_true * (below + 0.5 * n_tied_false);
        below += n_tied_false;
    }
    won / (n_true * n_false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_counts_pairs_in_the_right_order() {
        for (scored, expected) in [
            (&[(0.1, false), (0.9, true)][..], 1.0),
            (&[(0.1, true), (0.9, false)], 0.0),
            (&[(0.5, true), (0.5, false)], 0.5),
            (
                &[(0.1, false), (0.2, true), (0.3, false), (0.4, true)],
                0.75,
            ),
            (&[(0.1, true)], 0.5),
        ] {
            let n_true = scored.iter().filter(|(_, label)| *label).count() as f64;
            assert_eq!(auc(scored, n_true), expected, "{scored:?}");
        }
    }

    #[test]
    fn losses_are_finite_at_the_ends() {
        assert_eq!(log_loss(1.0, true), 0.0);
        assert!(log_loss(0.0, true).is_finite() && log_loss(1.0, false).is_finite());
    }
}

//! Seconds of a step, at a stated efficiency of the devices and with links at their makers' rates.

use super::traffic::{Flow, Kind};
use super::{Job, Kept, Layout, States};
use serde::Serialize;

/// Seconds of a step by what takes them; traffic only as far as no computing hides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Seconds {
    /// Forward and backward passes.
    pub compute: f64,
    /// Rows to experts and back; nothing else goes on meanwhile.
    pub all_to_all: f64,
    /// Sums over the parts of matrices; nothing else goes on meanwhile.
    pub tensor: f64,
    /// Gradients that are not summed yet when the backward pass ends.
    pub gradients: f64,
    /// Weights that are waited for.
    pub weights: f64,
    /// The optimizer: bytes that last, read and written once.
    pub update: f64,
    /// Always 0: there are no pipeline stages, hence no bubbles.
    pub pipeline: f64,
}

impl Seconds {
    /// Of the whole step.
    pub fn total(&self) -> f64 {
        let waits = self.all_to_all + self.tensor + self.gradients + self.weights;
        self.compute + waits + self.update + self.pipeline
    }
}

/// Operations of one sample, forward and backward, as a rank computes its part of them.
pub fn flops_of_sample(job: &Job, layout: &Layout) -> f64 {
    let one = job.sample();
    let context = job.positions as f64 / 2.0;
    let cost = crate::flops::flops_of_rank(&job.model, context, layout.mesh.tensor);
    cost.train(one.tokens, one.targets, one.pictures, layout.checkpointing)
}

/// Seconds of a step.
pub fn seconds(job: &Job, states: &States, layout: &Layout, flows: &[Flow], kept: Kept) -> Seconds {
    let rounds = job.accum(layout) as f64;
    let samples = rounds * layout.micro_batch as f64;
    let sustained = job.hardware.peak_tflops * 1e12 * job.efficiency;
    let compute = samples * flops_of_sample(job, layout) / sustained;
    let of = |kinds: &[Kind]| -> f64 {
        let flows = flows.iter().filter(|flow| kinds.contains(&flow.kind));
        // An empty sum is -0.
        flows.map(Flow::seconds).fold(0.0, |a, b| a + b)
    };
    // Of one forward, two backward and, with checkpointing, one more forward, all but the first are the backward pass.
    let backward = compute
        * if layout.checkpointing {
            0.75
        } else {
            2.0 / 3.0
        };
    let zero = layout.mesh.zero;
    let summed_during = if zero >= 2 {
        backward
    } else {
        backward / rounds
    };
    let mut gradients = of(&[Kind::Gradients, Kind::ExpertGradients]);
    let mut weights = of(&[Kind::Weights]);
    if zero == 3 {
        // Weights come and gradients go on the same link during all of the step.
        weights = (weights + gradients - compute).max(0.0);
        gradients = 0.0;
    } else {
        gradients = (gradients - summed_during).max(0.0);
    }
    let update = match states.whole.trained + states.split.trained + states.experts.trained > 0.0 {
        true => {
            2.0 * (kept.weights + kept.gradients + kept.moments) / (job.hardware.memory_gb_s * 1e9)
        }
        false => 0.0,
    };
    Seconds {
        compute,
        all_to_all: of(&[Kind::AllToAll]),
        tensor: of(&[Kind::Tensor]),
        gradients,
        weights,
        update,
        pipeline: 0.0,
    }
}

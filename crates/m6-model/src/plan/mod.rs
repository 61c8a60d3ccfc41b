//! What it takes to train a model on many devices, by arithmetic alone: bytes of a rank, traffic, seconds, and the mesh that is best.
//!
//! Every figure is a count or a maker's rate; the one free number is the [`efficiency`](Job::efficiency) at which devices compute.

mod activations;
mod gpus;
mod mesh;
mod search;
mod states;
#[cfg(test)]
mod tests;
mod time;
mod traffic;

pub use activations::{Activations, MicroBatch, Numbers};
pub use gpus::{GPU_NAMES, Hardware, Precision};
pub use mesh::Mesh;
pub use search::{Change, Found};
pub use states::{Kept, Moments, NumberBytes, States, Tally};
pub use time::Seconds;
pub use traffic::{Flow, Kind};

use crate::config::ModelConfig;
use serde::Serialize;
use std::collections::BTreeMap;

/// Share of a device's memory that a plan may fill; the rest is for its context, the allocator's gaps and the libraries' own buffers (ours).
pub const USABLE: f64 = 0.9;

/// What is to be trained, on what.
#[derive(Clone, Debug)]
pub struct Job {
    /// Sizes of the model.
    pub model: ModelConfig,
    /// The devices, all of one kind.
    pub hardware: Hardware,
    /// Number type of weights in use, activations and what experts and parts of matrices send.
    pub precision: Precision,
    /// Whether gradients are kept and sent in `precision` instead of f32.
    pub half_gradients: bool,
    /// The optimizer.
    pub moments: Moments,
    /// Whether each block is updated as soon as its gradients are made, which are then let go.
    pub blockwise: bool,
    /// Whether an average of the weights is kept, whole, in f32.
    pub ema: bool,
    /// Positions of a sample: one picture's patches and words.
    pub positions: usize,
    /// Positions of a sample that have a loss; every word, where it is not said.
    pub targets: Option<usize>,
    /// Samples of an update that are aimed at.
    pub samples_per_step: usize,
    /// Share of the peak that computing reaches, in (0, 1].
    pub efficiency: f64,
}

/// How a job is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// The arrangement of ranks.
    pub mesh: Mesh,
    /// Samples of a micro-batch of a data rank, 1 or more.
    pub micro_batch: usize,
    /// Whether blocks are run a second time in the backward pass instead of being kept.
    pub checkpointing: bool,
}

/// Bytes of one rank at the height of a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RankBytes {
    /// Weights that are computed with.
    pub weights: f64,
    /// Their gradients.
    pub gradients: f64,
    /// Moments, f32 copies of weights that are not f32, the average.
    pub moments: f64,
    /// What the tape keeps of a micro-batch.
    pub activations: f64,
    /// What is there for a time: the block that is recomputed, logits, rows on their way, weights and gradients that are put together.
    pub buffers: f64,
    /// All of it.
    pub total: f64,
}

/// What a layout takes.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The layout.
    pub layout: Layout,
    /// Micro-batches of a rank in an update.
    pub accum: usize,
    /// Samples of an update.
    pub samples_per_step: usize,
    /// Bytes of a rank.
    pub bytes: RankBytes,
    /// Traffic by kind.
    pub flows: Vec<Flow>,
    /// Operations of a token, forward and backward, over all ranks.
    pub flops_per_token: f64,
    /// Seconds by kind.
    pub seconds: Seconds,
    /// Of an update.
    pub step_seconds: f64,
    /// Throughput.
    pub samples_per_s: f64,
    /// The same in tokens a day.
    pub tokens_per_day: f64,
    /// Whether a rank's bytes are within [`USABLE`] of its memory.
    pub fits: bool,
}

impl Plan {
    /// Bytes that a rank sends in a step, by kind.
    pub fn comm_bytes(&self) -> BTreeMap<&'static str, f64> {
        let kinds = [
            Kind::Gradients,
            Kind::ExpertGradients,
            Kind::Weights,
            Kind::AllToAll,
            Kind::Tensor,
        ];
        let mut out: BTreeMap<_, _> = kinds.iter().map(|kind| (kind.name(), 0.0)).collect();
        for flow in &self.flows {
            *out.entry(flow.kind.name()).or_default() += flow.bytes;
        }
        out
    }
}

impl Job {
    /// Every number that makes no sense, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut out = self.hardware.problems();
        if !(self.efficiency > 0.0 && self.efficiency <= 1.0) {
            out.push(format!(
                "--efficiency {} must be above 0 and at most 1",
                self.efficiency
            ));
        }
        if self.positions <= self.model.patches.n_patches() {
            out.push(format!(
                "--seq {} must be more than the {} patches of a picture",
                self.positions,
                self.model.patches.n_patches()
            ));
        }
        if !self.hardware.precisions.contains(&self.precision) {
            let names: Vec<_> = self.hardware.precisions.iter().map(|p| p.name()).collect();
            out.push(format!(
                "--precision {}: the peak of {} is for {}",
                self.precision.name(),
                self.hardware.name,
                names.join(" and ")
            ));
        }
        out
    }

    fn sample(&self) -> MicroBatch {
        let n_patches = self.model.patches.n_patches();
        MicroBatch {
            tokens: self.positions as f64,
            targets: self
                .targets
                .unwrap_or(self.positions.saturating_sub(n_patches)) as f64,
            pictures: 1.0,
        }
    }

    fn micro_batch(&self, layout: &Layout) -> MicroBatch {
        let (one, n) = (self.sample(), layout.micro_batch as f64);
        MicroBatch {
            tokens: one.tokens * n,
            targets: one.targets * n,
            pictures: one.pictures * n,
        }
    }

    /// Micro-batches of a rank in an update: as many as come nearest to the samples aimed at.
    pub fn accum(&self, layout: &Layout) -> usize {
        let round = layout.mesh.data * layout.micro_batch;
        ((self.samples_per_step as f64 / round as f64).round() as usize).max(1)
    }

    fn number_bytes(&self) -> NumberBytes {
        let weight = self.precision.bytes();
        NumberBytes {
            weight,
            gradient: if self.half_gradients { weight } else { 4.0 },
            master: if weight < 4.0 { 4.0 } else { 0.0 },
        }
    }
}

/// Plans layouts of one job; its parameters are counted once.
#[derive(Clone, Debug)]
pub struct Planner {
    job: Job,
    states: States,
}

impl Planner {
    /// For a job without [`problems`](Job::problems).
    pub fn new(job: Job) -> Self {
        let states = States::new(&job.model, job.moments);
        Self { job, states }
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// What `layout`, whose mesh has no problems, takes.
    pub fn plan(&self, layout: &Layout) -> Plan {
        let (job, states) = (&self.job, &self.states);
        let (bytes, kept) = self.bytes(layout);
        let flows = traffic::traffic(job, states, layout);
        let seconds = time::seconds(job, states, layout, &flows, kept);
        let accum = job.accum(layout);
        let samples = accum * layout.micro_batch * layout.mesh.data;
        let step_seconds = seconds.total();
        let samples_per_s = samples as f64 / step_seconds;
        let whole = Layout {
            mesh: Mesh {
                tensor: 1,
                ..layout.mesh
            },
            ..*layout
        };
        Plan {
            layout: *layout,
            accum,
            samples_per_step: samples,
            bytes,
            flows,
            flops_per_token: time::flops_of_sample(job, &whole) / job.positions as f64,
            seconds,
            step_seconds,
            samples_per_s,
            tokens_per_day: samples_per_s * job.positions as f64 * 86_400.0,
            fits: bytes.total <= USABLE * job.hardware.memory_gb * 1e9,
        }
    }

    fn bytes(&self, layout: &Layout) -> (RankBytes, Kept) {
        let (job, mesh) = (&self.job, &layout.mesh);
        let number = job.number_bytes();
        let (dense, sparse) = (self.states.dense(mesh), self.states.sparse(mesh));
        let a = dense.kept(number, mesh.zero, mesh.data as f64);
        let b = sparse.kept(number, mesh.zero, mesh.expert_replicas() as f64);
        let ema = if job.ema {
            4.0 * (dense.trained + sparse.trained)
        } else {
            0.0
        };
        let gradients = match job.blockwise {
            // Of one block, or of what is in none.
            true => {
                let (dense, sparse) = self.states.largest_block(mesh);
                (dense + sparse).max(self.states.outside(mesh)) * number.gradient
            }
            false => a.gradients + b.gradients,
        };
        let kept = Kept {
            weights: a.weights + b.weights,
            gradients,
            moments: a.moments + b.moments + ema,
        };
        let batch = job.micro_batch(layout);
        let tape = activations::activations(&job.model, mesh, batch, layout.checkpointing);
        let width = job.precision.bytes();
        let activations = tape.kept.bytes(width);
        let buffers = tape.work.bytes(width) + self.buffers(layout, batch);
        let total = kept.weights + kept.gradients + kept.moments + activations + buffers;
        let bytes = RankBytes {
            weights: kept.weights,
            gradients: kept.gradients,
            moments: kept.moments,
            activations,
            buffers,
            total,
        };
        (bytes, kept)
    }

    /// What stands beside activations because there are many ranks, and folded weights of ResNet-50 with their gradients.
    fn buffers(&self, layout: &Layout, batch: MicroBatch) -> f64 {
        let (job, mesh, states) = (&self.job, &layout.mesh, &self.states);
        let number = job.number_bytes();
        let (dense, sparse) = (states.dense(mesh), states.sparse(mesh));
        let (data, replicas) = (mesh.data as f64, mesh.expert_replicas() as f64);
        let (block_dense, block_sparse) = states.largest_block(mesh);
        // A weight or gradient is in parts only where there is somebody to share it with.
        let shared = |n: f64, ranks: f64| if ranks > 1.0 { n } else { 0.0 };
        let block = shared(block_dense, data) + shared(block_sparse, replicas);
        let gradients = match mesh.zero {
            // A rank's own part of the sum.
            0 | 1 => {
                shared(dense.trained / data, data) + shared(sparse.trained / replicas, replicas)
            }
            _ => block,
        };
        let weights = match mesh.zero {
            // The block at hand and the next one, and what is in no block.
            3 => shared(states.outside(mesh), data) + 2.0 * block,
            _ => 0.0,
        };
        let rows = match mesh.expert > 1 {
            // What is sent and what arrives.
            true => 2.0 * batch.tokens * activations::expert_rows(&job.model, mesh),
            false => 0.0,
        };
        let resnet50 = matches!(job.model.patches.kind, crate::PatchKind::Resnet50);
        let folded = match resnet50 && job.model.patches.trained && batch.pictures > 0.0 {
            true => 2.0 * states.patch_network,
            false => 0.0,
        };
        gradients * number.gradient
            + weights * number.weight
            + (rows * job.model.d_model as f64 + folded) * number.weight
    }

    /// The efficiency at which `layout` would make `samples_per_s`; `None` when its traffic alone takes longer.
    pub fn efficiency_of(&self, layout: &Layout, samples_per_s: f64) -> Option<f64> {
        let rate = |efficiency| {
            let mut planner = self.clone();
            planner.job.efficiency = efficiency;
            planner.plan(layout).samples_per_s
        };
        if !(samples_per_s > 0.0 && samples_per_s <= rate(1.0)) {
            return None;
        }
        // Throughput rises with efficiency, and none is reached at none.
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            match rate(middle) < samples_per_s {
                true => low = middle,
                false => high = middle,
            }
        }
        Some(high)
    }
}

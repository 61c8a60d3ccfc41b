//! What ranks send to each other, by kind and link. A ring of n sends (n - 1) / n of the bytes for a sum that is left in parts or for parts
//! that are put together, twice that for a sum that all get.

use super::activations::expert_rows;
use super::mesh::Mesh;
use super::{Job, Layout};
use serde::Serialize;

/// The kinds of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Gradients of everything but experts, over the data ranks.
    Gradients,
    /// Gradients of experts, over those that hold the same one.
    ExpertGradients,
    /// Weights put together from their parts (ZeRO).
    Weights,
    /// Rows on their way to experts and back (paper section 2.5).
    AllToAll,
    /// Sums over the parts of a matrix.
    Tensor,
}

impl Kind {
    /// Name in tables and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gradients => "gradients",
            Self::ExpertGradients => "expert_gradients",
            Self::Weights => "weights",
            Self::AllToAll => "all_to_all",
            Self::Tensor => "tensor",
        }
    }
}

/// Traffic of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Flow {
    /// What it is.
    pub kind: Kind,
    /// Bytes that a rank sends in a step.
    pub bytes: f64,
    /// Whether all of the group are in one node.
    pub inside_node: bool,
    /// Bytes a second that a rank sends at.
    pub rate: f64,
}

impl Flow {
    /// Seconds when nothing else is done.
    pub fn seconds(&self) -> f64 {
        self.bytes / self.rate
    }
}

/// A group of ranks: how many, and how far from one to the next in the order of ranks. Those that share a matrix are neighbours, those that
/// share the experts of a layer come next.
#[derive(Clone, Copy)]
struct Group {
    n: usize,
    stride: usize,
}

impl Group {
    fn share(self) -> f64 {
        (self.n as f64 - 1.0) / self.n as f64
    }

    fn flow(self, job: &Job, kind: Kind, bytes: f64) -> Flow {
        let hw = &job.hardware;
        let inside_node = self.n * self.stride <= hw.per_node;
        // A ring runs through every member of a node by as many links as there are members; in an all-to-all each has its own alone.
        let members = match kind {
            Kind::AllToAll => 1,
            _ => (hw.per_node / self.stride).clamp(1, self.n),
        };
        let gb_s = match inside_node {
            true => hw.inner_gb_s,
            false => hw.inner_gb_s.min(hw.outer_gb_s * members as f64),
        };
        Flow {
            kind,
            bytes,
            inside_node,
            rate: gb_s * 1e9,
        }
    }
}

/// What a rank sends in a step of `layout`; kinds that send nothing are left out.
pub fn traffic(job: &Job, states: &super::States, layout: &Layout) -> Vec<Flow> {
    let mesh = &layout.mesh;
    let bytes = job.number_bytes();
    let dense = Group {
        n: mesh.data,
        stride: mesh.tensor,
    };
    let replicas = Group {
        n: mesh.expert_replicas(),
        stride: mesh.expert * mesh.tensor,
    };
    let rounds = job.accum(layout) as f64;
    let sums = |group: Group, trained: f64| {
        let gradient = trained * bytes.gradient * group.share();
        match mesh.zero {
            0 => 2.0 * gradient,
            1 => gradient,
            _ => rounds * gradient,
        }
    };
    let gathers = |group: Group, of: super::Tally, once: f64| {
        let numbers = match mesh.zero {
            0 => 0.0,
            1 | 2 => of.trained,
            _ => rounds * (2.0 * of.params - once),
        };
        group.flow(job, Kind::Weights, numbers * bytes.weight * group.share())
    };
    let (d, e) = (states.dense(mesh), states.sparse(mesh));
    let once = states.once(mesh);
    let weights_dense = gathers(dense, d, once.0);
    let weights_experts = gathers(replicas, e, once.1);
    let batch = job.micro_batch(layout);
    let (tokens, targets) = (rounds * batch.tokens, rounds * batch.targets);
    [
        dense.flow(job, Kind::Gradients, sums(dense, d.trained)),
        replicas.flow(job, Kind::ExpertGradients, sums(replicas, e.trained)),
        weights_dense,
        weights_experts,
        all_to_all(job, layout, tokens),
        tensor_sums(job, layout, (tokens, targets)),
    ]
    .into_iter()
    .filter(|flow| flow.bytes > 0.0)
    .collect()
}

/// Passes of a layer over its traffic: forward and backward, and forward once more with checkpointing.
fn passes(layout: &Layout) -> f64 {
    if layout.checkpointing { 3.0 } else { 2.0 }
}

fn all_to_all(job: &Job, layout: &Layout, tokens: f64) -> Flow {
    let cfg = &job.model;
    let mesh = &layout.mesh;
    let group = Group {
        n: mesh.expert,
        stride: mesh.tensor,
    };
    let n_layers = (0..cfg.n_layers)
        .filter(|&i| cfg.experts.is_expert_layer(i))
        .count() as f64;
    let rows = tokens * expert_rows(cfg, mesh);
    // There and back in each pass.
    let bytes = n_layers * passes(layout) * 2.0 * rows * cfg.d_model as f64 * job.precision.bytes();
    group.flow(job, Kind::AllToAll, bytes * group.share())
}

fn tensor_sums(job: &Job, layout: &Layout, (tokens, targets): (f64, f64)) -> Flow {
    let Mesh { tensor, .. } = layout.mesh;
    let group = Group {
        n: tensor,
        stride: 1,
    };
    let cfg = &job.model;
    let forward = passes(layout) - 1.0;
    // Vectors of words in the forward pass, and the gradient that the head makes.
    let mut rows = tokens + targets;
    for layer in 0..cfg.n_layers {
        // The last block goes on with the rows that have a loss alone; experts are computed by every rank.
        let after = if layer + 1 == cfg.n_layers {
            targets
        } else {
            tokens
        };
        let inner = if cfg.experts.is_expert_layer(layer) {
            0.0
        } else {
            after
        };
        rows += forward * (after + inner) + tokens + inner;
    }
    let sums = 2.0 * group.share() * rows * cfg.d_model as f64;
    // What the words of a rank say of each label: four numbers for every other rank.
    let told = 4.0 * targets * (tensor - 1) as f64;
    let bytes = sums * job.precision.bytes() + 4.0 * told;
    group.flow(job, Kind::Tensor, bytes)
}

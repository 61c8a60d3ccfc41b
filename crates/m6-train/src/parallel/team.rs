//! A rank among others: what it owns, and how it gets at the rest.

use super::conductor::Conductor;
use super::{ClipBy, ParallelConfig, exchange};
use crate::error::Result;
use m6_model::Model;
use m6_nn::Param;
use m6_nn::dist::{Communicator, GradSum, Shards, Weights};
use m6_nn::optimizer::Optimizer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The ranks of a run, seen from one of them.
pub struct Team {
    pub(super) comm: Arc<dyn Communicator>,
    pub(super) exact: bool,
    pub(super) clip: ClipBy,
    pub(super) zero: u8,
    pub(super) sum: Arc<GradSum>,
    pub(super) weights: Arc<Weights>,
    pub(super) conductor: Arc<Conductor>,
}

impl Team {
    /// The team of a rank that trains `model`, whose weights every rank has; `whole` names the parameters that are updated whole. `None` for
    /// a rank that is alone and needs nothing of this.
    ///
    /// # Errors
    /// A parameter that is not `f32` on the CPU.
    pub fn new(
        comm: &Arc<dyn Communicator>,
        config: &ParallelConfig,
        model: &mut Model,
        whole: &BTreeSet<String>,
    ) -> Result<Option<Self>> {
        if comm.size() == 1 && !config.exact {
            return Ok(None);
        }
        // Spreading state over one rank is keeping it.
        let zero = if comm.size() == 1 { 0 } else { config.zero };
        let params = model.params().iter().filter(|p| p.is_trainable());
        let params: Vec<Param> = params.cloned().collect();
        let n_blocks = model.config().n_layers;
        let mut groups = vec![Vec::new(); n_blocks + 1];
        for (i, param) in params.iter().enumerate() {
            // The last block is first to have its gradients; what is in no block is last.
            let block = Model::block_of(param.name());
            groups[block.map_or(n_blocks, |block| n_blocks - 1 - block)].push(i);
        }
        let sizes: Vec<(usize, bool)> = params
            .iter()
            .map(|p| (p.n_elements(), whole.contains(p.name())))
            .collect();
        let shards = Shards::plan(&sizes, comm.size());
        let sum = Arc::new(GradSum::new(
            Arc::clone(comm),
            params.clone(),
            &groups,
            shards.clone(),
            zero >= 2,
        ));
        let weights = Weights::new(Arc::clone(comm), params, &groups, shards, zero == 3)?;
        let weights = Arc::new(weights);
        let conductor = Arc::new(Conductor::new(
            n_blocks,
            Arc::clone(&sum),
            Arc::clone(&weights),
        ));
        model.set_hooks(conductor.clone());
        Ok(Some(Self {
            comm: Arc::clone(comm),
            exact: config.exact,
            clip: config.clip,
            zero,
            sum,
            weights,
            conductor,
        }))
    }

    /// The other ranks.
    pub fn comm(&self) -> &dyn Communicator {
        self.comm.as_ref()
    }

    /// Seconds spent on the other ranks since the last call.
    pub fn take_waited(&self) -> f64 {
        self.conductor.take_waited()
    }

    /// Whether each rank keeps the moments of its own parts alone.
    pub fn shards_moments(&self) -> bool {
        self.zero >= 1
    }

    /// Whether each rank keeps its own parts of the weights alone.
    pub fn shards_weights(&self) -> bool {
        self.weights.is_parted()
    }

    /// Confines an optimizer to the own parts, where those are all that it keeps.
    ///
    /// # Errors
    /// A parameter that the optimizer does not know.
    pub fn confine(&self, optimizer: &mut Optimizer) -> Result<()> {
        if !self.shards_moments() {
            return Ok(());
        }
        let own = |(i, param): (usize, &Param)| {
            let range = self.weights.shards().of(i)[self.comm.rank()].clone();
            (param.name().to_string(), range)
        };
        let parts: BTreeMap<_, _> = self.weights.params().iter().enumerate().map(own).collect();
        Ok(optimizer.confine(&parts)?)
    }

    /// Runs `f`, on every rank, while the model has all of its weights.
    ///
    /// # Errors
    /// Those of `f`; the transport failed.
    pub fn with_weights<R>(&self, f: impl FnOnce() -> Result<R>) -> Result<R> {
        self.weights.fetch_all()?;
        let out = f();
        self.weights.release_all()?;
        out
    }

    /// The values of a parameter on every rank, one after the other asking for the same.
    ///
    /// # Errors
    /// The transport failed.
    pub fn values(&self, param: &Param) -> Result<Vec<f32>> {
        let params = self.weights.params();
        match params.iter().position(|own| own.name() == param.name()) {
            Some(i) if self.shards_weights() => Ok(self.weights.whole(i)?),
            _ => Ok(param.with_values(<[f32]>::to_vec)?),
        }
    }

    /// The first parameter, in the order of the model, whose own part on some rank is not finite.
    ///
    /// # Errors
    /// A rank failed.
    pub fn first_bad_parameter(&self) -> Result<Option<String>> {
        let mut bad = None;
        for i in 0..self.weights.params().len() {
            let finite = self
                .weights
                .edit(i, |own| own.iter().all(|v| v.is_finite()));
            if bad.is_none() && !finite? {
                bad = Some(i);
            }
        }
        let all = exchange(self.comm(), Ok(bad))?;
        let first = all.into_iter().flatten().min();
        Ok(first.map(|i| self.weights.params()[i].name().to_string()))
    }
}

//! A rank among others: what it owns, and how it gets at the rest.

use super::conductor::Conductor;
use super::mesh::{Mesh, Place, Tensor, place_of};
use super::{ClipBy, ParallelConfig, exchange};
use crate::error::Result;
use m6_model::{Model, ModelConfig};
use m6_nn::dist::{Communicator, ExpertRanks, GradSum, RowExchange, Shards, TensorRanks, Weights};
use m6_nn::ops::{ExpertPeers, Peers};
use m6_nn::optimizer::Optimizer;
use m6_nn::{Param, Part};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Parameters that the same ranks have, with their gradients.
#[derive(Clone)]
pub(super) struct Section {
    pub sum: Arc<GradSum>,
    pub weights: Arc<Weights>,
    /// Numbers of the parameters among those of the team.
    pub numbers: Vec<usize>,
    /// Whether gradients leave in the last round alone: a rank then adds them up itself, in the order of the micro-batches.
    pub late: bool,
}

/// The ranks of a run, seen from one of them.
pub struct Team {
    /// All ranks.
    pub(super) comm: Arc<dyn Communicator>,
    /// Those that have the same parts of the matrices, each with micro-batches of its own.
    pub(super) data: Arc<dyn Communicator>,
    /// Those that have the matrices among them and compute the same micro-batches.
    tensor: Option<Arc<TensorRanks>>,
    model: ModelConfig,
    pub(super) exact: bool,
    pub(super) clip: ClipBy,
    pub(super) zero: u8,
    /// Every parameter that learns.
    pub(super) params: Vec<Param>,
    /// Who updates which part of each.
    pub(super) owned: Shards,
    /// The parameters by where they are.
    pub(super) sections: Vec<Section>,
    pub(super) conductor: Arc<Conductor>,
    rows: Option<Arc<ExpertRanks>>,
    /// The parameters of which this rank has a part, as it has of every matrix.
    split: Vec<Param>,
}

impl Team {
    /// The team of a rank that trains `model`, whose weights every rank has; `whole` names the parameters that are updated whole, and with
    /// `checkpointing` blocks are run again in the backward pass. `None` for a rank that is alone and needs nothing of this.
    ///
    /// # Errors
    /// A parameter that is not `f32` on the CPU; the transport failed.
    pub fn new(
        comm: &Arc<dyn Communicator>,
        config: &ParallelConfig,
        model: &mut Model,
        whole: &BTreeSet<String>,
        checkpointing: bool,
    ) -> Result<Option<Self>> {
        if comm.size() == 1 && !config.exact {
            return Ok(None);
        }
        let n_tensor = config.tensor.clamp(1, comm.size());
        let data = match n_tensor {
            1 => Arc::clone(comm),
            n => comm.split(comm.rank() % n, comm.rank())?,
        };
        let tensor = split_matrices(comm, n_tensor, model)?;
        let zero = config.zero_with(data.size());
        let mesh = Mesh {
            n_ranks: data.size(),
            expert: config.expert,
        };
        let params = model.params().iter().filter(|p| p.is_trainable());
        let params: Vec<Param> = params.cloned().collect();
        let place = |param: &Param| match mesh.expert {
            1 => Place::Shared,
            _ => place_of(param.name(), whole.contains(param.name()), config.exact),
        };
        let split = model.params().iter().filter(|param| !param.is_whole());
        let split: Vec<Param> = split.cloned().collect();
        let rows = spread_experts(&data, config, mesh, model, place)?;
        let dealt = |param: &Param| Tensor {
            // Of experts all, which the mesh cuts; of matrices what is here.
            n_elements: match place(param) {
                Place::Spread => param.n_elements(),
                Place::Shared | Place::Beside => param.n_held(),
            },
            whole: whole.contains(param.name()),
            place: place(param),
        };
        let deal = mesh.deal(&params.iter().map(dealt).collect::<Vec<_>>());
        let n_blocks = model.config().n_layers;
        let mut sections = Vec::new();
        for part in deal.sections {
            // An exchange with nothing in it would still be one.
            if rows.is_some() || part.0 == Place::Shared {
                let late = config.exact && part.0 != Place::Shared;
                sections.push(section(&data, mesh, part, &params, (n_blocks, zero, late))?);
            }
        }
        if zero == 3 || rows.is_some() || tensor.is_some() {
            // The whole model was here until now.
            m6_nn::alloc::trim();
        }
        let conductor = Conductor::new(n_blocks, sections.clone(), rows.clone(), checkpointing);
        let conductor = Arc::new(conductor);
        model.set_hooks(conductor.clone());
        if rows.is_some() {
            let peers: Arc<dyn ExpertPeers> = conductor.clone();
            model.set_expert_peers(&peers);
        }
        Ok(Some(Self {
            comm: Arc::clone(comm),
            data,
            tensor,
            model: model.config().clone(),
            exact: config.exact,
            clip: config.clip,
            zero,
            params,
            owned: deal.owned,
            sections,
            conductor,
            rows,
            split,
        }))
    }

    /// The other ranks.
    pub fn comm(&self) -> &dyn Communicator {
        self.comm.as_ref()
    }

    /// Seconds spent on the other ranks since the last call.
    pub fn take_waited(&self) -> f64 {
        let rows = self.rows.as_ref().map_or(0.0, |rows| rows.take_waited());
        let sums = self
            .tensor
            .as_ref()
            .map_or(0.0, |ranks| ranks.take_waited());
        self.conductor.take_waited() + rows + sums
    }

    /// Ranks that compute the same micro-batches.
    pub(super) fn n_tensor(&self) -> usize {
        self.comm.size() / self.data.size()
    }

    /// The part of a parameter that the rank at `place` of those that share matrices has, where it is split.
    fn split_part(&self, param: &Param, place: usize) -> Option<Part> {
        let shape = param.shape();
        m6_model::split_part(&self.model, param.name(), shape, place, self.n_tensor())
    }

    pub(super) fn is_split(&self, param: &Param) -> bool {
        self.split_part(param, 0).is_some()
    }

    /// Whether this rank speaks for a parameter, which others of those that share matrices may have alike.
    pub(super) fn speaks_for(&self, param: &Param) -> bool {
        let place = self.tensor.as_ref().map_or(0, |ranks| ranks.place());
        place == 0 || self.is_split(param)
    }

    /// Whether each rank keeps the moments of its own parts alone.
    pub fn shards_moments(&self) -> bool {
        self.zero >= 1
    }

    /// Whether no rank has all of the weights.
    pub fn shards_weights(&self) -> bool {
        self.zero == 3 || self.rows.is_some() || self.tensor.is_some()
    }

    /// Confines an optimizer to the own parts, where those are all that it keeps.
    ///
    /// # Errors
    /// A parameter that the optimizer does not know, or a part that its rule cannot update by itself.
    pub fn confine(&self, optimizer: &mut Optimizer) -> Result<()> {
        if !self.shards_moments() {
            return Ok(());
        }
        let own = |(i, param): (usize, &Param)| {
            let range = &self.owned.of(i)[self.data.rank()];
            let ranges = match self.is_split(param) {
                true => param.held().within(range),
                false => vec![range.clone()],
            };
            (param.name().to_string(), ranges)
        };
        let parts: BTreeMap<_, _> = self.params.iter().enumerate().map(own).collect();
        optimizer.confine(&parts)?;
        let others = self.params.iter().filter(|param| !self.speaks_for(param));
        optimizer.save_elsewhere(&others.map(|param| param.name().to_string()).collect());
        Ok(())
    }

    /// Runs `f`, on every rank, while the model has all of its weights.
    ///
    /// # Errors
    /// Those of `f`; the transport failed.
    pub fn with_weights<R>(&self, f: impl FnOnce() -> Result<R>) -> Result<R> {
        // What is spread is put together by itself.
        let shared = &self.sections[..self.sections.len().min(2)];
        for section in shared {
            section.weights.fetch_all()?;
        }
        let spread = self.rows.iter().flat_map(|rows| rows.spread());
        let split = self.split.iter().cloned();
        let parts: Vec<_> = spread
            .chain(split)
            .map(|param| (param.held(), param))
            .collect();
        for (_, param) in &parts {
            param.hold_all(self.values(param)?)?;
        }
        let out = f();
        for (held, param) in parts {
            param.hold(held)?;
            if self.zero == 3 && param.is_trainable() {
                param.release()?;
            }
        }
        for section in shared {
            section.weights.release_all()?;
        }
        if self.shards_weights() {
            m6_nn::alloc::trim();
        }
        out
    }

    /// The values of a parameter on every rank, one after the other asking for the same.
    ///
    /// # Errors
    /// The transport failed.
    pub fn values(&self, param: &Param) -> Result<Vec<f32>> {
        let held = match self.place_of(param) {
            Some((section, i)) if self.zero == 3 => section.weights.whole(i)?,
            _ => param.with_values(<[f32]>::to_vec)?,
        };
        match (&self.rows, &self.tensor) {
            _ if held.len() == param.n_elements() => Ok(held),
            (_, Some(ranks)) if self.is_split(param) => {
                let part = |place| {
                    self.split_part(param, place)
                        .unwrap_or_else(|| param.held())
                };
                Ok(ranks.whole(param, &held, part)?)
            }
            (Some(rows), _) => Ok(rows.whole(&held)?),
            (None, _) => Ok(held),
        }
    }

    /// The section of a parameter that learns, and its number there.
    fn place_of(&self, param: &Param) -> Option<(&Section, usize)> {
        let number = |section: &Section| {
            let mut params = section.weights.params().iter();
            params.position(|own| own.name() == param.name())
        };
        let mut sections = self.sections.iter();
        sections.find_map(|section| Some((section, number(section)?)))
    }

    /// The first parameter, in the order of the model, whose own part on some rank is not finite.
    ///
    /// # Errors
    /// A rank failed.
    pub fn first_bad_parameter(&self) -> Result<Option<String>> {
        let mut bad: Option<usize> = None;
        for section in &self.sections {
            for (i, &number) in section.numbers.iter().enumerate() {
                let finite = section
                    .weights
                    .edit(i, |own| own.iter().all(|v| v.is_finite()));
                if !finite? {
                    bad = Some(bad.map_or(number, |bad| bad.min(number)));
                }
            }
        }
        let all = exchange(self.comm(), Ok(bad))?;
        let first = all.into_iter().flatten().min();
        Ok(first.map(|i| self.params[i].name().to_string()))
    }
}

/// Parameters by the time their gradients are complete: those of the last block first, what is in no block last.
fn groups(params: &[Param], n_blocks: usize) -> Vec<Vec<usize>> {
    let mut groups = vec![Vec::new(); n_blocks + 1];
    for (i, param) in params.iter().enumerate() {
        let block = Model::block_of(param.name());
        groups[block.map_or(n_blocks, |block| n_blocks - 1 - block)].push(i);
    }
    groups
}

/// What the ranks that have the parameters of a place do together, of a model of `n_blocks` under a stage of ZeRO; see [`Section::late`].
fn section(
    comm: &Arc<dyn Communicator>,
    mesh: Mesh,
    (place, numbers, shards): (Place, Vec<usize>, Shards),
    params: &[Param],
    (n_blocks, zero, late): (usize, u8, bool),
) -> Result<Section> {
    let comm = match place {
        Place::Spread => comm.split(mesh.place(comm.rank()), comm.rank())?,
        Place::Shared | Place::Beside => Arc::clone(comm),
    };
    let own: Vec<Param> = numbers.iter().map(|&i| params[i].clone()).collect();
    let groups = groups(&own, n_blocks);
    let (like, of) = (Arc::clone(&comm), shards.clone());
    Ok(Section {
        sum: Arc::new(GradSum::new(like, own.clone(), &groups, of, zero >= 2)),
        weights: Arc::new(Weights::new(comm, own, &groups, shards, zero == 3)?),
        numbers,
        late,
    })
}

/// Splits the matrices of the model over groups of `n` neighbours, where that is more than one.
fn split_matrices(
    comm: &Arc<dyn Communicator>,
    n: usize,
    model: &mut Model,
) -> Result<Option<Arc<TensorRanks>>> {
    if n == 1 {
        return Ok(None);
    }
    let ranks = Arc::new(TensorRanks::new(comm.split(comm.rank() / n, comm.rank())?));
    model.split(ranks.place(), n, &Peers::new(ranks.clone()))?;
    Ok(Some(ranks))
}

/// Spreads the experts of the model over the groups of the mesh, where those are more than one rank.
fn spread_experts(
    comm: &Arc<dyn Communicator>,
    config: &ParallelConfig,
    mesh: Mesh,
    model: &Model,
    place: impl Fn(&Param) -> Place,
) -> Result<Option<Arc<ExpertRanks>>> {
    if mesh.expert == 1 {
        return Ok(None);
    }
    let group = comm.split(mesh.group(comm.rank()), comm.rank())?;
    let exchange = RowExchange {
        apart: config.exact,
        half: config.half_rows,
    };
    let spreads = |param: &Param| place(param) == Place::Spread;
    let rows = ExpertRanks::new(group, exchange, model.expert_layers(), spreads)?;
    Ok(Some(Arc::new(rows)))
}

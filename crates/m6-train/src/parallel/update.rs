//! One update that every rank makes its part of.

use super::team::Section;
use super::{ClipBy, Team, exchange};
use crate::error::{Error, Result};
use crate::evaluate::{HeldOut, TaskLoss};
use crate::step::{StepOutcome, TaskSums, ToldSums, Trainer, clip_factor, first_bad_parameter};
use m6_data::Batch;
use m6_nn::dist::norm_in_order;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// What a rank tells of its micro-batches before the update.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Share {
    n_labels: u64,
    n_tokens: u64,
}

/// What a rank has found in an update.
#[derive(Default, Serialize, Deserialize)]
struct Findings {
    /// Sums of each of its micro-batches, in their order.
    sums: Vec<ToldSums>,
    /// The task whose loss is not finite, and what that may come of.
    fault: Option<(String, String)>,
    /// Bits of the sums of squares of its parts of the gradients.
    squares: Vec<Vec<u64>>,
    /// Whether the rank was told to stop.
    stop: bool,
}

impl Team {
    fn n_rounds(&self, n_batches: usize) -> usize {
        n_batches.div_ceil(self.data.size())
    }

    /// Whether gradients leave in this round of `n`: in each, or in the last one.
    fn sends_in(&self, round: usize, n: usize) -> bool {
        match self.clip {
            ClipBy::Local => false,
            ClipBy::Global => self.exact || self.zero >= 2 || round + 1 == n,
        }
    }

    /// Bits of the sums of squares of the own part of each gradient.
    fn squares(&self) -> Vec<Vec<u64>> {
        let mut all = vec![Vec::new(); self.params.len()];
        for section in &self.sections {
            for (&i, squares) in section.numbers.iter().zip(section.sum.squares()) {
                // Ranks that share matrices have everything else alike.
                if self.speaks_for(&self.params[i]) {
                    all[i] = squares.into_iter().map(f64::to_bits).collect();
                }
            }
        }
        all
    }

    /// What all ranks have told, once for each micro-batch: ranks that share matrices find the same.
    fn of_data<'a, T>(&self, all: &'a [T]) -> impl Iterator<Item = &'a T> + use<'a, T> {
        all.iter().step_by(self.n_tensor())
    }

    /// The norm of the whole gradient, from the squares of every rank, and the first parameter whose part of it is not finite: the same on all.
    fn norm(&self, squares: &[Vec<Vec<f64>>]) -> (f64, Option<usize>) {
        if self.n_tensor() == 1 {
            return self.owned.norm(squares);
        }
        // Ranks may own other parts of uneven pieces: all of them sum in the order of the ranks.
        norm_in_order(self.params.len(), squares, |_, _| ())
    }

    fn told<T: Serialize + serde::de::DeserializeOwned>(&self, mine: Result<T>) -> Result<Vec<T>> {
        let started = Instant::now();
        let all = exchange(self.comm(), mine);
        self.conductor.add_waited(started);
        all
    }
}

impl Trainer {
    /// As [`Trainer::step`], together with the other ranks: `micro_batches` are this rank's of the `accum` there are, dealt out in turn, or what
    /// kept them from being made. Also whether a rank was told to `stop`; all learn of it.
    ///
    /// # Errors
    /// As [`Trainer::step`], the same on every rank; [`Error::Peer`] for what happened to another.
    pub(crate) fn step_together(
        &mut self,
        step: u64,
        micro_batches: Result<&[Batch]>,
        stop: bool,
        last_good: Option<&Path>,
    ) -> Result<(StepOutcome, bool)> {
        match self.team.clone() {
            Some(team) => self.step_in(&team, step, micro_batches, stop, last_good),
            None => Ok((self.step(step, micro_batches?, last_good)?, stop)),
        }
    }

    fn step_in(
        &mut self,
        team: &Team,
        step: u64,
        micro_batches: Result<&[Batch]>,
        stop: bool,
        last_good: Option<&Path>,
    ) -> Result<(StepOutcome, bool)> {
        let share = |batches: &[Batch]| Share {
            n_labels: batches.iter().map(|batch| batch.labels.len() as u64).sum(),
            n_tokens: batches.iter().map(|batch| batch.tokens.len() as u64).sum(),
        };
        let (mine, micro_batches) = match micro_batches {
            Ok(batches) => (Ok(share(batches)), batches),
            Err(error) => (Err(error), &[][..]),
        };
        let shares = team.told(mine)?;
        let n_labels: u64 = team.of_data(&shares).map(|share| share.n_labels).sum();
        if n_labels == 0 {
            return Err(Error::EmptyBatch { step });
        }
        let mut found = self.gradients(team, step, micro_batches, n_labels as usize)?;
        found.stop = stop;
        let started = Instant::now();
        for section in &team.sections {
            section.sum.finish()?;
        }
        team.conductor.add_waited(started);
        found.squares = team.squares();
        let all = team.told(Ok(found))?;
        let stop = all.iter().any(|found| found.stop);
        let (sums, grad_norm) = self.agreed(team, step, &all, last_good)?;
        let lr = self.schedule.lr_at(step);
        let skipped = self.spikes.skips(grad_norm, self.config.spike_factor);
        if !skipped {
            let factor = match team.clip {
                ClipBy::Global => clip_factor(grad_norm, self.config.grad_clip),
                ClipBy::Local => 1.0,
            };
            self.update(team, step, lr, factor)?;
        }
        let outcome = StepOutcome {
            loss: sums.total() / n_labels as f64,
            losses: sums.means(&self.task_names),
            lr,
            grad_norm,
            n_tokens: team.of_data(&shares).map(|share| share.n_tokens).sum(),
            skipped,
            experts: sums.experts(),
        };
        Ok((outcome, stop))
    }

    /// Makes the gradients of this rank's micro-batches and sends them on.
    fn gradients(
        &mut self,
        team: &Team,
        step: u64,
        micro_batches: &[Batch],
        n_labels: usize,
    ) -> Result<Findings> {
        let params = self.model.params();
        params.zero_grads();
        team.sections.iter().for_each(|section| section.sum.clear());
        let (rank, n_ranks) = (team.data.rank(), team.data.size());
        let n_rounds = team.n_rounds(self.config.accum);
        let mut found = Findings::default();
        for round in 0..n_rounds {
            let batch = micro_batches.get(round);
            let batch = batch.filter(|batch| !batch.labels.is_empty() && found.fault.is_none());
            let (sends, last) = (team.sends_in(round, n_rounds), round + 1 == n_rounds);
            team.conductor.begin(true, sends, last)?;
            let mut sums = TaskSums::new(self.task_names.len());
            if let Some(batch) = batch {
                let key = self.dropout_key(step, round * n_ranks + rank);
                if !self.accumulate(batch, n_labels, key, &mut sums)? {
                    let task = sums.first_bad();
                    let task = task.map_or("unknown".to_string(), |task| self.task_name(task));
                    found.fault = Some((task, String::new()));
                }
            }
            found.sums.push(sums.told());
            team.conductor.end()?;
        }
        if let Some((_, parameter)) = &mut found.fault
            && !team.shards_weights()
        {
            *parameter = match first_bad_parameter(params)? {
                Some(name) => format!("the parameter {name} is not finite"),
                None => "every parameter is finite".to_string(),
            };
        }
        if team.clip == ClipBy::Local {
            // Labels weigh by the global batch, so that of its own batch a rank has a `n_ranks`-th of the mean.
            let norm = params.grad_norm() * n_ranks as f64;
            params.scale_grads(clip_factor(norm, self.config.grad_clip));
            team.sections.iter().for_each(|section| section.sum.begin());
        }
        Ok(found)
    }

    /// The sums and the gradient norm of all ranks, or the error that all of them return.
    fn agreed(
        &self,
        team: &Team,
        step: u64,
        all: &[Findings],
        last_good: Option<&Path>,
    ) -> Result<(TaskSums, f64)> {
        let fault = |what, task, parameter| Error::NonFinite {
            step,
            what,
            task,
            parameter,
            last_good: last_good.map(Path::to_path_buf),
        };
        let faults = all.iter().enumerate();
        let mut faults = faults.filter_map(|(rank, found)| Some((rank, found.fault.as_ref()?)));
        if let Some((rank, (task, parameter))) = faults.next() {
            let parameter = match parameter.as_str() {
                "" => format!("on rank {rank}"),
                found => format!("on rank {rank}; {found}"),
            };
            return Err(fault("the loss", task.clone(), parameter));
        }
        let mut sums = TaskSums::new(self.task_names.len());
        for round in 0..team.n_rounds(self.config.accum) {
            for found in team.of_data(all) {
                found
                    .sums
                    .get(round)
                    .into_iter()
                    .for_each(|of| sums.merge(of));
            }
        }
        let squares: Vec<Vec<Vec<f64>>> = all
            .iter()
            .map(|found| {
                let of = |bits: &Vec<u64>| bits.iter().copied().map(f64::from_bits).collect();
                found.squares.iter().map(of).collect()
            })
            .collect();
        let (norm, bad) = team.norm(&squares);
        if !norm.is_finite() {
            let parameter = match bad {
                Some(i) => format!("first in the gradient of {}", team.params[i].name()),
                None => "every single gradient is finite but their norm is not".to_string(),
            };
            return Err(fault(
                "the gradient",
                sums.tasks(&self.task_names),
                parameter,
            ));
        }
        Ok((sums, norm))
    }

    /// Updates the own parts, or everything on every rank.
    fn update(&mut self, team: &Team, step: u64, lr: f64, factor: f32) -> Result<()> {
        let started = Instant::now();
        if team.shards_moments() {
            let optimizer = &mut self.optimizer;
            optimizer.begin_step();
            for Section { sum, weights, .. } in &team.sections {
                sum.each(|i, grad| {
                    let param = &weights.params()[i];
                    weights.edit(i, |own| optimizer.update_part(param, own, grad, lr, factor))?
                })?;
                let started = Instant::now();
                weights.gather()?;
                team.conductor.add_waited(started);
            }
        } else {
            for section in &team.sections {
                section.sum.share()?;
            }
            team.conductor.add_waited(started);
            self.optimizer.step(self.model.params(), lr, factor)?;
        }
        if let Some(ema) = &mut self.ema {
            ema.update(self.model.params(), step)?;
        }
        Ok(())
    }

    /// Held-out losses, each rank scoring its turn of the batches; the same numbers for any number of ranks.
    ///
    /// # Errors
    /// Errors of the operators; a rank failed.
    pub(crate) fn evaluate_together(
        &mut self,
        held_out: &HeldOut,
    ) -> Result<BTreeMap<String, TaskLoss>> {
        let Some(team) = self.team.clone() else {
            return self.with_shown_model(|model| crate::evaluate::evaluate(model, held_out));
        };
        let (rank, n_ranks) = (team.data.rank(), team.data.size());
        let n_rounds = team.n_rounds(held_out.n_batches());
        let own = self.with_shown_model(|model| {
            let mut own = Vec::with_capacity(n_rounds);
            for round in 0..n_rounds {
                team.conductor.begin(false, false, false)?;
                own.push(held_out.score(model, round * n_ranks + rank)?.told());
                team.conductor.end()?;
            }
            Ok(own)
        });
        // A rank that failed between exchanges leaves at once, and its end is the job's: others may wait for it where nothing is told.
        let all: Vec<Vec<ToldSums>> = team.told(Ok(own?))?;
        let mut sums = TaskSums::new(held_out.task_names().len());
        for round in 0..n_rounds {
            team.of_data(&all).for_each(|own| sums.merge(&own[round]));
        }
        Ok(held_out.losses(&sums))
    }
}

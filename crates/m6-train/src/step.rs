//! One update: accumulate over micro-batches, guard, clip, step.

use crate::blockwise::Blockwise;
use crate::config::TrainConfig;
use crate::ema::{Ema, values};
use crate::error::{Error, Result};
use crate::experts::{ExpertReport, ExpertSums};
use crate::parallel::{ParallelConfig, Team};
use crate::schedule::Schedule;
use crate::spike::SpikeGuard;
use m6_data::Batch;
use m6_model::{ForwardOptions, Model, ModelInput};
use m6_nn::Params;
use m6_nn::dist::Communicator;
use m6_nn::optimizer::{Optimizer, OptimizerConfig};
use m6_store::rng::Key;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// Everything that an update reads and writes, apart from the data.
pub struct Trainer {
    /// The network.
    pub model: Model,
    /// Its optimizer.
    pub optimizer: Optimizer,
    /// The average of the weights, when it is on.
    pub ema: Option<Ema>,
    /// Recent gradient norms.
    pub spikes: SpikeGuard,
    /// The ranks that train together, where there are several.
    pub(crate) team: Option<Arc<Team>>,
    /// What updates blocks within the backward pass, where that is asked for.
    pub(crate) blockwise: Option<Arc<Blockwise>>,
    pub(crate) config: TrainConfig,
    pub(crate) schedule: Schedule,
    pub(crate) task_names: Vec<String>,
}

/// What an update found.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutcome {
    /// Mean negative log-likelihood over the labels of the global batch, in nats, without label smoothing.
    pub loss: f64,
    /// The same per task with a label in the batch, in the order of the task names.
    pub losses: Vec<(String, f64)>,
    /// Learning rate.
    pub lr: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Tokens of the global batch.
    pub n_tokens: u64,
    /// True when the update was skipped for its gradient norm.
    pub skipped: bool,
    /// How evenly tokens went to experts; `None` for a model without.
    pub experts: Option<ExpertReport>,
}

impl Trainer {
    /// A trainer at step 0 around a fresh or loaded model; `task_names` are those of the loader, in its order.
    ///
    /// # Errors
    /// The optimizer or the average cannot be made.
    pub fn new(mut model: Model, config: &TrainConfig, task_names: Vec<String>) -> Result<Self> {
        if !config.freeze.is_empty() {
            model.freeze(&config.freeze).map_err(refused)?;
        }
        let hidden = model.hidden_matrices();
        let mut optimizer = Optimizer::with_rules(
            model.params(),
            OptimizerConfig {
                betas: config.betas.into(),
                eps: config.eps,
                weight_decay: config.weight_decay,
                momentum: config.momentum,
            },
            |param| config.optimizer.rule(param.name(), &hidden),
        );
        if config.layer_decay != 1.0 {
            optimizer.scale_lr(&model.lr_scales(config.layer_decay))?;
        }
        let ema = if 0.0 < config.ema {
            Some(Ema::new(model.params(), config.ema)?)
        } else {
            None
        };
        let blockwise = config.blockwise.then(|| Blockwise::new(&mut model));
        Ok(Self {
            model,
            optimizer,
            ema,
            blockwise,
            spikes: SpikeGuard::default(),
            team: None,
            config: config.clone(),
            schedule: config.schedule(),
            task_names,
        })
    }

    /// Makes the trainer one of the ranks of `comm`, all of which have the same weights now; before the first update, and before moments are
    /// loaded.
    ///
    /// # Errors
    /// A parameter that cannot be spread.
    pub fn join(&mut self, comm: &Arc<dyn Communicator>, parallel: &ParallelConfig) -> Result<()> {
        let whole = self.optimizer.indivisible();
        let again = self.config.activation_checkpointing;
        let team = Team::new(comm, parallel, &mut self.model, &whole, again)?;
        if let Some(team) = &team {
            team.confine(&mut self.optimizer)?;
        }
        self.team = team.map(Arc::new);
        Ok(())
    }

    /// Starts the average anew at the present weights, when it is on.
    pub(crate) fn restart_ema(&mut self) -> Result<()> {
        if self.ema.is_some() {
            self.ema = Some(Ema::new(self.model.params(), self.config.ema)?);
        }
        Ok(())
    }

    /// Makes update `step` (counted from 1) from the micro-batches of one global batch.
    ///
    /// Every label weighs 1 / labels of the global batch, and the gradients of the micro-batches are summed in their
    /// order, so that without dropout the cut into micro-batches changes no more than the rounding (dropout draws anew for
    /// every micro-batch). `last_good` is only named in errors.
    ///
    /// # Errors
    /// [`Error::NonFinite`] before anything is changed; [`Error::EmptyBatch`]; errors of the operators.
    pub fn step(
        &mut self,
        step: u64,
        micro_batches: &[Batch],
        last_good: Option<&Path>,
    ) -> Result<StepOutcome> {
        let n_labels: usize = micro_batches.iter().map(|batch| batch.labels.len()).sum();
        if n_labels == 0 {
            return Err(Error::EmptyBatch { step });
        }
        if let (Some(blockwise), [batch]) = (self.blockwise.clone(), micro_batches) {
            return self.step_blockwise(&blockwise, step, batch, last_good);
        }
        let params = self.model.params();
        params.zero_grads();
        let mut sums = TaskSums::new(self.task_names.len());
        for (i, batch) in micro_batches
            .iter()
            .enumerate()
            .filter(|(_, batch)| !batch.labels.is_empty())
        {
            let finite = self.accumulate(batch, n_labels, self.dropout_key(step, i), &mut sums)?;
            if !finite {
                return Err(self.loss_fault(step, &sums, last_good)?);
            }
        }
        let grad_norm = params.grad_norm();
        if !grad_norm.is_finite() {
            return Err(Error::NonFinite {
                step,
                what: "the gradient",
                task: sums.tasks(&self.task_names),
                parameter: first_bad_gradient(params),
                last_good: last_good.map(Path::to_path_buf),
            });
        }
        let lr = self.schedule.lr_at(step);
        let skipped = self.spikes.skips(grad_norm, self.config.spike_factor);
        if !skipped {
            self.optimizer
                .step(params, lr, clip_factor(grad_norm, self.config.grad_clip))?;
            if let Some(ema) = &mut self.ema {
                ema.update(params, step)?;
            }
        }
        Ok(StepOutcome {
            loss: sums.total() / n_labels as f64,
            losses: sums.means(&self.task_names),
            lr,
            grad_norm,
            n_tokens: micro_batches
                .iter()
                .map(|batch| batch.tokens.len() as u64)
                .sum(),
            skipped,
            experts: sums.experts(),
        })
    }

    /// What is said of a loss that is not finite.
    pub(crate) fn loss_fault(
        &self,
        step: u64,
        sums: &TaskSums,
        last_good: Option<&Path>,
    ) -> Result<Error> {
        let parameter = match first_bad_parameter(self.model.params())? {
            Some(name) => format!("the parameter {name} is not finite"),
            None => "every parameter is finite".to_string(),
        };
        Ok(Error::NonFinite {
            step,
            what: "the loss",
            task: sums
                .first_bad
                .map_or("unknown".to_string(), |task| self.task_name(task)),
            parameter,
            last_good: last_good.map(Path::to_path_buf),
        })
    }

    /// Forward and backward of one micro-batch; false, with no gradient made, when its loss is not finite.
    pub(crate) fn accumulate(
        &self,
        batch: &Batch,
        n_labels: usize,
        dropout_key: u64,
        sums: &mut TaskSums,
    ) -> Result<bool> {
        let of_label = 1.0 / n_labels as f32;
        let share = batch.labels.len() as f64 / n_labels as f64;
        let (weights, aux_share) = match batch.weights.as_slice() {
            [] => (vec![of_label; batch.labels.len()], None),
            weights => {
                let weights = weights.iter().map(|weight| of_label * weight);
                (weights.collect(), Some(share))
            }
        };
        let options = ForwardOptions {
            train: true,
            dropout_key,
            drop_path: self.config.drop_path,
            label_smoothing: self.config.label_smoothing,
            checkpoint: self.config.activation_checkpointing,
            aux_share,
            eval_capacity: false,
        };
        let output = self
            .model
            .forward(&model_input(batch, &weights), &options)?;
        sums.add(&batch.tasks, &output.nll);
        sums.experts.add(&output.experts, share);
        let loss: f32 = output.loss.to_scalar().map_err(m6_nn::Error::from)?;
        if !loss.is_finite() || sums.first_bad.is_some() {
            return Ok(false);
        }
        m6_nn::backward(&output.loss, self.model.params())?;
        Ok(true)
    }

    /// One key per (seed, step, micro-batch): the same masks however the run was interrupted.
    pub(crate) fn dropout_key(&self, step: u64, micro_batch: usize) -> u64 {
        Key::new(self.config.seed)
            .child("dropout")
            .at(step)
            .at(micro_batch as u64)
            .stream()
            .next_u64()
    }

    pub(crate) fn task_name(&self, task: u8) -> String {
        self.task_names
            .get(usize::from(task))
            .cloned()
            .unwrap_or_else(|| format!("number {task}"))
    }

    /// Runs `f` on the model that is shown and scored: with the averaged weights when the average is on.
    ///
    /// # Errors
    /// Those of `f`, or a parameter that cannot be swapped.
    pub fn with_shown_model<R>(&mut self, f: impl FnOnce(&Model) -> Result<R>) -> Result<R> {
        let model = &self.model;
        match &mut self.ema {
            Some(ema) => ema.with_average(model.params(), || f(model)),
            None => f(model),
        }
    }
}

/// Settings that the model has no place for.
fn refused(error: m6_model::Error) -> Error {
    match error {
        m6_model::Error::Config(problems) => Error::Config {
            problems: problems.iter().map(|p| format!("train.{p}")).collect(),
        },
        other => other.into(),
    }
}

/// The plain arrays of a batch as the model reads them; one loss weight per label.
pub(crate) fn model_input<'a>(batch: &'a Batch, loss_weights: &'a [f32]) -> ModelInput<'a> {
    ModelInput {
        tokens: &batch.tokens,
        positions: &batch.positions,
        segments: &batch.segments,
        prefixes: &batch.prefixes,
        targets: &batch.targets,
        pictures: &batch.pictures,
        picture_at: &batch.picture_at,
        loss_at: &batch.loss_at,
        labels: &batch.labels,
        loss_weights,
    }
}

/// What the gradients are scaled by so that their norm is at most `limit` (0: no limit).
pub(crate) fn clip_factor(norm: f64, limit: f64) -> f32 {
    if limit <= 0.0 || norm <= limit {
        1.0
    } else {
        (limit / norm) as f32
    }
}

/// Sums of negative log-likelihoods per task, in f64 and in the order of the labels.
pub(crate) struct TaskSums {
    sums: Vec<(f64, u64)>,
    first_bad: Option<u8>,
    experts: ExpertSums,
}

/// [`TaskSums`] as ranks tell each other: sums as bits, since JSON may round.
#[derive(Serialize, Deserialize)]
pub(crate) struct ToldSums {
    losses: Vec<(u64, u64)>,
    experts: ExpertSums,
}

impl TaskSums {
    pub fn new(n_tasks: usize) -> Self {
        Self {
            sums: vec![(0.0, 0); n_tasks],
            first_bad: None,
            experts: ExpertSums::default(),
        }
    }

    /// Adds the labels of one micro-batch; a task index the loader did not name is counted all the same.
    pub fn add(&mut self, tasks: &[u8], nll: &[f32]) {
        for (&task, &nll) in tasks.iter().zip(nll) {
            if !nll.is_finite() && self.first_bad.is_none() {
                self.first_bad = Some(task);
            }
            if self.sums.len() <= usize::from(task) {
                self.sums.resize(usize::from(task) + 1, (0.0, 0));
            }
            let (sum, n) = &mut self.sums[usize::from(task)];
            *sum += f64::from(nll);
            *n += 1;
        }
    }

    /// The sums to be told to another rank.
    pub fn told(&self) -> ToldSums {
        let bits = |&(sum, n): &(f64, u64)| (sum.to_bits(), n);
        ToldSums {
            losses: self.sums.iter().map(bits).collect(),
            experts: self.experts.clone(),
        }
    }

    /// Adds the sums of other labels.
    pub fn merge(&mut self, told: &ToldSums) {
        if self.sums.len() < told.losses.len() {
            self.sums.resize(told.losses.len(), (0.0, 0));
        }
        for ((sum, n), (more, n_more)) in self.sums.iter_mut().zip(&told.losses) {
            *sum += f64::from_bits(*more);
            *n += n_more;
        }
        self.experts.merge(&told.experts);
    }

    /// How the tokens went to experts.
    pub fn experts(self) -> Option<ExpertReport> {
        self.experts.report()
    }

    /// The task of the first label whose loss is not finite.
    pub fn first_bad(&self) -> Option<u8> {
        self.first_bad
    }

    pub fn total(&self) -> f64 {
        self.sums.iter().map(|(sum, _)| sum).sum()
    }

    /// Mean and number of labels of a task; `None` when it had none.
    pub fn mean(&self, task: usize) -> Option<(f64, u64)> {
        let &(sum, n) = self.sums.get(task)?;
        (0 < n).then(|| (sum / n as f64, n))
    }

    pub fn means(&self, names: &[String]) -> Vec<(String, f64)> {
        let means = names
            .iter()
            .enumerate()
            .filter_map(|(i, name)| Some((name.clone(), self.mean(i)?.0)));
        means.collect()
    }

    pub fn tasks(&self, names: &[String]) -> String {
        let present: Vec<String> = self
            .means(names)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        format!("one of {}", present.join(", "))
    }
}

/// The first parameter that is itself not finite: the usual cause of a loss that is not.
pub(crate) fn first_bad_parameter(params: &Params) -> Result<Option<String>> {
    for param in params.iter() {
        if values(param)?.iter().any(|value| !value.is_finite()) {
            return Ok(Some(param.name().to_string()));
        }
    }
    Ok(None)
}

fn first_bad_gradient(params: &Params) -> String {
    let bad = params
        .iter()
        .find(|param| param.with_grad(|grad| grad.iter().any(|g| !g.is_finite())) == Some(true));
    match bad {
        Some(param) => format!("first in the gradient of {}", param.name()),
        None => "every single gradient is finite but their norm is not".to_string(),
    }
}

//! Updates in the course of the backward pass, one block after the other, so that the gradients of two blocks never exist at the same time
//! (ours, for M6-10T's aim of more parameters than memory has room for; known as LOMO, Lv and others 2023).
//!
//! What it costs: a gradient cannot be clipped by the norm of all, since that is known at the end; each block's is clipped by its own. And a
//! gradient that is not finite is found when the blocks above are updated already, so the run ends there and goes on from its last checkpoint.

use crate::error::{Error, Result};
use crate::step::{StepOutcome, TaskSums, Trainer, clip_factor};
use m6_data::Batch;
use m6_model::Model;
use m6_nn::Param;
use m6_nn::ops::BlockHooks;
use m6_nn::optimizer::Optimizer;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What updates blocks while a backward pass goes down through them.
pub(crate) struct Blockwise {
    /// The learning parameters of each block, and behind the last those of none.
    groups: Vec<Vec<Param>>,
    pass: Mutex<Option<Pass>>,
}

/// One backward pass.
struct Pass {
    optimizer: Optimizer,
    lr: f64,
    limit: f64,
    /// Sum of the squares of all gradients so far.
    squares: f64,
    /// The parameter whose gradient is not finite: nothing is updated from there on.
    bad: Option<String>,
}

impl Blockwise {
    /// For the parameters of `model` that learn; the model tells it from now on where it is.
    pub fn new(model: &mut Model) -> Arc<Self> {
        let n_blocks = model.config().n_layers;
        let mut groups = vec![Vec::new(); n_blocks + 1];
        for param in model.params().iter().filter(|p| p.is_trainable()) {
            let block = Model::block_of(param.name());
            groups[block.map_or(n_blocks, |block| block.min(n_blocks))].push(param.clone());
        }
        let own = Arc::new(Self {
            groups,
            pass: Mutex::new(None),
        });
        model.set_hooks(own.clone());
        own
    }

    fn pass(&self) -> MutexGuard<'_, Option<Pass>> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, mut optimizer: Optimizer, lr: f64, limit: f64) {
        optimizer.begin_step();
        *self.pass() = Some(Pass {
            optimizer,
            lr,
            limit,
            squares: 0.0,
            bad: None,
        });
    }

    fn end(&self) -> Option<Pass> {
        self.pass().take()
    }

    /// Clips and applies the gradients of a group, and lets their memory go.
    fn update(&self, group: usize) -> m6_nn::Result<()> {
        let mut guard = self.pass();
        // Forward passes without a backward one come by here too.
        let Some(pass) = guard.as_mut() else {
            return Ok(());
        };
        let params = &self.groups[group];
        let squares: Vec<f64> = params.iter().map(Param::grad_squares).collect();
        let bad = squares.iter().position(|sum| !sum.is_finite());
        if pass.bad.is_none() {
            pass.bad = bad.map(|i| params[i].name().to_string());
        }
        let norm = squares.iter().sum::<f64>();
        pass.squares += norm;
        let factor = clip_factor(norm.sqrt(), pass.limit);
        for param in params {
            if pass.bad.is_none() {
                pass.optimizer.update_one(param, pass.lr, factor)?;
            }
            drop(param.take_grad());
        }
        Ok(())
    }
}

impl BlockHooks for Blockwise {
    fn enter(&self, _: usize) -> m6_nn::Result<()> {
        Ok(())
    }

    fn leave(&self, _: usize) -> m6_nn::Result<()> {
        Ok(())
    }

    fn done(&self, i: usize) -> m6_nn::Result<()> {
        self.update(i)
    }
}

impl Trainer {
    /// As [`Trainer::step`] with one micro-batch, updating each block as soon as its gradient is there.
    pub(crate) fn step_blockwise(
        &mut self,
        blockwise: &Blockwise,
        step: u64,
        batch: &Batch,
        last_good: Option<&Path>,
    ) -> Result<StepOutcome> {
        let n_labels = batch.labels.len();
        let lr = self.schedule.lr_at(step);
        let mut sums = TaskSums::new(self.task_names.len());
        // The optimizer is with the hooks while the pass lasts.
        let optimizer = std::mem::replace(&mut self.optimizer, Optimizer::of_nothing());
        blockwise.begin(optimizer, lr, self.config.grad_clip);
        let made = self.accumulate(batch, n_labels, self.dropout_key(step, 0), &mut sums);
        let rest = match &made {
            Ok(true) => blockwise.update(blockwise.groups.len() - 1),
            _ => Ok(()),
        };
        let pass = blockwise
            .end()
            .expect("begun above, and nobody else ends it");
        self.optimizer = pass.optimizer;
        let finite = made?;
        rest?;
        if !finite {
            return Err(self.loss_fault(step, &sums, last_good)?);
        }
        if let Some(parameter) = pass.bad {
            return Err(Error::NonFinite {
                step,
                what: "the gradient",
                task: sums.tasks(&self.task_names),
                parameter: format!("{parameter} (blocks above it are updated already)"),
                last_good: last_good.map(Path::to_path_buf),
            });
        }
        if let Some(ema) = &mut self.ema {
            ema.update(self.model.params(), step)?;
        }
        Ok(StepOutcome {
            loss: sums.total() / n_labels as f64,
            losses: sums.means(&self.task_names),
            lr,
            grad_norm: pass.squares.sqrt(),
            n_tokens: batch.tokens.len() as u64,
            skipped: false,
            experts: sums.experts(),
        })
    }
}

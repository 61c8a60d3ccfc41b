//! Held-out loss per task on fixed rows.

use crate::error::Result;
use crate::step::{TaskSums, model_input};
use m6_data::{Batch, Loader};
use m6_model::{ForwardOptions, Model};
use std::collections::BTreeMap;

/// The held-out rows of a run, drawn once; their noise is keyed, so every evaluation sees the same batches.
pub struct HeldOut {
    batches: Vec<Batch>,
    task_names: Vec<String>,
}

/// Held-out loss of one task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskLoss {
    /// Mean negative log-likelihood over the labels, in nats.
    pub nll: f64,
    /// Labels it is the mean of.
    pub n_labels: u64,
}

impl HeldOut {
    /// Draws up to `max_rows` held-out rows of each task, in batches of `rows_per_batch`.
    ///
    /// # Errors
    /// The rows cannot be read.
    pub fn draw(loader: &Loader, max_rows: usize, rows_per_batch: usize) -> Result<Self> {
        let task_names = loader.task_names().to_vec();
        let mut batches = Vec::new();
        for task in &task_names {
            for rows in loader
                .held_out_rows(task, max_rows)
                .chunks(rows_per_batch.max(1))
            {
                batches.push(loader.batch(rows)?);
            }
        }
        Ok(Self {
            batches,
            task_names,
        })
    }

    /// Number of batches.
    pub(crate) fn n_batches(&self) -> usize {
        self.batches.len()
    }

    /// Names of the tasks, in the order of the loader.
    pub(crate) fn task_names(&self) -> &[String] {
        &self.task_names
    }

    /// Sums of the losses of batch `i`; none when there is no such batch or it has no labels.
    pub(crate) fn score(&self, model: &Model, i: usize) -> Result<TaskSums> {
        let mut sums = TaskSums::new(self.task_names.len());
        if let Some(batch) = self.batches.get(i) {
            self.add(model, batch, &mut sums)?;
        }
        Ok(sums)
    }

    /// Adds the losses of a batch, with the room that experts have in evaluations.
    fn add(&self, model: &Model, batch: &Batch, sums: &mut TaskSums) -> Result<()> {
        if batch.labels.is_empty() {
            return Ok(());
        }
        let options = ForwardOptions {
            eval_capacity: true,
            ..ForwardOptions::default()
        };
        let weights = vec![1.0 / batch.labels.len() as f32; batch.labels.len()];
        let output = m6_nn::no_grad(|| model.forward(&model_input(batch, &weights), &options))?;
        sums.add(&batch.tasks, &output.nll);
        Ok(())
    }

    /// Means of the tasks that have labels.
    pub(crate) fn losses(&self, sums: &TaskSums) -> BTreeMap<String, TaskLoss> {
        let names = self.task_names.iter().enumerate();
        let losses = names.filter_map(|(i, name)| {
            let (nll, n_labels) = sums.mean(i)?;
            Some((name.clone(), TaskLoss { nll, n_labels }))
        });
        losses.collect()
    }

    /// True when the data set holds nothing out.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

/// Scores the model without dropout and label smoothing; tasks without held-out rows are left out.
///
/// # Errors
/// Errors of the operators.
pub fn evaluate(model: &Model, held_out: &HeldOut) -> Result<BTreeMap<String, TaskLoss>> {
    let mut sums = TaskSums::new(held_out.task_names.len());
    for batch in &held_out.batches {
        held_out.add(model, batch, &mut sums)?;
    }
    Ok(held_out.losses(&sums))
}

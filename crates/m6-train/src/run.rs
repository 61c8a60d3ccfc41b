//! The loop over updates: prefetch, step, observe, evaluate, checkpoint, stop.

use crate::checkpoint::{
    Best, SavedConfig, Snapshot, TrainState, read, restore, restore_moments, save, save_together,
};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::evaluate::HeldOut;
use crate::init::Start;
use crate::metrics::{MetricsLog, StepReport};
use crate::parallel::exchange;
use crate::parallel::heartbeat::Heartbeat;
use crate::parallel::start::{open_folder, share, start_heartbeat};
use crate::prefetch::{self, Deal, GlobalBatch};
use crate::resume::{OpenMode, Resumed, RunFolder, check_same_run};
use crate::setup::{
    DataSet, PretrainSpec, RunCard, check_config, first_state, keep_coder, trained_tasks,
    write_run_files,
};
use crate::step::{StepOutcome, Trainer, first_bad_parameter};
use crate::tensorboard::EventWriter;
use m6_model::Model;
use m6_nn::threads::on_pool;
use m6_store::checkpoints::prune_but;
use m6_store::scratch::Scratch;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Who watches a run: progress, samples, terminal. Nothing an observer does changes what is learned.
pub trait Observer {
    /// The run is about to make update `step + 1` of `steps`; `step` is above 0 when resumed.
    fn on_start(&mut self, _step: u64, _steps: u64) {}
    /// After every update.
    fn on_step(&mut self, _report: &StepReport) {}
    /// After every evaluation: held-out loss per task, in nats per label.
    fn on_eval(&mut self, _step: u64, _losses: &BTreeMap<String, f64>) {}
    /// How good the model is at an evaluation, where the run keeps its best checkpoint or may stop early: higher is better, and the same
    /// for the same weights. `None`, as by default, takes minus the mean of the held-out losses; an error stops the run. The model has no
    /// adapters: they are merged.
    ///
    /// # Errors
    /// What keeps the model from being scored, in words.
    fn score(
        &mut self,
        _step: u64,
        _model: &Model,
        _losses: &BTreeMap<String, f64>,
    ) -> std::result::Result<Option<f64>, String> {
        Ok(None)
    }
    /// After every committed checkpoint.
    fn on_checkpoint(&mut self, _step: u64, _path: &Path) {}
    /// When a VQGAN has rebuilt its held-out pictures: both as `3 * side * side` bytes each, channels first.
    fn on_rebuilt(&mut self, _step: u64, _side: usize, _pictures: &[&[u8]], _rebuilt: &[Vec<u8>]) {}
    /// When samples are due; the model holds the averaged weights when the average is on.
    fn sample(&mut self, _step: u64, _model: &Model) {}
}

/// An observer that watches nothing.
pub struct Silent;

impl Observer for Silent {}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Updates made since the start of the run.
    pub steps: u64,
    /// Tokens seen since the start of the run.
    pub tokens: u64,
    /// Seconds of training since the start of the run, over all its processes.
    pub seconds: f64,
    /// Tokens per second of this process, evaluations and checkpoints included; 0 when it made no update.
    pub tokens_per_s: f64,
    /// Highest resident memory of this process in MB; 0 where the system does not say.
    pub peak_rss_mb: f64,
    /// The last held-out loss per task.
    pub eval: BTreeMap<String, f64>,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// True when stopped from outside before the last update.
    pub interrupted: bool,
    /// True when the held-out score had not become better for as many evaluations as `patience` allows.
    pub stopped_early: bool,
    /// The best evaluation, where the best checkpoint is kept.
    pub best: Option<Best>,
}

/// Trains a model, or goes on training it, until the last update or until `spec.stop` is set.
///
/// # Errors
/// Settings that cannot be trained, a folder that may not be used, data that cannot be read, a loss or gradient that
/// is not finite, or a checkpoint that cannot be written. Committed checkpoints stay valid in every case.
pub fn pretrain(spec: &PretrainSpec<'_>, observer: &mut dyn Observer) -> Result<Outcome> {
    let (rank, n_ranks) = (spec.comm.rank(), spec.comm.size());
    check_config(spec.model_cfg, spec.train_cfg, spec.parallel, n_ranks)?;
    if spec.reword.is_some() && n_ranks > 1 {
        let problem = format!("a reward is learned by one process alone, and there are {n_ranks}");
        return Err(Error::Config {
            problems: vec![problem],
        });
    }
    let data = DataSet::open(spec.data_dir, spec.model_cfg, spec.train_cfg, spec.mixture)?;
    let mut run = Run::open(spec, &data)?;
    observer.on_start(run.state.step, spec.train_cfg.steps);
    let n_steps = spec.train_cfg.steps.saturating_sub(run.state.step);
    let TrainConfig {
        rows_per_batch,
        accum,
        ..
    } = *spec.train_cfg;
    std::thread::scope(|scope| {
        let cursor = run.state.cursor.clone();
        let deal = Deal {
            rank: rank / spec.parallel.tensor,
            n_ranks: spec.parallel.n_data(n_ranks),
        };
        let loader = &data.loader;
        let batches = prefetch::start(scope, loader, cursor, n_steps, rows_per_batch, accum, deal);
        for _ in 0..n_steps {
            // Alone, a run stops at once; ranks stop after the update in which they have told each other.
            let stop = n_ranks == 1 && spec.stop.load(Ordering::Relaxed);
            if stop || run.told_to_stop || run.is_over() {
                break;
            }
            // A closed channel means that the helper panicked; leaving the scope passes its panic on.
            let Ok(batch) = batches.recv() else { break };
            run.advance(batch, observer)?;
        }
        Ok::<(), Error>(())
    })?;
    run.finish(observer)
}

/// A run between two updates.
struct Run<'a> {
    spec: &'a PretrainSpec<'a>,
    /// Where the run is kept, of the first rank alone.
    log: Option<RunLog>,
    checkpoints: PathBuf,
    heartbeat: Option<Heartbeat>,
    told_to_stop: bool,
    trainer: Trainer,
    held_out: HeldOut,
    state: TrainState,
    saved_config: SavedConfig,
    tokenizer_json: String,
    last_good: Option<(u64, PathBuf)>,
    last_eval: Option<(u64, BTreeMap<String, f64>)>,
    started: Instant,
    started_at: (u64, f64),
    step_started: Instant,
}

/// What one rank writes for all: the folder with its lock, and the numbers of every step.
struct RunLog {
    _folder: RunFolder,
    metrics: MetricsLog,
    events: EventWriter,
}

impl<'a> Run<'a> {
    fn open(spec: &'a PretrainSpec<'a>, data: &DataSet) -> Result<Self> {
        let mode = match (spec.resume, spec.overwrite) {
            (true, _) => OpenMode::Resume,
            (false, true) => OpenMode::Overwrite,
            (false, false) => OpenMode::Fresh,
        };
        let (folder, resumed) = open_folder(spec.comm.as_ref(), spec.run_dir, mode)?;
        let patch_weights = spec.patch_weights.map(read).transpose()?;
        let start = spec.init_model;
        let start = start.map(|path| Start::read(path, spec.init_optimizer));
        let start = start.transpose()?;
        let mut state = first_state(spec, data, patch_weights.as_deref(), start.as_ref());
        if let Some(resumed) = &resumed {
            check_same_run(resumed, &state)?;
        }
        let heartbeat = start_heartbeat(spec.comm, spec.run_dir, resumed.as_ref())?;
        let model = Model::new(spec.model_cfg, spec.train_cfg.seed)?;
        if let (None, Some(start)) = (&resumed, &start) {
            let fresh = start.take_over(&model, &data.tokenizer)?;
            tracing::info!("begun anew, whole or in part: {}", fresh.join(", "));
        }
        if let (None, Some(path), Some(bytes)) = (&resumed, spec.patch_weights, &patch_weights) {
            let unused = model.load_patch_network(bytes);
            let unused = unused.map_err(|error| Error::damaged(path, error))?;
            tracing::info!("{}: {} tensors not needed", path.display(), unused.len());
        }
        let mut trainer = Trainer::new(model, spec.train_cfg, data.task_names())?;
        if let Some(Resumed { path, state: saved }) = &resumed {
            restore(path, &mut trainer, saved)?;
            state = TrainState {
                schedule: state.schedule,
                world: state.world,
                ..saved.clone()
            };
        }
        trainer.join(spec.comm, spec.parallel)?;
        if spec.train_cfg.offload_moments {
            let scratch = Scratch::create(spec.run_dir)?;
            trainer.optimizer.offload(Arc::new(scratch))?;
        }
        match (&resumed, &start) {
            (Some(Resumed { path, .. }), _) => restore_moments(path, &mut trainer)?,
            (None, Some(start)) if spec.init_optimizer => start.take_over_moments(&mut trainer)?,
            _ => {}
        }
        let card = RunCard {
            data_dir: spec.data_dir,
            n_params: m6_model::count(spec.model_cfg).params_total,
            tasks: trained_tasks(&data.loader),
            config_toml: spec.config_toml,
            resolved_toml: spec.resolved_toml,
        };
        let log = folder.map(|folder| {
            write_run_files(&folder, &card, &state)?;
            keep_coder(spec.data_dir, folder.dir())?;
            Ok::<_, Error>(RunLog {
                metrics: MetricsLog::open(folder.dir(), state.step)?,
                events: EventWriter::create(folder.dir(), state.step)?,
                _folder: folder,
            })
        });
        let log = share(spec.comm.as_ref(), log.transpose())?;
        let held_out = data.held_out(spec.train_cfg)?;
        if spec.train_cfg.keeps_best() && held_out.is_empty() {
            let problem = "train.keep_best: the data holds nothing out of the trained tasks, so no checkpoint is better than another; \
                           prepare it with held_out, or set train.keep_best = false and train.patience = 0";
            return Err(Error::Config {
                problems: vec![problem.to_string()],
            });
        }
        let now = Instant::now();
        Ok(Self {
            spec,
            trainer,
            held_out,
            saved_config: data.saved_config(spec.model_cfg),
            tokenizer_json: data.tokenizer.to_json(),
            last_good: resumed.map(|resumed| (resumed.state.step, resumed.path)),
            last_eval: None,
            started: now,
            started_at: (state.tokens, state.seconds),
            step_started: now,
            checkpoints: RunFolder::checkpoints_in(spec.run_dir),
            heartbeat,
            told_to_stop: false,
            log,
            state,
        })
    }

    /// One update and everything that is due after it.
    fn advance(&mut self, batch: Result<GlobalBatch>, observer: &mut dyn Observer) -> Result<()> {
        let step = self.state.step + 1;
        let last_good = self.last_good.as_ref().map(|(_, path)| path.as_path());
        let trainer = &mut self.trainer;
        let (batches, cursor) = match batch {
            Ok(batch) => (Ok(batch.micro_batches), Some(batch.cursor)),
            Err(error) => (Err(error), None),
        };
        let stop = self.spec.stop.load(Ordering::Relaxed);
        let mut reward = None;
        let (outcome, stop) = on_pool(|| match batches {
            Ok(mut batches) => {
                if let Some(reword) = self.spec.reword {
                    let (new, mean) = trainer.reworded(reword, step, &batches)?;
                    (batches, reward) = (new, Some(mean));
                }
                trainer.step_together(step, Ok(&batches), stop, last_good)
            }
            Err(error) => trainer.step_together(step, Err(error), stop, last_good),
        })?;
        self.told_to_stop = stop && self.trainer.team.is_some();
        self.state.step = step;
        // Without a batch there was an error above.
        self.state.cursor = cursor.unwrap_or_default();
        self.state.tokens += outcome.n_tokens;
        let mut report = self.report(&outcome, reward);
        let mut is_best = false;
        if self.due(self.spec.train_cfg.eval_every) && !self.held_out.is_empty() {
            report.eval = self.evaluate()?;
            if self.spec.train_cfg.keeps_best() {
                (report.score, is_best) = self.judge(&report.eval, observer)?;
            }
        }
        self.observe(&report, observer)?;
        if self.due(self.spec.train_cfg.sample_every) {
            self.on_shown(|model| observer.sample(step, model))?;
        }
        let is_last = step == self.spec.train_cfg.steps;
        if self.due(self.spec.train_cfg.checkpoint_every) || is_last || is_best {
            self.checkpoint(observer)?;
        }
        self.step_started = Instant::now();
        Ok(())
    }

    /// True on every `every`-th update and on the last one; never when `every` is 0.
    fn due(&self, every: u64) -> bool {
        0 < every
            && (self.state.step.is_multiple_of(every)
                || self.state.step == self.spec.train_cfg.steps)
    }

    fn report(&mut self, outcome: &StepOutcome, reward: Option<f64>) -> StepReport {
        self.state.seconds = self.started_at.1 + self.started.elapsed().as_secs_f64();
        let mut experts = outcome.experts.clone();
        if let Some(experts) = &mut experts
            && !self.due(self.spec.train_cfg.log_every)
        {
            // A thousand experts are a thousand numbers a layer.
            experts.load.clear();
        }
        StepReport {
            step: self.state.step,
            steps: self.spec.train_cfg.steps,
            loss: outcome.loss,
            losses: outcome.losses.clone(),
            lr: outcome.lr,
            grad_norm: outcome.grad_norm,
            skipped: outcome.skipped,
            n_skipped: (0.0 < self.spec.train_cfg.spike_factor)
                .then_some(self.trainer.spikes.n_skipped),
            tokens_per_s: outcome.n_tokens as f64
                / self.step_started.elapsed().as_secs_f64().max(1e-9),
            comm_s: self.trainer.team.as_ref().map(|team| team.take_waited()),
            tokens: self.state.tokens,
            seconds: self.state.seconds,
            eval: BTreeMap::new(),
            score: None,
            reward,
            experts,
        }
    }

    fn evaluate(&mut self) -> Result<BTreeMap<String, f64>> {
        let losses = self.trainer.evaluate_together(&self.held_out)?;
        let losses: BTreeMap<_, _> = losses
            .into_iter()
            .map(|(task, loss)| (task, loss.nll))
            .collect();
        self.last_eval = Some((self.state.step, losses.clone()));
        Ok(losses)
    }

    /// Scores the shown model after an evaluation and keeps count; true when it is the best so far.
    fn judge(
        &mut self,
        losses: &BTreeMap<String, f64>,
        observer: &mut dyn Observer,
    ) -> Result<(Option<f64>, bool)> {
        let step = self.state.step;
        // The first rank asks; what it is told holds for all.
        let is_first = self.spec.comm.rank() == 0;
        let own = self.on_shown(|model| match is_first {
            true => observer.score(step, model, losses),
            false => Ok(None),
        })?;
        let own = own.map(|score| score.map(f64::to_bits));
        let told = exchange(self.spec.comm.as_ref(), Ok(own))?;
        let own = told.into_iter().next().unwrap_or(Ok(None));
        let own = own.map(|score| score.map(f64::from_bits));
        let last_good = || self.last_good.as_ref().map(|(_, path)| path.clone());
        let own = own.map_err(|reason| Error::Score {
            step,
            reason,
            last_good: last_good(),
        })?;
        let mean = losses.values().sum::<f64>() / losses.len().max(1) as f64;
        let score = own.unwrap_or(-mean);
        if !score.is_finite() {
            tracing::warn!("step {step}: the held-out score is {score}, which counts as no better");
        }
        let best = self.state.best;
        let is_best = score.is_finite() && best.is_none_or(|best| score > best.score);
        self.state.best = match (is_best, best) {
            (true, _) => Some(Best {
                step,
                score,
                n_since: 0,
            }),
            (false, best) => best.map(|best| Best {
                n_since: best.n_since + 1,
                ..best
            }),
        };
        Ok((Some(score), is_best))
    }

    /// True when no better score came for too long.
    fn is_over(&self) -> bool {
        let patience = self.spec.train_cfg.patience;
        let best = self.state.best;
        0 < patience && best.is_some_and(|best| patience <= best.n_since)
    }

    fn observe(&mut self, report: &StepReport, observer: &mut dyn Observer) -> Result<()> {
        let due = self.due(self.spec.train_cfg.log_every) || !report.eval.is_empty();
        if let Some(log) = &mut self.log {
            log.metrics.push(report)?;
            if due {
                log.events.scalars(report.step, &report.scalars())?;
            }
        }
        observer.on_step(report);
        if !report.eval.is_empty() {
            observer.on_eval(report.step, &report.eval);
        }
        Ok(())
    }

    /// Runs `f` on the model that is shown, without adapters, while all of its weights are there.
    fn on_shown<R>(&mut self, f: impl FnOnce(&Model) -> R) -> Result<R> {
        let team = self.trainer.team.clone();
        let trainer = &mut self.trainer;
        let run = || trainer.with_shown_model(|model| with_merged(model, f));
        match team {
            Some(team) => team.with_weights(run),
            None => run(),
        }
    }

    /// Commits a checkpoint of the present step, then prunes the oldest.
    fn checkpoint(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let dir = self.checkpoints.clone();
        let step = self.state.step;
        let last_good = self.last_good.as_ref().map(|(_, path)| path.clone());
        let trainer = &mut self.trainer;
        let team = trainer.team.clone();
        let bad = match team.as_ref().filter(|team| team.shards_weights()) {
            Some(team) => team.first_bad_parameter()?,
            None => first_bad_parameter(trainer.model.params())?,
        };
        if let Some(parameter) = bad {
            return Err(Error::NonFiniteWeight {
                step,
                parameter,
                last_good,
            });
        }
        let synced = self.log.as_mut().map_or(Ok(()), |log| log.metrics.sync());
        self.state.spikes = trainer.spikes.clone();
        self.state.seconds = self.started_at.1 + self.started.elapsed().as_secs_f64();
        let snapshot = Snapshot {
            state: &self.state,
            config: &self.saved_config,
            tokenizer_json: &self.tokenizer_json,
        };
        let saved = match &team {
            Some(team) => save_together(&dir, trainer, team, &snapshot, synced),
            None => synced.and_then(|()| save(&dir, trainer, &snapshot)),
        };
        let path = saved.map_err(|source| Error::CheckpointWrite {
            step,
            dir: dir.clone(),
            source: Box::new(source),
            last_good,
        })?;
        self.last_good = Some((step, path.clone()));
        let best = self.state.best.map(|best| best.step);
        if self.log.is_some()
            && let Err(error) = prune_but(&dir, self.spec.train_cfg.keep, best)
        {
            tracing::warn!("old checkpoints could not be removed: {error}");
        }
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.committed(&path);
        }
        observer.on_checkpoint(step, &path);
        Ok(())
    }

    /// Commits what is not committed yet and sums up.
    fn finish(mut self, observer: &mut dyn Observer) -> Result<Outcome> {
        let stopped_early = self.is_over();
        let interrupted = self.state.step < self.spec.train_cfg.steps && !stopped_early;
        if self
            .last_good
            .as_ref()
            .is_none_or(|(step, _)| *step != self.state.step)
        {
            self.checkpoint(observer)?;
        }
        let finished_before = self.last_eval.is_none() && !interrupted;
        if finished_before && 0 < self.spec.train_cfg.eval_every && !self.held_out.is_empty() {
            self.evaluate()?;
        }
        if let Some(heartbeat) = self.heartbeat.take() {
            // Nobody may take a rank that has come to its end for one that hangs.
            self.spec.comm.barrier()?;
            heartbeat.finish();
        }
        let new_tokens = (self.state.tokens - self.started_at.0) as f64;
        let (_, checkpoint) = self.last_good.expect("the checkpoint above was committed");
        Ok(Outcome {
            steps: self.state.step,
            tokens: self.state.tokens,
            seconds: self.state.seconds,
            tokens_per_s: new_tokens / self.started.elapsed().as_secs_f64().max(1e-9),
            peak_rss_mb: m6_store::mem::peak_rss_mb(),
            eval: self.last_eval.map(|(_, losses)| losses).unwrap_or_default(),
            checkpoint,
            interrupted,
            stopped_early,
            best: self.state.best,
        })
    }
}

/// Runs `f` on the model without adapters: with them merged where there are some.
pub(crate) fn with_merged<R>(model: &Model, f: impl FnOnce(&Model) -> R) -> Result<R> {
    if model.config().lora.is_none() {
        return Ok(f(model));
    }
    Ok(f(&model.merged()?))
}

//! Training a VQGAN: the same run folder, checkpoints and exactness as pretraining.

mod checkpoint;
mod config;
mod evaluate;
mod perceptual;
mod step;

pub use checkpoint::{LoadedVqgan, export_vqgan, load_vqgan};
pub use config::AdversaryConfig;
pub use evaluate::{Rebuilt, compare, rebuild};
pub use perceptual::{LoadedPerceptual, load_perceptual};
pub use step::{VqganOutcome, VqganTrainer};

use crate::checkpoint::{CHECKPOINT_VERSION, TrainState};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::metrics::{MetricsLog, StepReport};
use crate::resume::{OpenMode, RunFolder, check_same_run};
use crate::run::{Observer, Outcome};
use crate::setup::{RunCard, data_identity, write_run_files};
use crate::step::first_bad_parameter;
use crate::tensorboard::EventWriter;
use m6_data::{PictureSet, Split};
use m6_image::Rgb8;
use m6_model::vqgan::{Perceptual, to_tensor};
use m6_model::{Vqgan, VqganConfig};
use m6_nn::threads::on_pool;
use m6_store::hash::hash_bytes;
use m6_store::manifest;
use m6_store::permute::Permutation;
use m6_store::rng::Key;
use rayon::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Name under which a run's cursor counts the pictures drawn.
const CURSOR: &str = "pictures";

/// What to train, on what, and where to.
pub struct VqganSpec<'a> {
    /// Sizes of the autoencoder.
    pub vqgan_cfg: &'a VqganConfig,
    /// What it plays against.
    pub adversary: &'a AdversaryConfig,
    /// The optimisation; `rows_per_batch` is pictures per update.
    pub train_cfg: &'a TrainConfig,
    /// A folder made by `m6_data::prepare`; its pictures are scaled to the model's side.
    pub data_dir: &'a Path,
    /// The network that compares features, with what identifies it.
    pub perceptual: Option<(Perceptual, Value)>,
    /// The run folder.
    pub run_dir: &'a Path,
    /// Go on with the run in the folder, or start it when there is none.
    pub resume: bool,
    /// Remove the run in the folder first; without effect when resuming.
    pub overwrite: bool,
    /// Set by Ctrl-C.
    pub stop: &'a AtomicBool,
    /// The user's configuration as written, kept as `config.toml`.
    pub config_toml: &'a str,
    /// Every setting, kept as `config.resolved.toml`.
    pub resolved_toml: &'a str,
}

/// Trains a VQGAN, or goes on training it, until the last update or until `spec.stop` is set.
///
/// # Errors
/// As [`crate::pretrain`]; committed checkpoints stay valid in every case.
pub fn train_vqgan(mut spec: VqganSpec<'_>, observer: &mut dyn Observer) -> Result<Outcome> {
    check(&spec)?;
    manifest::verify(spec.data_dir).map_err(|error| Error::damaged(spec.data_dir, error))?;
    let perceptual = spec.perceptual.take();
    let mut run = Run::open(&spec, perceptual)?;
    observer.on_start(run.state.step, spec.train_cfg.steps);
    while run.state.step < spec.train_cfg.steps && !spec.stop.load(Ordering::Relaxed) {
        run.advance(observer)?;
    }
    run.finish(observer)
}

fn check(spec: &VqganSpec<'_>) -> Result<()> {
    let mut problems = spec.vqgan_cfg.validate();
    problems.extend(spec.adversary.validate());
    let train = spec.train_cfg;
    problems.extend(train.validate().into_iter().map(|p| format!("train.{p}")));
    if train.ema > 0.0 || train.accum > 1 {
        problems.push("train.ema and train.accum are not offered for a VQGAN".into());
    }
    let of_finetuning = train.layer_decay != 1.0
        || train.drop_path > 0.0
        || !train.freeze.is_empty()
        || train.keeps_best();
    if of_finetuning {
        problems.push(
            "train.layer_decay, drop_path, freeze, keep_best and patience are not offered for a VQGAN"
                .into(),
        );
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::Config { problems }),
    }
}

/// A run between two updates.
struct Run<'a> {
    spec: &'a VqganSpec<'a>,
    folder: RunFolder,
    trainer: VqganTrainer,
    pictures: PictureSet,
    /// Held-out pictures at the model's side.
    held_out: Vec<Vec<u8>>,
    state: TrainState,
    metrics: MetricsLog,
    events: EventWriter,
    last_good: Option<(u64, PathBuf)>,
    last_eval: BTreeMap<String, f64>,
    started: Instant,
    started_at: (u64, f64),
    step_started: Instant,
}

impl<'a> Run<'a> {
    fn open(spec: &'a VqganSpec<'a>, perceptual: Option<(Perceptual, Value)>) -> Result<Self> {
        let (perceptual, compared_by) = match perceptual {
            Some((network, identity)) => (Some(network), identity),
            None => (None, Value::Null),
        };
        let mode = match (spec.resume, spec.overwrite) {
            (true, _) => OpenMode::Resume,
            (false, true) => OpenMode::Overwrite,
            (false, false) => OpenMode::Fresh,
        };
        let pictures = PictureSet::open(spec.data_dir, Split::Train)?;
        if pictures.is_empty() {
            let reason = "no picture to learn from; prepare a source that has some";
            return Err(Error::damaged(spec.data_dir, reason));
        }
        let folder = RunFolder::open(spec.run_dir, mode)?;
        let mut state = first_state(spec, &pictures, compared_by)?;
        let resumed = folder.newest()?;
        if let Some(resumed) = &resumed {
            check_same_run(resumed, &state)?;
        }
        let vqgan = Vqgan::new(spec.vqgan_cfg, spec.train_cfg.seed)?;
        let n_params = vqgan.params().n_elements() as u64;
        let mut trainer = VqganTrainer::new(vqgan, perceptual, spec.adversary, spec.train_cfg)?;
        if let Some(resumed) = &resumed {
            checkpoint::restore(&resumed.path, &mut trainer)?;
            state = TrainState {
                schedule: state.schedule,
                ..resumed.state.clone()
            };
        }
        let card = RunCard {
            data_dir: spec.data_dir,
            n_params,
            tasks: vec!["vqgan".into()],
            config_toml: spec.config_toml,
            resolved_toml: spec.resolved_toml,
        };
        write_run_files(&folder, &card, &state)?;
        let now = Instant::now();
        Ok(Self {
            held_out: held_out(spec)?,
            trainer,
            pictures,
            metrics: MetricsLog::open(folder.dir(), state.step)?,
            events: EventWriter::create(folder.dir(), state.step)?,
            last_good: resumed.map(|resumed| (resumed.state.step, resumed.path)),
            last_eval: BTreeMap::new(),
            started: now,
            started_at: (state.tokens, state.seconds),
            step_started: now,
            folder,
            spec,
            state,
        })
    }

    /// One update and everything that is due after it.
    fn advance(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let train = self.spec.train_cfg;
        let step = self.state.step + 1;
        let n = train.rows_per_batch as u64;
        let drawn = (step - 1) * n;
        let batch: Vec<Vec<u8>> = (drawn..drawn + n)
            .into_par_iter()
            .map(|k| self.draw(k))
            .collect::<Result<_>>()?;
        let side = self.spec.vqgan_cfg.image_side;
        let last_good = self.last_good.as_ref().map(|(_, path)| path.as_path());
        let trainer = &mut self.trainer;
        let outcome =
            on_pool(|| trainer.step(step, &to_tensor(&batch.concat(), side)?, last_good))?;
        self.state.step = step;
        self.state.cursor.drawn.insert(CURSOR.into(), drawn + n);
        self.state.tokens += outcome.codes.len() as u64;
        let mut report = self.report(outcome);
        if self.due(train.eval_every) && !self.held_out.is_empty() {
            report.eval = self.evaluate(observer)?;
        }
        self.observe(&report, observer)?;
        if self.due(train.checkpoint_every) || step == train.steps {
            self.checkpoint(observer)?;
        }
        self.step_started = Instant::now();
        Ok(())
    }

    /// Picture `k` of the run: a keyed permutation of all pictures, another one every epoch, mirrored by a keyed coin.
    fn draw(&self, k: u64) -> Result<Vec<u8>> {
        let n = self.pictures.len() as u64;
        let (epoch, nth) = (k / n, k % n);
        let key = Key::new(self.spec.train_cfg.seed)
            .child("pictures")
            .at(epoch);
        let picture = self
            .pictures
            .get(Permutation::new(key, n).at(nth) as usize)?;
        let side = self.spec.vqgan_cfg.image_side;
        let mut pixels = scaled(picture, self.pictures.manifest().image_side, side);
        if self.spec.train_cfg.flip && key.child("flip").at(nth).stream().bool(0.5) {
            m6_image::flip_horizontal_chw(&mut pixels, side);
        }
        Ok(pixels)
    }

    fn due(&self, every: u64) -> bool {
        let last = self.state.step == self.spec.train_cfg.steps;
        0 < every && (self.state.step.is_multiple_of(every) || last)
    }

    fn report(&mut self, outcome: VqganOutcome) -> StepReport {
        self.state.seconds = self.started_at.1 + self.started.elapsed().as_secs_f64();
        let seconds = self.step_started.elapsed().as_secs_f64().max(1e-9);
        StepReport {
            step: self.state.step,
            steps: self.spec.train_cfg.steps,
            loss: outcome.loss,
            losses: outcome.parts,
            lr: outcome.lr,
            grad_norm: outcome.grad_norm,
            tokens_per_s: outcome.codes.len() as f64 / seconds,
            tokens: self.state.tokens,
            seconds: self.state.seconds,
            ..StepReport::default()
        }
    }

    fn evaluate(&mut self, observer: &mut dyn Observer) -> Result<BTreeMap<String, f64>> {
        let pictures: Vec<&[u8]> = self.held_out.iter().map(Vec::as_slice).collect();
        let (figures, rebuilt) = rebuild(&self.trainer.vqgan, &pictures)?;
        let side = self.spec.vqgan_cfg.image_side;
        observer.on_rebuilt(self.state.step, side, &pictures, &rebuilt);
        self.last_eval = figures.figures();
        Ok(self.last_eval.clone())
    }

    fn observe(&mut self, report: &StepReport, observer: &mut dyn Observer) -> Result<()> {
        self.metrics.push(report)?;
        if self.due(self.spec.train_cfg.log_every) || !report.eval.is_empty() {
            self.events.scalars(report.step, &report.scalars())?;
        }
        observer.on_step(report);
        if !report.eval.is_empty() {
            observer.on_eval(report.step, &report.eval);
        }
        Ok(())
    }

    fn checkpoint(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let (dir, step) = (self.folder.checkpoints(), self.state.step);
        let last_good = self.last_good.as_ref().map(|(_, path)| path.clone());
        for params in [
            self.trainer.vqgan.params(),
            self.trainer.discriminator.params(),
        ] {
            if let Some(parameter) = first_bad_parameter(params)? {
                return Err(Error::NonFiniteWeight {
                    step,
                    parameter,
                    last_good,
                });
            }
        }
        self.metrics.sync()?;
        self.state.seconds = self.started_at.1 + self.started.elapsed().as_secs_f64();
        let saved = checkpoint::save(&dir, &self.trainer, &self.state);
        let path = saved.map_err(|source| Error::CheckpointWrite {
            step,
            dir: dir.clone(),
            source: Box::new(source),
            last_good,
        })?;
        self.last_good = Some((step, path.clone()));
        if let Err(error) = m6_store::checkpoints::prune(&dir, self.spec.train_cfg.keep) {
            tracing::warn!("old checkpoints could not be removed: {error}");
        }
        observer.on_checkpoint(step, &path);
        Ok(())
    }

    fn finish(mut self, observer: &mut dyn Observer) -> Result<Outcome> {
        let step = self.state.step;
        if self
            .last_good
            .as_ref()
            .is_none_or(|(good, _)| *good != step)
        {
            self.checkpoint(observer)?;
        }
        let new = (self.state.tokens - self.started_at.0) as f64;
        let (_, checkpoint) = self.last_good.expect("the checkpoint above was committed");
        Ok(Outcome {
            steps: step,
            tokens: self.state.tokens,
            seconds: self.state.seconds,
            tokens_per_s: new / self.started.elapsed().as_secs_f64().max(1e-9),
            peak_rss_mb: m6_store::mem::peak_rss_mb(),
            eval: self.last_eval,
            checkpoint,
            interrupted: step < self.spec.train_cfg.steps,
            stopped_early: false,
            best: None,
        })
    }
}

/// Up to `eval_rows` held-out pictures, evenly over all of them.
fn held_out(spec: &VqganSpec<'_>) -> Result<Vec<Vec<u8>>> {
    let set = PictureSet::open(spec.data_dir, Split::HeldOut)?;
    let n = match spec.train_cfg.eval_every {
        0 => 0,
        _ => spec.train_cfg.eval_rows.min(set.len()),
    };
    let (from, to) = (set.manifest().image_side, spec.vqgan_cfg.image_side);
    let picture = |i: usize| Ok(scaled(set.get(i * set.len() / n)?, from, to));
    (0..n).map(picture).collect()
}

/// A picture of `from` by `from` pixels at another side.
fn scaled(pixels: &[u8], from: usize, to: usize) -> Vec<u8> {
    match Rgb8::from_chw(from, from, pixels) {
        Ok(picture) if from != to => m6_image::to_chw(&m6_image::resize(&picture, to, to)),
        _ => pixels.to_vec(),
    }
}

/// The state before the first update.
fn first_state(
    spec: &VqganSpec<'_>,
    pictures: &PictureSet,
    compared_by: Value,
) -> Result<TrainState> {
    let settings = json!({
        "vqgan": spec.vqgan_cfg,
        "adversary": spec.adversary,
        "train": spec.train_cfg.identity(),
        "perceptual": compared_by,
    });
    let data = data_identity(spec.data_dir, pictures.manifest())?;
    Ok(TrainState {
        format_version: CHECKPOINT_VERSION,
        step: 0,
        cursor: Default::default(),
        tokens: 0,
        seconds: 0.0,
        seed: spec.train_cfg.seed,
        schedule: spec.train_cfg.schedule(),
        world: 1,
        spikes: Default::default(),
        best: None,
        config_hash: hash_bytes(settings.to_string().as_bytes()),
        data_hash: hash_bytes(data.to_string().as_bytes()),
        settings,
        data,
    })
}

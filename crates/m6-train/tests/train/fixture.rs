//! A tiny prepared data set, a tiny model, and short ways to run them.

use m6_data::{Batch, Cursor, DataConfig, Loader, LoaderConfig, SourceConfig, Split};
use m6_model::{Model, ModelConfig, ModelInput, PatchConfig, PatchKind};
use m6_text::Tokenizer;
use m6_train::{
    Observer, Outcome, PretrainSpec, Result, Silent, StepReport, TrainConfig, pretrain,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

const IMAGE_SIDE: usize = 32;
const GRID: usize = 2;

fn source() -> SourceConfig {
    SourceConfig {
        name: "world".into(),
        n: 40,
        held_out: 0.2,
        ..SourceConfig::default()
    }
}

fn data_config(seed: u64) -> DataConfig {
    DataConfig {
        row_len: 96,
        max_text: 48,
        image_side: IMAGE_SIDE,
        grid: GRID,
        seed,
        sources: vec![source()],
        ..DataConfig::default()
    }
}

/// The special tokens, then every character of the world.
pub fn tokens() -> Vec<String> {
    let mut characters = BTreeSet::new();
    let mut records = m6_data::open(&source(), Path::new(".")).unwrap();
    while let Some(record) = records.next() {
        let record = record.ok().unwrap();
        let questions = record.qa.iter().flat_map(|qa| [&qa.question, &qa.answer]);
        for text in record.text.iter().chain(&record.captions).chain(questions) {
            characters.extend(text.chars().filter(|c| !c.is_whitespace()));
        }
    }
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
    special
        .into_iter()
        .chain(characters.into_iter().map(String::from))
        .collect()
}

/// Prepares the data set of a seed into a new folder.
pub fn prepare(dir: &Path, seed: u64) -> PathBuf {
    let tokenizer = Tokenizer::from_tokens(tokens()).unwrap();
    m6_data::prepare(
        &data_config(seed),
        &tokenizer,
        None,
        dir,
        false,
        &mut |_| (),
    )
    .unwrap();
    dir.to_path_buf()
}

/// The shared data set, prepared once per test process.
pub fn data_dir() -> &'static Path {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("m6-train-data");
        std::fs::remove_dir_all(&dir).ok();
        prepare(&dir, 1)
    })
}

fn loader() -> Loader {
    Loader::open(data_dir(), &LoaderConfig::default(), Split::Train).unwrap()
}

/// The names of the tasks of the data set.
pub fn task_names() -> Vec<String> {
    loader().task_names().to_vec()
}

/// The first micro-batches of the data set, four rows each.
pub fn batches(n: usize) -> Vec<Batch> {
    let loader = loader();
    let mut cursor = Cursor::default();
    (0..n)
        .map(|_| loader.batch(&loader.next_rows(&mut cursor, 4)).unwrap())
        .collect()
}

/// Labels of these rows, in the order in which a run reads them.
pub fn labels(rows: std::ops::Range<usize>) -> f64 {
    let loader = loader();
    let mut cursor = Cursor::default();
    loader.next_rows(&mut cursor, rows.start);
    let rows = loader.next_rows(&mut cursor, rows.len());
    loader.batch(&rows).unwrap().labels.len() as f64
}

/// A batch as a model takes it, every label weighing the same.
pub fn input(batch: &Batch) -> ModelInput<'_> {
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
        loss_weights: &[],
    }
}

pub fn model_config(dropout: f32) -> ModelConfig {
    ModelConfig {
        vocab_size: tokens().len(),
        d_model: 32,
        n_layers: 2,
        n_heads: 2,
        d_ff: 64,
        max_len: 96,
        dropout,
        patches: PatchConfig {
            kind: PatchKind::Linear,
            grid: GRID,
            image_side: IMAGE_SIDE,
            ..PatchConfig::default()
        },
        ..ModelConfig::default()
    }
}

pub fn model(dropout: f32) -> Model {
    Model::new(&model_config(dropout), 1).unwrap()
}

/// A model with a patch network whose features can be compared.
pub fn resnet_model() -> Model {
    let config = ModelConfig {
        patches: PatchConfig {
            kind: PatchKind::Resnet,
            grid: GRID,
            image_side: IMAGE_SIDE,
            widths: vec![8, 16, 16, 16],
            blocks: vec![0, 1, 0, 0],
            ..PatchConfig::default()
        },
        ..model_config(0.0)
    };
    Model::new(&config, 2).unwrap()
}

/// A short run without evaluation and with only the last checkpoint.
pub fn small_train() -> TrainConfig {
    TrainConfig {
        steps: 8,
        rows_per_batch: 4,
        lr: 1e-3,
        warmup_steps: 2,
        eval_every: 0,
        eval_rows: 4,
        checkpoint_every: 0,
        ..TrainConfig::default()
    }
}

/// Sets the flag of Ctrl-C after a step.
pub struct Stop {
    after: u64,
    flag: &'static AtomicBool,
}

impl Stop {
    pub fn after(step: u64) -> Self {
        Self {
            after: step,
            flag: Box::leak(Box::new(AtomicBool::new(false))),
        }
    }
}

impl Observer for Stop {
    fn on_step(&mut self, report: &StepReport) {
        if report.step == self.after {
            self.flag.store(true, Ordering::Relaxed);
        }
    }
}

/// An observer with a stop flag of its own.
pub trait Watch: Observer + Sized {
    fn flag(&self) -> Option<&'static AtomicBool> {
        None
    }
}

impl Watch for Silent {}

impl Watch for Stop {
    fn flag(&self) -> Option<&'static AtomicBool> {
        Some(self.flag)
    }
}

/// The only process there is.
pub fn alone() -> std::sync::Arc<dyn m6_nn::dist::Communicator> {
    std::sync::Arc::new(m6_nn::dist::Solo)
}

#[derive(Clone, Copy, Default)]
struct Ways<'a> {
    resume: bool,
    overwrite: bool,
    dropout: f32,
    init: Option<&'a Path>,
    init_optimizer: bool,
    model: Option<&'a ModelConfig>,
}

fn start<O: Watch>(
    data: &Path,
    dir: &Path,
    config: &TrainConfig,
    ways: Ways<'_>,
    observer: &mut O,
) -> Result<Outcome> {
    let alone = (&m6_train::ParallelConfig::default(), &alone());
    start_ranked(data, dir, config, ways, alone, observer)
}

fn start_ranked<O: Watch>(
    data: &Path,
    dir: &Path,
    config: &TrainConfig,
    ways: Ways<'_>,
    ranks: (
        &m6_train::ParallelConfig,
        &std::sync::Arc<dyn m6_nn::dist::Communicator>,
    ),
    observer: &mut O,
) -> Result<Outcome> {
    let never = AtomicBool::new(false);
    let own = model_config(ways.dropout);
    let model_cfg = ways.model.unwrap_or(&own);
    let spec = PretrainSpec {
        reword: None,
        mixture: &m6_data::LoaderConfig::default(),
        patch_weights: None,
        init_model: ways.init,
        init_optimizer: ways.init_optimizer,
        model_cfg,
        train_cfg: config,
        parallel: ranks.0,
        comm: ranks.1,
        data_dir: data,
        run_dir: dir,
        resume: ways.resume,
        overwrite: ways.overwrite,
        stop: observer.flag().unwrap_or(&never),
        config_toml: "# as written\n",
        resolved_toml: "# resolved\n",
    };
    pretrain(&spec, observer)
}

pub fn run<O: Watch>(dir: &Path, config: &TrainConfig, observer: &mut O) -> Result<Outcome> {
    start(
        data_dir(),
        dir,
        config,
        Ways {
            dropout: 0.1,
            ..Ways::default()
        },
        observer,
    )
}

pub fn run_without_dropout(dir: &Path, config: &TrainConfig) -> Result<Outcome> {
    start(data_dir(), dir, config, Ways::default(), &mut Silent)
}

pub fn resume<O: Watch>(dir: &Path, config: &TrainConfig, observer: &mut O) -> Result<Outcome> {
    start(
        data_dir(),
        dir,
        config,
        Ways {
            resume: true,
            dropout: 0.1,
            ..Ways::default()
        },
        observer,
    )
}

/// One rank of a run, with dropout; perhaps of another model.
pub fn run_ranked<O: Watch>(
    model: Option<&ModelConfig>,
    dir: &Path,
    config: &TrainConfig,
    parallel: &m6_train::ParallelConfig,
    comm: &std::sync::Arc<dyn m6_nn::dist::Communicator>,
    resume: bool,
    observer: &mut O,
) -> Result<Outcome> {
    let ways = Ways {
        dropout: 0.1,
        model,
        resume,
        ..Ways::default()
    };
    start_ranked(data_dir(), dir, config, ways, (parallel, comm), observer)
}

/// A run without dropout that begins from the weights of another one, or goes on.
pub fn run_from<O: Watch>(
    from: &Path,
    dir: &Path,
    config: &TrainConfig,
    resume: bool,
    observer: &mut O,
) -> Result<Outcome> {
    let ways = Ways {
        init: Some(from),
        resume,
        ..Ways::default()
    };
    start(data_dir(), dir, config, ways, observer)
}

/// A run of another model, perhaps from the weights of another run.
pub fn run_model<O: Watch>(
    model: &ModelConfig,
    from: Option<&Path>,
    dir: &Path,
    config: &TrainConfig,
    resume: bool,
    observer: &mut O,
) -> Result<Outcome> {
    let ways = Ways {
        init: from,
        model: Some(model),
        resume,
        ..Ways::default()
    };
    start(data_dir(), dir, config, ways, observer)
}

/// [`run_model`] that takes the moments over too.
pub fn run_on_from(
    model: &ModelConfig,
    from: &Path,
    dir: &Path,
    config: &TrainConfig,
) -> Result<Outcome> {
    let ways = Ways {
        init: Some(from),
        init_optimizer: true,
        model: Some(model),
        ..Ways::default()
    };
    start(data_dir(), dir, config, ways, &mut Silent)
}

pub fn resume_on(data: &Path, dir: &Path, config: &TrainConfig) -> Result<Outcome> {
    start(
        data,
        dir,
        config,
        Ways {
            resume: true,
            dropout: 0.1,
            ..Ways::default()
        },
        &mut Silent,
    )
}

pub fn overwrite(dir: &Path, config: &TrainConfig) -> Result<Outcome> {
    start(
        data_dir(),
        dir,
        config,
        Ways {
            overwrite: true,
            dropout: 0.1,
            ..Ways::default()
        },
        &mut Silent,
    )
}

/// The folder of a checkpoint.
pub fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join("checkpoints")
        .join(m6_store::checkpoints::step_dir_name(step))
}

/// The lines of `metrics.jsonl`.
pub fn metrics(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The lines of `metrics.jsonl` without what a clock wrote.
pub fn metrics_without_time(run: &Path) -> Vec<Value> {
    let mut lines = metrics(run);
    for line in &mut lines {
        let object = line.as_object_mut().unwrap();
        object.shift_remove("tokens_per_s").unwrap();
        object.shift_remove("seconds").unwrap();
    }
    lines
}

/// The names in a folder, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

//! What a run is started with: checked settings, an opened data set, and the files that tell about the run.

use crate::checkpoint::{CHECKPOINT_VERSION, SavedConfig, TrainState, pretty, put, read};
use crate::config::TrainConfig;
use crate::error::{Error, Result};
use crate::evaluate::HeldOut;
use crate::init::Start;
use crate::load::check_vocabulary;
use crate::parallel::ParallelConfig;
use crate::resume::{RUN_FILE, RunFolder};
use crate::reword::Reword;
use m6_data::{Loader, LoaderConfig, Manifest, Split};
use m6_model::ModelConfig;
use m6_nn::dist::Communicator;
use m6_store::atomic::write_file;
use m6_store::hash::hash_bytes;
use m6_store::manifest;
use m6_text::Tokenizer;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

/// What to train, on what, and where to.
pub struct PretrainSpec<'a> {
    /// Sizes of the network.
    pub model_cfg: &'a ModelConfig,
    /// The optimisation.
    pub train_cfg: &'a TrainConfig,
    /// What the processes that train together share.
    pub parallel: &'a ParallelConfig,
    /// These processes; [`m6_nn::dist::Solo`] for one. Each calls [`pretrain`](crate::pretrain) with the same settings and folders.
    pub comm: &'a Arc<dyn Communicator>,
    /// A folder made by `m6_data::prepare`.
    pub data_dir: &'a Path,
    /// Weights of sources and noise that replace the prepared ones; its seed and mirroring are those of `train_cfg`.
    pub mixture: &'a LoaderConfig,
    /// Weights of the patch network in torchvision's names (safetensors), loaded before the first update.
    pub patch_weights: Option<&'a Path>,
    /// A run, checkpoint or exported model whose weights the first update begins from; the vocabulary must be the data's.
    pub init_model: Option<&'a Path>,
    /// Whether its moments are taken over as well.
    pub init_optimizer: bool,
    /// The run folder.
    pub run_dir: &'a Path,
    /// Go on with the run in the folder, or start it when there is none.
    pub resume: bool,
    /// Remove the run in the folder first; without effect when resuming.
    pub overwrite: bool,
    /// Set by Ctrl-C: the present update is finished, a checkpoint is committed, and the outcome says interrupted. With several processes the
    /// next update is the last, on all of them.
    pub stop: &'a AtomicBool,
    /// Writes every batch anew before it is learned, when there is one; with a single process.
    pub reword: Option<&'a dyn Reword>,
    /// The user's configuration as written, kept as `config.toml`.
    pub config_toml: &'a str,
    /// Every setting, kept as `config.resolved.toml`.
    pub resolved_toml: &'a str,
}

/// The state before the first update.
pub(crate) fn first_state(
    spec: &PretrainSpec<'_>,
    data: &DataSet,
    patch_weights: Option<&[u8]>,
    start: Option<&Start>,
) -> TrainState {
    let mut settings = json!({
        "model": spec.model_cfg,
        "train": spec.train_cfg.identity(),
        "mixture": {"weights": spec.mixture.weights, "tasks": spec.mixture.tasks, "options": spec.mixture.options},
        "patch_weights": patch_weights.map(hash_bytes),
    });
    if let Some(parallel) = spec.parallel.identity() {
        settings["parallel"] = parallel;
    }
    // Left out where there is none, so that runs from before these settings go on.
    if let Some(reword) = spec.reword {
        settings["reward"] = reword.identity();
    }
    if let Some(start) = start {
        settings["init_model"] = start.identity().into();
        if spec.init_optimizer {
            settings["init_optimizer"] = true.into();
        }
    }
    TrainState {
        format_version: CHECKPOINT_VERSION,
        step: 0,
        cursor: Default::default(),
        tokens: 0,
        seconds: 0.0,
        seed: spec.train_cfg.seed,
        schedule: spec.train_cfg.schedule(),
        world: spec.comm.size() as u32,
        spikes: Default::default(),
        best: None,
        config_hash: hash_bytes(settings.to_string().as_bytes()),
        data_hash: data.hash.clone(),
        settings,
        data: data.identity.clone(),
    }
}

/// Refuses settings that cannot be trained by `n_ranks` processes, with every problem of all at once.
///
/// # Errors
/// [`Error::Config`].
pub(crate) fn check_config(
    model: &ModelConfig,
    train: &TrainConfig,
    parallel: &ParallelConfig,
    n_ranks: usize,
) -> Result<()> {
    let of_model = model
        .validate()
        .into_iter()
        .map(|problem| format!("model.{problem}"));
    let of_train = train
        .validate()
        .into_iter()
        .map(|problem| format!("train.{problem}"));
    let of_ranks = parallel.problems(model, train, n_ranks).into_iter();
    let problems: Vec<String> = of_model.chain(of_train).chain(of_ranks).collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Config { problems })
    }
}

/// A prepared data set that fits the model.
pub(crate) struct DataSet {
    /// Training rows.
    pub loader: Loader,
    /// The vocabulary it was prepared with.
    pub tokenizer: Tokenizer,
    /// What it holds, whatever folder it is in.
    pub identity: Value,
    /// BLAKE3 of that.
    pub hash: String,
    held_out: Loader,
}

impl DataSet {
    /// Opens the folder and checks that the model was sized for it.
    ///
    /// # Errors
    /// The folder cannot be read; [`Error::VocabularySize`]; [`Error::Config`] for pictures of another size or grid.
    pub fn open(
        dir: &Path,
        model: &ModelConfig,
        train: &TrainConfig,
        mixture: &LoaderConfig,
    ) -> Result<Self> {
        // Bytes that rotted on the disk would train silently, and a resume would take them for the same data.
        manifest::verify(dir).map_err(|error| Error::damaged(dir, error))?;
        let settings = LoaderConfig {
            seed: train.seed,
            flip: train.flip,
            ..mixture.clone()
        };
        let loader = Loader::open(dir, &settings, Split::Train)?;
        let held_out = Loader::open(dir, &settings, Split::HeldOut)?;
        let tokenizer_path: PathBuf = loader.tokenizer_path().to_path_buf();
        let tokenizer = Tokenizer::from_file(&tokenizer_path)?;
        check_vocabulary(&tokenizer_path, tokenizer.vocab_size(), model.vocab_size)?;
        check_pictures(loader.manifest(), model)?;
        let identity = data_identity(dir, loader.manifest())?;
        Ok(Self {
            loader,
            held_out,
            tokenizer,
            hash: hash_bytes(identity.to_string().as_bytes()),
            identity,
        })
    }

    /// Task names, in the order of the loader.
    pub fn task_names(&self) -> Vec<String> {
        self.loader.task_names().to_vec()
    }

    /// The fixed rows of every evaluation of this run.
    ///
    /// # Errors
    /// The rows cannot be read.
    pub fn held_out(&self, train: &TrainConfig) -> Result<HeldOut> {
        let max_rows = if train.eval_every == 0 {
            0
        } else {
            train.eval_rows
        };
        HeldOut::draw(
            &self.held_out,
            max_rows,
            train.rows_per_batch.div_ceil(train.accum),
        )
    }

    /// What is saved with every checkpoint for loading and generating.
    pub fn saved_config(&self, model: &ModelConfig) -> SavedConfig {
        SavedConfig {
            format_version: CHECKPOINT_VERSION,
            model: model.clone(),
            tasks: trained_tasks(&self.loader),
            data: serde_json::to_value(&self.loader.manifest().config)
                .expect("plain data serialises"),
        }
    }
}

/// The model must be sized for the pictures that were prepared; every mismatch at once.
fn check_pictures(data: &Manifest, model: &ModelConfig) -> Result<()> {
    let mut problems = Vec::new();
    let codes = &data.config.codes;
    let mut pairs = vec![
        (
            "patches.image_side",
            model.patches.image_side,
            data.image_side,
        ),
        ("patches.grid", model.patches.grid, data.grid),
    ];
    if !codes.is_none() {
        pairs.push((
            "codes.codebook_size",
            model.codes.codebook_size,
            codes.codebook_size,
        ));
        pairs.push(("codes.grid", model.codes.grid, codes.grid));
        pairs.push(("codes.fine", model.codes.fine.max(1), codes.fine.max(1)));
    }
    for (key, ours, prepared) in pairs {
        if ours != prepared {
            problems.push(format!(
                "model.{key} = {ours}, but the data set was prepared with {key} = {prepared}"
            ));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::Config { problems })
    }
}

/// The manifest without the folder of its sources, and the hash of every shard: the same for moved data, another one
/// for anything that a batch could show.
pub(crate) fn data_identity(dir: &Path, data: &Manifest) -> Result<Value> {
    let mut identity = serde_json::to_value(data).expect("plain data serialises");
    if let Some(config) = identity.get_mut("config").and_then(Value::as_object_mut) {
        config.remove("root");
    }
    let files = manifest::read(dir)?.files;
    let shards = files
        .into_iter()
        .filter(|file| file.name.ends_with(".bin") || file.name.ends_with(".idx"));
    identity["files"] = shards
        .map(|file| (file.name, Value::from(file.blake3)))
        .collect();
    Ok(identity)
}

/// Tasks with rows to train on, in the order of the loader.
pub(crate) fn trained_tasks(loader: &Loader) -> Vec<String> {
    let has_rows = |task: &&String| {
        let reports = loader
            .manifest()
            .sources
            .iter()
            .filter_map(|source| source.tasks.get(*task));
        let mut rows = reports.filter_map(|report| report.splits.get(Split::Train.name()));
        rows.any(|rows| 0 < rows.rows)
    };
    loader
        .task_names()
        .iter()
        .filter(|task| has_rows(task) && !loader.leaves_out(task))
        .cloned()
        .collect()
}

/// Copies the VQGAN of prepared data into the run folder, so that what the model writes can be made a picture of.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn keep_coder(data_dir: &Path, run_dir: &Path) -> Result<()> {
    let (from, to) = (
        data_dir.join(m6_data::CODER_DIR),
        run_dir.join(m6_data::CODER_DIR),
    );
    if !from.is_dir() || to.is_dir() {
        return Ok(());
    }
    // The folder appears whole, so that a run killed here copies it again.
    let mut commit = m6_store::atomic::DirCommit::begin(&to)?;
    for entry in std::fs::read_dir(&from).map_err(Error::io(&from))? {
        let path = entry.map_err(Error::io(&from))?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()) {
            put(&mut commit, name, &read(&path)?)?;
        }
    }
    Ok(commit.commit()?)
}

/// What `run.json` and the two configuration files of a run tell.
pub(crate) struct RunCard<'a> {
    pub data_dir: &'a Path,
    pub n_params: u64,
    pub tasks: Vec<String>,
    pub config_toml: &'a str,
    pub resolved_toml: &'a str,
}

/// Writes `config.toml` and `config.resolved.toml` of a new run, and tells in `run.json` what runs, since when, on
/// what, and from which steps it was resumed.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write_run_files(
    folder: &RunFolder,
    card: &RunCard<'_>,
    state: &TrainState,
) -> Result<()> {
    let dir = folder.dir();
    let run_path = dir.join(RUN_FILE);
    let known = std::fs::read(&run_path)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    if let Some(mut run) = known.filter(|_| 0 < state.step) {
        if let Some(resumed) = run.get_mut("resumed").and_then(Value::as_array_mut) {
            resumed.push(json!({ "step": state.step, "unix_seconds": now }));
        }
        return Ok(write_file(&run_path, &pretty(&run))?);
    }
    // This file marks the folder as a run, so it comes first: a run killed here can be overwritten.
    let run = json!({
        "format_version": CHECKPOINT_VERSION,
        "m6_version": env!("CARGO_PKG_VERSION"),
        "started_unix_seconds": now,
        "data_dir": card.data_dir,
        "data_hash": state.data_hash,
        "config_hash": state.config_hash,
        "seed": state.seed,
        "n_params": card.n_params,
        "tasks": card.tasks,
        "resumed": [],
    });
    write_file(&run_path, &pretty(&run))?;
    write_file(&dir.join("config.toml"), card.config_toml.as_bytes())?;
    Ok(write_file(
        &dir.join("config.resolved.toml"),
        card.resolved_toml.as_bytes(),
    )?)
}

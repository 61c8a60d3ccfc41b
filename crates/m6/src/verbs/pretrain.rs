//! `m6 pretrain CONFIG --data DIR --out RUN [--resume]`.

use super::common as shared;
use super::ranks::{self, Comm};
use super::reward::Reward;
use super::watch::Watcher;
use crate::cli::{Common, PretrainArgs};
use crate::config::{self, RunConfig};
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::{self, Terminal};
use m6_data::{DataConfig, LoaderConfig, Manifest};
use m6_train::{Outcome, PretrainSpec};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Runs the verb.
pub fn run(args: &PretrainArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let mut loaded = config::load(&args.config, &common.set)?;
    if let Some(seed) = common.seed {
        loaded.config.train.seed = seed;
    }
    if common.dry_run {
        fit_to_data(&mut loaded.config, &args.data, terminal)?;
        let mixture = mixture(&loaded.config, &args.data, BTreeMap::new())?;
        Reward::new(&loaded.config, &args.data, &mixture)?;
        shared::check_out(&args.out.out, args.resume || args.out.overwrite)?;
        return dry_run(&loaded.config, terminal);
    }
    let comm = ranks::join(&loaded.config.parallel)?;
    ranks::together(&comm, terminal, |terminal| {
        train(args, &mut loaded, &comm, terminal)
    })
}

/// What would be trained, and what every rank would keep of it; nothing of that is made.
fn dry_run(config: &config::RunConfig, terminal: &Terminal) -> Result<()> {
    let n_ranks = match config.parallel.data {
        0 => ranks::n_started(),
        n => n.saturating_mul(config.parallel.tensor.max(1)),
    };
    let (train, parallel) = (&config.train, &config.parallel);
    let problems = parallel.problems(&config.model, train, n_ranks);
    if !problems.is_empty() {
        return Err(Failure::usage(problems.join("\n")));
    }
    let n_params = m6_model::count(&config.model).params_total;
    let steps = config.train.steps;
    let shares = m6_train::rank_shares(&config.model, &config.train, &config.parallel, n_ranks);
    if terminal.json() {
        let row = json!({"params_total": n_params, "steps": steps, "ranks": shares});
        terminal.object(row.as_object().expect("written as an object above"));
        return Ok(());
    }
    let millions = n_params as f64 / 1e6;
    terminal.say(&format!(
        "would train {millions:.2} M parameters for {steps} steps"
    ));
    for share in shares {
        let [weights, gradients, moments] =
            [share.weights, share.gradients, share.moments].map(|n| shared::bytes(n as f64));
        let file = match share.offloaded {
            0 => String::new(),
            n => format!(" in memory, {} in a file", shared::bytes(n as f64)),
        };
        terminal.say(&format!(
            "rank {}: weights {weights}, gradients {gradients}, moments {moments}{file}; updates {:.2} M parameters",
            share.rank,
            share.updated as f64 / 1e6
        ));
    }
    Ok(())
}

fn train(
    args: &PretrainArgs,
    loaded: &mut config::Loaded,
    comm: &Comm,
    terminal: &Terminal,
) -> Result<()> {
    fit_to_data(&mut loaded.config, &args.data, terminal)?;
    loaded.resolved = toml::to_string(&loaded.config).or_usage()?;
    let stop = out::stop_flag();
    let job = Job {
        name: "pretrain",
        data: &args.data,
        out: &args.out.out,
        resume: args.resume,
        overwrite: args.out.overwrite,
        tasks: BTreeMap::new(),
        exam: None,
    };
    let outcome = pretrain(loaded, &job, &stop, comm, terminal)?;
    if terminal.json() {
        terminal.object(&outcome_json(&outcome));
    }
    if outcome.interrupted {
        return Err(Failure::new(
            Code::Interrupted,
            format!("interrupted; {} is complete", outcome.checkpoint.display()),
        )
        .hint("the same command with --resume goes on from there"));
    }
    let eval: Vec<String> = outcome
        .eval
        .iter()
        .map(|(task, loss)| format!("{task} {loss:.3}"))
        .collect();
    terminal.say(&format!(
        "{} steps, {} tokens in {:.0} s ({:.0} tokens/s), peak {:.0} MB; held-out loss: {}; {}",
        outcome.steps,
        outcome.tokens,
        outcome.seconds,
        outcome.tokens_per_s,
        outcome.peak_rss_mb,
        eval.join(", "),
        outcome.checkpoint.display()
    ));
    Ok(())
}

/// Where a run reads and writes.
pub struct Job<'a> {
    /// What the progress line calls it.
    pub name: &'static str,
    /// Prepared data.
    pub data: &'a Path,
    /// Run folder.
    pub out: &'a Path,
    /// Go on from the newest checkpoint.
    pub resume: bool,
    /// Replace the folder.
    pub overwrite: bool,
    /// Weights of tasks that replace the prepared ones; empty keeps those.
    pub tasks: BTreeMap<String, f64>,
    /// What the task that is trained is scored by, if anything.
    pub exam: Option<m6_eval::ExamTask>,
}

/// Sizes that the prepared data decides: the vocabulary and the form of the pictures.
pub fn fit_to_data(config: &mut RunConfig, data: &Path, terminal: &Terminal) -> Result<()> {
    if !data.join(m6_data::MANIFEST_FILE).is_file() {
        return Err(
            Failure::usage(format!("there is no prepared data in {}", data.display()))
                .hint("m6 prepare CONFIG --out DIR makes it"),
        );
    }
    let manifest = Manifest::read(data).or_data()?;
    let patches = &mut config.model.patches;
    let given = (config.model.vocab_size, patches.image_side, patches.grid);
    let found = (manifest.vocab_size, manifest.image_side, manifest.grid);
    if given != found {
        terminal.say(&format!(
            "from the data: vocabulary {} (configured {}), pictures {}x{} in {}x{} cells (configured {} in {})",
            found.0, given.0, found.1, found.1, found.2, found.2, given.1, given.2
        ));
        (config.model.vocab_size, patches.image_side, patches.grid) = found;
    }
    let codes = &manifest.config.codes;
    if !codes.is_none() {
        config.model.codes = m6_model::CodesConfig {
            codebook_size: codes.codebook_size,
            grid: codes.grid,
            joint: config.model.codes.joint,
            fine: codes.fine,
        };
    }
    tell_prepared(config, &manifest.config, terminal);
    let mut problems = config.model.validate();
    let longest = manifest.config.max_text + 1;
    if config.model.max_len < longest {
        problems.push(format!(
            "max_len {} is below the {longest} positions of the longest text with its begin token",
            config.model.max_len
        ));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the model cannot take this data: {}",
        problems.join("; ")
    )))
}

/// Weights of sources and noise as configured; everything else of `[data]` is as it was prepared.
/// Weights of sources that the configuration gives prepared data.
fn mixture_of(config: &RunConfig, data: &Path) -> Result<LoaderConfig> {
    if config.data.sources.is_empty() {
        return Ok(LoaderConfig::default());
    }
    let prepared = Manifest::read(data).or_data()?.config;
    let mut weights = BTreeMap::new();
    for source in &config.data.sources {
        if !prepared
            .sources
            .iter()
            .any(|known| known.name == source.name)
        {
            return Err(Failure::usage(format!(
                "the source `{}` is not in {}",
                source.name,
                data.display()
            ))
            .hint("run `m6 prepare` with this configuration again"));
        }
        weights.insert(source.name.clone(), source.weight);
    }
    for known in &prepared.sources {
        // A source taken out of the configuration is left out of the mixture.
        weights.entry(known.name.clone()).or_insert(0.0);
    }
    Ok(LoaderConfig {
        weights,
        options: Some(config.data.tasks.clone()),
        ..LoaderConfig::default()
    })
}

/// Says when `[data]` asks for something that was prepared otherwise, and takes the prepared values.
fn tell_prepared(config: &mut RunConfig, prepared: &DataConfig, terminal: &Terminal) {
    let mut same = prepared.clone();
    same.root.clone_from(&config.data.root);
    // The configuration names the VQGAN, prepared data the hash of its weights.
    same.codes.clone_from(&config.data.codes);
    same.tasks = config.data.tasks.clone();
    same.sources.clone_from(&config.data.sources);
    let tasks = |data: &DataConfig| -> Vec<_> {
        let sources = data.sources.iter();
        sources
            .map(|s| (s.name.clone(), s.task_weights()))
            .collect()
    };
    let is_bare = config.data.sources.is_empty();
    if !is_bare && (config.data != same || tasks(&config.data) != tasks(prepared)) {
        terminal.say("[data] differs from what was prepared beyond weights and noise; the prepared settings are used (m6 prepare makes new ones)");
    }
    config.data = same;
    config.data.codes.clone_from(&prepared.codes);
}

/// Refuses a model of which this machine cannot hold even the weights, and gradients where a rank has all that it makes: filling its memory
/// would end other programs as well.
fn fits_here(config: &config::RunConfig) -> Result<()> {
    let Some(total) = super::doctor::memory_mb("MemTotal") else {
        return Ok(());
    };
    let n_params = m6_model::count(&config.model).params_total as f64;
    // Every rank draws all weights before it gives some away; of split matrices it makes gradients of its part alone.
    let gradients = match config.parallel.zero < 2 && !config.train.blockwise {
        true => 1.0 / config.parallel.tensor.max(1) as f64,
        false => 0.0,
    };
    let (needed, there) = (
        4.0 * n_params * (1.0 + gradients),
        total as f64 * 1024.0 * 1024.0,
    );
    if needed <= there {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the model's {:.1} B parameters take at least {} here, and this machine has {}",
        n_params / 1e9,
        shared::bytes(needed),
        shared::bytes(there)
    ))
    .hint("`m6 plan CONFIG --gpus N` tells what it takes, and on how many devices it would fit"))
}

/// What is drawn from prepared data, with these weights of tasks; empty keeps the prepared ones.
pub fn mixture(
    config: &RunConfig,
    data: &Path,
    tasks: BTreeMap<String, f64>,
) -> Result<LoaderConfig> {
    Ok(LoaderConfig {
        tasks,
        ..mixture_of(config, data)?
    })
}

/// Trains; the run folder holds everything needed to go on.
pub fn pretrain(
    loaded: &config::Loaded,
    job: &Job<'_>,
    stop: &AtomicBool,
    comm: &Comm,
    terminal: &Terminal,
) -> Result<Outcome> {
    let config = &loaded.config;
    fits_here(config)?;
    let mixture = mixture(config, job.data, job.tasks.clone())?;
    let patch_weights = Path::new(&config.init.patch_weights);
    let patches = &config.model.patches;
    if patches.kind == m6_model::PatchKind::Resnet50
        && !patches.trained
        && config.init.patch_weights.is_empty()
    {
        terminal.say("warning: a frozen ResNet-50 with random weights: set init.patch_weights, or model.patches.trained");
    }
    let reward = Reward::new(config, job.data, &mixture)?;
    let spec = PretrainSpec {
        reword: reward
            .as_ref()
            .map(|reward| reward as &dyn m6_train::Reword),
        mixture: &mixture,
        patch_weights: (!config.init.patch_weights.is_empty()).then_some(patch_weights),
        init_model: (!config.init.model.is_empty()).then_some(Path::new(&config.init.model)),
        init_optimizer: config.init.optimizer,
        model_cfg: &config.model,
        train_cfg: &config.train,
        parallel: &config.parallel,
        comm,
        data_dir: job.data,
        run_dir: job.out,
        resume: job.resume,
        overwrite: job.overwrite,
        stop,
        config_toml: &loaded.text,
        resolved_toml: &loaded.resolved,
    };
    let outcome = if comm.rank() == 0 {
        let mut watcher = Watcher::new(config, job, terminal)?;
        let outcome = m6_train::pretrain(&spec, &mut watcher);
        watcher.bar.finish();
        outcome
    } else {
        m6_train::pretrain(&spec, &mut m6_train::Silent)
    };
    outcome.map_err(|error| {
        let code = shared::code_of(&error);
        if matches!(error, m6_train::Error::Peer { .. }) {
            return Failure::new(code, &error).said();
        }
        Err::<(), _>(error).or_fail(code).expect_err("it is one")
    })
}

/// What `--json` ends with.
pub fn outcome_json(outcome: &Outcome) -> Value {
    json!({
        "steps": outcome.steps, "tokens": outcome.tokens, "seconds": outcome.seconds,
        "tokens_per_s": outcome.tokens_per_s, "peak_rss_mb": outcome.peak_rss_mb,
        "eval": outcome.eval, "checkpoint": outcome.checkpoint,
    })
}

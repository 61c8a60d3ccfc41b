//! `m6 pretrain CONFIG --data DIR --out RUN [--resume]`.

use super::common as shared;
use super::generate;
use crate::cli::{Common, PretrainArgs};
use crate::config::{self, RunConfig, SamplesConfig};
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::{self, Progress, Terminal};
use m6_model::{GenerateOptions, Model, Prompt};
use m6_text::Tokenizer;
use m6_train::{Observer, Outcome, PretrainSpec, StepReport};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Runs the verb.
pub fn run(args: &PretrainArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let mut loaded = config::load(&args.config, &common.set)?;
    if let Some(seed) = common.seed {
        loaded.config.train.seed = seed;
    }
    fit_to_data(&mut loaded.config, &args.data, terminal)?;
    loaded.resolved = toml::to_string(&loaded.config).or_usage()?;
    shared::check_out(&args.out.out, args.resume || args.out.overwrite)?;
    if common.dry_run {
        let counts = m6_model::count(&loaded.config.model);
        terminal.say(&format!(
            "would train {:.2} M parameters for {} steps",
            counts.params_total as f64 / 1e6,
            loaded.config.train.steps
        ));
        return Ok(());
    }
    let stop = out::stop_flag();
    let job = Job {
        data: &args.data,
        out: &args.out.out,
        resume: args.resume,
        overwrite: args.out.overwrite,
    };
    let outcome = pretrain(&loaded, &job, &stop, terminal)?;
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
    /// Prepared data.
    pub data: &'a Path,
    /// Run folder.
    pub out: &'a Path,
    /// Go on from the newest checkpoint.
    pub resume: bool,
    /// Replace the folder.
    pub overwrite: bool,
}

/// Sizes that the prepared data decides: the vocabulary and the form of the pictures.
pub fn fit_to_data(config: &mut RunConfig, data: &Path, terminal: &Terminal) -> Result<()> {
    let manifest = m6_data::Manifest::read(data).or_data()?;
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

/// Trains; the run folder holds everything needed to go on.
pub fn pretrain(
    loaded: &config::Loaded,
    job: &Job<'_>,
    stop: &AtomicBool,
    terminal: &Terminal,
) -> Result<Outcome> {
    let config = &loaded.config;
    let spec = PretrainSpec {
        model_cfg: &config.model,
        train_cfg: &config.train,
        data_dir: job.data,
        run_dir: job.out,
        resume: job.resume,
        overwrite: job.overwrite,
        stop,
        config_toml: &loaded.text,
        resolved_toml: &loaded.resolved,
    };
    let mut watcher = Watcher::new(config, job, terminal)?;
    let outcome = m6_train::pretrain(&spec, &mut watcher);
    watcher.bar.finish();
    outcome.map_err(|error| {
        let code = shared::code_of(&error);
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

/// Draws progress and writes `samples/`.
struct Watcher<'a> {
    terminal: &'a Terminal,
    bar: Progress,
    samples: SamplesConfig,
    tokenizer: Tokenizer,
    pictures: Vec<Vec<u8>>,
    folder: PathBuf,
}

impl<'a> Watcher<'a> {
    fn new(config: &RunConfig, job: &Job<'_>, terminal: &'a Terminal) -> Result<Self> {
        let tokenizer = Tokenizer::from_file(&job.data.join("tokenizer.json")).or_data()?;
        let pictures = m6_data::held_out_pictures(job.data, config.samples.n_pictures).or_data()?;
        let bar = terminal.progress(config.train.steps, "pretrain");
        let folder = job.out.join("samples");
        Ok(Self {
            terminal,
            bar,
            samples: config.samples.clone(),
            tokenizer,
            pictures,
            folder,
        })
    }

    fn options(&self) -> GenerateOptions {
        let marks = self.tokenizer.special();
        GenerateOptions {
            max_tokens: self.samples.max_tokens.max(8),
            bos: marks.cls,
            eos: marks.sep,
            banned: vec![marks.pad, marks.unk, marks.cls, marks.mask],
            ..GenerateOptions::default()
        }
    }

    fn write_samples(&self, step: u64, model: &Model) -> Result<()> {
        let options = self.options();
        let pictures: Vec<&[u8]> = self.pictures.iter().map(Vec::as_slice).collect();
        let captions = generate::captions(model, &self.tokenizer, &pictures, &options)?;
        let prompts: Vec<Prompt> = self
            .samples
            .prompts
            .iter()
            .map(|text| Prompt {
                target: self.tokenizer.encode(text),
                ..Prompt::default()
            })
            .collect();
        let made = m6_model::generate(model, &prompts, &options, &mut |_, _| true)
            .or_fail(Code::Numerics)?;
        let texts: Vec<Value> = self
            .samples
            .prompts
            .iter()
            .zip(&made)
            .map(|(prompt, g)| json!({"prompt": prompt, "text": self.tokenizer.decode(&g.ids)}))
            .collect();
        let row = json!({"step": step, "captions": captions, "texts": texts});
        std::fs::create_dir_all(&self.folder).or_usage()?;
        let path = self.folder.join(format!("step-{step:08}.json"));
        let text = serde_json::to_string_pretty(&row).or_usage()?;
        m6_store::atomic::write_file(&path, text.as_bytes()).or_usage()
    }
}

impl Observer for Watcher<'_> {
    fn on_step(&mut self, report: &StepReport) {
        self.bar.at(
            report.step,
            &format!(
                "loss {:.3} lr {:.1e} {:.0} tok/s",
                report.loss, report.lr, report.tokens_per_s
            ),
        );
    }

    fn on_eval(&mut self, step: u64, losses: &BTreeMap<String, f64>) {
        let losses: Vec<String> = losses
            .iter()
            .map(|(task, loss)| format!("{task} {loss:.3}"))
            .collect();
        self.bar.line(
            self.terminal,
            &format!("step {step} held-out {}", losses.join(" ")),
        );
    }

    fn on_checkpoint(&mut self, step: u64, path: &Path) {
        tracing::info!("step {step}: committed {}", path.display());
    }

    fn sample(&mut self, step: u64, model: &Model) {
        if let Err(failure) = self.write_samples(step, model) {
            self.bar.line(
                self.terminal,
                &format!("samples of step {step}: {}", failure.chain.join(": ")),
            );
        }
    }
}

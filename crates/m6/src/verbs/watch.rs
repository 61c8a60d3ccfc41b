//! What a person sees of a run while it goes: the progress line, `samples/` and `log.txt`.

use super::generate;
use super::pretrain::Job;
use crate::config::{RunConfig, SamplesConfig};
use crate::error::{Code, Failure, OrFail, Result};
use crate::out::{Progress, Terminal};
use m6_eval::Exam;
use m6_model::{GenerateOptions, Model, Prompt};
use m6_store::atomic::AppendLog;
use m6_text::Tokenizer;
use m6_train::{BestBy, Observer, StepReport};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Draws progress, writes `samples/` and `log.txt`.
pub struct Watcher<'a> {
    terminal: &'a Terminal,
    /// The progress line.
    pub bar: Progress,
    log: Option<AppendLog>,
    started: Instant,
    samples: SamplesConfig,
    tokenizer: Tokenizer,
    pictures: Vec<Vec<u8>>,
    run: PathBuf,
    /// What the run goes by when it looks for its best checkpoint; the held-out loss without it.
    exam: Option<Exam>,
}

impl<'a> Watcher<'a> {
    /// A watcher of a run that is about to begin.
    pub fn new(config: &RunConfig, job: &Job<'_>, terminal: &'a Terminal) -> Result<Self> {
        let tokenizer = Tokenizer::from_file(&job.data.join("tokenizer.json")).or_data()?;
        let pictures = m6_data::held_out_pictures(job.data, config.samples.n_pictures).or_data()?;
        let bar = terminal.progress(config.train.steps, job.name);
        Ok(Self {
            terminal,
            bar,
            samples: config.samples.clone(),
            tokenizer,
            pictures,
            log: None,
            started: Instant::now(),
            run: job.out.to_path_buf(),
            exam: exam(config, job)?,
        })
    }

    /// A line of `log.txt`, with the seconds since this process began.
    fn note(&mut self, text: &str) {
        let line = format!("{:9.1} s  {text}", self.started.elapsed().as_secs_f64());
        let written = self.log.as_mut().map(|log| log.line(&line));
        if let Some(Err(error)) = written {
            self.bar.line(self.terminal, &format!("log.txt: {error}"));
            self.log = None;
        }
    }

    fn options(&self) -> GenerateOptions {
        let marks = self.tokenizer.special();
        GenerateOptions {
            max_tokens: self.samples.max_tokens.max(8),
            bos: marks.cls,
            eos: marks.sep,
            banned: marks.never_written(),
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
        let folder = self.run.join("samples");
        std::fs::create_dir_all(&folder).or_usage()?;
        let path = folder.join(format!("step-{step:08}.json"));
        let text = serde_json::to_string_pretty(&row).or_usage()?;
        m6_store::atomic::write_file(&path, text.as_bytes()).or_usage()
    }
}

/// The questions that decide which checkpoint is the best, where the configuration wants their score.
fn exam(config: &RunConfig, job: &Job<'_>) -> Result<Option<Exam>> {
    if config.train.best_by == BestBy::Loss {
        return Ok(None);
    }
    let Some(task) = job.exam else {
        return Err(Failure::usage(
            "train.best_by = \"score\", but what is trained has no score of its own",
        )
        .hint("`m6 finetune caption|vqa|qa|poem|classify` has one; otherwise train.best_by = \"loss\""));
    };
    Exam::of_prepared(task, job.data, config.train.eval_rows)
        .map(Some)
        .map_err(|error| {
            Failure::data(error.to_string()).hint(
                "for its score a task reads the sources of the data again, where `m6 prepare` found them; --set train.best_by=loss goes by the \
                 held-out loss instead",
            )
        })
}

impl Observer for Watcher<'_> {
    fn on_start(&mut self, step: u64, steps: u64) {
        self.bar.begin_at(step);
        match AppendLog::open(&self.run.join("log.txt")) {
            Ok(log) => self.log = Some(log),
            Err(error) => self.terminal.say(&format!("log.txt: {error}")),
        }
        self.note(&format!(
            "m6 {}, update {step} of {steps}",
            env!("CARGO_PKG_VERSION")
        ));
    }

    fn on_step(&mut self, report: &StepReport) {
        let mut line = format!(
            "loss {:.3} lr {:.1e} {:.0} tok/s",
            report.loss, report.lr, report.tokens_per_s
        );
        if let Some(reward) = report.reward {
            line += &format!(" reward {reward:.3}");
        }
        if let Some(experts) = &report.experts {
            line += &format!(" dropped {:.1} %", 100.0 * experts.dropped);
        }
        self.bar.at(report.step, &line);
    }

    fn on_eval(&mut self, step: u64, losses: &BTreeMap<String, f64>) {
        let losses: Vec<String> = losses
            .iter()
            .map(|(task, loss)| format!("{task} {loss:.3}"))
            .collect();
        let line = format!("step {step} held-out {}", losses.join(" "));
        self.note(&line);
        self.bar.line(self.terminal, &line);
    }

    fn score(
        &mut self,
        step: u64,
        model: &Model,
        _losses: &BTreeMap<String, f64>,
    ) -> std::result::Result<Option<f64>, String> {
        let Some(exam) = &self.exam else {
            return Ok(None);
        };
        let score = exam.score_of(model, &self.tokenizer);
        let score = score.map_err(|error| error.to_string())?;
        let line = format!("step {step} {} {score:.4}", exam.task.headline());
        self.note(&line);
        self.bar.line(self.terminal, &line);
        Ok(Some(score))
    }

    fn on_checkpoint(&mut self, step: u64, path: &Path) {
        self.note(&format!("step {step} committed {}", path.display()));
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

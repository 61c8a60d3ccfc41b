//! An exam and what comes out of it.

use super::controls;
use super::speak::{Sight, Speaker};
use super::{ExamError, ExamTask, Item, Items, Settings, Which};
use crate::classify::measure_known_labels;
use crate::{
    Measured, Segment, Training, measure_captions, measure_poem, measure_qa, measure_vqa,
    parse_candidates, parse_references,
};
use m6_data::{DataConfig, Manifest};
use m6_model::Model;
use m6_store::rng::Key;
use m6_text::Tokenizer;
use m6_text::verse::Verse;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Draws of an interval.
const N_RESAMPLES: usize = 1000;

/// Questions, the way they are asked, and what they are asked in.
#[derive(Clone, Debug)]
pub struct Exam {
    /// What is examined.
    pub task: ExamTask,
    /// What is asked.
    pub items: Items,
    /// Labels that may be given (classification); those of the data when empty.
    pub labels: Vec<String>,
    /// How pictures and texts were laid out when the model was trained.
    pub layout: DataConfig,
    /// How the model speaks.
    pub settings: Settings,
}

/// What a model said and what it is worth.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Questions.
    pub n: usize,
    /// Figures by name; null where one is not defined.
    pub scores: Map<String, Value>,
    /// 95 % intervals of the figures that have one, by name.
    pub intervals: Map<String, Value>,
    /// Figures of each control, by its name.
    pub control: Map<String, Value>,
    /// What would have been right, as `m6 score` reads it.
    pub references: Vec<u8>,
    /// What was said, as `m6 score` reads it.
    pub candidates: Vec<u8>,
    /// One object for every question, with its own figures.
    pub per_item: Vec<Value>,
    /// What was said to each question.
    pub said: Vec<String>,
}

/// Scores `candidates` (JSON lines) of a task against `references`: the scorer of `m6 score` with characters as tokens. Poems are measured alone,
/// beside `training` text where there is some.
///
/// # Errors
/// Those of the scorer.
pub fn measure(
    task: ExamTask,
    references: &[u8],
    candidates: &[u8],
    training: Option<&Training>,
) -> crate::Result<Measured> {
    match task {
        ExamTask::Caption => {
            let (refs, cands) = (parse_references(references)?, parse_candidates(candidates)?);
            measure_captions(&refs, &cands, Segment::Char, None)
        }
        ExamTask::Vqa => measure_vqa(references, candidates),
        ExamTask::Qa => measure_qa(references, candidates),
        ExamTask::Poem => measure_poem(candidates, training),
        ExamTask::Classify => measure_known_labels(references, candidates),
    }
}

/// Figures of a measurement by name, those without an interval too.
pub(super) fn figures(measured: &Measured) -> Map<String, Value> {
    let own = measured.names.iter().cloned().zip(measured.figures());
    own.chain(measured.fixed.iter().cloned())
        .map(|(name, x)| (name, json!(x)))
        .collect()
}

impl Exam {
    /// Up to `n` questions about the held-out records of prepared data, asked with the default settings of a model that was trained on
    /// it. The sources are read where `data.root` says they are.
    ///
    /// # Errors
    /// The folder is no prepared data, its sources are not there, or nothing can be asked.
    pub fn of_prepared(task: ExamTask, dir: &Path, n: usize) -> Result<Self, ExamError> {
        let layout = Manifest::read(dir)?.config;
        let sources = task.sources(layout.sources.clone());
        let items = Items::read(task, &sources, &layout.root, &layout, Which::HeldOut, n)?;
        Ok(Self {
            task,
            items,
            labels: Vec::new(),
            layout,
            settings: Settings::of(task),
        })
    }

    /// Asks everything, with and without the controls that the task has; `tell` hears how much of the work is done, in `[0, 1]`.
    ///
    /// # Errors
    /// Labels that cannot be given; what keeps the model from speaking; what keeps it from being scored.
    pub fn sit(
        &self,
        model: &Model,
        tokenizer: &Tokenizer,
        tell: &mut dyn FnMut(f64),
    ) -> Result<Outcome, ExamError> {
        let labels = self.labels()?;
        let speaker = self.speaker(model, tokenizer, &labels);
        let rounds = 1 + controls::n_rounds(self);
        let n = self.items.items.len();
        let mut round = 0;
        let mut say = |sights: &[Sight<'_>]| {
            let shown: Vec<(&Item, Sight<'_>)> = self
                .items
                .items
                .iter()
                .zip(sights.iter().copied())
                .collect();
            let before = round;
            round += 1;
            speaker.say(&shown, &mut |done| {
                tell((before as f64 + done as f64 / n as f64) / rounds as f64);
            })
        };
        let said = say(&vec![Sight::Whole; n])?;
        let training = self.training()?;
        let references = self.references();
        let certain = self.certainty(&speaker)?;
        let candidates = self.candidates(&said, &certain);
        let measured = measure(self.task, &references, &candidates, training.as_ref())?;
        let mut scores = figures(&measured);
        self.add_likelihood(&certain, &mut scores);
        let intervals = measured.intervals(N_RESAMPLES, Key::new(self.settings.seed));
        let control = controls::run(self, &said, &references, training.as_ref(), &mut say)?;
        Ok(Outcome {
            n,
            intervals: (measured.names.iter().cloned())
                .zip(intervals.iter().map(|interval| json!(interval)))
                .collect(),
            scores,
            control,
            references,
            candidates,
            per_item: measured.per_item,
            said,
        })
    }

    /// The [headline](ExamTask::headline) figure alone, higher being better: what a run stops early by. Poems are judged by the mean
    /// log probability of a character of the true ones.
    ///
    /// # Errors
    /// Those of [`Exam::sit`].
    pub fn score_of(&self, model: &Model, tokenizer: &Tokenizer) -> Result<f64, ExamError> {
        let labels = self.labels()?;
        let speaker = self.speaker(model, tokenizer, &labels);
        if self.task == ExamTask::Poem {
            let certain = self.certainty(&speaker)?;
            return Ok(mean_logprob(&certain));
        }
        let items = self.items.items.iter();
        let shown: Vec<(&Item, Sight<'_>)> = items.map(|item| (item, Sight::Whole)).collect();
        let said = speaker.say(&shown, &mut |_| {})?;
        let measured = measure(
            self.task,
            &self.references(),
            &self.candidates(&said, &[]),
            None,
        )?;
        let at = measured
            .names
            .iter()
            .position(|name| name == self.task.headline());
        Ok(at.map_or(f64::NAN, |at| measured.figures()[at]))
    }

    fn speaker<'a>(
        &'a self,
        model: &'a Model,
        tokenizer: &'a Tokenizer,
        labels: &'a [String],
    ) -> Speaker<'a> {
        Speaker {
            task: self.task,
            model,
            tokenizer,
            layout: &self.layout,
            settings: &self.settings,
            labels,
        }
    }

    /// The labels that may be given; every item's own must be among them.
    fn labels(&self) -> Result<Vec<String>, ExamError> {
        if self.task != ExamTask::Classify {
            return Ok(Vec::new());
        }
        let labels: Vec<String> = match self.labels.is_empty() {
            true => self.items.labels.keys().cloned().collect(),
            false => self.labels.clone(),
        };
        if labels.is_empty() {
            return Err(ExamError::NoLabels);
        }
        for item in &self.items.items {
            let label = item.answers.first().map_or("", String::as_str);
            if !labels.iter().any(|known| known == label) {
                let some: Vec<&str> = labels.iter().take(20).map(String::as_str).collect();
                return Err(ExamError::Label {
                    id: item.id.clone(),
                    label: label.to_owned(),
                    n: labels.len(),
                    known: some.join(", "),
                });
            }
        }
        Ok(labels)
    }

    /// Text that poems may have been copied from.
    fn training(&self) -> Result<Option<Training>, ExamError> {
        match self.items.training.is_empty() {
            true => Ok(None),
            false => Ok(Some(Training::parse(&self.items.training)?)),
        }
    }

    /// Log probability and words of what would have been right, for the tasks that have a perplexity.
    fn certainty(&self, speaker: &Speaker<'_>) -> Result<Vec<(f64, usize)>, ExamError> {
        match self.task {
            ExamTask::Qa | ExamTask::Poem => {
                let items = self.items.items.iter();
                items.map(|item| speaker.certainty(item)).collect()
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Perplexity of the true poems by word: characters, marks, and the end of each.
    fn add_likelihood(&self, certain: &[(f64, usize)], scores: &mut Map<String, Value>) {
        if self.task == ExamTask::Poem {
            let mean = mean_logprob(certain);
            scores.insert("mean_logprob".to_owned(), json!(mean));
            scores.insert("perplexity".to_owned(), json!((-mean).exp()));
        }
    }

    /// What would have been right, a line each.
    fn references(&self) -> Vec<u8> {
        lines(self.items.items.iter().map(|item| match self.task {
            ExamTask::Caption => json!({"id": item.id, "captions": item.answers}),
            ExamTask::Vqa => {
                json!({"id": item.id, "question": item.question, "answers": item.answers, "type": item.kind})
            }
            ExamTask::Qa => {
                json!({"id": item.id, "question": item.question, "answers": item.answers})
            }
            ExamTask::Poem => {
                let verse = item.answers.first().and_then(|text| Verse::parse(text));
                json!({"id": item.id, "title": item.question, "lines": verse.map(|verse| verse.lines)})
            }
            ExamTask::Classify => json!({"id": item.id, "label": item.answers.first()}),
        }))
    }

    /// What was said, a line each; `certain` goes with questions and answers, or is empty.
    pub(super) fn candidates(&self, said: &[String], certain: &[(f64, usize)]) -> Vec<u8> {
        let each = self.items.items.iter().zip(said).enumerate();
        lines(each.map(|(i, (item, said))| match self.task {
            ExamTask::Classify => json!({"id": item.id, "label": said}),
            ExamTask::Poem => {
                let is_mark = |c: char| !c.is_alphanumeric();
                let lines: Vec<&str> = said.split(is_mark).filter(|l| !l.is_empty()).collect();
                json!({"id": item.id, "title": item.question, "lines": lines})
            }
            ExamTask::Qa => match certain.get(i) {
                Some((logprob, n)) => {
                    json!({"id": item.id, "question": item.question, "text": said, "logprob": logprob, "n_tokens": n})
                }
                None => json!({"id": item.id, "question": item.question, "text": said}),
            },
            ExamTask::Vqa => json!({"id": item.id, "question": item.question, "text": said}),
            ExamTask::Caption => json!({"id": item.id, "text": said}),
        }))
    }
}

fn mean_logprob(certain: &[(f64, usize)]) -> f64 {
    let (sum, n) = certain
        .iter()
        .fold((0.0, 0), |(sum, n), (logprob, m)| (sum + logprob, n + m));
    sum / n as f64
}

/// Objects as JSON lines, without fields that are null.
fn lines(objects: impl Iterator<Item = Value>) -> Vec<u8> {
    let mut out = Vec::new();
    for mut object in objects {
        if let Some(fields) = object.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        out.extend(object.to_string().bytes().chain([b'\n']));
    }
    out
}

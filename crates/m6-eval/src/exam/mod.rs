//! Exams: a model says what it has to say about items it has not learned from, beside its controls, and is scored (paper section 4).
//!
//! [`Items`] come from the records of a source, [`Settings`] say how the model speaks, [`Exam::sit`] gives an [`Outcome`]: scores, the same
//! scores under the controls, and what was said as the two files that [`measure`] (and `m6 score`) read, so that two outcomes can be
//! compared item by item without a model. The sources, not prepared data, are read: their texts are compared as they were written.

mod controls;
mod items;
mod settings;
mod sit;
mod speak;

pub use items::{Item, Items, Which};
pub use settings::Settings;
pub use sit::{Exam, Outcome, measure};

use m6_data::SourceConfig;
use std::str::FromStr;

/// What a model is examined in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExamTask {
    /// Pictures to descriptions (paper section 4.3).
    Caption,
    /// Pictures and questions to short answers, open or chosen (paper section 4.2).
    Vqa,
    /// Questions, with or without a passage, to answers (paper section 4.4).
    Qa,
    /// Titles to verse (paper section 4.5).
    Poem,
    /// Pictures or texts to labels.
    Classify,
}

/// All of them, in the order of the command line.
pub const EXAM_TASKS: [ExamTask; 5] = [
    ExamTask::Caption,
    ExamTask::Vqa,
    ExamTask::Qa,
    ExamTask::Poem,
    ExamTask::Classify,
];

impl ExamTask {
    /// Its name in commands and files.
    pub fn name(self) -> &'static str {
        match self {
            ExamTask::Caption => "caption",
            ExamTask::Vqa => "vqa",
            ExamTask::Qa => "qa",
            ExamTask::Poem => "poem",
            ExamTask::Classify => "classify",
        }
    }

    /// What a record must have to be asked about.
    pub fn needs(self) -> &'static str {
        match self {
            ExamTask::Caption => "a picture and captions",
            ExamTask::Vqa => "a picture, a question and an answer",
            ExamTask::Qa => "a question and an answer, and no picture",
            ExamTask::Poem => {
                "a title and verse (as question and answer): lines of 5 or of 7 characters, an even number from 4 to 16"
            }
            ExamTask::Classify => "a text or a picture, and a question with the label as answer",
        }
    }

    /// Tasks of prepared data that teach it; a source that has one of them is asked about.
    fn taught_by(self) -> &'static [&'static str] {
        match self {
            ExamTask::Caption => &["image_to_text", "multimodal", "codes_to_text"],
            ExamTask::Vqa | ExamTask::Qa => &["answer"],
            ExamTask::Poem => &["poem"],
            ExamTask::Classify => &["classify"],
        }
    }

    /// The sources of a configuration that teach the task, or all when none does.
    pub fn sources(self, sources: Vec<SourceConfig>) -> Vec<SourceConfig> {
        let teaches = |source: &SourceConfig| {
            let weights = source.task_weights();
            self.taught_by()
                .iter()
                .any(|task| weights.contains_key(*task))
        };
        match sources.iter().any(teaches) {
            true => sources.into_iter().filter(teaches).collect(),
            false => sources,
        }
    }

    /// The figure that stands for the whole; higher is better.
    pub fn headline(self) -> &'static str {
        match self {
            ExamTask::Caption => "cider",
            ExamTask::Vqa => "exact",
            ExamTask::Qa => "rouge_l",
            ExamTask::Poem => "mean_logprob",
            ExamTask::Classify => "accuracy",
        }
    }
}

impl FromStr for ExamTask {
    type Err = ExamError;

    fn from_str(name: &str) -> Result<Self, ExamError> {
        let found = EXAM_TASKS.into_iter().find(|task| task.name() == name);
        found.ok_or_else(|| ExamError::Task(name.to_owned()))
    }
}

/// What keeps an exam from being held.
#[derive(Debug, thiserror::Error)]
pub enum ExamError {
    /// No such task.
    #[error("there is no exam in `{0}`; there are caption, vqa, qa, poem and classify")]
    Task(String),
    /// Nothing to ask.
    #[error(
        "nothing to ask: no {which}record of {sources} has what `{task}` needs: {needs} ({n_passed_over} records have not, {n_bad} are \
         unreadable{})", .bad.as_ref().map_or(String::new(), |bad| format!(", the first: {bad}"))
    )]
    Nothing {
        /// Name of the task.
        task: &'static str,
        /// Names of the sources.
        sources: String,
        /// Which records were looked at.
        which: &'static str,
        /// What the task needs.
        needs: &'static str,
        /// Records that hold something else.
        n_passed_over: usize,
        /// The first unreadable one.
        bad: Option<String>,
        /// How many are unreadable.
        n_bad: usize,
    },
    /// A record's label is none of those that can be given.
    #[error("{id}: label `{label}` is none of the {n} labels to choose among: {known}")]
    Label {
        /// The item.
        id: String,
        /// Its label.
        label: String,
        /// Labels there are.
        n: usize,
        /// The first of them.
        known: String,
    },
    /// Nothing to choose among.
    #[error("there are no labels to choose among; the data holds no record to learn from")]
    NoLabels,
    /// A text that no word of the vocabulary is in.
    #[error("{id}: {what} `{text}` is empty as words of the model's vocabulary")]
    NoWords {
        /// The item.
        id: String,
        /// Which text.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] m6_data::Error),
    /// The model cannot go on.
    #[error(transparent)]
    Model(#[from] m6_model::Error),
    /// What was said cannot be scored.
    #[error(transparent)]
    Score(#[from] crate::Error),
}

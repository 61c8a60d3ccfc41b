//! How a model is let speak in an exam: one table, a row for each task, every value open to change.

use super::ExamTask;
use serde::{Deserialize, Serialize};

/// Generation settings of an exam.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// New words at most.
    pub max_tokens: usize,
    /// New words at least.
    pub min_tokens: usize,
    /// Hypotheses of beam search; 1 is none.
    pub beams: usize,
    /// Exponent of the length that a hypothesis's log probability is divided by.
    pub length_penalty: f64,
    /// No run of so many words twice; 0 allows it.
    pub no_repeat_ngram: usize,
    /// 0 takes the likeliest word.
    pub temperature: f64,
    /// Draws among the K likeliest words; 0 among all.
    pub top_k: usize,
    /// Draws among the likeliest words that together have this probability.
    pub top_p: f64,
    /// Questions about a passage: the answer is a span of the part that is shown.
    pub extractive: bool,
    /// Poems: the even lines rhyme.
    pub rhyme: bool,
    /// Poems: tones are regular.
    pub tones: bool,
    /// Prompts worked on together; what they give does not depend on it.
    pub batch: usize,
    /// Seed of sampling.
    pub seed: u64,
}

impl Settings {
    /// The defaults of a task (ours; beams of captions as in the team's public baseline, paper section 4.7).
    pub fn of(task: ExamTask) -> Self {
        let greedy = |max_tokens| Self {
            max_tokens,
            min_tokens: 0,
            beams: 1,
            length_penalty: 1.0,
            no_repeat_ngram: 0,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            extractive: false,
            rhyme: false,
            tones: false,
            batch: 32,
            seed: 1,
        };
        match task {
            ExamTask::Caption => Self {
                beams: 5,
                ..greedy(40)
            },
            ExamTask::Vqa => greedy(24),
            ExamTask::Qa => Self {
                no_repeat_ngram: 6,
                ..greedy(96)
            },
            // The form says how many words there are.
            ExamTask::Poem => Self {
                temperature: 0.8,
                top_p: 0.9,
                ..greedy(128)
            },
            // Labels are compared by likelihood.
            ExamTask::Classify => greedy(16),
        }
    }
}

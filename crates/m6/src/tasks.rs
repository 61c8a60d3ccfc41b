//! What can be finetuned, as data: a task is a row of [`TASKS`].

use m6_eval::ExamTask;
use m6_train::BestBy;

/// A task that a pretrained model is finetuned for.
pub struct FinetuneTask {
    /// Name on the command line.
    pub name: &'static str,
    /// Tasks of the prepared data that it trains, with their weights; all others are left out.
    pub trains: &'static [(&'static str, f64)],
    /// Settings where the configuration is silent, as TOML. All are ours, but where a team's own baseline says more (paper section 4.7).
    pub defaults: &'static str,
    /// What held-out answers are scored by; the held-out loss without it.
    pub exam: Option<ExamTask>,
}

/// The tasks, in the order of the paper's section 4.
pub static TASKS: [FinetuneTask; 7] = [
    FinetuneTask {
        name: "caption",
        trains: &[("image_to_text", 1.0)],
        // Label smoothing and stochastic depth as in the team's captioning baseline (paper section 4.7).
        defaults: "[train]\nkeep_best = true\nbest_by = \"score\"\nlabel_smoothing = 0.1\ndrop_path = 0.1",
        exam: Some(ExamTask::Caption),
    },
    FinetuneTask {
        name: "vqa",
        trains: &[("answer", 1.0)],
        defaults: "[train]\nkeep_best = true\nbest_by = \"score\"",
        exam: Some(ExamTask::Vqa),
    },
    FinetuneTask {
        name: "match",
        trains: &[("match", 1.0)],
        defaults: "[train]\nkeep_best = true\n[model.heads]\nmatch = true",
        exam: None,
    },
    FinetuneTask {
        name: "retrieval",
        trains: &[("retrieval", 1.0)],
        // Every pair of a batch is held against all others of it, so batches are large.
        defaults: "[train]\nkeep_best = true\nrows_per_batch = 32\n[model.heads]\ncontrastive = 256",
        exam: None,
    },
    FinetuneTask {
        name: "qa",
        trains: &[("answer", 1.0)],
        defaults: "[train]\nkeep_best = true\nbest_by = \"score\"",
        exam: Some(ExamTask::Qa),
    },
    FinetuneTask {
        name: "poem",
        trains: &[("poem", 1.0)],
        defaults: "[train]\nkeep_best = true\nbest_by = \"score\"",
        exam: Some(ExamTask::Poem),
    },
    FinetuneTask {
        name: "classify",
        trains: &[("classify", 1.0)],
        defaults: "[train]\nkeep_best = true\nbest_by = \"score\"",
        exam: Some(ExamTask::Classify),
    },
];

impl FinetuneTask {
    /// What decides which checkpoint is the best, in words.
    pub fn score(&self, by: BestBy) -> &'static str {
        match (by, self.exam) {
            (BestBy::Score, Some(exam)) => exam.headline(),
            _ => "the loss on held-out rows",
        }
    }
}

/// The task of this name.
pub fn find(name: &str) -> Option<&'static FinetuneTask> {
    TASKS.iter().find(|task| task.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_setting() {
        for task in &TASKS {
            let table = task.defaults.parse::<toml::Table>().expect("TOML");
            let loaded = crate::config::load_over(table, "m6-nano", &[]);
            assert!(loaded.is_ok(), "{}: {:?}", task.name, loaded.err());
        }
    }
}

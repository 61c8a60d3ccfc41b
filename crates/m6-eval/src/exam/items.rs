//! What is asked in an exam, from the records of a source.

use super::{ExamError, ExamTask};
use m6_data::{DataConfig, Record, SourceConfig};
use m6_text::verse::Verse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One question of an exam.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// Identity; of a record's several questions each has its number behind a slash.
    pub id: String,
    /// Number of its record, so that a control can take the pictures of another one.
    pub record: usize,
    /// Pixels of its pictures as the model takes them, 3 x side x side bytes each.
    pub pictures: Arc<Vec<u8>>,
    /// What is read before it is answered.
    pub passage: Option<String>,
    /// The question, or the title of a poem; empty where nothing is asked.
    pub question: String,
    /// Right answers, captions, the label or the verse.
    pub answers: Vec<String>,
    /// Kind of question.
    pub kind: Option<String>,
    /// Answers to choose among; empty for an open question.
    pub choices: Vec<String>,
}

/// Which records of a source are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those held out of training, by the hash of their identity as [`m6_data::prepare`] does it. The others give the labels
    /// and the text that poems may have been copied from.
    HeldOut,
    /// All.
    All,
}

/// The questions of an exam and what is known from the data about their answers.
#[derive(Clone, Debug, Default)]
pub struct Items {
    /// In the order of the sources.
    pub items: Vec<Item>,
    /// How often each label occurs among the records to learn from or, when all are asked about, among those.
    pub labels: BTreeMap<String, usize>,
    /// Poems to learn from, as JSON lines of `text`; empty when all records are asked about.
    pub training: Vec<u8>,
    /// Records that could not be read or whose pictures could not: place and reason.
    pub bad: Vec<String>,
    /// Records seen that hold nothing the task could ask.
    pub n_passed_over: usize,
}

impl Items {
    /// Reads up to `n` questions of a task from sources; `layout` is the data configuration of the model that will be asked, which
    /// says how many pictures are shown and at which size.
    ///
    /// # Errors
    /// A source that cannot be opened; no question at all.
    pub fn read(
        task: ExamTask,
        sources: &[SourceConfig],
        root: &std::path::Path,
        layout: &DataConfig,
        which: Which,
        n: usize,
    ) -> Result<Self, ExamError> {
        let mut out = Self::default();
        let mut n_records = 0;
        // Labels and training text are those of all records, not of the first ones alone.
        let to_the_end = matches!(task, ExamTask::Poem | ExamTask::Classify);
        for source in sources {
            // With the task `poem` a source would pose its questions itself.
            let raw = SourceConfig {
                tasks: BTreeMap::new(),
                ..source.clone()
            };
            let prefix = match sources.len() {
                1 => String::new(),
                _ => format!("{}:", source.name),
            };
            let mut reader = m6_data::open_sized(&raw, root, layout.image_side)?;
            while to_the_end || out.items.len() < n {
                let record = match reader.next() {
                    None => break,
                    Some(Ok(record)) => record,
                    Some(Err(bad)) => {
                        let line = format!("{}: {}: {}", bad.where_, bad.reason, bad.detail);
                        out.bad.push(line);
                        continue;
                    }
                };
                let asked = match which {
                    Which::All => true,
                    Which::HeldOut => m6_data::is_held_out(&record.id, source.held_out),
                };
                if !asked || which == Which::All {
                    out.learn(task, &record);
                }
                if asked && out.items.len() < n {
                    out.ask(task, &record, n_records, &prefix, layout);
                    n_records += 1;
                }
            }
        }
        out.items.truncate(n);
        if which == Which::All {
            out.training.clear();
        }
        match out.items.is_empty() {
            true => Err(out.nothing(task, sources, which)),
            false => Ok(out),
        }
    }

    fn nothing(&self, task: ExamTask, sources: &[SourceConfig], which: Which) -> ExamError {
        let names: Vec<&str> = sources.iter().map(|s| s.name.as_str()).collect();
        ExamError::Nothing {
            task: task.name(),
            sources: names.join(", "),
            which: match which {
                Which::HeldOut => "held-out ",
                Which::All => "",
            },
            needs: task.needs(),
            n_passed_over: self.n_passed_over,
            bad: self.bad.first().cloned(),
            n_bad: self.bad.len(),
        }
    }

    /// Keeps what a record that is learned from says about answers.
    fn learn(&mut self, task: ExamTask, record: &Record) {
        match task {
            ExamTask::Classify => {
                if let Some(qa) = record.qa.first() {
                    *self.labels.entry(qa.answer.clone()).or_default() += 1;
                }
            }
            ExamTask::Poem => {
                let texts = record.qa.iter().map(|qa| &qa.answer).chain(&record.text);
                for text in texts {
                    let line = serde_json::json!({ "text": text }).to_string();
                    self.training.extend(line.bytes().chain([b'\n']));
                }
            }
            ExamTask::Caption | ExamTask::Vqa | ExamTask::Qa => {}
        }
    }

    /// Adds the questions of a record.
    fn ask(
        &mut self,
        task: ExamTask,
        record: &Record,
        number: usize,
        prefix: &str,
        layout: &DataConfig,
    ) {
        let wanted = match task {
            ExamTask::Caption | ExamTask::Vqa => !record.images.is_empty(),
            ExamTask::Qa | ExamTask::Poem => record.images.is_empty(),
            ExamTask::Classify => true,
        };
        let mut items = if wanted {
            questions(task, record)
        } else {
            Vec::new()
        };
        if items.is_empty() {
            self.n_passed_over += 1;
            return;
        }
        let mut pictures = Vec::new();
        for picture in record
            .images
            .iter()
            .take(layout.n_shown(record.images.len()))
        {
            match picture.square(layout.image_side, layout.fit.into(), layout.max_pixels) {
                Ok(pixels) => pictures.extend(pixels),
                Err((reason, detail)) => {
                    self.bad
                        .push(format!("{}: {reason}: {detail}", record.place));
                    return;
                }
            }
        }
        let pictures = Arc::new(pictures);
        let several = items.len() > 1;
        for (i, item) in items.iter_mut().enumerate() {
            item.id = match several {
                true => format!("{prefix}{}/{i}", record.id),
                false => format!("{prefix}{}", record.id),
            };
            item.record = number;
            item.pictures = pictures.clone();
        }
        self.items.append(&mut items);
    }
}

/// The questions of a record, without identity and pictures.
fn questions(task: ExamTask, record: &Record) -> Vec<Item> {
    match task {
        ExamTask::Caption => {
            let answers = match (record.captions.is_empty(), &record.text) {
                (true, Some(text)) => vec![text.clone()],
                _ => record.captions.clone(),
            };
            match answers.is_empty() {
                true => Vec::new(),
                false => vec![Item {
                    answers,
                    ..Item::default()
                }],
            }
        }
        ExamTask::Vqa | ExamTask::Qa => asked(record),
        ExamTask::Classify => asked(record).into_iter().take(1).collect(),
        ExamTask::Poem => {
            let verse = |qa: &m6_data::Qa| {
                let verse = Verse::parse(&qa.answer)?;
                Some(Item {
                    question: qa.question.trim().to_owned(),
                    answers: vec![verse.text()],
                    ..Item::default()
                })
            };
            record.qa.iter().filter_map(verse).collect()
        }
    }
}

/// The pairs of a record, several answers to one question together.
fn asked(record: &Record) -> Vec<Item> {
    let passage = match record.images.is_empty() {
        true => record.text.clone(),
        // Beside a picture the tasks show no passage.
        false => None,
    };
    let mut items: Vec<Item> = Vec::new();
    for qa in &record.qa {
        match items.last_mut() {
            Some(last) if last.question == qa.question && last.kind == qa.kind => {
                last.answers.push(qa.answer.clone());
            }
            _ => items.push(Item {
                passage: passage.clone(),
                question: qa.question.clone(),
                answers: vec![qa.answer.clone()],
                kind: qa.kind.clone(),
                choices: qa.choices.clone(),
                ..Item::default()
            }),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use m6_data::{Kind, Qa, WorldSplit};

    fn pair(question: &str, answer: &str) -> Qa {
        Qa {
            question: question.to_owned(),
            answer: answer.to_owned(),
            kind: None,
            choices: Vec::new(),
        }
    }

    #[test]
    fn answers_to_one_question_stand_together_and_poems_must_have_a_form() {
        let record = Record {
            text: Some("文".to_owned()),
            qa: vec![pair("一？", "甲"), pair("一？", "乙"), pair("二？", "丙")],
            ..Record::default()
        };
        let items = questions(ExamTask::Qa, &record);
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].answers, ["甲", "乙"]);
        assert_eq!(items[0].passage.as_deref(), Some("文"));
        assert_eq!(questions(ExamTask::Classify, &record).len(), 1);
        assert!(questions(ExamTask::Poem, &record).is_empty());
        assert!(questions(ExamTask::Caption, &Record::default()).is_empty());
    }

    #[test]
    fn the_world_gives_questions_with_pictures_and_a_source_without_any_is_refused() {
        let layout = DataConfig {
            image_side: 16,
            grid: 2,
            ..DataConfig::default()
        };
        let world = SourceConfig {
            name: "world".to_owned(),
            kind: Kind::World,
            split: WorldSplit::HeldOut,
            n: 3,
            ..SourceConfig::default()
        };
        let read = |task, which, n| {
            Items::read(
                task,
                std::slice::from_ref(&world),
                ".".as_ref(),
                &layout,
                which,
                n,
            )
        };
        let vqa = read(ExamTask::Vqa, Which::All, usize::MAX).unwrap();
        assert!(
            vqa.items
                .iter()
                .all(|item| item.pictures.len() == 3 * 16 * 16)
        );
        assert!(vqa.items.iter().all(|item| item.kind.is_some()));
        assert_eq!(
            read(ExamTask::Caption, Which::All, 2).unwrap().items.len(),
            2
        );
        let message = read(ExamTask::Poem, Which::All, 9).unwrap_err().to_string();
        assert!(
            message.contains("title and verse") && message.contains("world"),
            "{message}"
        );
    }
}
